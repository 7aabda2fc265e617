package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/shared/model"
)

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
