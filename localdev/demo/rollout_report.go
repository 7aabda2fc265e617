package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
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

// plot draws, for each way, the requests failed so far over time, and how long it took.
func (d *rolloutShow) plot(context.Context) error {
	failed := plot.New()
	failed.Title.Text = "Requests failed during a rolling update of four pods"
	failed.X.Label.Text, failed.Y.Label.Text = "seconds since kubectl rollout restart", "failed so far"
	failed.Legend.Top = true
	longest := plot.New()
	longest.Title.Text = "Until every pod is new and every old one is gone"
	longest.Y.Label.Text = "seconds"
	var names []string
	for i, c := range d.contests {
		c.mu.Lock()
		steps := c.steps(d.lasted.Seconds())
		seconds := plotter.Values{c.result.RolloutSeconds}
		c.mu.Unlock()
		line, err := plotter.NewLine(steps)
		if err != nil {
			return fmt.Errorf("plotting: %w", err)
		}
		line.StepStyle, line.Width, line.Color = plotter.PostStep, vg.Points(1.5), plotutil.Color(i)
		failed.Add(line)
		failed.Legend.Add(c.about, line)
		bar, err := plotter.NewBarChart(seconds, vg.Points(30))
		if err != nil {
			return fmt.Errorf("plotting: %w", err)
		}
		bar.XMin, bar.Color = float64(i), plotutil.Color(i)
		longest.Add(bar)
		names = append(names, c.name)
	}
	longest.NominalX(names...)
	failed.Y.Min, longest.Y.Min = 0, 0
	failed.Y.Max *= 1.1
	longest.X.Min, longest.X.Max = -0.5, float64(len(names))-0.5

	const width, height, margin = 18 * vg.Centimeter, 10 * vg.Centimeter, vg.Centimeter / 2
	canvas := vgsvg.New(width, 2*height)
	whole := draw.New(canvas)
	failed.Draw(draw.Crop(whole, margin, -margin, height+margin, -margin))
	longest.Draw(draw.Crop(whole, margin, -margin, margin, -height-margin))
	path := filepath.Join(d.o.Out, "rollout.svg")
	if err := os.MkdirAll(d.o.Out, 0o755); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	defer file.Close()
	if _, err := canvas.WriteTo(file); err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	d.say("  %s", path)
	return file.Close()
}

// steps are the failures added up, from 0 to end in seconds; c.mu is held.
func (c *contest) steps(end float64) plotter.XYs {
	out := plotter.XYs{{}}
	for i, at := range c.misses {
		out = append(out, plotter.XY{X: at.Seconds(), Y: float64(i + 1)})
	}
	return append(out, plotter.XY{X: max(end, out[len(out)-1].X), Y: float64(len(c.misses))})
}
