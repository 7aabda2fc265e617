package e2e

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// "Every function may ... die at any step, without harm": frontend is killed at each of
// its writes in turn, with the call done and without. What comes out is the same, and
// nothing is there twice.
func TestFrontendKilledBetweenWritesLeavesNothingDouble(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"CreateLoadBalancer", "CreateListener", "CreateRule", "ManualRewrite"} {
		for name, fault := range map[string]*clb.Fault{
			"Done": {}, "NotDone": {Error: &tc3.Error{Code: "InternalError", Message: "the caller died"}},
		} {
			t.Run(action+name, func(t *testing.T) {
				t.Parallel()
				s := newSpace(t)
				ca := newAuthority(t)
				s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
				s.apps("web")
				ours := s.attempts()
				var mu sync.Mutex
				killed := false
				t.Cleanup(s.CLB.Intercept(func(_ context.Context, call clb.Call) *clb.Fault {
					if call.Action != action {
						return nil
					}
					id, ok := ours.of(call)
					mu.Lock()
					defer mu.Unlock()
					if !ok || killed {
						return nil
					}
					killed = true
					s.SCF.Kill(id)
					return fault
				}))
				ing := s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web"), to("shop.example.com", "/x", "web")), noting(desired.RewriteSupport, "true", desired.AutoRewrite, "true"))
				s.awaitReady("web")
				lb := s.awaitFront("web")
				s.awaitListeners(lb.ID, "HTTP/80", "HTTPS/443")
				s.awaitRules(lb.ID, "HTTP/80 shop.example.com/", "HTTP/80 shop.example.com/x", "HTTPS/443 shop.example.com/", "HTTPS/443 shop.example.com/x")
				s.awaitRedirects(lb.ID, "HTTP/80 shop.example.com/", "HTTPS/443 shop.example.com/", "HTTP/80 shop.example.com/x", "HTTPS/443 shop.example.com/x")
				if got := s.owned(ing); !slices.Equal(got, []string{lb.ID}) {
					t.Errorf("want one load balancer, %s, got %v", lb.ID, got)
				}
				mu.Lock()
				if !killed {
					t.Errorf("want frontend killed at %s", action)
				}
				mu.Unlock()
				s.settled()
			})
		}
	}
}

// An Ingress of a group that is killed between a rule and what is written of it finds its
// rule again: what it is about to do is on record before it does it.
func TestGroupedIngressKilledBetweenWritesKeepsItsRules(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.apps("one", "two")
	ours := s.attempts()
	var mu sync.Mutex
	kills := 0
	t.Cleanup(s.CLB.Intercept(func(_ context.Context, call clb.Call) *clb.Fault {
		if call.Action != "CreateRule" && call.Action != "DeleteRule" || call.LoadBalancerID != id {
			return nil
		}
		attempt, ok := ours.of(call)
		mu.Lock()
		defer mu.Unlock()
		if !ok || kills%2 == 1 && call.Action == "CreateRule" || kills > 2 {
			return nil
		}
		kills++
		s.SCF.Kill(attempt)
		return &clb.Fault{}
	}))
	s.ingress("one", grouped(id), rules(to("one.example.com", "/", "one")))
	s.ingress("two", grouped(id), rules(to("two.example.com", "/", "two"), to("two.example.com", "/x", "two")))
	s.awaitReady("one", "two")
	s.awaitRules(id, "HTTP/80 one.example.com/", "HTTP/80 two.example.com/", "HTTP/80 two.example.com/x")
	s.settled()
	s.reshape("two", rules(to("two.example.com", "/x", "two")))
	s.awaitRules(id, "HTTP/80 one.example.com/", "HTTP/80 two.example.com/x")
	s.settled()
	mu.Lock()
	if kills < 2 {
		t.Errorf("want frontend killed at making and at deleting rules, got %d kills", kills)
	}
	mu.Unlock()
	s.deleteIngress("one")
	s.deleteIngress("two")
	s.awaitIngressGone("one")
	s.awaitIngressGone("two")
	s.awaitListeners(id)
}

