package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/model"
)

// drainHook is the hook of a container, nil for none of ours.
func drainHook(p *corev1.Pod, container int) *corev1.HTTPGetAction {
	l := p.Spec.Containers[container].Lifecycle
	if l == nil || l.PreStop == nil || l.PreStop.HTTPGet == nil || !strings.HasPrefix(l.PreStop.HTTPGet.Path, model.DrainPath) {
		return nil
	}
	return l.PreStop.HTTPGet
}

// moment awaits that something happens to a container of a pod, and says when.
func (s *space) moment(uid types.UID, what node.What) time.Time {
	s.t.Helper()
	var at time.Time
	s.await(string(what), func() (bool, string) {
		past := s.Nodes.Moments(uid)
		i := slices.IndexFunc(past, func(m node.Moment) bool { return m.What == what })
		if i >= 0 {
			at = past[i].At
		}
		return i >= 0, fmt.Sprintf("%+v", past)
	})
	return at
}

// lowering is when the CLB was asked to take weights to 0, first of all since a moment.
func (s *space) lowering(lb string, since time.Time) time.Time {
	s.t.Helper()
	for _, c := range s.writes(lb, since) {
		if c.Action == "BatchModifyTargetWeight" {
			return c.Time
		}
	}
	s.t.Fatalf("no weights of %s were changed since %s", lb, since)
	return time.Time{}
}

// "So that no request is lost": the CLB sends a deleted pod nothing new before its
// containers hear that they are to end, and the pod says so.
func TestDeletedPodIsDrainedBeforeSIGTERM(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	s.pod("a", grace(30))
	s.pods("b")
	s.awaitReady("a", "b")
	a := s.getPod("a")
	if drainHook(a, 0) == nil {
		t.Fatalf("want a drain hook, got %+v", a.Spec.Containers[0].Lifecycle)
	}
	began := time.Now()
	s.deletePod("a")
	s.await("its condition says that it is drained", func() (bool, string) {
		p := s.getPod("a")
		return is(p, model.DrainedType), fmt.Sprintf("%+v", p.Status.Conditions)
	})
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 0), target(s.getPod("b"), 80, 10))
	term := s.moment(a.UID, node.Terminated)
	if at := s.lowering(lb.ID, began); !at.Before(term) {
		t.Errorf("want its weight taken to 0 before SIGTERM at %s, it was at %s", term, at)
	}
	if ended := s.moment(a.UID, node.HookEnded); term.Before(ended) {
		t.Errorf("want SIGTERM after the hook's answer at %s, it came at %s", ended, term)
	}
	s.awaitPodGone("a")
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("b"), 80, 10))
	s.settled()
}

// A liveness restart sets no deletionTimestamp: the mark alone drains, and ends with the
// container that it is about.
func TestRestartedContainerIsDrainedAndServesAgain(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	s.pod("a", grace(30), probed, func(p *corev1.Pod) {
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 1,
		}
	})
	s.pods("b")
	s.awaitReady("a", "b")
	a := s.getPod("a")
	began := time.Now()
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, "liveness")
	s.await("it is drained", func() (bool, string) {
		p := s.getPod("a")
		return is(p, model.DrainedType) && is(p, model.DrainingType), fmt.Sprintf("%+v", p.Status.Conditions)
	})
	s.annotate("a", node.AnnotationPrefix+node.KeyFailProbe, nil)
	if at, term := s.lowering(lb.ID, began), s.moment(a.UID, node.Terminated); !at.Before(term) {
		t.Errorf("want its weight taken to 0 before SIGTERM at %s, it was at %s", term, at)
	}
	s.await("it serves again", func() (bool, string) {
		p := s.getPod("a")
		return p.Status.ContainerStatuses[0].RestartCount == 1 && !is(p, model.DrainedType) && !is(p, model.DrainingType), fmt.Sprintf("%+v", p.Status)
	})
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 10), target(s.getPod("b"), 80, 10))
	s.settled()
}

