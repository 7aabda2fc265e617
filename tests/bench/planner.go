package main

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// planners are the benchmarks of the planner, by the name of their figures. Each is
// made for a number of pods.
var planners = []struct {
	name  string
	bench func(pods int) func(*testing.B)
}{
	{"plan_targets_bind_all", func(n int) func(*testing.B) { return benchTargets(n, 0, nil) }},
	{"plan_targets_steady", func(n int) func(*testing.B) { return benchTargets(n, n, nil) }},
	{"plan_targets_one_pod", func(n int) func(*testing.B) { return benchTargets(n, n-1, map[string]bool{podUID(n - 1): true}) }},
	{"plan_listeners_create_all", func(n int) func(*testing.B) { return benchListeners(n, false) }},
	{"plan_listeners_steady", func(n int) func(*testing.B) { return benchListeners(n, true) }},
}

// benchTime is how long each is repeated.
const benchTime = "300ms"

// measurePlanner runs them all.
func measurePlanner(r *report) error {
	testing.Init() // after our own flags were read, so that only ours are offered
	if err := flag.Set("test.benchtime", benchTime); err != nil {
		return fmt.Errorf("setting the benchmarks' time: %w", err)
	}
	for _, p := range planners {
		for _, size := range sizes {
			got := testing.Benchmark(p.bench(size))
			if got.N == 0 {
				return fmt.Errorf("running %s at %d pods: it failed", p.name, size)
			}
			r.addPlanner(p.name, size, got)
		}
	}
	return nil
}

func podUID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i) }

// benchTargets plans for n pods of which bound are bound already, limited to those in
// only if it isn't nil.
func benchTargets(n, bound int, only map[string]bool) func(*testing.B) {
	var in plan.Targets
	in.Only = only
	for k := range (n + perService - 1) / perService {
		in.Places = append(in.Places, model.Place{Listener: fmt.Sprintf("lbl-%08d", k)})
	}
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		t := model.Target{Place: in.Places[i/perService], Address: model.Address{IP: address(0, i), Port: setting.PodPort}, Weight: model.DefaultWeight, Tag: podUID(i)}
		in.Wanted = append(in.Wanted, model.Wanted{Target: t, Bind: true, Started: started})
		if i < bound {
			in.Observed = append(in.Observed, t)
		}
	}
	want := n - bound
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got := 0
			for _, s := range in.Plan().Steps {
				got += len(s.Targets)
			}
			if got != want {
				b.Fatalf("%d changes were planned, should be %d", got, want)
			}
		}
	}
}

// benchListeners plans for the Services of n pods, with their listeners there or not.
func benchListeners(n int, there bool) func(*testing.B) {
	in := plan.Listeners{Owns: func(name string) bool { _, ours := desired.OwnerOf(name); return ours }}
	for k := range (n + perService - 1) / perService {
		w := model.WantedListener{Name: desired.ListenerName("cls-bench", podUID(k), model.TCP, servicePort+k), Protocol: model.TCP, Port: servicePort + k, Owner: &model.Front{UID: podUID(k)}}
		in.Wanted = append(in.Wanted, w)
		if there {
			in.Observed = append(in.Observed, model.Listener{ID: fmt.Sprintf("lbl-%08d", k), Name: w.Name, Protocol: w.Protocol, Port: w.Port})
		}
	}
	want := len(in.Wanted) - len(in.Observed)
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := len(in.Plan().Create); got != want {
				b.Fatalf("%d listeners would be created, should be %d", got, want)
			}
		}
	}
}
