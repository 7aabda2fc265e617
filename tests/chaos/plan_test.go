package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lists are the casts of a plan's first rounds.
func lists(t *testing.T, o options, n int) []string {
	t.Helper()
	p, err := schedule(o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range n {
		c, more := p.next(i, 0)
		if !more {
			break
		}
		out = append(out, c.list())
	}
	return out
}

func TestScheduleWhatWasAskedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		o      options
		want   []string
	}{
		"None":     {"no fault, again and again", options{faults: []string{none}, rounds: 2}, []string{none, none}},
		"Together": {"at a time", options{faults: []string{"call-slow,crashed"}}, []string{"call-slow,crashed"}},
		"Each":     {"one after the other", options{faults: []string{"call-slow", "crashed"}}, []string{"call-slow", "crashed"}},
		"Again":    {"as often as asked for", options{faults: []string{"call-slow", "crashed"}, rounds: 3}, []string{"call-slow", "crashed", "call-slow"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.limit = time.Hour
			if diff := cmp.Diff(tc.want, lists(t, tc.o, 4)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestScheduleAllAndMixes: each fault alone, and then mixes, the same for the same seed.
func TestScheduleAllAndMixes(t *testing.T) {
	o := options{seed: 7, limit: time.Hour}
	n := len(mishaps) + 1 + 20
	all := lists(t, o, n)
	if diff := cmp.Diff(append([]string{none}, names()...), all[:len(mishaps)+1]); diff != "" {
		t.Errorf("each fault alone first (-want +got):\n%s", diff)
	}
	mixes := all[len(mishaps)+1:]
	for _, m := range mixes {
		if parts := strings.Split(m, ","); len(parts) != mixed || len(slices.Compact(slices.Sorted(slices.Values(parts)))) != mixed {
			t.Errorf("want %d different ones in a mix, got %s", mixed, m)
		}
	}
	if diff := cmp.Diff(all, lists(t, o, n)); diff != "" {
		t.Errorf("the same seed plays something else (-once +again):\n%s", diff)
	}
	o.seed++
	if slices.Equal(mixes, lists(t, o, n)[len(mishaps)+1:]) {
		t.Error("another seed plays the same mixes")
	}
}

// TestDiceAreTheCasts: a round played again by itself meets the same moments.
func TestDiceAreTheCasts(t *testing.T) {
	p, err := schedule(options{seed: 7, faults: []string{"call-slow,crashed"}, limit: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := p.next(0, 0)
	if p.dice(c, 0).Uint64() != p.dice(c, 0).Uint64() {
		t.Error("the same cast meets something else")
	}
	if p.dice(c, 0).Uint64() == p.dice(c, 1).Uint64() {
		t.Error("it meets the same when it plays again")
	}
}

func TestRefusedFaults(t *testing.T) {
	if _, err := schedule(options{faults: []string{"call-slow,meteor"}}); err == nil || !strings.Contains(err.Error(), "meteor") || !strings.Contains(err.Error(), "call-slow") {
		t.Errorf("want what is wrong and what is allowed, got %v", err)
	}
}
