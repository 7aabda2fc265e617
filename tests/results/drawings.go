package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/clb-direct/clb-direct/localdev/figure"
)

// drawing is a file of plots.
type drawing struct {
	// name is the file's, without .svg; columns is how many panels are in a row.
	name    string
	columns int
	// panels are none where there is no report for them.
	panels func(*book) []figure.Panel
}

var drawings = []drawing{
	{"rollout", 2, func(b *book) []figure.Panel {
		if b.Rollout == nil {
			return nil
		}
		return b.Rollout.Panels()
	}},
	{"chaos", 1, drawChaos},
	{"ready", 2, drawReady},
	{"forwarder", 2, drawForwarder},
	{"soak", 1, drawSoak},
	{"bench", 2, drawBench},
	{"drift", 1, drawDrift},
}

// draw makes all plots that there are reports for, by the file's name.
func draw(b *book) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, d := range drawings {
		panels := d.panels(b)
		if len(panels) == 0 {
			continue
		}
		svg, err := figure.SVG(d.columns, panels...)
		if err != nil {
			return nil, fmt.Errorf("%s.svg: %w", d.name, err)
		}
		out[d.name+".svg"] = svg
	}
	return out, nil
}

// drawChaos has the requests under each fault, and those that were not as they should be.
func drawChaos(b *book) []figure.Panel {
	r := b.Chaos
	if r == nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(r.ByFault))
	if len(names) == 0 {
		return nil
	}
	series := func(name string, color figure.Color, of func(chaosTally) int) figure.Bar {
		s := figure.Bar{Name: name, Color: color}
		for _, n := range names {
			s.Values = append(s.Values, float64(of(r.ByFault[n])))
		}
		return s
	}
	sent := series("", figure.Blue, func(t chaosTally) int { return t.Requests })
	for i, n := range sent.Values {
		if n == 0 {
			sent.Values[i] = figure.Missing()
		}
	}
	return []figure.Panel{
		figure.Bars{Title: "Requests sent while each fault happened", Groups: names, Slant: true, Bare: true, Y: figure.Axis{Label: "requests", Log: true}, Series: []figure.Bar{sent}},
		figure.Bars{Title: "Of these", Groups: names, Slant: true, Bare: true, Y: figure.Axis{Label: "requests", Max: 5}, Series: []figure.Bar{
			series(fmt.Sprintf("failed, answered by a wrong pod, or by one not ready: %d", r.Failed+r.WrongPod+r.Premature+r.Late), figure.Vermilion, func(t chaosTally) int { return t.Failed + t.WrongPod + t.Premature + t.Late }),
			series(fmt.Sprintf("failed with a pod that the fault struck down: %d", r.Destroyed), figure.Orange, func(t chaosTally) int { return t.Destroyed }),
			series(fmt.Sprintf("answered by another in such a pod's place: %d", r.WrongUngraceful), figure.SkyBlue, func(t chaosTally) int { return t.WrongUngraceful }),
			series(fmt.Sprintf("answered by one started again, not ready yet: %d", r.PrematureAgain), figure.Purple, func(t chaosTally) int { return t.PrematureAgain }),
		}},
	}
}

