package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/clb-direct/clb-direct/shared/desired"
)

// ruleSettings are what a TkeServiceConfig can set of a rule, as the CLB API shows them.
type ruleSettings struct {
	settings
	Forward              string
	Path, Domain, Method string
	Codes, Source        int64
	HTTP2, Default       bool
	KeepAlive            int64
}

// ruleSettings asks the CLB API for a rule's, and its listener's.
func (s *space) ruleSettings(id, key string) (out ruleSettings, there bool) {
	s.t.Helper()
	location := s.rulesOf(id)[key].ID
	q := api.NewDescribeListenersRequest()
	q.LoadBalancerId = &id
	res, err := s.cloud().DescribeListeners(q)
	s.must(err)
	for _, l := range res.Response.Listeners {
		for _, r := range l.Rules {
			if *r.LocationId != location {
				continue
			}
			hc := r.HealthCheck
			return ruleSettings{
				settings{*hc.HealthSwitch == 1, *hc.IntervalTime, *hc.TimeOut, *hc.HealthNum, *hc.UnHealthNum, *r.SessionExpireTime, *r.Scheduler},
				*r.ForwardType, *hc.HttpCheckPath, *hc.HttpCheckDomain, *hc.HttpCheckMethod, *hc.HttpCode, *hc.SourceIpType, *r.Http2, *r.DefaultServer, *l.KeepaliveEnable,
			}, true
		}
	}
	return out, false
}

func (s *space) awaitRuleSettings(id, key string, want ruleSettings) {
	s.t.Helper()
	s.await(fmt.Sprintf("rule %s has %+v", key, want), func() (bool, string) {
		got, there := s.ruleSettings(id, key)
		return there && got == want, fmt.Sprintf("%+v", got)
	})
}

// documentedRule are CLB's own defaults for a rule of a domain.
func documentedRule(domain string) ruleSettings {
	out := ruleSettings{settings: documented, Forward: "HTTP", Path: "/", Domain: domain, Method: "HEAD", Codes: 31}
	return out
}

func l7(listeners ...desired.L7Listener) desired.ConfigSpec {
	var spec desired.ConfigSpec
	spec.LoadBalancer.L7Listeners = listeners
	return spec
}

// fullRule sets everything that a rule can have.
func fullRule(url string) desired.L7Rule {
	return desired.L7Rule{
		URL: url, ForwardType: "HTTP", Scheduler: "LEAST_CONN", Session: &desired.Session{Enable: true, SessionExpireTime: new(3600)},
		HealthCheck: &desired.L7HealthCheck{
			HealthCheck: desired.HealthCheck{Enable: true, IntervalTime: new(3), Timeout: new(2), HealthNum: new(2), UnHealthNum: new(4)},
			HTTPCode:    new(6), HTTPCheckPath: "/ready", HTTPCheckDomain: "check.example.com", HTTPCheckMethod: "GET", SourceIPType: new(1),
		},
	}
}

