package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// row is a line of the table: a command that measures, and what it found.
type row struct {
	// Command is the Makefile's target, Report the name of what it writes.
	Command, Report string
	// More are other files that it writes.
	More string
	// What it shows.
	What string
	// figures are what was found; only called where there is a report.
	figures func(*book) []held
}

// held is a figure, and what it is held to where that is anything.
type held struct {
	text, bar string
	met       bool
}

func plain(format string, args ...any) held {
	return held{text: fmt.Sprintf(format, args...), met: true}
}

// must is a figure that has to be so.
func must(met bool, bar, format string, args ...any) held {
	return held{text: fmt.Sprintf(format, args...), bar: bar, met: met}
}

func (h held) String() string {
	switch {
	case !h.met:
		return fmt.Sprintf("**%s (NOT MET: %s)**", h.text, h.bar)
	case h.bar != "":
		return fmt.Sprintf("%s (%s)", h.text, h.bar)
	}
	return h.text
}

// What the forwarder's memory is held to, in MiB, by pods.
const maxRSS10000, maxRSS50000 = 80.0, 250.0

// rows are all commands that measure, the main ones first. What figures are held to is
// what the commands themselves judge by.
var rows = []row{
	{Command: "demo", Report: "demo", What: "a Service of TKE's own document bound straight to its pods, scaled, deleted", figures: func(b *book) []held {
		r, ordered, ready := b.Demo, 0, 0
		for _, p := range r.Pods {
			if p.ReadyMS == 0 {
				continue // it was gone before
			}
			ready++
			if p.AliveMS > 0 && p.ReadyMS >= p.AliveMS && p.ReadyMS >= p.ContainersReadyMS {
				ordered++
			}
		}
		return []held{
			must(ordered == ready && ready > 2, "must be all", "%d of %d pods Ready only after the CLB had found them healthy", ordered, ready),
			must(r.Requests.Failed == 0 && r.Requests.Sent > 0, "must be 0", "%d of %s requests failed", r.Requests.Failed, count(r.Requests.Sent)),
			must(r.ClientIPPreserved && r.TargetsEqualPods, "must be both", "clients' addresses kept: %s, targets exactly the pods: %s", yes(r.ClientIPPreserved), yes(r.TargetsEqualPods)),
			must(r.Kill.RecoveredMS > 0 && r.Kill.RecoveredMS <= 5000, "at most 5 s", "a function killed between two writes: its successor was through after %.1f s", float64(r.Kill.RecoveredMS)/1000),
			must(r.LeftBehind != nil && sum(r.LeftBehind) == 0, "must be 0", "%d things left behind", sum(r.LeftBehind)),
		}
	}},
	{Command: "demo-ingress", Report: "demo-ingress", What: "Ingresses: hosts, HTTPS, redirects, a rolling update under load", figures: func(b *book) []held {
		r := b.DemoIngress
		return []held{
			must(r.Requests.Failed == 0 && r.Requests.Total > 0, "must be 0", "%d of %s requests failed", r.Requests.Failed, count(r.Requests.Total)),
			must(r.RollingUpdate.Failed == 0 && r.RollingUpdate.Requests > 0, "must be 0", "%d of %s during the rolling update, which took %.1f s", r.RollingUpdate.Failed, count(r.RollingUpdate.Requests), r.RollingUpdate.Seconds),
			must(r.Redirects.Sent > 0 && r.Redirects.Followed == r.Redirects.Sent, "must be all", "%d of %d redirects led to an answer", r.Redirects.Followed, r.Redirects.Sent),
			must(r.LeftBehind != nil && sum(r.LeftBehind) == 0, "must be 0", "%d things left behind", sum(r.LeftBehind)),
		}
	}},
	{Command: "demo-rollout", Report: "rollout", More: "`out/rollout.svg`", What: "one rolling update in four ways, side by side", figures: func(b *book) []held {
		r := b.Rollout
		ours, sleep := r.CLBDirect, r.GateSleep
		return []held{
			must(r.NoGate.Failed > 0, "must be more than 0, or the load shows nothing", "no gate: %s of %s requests failed", count(r.NoGate.Failed), count(r.NoGate.Requests)),
			must(r.Gate.Failed > 0, "likewise", "gate: %s of %s", count(r.Gate.Failed), count(r.Gate.Requests)),
			plain("gate and sleep: %s of %s in %.1f s", count(sleep.Failed), count(sleep.Requests), sleep.RolloutSeconds),
			must(ours.Requests > 0 && ours.Failed == 0 && ours.WrongPod == 0, "must be 0", "clb-direct: %s of %s, and %d by a wrong pod", count(ours.Failed), count(ours.Requests), ours.WrongPod),
			must(ours.RolloutSeconds > 0 && ours.RolloutSeconds < sleep.RolloutSeconds, "sooner than with the sleep", "in %.1f s", ours.RolloutSeconds),
		}
	}},
	{Command: "chaos", Report: "chaos", What: "rolling updates under load, with every fault alone and then several at a time", figures: func(b *book) []held {
		r := b.Chaos
		return []held{
			must(r.Rollouts >= 200, "at least 200", "%s rolling updates", count(r.Rollouts)),
			must(r.Requests >= 400_000, "at least 400,000", "%s requests", count(r.Requests)),
			must(r.Failed == 0, "must be 0", "%d failed", r.Failed),
			must(r.WrongPod == 0, "must be 0", "%d by a wrong pod", r.WrongPod),
			must(r.Premature == 0, "must be 0", "%d by a pod not ready", r.Premature),
			must(r.Late == 0, "must be 0", "%d over connections begun after SIGTERM", r.Late),
			must(r.Terminated-r.Drained <= r.HoldBroken, "all but those whose hook a fault broke", "%s of %s containers drained before SIGTERM, %d hooks broken", count(r.Drained), count(r.Terminated), r.HoldBroken),
			plain("counted apart, of pods that a fault itself struck down: %d failed, %d answered by another in their place (for %s, median of %d pods), %d by a container started again and not ready yet",
				r.Destroyed, r.WrongUngraceful, ms(r.FenceMS.P50), r.FenceMS.N, r.PrematureAgain),
			plain("%s of %s pods got an address that another had before", count(r.AddressesReused), count(r.Pods)),
		}
	}},
	{Command: "e2e-kubelet", Report: "e2e-kubelet", What: "rolling updates on the real kubelet, containerd and runc", figures: func(b *book) []held {
		r := b.Kubelet
		return []held{
			must(r.Rollouts >= 20, "must be 20", "%d rolling updates", r.Rollouts),
			must(r.Requests > 0 && r.Failed == 0, "must be 0", "%d of %s requests failed", r.Failed, count(r.Requests)),
			must(r.WrongPod == 0 && r.Premature == 0, "must be 0", "%d by a wrong pod or one not ready", r.WrongPod+r.Premature),
			must(r.Terminated > 0 && r.DrainedRatio == 1, "must be all", "%d of %d containers drained before SIGTERM", r.Drained, r.Terminated),
			plain("ContainersReady to Ready %s, p99 %s", ms(r.ContainersReadyToReady.P50), ms(r.ContainersReadyToReady.P99)),
		}
	}},
	{Command: "lifecycle", Report: "lifecycle", What: "the life beside another controller: installed twice (chart, manifests), a live Service taken over, rolled, scaled, upgraded, rolled back, given back, uninstalled", figures: func(b *book) []held {
		r := b.Lifecycle
		return []held{
			must(r.Requests > 0 && r.Failed == 0, "must be 0", "%d of %s requests failed", r.Failed, count(r.Requests)),
			plain("%d steps in %.0f s", len(r.Steps), r.Seconds),
		}
	}},
	{Command: "bench-forwarder", Report: "bench-forwarder", What: "the forwarder beside one with Knative's semantics", figures: func(b *book) []held {
		r := b.Forwarder
		lost, baseline := 0.0, 0.0
		for s := range r.Ours {
			lost += at(r.Ours, s, "lost")
		}
		for s := range r.Baseline {
			baseline += at(r.Baseline, s, "lost")
		}
		out := []held{must(lost == 0, "must be 0", "%.0f changes lost in %d scenarios, the baseline %.0f", lost, len(r.Ours), baseline)}
		ratio := func(name, bar, format string, met func(float64) bool) {
			if v, ok := r.Ratios[name]; ok {
				out = append(out, must(met(v), bar, format, v))
			}
		}
		ratio("drain", "at least 3", "drains %.1f times as fast", func(v float64) bool { return v >= 3 })
		ratio("added_p50", "at most 1.1", "adds %.2f times its latency", func(v float64) bool { return v <= 1.1 })
		ratio("slow_sink_p99", "at most 0.1", "p99 over a slow sink %.3f of its", func(v float64) bool { return v <= 0.1 })
		for _, size := range []struct {
			pods, text string
			most       float64
		}{{"10000", "10,000", maxRSS10000}, {"50000", "50,000", maxRSS50000}} {
			if v, ok := r.RSS[size.pods]; ok {
				out = append(out, must(v <= size.most, fmt.Sprintf("at most %.0f", size.most), "%.0f MiB with %s pods", v, size.text))
			}
		}
		if r.Start10000 > 0 {
			out = append(out, must(r.Start10000 <= 10, "at most 10 s", "10,000 pods told %.1f s after the start", r.Start10000))
		}
		if r.Takeover > 0 {
			out = append(out, plain("taken over %.1f s after SIGKILL, handed over in %.2f s", r.Takeover, r.Handover))
		}
		return out
	}},
	{Command: "soak", Report: "soak", What: "the forwarder for 20 minutes over a faulty sink", figures: func(b *book) []held {
		r := b.Soak
		faults := sum(r.Faults)
		return []held{
			must(r.Minutes >= 19.9, "must be 20", "%.0f minutes", r.Minutes),
			must(r.PerSecond >= 190, "must be 200", "%.0f changes a second", r.PerSecond),
			plain("%d spells of faults", faults),
			must(r.Lost == 0, "must be 0", "%d lost", r.Lost),
			must(r.LastThird <= 1.1*r.FirstThird, "at most a tenth more", "live heap %.1f MiB in the first third, %.1f in the last", r.FirstThird, r.LastThird),
			plain("resident at most %.0f MiB", r.Peak),
		}
	}},
	{Command: "bench", Report: "bench", What: "planner and whole passes at 100, 1,000 and 10,000 pods", figures: func(b *book) []held {
		met := 0
		for _, d := range b.Bench.Demands {
			if d.Met {
				met++
			}
		}
		out := []held{must(met == len(b.Bench.Demands), "must be all", "%d of %d demands met", met, len(b.Bench.Demands))}
		for _, kind := range []string{"backends_bind_all", "readiness_open_all"} {
			if f, ok := b.Bench.Passes[kind]["10000"]; ok {
				out = append(out, plain("%s with 10,000 pods: %.1f s", words(kind), f.Millis/1000))
			}
		}
		return out
	}},
	{Command: "bench-rules", Report: "bench-rules", What: "an Ingress of many rules, from nothing to all healthy", figures: func(b *book) []held {
		r := b.Rules
		return []held{
			plain("%d rules over %d pods, %s bindings", r.Constants.Rules, r.Constants.Pods, count(r.Constants.Bindings)),
			must(r.Met, fmt.Sprintf("at most %.1f times", r.MaxRatio), "%.1f s, %.2f times the least that the API allows (%.1f s)", r.Seconds, r.Ratio, r.Floor),
			plain("%d calls, %d of them refused", r.Calls.Total, r.Calls.Refused),
		}
	}},
	{Command: "drift", Report: "drift", What: "CLBs changed by hand in every way, and healed", figures: func(b *book) []held {
		r := b.Drift
		return []held{
			must(len(r.Changes) >= 20 && r.Healed == len(r.Changes), "all of at least 20", "%d of %d changes healed", r.Healed, len(r.Changes)),
			must(r.SecondsMax <= 60, "at most 60 s", "after %.0f s at the latest, %.0f s on average", r.SecondsMax, r.SecondsMean),
			must(r.ForeignTouched == 0, "must be 0", "%d of somebody else's touched", r.ForeignTouched),
			plain("%.0f CLB API calls a minute at rest", r.Idle.Total),
		}
	}},
	{Command: "model", Report: "model", What: "the production code through random interleavings, then with rules switched off", figures: func(b *book) []held {
		r, caught := b.Model, 0
		for _, m := range r.Mutants {
			if m.Caught {
				caught++
			}
		}
		return []held{
			must(r.Steps >= 1_000_000, "at least 1,000,000", "%s steps", count(r.Steps)),
			must(len(r.Violations) == 0, "must be 0", "%d violations", len(r.Violations)),
			must(caught == len(r.Mutants) && caught >= 10, "all of at least 10", "%d of %d rules noticed when switched off", caught, len(r.Mutants)),
		}
	}},
	{Command: "conformance", Report: "conformance", What: "the CLB and SCF emulators held to the documents", figures: func(b *book) []held {
		r := b.Conformance
		return []held{
			must(r.Ended && r.Passed+r.Skipped == r.Cases && r.Cases >= 150, "none failed of at least 150", "%d of %d documented facts", r.Passed, r.Cases),
			plain("%d skipped", r.Skipped),
		}
	}},
	{Command: "conformance-mutants", Report: "conformance-mutants", What: "rules of the emulators, switched off one at a time", figures: func(b *book) []held {
		r := b.Mutants
		return []held{must(r.Noticed == r.Mutants && r.Mutants >= 30, "all of at least 30", "%d of %d noticed", r.Noticed, r.Mutants)}
	}},
	{Command: "bench-emulator", Report: "bench-emulator", What: "what the CLB emulator itself costs", figures: func(b *book) []held {
		var out []held
		for _, layer := range slices.Sorted(maps.Keys(b.Emulator.Layers)) {
			f := b.Emulator.Layers[layer]
			out = append(out,
				must(f.CorePercent <= 30, "at most 30", "%s: %.1f %% of a core at %.0f requests a second", words(layer), f.CorePercent, f.PerSecond),
				must(f.AddedMs <= 1, "at most 1 ms", "adds %.2f ms", f.AddedMs))
		}
		return out
	}},
}

// Held are a row's figures, for the table; "" if there is no report.
func (r row) Held(b *book) string {
	if _, ok := b.Measured[r.Report]; !ok {
		return ""
	}
	var out []string
	for _, h := range r.figures(b) {
		out = append(out, h.String())
	}
	return strings.Join(out, "<br>")
}

// at is a scenario's figure; NaN if it wasn't measured.
func at(all map[string]map[string]any, scenario, name string) float64 {
	if v, ok := all[scenario][name].(float64); ok {
		return v
	}
	return math.NaN()
}

func sum[N int | float64](all map[string]N) N {
	var n N
	for _, v := range all {
		n += v
	}
	return n
}

// count is a number with its thousands apart.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// ms is a duration given in milliseconds, short.
func ms(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d ms", n)
	}
	return fmt.Sprintf("%.1f s", float64(n)/1000)
}

// words makes a name readable.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