// drawReady has pods' ways to Ready.
func drawReady(b *book) []figure.Panel {
	var out []figure.Panel
	if b.Demo != nil && len(b.Demo.Pods) > 0 {
		pods := slices.SortedFunc(slices.Values(b.Demo.Pods), func(a, b podWay) int { return cmp.Compare(a.ReadyMS, b.ReadyMS) })
		ways := figure.Bars{Title: "A pod's way to Ready (make demo)", Bare: true, Left: true, Y: figure.Axis{Label: "seconds since its creation"}}
		for i := range pods {
			ways.Groups = append(ways.Groups, "pod "+strconv.Itoa(i+1))
		}
		for _, s := range []struct {
			name  string
			color figure.Color
			of    func(podWay) int64
		}{
			{"containers ready", figure.SkyBlue, func(p podWay) int64 { return p.ContainersReadyMS }},
			{"bound on the CLB", figure.Orange, func(p podWay) int64 { return p.BoundMS }},
			{"found healthy by the CLB", figure.Blue, func(p podWay) int64 { return p.AliveMS }},
			{"Ready", figure.Green, func(p podWay) int64 { return p.ReadyMS }},
		} {
			bar := figure.Bar{Name: s.name, Color: s.color}
			for _, p := range pods {
				v := figure.Missing()
				if ms := s.of(p); ms > 0 {
					v = float64(ms) / 1000
				}
				bar.Values = append(bar.Values, v)
			}
			ways.Series = append(ways.Series, bar)
		}
		out = append(out, ways)
	}
	if r := b.Kubelet; r != nil && r.ContainersReadyToReady.N > 0 {
		seconds := func(q quantiles) []float64 { return []float64{float64(q.P50) / 1000, float64(q.P99) / 1000} }
		out = append(out, figure.Bars{
			Title: fmt.Sprintf("On the real kubelet, %d pods (make e2e-kubelet)", r.ContainersReadyToReady.N), Groups: []string{"p50", "p99"}, Y: figure.Axis{Label: "seconds"},
			Series: []figure.Bar{
				{Name: "ContainersReady to Ready", Color: figure.Green, Values: seconds(r.ContainersReadyToReady)},
				{Name: "of it, gate met to Ready", Color: figure.SkyBlue, Values: seconds(r.GateToReady)},
				{Name: "deleted to SIGTERM", Color: figure.Orange, Values: seconds(r.DeleteToSIGTERM)},
			},
		})
	}
	return out
}

// versus are the forwarder and the baseline, side by side over scenarios. A scenario in
// which neither was measured is left out.
func versus(r *forwarderReport, title, unit string, log bool, from []versusOf) figure.Panel {
	p := figure.Bars{Title: title, Y: figure.Axis{Label: unit, Log: log}, Series: []figure.Bar{{Name: "clb-direct", Color: figure.Green}, {Name: "baseline", Color: figure.Grey}}}
	for _, f := range from {
		ours, base := at(r.Ours, f.scenario, f.figure), at(r.Baseline, f.scenario, f.figure)
		if math.IsNaN(ours) && math.IsNaN(base) {
			continue
		}
		if log { // what is below a hundredth can't be told from nothing
			ours, base = max(ours, 0.01), max(base, 0.01)
		}
		p.Groups = append(p.Groups, f.name)
		p.Series[0].Values, p.Series[1].Values = append(p.Series[0].Values, ours), append(p.Series[1].Values, base)
	}
	if len(p.Groups) == 0 {
		return nil
	}
	return p
}

type versusOf struct{ name, scenario, figure string }

func drawForwarder(b *book) []figure.Panel {
	r := b.Forwarder
	if r == nil {
		return nil
	}
	var out []figure.Panel
	for _, p := range []figure.Panel{
		versus(r, "A backlog of 10,000 changes drained", "changes a second", true, []versusOf{{"of 10,000 keys", "drain", "changes_per_second"}, {"of 100 keys", "drain_100", "changes_per_second"}}),
		versus(r, "Latency added to a bare watch's", "ms", true, []versusOf{
			{"idle\np50", "idle", "added_p50_ms"}, {"idle\np99", "idle", "added_p99_ms"}, {"loaded\np50", "loaded", "added_p50_ms"}, {"loaded\np99", "loaded", "added_p99_ms"},
			{"slow sink\np50", "slow_sink", "added_p50_ms"}, {"slow sink\np99", "slow_sink", "added_p99_ms"}}),
		versus(r, "Changes lost", "changes", false, []versusOf{
			{"sink away", "sink_away", "lost"}, {"refused", "sink_refused", "lost"}, {"HTTP 500", "http_500", "lost"}, {"crash", "crash", "lost"}, {"API server\nkilled", "apiserver_killed", "lost"}}),
	} {
		if p != nil {
			out = append(out, p)
		}
	}
	if len(r.RSS) > 0 {
		p := figure.Bars{Title: "Resident memory at most, clb-direct", Y: figure.Axis{Label: "MiB"}, Series: []figure.Bar{{Name: "measured", Color: figure.Green}, {Name: "allowed", Color: figure.Grey}}}
		for _, size := range []struct {
			pods, name string
			most       float64
		}{{"10000", "10,000 pods", maxRSS10000}, {"50000", "50,000 pods", maxRSS50000}} {
			if v, ok := r.RSS[size.pods]; ok {
				p.Groups = append(p.Groups, size.name)
				p.Series[0].Values, p.Series[1].Values = append(p.Series[0].Values, v), append(p.Series[1].Values, size.most)
			}
		}
		out = append(out, p)
	}
	return out
}