// "TkeServiceConfig for layer 7: health check, session, scheduler, forward type, HTTP/2,
// default server, keep-alive."
func TestIngressServiceConfigIsApplied(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com", "api.example.com", "other.example.com"))
	s.config("mine", l7(desired.L7Listener{
		Protocol: "HTTPS", Port: 443, DefaultServer: "api.example.com", KeepaliveEnable: new(1),
		Domains: []desired.L7Domain{
			{Domain: "shop.example.com", HTTP2: new(true), Rules: []desired.L7Rule{fullRule("/")}},
			{Domain: "api.example.com", Rules: []desired.L7Rule{{URL: "/grpc", ForwardType: "GRPC", Scheduler: "IP_HASH", HealthCheck: &desired.L7HealthCheck{}}}},
		},
	}))
	s.apps("web")
	s.ingress("web", secured("tls"), noting(desired.IngressConfig, "mine"),
		rules(to("shop.example.com", "/", "web"), to("shop.example.com", "/plain", "web"), to("api.example.com", "/grpc", "web"), to("api.example.com", "/", "web")))
	lb := s.awaitFront("web")
	full := ruleSettings{settings{true, 3, 2, 2, 4, 3600, "LEAST_CONN"}, "HTTP", "/ready", "check.example.com", "GET", 6, 1, true, false, 1}
	s.awaitRuleSettings(lb.ID, "HTTPS/443 shop.example.com/", full)
	untouched := documentedRule("shop.example.com")
	untouched.HTTP2, untouched.KeepAlive = true, 1
	s.awaitRuleSettings(lb.ID, "HTTPS/443 shop.example.com/plain", untouched)
	s.await("the rule for gRPC has its settings", func() (bool, string) {
		got, _ := s.ruleSettings(lb.ID, "HTTPS/443 api.example.com/grpc")
		return got.Forward == "GRPC" && got.Scheduler == "IP_HASH" && !got.Check && got.Default, fmt.Sprintf("%+v", got)
	})
	// The default server's rules serve hosts that nobody named.
	s.awaitReady("web")
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://other.example.com/": "web"})
	s.settled()
	// Its changes are applied to every Ingress that names it.
	changed := fullRule("/")
	changed.Scheduler, changed.Session, changed.HealthCheck = "WRR", &desired.Session{}, quickRuleCheck()
	s.config("mine", l7(desired.L7Listener{
		Protocol: "HTTPS", Port: 443, DefaultServer: "shop.example.com", KeepaliveEnable: new(0),
		Domains: []desired.L7Domain{{Domain: "shop.example.com", HTTP2: new(false), Rules: []desired.L7Rule{changed}}},
	}))
	// What isn't declared any more stays as it is (TKE, "TkeServiceConfig").
	want := full
	want.settings = settings{true, 2, 2, 2, 2, 0, "WRR"}
	want.HTTP2, want.Default, want.KeepAlive = false, true, 0
	s.awaitRuleSettings(lb.ID, "HTTPS/443 shop.example.com/", want)
	s.settled()
}

// Without a TkeServiceConfig CLB's documented defaults hold.
func TestIngressWithoutServiceConfigHasDefaults(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web", rules(to("shop.example.com", "/", "web")), func(i *networkingv1.Ingress) {
		i.Annotations[desired.IngressConfigAuto] = "false"
	})
	lb := s.awaitFront("web")
	want := documentedRule("shop.example.com")
	want.Default = true // the only domain of its listener
	s.awaitRuleSettings(lb.ID, "HTTP/80 shop.example.com/", want)
	s.settled()
}

// A value out of range is named and left out, the others count; a TkeServiceConfig that
// isn't there is E4043 and keeps nobody waiting.
func TestIngressServiceConfigOutOfRangeOrMissingIsAnEvent(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	bad := fullRule("/bad")
	bad.Session.SessionExpireTime = new(10)
	s.config("mine", l7(desired.L7Listener{Protocol: "HTTP", Port: 80, Domains: []desired.L7Domain{{Domain: "", Rules: []desired.L7Rule{bad, {URL: "/", HealthCheck: quickRuleCheck()}}}}}))
	s.plain("web")
	s.ingress("web", noting(desired.IngressConfig, "mine"), rules(to("", "/", "web"), to("", "/bad", "web")))
	s.ingress("missing", noting(desired.IngressConfig, "later"))
	s.awaitEvent("Ingress", "web", "InvalidConfig", "spec.loadBalancer.l7Listeners[0].domains[0].rules[0].session.sessionExpireTime", "30 to 86400", s.name+"/mine")
	s.awaitEvent("Ingress", "missing", "ConfigNotFound", "E4043", s.name+"/later")
	lb, other := s.awaitFront("web"), s.awaitFront("missing")
	vip := func(id string) string { lb, _ := s.balancer(id); return lb.VIP.String() }
	quick := documentedRule(vip(lb.ID))
	quick.Default, quick.settings = true, settings{true, 2, 2, 2, 2, 0, "WRR"}
	s.awaitRuleSettings(lb.ID, "HTTP/80 /", quick)
	standard := documentedRule(vip(lb.ID))
	standard.Default = true
	s.awaitRuleSettings(lb.ID, "HTTP/80 /bad", standard)
	s.config("later", l7(desired.L7Listener{Protocol: "HTTP", Port: 80, Domains: []desired.L7Domain{{Rules: []desired.L7Rule{{URL: "/", HealthCheck: quickRuleCheck()}}}}}))
	quick.Domain = vip(other.ID)
	s.awaitRuleSettings(other.ID, "HTTP/80 /", quick)
	s.settled()
}