// "Invoked at any time, twice, late, out of order": events by hand, backends and
// readiness before there is anything, each twice, old ones again after the end.
func TestIngressEventsTwiceAndOutOfOrder(t *testing.T) {
	s := byHand(t, deployment{})
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.plain("web")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web")), noting(desired.RuleMixBoth, "true"))
	s.pods("a", "b")
	a := s.awaitIP("a")
	early := event.Sync{All: true, Objects: []event.Ref{{Kind: "Ingress", Namespace: s.name, Name: "web"}, {Kind: "Ingress", Namespace: s.name, Name: "never"}}}
	named := early
	named.All, named.Pods = false, []event.Pod{{Namespace: s.name, Name: "a", UID: string(a.UID), IP: a.Status.PodIP}}
	s.sender().must(t, event.Readiness, named)
	s.sender().must(t, event.Frontend, early)
	s.by("the pods are Ready", func() (bool, string) {
		id := s.getIngress("web").Annotations[desired.IngressLoadBalancerID]
		for _, data := range []event.Sync{named, early} {
			if data.LoadBalancers = []string{id}; id == "" {
				continue
			}
			for _, f := range []event.Function{event.Readiness, event.Backends, event.Frontend} {
				// Both at once: the one that comes second finds the CLB locked, or done.
				var twice sync.WaitGroup
				for range 2 {
					twice.Go(func() {
						if _, err := s.sender().send(t.Context(), f, data); err != nil {
							t.Error(err)
						}
					})
				}
				twice.Wait()
			}
		}
		okA, stateA := s.ready("a")()
		okB, stateB := s.ready("b")()
		return okA && okB, stateA + "; " + stateB
	})
	lb := s.CLB.LoadBalancers()
	if len(lb) != 1 {
		t.Fatalf("want one load balancer, got %d", len(lb))
	}
	s.awaitRules(lb[0].ID, "HTTP/80 shop.example.com/", "HTTPS/443 shop.example.com/")
	s.settled()
	s.deleteIngress("web")
	s.by("the Ingress is gone", func() (bool, string) {
		_, there := s.versions()["Ingress web"]
		return !there && len(s.CLB.LoadBalancers()) == 0, fmt.Sprintf("there: %t, %d load balancers", there, len(s.CLB.LoadBalancers()))
	})
	// Late ones find nothing and do nothing.
	before := s.versions()
	for _, f := range event.Functions {
		late := early
		late.LoadBalancers = []string{lb[0].ID}
		r := s.sender().must(t, f, late)
		if len(r.Writes) > 0 {
			t.Errorf("want nothing done by %s for what is gone, got %+v", f, r)
		}
	}
	if diff := cmp.Diff(before, s.versions()); diff != "" || len(s.CLB.LoadBalancers()) > 0 {
		t.Errorf("want nothing changed: -before +after:\n%s", diff)
	}
}

