package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/desired"
)

// apps makes a Service and a pod that it selects for each name, so that the answer tells
// which rule a request met.
func (s *space) apps(names ...string) {
	s.t.Helper()
	for _, n := range names {
		s.plain(n)
		s.pod(n, labelled(n))
	}
}

// "Listeners HTTP 80": that of an Ingress without TLS.
func TestIngressWithoutTLSIsServedAtHTTP80(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("web")
	s.ingress("web", rules(to("shop.example.com", "/", "web")))
	s.awaitReady("web")
	lb := s.awaitFront("web")
	s.awaitListeners(lb.ID, "HTTP/80")
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/")
	s.awaitTargets(lb.ID, "HTTP/80 shop.example.com/", target(s.getPod("web"), 80, 10))
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{"http://shop.example.com/any/thing": "web", "http://SHOP.example.com:80/": "web"})
	s.settled()
}

// "HTTPS 443": that of an Ingress with TLS, and no other.
func TestIngressWithTLSIsServedAtHTTPS443(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("web")
	s.ingress("web", secured("tls", "shop.example.com"), rules(to("shop.example.com", "/", "web")))
	s.awaitReady("web")
	lb := s.awaitFront("web")
	s.awaitListeners(lb.ID, "HTTPS/443")
	s.awaitRules(lb.ID, "HTTPS/443 shop.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://shop.example.com/": "web"})
	s.settled()
}

// "listen-ports": the ports listed and no others; every rule at each; changed later.
func TestListenPorts(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("web")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web")), noting(desired.ListenPorts, `[{"HTTP":8080},{"HTTPS":8443}]`))
	s.awaitReady("web")
	lb := s.awaitFront("web")
	s.awaitListeners(lb.ID, "HTTP/8080", "HTTPS/8443")
	b := s.browse(lb.VIP.String(), ca)
	s.awaitVisits(b, map[string]string{"http://shop.example.com:8080/": "web", "https://shop.example.com:8443/": "web"})
	kept := listenerID(lb, "HTTP", 8080)
	s.reshape("web", noting(desired.ListenPorts, `[{"HTTP":8080},{"HTTP":80},{"TCP":81},{"HTTPS":8080}]`))
	s.awaitEvent("Ingress", "web", "InvalidRule", desired.ListenPorts+"[2]", `"TCP"`, "HTTP or HTTPS")
	s.awaitEvent("Ingress", "web", "InvalidRule", desired.ListenPorts+"[3]", "8080", "an earlier entry")
	s.awaitListeners(lb.ID, "HTTP/80", "HTTP/8080")
	s.awaitTargets(lb.ID, "HTTP/80 shop.example.com/", target(s.getPod("web"), 80, 10))
	s.awaitVisits(b, map[string]string{"http://shop.example.com/": "web", "http://shop.example.com:8080/": "web"})
	lb, _ = s.balancer(lb.ID)
	if got := listenerID(lb, "HTTP", 8080); got != kept {
		t.Errorf("want the listener that is still listed kept, %s, got %s", kept, got)
	}
	s.settled()
}

// "Rules by host and path (Exact, Prefix, ImplementationSpecific)", the longest first,
// exact ones before all.
func TestPathTypes(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("root", "prefix", "longer", "exact", "specific")
	specific := func(p *networkingv1.HTTPIngressPath) {
		p.PathType = new(networkingv1.PathTypeImplementationSpecific)
	}
	const host = "shop.example.com"
	s.ingress("web", rules(to(host, "/", "root"), to(host, "/a", "prefix"), to(host, "/a/b", "longer"), to(host, "/a", "exact", exactly), to(host, "/s", "specific", specific)))
	s.awaitReady("root", "prefix", "longer", "exact", "specific")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/", "HTTP/80 shop.example.com/a", "HTTP/80 shop.example.com/a/b", "HTTP/80 shop.example.com= /a", "HTTP/80 shop.example.com/s")
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{
		"http://shop.example.com/":        "root",
		"http://shop.example.com/other":   "root",
		"http://shop.example.com/a":       "exact",
		"http://shop.example.com/a?q=1":   "exact",
		"http://shop.example.com/a/":      "prefix",
		"http://shop.example.com/a/c":     "prefix",
		"http://shop.example.com/a/b/c/d": "longer",
		"http://shop.example.com/s/x":     "specific",
	})
	s.settled()
}

// "Empty host": served for every host that no other rule names, and for the address.
func TestEmptyHostIsEveryHost(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("any", "shop")
	s.ingress("web", rules(to("", "/", "any"), to("shop.example.com", "/", "shop")))
	s.awaitReady("any", "shop")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 /", "HTTP/80 shop.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{
		"http://shop.example.com/":         "shop",
		"http://other.example.com/":        "any",
		"http://" + lb.VIP.String() + "/x": "any",
	})
	s.settled()
}

// "Wildcard host": a name under it, unless that has rules of its own.
func TestWildcardHost(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("wild", "shop")
	s.ingress("web", rules(to("*.example.com", "/", "wild"), to("shop.example.com", "/", "shop")))
	s.awaitReady("wild", "shop")
	lb := s.awaitFront("web")
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{
		"http://shop.example.com/":  "shop",
		"http://other.example.com/": "wild",
	})
	s.settled()
}

