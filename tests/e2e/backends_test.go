package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// probed gives the container a readiness probe, every second.
func probed(p *corev1.Pod) {
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(80)}},
		PeriodSeconds: 1, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 1,
	}
}

func grace(seconds int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = &seconds }
}

// "Has an IP, not terminal, not yet ContainersReady: registered (early bind), weight 0.
// ContainersReady: custom weight, else 10."
func TestPodIsBoundEarlyAndRaisedWhenItsContainersAreReady(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("a", probed, behave(node.KeyFailProbe, "readiness"))
	lb, a := s.awaitBalancer("web"), s.awaitIP("a")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 0))
	s.await("the CLB checks it though its weight is 0", func() (bool, string) {
		targets := s.targets(lb.ID)["TCP/80"]
		return len(targets) == 1 && targets[0].Health == "Alive", describe(targets)
	})
	if pod := s.getPod("a"); is(pod, corev1.ContainersReady) || gate(pod) != nil && gate(pod).Status != corev1.ConditionFalse {
		t.Errorf("alive at the CLB is not enough: %s", show(pod))
	}
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, nil)
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 10))
	s.awaitReady("a")
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, "readiness")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 0))
	s.settled()
}

// "ContainersReady: custom weight."
func TestCustomWeight(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("a", marked(desired.CustomWeight, "50"))
	s.pod("b", marked(desired.CustomWeight, "0"))
	s.awaitReady("a", "b")
	lb, a, b := s.awaitBalancer("web"), s.getPod("a"), s.getPod("b")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 50), target(b, 80, 0))
	s.annotate("a", desired.CustomWeight, "7")
	s.annotate("b", desired.CustomWeight, nil)
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 7), target(b, 80, 10))
	s.settled()
}

// "Custom weight": one that can't be read is named in an Event, and the default holds.
func TestInvalidCustomWeightIsAnEvent(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("a", marked(desired.CustomWeight, "heavy"))
	s.awaitEvent("Pod", "a", "InvalidWeight", desired.CustomWeight, `"heavy"`, "0 to 100")
	s.awaitReady("a")
	s.awaitTargets(s.awaitBalancer("web").ID, "TCP/80", target(s.getPod("a"), 80, 10))
	s.settled()
}

// "deletionTimestamp set: if it already is, weight 0. Gone: not registered."
func TestDeletedPodIsLoweredThenUnbound(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("a", grace(6), behave(node.KeyIgnoreSIGTERM, "true"))
	s.pods("b")
	s.awaitReady("a", "b")
	lb, a, b := s.awaitBalancer("web"), s.getPod("a"), s.getPod("b")
	s.deletePod("a")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 0), target(b, 80, 10))
	if pod := s.getPod("a"); pod.DeletionTimestamp == nil {
		t.Error("the pod should still be terminating")
	}
	s.awaitPodGone("a")
	s.awaitTargets(lb.ID, "TCP/80", target(b, 80, 10))
	s.settled()
}

// "deletionTimestamp set: never newly bound."
func TestTerminatingPodIsNeverNewlyBound(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.pod("a", ungated, grace(60), behave(node.KeyIgnoreSIGTERM, "true"))
	s.pods("b")
	s.moment(s.getPod("a").UID, node.Started) // with nothing started it would be gone at once
	s.deletePod("a")
	s.service("web")
	s.awaitReady("b")
	lb := s.awaitBalancer("web")
	s.settled()
	if got := s.targets(lb.ID)["TCP/80"]; len(got) != 1 || got[0].IP.String() != s.getPod("b").Status.PodIP {
		t.Errorf("want only b bound, got %s", describe(got))
	}
	s.must(s.client.CoreV1().Pods(s.name).Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
}

// "All containers terminated, Failed, Succeeded: not registered."
func TestEndedPodIsUnbound(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{"Failed": "1", "Succeeded": "0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			s.service("web")
			s.pods("b")
			s.pod("a", behave(node.KeyExitAfter, "20s", node.KeyExitCode, code), func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyNever })
			lb, a := s.awaitBalancer("web"), s.awaitIP("a")
			s.awaitReady("b")
			s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 10), target(s.getPod("b"), 80, 10))
			s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("b"), 80, 10))
			if got := string(s.getPod("a").Status.Phase); got != name {
				t.Errorf("want the pod %s, got %s", name, got)
			}
			s.settled()
		})
	}
}

