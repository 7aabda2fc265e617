package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// "Services of any type": pods are bound by their own addresses, whatever else the
// Service is.
func TestIngressServesServicesOfAnyType(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("clusterip", selects("web"))
	s.plain("nodeport", selects("web"), func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeNodePort })
	s.plain("headless", selects("web"), func(o *corev1.Service) { o.Spec.ClusterIP = corev1.ClusterIPNone })
	s.plain("loadbalancer", selects("web"), func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeLoadBalancer })
	const host = "shop.example.com"
	s.ingress("web", rules(to(host, "/c", "clusterip"), to(host, "/n", "nodeport"), to(host, "/h", "headless"), to(host, "/l", "loadbalancer")))
	s.pods("a", "b")
	s.awaitReady("a", "b")
	lb, a, b := s.awaitFront("web"), s.getPod("a"), s.getPod("b")
	for _, path := range []string{"/c", "/n", "/h", "/l"} {
		s.awaitTargets(lb.ID, "HTTP/80 "+host+path, target(a, 80, 10), target(b, 80, 10))
	}
	if svc := s.getService("loadbalancer"); len(svc.Finalizers) > 0 || balancerOf(svc) != "" {
		t.Errorf("a Service that only an Ingress refers to isn't ours, got %v", svc.ObjectMeta)
	}
	s.settled()
}

// "By named or numbered port, targetPort resolved per pod."
func TestIngressPortsByNameAndNumberResolvedPerPod(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web", ports(tcp(80, intstr.FromString("web")), tcp(81, intstr.FromInt32(80))))
	s.pod("a", serving("web", 8080, corev1.ProtocolTCP))
	s.pod("b", serving("web", 9090, corev1.ProtocolTCP))
	const host = "shop.example.com"
	s.ingress("web", rules(to(host, "/number", "web"), to(host, "/name", "web", byName("tcp-80")), to(host, "/other", "web", byName("tcp-81")), to(host, "/another", "web", byNumber(81))))
	s.awaitReady("a", "b")
	lb, a, b := s.awaitFront("web"), s.getPod("a"), s.getPod("b")
	for _, path := range []string{"/number", "/name"} {
		s.awaitTargets(lb.ID, "HTTP/80 "+host+path, target(a, 8080, 10), target(b, 9090, 10))
	}
	for _, path := range []string{"/other", "/another"} {
		s.awaitTargets(lb.ID, "HTTP/80 "+host+path, target(a, 80, 10), target(b, 80, 10))
	}
	s.settled()
}

// "One Service behind several rules": a pod is bound at every one, by few calls, and is
// gone from all when it goes.
func TestOneServiceBehindSeveralRules(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.pods("a", "b")
	s.awaitIP("a")
	s.awaitIP("b")
	var all []networkingv1.IngressRule
	for i := range 12 {
		all = append(all, to(fmt.Sprintf("h%d.example.com", i%3), fmt.Sprintf("/%d", i), "web"))
	}
	s.ingress("web", rules(all...))
	s.awaitReady("a", "b")
	lb, a, b := s.awaitFront("web"), s.getPod("a"), s.getPod("b")
	each := func(want ...string) {
		for i := range 12 {
			s.awaitTargets(lb.ID, fmt.Sprintf("HTTP/80 h%d.example.com/%d", i%3, i), want...)
		}
	}
	each(target(a, 80, 10), target(b, 80, 10))
	s.deletePod("b")
	each(target(a, 80, 10))
	s.settled()
}

