package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// crowd is how many pods a long pass binds.
const crowd = 16

// longPass has the forwarder start with a crowd of pods to bind, whose names begin so, at a
// CLB that is slow and refuses one of them: the pass looks for it by tens of calls. It
// returns when the first of them is on its way, and says when that was.
func (s *space) longPass(lb clb.LoadBalancer, name string) (began time.Time, mend func()) {
	s.t.Helper()
	s.must(shared.StopForwarder())
	for i := range crowd {
		s.pod(fmt.Sprintf("%s%d", name, i), grace(1))
	}
	for i := range crowd {
		s.awaitIP(fmt.Sprintf("%s%d", name, i))
	}
	slow := fault.Rule{Call: "BatchRegisterTargets", LoadBalancer: lb.ID, BeforeMillis: 700}
	bad := slow
	bad.Code, bad.Times = "InvalidParameterValue", 5 // all, half of them, ... and one
	mend = away(s.t, bad, slow)
	began = time.Now()
	startForwarder(s.t, "url")
	s.await("a long pass is under way", func() (bool, string) {
		calls := s.registering(lb.ID, began)
		return len(calls) > 0, fmt.Sprint(calls)
	})
	return s.registering(lb.ID, began)[0].Time, mend
}

// registering are the calls that bind, since a moment.
func (s *space) registering(lb string, since time.Time) (out []clb.Call) {
	for _, c := range s.writes(lb, since) {
		if c.Action == "BatchRegisterTargets" {
			out = append(out, c)
		}
	}
	return out
}

// "Drains first": one that comes while a long pass writes to its CLB waits for the write
// under way, and not for the rest of the pass.
func TestDrainWaitsForNoPass(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.awaitGating()
	s.pod("a", grace(30))
	s.pods("b")
	s.awaitReady("a", "b")
	t.Cleanup(func() { startForwarder(t, "url") })

	// What such a pass takes when nobody is in a hurry.
	began, mend := s.longPass(lb, "c")
	var calls []clb.Call
	s.await("all but one are bound", func() (bool, string) {
		calls = s.registering(lb.ID, began)
		return len(s.targets(lb.ID)["TCP/80"]) > crowd, fmt.Sprint(byAction(calls))
	})
	whole := calls[len(calls)-1].Time.Sub(began)
	mend()
	for i := range crowd {
		s.deletePod(fmt.Sprintf("c%d", i))
	}
	for i := range crowd {
		s.awaitPodGone(fmt.Sprintf("c%d", i))
	}
	a := s.getPod("a")
	s.awaitTargets(lb.ID, "TCP/80", target(a, 80, 10), target(s.getPod("b"), 80, 10))

	began, _ = s.longPass(lb, "d")
	s.deletePod("a")
	asked := s.moment(a.UID, node.HookBegan)
	s.moment(a.UID, node.HookEnded)
	waited, rest := s.lowering(lb.ID, asked).Sub(asked), whole-asked.Sub(began)
	t.Logf("a pass of %s: the drain came %s after it began and waited for %s", whole.Round(time.Millisecond), asked.Sub(began).Round(time.Millisecond), waited.Round(time.Millisecond))
	if 2*waited > rest {
		t.Errorf("want less than half of the rest of the pass, which is %s", rest)
	}
}

// Somebody waits for what a pass has lowered, and not for what else it has to do: by the
// time that it binds a pod, another that it drains says that it is drained.
func TestDrainedIsToldBeforeAnythingElseIsDone(t *testing.T) {
	s := newSpace(t)
	s.service("web")
	lb := s.awaitBalancer("web")
	s.pods("a", "b")
	s.awaitReady("a", "b")
	withoutForwarder(t)
	s.pods("c")
	s.awaitIP("c")
	a := s.getPod("a")
	told := make(chan bool, 1)
	t.Cleanup(s.CLB.Intercept(func(ctx context.Context, c clb.Call) *clb.Fault {
		if c.Action != "BatchRegisterTargets" || c.LoadBalancerID != lb.ID {
			return nil
		}
		p, err := s.client.CoreV1().Pods(s.name).Get(ctx, "a", metav1.GetOptions{})
		select {
		case told <- err == nil && is(p, model.DrainedType):
		default:
		}
		return nil
	}))
	data := s.syncs()[lb.ID]
	data.Pods = []event.Pod{{Namespace: a.Namespace, Name: a.Name, UID: string(a.UID), IP: a.Status.PodIP, Draining: "nginx=" + a.Status.ContainerStatuses[0].ContainerID}}
	if r := s.sender().must(t, event.Backends, data); r.Failure != nil {
		t.Fatalf("%+v", r.Failure)
	}
	select {
	case was := <-told:
		if !was {
			t.Error("a pod is bound before the one that is drained says so")
		}
	default:
		t.Error("the pass has bound nothing")
	}
}
