package e2e

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/clb-direct/clb-direct/shared/desired"
)

// "Redirects (rewrite-support, auto-rewrite)": every rule at HTTPS has one at HTTP that
// leads to it, path and all.
func TestAutoRewriteRedirectsToHTTPS(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com", "api.example.com"))
	s.apps("shop", "api")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "shop"), to("api.example.com", "/v1", "api")),
		noting(desired.RewriteSupport, "true", desired.AutoRewrite, "true"))
	s.awaitReady("shop", "api")
	lb := s.awaitFront("web")
	s.awaitListeners(lb.ID, "HTTP/80", "HTTPS/443")
	s.awaitRedirects(lb.ID, "HTTP/80 shop.example.com/", "HTTPS/443 shop.example.com/", "HTTP/80 api.example.com/v1", "HTTPS/443 api.example.com/v1")
	s.awaitTargets(lb.ID, "HTTP/80 shop.example.com/")
	b := s.browse(lb.VIP.String(), ca)
	s.awaitVisits(b, map[string]string{"http://shop.example.com/some/thing?q=1": "301 https://shop.example.com/some/thing?q=1"})
	s.awaitVisits(b.following(), map[string]string{"http://shop.example.com/": "shop", "http://api.example.com/v1/x": "api"})
	s.settled()
	// Off, the redirects go and what they led to stays.
	s.reshape("web", noting(desired.AutoRewrite, "false"))
	s.awaitListeners(lb.ID, "HTTPS/443")
	s.awaitVisits(b, map[string]string{"https://shop.example.com/": "shop"})
	s.settled()
}

// "Redirects" by hand: those of http-rules, wherever they lead in the Ingress; followed
// when they change.
func TestManualRewriteRedirects(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("new", "newer")
	rewrite := func(path string) string {
		return `[{"host":"old.example.com","path":"/","rewrite":{"port":443,"host":"shop.example.com","path":"` + path + `"}}]`
	}
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/new", "new"), to("shop.example.com", "/newer", "newer")),
		noting(desired.RuleMix, "true", desired.RewriteSupport, "true", desired.HTTPRules, rewrite("/new")))
	s.awaitReady("new", "newer")
	lb := s.awaitFront("web")
	s.awaitRedirects(lb.ID, "HTTP/80 old.example.com/", "HTTPS/443 shop.example.com/new")
	b := s.browse(lb.VIP.String(), ca).following()
	s.awaitVisits(b, map[string]string{"http://old.example.com/": "new"})
	s.settled()
	s.reshape("web", noting(desired.HTTPRules, rewrite("/newer")))
	s.awaitRedirects(lb.ID, "HTTP/80 old.example.com/", "HTTPS/443 shop.example.com/newer")
	s.awaitVisits(b, map[string]string{"http://old.example.com/": "newer"})
	s.settled()
	// One that leads nowhere is refused, and stays nobody's way.
	s.reshape("web", noting(desired.HTTPRules, rewrite("/nowhere")))
	s.awaitEvent("Ingress", "web", "InvalidRule", "E4022", desired.HTTPRules+"[0]", "/nowhere")
	s.awaitVisits(b, map[string]string{"https://shop.example.com/new": "new"})
	s.settled()
}

// A redirect where the user has a rule is E4068: the rule stays.
func TestRedirectOverARuleIsE4068(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("own", "other")
	const host = "shop.example.com"
	entry := `[{"host":"shop.example.com","path":"/own","backend":{"serviceName":"own","servicePort":80}}]`
	s.ingress("web", secured("tls"), rules(to(host, "/own", "own"), to(host, "/other", "other")),
		noting(desired.RuleMix, "true", desired.RewriteSupport, "true", desired.AutoRewrite, "true", desired.HTTPRules, entry, desired.HTTPSRules, entry))
	s.awaitReady("own", "other")
	s.awaitEvent("Ingress", "web", "InvalidRule", "E4068", "HTTP/80 shop.example.com/own")
	lb := s.awaitFront("web")
	s.awaitRedirects(lb.ID, "HTTP/80 shop.example.com/other", "HTTPS/443 shop.example.com/other")
	b := s.browse(lb.VIP.String(), ca)
	s.awaitVisits(b, map[string]string{
		"http://shop.example.com/own":   "own",
		"https://shop.example.com/own":  "own",
		"http://shop.example.com/other": "301 https://shop.example.com/other",
	})
	s.settled()
}

// A rule that becomes a redirect has nothing bound any more, and gets its pods back when
// it is a rule again.
func TestRuleBecomesARedirectAndARuleAgain(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("web")
	both := noting(desired.RuleMixBoth, "true", desired.RewriteSupport, "false", desired.AutoRewrite, "false")
	redirect := noting(desired.RuleMixBoth, "false", desired.RewriteSupport, "true", desired.AutoRewrite, "true")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web")), both)
	s.awaitReady("web")
	lb, pod := s.awaitFront("web"), s.getPod("web")
	for _, step := range []struct {
		set    func(*networkingv1.Ingress)
		answer string
		bound  []string
	}{{both, "web", []string{target(pod, 80, 10)}}, {redirect, "301 https://shop.example.com/", nil}, {both, "web", []string{target(pod, 80, 10)}}} {
		s.reshape("web", step.set)
		s.awaitTargets(lb.ID, "HTTP/80 shop.example.com/", step.bound...)
		s.awaitTargets(lb.ID, "HTTPS/443 shop.example.com/", target(pod, 80, 10))
		s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"http://shop.example.com/": step.answer, "https://shop.example.com/": "web"})
		s.settled()
	}
}
