package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// classed has an Ingress name its class by the field, not by the annotation.
func classed(name string) func(*networkingv1.Ingress) {
	return func(i *networkingv1.Ingress) {
		delete(i.Annotations, desired.IngressClassAnnotation)
		i.Spec.IngressClassName = &name
	}
}

// "Ours: class qcloud by annotation, by ingressClassName, or none at all (as TKE), and
// direct access on."
func TestIngressClaimedByClass(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	ours := map[string]func(*networkingv1.Ingress){
		"annotation": noting(),
		"field":      classed(desired.QcloudClass),
		"none":       without(desired.IngressClassAnnotation),
		"own":        classed(desired.IngressClass),
	}
	for name, set := range ours {
		s.ingress(name, set)
	}
	s.pods("a")
	s.awaitReady("a")
	for name := range ours {
		lb := s.awaitFront(name)
		s.awaitListeners(lb.ID, "HTTP/80")
		s.awaitTargets(lb.ID, "HTTP/80 /", target(s.getPod("a"), 80, 10))
	}
	s.settled()
}

// Another class's Ingresses, and those without direct access, are left alone.
func TestOtherIngressesAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	others := map[string]func(*networkingv1.Ingress){
		"annotation": noting(desired.IngressClassAnnotation, "nginx"),
		"field":      classed("nginx"),
		"off":        noting(desired.IngressDirectAccess, "false"),
		"undirect":   without(desired.IngressDirectAccess),
	}
	for name, set := range others {
		s.ingress(name, set)
	}
	before := s.versions()
	s.ingress("ours")
	s.awaitFront("ours")
	for name := range others {
		s.pass(event.Frontend, s.syncs()[""])
		ing := s.getIngress(name)
		if ing.ResourceVersion != before["Ingress "+name] || len(ing.Finalizers) > 0 {
			t.Errorf("Ingress %s isn't ours and was written to: finalizers %v, annotations %v", name, ing.Finalizers, ing.Annotations)
		}
		if made := s.owned(ing); len(made) > 0 {
			t.Errorf("Ingress %s isn't ours and has load balancers %v", name, made)
		}
	}
}

// "Values outside TKE's rules are refused with TKE's code and the field's name in an
// Event": direct access that is neither true nor false.
func TestIngressDirectAccessThatIsNoBooleanIsE4037(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.plain("web")
	s.ingress("never", noting(desired.IngressDirectAccess, "yes please"))
	s.awaitEvent("Ingress", "never", "InvalidAnnotation", "E4037", desired.IngressDirectAccess, `"yes please"`)
	if ing := s.getIngress("never"); len(ing.Finalizers) > 0 || len(s.owned(ing)) > 0 {
		t.Errorf("an Ingress that can't be read was written to: %v", ing.ObjectMeta)
	}

	s.ingress("once")
	lb := s.awaitFront("once")
	s.reshape("once", noting(desired.IngressDirectAccess, "maybe"))
	s.awaitEvent("Ingress", "once", "InvalidAnnotation", "E4037", `"maybe"`)
	s.remains(time.Second, "what is neither yes nor no leaves everything as it is", func() (bool, string) {
		_, ok := s.balancer(lb.ID)
		return ok && slices.Contains(s.getIngress("once").Finalizers, desired.IngressFinalizer), "released"
	})
	s.reshape("once", noting(desired.IngressDirectAccess, "true"))
}

// Turned off, or given to another class, an Ingress is released: its CLB, its
// annotations, its status, its finalizer.
func TestIngressTurnedOffIsReleased(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(*networkingv1.Ingress){
		"False":        noting(desired.IngressDirectAccess, "false"),
		"Removed":      without(desired.IngressDirectAccess),
		"AnotherClass": noting(desired.IngressClassAnnotation, "nginx"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			s.plain("web")
			s.ingress("web")
			s.pods("a")
			s.awaitReady("a")
			lb := s.awaitFront("web")
			s.reshape("web", off)
			s.await("the Ingress is released", func() (bool, string) {
				ing := s.getIngress("web")
				_, there := s.balancer(lb.ID)
				_, id := ing.Annotations[desired.IngressLoadBalancerID]
				_, token := ing.Annotations[desired.IngressClientToken]
				return len(ing.Finalizers) == 0 && !id && !token && len(ing.Status.LoadBalancer.Ingress) == 0 && !there,
					fmt.Sprintf("finalizers %v, annotations %v, status %v, load balancer there: %t", ing.Finalizers, ing.Annotations, ing.Status.LoadBalancer, there)
			})
			if pod := s.getPod("a"); !is(pod, corev1.PodReady) {
				t.Errorf("a pod that was Ready stays so: %s", show(pod))
			}
		})
	}
}

// Deleted, an Ingress leaves nothing: its CLB, listeners, rules and targets go before it
// does, and pods that waited for it are decided again.
func TestDeletedIngressLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	ca := newAuthority(t)
	s.secret("tls", certIDKey, s.uploaded(ca, "a.example.com", "b.example.com"))
	s.plain("web")
	s.ingress("web", secured("tls"), rules(to("a.example.com", "/", "web"), to("b.example.com", "/x", "web")), noting(desired.RewriteSupport, "true", desired.AutoRewrite, "true"))
	s.pods("a")
	s.pod("deaf", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "listens-nowhere" })
	s.awaitReady("a")
	lb := s.awaitFront("web")
	s.awaitGate("deaf", corev1.ConditionFalse, readiness.ReasonNotReady, "Ingress "+s.name+"/web")
	s.deleteIngress("web")
	s.awaitIngressGone("web")
	if _, there := s.balancer(lb.ID); there {
		t.Errorf("load balancer %s was made for the Ingress and is still there", lb.ID)
	}
	if g := gate(s.getPod("deaf")); g.Status != corev1.ConditionFalse || g.Reason != readiness.ReasonNoBinding {
		t.Errorf("want the gate decided without the Ingress, got %s", show(s.getPod("deaf")))
	}
}

// "CLAIM=class: only ... our IngressClass, and the direct-access annotation."
func TestIngressClaimedByOurClassAlone(t *testing.T) {
	s := byHand(t, deployment{env: map[string]string{"CLAIM": "class"}})
	s.plain("web")
	s.ingress("annotation")
	s.ingress("field", classed(desired.QcloudClass))
	s.ingress("none", without(desired.IngressClassAnnotation))
	s.ingress("indirect", classed(desired.IngressClass), noting(desired.IngressDirectAccess, "false"))
	before := s.versions()
	s.round()
	if after := s.versions(); len(s.CLB.Calls()) > 0 || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("want what isn't ours left alone, got versions %v, then %v, and %d CLB calls", before, after, len(s.CLB.Calls()))
	}
	s.ingress("ours", classed(desired.IngressClass))
	s.pods("a")
	s.by("the pod is Ready", s.ready("a"))
	if n := len(s.CLB.LoadBalancers()); n != 1 {
		t.Errorf("want one load balancer, got %d", n)
	}
	s.settled()
}
