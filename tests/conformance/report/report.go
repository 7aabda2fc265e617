package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is what is written.
type report struct {
	// Cases are those that ran or were to; skipped ones are among them.
	Cases     int                 `json:"cases"`
	Passed    int                 `json:"passed"`
	Skipped   int                 `json:"skipped"`
	BySection map[string]*section `json:"by_section"`
	// Failures are the cases that failed, and tests above cases that did so by
	// themselves.
	Failures []string `json:"failures"`
	// Observed tells for disputed facts which profile the cloud follows, quoted; "" is
	// the default one. Empty for a run on emulators.
	Observed map[string]string `json:"observed,omitempty"`
	// Ended is whether the suite as a whole has passed.
	Ended bool `json:"ended"`
}

// section counts the cases of one.
type section struct {
	Cases   int `json:"cases"`
	Passed  int `json:"passed"`
	Skipped int `json:"skipped"`
}

func (r *report) add(k key, state string) {
	s := r.BySection[k.section]
	if s == nil {
		s = &section{}
		r.BySection[k.section] = s
	}
	r.Cases++
	s.Cases++
	switch state {
	case passed:
		r.Passed++
		s.Passed++
	case skipped:
		r.Skipped++
		s.Skipped++
	default:
		r.Failures = append(r.Failures, k.section+": "+k.name)
	}
}

// wrong says what the suite doesn't meet.
func (r *report) wrong(least int) error {
	switch {
	case len(r.Failures) > 0:
		return fmt.Errorf("%d failed: %s", len(r.Failures), strings.Join(r.Failures, "; "))
	case !r.Ended:
		return fmt.Errorf("the suite failed, though none of its %d cases did", r.Cases)
	case r.Cases < least:
		return fmt.Errorf("there are %d cases, want at least %d", r.Cases, least)
	}
	return nil
}

// table writes the report for people.
func (r *report) table(w io.Writer) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "section\tcases\tpassed\tskipped\tfailed")
	for _, name := range slices.Sorted(maps.Keys(r.BySection)) {
		s := r.BySection[name]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\n", name, s.Cases, s.Passed, s.Skipped, s.Cases-s.Passed-s.Skipped)
	}
	fmt.Fprintf(t, "all\t%d\t%d\t%d\t%d\n", r.Cases, r.Passed, r.Skipped, r.Cases-r.Passed-r.Skipped)
	_ = t.Flush() // to a terminal; whether it is there is not ours to judge
	for _, name := range slices.Sorted(maps.Keys(r.Observed)) {
		fmt.Fprintf(w, "observed: %s: %s\n", name, r.Observed[name])
	}
}