// "Whoever holds the request" waits for all the CLBs that serve the pod.
func TestPodOfTwoLoadBalancersIsDrainedAtBoth(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("one")
	s.service("two")
	one, two := s.awaitBalancer("one"), s.awaitBalancer("two")
	s.awaitGating()
	s.pod("a", grace(30))
	s.awaitReady("a")
	a := s.getPod("a")
	began := time.Now()
	s.deletePod("a")
	term := s.moment(a.UID, node.Terminated)
	for _, id := range []string{one.ID, two.ID} {
		if at := s.lowering(id, began); !at.Before(term) {
			t.Errorf("want weight 0 at %s before SIGTERM at %s, it was at %s", id, term, at)
		}
	}
	s.awaitPodGone("a")
	s.settled()
}

// A hook is for containers that have none, and time for one.
func TestDrainHooksAreGivenWhereThereIsRoom(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	s.awaitGating()
	own := &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}
	s.pod("mixed", grace(30), func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: own}
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "plain", Image: "plain"},
			corev1.Container{Name: "starts", Image: "starts", Lifecycle: &corev1.Lifecycle{PostStart: own}})
	})
	p := s.getPod("mixed")
	if drainHook(p, 0) != nil || p.Spec.Containers[0].Lifecycle.PreStop.Sleep == nil {
		t.Errorf("a hook of its own stays, got %+v", p.Spec.Containers[0].Lifecycle)
	}
	for _, i := range []int{1, 2} {
		if drainHook(p, i) == nil {
			t.Errorf("want a drain hook, got %+v", p.Spec.Containers[i].Lifecycle)
		}
	}
	if p.Spec.Containers[2].Lifecycle.PostStart == nil {
		t.Error("the hook after the start must stay")
	}
	s.pod("hasty", grace(1))
	s.pod("unwanted", grace(30), marked(model.DrainTimeout, "0"))
	for _, name := range []string{"hasty", "unwanted"} {
		if p := s.getPod(name); drainHook(p, 0) != nil || p.Annotations[model.DrainToken] != "" {
			t.Errorf("want no hook, got %+v", p.Spec.Containers[0].Lifecycle)
		}
	}
	s.pod("aside", grace(30), ungated, func(p *corev1.Pod) { p.Labels[model.AdmissionLabel] = model.AdmissionOff })
	if p := s.getPod("aside"); drainHook(p, 0) != nil || len(p.Spec.ReadinessGates) > 0 {
		t.Errorf("want neither hook nor gate, got %+v", p.Spec)
	}
	// A copy of a pod is drained as itself.
	s.pod("copy", grace(30), marked(model.DrainToken, p.Annotations[model.DrainToken]), func(c *corev1.Pod) {
		c.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: p.Spec.Containers[1].Lifecycle.PreStop.DeepCopy()}
	})
	c := s.getPod("copy")
	if h := drainHook(c, 0); h == nil || h.Path == drainHook(p, 1).Path || c.Annotations[model.DrainToken] == p.Annotations[model.DrainToken] {
		t.Errorf("want a hook and token of its own, got %+v and %v", h, c.Annotations)
	}
}

// "A wrong or old token gets 404 and changes nothing", and who asks for a pod that
// nothing serves is answered at once.
func TestDrainAsksForTheToken(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	s.pod("a", grace(30))
	s.awaitReady("a")
	s.settled()
	a, since := s.getPod("a"), time.Now()
	hook := drainHook(a, 0)
	token := a.Annotations[model.DrainToken]
	ask := func(path string) (int, string) {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://%s:%d%s", hook.Host, hook.Port.IntValue(), path), nil)
		s.must(err)
		res, err := client.Do(req)
		s.must(err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		s.must(err)
		return res.StatusCode, strings.TrimSpace(string(body))
	}
	for name, path := range map[string]string{
		"another token":     strings.Replace(hook.Path, token, strings.Repeat("A", len(token)), 1),
		"another namespace": strings.Replace(hook.Path, s.name, "default", 1),
		"another container": hook.Path + "x",
	} {
		if status, _ := ask(path); status != http.StatusNotFound {
			t.Errorf("%s: want %d, got %d", name, http.StatusNotFound, status)
		}
	}
	if calls := s.writes(lb.ID, since); len(calls) > 0 {
		t.Errorf("want nothing changed, got %v", byAction(calls))
	}
	s.deleteService("web")
	s.await("the CLB is gone", func() (bool, string) {
		_, there := s.balancer(lb.ID)
		return !there, "it is there"
	})
	s.await("nothing is left to drain from", func() (bool, string) {
		status, body := ask(hook.Path)
		return status == http.StatusOK && body == "unbound", fmt.Sprint(status, " ", body)
	})
}

// "Every replica answers", and "leadership handed over within a second while held
// requests are served to their end".
func TestHandOverWhileHolding(t *testing.T) {
	s, lb, second, held := holding(t)
	began := time.Now()
	s.must(shared.Forwarder.Signal(syscall.SIGTERM))
	t.Cleanup(func() { startForwarder(t, "url") })
	s.await("the other leads", func() (bool, string) {
		res, err := http.Get(second.URL + "/metrics")
		s.must(err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		s.must(err)
		return strings.Contains(string(body), "\nclb_direct_forwarder_leading 1\n"), "it doesn't"
	})
	t.Logf("it led after %s", time.Since(began).Round(time.Millisecond))
	for name, uid := range held {
		if ended := s.moment(uid, node.HookEnded); ended.Before(began) {
			t.Errorf("the hook of %s ended before the hand-over: nothing was held", name)
		}
		if term := s.moment(uid, node.Terminated); slices.ContainsFunc(s.targets(lb.ID)["TCP/80"], func(b clb.Target) bool { return b.Tag == string(uid) && b.Weight > 0 }) {
			t.Errorf("%s heard SIGTERM at %s and still has weight", name, term)
		}
	}
	s.must(shared.StopForwarder())
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("e"), 80, 10))
	s.settled()
}