// "A pod behind several Ingresses and Services: its condition waits for all of them;
// unbinding one leaves the others."
func TestPodOfIngressesAndAServiceWaitsForAll(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(81)))) // nobody listens at 81
	s.service("direct", ports(tcp(80, intstr.FromInt32(81))))
	s.ingress("one")
	s.ingress("two", rules(to("", "/", "web", byNumber(81))))
	s.pods("a")
	one, two := s.awaitFront("one"), s.awaitFront("two")
	s.await("the first Ingress's CLB finds it Alive", func() (bool, string) {
		targets := s.targets(one.ID)["HTTP/80 /"]
		return len(targets) == 1 && targets[0].Health == "Alive", describe(targets)
	})
	s.awaitGate("a", corev1.ConditionFalse, readiness.ReasonNotReady)
	s.reshape("two", rules(to("", "/", "web")))
	s.awaitGate("a", corev1.ConditionFalse, readiness.ReasonNotReady, "Service "+s.name+"/direct port TCP/80", "fails")
	s.change("direct", ports(tcp(80, intstr.FromInt32(80))))
	s.awaitReady("a")
	direct, a := s.awaitBalancer("direct"), s.getPod("a")
	everywhere := map[string]string{one.ID: "HTTP/80 /", two.ID: "HTTP/80 /", direct.ID: "TCP/80"}
	for id, place := range everywhere {
		s.awaitTargets(id, place, target(a, 80, 10))
	}
	s.settled()

	s.deleteIngress("one")
	s.awaitIngressGone("one")
	s.deleteService("direct")
	s.awaitServiceGone("direct")
	s.awaitTargets(two.ID, "HTTP/80 /", target(a, 80, 10))
	s.awaitVisits(s.browse(two.VIP.String()), map[string]string{"http://any.example.com/": "a"})
	if p := s.getPod("a"); !is(p, corev1.PodReady) {
		t.Errorf("want the pod to stay Ready, got %s", show(p))
	}
	s.settled()
}

// A Service that comes later, changes its selector or ports, or goes: the Ingress that
// refers to it follows.
func TestIngressFollowsItsServices(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.ingress("web")
	s.awaitEvent("Ingress", "web", "InvalidRule", "W1000", "spec.rules[0].http.paths[0].backend.service.name", s.name+"/web")
	lb := s.awaitFront("web")
	s.awaitRules(lb.ID)
	s.pods("a")
	s.pod("b", labelled("other"), serving("alt", 8080, corev1.ProtocolTCP))
	s.awaitGate("a", corev1.ConditionFalse, readiness.ReasonNoBinding)
	s.plain("web")
	s.awaitReady("a")
	a, b := s.getPod("a"), s.getPod("b")
	s.awaitTargets(lb.ID, "HTTP/80 /", target(a, 80, 10))
	s.settled()

	s.change("web", selects("other"))
	s.awaitTargets(lb.ID, "HTTP/80 /", target(b, 80, 10))
	s.awaitReady("b")
	s.change("web", ports(tcp(80, intstr.FromInt32(8080))))
	s.awaitTargets(lb.ID, "HTTP/80 /", target(b, 8080, 10))
	s.settled()

	s.deleteService("web")
	s.await("nothing is bound without the Service", func() (bool, string) {
		targets := s.targets(lb.ID)["HTTP/80 /"]
		return len(targets) == 0, describe(targets)
	})
	s.awaitRules(lb.ID)
	s.settled()
}

// "Pods as backends, gated and drained like a Service's": bound early at weight 0, raised
// when its containers are ready, lowered when it is deleted, unbound when it is gone.
func TestIngressPodIsBoundEarlyRaisedLoweredAndUnbound(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web")
	s.pod("a", probed, grace(6), behave(node.KeyFailProbe, "readiness", node.KeyIgnoreSIGTERM, "true"))
	s.pods("b")
	lb, a, b := s.awaitFront("web"), s.awaitIP("a"), s.awaitIP("b")
	const rule = "HTTP/80 /"
	s.awaitTargets(lb.ID, rule, target(a, 80, 0), target(b, 80, 10))
	s.await("the CLB checks it though its weight is 0", func() (bool, string) {
		for _, target := range s.targets(lb.ID)[rule] {
			if target.IP.String() == a.Status.PodIP && target.Health == "Alive" {
				return true, ""
			}
		}
		return false, describe(s.targets(lb.ID)[rule])
	})
	if pod := s.getPod("a"); is(pod, corev1.PodReady) {
		t.Errorf("alive at the CLB is not enough: %s", show(pod))
	}
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, nil)
	s.awaitReady("a", "b")
	s.awaitTargets(lb.ID, rule, target(a, 80, 10), target(b, 80, 10))
	s.deletePod("a")
	s.awaitTargets(lb.ID, rule, target(a, 80, 0), target(b, 80, 10))
	s.awaitVisits(s.browse(lb.VIP.String()), map[string]string{"http://any.example.com/": "b"})
	if pod := s.getPod("a"); pod.DeletionTimestamp == nil {
		t.Error("the pod should still be terminating")
	}
	s.awaitPodGone("a")
	s.awaitTargets(lb.ID, rule, target(b, 80, 10))
	s.settled()
}

