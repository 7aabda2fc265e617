package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// awaitGate waits until a pod's gate has a status, a reason and words in its message.
func (s *space) awaitGate(pod string, status corev1.ConditionStatus, reason string, words ...string) {
	s.t.Helper()
	s.await("the gate of "+pod+" is "+string(status)+" with "+reason, func() (bool, string) {
		p := s.getPod(pod)
		g := gate(p)
		ok := g != nil && g.Status == status && g.Reason == reason
		for _, w := range words {
			ok = ok && strings.Contains(g.Message, w)
		}
		return ok, show(p)
	})
}

// "A gate without any binding: False, with the reason, until 60 s after
// ContainersReady, then True with a reason of its own and an Event."
func TestGateWithoutBindingIsHeldForAMinute(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.pods("a")
	s.awaitGate("a", corev1.ConditionFalse, readiness.ReasonNoBinding, "no load balancer binds this pod")
	awaitFor(t, 3*time.Minute, "the gate is opened", func() (bool, string) {
		p := s.getPod("a")
		return gate(p).Status == corev1.ConditionTrue, show(p)
	})
	p := s.getPod("a")
	if held := gate(p).LastTransitionTime.Sub(condition(p, corev1.ContainersReady).LastTransitionTime.Time); held < 59*time.Second {
		t.Errorf("want it held for 60 s after ContainersReady, it was for %s", held)
	}
	if got := gate(p).Reason; got != readiness.ReasonNoBinding {
		t.Errorf("want the reason %s, got %s", readiness.ReasonNoBinding, got)
	}
	s.awaitEvent("Pod", "a", "ReadinessGateOpened", "no load balancer binds")
}

// "True with TKE's reason and message."
func TestGateOpensWithTKEsWords(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a")
	s.awaitReady("a")
	g := gate(s.getPod("a"))
	want := corev1.PodCondition{
		Type: "cloud.tencent.com/load-balancer-backendgroup-ready", Status: corev1.ConditionTrue,
		Reason: "LoadBalancerNetworkGroupReady", Message: `Marking condition "` + model.GateType + `" to True.`,
	}
	if g.Type != want.Type || g.Status != want.Status || g.Reason != want.Reason || g.Message != want.Message || g.LastTransitionTime.IsZero() {
		t.Errorf("want %+v and a time, got %+v", want, g)
	}
	s.settled()
}

// "False with a documented reason and a message a person can act on."
func TestGateSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("warming", probed, behave(node.KeyFailProbe, "readiness"))
	s.pod("deaf", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "listens-nowhere" })
	s.pod("alone", labelled("nobody"))
	s.awaitGate("warming", corev1.ConditionFalse, readiness.ReasonNotReady, "waiting for the containers to be ready")
	deaf := s.awaitIP("deaf")
	s.awaitGate("deaf", corev1.ConditionFalse, readiness.ReasonNotReady, "Service "+s.name+"/web port TCP/80", "health check of "+deaf.Status.PodIP+":80 fails", "security groups")
	s.awaitGate("alone", corev1.ConditionFalse, readiness.ReasonNoBinding, "no load balancer binds this pod")
	for _, name := range []string{"warming", "deaf", "alone"} {
		if p := s.getPod(name); is(p, corev1.PodReady) {
			t.Errorf("want the pod held, got %s", show(p))
		}
	}
	s.settled()
}

// "By bindings: one per listener of every claimed Service that selects it."
func TestPodOfSeveralServicesWaitsForAll(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("one")
	s.service("two", ports(tcp(80, intstr.FromInt32(81)))) // nobody listens there
	s.pods("a")
	one := s.awaitBalancer("one")
	s.await("the first load balancer finds it Alive", func() (bool, string) {
		targets := s.targets(one.ID)["TCP/80"]
		return len(targets) == 1 && targets[0].Health == "Alive", describe(targets)
	})
	s.awaitGate("a", corev1.ConditionFalse, readiness.ReasonNotReady, "Service "+s.name+"/two port TCP/80", "fails")
	s.change("two", ports(tcp(80, intstr.FromInt32(80))))
	s.awaitReady("a")
	s.settled()
}

// "Not when a named port is missing in this pod": that binding doesn't hold the gate,
// and the message names it.
func TestMissingNamedPortDoesNotHoldTheGate(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromString("metrics"))))
	s.pod("with", serving("metrics", 9100, corev1.ProtocolTCP))
	s.pods("without")
	s.awaitReady("with", "without")
	lb, w := s.awaitBalancer("web"), s.getPod("with")
	s.awaitTargets(lb.ID, "TCP/81", target(w, 9100, 10))
	s.awaitTargets(lb.ID, "TCP/80", target(w, 80, 10), target(s.getPod("without"), 80, 10))
	s.settled()
}

// "Sticky afterwards by default, as TKE is."
func TestGateIsStickyByDefault(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a")
	s.awaitReady("a")
	lb := s.awaitBalancer("web")
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, "true")
	s.await("the CLB finds it Dead", func() (bool, string) {
		targets := s.targets(lb.ID)["TCP/80"]
		return len(targets) == 1 && targets[0].Health == "Dead", describe(targets)
	})
	s.settled()
	if p := s.getPod("a"); !is(p, corev1.PodReady) {
		t.Errorf("want it to stay Ready, got %s", show(p))
	}
}

// "Live by annotation": the gate follows the CLB's health.
func TestGateFollowsHealthWhenLive(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", with(desired.Readiness, "live"))
	s.pods("a")
	s.awaitReady("a")
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, "true")
	s.awaitGate("a", corev1.ConditionFalse, readiness.ReasonNotReady, "fails")
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, nil)
	s.awaitReady("a")
}

// A container that starts again under the same address is held back by its weight, not
// by its gate.
func TestRestartedContainerIsLoweredAndRaised(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("a", probed, func(p *corev1.Pod) {
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 1,
		}
	})
	s.pods("b")
	s.awaitReady("a", "b")
	lb := s.awaitBalancer("web")
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, "liveness,readiness")
	s.await("the container was started again", func() (bool, string) {
		p := s.getPod("a")
		return p.Status.ContainerStatuses[0].RestartCount > 0, show(p)
	})
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("a"), 80, 0), target(s.getPod("b"), 80, 10))
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, nil)
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("a"), 80, 10), target(s.getPod("b"), 80, 10))
}

// "No write without change."
func TestNothingIsWrittenOnceConverged(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a", "b")
	s.awaitReady("a", "b")
	lb := s.awaitBalancer("web")
	s.settled()
	before, since := s.versions(), time.Now()
	s.remains(5*time.Second, "nothing changes, so nothing is written", func() (bool, string) {
		for name, v := range s.versions() {
			if before[name] != v {
				return false, name + " was written to"
			}
		}
		if calls := s.writes(lb.ID, since); len(calls) > 0 {
			return false, calls[0].Action + " was called"
		}
		return true, ""
	})
}
