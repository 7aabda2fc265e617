package e2e

import (
	"crypto/tls"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/shared/desired"
)

// served asks which certificate a load balancer shows for a host, by its common name.
func (s *space) served(vip, host string, trusted *authority) (string, error) {
	conn, err := tls.DialWithDialer(dialer("127.0.9.8"), "tcp", vip+":443", &tls.Config{ServerName: host, RootCAs: trusted.pool()})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// awaitServed waits until each host is shown its certificate.
func (s *space) awaitServed(vip string, trusted *authority, want map[string]string) {
	s.t.Helper()
	for host, id := range want {
		s.await(host+" is shown certificate "+id, func() (bool, string) {
			got, err := s.served(vip, host, trusted)
			if err != nil {
				return false, err.Error()
			}
			return got == id, got
		})
	}
}

// "TLS from secrets holding qcloud_cert_id; SNI": every host is shown its own
// certificate, those that no entry names the one for all others.
func TestTLSFromSecretsBySNI(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	shop, api, rest := s.uploaded(ca, "shop.example.com"), s.uploaded(ca, "api.example.com"), s.uploaded(ca, "blog.example.com", "*.wild.example.com")
	s.secret("shop", certIDKey, shop)
	s.secret("api", certIDKey, "  "+api+"\n") // as people's editors leave it
	s.secret("rest", certIDKey, rest)
	s.apps("shop", "api", "blog", "wild")
	s.ingress("web", secured("shop", "shop.example.com"), secured("api", "api.example.com"), secured("rest"),
		rules(to("shop.example.com", "/", "shop"), to("api.example.com", "/", "api"), to("blog.example.com", "/", "blog"), to("*.wild.example.com", "/", "wild")))
	s.awaitReady("shop", "api", "blog", "wild")
	lb := s.awaitFront("web")
	s.awaitServed(lb.VIP.String(), ca, map[string]string{"shop.example.com": shop, "api.example.com": api, "blog.example.com": rest, "a.wild.example.com": rest})
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{
		"https://shop.example.com/": "shop", "https://api.example.com/": "api", "https://blog.example.com/": "blog", "https://a.wild.example.com/": "wild",
	})
	s.settled()
}

// "Secret updates": the certificate follows, without a change of the Ingress.
func TestUpdatedSecretChangesTheCertificate(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	first, second := s.uploaded(ca, "shop.example.com"), s.uploaded(ca, "shop.example.com")
	s.secret("tls", certIDKey, first)
	s.apps("web")
	s.ingress("one", secured("tls", "shop.example.com"), rules(to("shop.example.com", "/", "web"), to("shop.example.com", "/x", "web")))
	s.ingress("two", secured("tls"), rules(to("shop.example.com", "/", "web")))
	one, two := s.awaitFront("one"), s.awaitFront("two")
	for _, lb := range []string{one.VIP.String(), two.VIP.String()} {
		s.awaitServed(lb, ca, map[string]string{"shop.example.com": first})
	}
	s.awaitReady("web")
	before := s.rulesOf(one.ID)
	s.secret("tls", certIDKey, second)
	for _, lb := range []string{one.VIP.String(), two.VIP.String()} {
		s.awaitServed(lb, ca, map[string]string{"shop.example.com": second})
	}
	for key, r := range s.rulesOf(one.ID) {
		if r.ID != before[key].ID || r.CertificateID != second {
			t.Errorf("want rule %s as it was but for its certificate %s, got %+v", key, second, r)
		}
	}
	s.settled()
}

// "qcloud_ca_cert_id": clients must have a certificate of that authority.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca, clients := newAuthority(t), newAuthority(t)
	id, authorityID := s.uploaded(ca, "shop.example.com"), s.uploadedCA(clients)
	s.secret("tls", certIDKey, id, caIDKey, authorityID)
	s.apps("web")
	s.ingress("web", secured("tls", "shop.example.com"), rules(to("shop.example.com", "/", "web")))
	s.awaitReady("web")
	lb := s.awaitFront("web")
	q := api.NewDescribeListenersRequest()
	q.LoadBalancerId = &lb.ID
	res, err := s.cloud().DescribeListeners(q)
	s.must(err)
	if c := res.Response.Listeners[0].Rules[0].Certificate; *c.SSLMode != "MUTUAL" || *c.CertId != id || *c.CertCaId != authorityID {
		t.Errorf("want the rule mutual with %s and %s, got %s %s %s", id, authorityID, *c.SSLMode, *c.CertId, *c.CertCaId)
	}
	known := s.browse(lb.VIP.String(), ca)
	known.transport.TLSClientConfig.Certificates = []tls.Certificate{clients.leaf("a client")}
	s.awaitVisits(known, map[string]string{"https://shop.example.com/": "web"})
	if p, err := s.browse(lb.VIP.String(), ca).get(t.Context(), "https://shop.example.com/"); err == nil && p.StatusCode == 200 {
		t.Errorf("want a client without a certificate refused, it was answered %+v", p.Answer)
	}
	s.settled()
	// Without the authority it is one-way again.
	s.secret("tls", certIDKey, id)
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://shop.example.com/": "web"})
	s.settled()
}