// retag gives a target another tag, as somebody else would.
func (s *space) retag(id, listener, ip, tag string) {
	s.t.Helper()
	q := api.NewBatchModifyTargetTagRequest()
	q.LoadBalancerId = &id
	q.ModifyList = []*api.RsTagRule{{ListenerId: &listener, Targets: []*api.Target{{EniIp: &ip, Port: new(int64(80)), Tag: &tag}}}}
	again(s, func() (*api.BatchModifyTargetTagResponse, error) { return s.cloud().BatchModifyTargetTag(q) })
}

const stranger = "99999999-0000-4000-8000-000000000000"

// relabel makes a pod one that the Service selects, or not.
func (s *space) relabel(pod, app string) {
	s.t.Helper()
	raw := fmt.Appendf(nil, `{"metadata":{"labels":{"app":%q}}}`, app)
	_, err := s.client.CoreV1().Pods(s.name).Patch(s.t.Context(), pod, "application/merge-patch+json", raw, metav1.PatchOptions{})
	s.must(err)
}

// tagAt is the tag of the target at an address, "" if there is none.
func (s *space) tagAt(id, listener, ip string) string {
	for _, t := range s.targets(id)[listener] {
		if t.IP.String() == ip {
			return t.Tag
		}
	}
	return ""
}

func (s *space) awaitTag(id, listener string, pod *corev1.Pod) {
	s.t.Helper()
	s.await("the target of "+pod.Name+" carries its UID", func() (bool, string) {
		return s.tagAt(id, listener, pod.Status.PodIP) == string(pod.UID), describe(s.targets(id)[listener])
	})
}

// "Another UID at our IP and port is a stranger's: unbound before the new pod is
// bound, its health counts for nothing."
func TestStrangerIsEvictedThenThePodIsBound(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a", "b")
	s.awaitReady("a", "b")
	lb, a := s.awaitBalancer("web"), s.getPod("a")
	s.settled()
	since := time.Now()
	s.retag(lb.ID, listenerID(lb, "TCP", 80), a.Status.PodIP, stranger)
	s.annotate("a", desired.CustomWeight, "20")
	s.awaitTag(lb.ID, "TCP/80", a)
	var order []string
	for _, c := range s.writes(lb.ID, since) {
		order = append(order, c.Action)
	}
	if got := strings.Join(order, " "); got != "BatchModifyTargetTag BatchDeregisterTargets BatchRegisterTargets" {
		t.Errorf("want the stranger unbound, then the pod bound, got %s", got)
	}
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 20), target(s.getPod("b"), 80, 10))
	s.settled()
}

// "A pass never unbinds the last Alive target of a listener because of a tag": it is
// adopted.
func TestLastAliveStrangerIsAdopted(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pods("a")
	s.awaitReady("a")
	lb, a := s.awaitBalancer("web"), s.getPod("a")
	s.settled()
	since := time.Now()
	s.retag(lb.ID, listenerID(lb, "TCP", 80), a.Status.PodIP, stranger)
	s.annotate("a", desired.CustomWeight, "20")
	s.awaitTag(lb.ID, "TCP/80", a)
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 20))
	calls := byAction(s.writes(lb.ID, since))
	if calls["BatchDeregisterTargets"] > 0 || calls["BatchModifyTargetTag"] != 2 {
		t.Errorf("want it tagged and never unbound, got %v", calls)
	}
	s.settled()
}