// "kubernetes.io/ingress.rule-mix with http-rules/https-rules": each rule where it is
// named, those that are named nowhere at HTTPS.
func TestRuleMix(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("plain", "secure", "both", "unnamed")
	entry := func(path, service string) string {
		return `{"host":"shop.example.com","path":"` + path + `","backend":{"serviceName":"` + service + `","servicePort":"80"}}`
	}
	const host = "shop.example.com"
	s.ingress("web", secured("tls"), rules(to(host, "/plain", "plain"), to(host, "/secure", "secure"), to(host, "/both", "both"), to(host, "/unnamed", "unnamed")),
		noting(desired.RuleMix, "true",
			desired.HTTPRules, "["+entry("/plain", "plain")+","+entry("/both", "both")+","+entry("/nowhere", "plain")+"]",
			desired.HTTPSRules, "["+entry("/secure", "secure")+","+entry("/both", "both")+"]"))
	s.awaitReady("plain", "secure", "both", "unnamed")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/plain", "HTTP/80 shop.example.com/both",
		"HTTPS/443 shop.example.com/secure", "HTTPS/443 shop.example.com/both", "HTTPS/443 shop.example.com/unnamed")
	s.awaitEvent("Ingress", "web", "InvalidRule", "E4022", desired.HTTPRules+"[2]", "/nowhere")
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{
		"http://shop.example.com/plain":    "plain",
		"http://shop.example.com/both":     "both",
		"http://shop.example.com/secure":   "404",
		"https://shop.example.com/secure":  "secure",
		"https://shop.example.com/both":    "both",
		"https://shop.example.com/unnamed": "unnamed",
		"https://shop.example.com/plain":   "404",
	})
	// "null" is none (TKE): what only HTTP names leaves HTTPS, what nobody names is there.
	s.reshape("web", noting(desired.HTTPSRules, "null"))
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/plain", "HTTP/80 shop.example.com/both",
		"HTTPS/443 shop.example.com/secure", "HTTPS/443 shop.example.com/unnamed")
	s.settled()
}

// rule-mix-both: every rule at both.
func TestRuleMixBoth(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("web")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web")), noting(desired.RuleMixBoth, "true"))
	s.awaitReady("web")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/", "HTTPS/443 shop.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"http://shop.example.com/": "web", "https://shop.example.com/": "web"})
	s.settled()
}

// "Default backend": what no rule matches, of hosts with rules and of all others.
func TestDefaultBackend(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("fallback", "shop", "api")
	s.ingress("web", rules(to("shop.example.com", "/", "shop"), to("api.example.com", "/v1", "api")), func(i *networkingv1.Ingress) {
		i.Spec.DefaultBackend = new(at("fallback", networkingv1.ServiceBackendPort{Number: 80}))
	})
	s.awaitReady("fallback", "shop", "api")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 /", "HTTP/80 shop.example.com/", "HTTP/80 api.example.com/v1", "HTTP/80 api.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{
		"http://shop.example.com/x":   "shop",
		"http://api.example.com/v1/x": "api",
		"http://api.example.com/v2":   "fallback",
		"http://other.example.com/":   "fallback",
	})
	s.settled()
}

// An Ingress may be its default backend and nothing else.
func TestDefaultBackendAlone(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("fallback")
	s.ingress("web", rules(), func(i *networkingv1.Ingress) {
		i.Spec.DefaultBackend = new(at("fallback", networkingv1.ServiceBackendPort{Number: 80}))
	})
	s.awaitReady("fallback")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 /")
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{"http://other.example.com/any": "fallback"})
	s.settled()
}

// "One bad rule never stops the others": each is refused with TKE's code and the field's
// name, the good one serves.
func TestBadRulesNeverStopTheOthers(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.apps("web")
	s.plain("headless-udp", ports(udp(80, intstr.FromInt32(80))))
	s.plain("selectorless", func(o *corev1.Service) { o.Spec.Selector = nil })
	const host = "shop.example.com"
	s.ingress("web", rules(
		to("localhost", "/", "web"),
		to(host, "/bad_path", "web"),
		to(host, "/missing", "missing"),
		to(host, "/portless", "web", byNumber(81)),
		to(host, "/nameless", "web", byName("https")),
		to(host, "/udp", "headless-udp"),
		to(host, "/selectorless", "selectorless"),
		to(host, "/resource", "web", func(p *networkingv1.HTTPIngressPath) {
			p.Backend = networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "b"}}
		}),
		to(host, "/", "web"),
		to(host, "/", "web"),
	))
	s.awaitReady("web")
	for field, words := range map[string][]string{
		"spec.rules[0].host":                                {"E4052", `"localhost"`},
		"spec.rules[1].http.paths[0].path":                  {"E4031", `"/bad_path"`},
		"spec.rules[2].http.paths[0].backend.service.name":  {"W1000", s.name + "/missing"},
		"spec.rules[3].http.paths[0].backend.service.port":  {"81", "no such port"},
		"spec.rules[4].http.paths[0].backend.service.port":  {`"https"`, "no such port"},
		"spec.rules[5].http.paths[0].backend.service.port":  {"80", "UDP"},
		"spec.rules[6].http.paths[0].backend.service.name":  {"E4082", s.name + "/selectorless"},
		"spec.rules[7].http.paths[0].backend.resource":      {"no Service"},
		"spec.rules[9].http.paths[0]: is of host \"" + host: {"earlier rule"},
	} {
		s.awaitEvent("Ingress", "web", "InvalidRule", append(words, field)...)
	}
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{"http://shop.example.com/missing": "web"})
	s.settled()
	// Mended, it is served; and taken out, it goes.
	s.plain("missing")
	s.pod("late", labelled("missing"))
	s.awaitReady("late")
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/", "HTTP/80 shop.example.com/missing")
	s.reshape("web", rules(to(host, "/missing", "missing")))
	s.awaitRules(lb.ID, "HTTP/80 shop.example.com/missing")
	s.settled()
}