// A pod's weight behind Ingresses is of its own annotation, apart from that behind
// Services.
func TestIngressCustomWeight(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.service("direct")
	s.ingress("web")
	s.pod("a", marked(desired.IngressCustomWeight, "50", desired.CustomWeight, "7"))
	s.pod("b", marked(desired.IngressCustomWeight, "heavy"))
	s.awaitReady("a", "b")
	lb, direct, a, b := s.awaitFront("web"), s.awaitBalancer("direct"), s.getPod("a"), s.getPod("b")
	s.awaitTargets(lb.ID, "HTTP/80 /", target(a, 80, 50), target(b, 80, 10))
	s.awaitTargets(direct.ID, "TCP/80", target(a, 80, 7), target(b, 80, 10))
	s.awaitEvent("Pod", "b", "InvalidWeight", desired.IngressCustomWeight, `"heavy"`)
	s.annotate("a", desired.IngressCustomWeight, "20")
	s.awaitTargets(lb.ID, "HTTP/80 /", target(a, 80, 20), target(b, 80, 10))
	s.settled()
}

// Pods that can't be reached directly are named on the Ingress, the others bound.
func TestIngressPodsThatAreNotDirectAreNamed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.pods("direct")
	s.pod("global", global)
	s.awaitIP("direct")
	s.awaitIP("global")
	s.plain("web")
	s.ingress("web")
	s.awaitEvent("Ingress", "web", "PodsNotDirect", "global")
	s.awaitReady("direct")
	s.awaitTargets(s.awaitFront("web").ID, "HTTP/80 /", target(s.getPod("direct"), 80, 10))
	s.settled()
}

// The webhook gives the gate to pods that an Ingress's Service selects, and to no others.
func TestPodsBehindAnIngressGetTheGate(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("web")
	s.awaitGating()
	for app, want := range map[string]bool{"web": true, "other": false} {
		pod := bare(s.name, "p-")
		pod.Labels["app"] = app
		out, err := s.client.CoreV1().Pods(s.name).Create(t.Context(), pod, metav1.CreateOptions{})
		s.must(err)
		if hasGate(out) != want {
			t.Errorf("want a gate for app=%s: %t, got %v", app, want, out.Spec.ReadinessGates)
		}
	}
}

// "Converge by batches across rules, not rule by rule": many rules and pods take few
// calls.
func TestManyRulesAndPodsTakeFewCalls(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("p%d", i))
		s.pod(names[i])
	}
	for _, n := range names {
		s.awaitIP(n)
	}
	var all []networkingv1.IngressRule
	for i := range 30 {
		all = append(all, to(fmt.Sprintf("h%d.example.com", i%6), fmt.Sprintf("/%d", i), "web"))
	}
	since := time.Now()
	s.ingress("web", rules(all...))
	s.awaitReady(names...)
	lb := s.awaitFront("web")
	calls, bound := map[string]int{}, 0
	for _, c := range s.writes(lb.ID, since) {
		calls[c.Action]++
		if c.Action == "BatchRegisterTargets" {
			bound += c.Targets
		}
	}
	if bound != 300 || calls["BatchRegisterTargets"] > 4 || calls["CreateRule"] > 2 || calls["CreateListener"] != 1 {
		t.Errorf("want 300 targets bound by one call or little more, 30 rules made by one, got %d by %v", bound, calls)
	}
	for action := range calls {
		if !strings.HasPrefix(action, "Batch") && !strings.HasPrefix(action, "Create") {
			t.Errorf("want rules and targets made right at once, got %v", calls)
		}
	}
	s.settled()
}
