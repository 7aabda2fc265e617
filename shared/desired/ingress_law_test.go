package desired

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

// drawIngress makes any Ingress that Kubernetes would take, and many more.
func drawIngress(t *rapid.T) *model.Ingress {
	host := rapid.SampledFrom([]string{"", hostA, hostB, "*.example.com", "bad", "A.example.com"})
	path := rapid.SampledFrom([]string{"", "/", "/x", "/x/", "= /x", "x"})
	backend := func(name string) model.IngressBackend {
		return model.IngressBackend{
			Service: rapid.SampledFrom([]string{"web", "api", "dns", "bare", "away", ""}).Draw(t, name), PortNumber: rapid.SampledFrom([]int{80, 81, 53}).Draw(t, name+"'s port"),
			Resource: rapid.IntRange(0, 9).Draw(t, name+" is a resource") == 0,
		}
	}
	var rules []model.IngressRule
	for range rapid.IntRange(0, 6).Draw(t, "rules") {
		rules = append(rules, model.IngressRule{
			Host: host.Draw(t, "host"), Path: path.Draw(t, "path"), Backend: backend("backend"),
			PathType: rapid.SampledFrom([]string{"", "Prefix", "Exact", "ImplementationSpecific", "Regex"}).Draw(t, "type"),
		})
	}
	annotations := map[string]string{}
	for _, key := range []string{RuleMix, RuleMixBoth, RewriteSupport, AutoRewrite, EnableGroup} {
		if v := rapid.SampledFrom([]string{"", "true", "false", "maybe"}).Draw(t, key); v != "" {
			annotations[key] = v
		}
	}
	if rapid.Bool().Draw(t, "existing") {
		annotations[IngressExistingLB] = "lb-1234abcd"
	}
	if v := rapid.SampledFrom([]string{"", `[{"HTTP":80},{"HTTPS":443}]`, `[{"HTTP":81},{"HTTP":80}]`, `[{"HTTPS":80},{"HTTPS":8443}]`, `[]`, `{`}).Draw(t, "listen-ports"); v != "" {
		annotations[ListenPorts] = v
	}
	for _, key := range []string{HTTPRules, HTTPSRules} {
		var entries []json.RawMessage
		for _, r := range rules {
			if rapid.Bool().Draw(t, "named in "+key) {
				entries = append(entries, json.RawMessage(entryOf(r.Host, r.Path, r.Backend.Service, fmt.Sprint(r.Backend.PortNumber))))
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "redirects in "+key) {
			entries = append(entries, json.RawMessage(rewriteOf(host.Draw(t, "from"), path.Draw(t, "from path"), rapid.SampledFrom([]int{0, 80, 443}).Draw(t, "to port"), host.Draw(t, "to"), path.Draw(t, "to path"))))
		}
		if len(entries) > 0 {
			raw, err := json.Marshal(entries)
			if err != nil {
				t.Fatal(err)
			}
			annotations[key] = string(raw)
		}
	}
	ing := ingress(annotations, rules...)
	if rapid.Bool().Draw(t, "default") {
		b := backend("default backend")
		ing.Default = &b
	}
	for range rapid.IntRange(0, 3).Draw(t, "tls") {
		ing.TLS = append(ing.TLS, model.IngressTLS{
			Secret: rapid.SampledFrom([]string{"one", "two", "mutual", "gone", "keyless", "empty", "unknown", ""}).Draw(t, "secret"),
			Hosts:  rapid.SliceOfN(host, 0, 2).Draw(t, "hosts"),
		})
	}
	return ing
}

var policy = Policy{Cluster: "cls-1"}

// TestIngressLaws: every rule is on a listener that is wanted, and of one Backing, which
// isn't broken; redirects lead to rules; what is complained about says where; and the same
// Ingress always comes to the same.
func TestIngressLaws(t *testing.T) {
	src := ingressSources()
	rapid.Check(t, func(t *rapid.T) {
		ing := drawIngress(t)
		w := WantsOf(IngressObject(ing), src, policy)
		if diff := cmp.Diff(w, WantsOf(IngressObject(ing), src, policy)); diff != "" {
			t.Fatalf("computed again it is another: -first +second:\n%s", diff)
		}
		listeners := map[string]model.WantedListener{}
		ports := map[int]bool{}
		for _, l := range w.Listeners {
			if ports[l.Port] || listeners[l.Name].Name != "" {
				t.Fatalf("two listeners at %d", l.Port)
			}
			ports[l.Port], listeners[l.Name] = true, l
		}
		backings := map[model.Spot]Backing{}
		for _, b := range w.Backings {
			if _, twice := backings[b.Spot]; twice {
				t.Fatalf("two backings at %s", b.Name)
			}
			if key, ours := SpotKey(b.Spot); !ours || key != b.Key || listeners[b.Listener].Name == "" {
				t.Fatalf("%s: its listener isn't wanted, or its key %q isn't its spot's, %q", b.Name, b.Key, key)
			}
			backings[b.Spot] = b
		}
		rules := map[model.Spot]model.WantedRule{}
		defaults := map[string]string{}
		for _, r := range w.Rules {
			b, ok := backings[r.Spot]
			if _, twice := rules[r.Spot]; twice || !ok || b.Broken != "" || b.Key != r.Key || w.Refused[r.Key] != "" {
				t.Fatalf("%s is there twice, or its backing isn't: %+v", r.Key, b)
			}
			if (b.Service == nil) != (r.Redirect != nil) {
				t.Fatalf("%s: pods are bound where and only where something is forwarded: %+v", r.Key, b)
			}
			if d, ok := defaults[r.Listener]; r.DefaultServer && ok && d != r.Domain {
				t.Fatalf("%q and %q are both the default of %s", d, r.Domain, r.Listener)
			}
			if r.DefaultServer {
				defaults[r.Listener] = r.Domain
			}
			if https := listeners[r.Listener].Protocol == model.HTTPS; https != (r.Certificate != nil) {
				t.Fatalf("%s: a certificate belongs to HTTPS, and HTTPS needs one: %+v", r.Key, r.Certificate)
			}
			rules[r.Spot] = r
		}
		for _, r := range w.Rules {
			if target, ok := rules[redirect(r)]; r.Redirect != nil && (!ok || target.Redirect != nil) {
				t.Fatalf("%s redirects to nothing, or in a chain", r.Key)
			}
		}
		for _, b := range w.Backings {
			if _, ok := rules[b.Spot]; !ok && b.Broken == "" && w.Refused[b.Key] == "" {
				t.Fatalf("%s has no rule, and nothing says why", b.Name)
			}
		}
		for _, p := range w.Problems {
			if p.Field == "" || p.Message == "" {
				t.Fatalf("a problem names its field: %+v", p)
			}
		}
		if broken := len(w.Rules) < len(w.Backings); broken && len(w.Problems) == 0 {
			t.Fatal("something is missing, and nobody is told")
		}
	})
}

func redirect(r model.WantedRule) model.Spot {
	if r.Redirect == nil {
		return model.Spot{}
	}
	return r.Redirect.To
}

// TestIngressPlaces: where an Ingress has places, and which of them are broken, depends
// neither on secrets nor on its TkeServiceConfig: a pass that reads neither sees the same.
func TestIngressPlaces(t *testing.T) {
	cfg, problems := ParseConfig(specOf7(t, `{"protocol":"HTTP","port":80,"defaultServer":"b.example.com","keepaliveEnable":1,"domains":[{"domain":"a.example.com","rules":[{"url":"/x","scheduler":"WRR"}]}]}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	rapid.Check(t, func(t *rapid.T) {
		ing := drawIngress(t)
		full, none, other := ingressSources(), ingressSources(), ingressSources()
		none.Secrets = nil
		other.Config, other.Secrets = &cfg, map[string]map[string][]byte{}
		want := WantsOf(IngressObject(ing), full, policy)
		for name, src := range map[string]Sources{"no secrets read": none, "secrets away, configured": other} {
			got := WantsOf(IngressObject(ing), src, policy)
			byPort := cmpopts.IgnoreFields(model.WantedListener{}, "KeepAlive")
			ofService := cmp.Comparer(func(a, b *model.Service) bool {
				return (a == nil) == (b == nil) && (a == nil || a.Name == b.Name)
			})
			if diff := cmp.Diff(want.Backings, got.Backings, ofService); diff != "" {
				t.Fatalf("%s: other places: -want +got:\n%s", name, diff)
			}
			if diff := cmp.Diff(want.Listeners, got.Listeners, byPort); diff != "" {
				t.Fatalf("%s: other listeners: -want +got:\n%s", name, diff)
			}
		}
	})
}

// TestIngressOneBadRule: a bad rule more changes nothing about the others.
func TestIngressOneBadRule(t *testing.T) {
	bad := map[string]model.IngressRule{
		"Host":    to("web", 80, "no_host", "/new"),
		"Path":    to("web", 80, hostA, "new"),
		"Type":    {Host: hostA, Path: "/new", PathType: "Regex", Backend: model.IngressBackend{Service: "web", PortNumber: 80}},
		"Service": to("away", 80, hostA, "/new"),
		"Port":    to("web", 1, hostA, "/new"),
		"UDP":     to("dns", 53, hostA, "/new"),
		"Bare":    to("bare", 80, hostA, "/new"),
	}
	src := ingressSources()
	for name, rule := range bad {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				ing := drawIngress(t)
				// The host is there already: a new one has the default backend's places, as
				// it should, and those may have been a bad rule's until then.
				known := to("web", 80, hostA, "/known")
				known.Field = "spec.rules[9].http.paths[0]"
				ing.Rules = append(ing.Rules, known)
				before := WantsOf(IngressObject(ing), src, policy)
				more := *ing
				more.Rules = slices.Insert(slices.Clone(ing.Rules), rapid.IntRange(0, len(ing.Rules)).Draw(t, "at"), rule)
				after := WantsOf(IngressObject(&more), src, policy)
				isNew := func(s model.Spot) bool {
					return !slices.ContainsFunc(before.Backings, func(b Backing) bool { return b.Spot == s })
				}
				rules := slices.DeleteFunc(slices.Clone(after.Rules), func(r model.WantedRule) bool { return isNew(r.Spot) })
				backings := slices.DeleteFunc(slices.Clone(after.Backings), func(b Backing) bool { return isNew(b.Spot) })
				anyOrder := cmpopts.SortSlices(func(a, b Backing) bool { return a.Spot.Compare(b.Spot) < 0 })
				rulesAnyOrder := cmpopts.SortSlices(func(a, b model.WantedRule) bool { return a.Spot.Compare(b.Spot) < 0 })
				sameFront := cmp.Comparer(func(a, b *model.Front) bool { return a.UID == b.UID })
				if diff := cmp.Diff(before.Rules, rules, sameFront, rulesAnyOrder, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("other rules: -before +after:\n%s", diff)
				}
				if diff := cmp.Diff(before.Backings, backings, sameFront, anyOrder, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("other places: -before +after:\n%s", diff)
				}
				if i := slices.IndexFunc(after.Rules, func(r model.WantedRule) bool { return r.Path == clbPath(rule.Path, rule.PathType) }); i >= 0 {
					t.Fatalf("the bad rule is wanted: %+v", after.Rules[i])
				}
				if len(after.Problems) == 0 {
					t.Fatal("nobody is told")
				}
			})
		})
	}
}
