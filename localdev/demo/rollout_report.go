package demo

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/localdev/figure"
)

// RolloutReport is rollout.json: a result for each way.
type RolloutReport struct {
	NoGate    WayResult `json:"no_gate"`
	Gate      WayResult `json:"gate"`
	GateSleep WayResult `json:"gate_sleep"`
	CLBDirect WayResult `json:"clb_direct"`

	clbCalls int
}

// of is the result of a way by its key.
func (r *RolloutReport) of(key string) *WayResult {
	return map[string]*WayResult{"no_gate": &r.NoGate, "gate": &r.Gate, "gate_sleep": &r.GateSleep, "clb_direct": &r.CLBDirect}[key]
}

// WayResult is what a rolling update came to.
type WayResult struct {
	Requests int `json:"requests"`
	// Failed are those without their whole answer, WrongPod those that another
	// application's pod answered.
	Failed   int `json:"failed"`
	WrongPod int `json:"wrong_pod"`
	// RolloutSeconds is from the command until every pod is new and Ready and every old
	// one is gone.
	RolloutSeconds float64 `json:"rollout_seconds"`
	// FailedOverTime are seconds since the command and how many had failed by then, from
	// nothing up to the load's end.
	FailedOverTime [][2]float64 `json:"failed_over_time"`
}

func (r *RolloutReport) calls() int { return r.clbCalls }

func (r *RolloutReport) table(w io.Writer) {
	fmt.Fprintln(w, "way\trequests\tfailed\twrong pod\trollout\t")
	for _, way := range ways {
		x := r.of(way.key)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.1f s\t\n", way.about, x.Requests, x.Failed, x.WrongPod, x.RolloutSeconds)
	}
}

func (r *RolloutReport) judge(v *verdicts) {
	ours, sleep := r.CLBDirect, r.GateSleep
	v.check("clb-direct lost no request", ours.Requests > 0 && ours.Failed == 0, "%d of %d failed", ours.Failed, ours.Requests)
	v.check("and none met another application's pod", ours.WrongPod == 0, "%d", ours.WrongPod)
	v.check("it was through sooner than with a sleep", ours.RolloutSeconds > 0 && ours.RolloutSeconds < sleep.RolloutSeconds, "%.1f s and %.1f s", ours.RolloutSeconds, sleep.RolloutSeconds)
	for _, key := range []string{"no_gate", "gate"} {
		x := r.of(key)
		v.check("the load shows what "+key+" loses", x.Failed > 0, "%d of %d failed", x.Failed, x.Requests)
	}
}

// Panels are the requests that each way failed over time, and how long it took.
func (r *RolloutReport) Panels() []figure.Panel {
	failed := figure.Lines{
		Title: "Requests failed during a rolling update of four pods", X: figure.Axis{Label: "seconds since kubectl rollout restart"}, Y: figure.Axis{Label: "failed so far"},
	}
	took := figure.Bars{Title: "Until every pod is new and every old one is gone", Y: figure.Axis{Label: "seconds"}}
	var seconds figure.Bar
	for i, way := range ways {
		x, color := r.of(way.key), figure.Vermilion+figure.Color(i)
		line := figure.Line{Name: fmt.Sprintf("%s: %d of %d", way.about, x.Failed, x.Requests), Color: color, Step: true}
		for _, at := range x.FailedOverTime {
			line.Points = append(line.Points, figure.Point{X: at[0], Y: at[1]})
		}
		failed.Lines = append(failed.Lines, line)
		took.Groups = append(took.Groups, way.name)
		seconds.Values, seconds.Colors = append(seconds.Values, x.RolloutSeconds), append(seconds.Colors, color)
	}
	took.Series = []figure.Bar{seconds}
	return []figure.Panel{failed, took}
}

// plot draws the report.
func (d *rolloutShow) plot(context.Context) error {
	svg, err := figure.SVG(2, d.measured().Panels()...)
	if err != nil {
		return err
	}
	path := filepath.Join(d.o.Out, "rollout.svg")
	if err := os.MkdirAll(d.o.Out, 0o755); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	if err := os.WriteFile(path, svg, 0o644); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	d.say("  %s", path)
	return nil
}

// overTime adds failures up, from 0 to an end in seconds: the last of each tenth of a
// second is kept.
func overTime(misses []time.Duration, end float64) [][2]float64 {
	tenth := func(seconds float64) float64 { return math.Ceil(10*seconds) / 10 }
	out := [][2]float64{{}}
	for i, at := range slices.Sorted(slices.Values(misses)) {
		x := tenth(at.Seconds())
		if len(out) > 1 && out[len(out)-1][0] == x {
			out = out[:len(out)-1]
		}
		out = append(out, [2]float64{x, float64(i + 1)})
	}
	last := out[len(out)-1]
	if end = tenth(end); end > last[0] {
		out = append(out, [2]float64{end, last[1]})
	}
	return out
}