// "And -auto": `<name>-auto-ingress-config`, made with an entry per rule, owned by the
// Ingress, followed when edited, kept in step with the rules, gone with the Ingress.
func TestIngressAutoServiceConfigIsMadeAndMaintained(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	ing := s.ingress("web", noting(desired.IngressConfigAuto, "true"), rules(to("shop.example.com", "/", "web")))
	lb := s.awaitFront("web")
	const name = "web-auto-ingress-config"
	auto := s.dynamic.Resource(configResource).Namespace(s.name)
	var object *unstructured.Unstructured
	awaitEntries := func(want ...string) {
		s.await(fmt.Sprintf("the config has entries for %q", want), func() (bool, string) {
			var err error
			object, err = auto.Get(t.Context(), name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return len(want) == 0, "none"
			}
			s.must(err)
			got := entriesOf(s, object)
			return slices.Equal(got, want), strings.Join(got, "; ")
		})
	}
	awaitEntries("HTTP/80 shop.example.com/")
	if owners := object.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != ing.UID || owners[0].Kind != "Ingress" {
		t.Errorf("want it owned by the Ingress, got %+v", owners)
	}
	want := documentedRule("shop.example.com")
	want.Default = true
	s.awaitRuleSettings(lb.ID, "HTTP/80 shop.example.com/", want)
	s.settled()

	edited := l7(desired.L7Listener{Protocol: "HTTP", Port: 80, Domains: []desired.L7Domain{{Domain: "shop.example.com", Rules: []desired.L7Rule{{URL: "/", HealthCheck: quickRuleCheck(), Scheduler: "IP_HASH"}}}}})
	raw, err := toJSON(map[string]any{"spec": edited})
	s.must(err)
	_, err = auto.Patch(t.Context(), name, "application/merge-patch+json", raw, metav1.PatchOptions{})
	s.must(err)
	want.settings = settings{true, 2, 2, 2, 2, 0, "IP_HASH"}
	s.awaitRuleSettings(lb.ID, "HTTP/80 shop.example.com/", want)
	s.reshape("web", rules(to("shop.example.com", "/", "web"), to("shop.example.com", "/x", "web"), to("api.example.com", "/", "web")))
	awaitEntries("HTTP/80 shop.example.com/", "HTTP/80 shop.example.com/x", "HTTP/80 api.example.com/")
	s.awaitRuleSettings(lb.ID, "HTTP/80 shop.example.com/", want)
	s.reshape("web", rules(to("api.example.com", "/", "web")))
	awaitEntries("HTTP/80 api.example.com/")
	s.awaitRules(lb.ID, "HTTP/80 api.example.com/")
	s.settled()

	s.deleteIngress("web")
	s.awaitIngressGone("web")
	awaitEntries()
}

// entriesOf are the rules that a TkeServiceConfig names, by their key.
func entriesOf(s *space, object *unstructured.Unstructured) (out []string) {
	s.t.Helper()
	raw, err := object.MarshalJSON()
	s.must(err)
	var config struct{ Spec desired.ConfigSpec }
	s.must(fromJSON(raw, &config))
	for _, l := range config.Spec.LoadBalancer.L7Listeners {
		for _, d := range l.Domains {
			for _, r := range d.Rules {
				out = append(out, fmt.Sprintf("%s/%d %s%s", l.Protocol, l.Port, d.Domain, r.URL))
			}
		}
	}
	return out
}
