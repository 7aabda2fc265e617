package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// "Status, kubernetes.io/ingress.qcloud-loadbalance-id, finalizer, ownership tags."
func TestIngressStatusAnnotationFinalizerAndTags(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web")
	lb := s.awaitFront("web")
	ing := s.getIngress("web")
	if lb.Type != "OPEN" || !netip.MustParsePrefix("127.200.0.0/16").Contains(lb.VIP) {
		t.Errorf("want a public load balancer, got %s at %s", lb.Type, lb.VIP)
	}
	for k, v := range map[string]string{desired.TagCluster: stack.ClusterID, desired.TagOwner: string(ing.UID)} {
		if lb.Tags[k] != v {
			t.Errorf("want tag %s to be %s, got %q", k, v, lb.Tags[k])
		}
	}
	if in := ing.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != lb.VIP.String() {
		t.Errorf("want the status to have %s, got %v", lb.VIP, in)
	}
	if got := ing.Annotations["kubernetes.io/ingress.qcloud-loadbalance-id"]; got != lb.ID {
		t.Errorf("want the annotation %s, got %q", lb.ID, got)
	}
	if !slices.Contains(ing.Finalizers, desired.IngressFinalizer) {
		t.Errorf("want the finalizer %s, got %v", desired.IngressFinalizer, ing.Finalizers)
	}
	if o, ours := desired.OwnerOf(lb.Listeners[0].Name); !ours || o.UID != string(ing.UID) || o.Cluster != stack.ClusterID {
		t.Errorf("want the listener's name to say whose it is, got %s", lb.Listeners[0].Name)
	}
	s.awaitEvent("Ingress", "web", "EnsureIngressSuccess", lb.ID, lb.VIP.String())
	s.settled()
}

// "Internal by kubernetes.io/ingress.subnetId."
func TestInternalIngress(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web", noting("kubernetes.io/ingress.subnetId", stack.Subnet))
	s.pods("a")
	s.awaitReady("a")
	lb := s.awaitFront("web")
	if lb.Type != "INTERNAL" || !netip.MustParsePrefix("127.201.0.0/16").Contains(lb.VIP) {
		t.Errorf("want an internal load balancer, got %s at %s", lb.Type, lb.VIP)
	}
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{"http://any.example.com/": "a"})
	s.settled()
}

// theirRule makes a rule of somebody else's, at a listener found by protocol and port.
func (s *space) theirRule(id, protocol string, port int, domain, url string) (location string) {
	s.t.Helper()
	lb, _ := s.balancer(id)
	listener := listenerID(lb, protocol, port)
	q := api.NewCreateRuleRequest()
	q.LoadBalancerId, q.ListenerId, q.Rules = &id, &listener, []*api.RuleInput{{Domain: &domain, Url: &url}}
	res := again(s, func() (*api.CreateRuleResponse, error) { return s.cloud().CreateRule(q) })
	s.done(res.Response.RequestId)
	return *res.Response.LocationIds[0]
}

// withoutListeners deletes what stands on a CLB, as its owner would in the end.
func (s *space) withoutListeners(id string) {
	s.t.Helper()
	q := api.NewDeleteLoadBalancerListenersRequest()
	q.LoadBalancerId = &id
	res := again(s, func() (*api.DeleteLoadBalancerListenersResponse, error) {
		return s.cloud().DeleteLoadBalancerListeners(q)
	})
	s.done(res.Response.RequestId)
}

// same compares the parts of a CLB that aren't ours.
func (s *space) same(before clb.LoadBalancer, listeners ...string) {
	s.t.Helper()
	after, there := s.balancer(before.ID)
	if !there || after.Name != before.Name {
		s.t.Errorf("want %+v untouched, got %+v", before, after)
	}
	for _, l := range before.Listeners {
		if !slices.Contains(listeners, l.Name) {
			continue
		}
		i := slices.IndexFunc(after.Listeners, func(o clb.Listener) bool { return o.ID == l.ID })
		if i < 0 || after.Listeners[i].Name != l.Name || len(after.Listeners[i].Rules) != len(l.Rules) || l.Rules != nil && after.Listeners[i].Rules[0].ID != l.Rules[0].ID {
			s.t.Errorf("want listener %+v untouched, got %+v", l, after.Listeners)
		}
	}
}