func drawSoak(b *book) []figure.Panel {
	r := b.Soak
	if r == nil || len(r.Heap) == 0 {
		return nil
	}
	heap := figure.Line{Name: "live heap after a collection", Color: figure.Blue, Dots: true}
	for i, v := range r.Heap {
		heap.Points = append(heap.Points, figure.Point{X: r.Minutes * float64(i+1) / float64(len(r.Heap)), Y: v})
	}
	return []figure.Panel{figure.Lines{
		Title: fmt.Sprintf("The forwarder at %.0f changes a second over a faulty sink", r.PerSecond), X: figure.Axis{Label: "minutes"}, Y: figure.Axis{Label: "MiB"}, Lines: []figure.Line{heap},
		Limits: []figure.Limit{{Name: "a tenth above the mean of the first third", Value: 1.1 * r.FirstThird}},
	}}
}

// sizes are the numbers of pods of the benchmarks.
var sizes = []string{"100", "1000", "10000"}

func drawBench(b *book) []figure.Panel {
	r := b.Bench
	if r == nil {
		return nil
	}
	panel := func(title string, kinds []string, of func(kind, size string) (ms float64, ok bool)) figure.Panel {
		p := figure.Lines{Title: title, X: figure.Axis{Label: "pods", Log: true}, Y: figure.Axis{Label: "ms", Log: true}, Left: true}
		for _, kind := range kinds {
			line := figure.Line{Name: words(kind), Dots: true}
			for _, size := range sizes {
				x, _ := strconv.ParseFloat(size, 64) // they are written above
				if ms, ok := of(kind, size); ok && ms > 0 {
					line.Points = append(line.Points, figure.Point{X: x, Y: ms})
				}
			}
			if len(line.Points) > 0 {
				p.Lines = append(p.Lines, line)
			}
		}
		if len(p.Lines) == 0 {
			return nil
		}
		return p
	}
	var out []figure.Panel
	for _, p := range []figure.Panel{
		panel("A whole pass (real API server, CLB without latency)", slices.Sorted(maps.Keys(r.Passes)), func(kind, size string) (float64, bool) {
			f, ok := r.Passes[kind][size]
			return f.Millis, ok
		}),
		panel("The planner", slices.Sorted(maps.Keys(r.Planner)), func(kind, size string) (float64, bool) {
			f, ok := r.Planner[kind][size]
			return float64(f.NsPerOp) / 1e6, ok
		}),
	} {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

func drawDrift(b *book) []figure.Panel {
	r := b.Drift
	if r == nil || len(r.Changes) == 0 {
		return nil
	}
	took := map[string][]float64{}
	for _, c := range r.Changes {
		took[c.Kind] = append(took[c.Kind], c.Seconds)
	}
	d := figure.Dots{Title: "How long each change by hand lasted", Y: figure.Axis{Label: "seconds"}, Limits: []figure.Limit{{Name: "at most", Value: 60}}}
	for _, kind := range slices.Sorted(maps.Keys(took)) {
		slices.Sort(took[kind])
		d.Names, d.Values = append(d.Names, kind), append(d.Values, took[kind])
	}
	return []figure.Panel{d}
}
