package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// What the emulator may cost.
const (
	maxCorePercent = 30.0
	maxAddedMs     = 1.0
)

// report is what is written.
type report struct {
	Rate   int                `json:"rate"`
	Pods   int                `json:"pods"`
	Layers map[string]figures `json:"layers"`
}

// figures are those of a layer.
type figures struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"per_second"`
	// CorePercent is the emulator's CPU time, of one core.
	CorePercent float64 `json:"core_percent"`
	// ThroughMs and StraightMs are medians, AddedMs their difference.
	ThroughMs  float64 `json:"through_ms"`
	StraightMs float64 `json:"straight_ms"`
	AddedMs    float64 `json:"added_ms"`
}

func (r *report) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "layer\trequests/s\t% of a core\tthrough ms\tstraight ms\tadded ms\t")
	for _, layer := range slices.Sorted(maps.Keys(r.Layers)) {
		f := r.Layers[layer]
		fmt.Fprintf(t, "%s\t%.0f\t%.1f\t%.2f\t%.2f\t%.2f\t\n", layer, f.PerSecond, f.CorePercent, f.ThroughMs, f.StraightMs, f.AddedMs)
	}
	_ = t.Flush()
}

// wrong says what costs too much, or wasn't asked for as often as it should.
func (r *report) wrong() error {
	for _, layer := range slices.Sorted(maps.Keys(r.Layers)) {
		f := r.Layers[layer]
		switch {
		case f.PerSecond < 0.95*float64(r.Rate):
			return fmt.Errorf("%s: %.0f requests a second were sent, not %d: the machine is too busy to tell", layer, f.PerSecond, r.Rate)
		case f.CorePercent > maxCorePercent:
			return fmt.Errorf("%s: the emulator took %.1f %% of a core, more than %.0f", layer, f.CorePercent, maxCorePercent)
		case f.AddedMs > maxAddedMs:
			return fmt.Errorf("%s: the emulator added %.2f ms at the median, more than %.0f", layer, f.AddedMs, maxAddedMs)
		}
	}
	return nil
}
