package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// TestThrough: what a pass leaves is taken up at once, as nobody else would before the
// next timer, for as long as it does something and there is time.
func TestThrough(t *testing.T) {
	t.Parallel()
	some := map[string]int{"Bind": 500}
	part, whole := event.Reply{Continue: true, Writes: some}, event.Reply{Writes: some}
	cases := map[string]struct {
		reason  string
		replies []event.Reply
		left    time.Duration
		runs    int
		want    event.Reply
	}{
		"Once":    {"it was through", []event.Reply{whole}, time.Minute, 1, event.Reply{Writes: map[string]int{"Bind": 500}}},
		"Again":   {"it handed over twice", []event.Reply{part, part, whole}, time.Minute, 3, event.Reply{Writes: map[string]int{"Bind": 1500}}},
		"Nothing": {"one that did nothing would do so again", []event.Reply{part, {Continue: true}}, time.Minute, 2, event.Reply{Continue: true, Writes: map[string]int{"Bind": 500}}},
		"Late":    {"the time is nearly over: whoever comes next goes on", []event.Reply{part}, reserve - time.Second, 1, event.Reply{Continue: true, Writes: map[string]int{"Bind": 500}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
			defer cancel()
			deadline, _ := ctx.Deadline()
			w := &World{Now: func() time.Time { return deadline.Add(-tc.left) }, Log: slog.New(slog.DiscardHandler)}
			p := w.begin(event.Request{})
			runs := 0
			p.through(ctx, func() event.Reply {
				runs++
				return tc.replies[runs-1]
			})
			if runs != tc.runs {
				t.Errorf("%s: want %d passes, got %d", tc.reason, tc.runs, runs)
			}
			if diff := cmp.Diff(tc.want, p.reply); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTurns: every CLB comes first some time, and each comes once.
func TestTurns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := &survey{pass: (&World{Now: func() time.Time { return now }}).begin(event.Request{})}
	if got := s.turns(); got != nil {
		t.Errorf("want no turns without CLBs, got %v", got)
	}
	s.balancers = map[string]model.LoadBalancer{"a": {ID: "a"}, "b": {ID: "b"}, "c": {ID: "c"}}
	first := map[string]bool{}
	for range 3 {
		ids := s.turns()
		first[ids[0]] = true
		seen := map[string]bool{}
		for _, id := range ids {
			seen[id] = true
		}
		if len(ids) != 3 || len(seen) != 3 {
			t.Errorf("want each once, got %v", ids)
		}
		now = now.Add(20 * time.Second)
	}
	if len(first) != 3 {
		t.Errorf("want each first once in three surveys, got %v", first)
	}
}
