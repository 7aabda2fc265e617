package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// away has rules in force until back is called, or the test ends.
func away(t *testing.T, rules ...fault.Rule) (back func()) {
	t.Helper()
	var ids []string
	for _, r := range rules {
		id, err := shared.Faults.Set(r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	gone := false
	back = func() {
		if gone {
			return
		}
		gone = true
		for _, id := range ids {
			if err := shared.Faults.Clear(id); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(back)
	return back
}

func functionsAway(t *testing.T) (back func()) {
	return away(t, fault.Rule{Event: fault.Any, Status: 500})
}

// "Functions, forwarder, API server or CLB API away for any time: traffic goes on; rollouts
// pause". When what was away is back, the rollout goes on, and nothing was lost.
func TestOutagesPauseRolloutsAndLoseNothing(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	s.deploy("web", 2)
	outages := []struct {
		name string
		// begin starts it; blind: nobody can ask the API server meanwhile.
		begin func(t *testing.T) (back func())
		blind bool
	}{
		{name: "functions", begin: functionsAway},
		{name: "CLB API", begin: func(t *testing.T) func() { return away(t, fault.Rule{Call: fault.Any, Code: "InternalError"}) }},
		{name: "CLB API throttles", begin: func(t *testing.T) func() { return away(t, fault.Rule{Call: fault.Any, Code: "RequestLimitExceeded"}) }},
		{name: "API server", blind: true, begin: func(t *testing.T) func() {
			s.must(s.Cluster.Kill(cluster.APIServer))
			return func() { s.must(s.Cluster.Restart(t.Context(), cluster.APIServer)) }
		}},
		// The last, as a pod that is made while there is no webhook has no drain hook, and
		// so is missed by somebody when it goes.
		{name: "forwarder", begin: func(t *testing.T) func() {
			s.must(shared.StopForwarder())
			t.Cleanup(func() { startForwarder(t, "url") })
			return func() { startForwarder(t, "url") }
		}},
	}
	for _, o := range outages {
		t.Run(strings.ReplaceAll(o.name, " ", "-"), func(t *testing.T) {
			l := s.press(lb.VIP.String())
			old := map[string]bool{}
			for _, p := range s.podsOf("web") {
				old[string(p.UID)] = true
			}
			if o.blind { // the rollout is under way when it begins
				s.roll("web")
			}
			back := o.begin(t)
			if !o.blind {
				s.roll("web")
				s.await("a new pod runs, and waits for its gate", func() (bool, string) {
					for _, p := range s.podsOf("web") {
						if !old[string(p.UID)] && is(&p, corev1.ContainersReady) {
							return !is(&p, corev1.PodReady), show(&p)
						}
					}
					return false, "there is none"
				})
				s.remains(3*time.Second, "the rollout pauses", func() (bool, string) {
					serving := 0
					for _, p := range s.podsOf("web") {
						if old[string(p.UID)] && is(&p, corev1.PodReady) {
							serving++
						}
					}
					return serving == 2, fmt.Sprintf("%d of the old pods serve", serving)
				})
			} else {
				s.remains(3*time.Second, "traffic goes on", func() (bool, string) { return true, "" })
			}
			back()
			s.await("the rollout is through", s.rolled("web"))
			s.lostNothing(l)
		})
	}
	s.settled()
}

// "Or open by declared policy": while the functions are away, the gate of a pod whose
// object has it so opens after the time, with an Event and a count, and that of another
// doesn't; when they are back it is decided as ever.
func TestReadinessPolicyOpensWhileFunctionsAreAway(t *testing.T) {
	s := newSpace(t)
	s.service("open", selects("open"), with(desired.ReadinessPolicy, "open-after=30s"))
	s.service("closed", selects("closed"), with(desired.ReadinessPolicy, "closed"))
	s.awaitBalancer("open")
	s.awaitBalancer("closed")
	s.settled()
	opened := s.metric("clb_direct_forwarder_gates_opened_total")
	back := functionsAway(t)
	s.pod("open", labelled("open"))
	s.pod("closed", labelled("closed"))
	s.await("the gate is opened", func() (bool, string) {
		p := s.getPod("open")
		g := gate(p)
		return g != nil && g.Status == corev1.ConditionTrue && g.Reason == readiness.ReasonOpened && is(p, corev1.PodReady), show(p)
	})
	s.awaitEvent("Pod", "open", "ReadinessGateOpenedByPolicy", "does not answer")
	if n := s.metric("clb_direct_forwarder_gates_opened_total"); n == opened {
		t.Error("it wasn't counted")
	}
	if p := s.getPod("closed"); is(p, corev1.PodReady) {
		t.Errorf("nobody asked for this one to be opened: %s", show(p))
	}
	back()
	s.await("both are found healthy", func() (bool, string) {
		for _, name := range []string{"open", "closed"} {
			if ok, state := s.ready(name)(); !ok {
				return false, state
			}
		}
		return true, ""
	})
	s.settled()
}

// A policy that can't be read is named where a user would look, and counts as closed.
func TestReadinessPolicyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.service("web", with(desired.ReadinessPolicy, "open"))
	s.awaitEvent("Service", "web", "InvalidAnnotation", desired.ReadinessPolicy, `"open"`, "open-after=")
	s.pod("a")
	s.awaitReady("a")
	s.settled()
}

// "Pods and webhook keep working when all of ours is down": pods are created, with their
// gate where the API server gives it, and old ones end as soon as their hook is refused.
func TestPodsComeAndGoWhileAllOfOursIsDown(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	s.awaitBalancer("web")
	s.awaitGating()
	s.pod("old", grace(60))
	s.awaitReady("old")
	old := s.getPod("old")
	if drainHook(old, 0) == nil {
		t.Fatal("want a drain hook")
	}
	back := functionsAway(t)
	withoutForwarder(t)
	s.pod("new", ungated)
	s.await("a new pod runs, with its gate", func() (bool, string) {
		p := s.getPod("new")
		return is(p, corev1.ContainersReady) && hasGate(p), show(p)
	})
	s.deletePod("old")
	began, ended := s.moment(old.UID, node.HookBegan), s.moment(old.UID, node.HookEnded)
	if hold := 20 * time.Second; ended.Sub(began) > hold/4 {
		t.Errorf("want the hook refused at once, it took %s of the %s that it may", ended.Sub(began), hold)
	}
	s.awaitPodGone("old")
	back()
	startForwarder(t, "url")
	s.awaitReady("new")
	s.settled()
}

// Who slipped through admission is told of: a pod that the API server gave its gate, as the
// forwarder was away, and that has no drain hook.
func TestResyncReportsPodsWithoutDrain(t *testing.T) {
	withoutForwarder(t)
	s := newSpace(t)
	s.service("web")
	s.pod("slipped", grace(30))
	s.pod("own", grace(30), func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
	})
	s.onlyResync()
	s.resyncUntil("the pods are Ready", func() (bool, string) {
		for _, name := range []string{"slipped", "own"} {
			if ok, state := s.ready(name)(); !ok {
				return false, state
			}
		}
		return true, ""
	})
	s.awaitEvent("Service", "web", "PodsWithoutDrain", "slipped")
	for _, e := range s.events("Service", "web", "PodsWithoutDrain") {
		if strings.Contains(e.Message, "own") {
			t.Errorf("want only the pod without a hook named, got %q", e.Message)
		}
	}
}

// metric is the line of the forwarder's metric, "" without one.
func (s *space) metric(name string) string {
	s.t.Helper()
	res, err := http.Get(s.ForwarderURL + "/metrics")
	s.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	s.must(err)
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, name+" ") {
			return line
		}
	}
	return ""
}