// "An existing CLB (kubernetes.io/ingress.existLbId); foreign listeners never touched":
// one at a port that the Ingress wants keeps it, with TKE's E4101.
func TestIngressOnAnExistingLoadBalancerLeavesForeignListeners(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "shop.example.com"))
	id := s.existing()
	s.listener(id, "theirs", "HTTP", 80)
	s.listener(id, "theirs-too", "TCP", 81)
	s.theirRule(id, "HTTP", 80, "theirs.example.com", "/")
	before, _ := s.balancer(id)
	s.apps("web")
	ing := s.ingress("web", noting(desired.IngressExistingLB, id, desired.RuleMixBoth, "true"), secured("tls"), rules(to("shop.example.com", "/", "web")))
	s.awaitEvent("Ingress", "web", "PortConflict", "E4101", "port 80", `"theirs"`)
	s.awaitReady("web") // what is refused holds no gate
	lb := s.awaitFront("web")
	if lb.ID != id || len(s.owned(ing)) > 0 {
		t.Errorf("want %s used and none created, got %s and %v", id, lb.ID, s.owned(ing))
	}
	s.awaitListeners(id, "HTTP/80", "TCP/81", "HTTPS/443")
	s.awaitRules(id, "HTTP/80 theirs.example.com/", "HTTPS/443 shop.example.com/")
	s.awaitVisits(s.browse(lb.VIP.String(), ca), map[string]string{"https://shop.example.com/": "web"})
	s.settled()
	s.deleteIngress("web")
	s.awaitIngressGone("web")
	s.awaitListeners(id, "HTTP/80", "TCP/81")
	s.same(before, "theirs", "theirs-too")
}

// An existing CLB that isn't there, or another controller's, is refused with TKE's codes.
func TestIngressOnAnUnusableLoadBalancerIsRefused(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	tke := s.existing("tke-createdBy-flag", "yes")
	since := time.Now()
	missing := s.ingress("missing", noting(desired.IngressExistingLB, "lb-nowhere0"))
	s.awaitEvent("Ingress", "missing", "LoadBalancerRefused", "E4018", "lb-nowhere0", desired.IngressExistingLB)
	s.ingress("tke", noting(desired.IngressExistingLB, tke))
	s.awaitEvent("Ingress", "tke", "LoadBalancerRefused", "E4019", "tke-createdBy-flag", desired.Takeover)
	for _, data := range s.syncs() {
		s.pass(event.Frontend, data)
	}
	if calls := s.writes(tke, since); len(calls) > 0 || len(s.owned(missing)) > 0 {
		t.Errorf("want nothing written and none created, got %v and %v", byAction(calls), s.owned(missing))
	}
	s.reshape("tke", noting(desired.Takeover, "true"))
	s.pods("a")
	s.awaitReady("a")
	s.awaitTargets(tke, "HTTP/80 /", target(s.getPod("a"), 80, 10))
	s.settled()
}

// An Ingress and a Service share an existing CLB.
func TestIngressAndServiceShareALoadBalancer(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.plain("web")
	s.service("direct", with(desired.ExistingLB, id), ports(tcp(81, intstr.FromInt32(80))))
	s.ingress("web", noting(desired.IngressExistingLB, id))
	s.pods("a")
	s.awaitReady("a")
	a := s.getPod("a")
	s.awaitTargets(id, "HTTP/80 /", target(a, 80, 10))
	s.awaitTargets(id, "TCP/81", target(a, 80, 10))
	s.settled()
	s.deleteIngress("web")
	s.awaitIngressGone("web")
	s.awaitListeners(id, "TCP/81")
	s.awaitTargets(id, "TCP/81", target(a, 80, 10))
	s.settled()
}

// Two Ingresses on one CLB without enable-group: the older keeps the port, the other gets
// E4101 and takes over when it goes.
func TestOlderIngressKeepsThePort(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.apps("older", "younger")
	older := s.ingress("older", noting(desired.IngressExistingLB, id), rules(to("older.example.com", "/", "older")))
	s.later(older)
	s.awaitRules(id, "HTTP/80 older.example.com/")
	s.ingress("younger", noting(desired.IngressExistingLB, id), rules(to("younger.example.com", "/", "younger")))
	s.awaitEvent("Ingress", "younger", "PortConflict", "E4101", "port 80", id)
	s.awaitRules(id, "HTTP/80 older.example.com/")
	s.awaitReady("older")
	s.settled()
	s.deleteIngress("older")
	s.awaitIngressGone("older")
	s.awaitRules(id, "HTTP/80 younger.example.com/")
	s.awaitReady("younger")
	s.settled()
}

// grouped puts an Ingress among those that share the listeners of a CLB.
func grouped(id string) func(*networkingv1.Ingress) {
	return noting(desired.IngressExistingLB, id, desired.EnableGroup, "true")
}