// What somebody changes on the CLB by hand is healed by the next pass: a rule deleted, a
// target unbound, a redirect taken away, a certificate changed.
func TestDriftOfRulesIsHealedByTheNextPass(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	right, wrong := s.uploaded(ca, "shop.example.com"), s.uploaded(ca, "shop.example.com")
	s.secret("tls", certIDKey, right)
	s.apps("web")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web"), to("shop.example.com", "/x", "web")), noting(desired.RewriteSupport, "true", desired.AutoRewrite, "true"))
	s.awaitReady("web")
	lb := s.awaitFront("web")
	pod := s.getPod("web")
	const rule, other = "HTTPS/443 shop.example.com/x", "HTTP/80 shop.example.com/"
	s.settled()

	heal := func() {
		t.Helper()
		for _, f := range event.Functions {
			s.await(string(f)+" takes a pass", func() (bool, string) {
				r := s.sender().must(t, f, s.syncs()[lb.ID])
				return r.Failure == nil && !r.Continue, fmt.Sprintf("%+v", r)
			})
		}
		s.awaitRules(lb.ID, other, other+"x", "HTTPS/443 shop.example.com/", rule)
		s.awaitRedirects(lb.ID, other, "HTTPS/443 shop.example.com/", other+"x", rule)
		for _, place := range []string{"HTTPS/443 shop.example.com/", rule} {
			s.awaitTargets(lb.ID, place, target(pod, 80, 10))
			s.await(place+" has its certificate", func() (bool, string) {
				got := s.rulesOf(lb.ID)[place].CertificateID
				return got == right, got
			})
		}
		s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://shop.example.com/x": "web", "http://shop.example.com/x": "301 https://shop.example.com/x"})
		s.settled()
	}
	listener := new(listenerID(lb, "HTTPS", 443))
	for name, drift := range map[string]func() *string{
		"RuleDeleted": func() *string {
			q := api.NewDeleteRuleRequest()
			q.LoadBalancerId, q.ListenerId, q.LocationIds = &lb.ID, listener, []*string{new(s.rulesOf(lb.ID)[rule].ID)}
			return again(s, func() (*api.DeleteRuleResponse, error) { return s.cloud().DeleteRule(q) }).Response.RequestId
		},
		"TargetUnbound": func() *string {
			q := api.NewDeregisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId, q.LocationId = &lb.ID, listener, new(s.rulesOf(lb.ID)[rule].ID)
			q.Targets = []*api.Target{{EniIp: &pod.Status.PodIP, Port: new(int64(80))}}
			return again(s, func() (*api.DeregisterTargetsResponse, error) { return s.cloud().DeregisterTargets(q) }).Response.RequestId
		},
		"RedirectDeleted": func() *string {
			q := api.NewDeleteRewriteRequest()
			q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId = &lb.ID, new(listenerID(lb, "HTTP", 80)), listener
			q.RewriteInfos = []*api.RewriteLocationMap{{SourceLocationId: new(s.rulesOf(lb.ID)[other].ID), TargetLocationId: new(s.rulesOf(lb.ID)["HTTPS/443 shop.example.com/"].ID)}}
			return again(s, func() (*api.DeleteRewriteResponse, error) { return s.cloud().DeleteRewrite(q) }).Response.RequestId
		},
		"CertificateChanged": func() *string {
			q := api.NewModifyDomainAttributesRequest()
			q.LoadBalancerId, q.ListenerId, q.Domain = &lb.ID, listener, new("shop.example.com")
			q.Certificate = &api.CertificateInput{SSLMode: new("UNIDIRECTIONAL"), CertId: &wrong}
			return again(s, func() (*api.ModifyDomainAttributesResponse, error) { return s.cloud().ModifyDomainAttributes(q) }).Response.RequestId
		},
		"ListenerDeleted": func() *string {
			q := api.NewDeleteListenerRequest()
			q.LoadBalancerId, q.ListenerId = &lb.ID, new(listenerID(lb, "HTTP", 80))
			return again(s, func() (*api.DeleteListenerResponse, error) { return s.cloud().DeleteListener(q) }).Response.RequestId
		},
	} {
		t.Log(name)
		before := s.rulesOf(lb.ID)
		s.done(drift())
		if reflect.DeepEqual(before, s.rulesOf(lb.ID)) {
			t.Fatalf("%s changed nothing", name)
		}
		heal()
		lb, _ = s.balancer(lb.ID)
	}
}

// The forwarder sends the Ingresses that exist at its start, and those that went or were
// turned off while it was away.
func TestForwarderSendsIngressesAtStart(t *testing.T) {
	s := newSpace(t)
	s.plain("web")
	s.ingress("off")
	s.ingress("deleted")
	off, deleted := s.awaitFront("off"), s.awaitFront("deleted")
	withoutForwarder(t)
	s.reshape("off", noting(desired.IngressClassAnnotation, "nginx"))
	s.deleteIngress("deleted")
	s.ingress("web")
	s.pods("a")
	s.awaitIP("a")
	startForwarder(t, "url")
	s.awaitReady("a")
	s.awaitIngressGone("deleted")
	for _, id := range []string{off.ID, deleted.ID} {
		s.await("load balancer "+id+" is gone", func() (bool, string) {
			_, there := s.balancer(id)
			return !there, "still there"
		})
	}
	s.settled()
}

// "No write without change": an Ingress that has converged causes no call that writes.
func TestNothingIsWrittenOnceAnIngressHasConverged(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	s.apps("web", "fallback")
	s.ingress("web", secured("tls"), rules(to("shop.example.com", "/", "web"), to("", "/x", "web", exactly)), noting(desired.RewriteSupport, "true", desired.AutoRewrite, "true"),
		func(i *networkingv1.Ingress) {
			i.Spec.DefaultBackend = new(at("fallback", networkingv1.ServiceBackendPort{Number: 80}))
		})
	s.awaitReady("web", "fallback")
	lb := s.awaitFront("web")
	s.settled()
	before, since := s.versions(), time.Now()
	s.remains(5*time.Second, "nothing changes, so nothing is written", func() (bool, string) {
		if after := s.versions(); !maps.Equal(before, after) {
			return false, cmp.Diff(before, after)
		}
		var actions []string
		for _, c := range s.writes(lb.ID, since) {
			actions = append(actions, c.Action)
		}
		return len(actions) == 0, strings.Join(actions, " ")
	})
}