// A secret that can't be used is refused with TKE's code and the field's name; "one bad
// rule never stops the others": other hosts, and HTTP, go on. Mended, it is used.
func TestUnusableSecretsAreNamedAndTheOthersServed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("good", certIDKey, s.uploaded(ca, "good.example.com"))
	s.secret("keyless", "other", "x")
	s.secret("empty", certIDKey, " ")
	s.secret("second", certIDKey, s.uploaded(ca, "good.example.com"))
	s.apps("web")
	hosts := []string{"missing.example.com", "keyless.example.com", "empty.example.com", "nocert.example.com", "good.example.com"}
	var each []networkingv1.IngressRule
	var all []string
	for _, h := range hosts {
		each = append(each, to(h, "/", "web"))
		all = append(all, desired.RuleKey("HTTP", 80, h, "/"))
	}
	s.ingress("web", rules(each...), noting(desired.RuleMixBoth, "true"), secured("missing", hosts[0]), secured("keyless", hosts[1]), secured("empty", hosts[2]),
		secured("good", hosts[4]), secured("second", hosts[4]))
	for field, words := range map[string][]string{
		"spec.tls[0].secretName": {"E4009", s.name + "/missing"},
		"spec.tls[1].secretName": {"E4010", certIDKey},
		"spec.tls[2].secretName": {"E4011", "empty"},
		"spec.rules[3].host":     {"E4040", hosts[3]},
		"spec.tls[4].hosts[0]":   {"E4049", `"good"`},
	} {
		s.awaitEvent("Ingress", "web", "InvalidRule", append(words, field)...)
	}
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, append(all, "HTTPS/443 good.example.com/")...)
	s.awaitReady("web") // what is refused holds no gate
	b := s.browse(lb.VIP.String(), ca)
	s.awaitVisits(b, map[string]string{"http://missing.example.com/": "web", "http://good.example.com/": "web", "https://good.example.com/": "web"})
	s.settled()

	s.secret("missing", certIDKey, s.uploaded(ca, hosts[0]))
	s.awaitVisits(b, map[string]string{"https://missing.example.com/": "web"})
	s.awaitTargets(lb.ID, "HTTPS/443 missing.example.com/", target(s.getPod("web"), 80, 10))
	s.settled()
	// A secret that goes takes the rule along that can't be had without it.
	s.must(s.client.CoreV1().Secrets(s.name).Delete(t.Context(), "missing", metav1.DeleteOptions{}))
	s.awaitRules(lb.ID, append(all, "HTTPS/443 good.example.com/")...)
	s.settled()
}

// A certificate that the CLB doesn't know: the CLB refuses the rule, which is told, and
// the others of the same call are made.
func TestCertificateThatTheCLBRefusesStopsNoOther(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("unknown", certIDKey, "nowhere1")
	s.secret("good", certIDKey, s.uploaded(ca, "a.example.com", "c.example.com"))
	s.apps("web")
	s.ingress("web", secured("unknown", "b.example.com"), secured("good"),
		rules(to("a.example.com", "/", "web"), to("b.example.com", "/", "web"), to("c.example.com", "/", "web")))
	s.awaitEvent("Ingress", "web", "EnsureIngressFailed", "nowhere1", "HTTPS/443 b.example.com/")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTPS/443 a.example.com/", "HTTPS/443 c.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://a.example.com/": "web", "https://c.example.com/": "web"})
	since := time.Now()
	s.secret("unknown", certIDKey, s.uploaded(ca, "b.example.com"))
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://b.example.com/": "web"})
	if n := byAction(s.writes(lb.ID, since))["CreateRule"]; n != 1 {
		t.Errorf("want the one rule made by one call, got %d", n)
	}
	s.awaitReady("web")
	s.settled()
}
