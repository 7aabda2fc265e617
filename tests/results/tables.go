package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// table is one of the page's, below the first.
type table struct {
	// command makes its report.
	command string
	head    []string
	// rows are none where there is no report.
	rows func(*book) [][]string
}

// markdown writes a table. What is no number is no number's cell, so that nothing is
// aligned.
func markdown(head []string, rows [][]string) string {
	var out strings.Builder
	line := func(cells []string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, r := range rows {
		for i := range r {
			r[i] = strings.ReplaceAll(r[i], "|", `\|`)
		}
		line(r)
	}
	return out.String()
}

var tables = map[string]table{
	"lifecycle": {"lifecycle", []string{"step", "seconds", "requests", "failed"}, func(b *book) (out [][]string) {
		if b.Lifecycle == nil {
			return nil
		}
		for _, s := range b.Lifecycle.Steps {
			out = append(out, []string{s.Name, fixed(s.Seconds, 1), count(s.Requests), count(s.Failed)})
		}
		return out
	}},
	"kinds": {"chaos", []string{"way of asking", "requests"}, func(b *book) (out [][]string) {
		if b.Chaos == nil {
			return nil
		}
		for _, kind := range sorted(b.Chaos.ByKind) {
			out = append(out, []string{words(kind), count(b.Chaos.ByKind[kind])})
		}
		return out
	}},
	"ends": {"e2e-kubelet", []string{"a container ends by", "with the drain", "without"}, func(b *book) (out [][]string) {
		if b.Kubelet == nil {
			return nil
		}
		end := func(e kubeletEnd) string {
			var after []string
			for _, n := range e.SIGTERMAfterMS {
				after = append(after, ms(n))
			}
			return fmt.Sprintf("SIGTERM after %s; %d of %s requests failed", strings.Join(after, " and "), e.Failed, count(e.Requests))
		}
		for _, way := range sorted(b.Kubelet.Ends) {
			out = append(out, []string{words(way), end(b.Kubelet.Ends[way].With), end(b.Kubelet.Ends[way].Without)})
		}
		return out
	}},
	"forwarder": {"bench-forwarder", []string{"scenario", "figure", "clb-direct", "baseline"}, forwarderRows},
	"differences": {"bench-forwarder", []string{"where the baseline isn't like the adapter that it stands for"}, func(b *book) (out [][]string) {
		if b.Forwarder == nil {
			return nil
		}
		for _, d := range b.Forwarder.Differences {
			out = append(out, []string{d})
		}
		if len(out) == 0 {
			out = [][]string{{"nowhere"}}
		}
		return out
	}},
	"memory": {"bench", []string{"packaged function", "100 pods", "1,000", "10,000", "cold start"}, func(b *book) (out [][]string) {
		if b.Bench == nil {
			return nil
		}
		for _, function := range sorted(b.Bench.Memory) {
			line := []string{function}
			for _, size := range sizes {
				f, ok := b.Bench.Memory[function][size]
				line = append(line, orDash(ok, "%.0f of %d MB", f.MB, f.LimitMB))
			}
			cold, ok := b.Bench.ColdStart[function]
			out = append(out, append(line, orDash(ok, "%.0f ms", cold.Millis)))
		}
		return out
	}},
	"demands": {"bench", []string{"demand", "at most", "measured", "met"}, func(b *book) (out [][]string) {
		if b.Bench == nil {
			return nil
		}
		for _, d := range b.Bench.Demands {
			out = append(out, []string{words(d.Name), short(d.Limit), short(d.Got), yes(d.Met)})
		}
		return out
	}},
	"rules": {"bench-rules", []string{"", "seconds"}, func(b *book) (out [][]string) {
		if b.Rules == nil {
			return nil
		}
		add := func(prefix string, all map[string]float64) {
			for _, name := range slices.SortedFunc(maps.Keys(all), func(a, b string) int {
				if c := int(math.Copysign(1, all[a]-all[b])); all[a] != all[b] {
					return c
				}
				return strings.Compare(a, b)
			}) {
				out = append(out, []string{prefix + words(name), fixed(all[name], 2)})
			}
		}
		add("after the Ingress was created: ", b.Rules.Milestones)
		add("the least that the API allows: ", b.Rules.FloorParts)
		return out
	}},
	"drift": {"drift", []string{"change by hand", "times", "healed", "seconds, mean", "seconds, longest"}, func(b *book) (out [][]string) {
		if b.Drift == nil {
			return nil
		}
		type of struct {
			n, healed int
			sum, most float64
		}
		kinds := map[string]of{}
		for _, c := range b.Drift.Changes {
			k := kinds[c.Kind]
			k.n, k.sum, k.most = k.n+1, k.sum+c.Seconds, max(k.most, c.Seconds)
			if c.Healed {
				k.healed++
			}
			kinds[c.Kind] = k
		}
		for _, kind := range sorted(kinds) {
			k := kinds[kind]
			out = append(out, []string{kind, count(k.n), count(k.healed), fixed(k.sum/float64(k.n), 1), fixed(k.most, 1)})
		}
		return out
	}},
	"model": {"model", []string{"rule of the code that was switched off", "noticed after steps"}, func(b *book) (out [][]string) {
		if b.Model == nil {
			return nil
		}
		for _, m := range b.Model.Mutants {
			out = append(out, []string{m.Name, orDash(m.Caught, "%s", count(m.Steps))})
		}
		return out
	}},
	"conformance": {"conformance", []string{"section", "documented facts", "hold", "skipped"}, func(b *book) (out [][]string) {
		if b.Conformance == nil {
			return nil
		}
		for _, name := range sorted(b.Conformance.BySection) {
			s := b.Conformance.BySection[name]
			out = append(out, []string{name, count(s.Cases), count(s.Passed), count(s.Skipped)})
		}
		return out
	}},
	"emulator": {"bench-emulator", []string{"layer", "requests a second", "of a core", "median through", "straight", "added"}, func(b *book) (out [][]string) {
		if b.Emulator == nil {
			return nil
		}
		for _, name := range sorted(b.Emulator.Layers) {
			f := b.Emulator.Layers[name]
			out = append(out, []string{words(name), fixed(f.PerSecond, 0), fixed(f.CorePercent, 1) + " %", fixed(f.ThroughMs, 2) + " ms", fixed(f.StraightMs, 2) + " ms", fixed(f.AddedMs, 2) + " ms"})
		}
		return out
	}},
	"latencies": {"demo", []string{"of the emulated CLB", "ms"}, func(b *book) [][]string {
		if b.Demo == nil {
			return nil
		}
		l := b.Demo.Latencies
		return [][]string{
			{"an API call", short(l.API)},
			{"a task", short(l.Task[0]) + " to " + short(l.Task[1])},
			{"busy after a write, when the next is refused", short(l.Busy)},
			{"until a change is in the data plane", short(l.Propagation[0]) + " to " + short(l.Propagation[1])},
			{"creating a load balancer", short(l.Create)},
		}
	}},
}

// forwarderRows are all figures of all scenarios, spreads beside them.
func forwarderRows(b *book) (out [][]string) {
	if b.Forwarder == nil {
		return nil
	}
	r := b.Forwarder
	for _, scenario := range sorted(r.Ours) {
		names := map[string]bool{}
		for _, all := range []map[string]any{r.Ours[scenario], r.Baseline[scenario]} {
			for name, v := range all {
				if _, number := v.(float64); number {
					names[name] = true
				}
			}
		}
		cell := func(all map[string]map[string]any, name string) string {
			v := at(all, scenario, name)
			if math.IsNaN(v) {
				return "–"
			}
			text := short(v)
			if spread, ok := all[scenario][name+"_spread"].(string); ok && spread != "" {
				text += " (" + strings.Replace(spread, "..", " to ", 1) + ")"
			}
			return text
		}
		for _, name := range sorted(names) {
			out = append(out, []string{words(scenario), words(name), cell(r.Ours, name), cell(r.Baseline, name)})
		}
	}
	return out
}

func fixed(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// short is a number in three digits, or whole where it has more.
func short(v float64) string {
	switch {
	case math.Abs(v) >= 100:
		return count(int(math.Round(v)))
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

func orDash(there bool, format string, args ...any) string {
	if !there {
		return "–"
	}
	return fmt.Sprintf(format, args...)
}
