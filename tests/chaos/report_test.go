package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpread(t *testing.T) {
	var all []time.Duration
	for i := 200; i > 0; i-- {
		all = append(all, time.Duration(i)*time.Millisecond)
	}
	if diff := cmp.Diff(spread{P50: 100, P99: 198, Max: 200, N: 200}, spreadOf(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("of nothing: got %+v", got)
	}
}

// TestFenceIsUntilTheLast: of each pod that was taken away, the last answer of another.
func TestFenceIsUntilTheLast(t *testing.T) {
	r := &report{}
	for _, ended := range []float64{11, 13, 12} {
		r.fence(told(struck(10), func(e *evidence) { e.sample.Ended = at(ended) }))
	}
	if diff := cmp.Diff(spread{P50: 3000, P99: 3000, Max: 3000, N: 1}, r.FenceMS); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsWrong(t *testing.T) {
	fine := func() *report {
		return &report{tally: tally{Rollouts: 8, Requests: 1000, Terminated: 3, Drained: 3}}
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*report)
		want   int
	}{
		"Fine":        {"all is as it must be", func(*report) {}, 0},
		"Destroyed":   {"what a fault destroys is apart", func(r *report) { r.Destroyed, r.WrongUngraceful, r.PrematureAgain = 5, 5, 5 }, 0},
		"Failed":      {"a request without its answer", func(r *report) { r.Failed = 1 }, 1},
		"Wrong":       {"an answer of a wrong pod", func(r *report) { r.WrongPod = 1 }, 1},
		"Premature":   {"an answer too early", func(r *report) { r.Premature = 1 }, 1},
		"Late":        {"a connection too late", func(r *report) { r.Late = 1 }, 1},
		"Undrained":   {"SIGTERM before the drain", func(r *report) { r.Drained = 2 }, 1},
		"HoldBroken":  {"the same where its hook broke, which is counted", func(r *report) { r.Drained, r.HoldBroken = 2, 1 }, 0},
		"FewRollouts": {"too few rolling updates", func(r *report) { r.Rollouts = 7 }, 1},
		"FewRequests": {"too little load", func(r *report) { r.Requests = 10 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := fine()
			tc.change(r)
			if errs := r.wrong(8, 1000); len(errs) != tc.want {
				t.Errorf("%s: got %v", tc.reason, errs)
			}
		})
	}
}
