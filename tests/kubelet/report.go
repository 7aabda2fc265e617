package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// report is every figure under its name.
type report struct {
	// Rollouts are the rolling updates that went through; the tally is of the load on them.
	Rollouts int `json:"rollouts"`
	tally
	// DrainedRatio is the share of containers that had no weight at any CLB any more, and
	// whose pods said so, when they heard SIGTERM.
	DrainedRatio           float64 `json:"drained_before_sigterm_ratio"`
	ContainersReadyToReady spread  `json:"containers_ready_to_ready_ms"`
	// GateToReady is how long the kubelet takes from the gate's condition to Ready.
	GateToReady     spread `json:"gate_to_ready_ms"`
	DeleteToSIGTERM spread `json:"delete_to_sigterm_ms"`
	Pods            int    `json:"pods"`
	Terminated      int    `json:"containers_terminated"`
	Drained         int    `json:"containers_drained_before_sigterm"`
	// Unheard are pods that ended without a word about SIGTERM.
	Unheard int `json:"pods_ended_without_sigterm"`
	// AddressesReused counts pods that got an address another one had before.
	AddressesReused int `json:"addresses_reused"`
	// Ends are the other ways in which containers end.
	Ends map[string]*comparison `json:"ends"`
	// ShutdownReason is that of the status of pods which a node's shutdown ended.
	ShutdownReason string        `json:"node_shutdown_reason"`
	Seconds        float64       `json:"seconds"`
	Latencies      clb.Latencies `json:"latencies"`
}

// comparison is one way of ending, with the drain and without.
type comparison struct {
	With    outcome `json:"with_drain"`
	Without outcome `json:"without_drain"`
}

// outcome is what came of it.
type outcome struct {
	Containers int `json:"containers"`
	// SIGTERMAfterMS is, for each container, the time from the cause to SIGTERM.
	SIGTERMAfterMS []int64 `json:"sigterm_after_ms"`
	DrainedFirst   int     `json:"drained_before_sigterm"`
	tally
}

func (c *comparison) of(s *site) *outcome {
	if s.undrained {
		return &c.Without
	}
	return &c.With
}

// spread are durations, in milliseconds.
type spread struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
	N   int   `json:"n"`
	all []int64
}

// took adds the time between two moments, if both were.
func (r *report) took(s *spread, from, to time.Time) {
	if from.IsZero() || to.IsZero() {
		return
	}
	s.all = append(s.all, to.Sub(from).Milliseconds())
	slices.Sort(s.all)
	s.N = len(s.all)
	s.P50, s.P99 = s.rank(50), s.rank(99)
}

// rank is the nearest-rank percentile.
func (s *spread) rank(percent int) int64 {
	return s.all[max((percent*len(s.all)+99)/100, 1)-1]
}

// ways are the other ways that must have been seen.
var ways = []string{"liveness_restart", "eviction", "node_shutdown"}

// wrong lists what is not as it must be.
func (r *report) wrong(rollouts int) []error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(r.Rollouts == rollouts, "want %d rolling updates, %d went through", rollouts, r.Rollouts)
	clean := func(what string, t tally) {
		must(t.Requests > 0, "%s: no requests were sent", what)
		must(t.Failed == 0, "%s: %d of %d requests failed: %q", what, t.Failed, t.Requests, t.Failures)
		must(t.WrongPod == 0, "%s: %d answers came from a wrong pod", what, t.WrongPod)
		must(t.Premature == 0, "%s: %d answers came from a pod that was not ready", what, t.Premature)
		must(t.Strangers == 0, "%s: %d times the pod did not see the client's address", what, t.Strangers)
	}
	clean("rolling updates", r.tally)
	must(r.Terminated > 0 && r.DrainedRatio == 1, "rolling updates: %d of %d containers were drained before SIGTERM", r.Drained, r.Terminated)
	must(r.Unheard == 0, "rolling updates: %d pods ended without SIGTERM", r.Unheard)
	must(r.AddressesReused > 0, "rolling updates: no address was used twice, so that none could be mistaken for another's")
	for _, way := range ways {
		c := r.Ends[way]
		if c == nil {
			must(false, "%s was not seen", way)
			continue
		}
		clean(way, c.With.tally)
		must(c.With.Containers > 0 && c.With.DrainedFirst == c.With.Containers, "%s: %d of %d containers were drained before SIGTERM", way, c.With.DrainedFirst, c.With.Containers)
		must(c.Without.Containers > 0 && c.Without.DrainedFirst == 0, "%s: without the drain SIGTERM comes at once, yet %d of %d containers were drained by then", way, c.Without.DrainedFirst, c.Without.Containers)
		must(c.Without.WrongPod == 0, "%s: without the drain %d answers came from a wrong pod", way, c.Without.WrongPod)
		if len(c.With.SIGTERMAfterMS) > 0 && len(c.Without.SIGTERMAfterMS) > 0 {
			must(slices.Max(c.Without.SIGTERMAfterMS) < slices.Min(c.With.SIGTERMAfterMS), "%s: SIGTERM came after %v ms with the drain and after %v ms without", way, c.With.SIGTERMAfterMS, c.Without.SIGTERMAfterMS)
		}
	}
	return errs
}

// table shows the figures to people.
func (r *report) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nrolling updates\t%d\n", r.Rollouts)
	fmt.Fprintf(t, "requests\t%d\tfailed %d, wrong pod %d, premature %d, client's address lost %d\n", r.Requests, r.Failed, r.WrongPod, r.Premature, r.Strangers)
	fmt.Fprintf(t, "pods\t%d\t%d of them on an address that another had before\n", r.Pods, r.AddressesReused)
	fmt.Fprintf(t, "drained before SIGTERM\t%d of %d\n", r.Drained, r.Terminated)
	for _, s := range []struct {
		name string
		s    spread
	}{{"ContainersReady to Ready", r.ContainersReadyToReady}, {"gate met to Ready", r.GateToReady}, {"deleted to SIGTERM", r.DeleteToSIGTERM}} {
		fmt.Fprintf(t, "%s\t%d ms\tp99 %d ms\n", s.name, s.s.P50, s.s.P99)
	}
	for _, way := range slices.Sorted(maps.Keys(r.Ends)) {
		for name, o := range map[string]outcome{"drained": r.Ends[way].With, "not drained": r.Ends[way].Without} {
			fmt.Fprintf(t, "%s, %s\tSIGTERM after %v ms\t%d requests, %d failed\n", way, name, o.SIGTERMAfterMS, o.Requests, o.Failed)
		}
	}
	_ = t.Flush()
}