// "No tag or an unknown one, registered more than 5 s after the pod started: made for
// this pod, so adopted (BatchModifyTargetTag), not unbound."
func TestUntaggedTargetIsAdopted(t *testing.T) {
	t.Parallel()
	for name, tag := range map[string]string{"NoTag": "", "UnknownTag": "made-in-the-console"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			s.service("web")
			s.pods("b")
			s.pod("a", labelled("other"))
			s.awaitIP("a")
			s.await("the pod is older than 7 s", func() (bool, string) {
				return time.Since(s.getPod("a").Status.StartTime.Time) > 7*time.Second, ""
			})
			s.relabel("a", "web")
			s.awaitReady("a", "b")
			lb, a := s.awaitBalancer("web"), s.getPod("a")
			s.settled()
			since := time.Now()
			s.retag(lb.ID, listenerID(lb, "TCP", 80), a.Status.PodIP, tag)
			s.annotate("a", desired.CustomWeight, "20")
			s.awaitTag(lb.ID, "TCP/80", a)
			s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 20), target(s.getPod("b"), 80, 10))
			calls := byAction(s.writes(lb.ID, since))
			if calls["BatchDeregisterTargets"]+calls["BatchRegisterTargets"] > 0 || calls["BatchModifyTargetTag"] != 2 {
				t.Errorf("want it tagged and never unbound, got %v", calls)
			}
			s.settled()
		})
	}
}

// "In batches per CLB": 60 pods at two listeners are 120 targets, and few calls.
func TestManyPodsAreBoundByFewCalls(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("p%d", i))
		s.pod(names[i])
	}
	for _, n := range names {
		s.awaitIP(n)
	}
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	since := time.Now()
	s.awaitReady(names...)
	lb := s.awaitBalancer("web")
	bound, calls := 0, 0
	for _, c := range s.writes(lb.ID, since) {
		if c.Action == "BatchRegisterTargets" {
			bound += c.Targets
			calls++
		}
	}
	if bound != 120 || calls > 3 {
		t.Errorf("want 120 targets bound by 3 calls at most, got %d by %d", bound, calls)
	}
	s.settled()
}

// "Partial failure isolated": comes back without an error code; the offender is
// parked, with Events on pod and Service, and the others are bound.
func TestPartialFailureIsIsolated(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.pods("a", "b", "bad", "c")
	for _, n := range []string{"a", "b", "c"} {
		s.awaitIP(n)
	}
	bad := s.awaitIP("bad")
	mended := switchedFor(t, func(to *fault.Switches) *[]netip.Addr { return &to.FailTargets }, netip.MustParseAddr(bad.Status.PodIP))
	s.service("web", ports(tcp(80, intstr.FromInt32(80)), tcp(81, intstr.FromInt32(80))))
	s.awaitReady("a", "b", "c")
	lb := s.awaitBalancer("web")
	for _, l := range []string{"TCP/80", "TCP/81"} {
		s.awaitTargets(lb.ID, l, target(s.getPod("a"), 80, 10), target(s.getPod("b"), 80, 10), target(s.getPod("c"), 80, 10))
	}
	s.awaitEvent("Pod", "bad", "BindFailed", bad.Status.PodIP+":80", lb.ID)
	s.awaitEvent("Service", "web", "BindFailed", bad.Status.PodIP)
	s.await("the gate says what it waits for", func() (bool, string) {
		pod := s.getPod("bad")
		g := gate(pod)
		return g != nil && g.Status == corev1.ConditionFalse && strings.Contains(g.Message, "waiting for the CLB to bind"), show(pod)
	})
	mended()
	s.annotate("bad", "example.com/news", "x")
	s.annotate("bad", desired.CustomWeight, "10")
	s.awaitReady("bad")
	s.settled()
}

