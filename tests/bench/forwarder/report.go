package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// report is what is written as JSON.
type report struct {
	Ours     map[string]figures `json:"ours"`
	Baseline map[string]figures `json:"baseline"`
	Ratios   map[string]float64 `json:"ratios"`
	// RSS is the most that was resident of ours, by pods.
	RSS         map[string]float64 `json:"rss_mib"`
	RSSSteady   map[string]float64 `json:"rss_steady_mib"`
	Start10000  float64            `json:"start_10000_seconds,omitempty"`
	Takeover    float64            `json:"takeover_seconds,omitempty"`
	Handover    float64            `json:"handover_seconds,omitempty"`
	Differences []string           `json:"differences"`
	Failures    []string           `json:"failures"`
	Rounds      int                `json:"rounds"`
	Seconds     float64            `json:"seconds"`
}

func newReport() *report {
	return &report{
		Ours: map[string]figures{}, Baseline: map[string]figures{}, Ratios: map[string]float64{}, RSS: map[string]float64{}, RSSSteady: map[string]float64{},
		Differences: []string{}, Failures: []string{},
	}
}

func (r *report) of(k kind) map[string]figures {
	if k == ours {
		return r.Ours
	}
	return r.Baseline
}

// value is a scenario's figure, false if it wasn't measured.
func value(all map[string]figures, scenario, name string) (float64, bool) {
	switch v := all[scenario][name].(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

// The reference, measured: drained events a second, and milliseconds of CPU an event.
const (
	referenceDrain = 1544.0
	referenceCPU   = 0.88
)

// judged is of how many rounds the medians are that are held to a bar: single ones scatter
// by more than the bars leave room for.
const judged = 5

// conclude compares, and says what isn't as it must be.
func (r *report) conclude() {
	ratio := func(name, scenario, figure string) {
		a, ok := value(r.Ours, scenario, figure)
		b, also := value(r.Baseline, scenario, figure)
		if ok && also && b > 0 {
			r.Ratios[name] = a / b
		}
	}
	ratio("drain", "drain", "keys_per_second")
	ratio("drain_100", "drain_100", "changes_per_second")
	ratio("cpu_per_event", "drain", "cpu_ms_per_event")
	ratio("added_p50", "idle", "added_p50_ms")
	ratio("added_p50_loaded", "loaded", "added_p50_ms")
	ratio("slow_sink_p99", "slow_sink", "added_p99_ms")
	fail := func(bad bool, format string, args ...any) {
		if bad {
			r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Ours)) {
		lost, _ := value(r.Ours, name, "lost")
		fail(lost > 0, "%s: ours lost %.0f", name, lost)
	}
	has := func(name string, bad func(float64) bool, what string) {
		v, ok := r.Ratios[name]
		if ok && bad(v) && r.Rounds < judged {
			r.Differences = append(r.Differences, fmt.Sprintf("%s is %.2f times the baseline's, must be %s, but of %d rounds of %d", name, v, what, r.Rounds, judged))
			return
		}
		fail(ok && bad(v), "%s is %.2f times the baseline's, must be %s", name, v, what)
	}
	has("drain", func(v float64) bool { return v < 3 }, "at least 3")
	has("added_p50", func(v float64) bool { return v > 1.1 }, "at most 1.1")
	has("slow_sink_p99", func(v float64) bool { return v > 0.1 }, "at most 0.1")
	for pods, most := range map[string]float64{"10000": 80, "50000": 250} {
		fail(r.RSS[pods] > most, "%.0f MiB resident with %s pods, must be at most %.0f", r.RSS[pods], pods, most)
	}
	fail(r.Start10000 > 10, "start with 10,000 pods took %.1f s, must be at most 10", r.Start10000)
	for _, c := range []struct {
		figure string
		want   float64
	}{{"keys_per_second", referenceDrain}, {"cpu_ms_per_event", referenceCPU}} {
		if v, ok := value(r.Baseline, "drain", c.figure); ok && (v > 1.5*c.want || v < c.want/1.5) {
			r.Differences = append(r.Differences, fmt.Sprintf("the baseline's %s is %.3g, the reference's was %.3g: not within a factor of 1.5", c.figure, v, c.want))
		}
	}
	for _, name := range []string{"sink_away", "http_500", "crash", "apiserver_killed", "start_1000"} {
		if lost, ok := value(r.Baseline, name, "lost"); ok && lost == 0 {
			r.Differences = append(r.Differences, fmt.Sprintf("%s: the baseline lost nothing, the reference did", name))
		}
	}
}

// table writes the figures for people.
func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "\n%-18s %-20s %14s %14s\n", "scenario", "figure", "ours", "baseline")
	for _, s := range slices.Sorted(maps.Keys(r.Ours)) {
		names := map[string]bool{}
		for _, all := range []figures{r.Ours[s], r.Baseline[s]} {
			for n, v := range all {
				if _, text := v.(string); !text {
					names[n] = true
				}
			}
		}
		for _, n := range slices.Sorted(maps.Keys(names)) {
			cell := func(all map[string]figures) string {
				if v, ok := value(all, s, n); ok {
					return fmt.Sprintf("%.4g", v)
				}
				return "-"
			}
			fmt.Fprintf(w, "%-18s %-20s %14s %14s\n", s, n, cell(r.Ours), cell(r.Baseline))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(r.Ratios)) {
		fmt.Fprintf(w, "ratio %-18s %.3f\n", n, r.Ratios[n])
	}
	for _, pods := range slices.Sorted(maps.Keys(r.RSS)) {
		fmt.Fprintf(w, "resident with %s pods: at most %.1f MiB, then %.1f\n", pods, r.RSS[pods], r.RSSSteady[pods])
	}
	for _, d := range r.Differences {
		fmt.Fprintln(w, "differs:", d)
	}
	for _, f := range r.Failures {
		fmt.Fprintln(w, "NOT MET:", f)
	}
}
