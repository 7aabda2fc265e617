package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// "A Service of type LoadBalancer with service.cloud.tencent.com/direct-access: "true"
// is ours."
func TestServiceClaimedByAnnotation(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a", "b")
	s.awaitReady("a", "b")
	lb := s.awaitBalancer("web")
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("a"), 80, 10), target(s.getPod("b"), 80, 10))
	s.settled()
}

// "Anything else is left alone."
func TestOtherServicesAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	others := map[string]func(*corev1.Service){
		"plain":     func(o *corev1.Service) { o.Annotations = nil },
		"off":       with(desired.DirectAccess, "false"),
		"clusterip": func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeClusterIP },
		"nodeport":  func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeNodePort },
		"foreign":   func(o *corev1.Service) { o.Spec.LoadBalancerClass = new("example.com/other") },
	}
	for name, set := range others {
		s.service(name, set)
	}
	before := s.versions()
	s.service("ours", selects("none"))
	s.awaitBalancer("ours")
	delete(before, "Service ours")
	for name := range others {
		s.pass("frontend", s.syncs()[""])
		svc := s.getService(name)
		if svc.ResourceVersion != before["Service "+name] || len(svc.Finalizers) > 0 {
			t.Errorf("Service %s isn't ours and was written to: finalizers %v, annotations %v", name, svc.Finalizers, svc.Annotations)
		}
		for _, lb := range s.CLB.LoadBalancers() {
			if lb.Tags[desired.TagOwner] == string(svc.UID) {
				t.Errorf("Service %s isn't ours and has load balancer %s", name, lb.ID)
			}
		}
	}
}

// "An annotation value that is not a boolean gives an Event that says so."
func TestNonBooleanAnnotationIsAnEvent(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("never", with(desired.DirectAccess, "yes please"))
	s.awaitEvent("Service", "never", "InvalidAnnotation", "E4037", desired.DirectAccess, `"yes please"`)
	if svc := s.getService("never"); len(svc.Finalizers) > 0 || balancerOf(svc) != "" {
		t.Errorf("a Service that can't be read was written to: %v", svc.ObjectMeta)
	}

	s.service("once")
	lb := s.awaitBalancer("once")
	s.change("once", func(o *corev1.Service) { o.Annotations[desired.DirectAccess] = "maybe" })
	s.awaitEvent("Service", "once", "InvalidAnnotation", "E4037", `"maybe"`)
	s.remains(time.Second, "what is neither yes nor no leaves everything as it is", func() (bool, string) {
		_, ok := s.balancer(lb.ID)
		return ok && slices.Contains(s.getService("once").Finalizers, desired.Finalizer), "released"
	})
	s.change("once", func(o *corev1.Service) { o.Annotations[desired.DirectAccess] = "true" })
}

// "Turned off: unbind, release what we created, finalizer removed."
func TestTurnedOffIsReleased(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(*corev1.Service){
		"False":     with(desired.DirectAccess, "false"),
		"Removed":   func(o *corev1.Service) { delete(o.Annotations, desired.DirectAccess) },
		"ClusterIP": func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeClusterIP },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			s.service("web")
			s.pods("a")
			s.awaitReady("a")
			lb := s.awaitBalancer("web")
			s.change("web", off)
			s.await("the Service is released", func() (bool, string) {
				svc := s.getService("web")
				_, there := s.balancer(lb.ID)
				_, token := svc.Annotations[desired.ClientToken]
				return len(svc.Finalizers) == 0 && balancerOf(svc) == "" && !token && len(svc.Status.LoadBalancer.Ingress) == 0 && !there,
					fmt.Sprintf("finalizers %v, annotations %v, status %v, load balancer there: %t", svc.Finalizers, svc.Annotations, svc.Status.LoadBalancer, there)
			})
			if pod := s.getPod("a"); !is(pod, corev1.PodReady) {
				t.Errorf("a pod that was Ready stays so: %s", show(pod))
			}
		})
	}
}

// "Deleted: unbind, release what we created, finalizer removed."
func TestDeletedServiceIsReleased(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a")
	s.awaitReady("a")
	lb := s.awaitBalancer("web")
	s.deleteService("web")
	s.awaitServiceGone("web")
	if _, there := s.balancer(lb.ID); there {
		t.Errorf("load balancer %s was made for the Service and is still there", lb.ID)
	}
}

// "Before an object drops its finalizer, every pod it held is decided again": a pod
// that waits for a Service that is deleted isn't left with that as its reason.
func TestDeletedServiceLetsGoOfItsPods(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("a", serving("web", 81, corev1.ProtocolTCP), func(p *corev1.Pod) { p.Spec.Containers[0].Image = "other" })
	s.await("the gate waits for the health check", func() (bool, string) {
		pod := s.getPod("a")
		g := gate(pod)
		return g != nil && g.Reason == readiness.ReasonNotReady && is(pod, corev1.ContainersReady), show(pod)
	})
	s.deleteService("web")
	s.awaitServiceGone("web")
	if g := gate(s.getPod("a")); g.Status != corev1.ConditionFalse || g.Reason != readiness.ReasonNoBinding {
		t.Errorf("want the gate decided without the Service, got %s", show(s.getPod("a")))
	}
}

// "Other people's listeners and CLBs never touched."
func TestForeignListenersAreNeverTouched(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	id := s.existing()
	s.listener(id, "somebody-elses", "TCP", 443)
	before, _ := s.balancer(id)
	s.service("web", with(desired.ExistingLB, id))
	s.pods("a")
	s.awaitReady("a")
	s.awaitListeners(id, "TCP/443", "TCP/80")
	s.deleteService("web")
	s.awaitServiceGone("web")
	s.awaitListeners(id, "TCP/443")
	after, there := s.balancer(id)
	if !there || after.Listeners[0].ID != before.Listeners[0].ID || after.Name != before.Name {
		t.Errorf("want %+v untouched, got %+v", before, after)
	}
}