// "Several Ingresses sharing one (enable-group)": one listener, each has its rules; of
// two that want one host and path the older keeps it; deleting one leaves the other's;
// a foreign rule there is never touched.
func TestGroupedIngressesShareAListener(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.apps("one", "two")
	one := s.ingress("one", grouped(id), rules(to("shop.example.com", "/", "one"), to("shop.example.com", "/one", "one")))
	s.later(one)
	s.ingress("two", grouped(id), rules(to("shop.example.com", "/", "two"), to("shop.example.com", "/two", "two")))
	s.awaitEvent("Ingress", "two", "RuleConflict", "E4101", "HTTP/80 shop.example.com/", string(one.UID))
	s.awaitListeners(id, "HTTP/80")
	s.awaitReady("one", "two")
	lb, _ := s.balancer(id)
	b := s.browse(lb.VIP.String())
	s.awaitVisits(b, map[string]string{"http://shop.example.com/": "one", "http://shop.example.com/one": "one", "http://shop.example.com/two": "two"})
	s.settled()

	location := s.theirRule(id, "HTTP", 80, "shop.example.com", "/theirs")
	s.theirRule(id, "HTTP", 80, "theirs.example.com", "/")
	s.settled()
	// An Ingress that wants a foreign rule's place doesn't get it.
	s.reshape("two", rules(to("shop.example.com", "/", "two"), to("shop.example.com", "/two", "two"), to("shop.example.com", "/theirs", "two")))
	s.awaitEvent("Ingress", "two", "RuleConflict", "E4101", "HTTP/80 shop.example.com/theirs", "somebody else")
	s.awaitTargets(id, "HTTP/80 shop.example.com/theirs")
	s.settled()

	s.deleteIngress("one")
	s.awaitIngressGone("one")
	s.awaitRules(id, "HTTP/80 shop.example.com/", "HTTP/80 shop.example.com/two", "HTTP/80 shop.example.com/theirs", "HTTP/80 theirs.example.com/")
	s.awaitVisits(b, map[string]string{"http://shop.example.com/": "two", "http://shop.example.com/two": "two"})
	s.awaitTargets(id, "HTTP/80 shop.example.com/", target(s.getPod("two"), 80, 10))
	s.settled()

	s.deleteIngress("two")
	s.awaitIngressGone("two")
	s.awaitRules(id, "HTTP/80 shop.example.com/theirs", "HTTP/80 theirs.example.com/")
	if got := s.rulesOf(id)["HTTP/80 shop.example.com/theirs"].ID; got != location {
		t.Errorf("want the foreign rule %s untouched, got %q", location, got)
	}
	s.withoutListeners(id) // is nobody's but the test's by now
}

// Two of a group that go at once, or one after the other, leave no listener.
func TestGroupedIngressesLeaveNothing(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.apps("one", "two", "three")
	for _, n := range []string{"one", "two", "three"} {
		s.ingress(n, grouped(id), rules(to(n+".example.com", "/", n)))
	}
	s.awaitReady("one", "two", "three")
	s.awaitRules(id, "HTTP/80 one.example.com/", "HTTP/80 two.example.com/", "HTTP/80 three.example.com/")
	// One leaves the group's rule set without being deleted.
	s.reshape("one", noting(desired.IngressDirectAccess, "false"))
	s.awaitRules(id, "HTTP/80 two.example.com/", "HTTP/80 three.example.com/")
	s.deleteIngress("two")
	s.deleteIngress("three")
	s.awaitIngressGone("two")
	s.awaitIngressGone("three")
	s.awaitListeners(id)
	if notes := s.getIngress("one").Annotations; notes[desired.Rules] != "" {
		t.Errorf("want no record left, got %s", notes[desired.Rules])
	}
}

// enable-group needs an existing CLB: without one it is told, and the Ingress has
// listeners of its own.
func TestGroupWithoutAnExistingLoadBalancerIsTold(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web", noting(desired.EnableGroup, "true"))
	s.awaitEvent("Ingress", "web", "InvalidRule", desired.EnableGroup, desired.IngressExistingLB)
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID, "HTTP/80 /")
	s.settled()
}

// An Ingress that names another existing CLB moves: nothing stays at the old one.
func TestIngressMovesToAnotherLoadBalancer(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	ing := s.ingress("web")
	s.pods("a")
	s.awaitReady("a")
	s.awaitFront("web")
	id := s.existing()
	s.reshape("web", noting(desired.IngressExistingLB, id))
	s.awaitTargets(id, "HTTP/80 /", target(s.getPod("a"), 80, 10))
	s.await("the CLB that was created is gone", func() (bool, string) {
		made := s.owned(ing)
		return len(made) == 0, fmt.Sprint(made)
	})
	s.settled()
}
