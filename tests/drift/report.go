package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// What is demanded: so many changes, so many of each kind.
const (
	minChanges = 20
	minOfKind  = 3
)

// report is every figure under its name.
type report struct {
	// Seed is what the changes were drawn from.
	Seed    uint64    `json:"seed"`
	Changes []*change `json:"changes"`
	// Healed counts those that were, within a minute.
	Healed         int     `json:"healed"`
	ForeignTouched int     `json:"foreign_touched"`
	SecondsMax     float64 `json:"seconds_max"`
	SecondsMean    float64 `json:"seconds_mean"`
	// Idle are the CLB API calls of all functions together while nothing changes.
	Idle            calls          `json:"calls_per_minute_idle"`
	IdleInvocations map[string]int `json:"invocations_idle"`
	// HealthyAgain: in the end every pod was found healthy everywhere. Left is what a
	// resync would then still do.
	HealthyAgain bool          `json:"healthy_again"`
	Left         []string      `json:"left_to_do"`
	Latencies    clb.Latencies `json:"latencies"`
}

// change is one that was made by hand.
type change struct {
	Kind  string `json:"kind"`
	Where string `json:"where"`
	What  string `json:"what"`
	// At is when it had taken effect, in seconds since the play began, Phase in seconds
	// since the timer's last full period.
	At    float64 `json:"at"`
	Phase float64 `json:"phase"`
	// Seconds is how long it lasted. Of somebody else's listener, until a resync had
	// come and gone and left it as it was.
	Seconds float64 `json:"seconds"`
	Healed  bool    `json:"healed"`
	// Seen: it was really there before it was healed.
	Seen bool `json:"seen"`

	reach   []string
	givenUp bool
}

// calls are CLB API calls in a minute.
type calls struct {
	Total    float64            `json:"total"`
	ByAction map[string]float64 `json:"by_action"`
	Seconds  float64            `json:"measured_seconds"`
}

// rateOf counts the functions' calls between two moments.
func rateOf(log []clb.Call, from, to time.Time) calls {
	out := calls{ByAction: map[string]float64{}, Seconds: to.Sub(from).Seconds()}
	for _, c := range log {
		if c.Principal == person || c.Time.Before(from) || c.Time.After(to) {
			continue
		}
		out.Total++
		out.ByAction[c.Action]++
	}
	minutes := to.Sub(from).Minutes()
	out.Total /= minutes
	for action := range out.ByAction {
		out.ByAction[action] /= minutes
	}
	return out
}

// conclude adds up.
func (r *report) conclude() {
	r.Healed, r.SecondsMax, r.SecondsMean = 0, 0, 0
	for _, c := range r.Changes {
		if c.Healed {
			r.Healed++
		}
		r.SecondsMax = max(r.SecondsMax, c.Seconds)
		r.SecondsMean += c.Seconds / float64(len(r.Changes))
	}
}

// wrong is all that is not as demanded.
func (r *report) wrong() []error {
	var out []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			out = append(out, fmt.Errorf(format, args...))
		}
	}
	of := map[string]int{}
	for _, c := range r.Changes {
		of[c.Kind]++
		switch {
		case !c.Healed:
			out = append(out, fmt.Errorf("%s at %s (%s) was not healed", c.Kind, c.Where, c.What))
		case c.Seconds > limit.Seconds():
			out = append(out, fmt.Errorf("%s at %s (%s) took %.0f s to heal", c.Kind, c.Where, c.What, c.Seconds))
		case !c.Seen:
			out = append(out, fmt.Errorf("%s at %s (%s) was never there", c.Kind, c.Where, c.What))
		}
	}
	check(len(r.Changes) >= minChanges, "only %d changes were made, want %d", len(r.Changes), minChanges)
	for _, kind := range kinds {
		check(of[kind] >= minOfKind, "%s was made %d times, want %d", kind, of[kind], minOfKind)
	}
	check(r.ForeignTouched == 0, "%d of somebody else's were touched", r.ForeignTouched)
	check(r.Idle.Seconds >= 60, "calls at rest were counted for %.0f s, want a minute", r.Idle.Seconds)
	check(r.HealthyAgain, "not every pod was healthy again")
	check(len(r.Left) == 0, "in the end there was left to do: %q", r.Left)
	return out
}

// table writes the report for people.
func (r *report) table(w io.Writer) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kind\tchanges\thealed\tmean\tmax")
	for _, kind := range kinds {
		var n, healed int
		var sum, most float64
		for _, c := range r.Changes {
			if c.Kind != kind {
				continue
			}
			n, sum, most = n+1, sum+c.Seconds, max(most, c.Seconds)
			if c.Healed {
				healed++
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f s\t%.1f s\n", kind, n, healed, sum/float64(max(n, 1)), most)
	}
	fmt.Fprintf(t, "all\t%d\t%d\t%.1f s\t%.1f s\n", len(r.Changes), r.Healed, r.SecondsMean, r.SecondsMax)
	_ = t.Flush() // to a terminal; whether it is there is not ours to judge
	fmt.Fprintf(w, "\nsomebody else's that was touched: %d\n", r.ForeignTouched)
	fmt.Fprintf(w, "at rest %.1f CLB API calls a minute (%.2f a second): ", r.Idle.Total, r.Idle.Total/60)
	for _, action := range sortedKeys(r.Idle.ByAction) {
		fmt.Fprintf(w, "%s %.1f; ", action, r.Idle.ByAction[action])
	}
	fmt.Fprintf(w, "by %v\n", r.IdleInvocations)
	verdict := "ok"
	if err := errors.Join(r.wrong()...); err != nil {
		verdict = "NOT MET"
	}
	fmt.Fprintln(w, "demand:", verdict)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
