package clb

import "testing"

func TestFrozenHealth(t *testing.T) {
	s := newStage(t, []int{10, 10}, plain)
	s.FreezeHealth(true)
	s.pods[1].stop()
	later := newPod(s.rig)
	s.bind(s.lb, batchTarget(s.l, later.addr, 10))
	for range 50 { // each asks the API, far longer than five checks take
		if got := s.health(s.lb); got[s.pods[1].addr.String()] != "Alive" || got[later.addr.String()] != "Unknown" {
			t.Fatalf("frozen, and it changed: %v", got)
		}
	}
	s.FreezeHealth(false)
	s.awaitHealth(s.lb, s.pods[1].addr, "Dead")
	s.awaitHealth(s.lb, later.addr, "Alive")
}

func TestHiddenHealth(t *testing.T) {
	s := newStage(t, []int{10, 10}, plain)
	s.HideHealth(s.pods[0].addr.Addr())
	if got := s.health(s.lb); len(got) != 1 || got[s.pods[1].addr.String()] != "Alive" {
		t.Errorf("got %v", got)
	}
	if got := s.spread(4); got[0] != 2 {
		t.Errorf("it is only left out of the answer, and gets traffic: %v", got)
	}
	s.HideHealth()
	if got := s.health(s.lb); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}