// "A killed holder delays the next pass by no more than the platform's own report of
// its end": the CLB's Lease is taken over at once, not after its ten seconds.
func TestKilledHolderDelaysNobody(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	ours := s.attempts()
	var mu sync.Mutex
	var killed time.Time
	var holder string
	remove := s.CLB.Intercept(func(ctx context.Context, call clb.Call) *clb.Fault {
		if call.Action != "BatchRegisterTargets" || call.LoadBalancerID != lb.ID {
			return nil
		}
		id, ok := ours.of(call)
		mu.Lock()
		defer mu.Unlock()
		if !ok || !killed.IsZero() {
			return nil
		}
		if l, err := s.client.CoordinationV1().Leases(stack.Namespace).Get(ctx, "clb-direct-"+lb.ID, metav1.GetOptions{}); err == nil && l.Spec.HolderIdentity != nil {
			holder = *l.Spec.HolderIdentity
		}
		s.SCF.Kill(id)
		killed = time.Now()
		// Nothing came of the call, so that the next pass has all of it to do.
		return &clb.Fault{Error: &tc3.Error{Code: "InternalError", Message: "the caller died"}}
	})
	t.Cleanup(remove)
	s.pods("a")
	a := s.awaitIP("a")
	s.await("the pod is bound after all", func() (bool, string) {
		return s.tagAt(lb.ID, "TCP/80", a.Status.PodIP) == string(a.UID), describe(s.targets(lb.ID)["TCP/80"])
	})
	mu.Lock()
	defer mu.Unlock()
	if killed.IsZero() || holder == "" {
		t.Fatalf("want a function killed while it holds the Lease, got killed %v, holder %q", killed, holder)
	}
	for _, c := range s.writes(lb.ID, killed) {
		if c.Action == "BatchRegisterTargets" && c.Code == "" {
			if took := c.Time.Sub(killed); took > 5*time.Second {
				t.Errorf("want the next write long before the Lease of 10 s ends, got it after %s", took)
			}
			return
		}
	}
	t.Error("no write after the kill")
}

// "Only pods that can be reached directly (ENI by annotation, resource or
// networks-status, super nodes)."
func TestDirectPodsAreBound(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.pod("annotation", func(p *corev1.Pod) { p.Spec.Containers[0].Resources = corev1.ResourceRequirements{} })
	s.pod("resource", func(p *corev1.Pod) { p.Annotations = nil })
	s.pod("super", global, marked("tke.cloud.tencent.com/pod-type", "eklet"))
	names := []string{"annotation", "resource", "super"}
	s.awaitReady(names...)
	if status := s.getPod("resource").Annotations[node.AnnotationNetworksStatus]; !strings.Contains(status, "tke-route-eni") {
		t.Errorf("want networks-status to name the ENI, got %q", status)
	}
	var want []string
	for _, n := range names {
		want = append(want, target(s.getPod(n), 80, 10))
	}
	s.awaitTargets(s.awaitBalancer("web").ID, "TCP/80", want...)
}

// "The others named in an Event."
func TestPodsThatAreNotDirectAreNamed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.pods("direct")
	s.pod("global", global)
	s.awaitIP("global")
	s.awaitIP("direct")
	s.service("web")
	s.awaitEvent("Service", "web", "PodsNotDirect", "global")
	s.awaitReady("direct")
	s.awaitTargets(s.awaitBalancer("web").ID, "TCP/80", target(s.getPod("direct"), 80, 10))
	s.pod("late", global)
	s.awaitEvent("Pod", "late", "NotDirect", "Service "+s.name+"/web")
	s.await("its gate says so", func() (bool, string) {
		g := gate(s.getPod("late"))
		return g != nil && g.Status == corev1.ConditionFalse && g.Reason == readiness.ReasonNoBinding && strings.Contains(g.Message, "ENI"), show(s.getPod("late"))
	})
	s.settled()
}

// "None at all is an Event like TKE's E4033."
func TestNoDirectPodIsE4033(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.pod("global", global, ungated)
	s.awaitIP("global")
	s.service("web")
	s.awaitEvent("Service", "web", "NoDirectBackend", "E4033", "ENI")
	if got := s.targets(s.awaitBalancer("web").ID)["TCP/80"]; len(got) > 0 {
		t.Errorf("want nothing bound, got %s", describe(got))
	}
	s.settled()
}
