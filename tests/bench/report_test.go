package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     []float64
		want   float64
	}{
		"None": {reason: "no run, no figure", want: 0},
		"One":  {reason: "it", in: []float64{3}, want: 3},
		"Odd":  {reason: "the middle one, whatever the order", in: []float64{9, 1, 2}, want: 2},
		"Even": {reason: "the mean of the middle two", in: []float64{4, 1, 2, 9}, want: 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := median(tc.in); got != tc.want {
				t.Errorf("%s: want %v, got %v", tc.reason, tc.want, got)
			}
		})
	}
}

// good is a report in which every demand is met: time grows with the pods, 10-fold
// from one size to the next, except where one pod changed.
func good() *report {
	r := newReport()
	for _, size := range sizes {
		for _, kind := range kinds {
			took := time.Duration(size) * time.Millisecond
			if kind == bindOne || kind == openOne {
				took = time.Second
			}
			for range 3 {
				r.add(kind, size, outcome{Nanos: took.Nanoseconds(), Passes: 1})
			}
		}
		r.remember("backends", size, 60<<20, "")
		r.remember("readiness", size, 60<<20, "")
	}
	return r
}

func TestDemands(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*report)
		unmet  []string
	}{
		"Good": {reason: "everything is as demanded", change: func(*report) {}},
		"Growth": {reason: "more than 12-fold", unmet: []string{"growth of backends_steady from 1,000 to 10,000 pods"}, change: func(r *report) {
			for i := range r.Passes[bindSteady]["10000"].RunsMillis {
				r.Passes[bindSteady]["10000"].RunsMillis[i] *= 1.3
			}
		}},
		"Outlier": {reason: "one slow run of three doesn't count", change: func(r *report) { r.Passes[bindSteady]["10000"].RunsMillis[1] *= 5 }},
		"Turns": {reason: "one run between two counts against their middle", change: func(r *report) {
			slowed := outcome{Nanos: int64(1500 * time.Millisecond), Passes: 1}
			for range 4 {
				r.add(openAll, 1_000, slowed)
			}
			for i := range r.Passes[openAll]["10000"].RunsMillis {
				r.Passes[openAll]["10000"].RunsMillis[i] *= 1.4
			}
			r.Passes[openAll]["10000"].Millis *= 1.4
		}},
		"OnePod": {reason: "more than twice", unmet: []string{"readiness_one_pod among 10,000 pods, over among 100"}, change: func(r *report) {
			for i := range r.Passes[openOne]["10000"].RunsMillis {
				r.Passes[openOne]["10000"].RunsMillis[i] *= 2.1
			}
		}},
		"Memory": {reason: "over 128 MB at 1,000 pods", unmet: []string{"memory of backends at 1000 pods, in MB"}, change: func(r *report) { r.remember("backends", 1000, 129<<20, "") }},
		"Ended":  {reason: "ended by the platform, however little was seen", unmet: []string{"memory of readiness at 10000 pods, in MB"}, change: func(r *report) { r.remember("readiness", 10000, 1<<20, "MemoryLimitReached") }},
		"Missing": {reason: "a figure that is missing meets nothing", unmet: []string{"growth of readiness_open_all from 1,000 to 10,000 pods"}, change: func(r *report) {
			delete(r.Passes, openAll)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := good()
			tc.change(r)
			r.conclude()
			var unmet []string
			for _, d := range r.Demands {
				if !d.Met {
					unmet = append(unmet, d.Name)
				}
			}
			if diff := cmp.Diff(tc.unmet, unmet); diff != "" {
				t.Errorf("%s: unmet demands: -want +got:\n%s", tc.reason, diff)
			}
			if r.Met != (len(tc.unmet) == 0) {
				t.Errorf("%s: demands_met is %v", tc.reason, r.Met)
			}
		})
	}
}

func TestExpect(t *testing.T) {
	cases := map[string]struct {
		reason string
		writes map[string]int
		n      int
		ok     bool
	}{
		"Done":     {reason: "what was to be done", writes: map[string]int{"Bind": 3}, n: 3, ok: true},
		"Nothing":  {reason: "nothing was to be done", ok: true},
		"Less":     {reason: "a pass that did less isn't a fast one", writes: map[string]int{"Bind": 2}, n: 3},
		"None":     {reason: "nor one that did nothing", n: 3},
		"Other":    {reason: "nor one that did something else", writes: map[string]int{"Bind": 3, "Unbind": 1}, n: 3},
		"Needless": {reason: "a steady pass writes nothing", writes: map[string]int{"Bind": 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := expect(outcome{Writes: tc.writes}, "Bind", tc.n); (err == nil) != tc.ok {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

// BenchmarkPlanner has the planner's benchmarks for `go test -bench`.
func BenchmarkPlanner(b *testing.B) {
	for _, p := range planners {
		for _, size := range sizes {
			b.Run(p.name+"/"+strconv.Itoa(size), p.bench(size))
		}
	}
}