// A replica that is killed loses no hold: the kubelet asks once, and the other replica
// goes on with what the first held.
func TestKilledReplicaLosesNoHold(t *testing.T) {
	s, lb, _, held := holding(t)
	killed := time.Now()
	t.Cleanup(func() { startForwarder(t, "url") })
	s.must(shared.Forwarder.Signal(syscall.SIGKILL))
	<-shared.Forwarder.Done()
	for name, uid := range held {
		term := s.moment(uid, node.Terminated)
		if slices.ContainsFunc(s.targets(lb.ID)["TCP/80"], func(b clb.Target) bool { return b.Tag == string(uid) && b.Weight > 0 }) {
			t.Errorf("%s heard SIGTERM at %s and still has weight", name, term)
		}
		if ended := s.moment(uid, node.HookEnded); ended.Before(killed) {
			t.Errorf("the hook of %s ended before the replica was killed: nothing was held", name)
		}
		if past := s.Nodes.Moments(uid); slices.ContainsFunc(past, func(m node.Moment) bool { return m.What == node.HookFailed }) {
			t.Errorf("the hook of %s broke: %+v", name, past)
		}
	}
	s.must(shared.StopForwarder())
	s.awaitTargets(lb.ID, "TCP/80", target(s.getPod("e"), 80, 10))
	s.settled()
}

// holding has two replicas of the forwarder hold four pods, a to d, of which the CLB has
// not heard yet; e stays.
func holding(t *testing.T) (s *space, lb clb.LoadBalancer, second *stack.Replica, held map[string]types.UID) {
	t.Helper()
	s = newSpace(t)
	s.service("web")
	lb = s.awaitBalancer("web")
	s.awaitGating()
	second, err := s.StartReplica(t.Context(), "forwarder-1", "url")
	if second != nil {
		t.Cleanup(func() { s.must(second.Stop(30 * time.Second)) })
	}
	s.must(err)
	for _, name := range []string{"a", "b", "c", "d"} {
		s.pod(name, grace(30))
	}
	s.pods("e")
	s.awaitReady("a", "b", "c", "d", "e")

	// The first change of weights takes long, so that all are held meanwhile.
	slow, err := s.Faults.Set(fault.Rule{Call: "BatchModifyTargetWeight", LoadBalancer: lb.ID, BeforeMillis: 3000, Times: 1})
	s.must(err)
	t.Cleanup(func() { s.must(s.Faults.Clear(slow)) })
	held = map[string]types.UID{}
	for _, name := range []string{"a", "b", "c", "d"} {
		held[name] = s.getPod(name).UID
		s.deletePod(name)
	}
	for _, uid := range held {
		s.moment(uid, node.HookBegan)
	}
	s.await("the slow call is on its way", func() (bool, string) {
		rules := s.Faults.List()
		i := slices.IndexFunc(rules, func(r fault.Rule) bool { return r.ID == slow })
		return rules[i].Met == 1, fmt.Sprintf("%+v", rules[i])
	})
	return s, lb, second, held
}
