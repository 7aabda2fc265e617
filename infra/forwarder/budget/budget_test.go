package budget

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/event"
)

func TestSumStaysWithinTotal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var b Budget
		type pass struct {
			function event.Function
			rate     float64
			release  func()
		}
		var passes []pass
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if len(passes) > 0 && rapid.Bool().Draw(rt, "end") {
				i := rapid.IntRange(0, len(passes)-1).Draw(rt, "which")
				passes[i].release()
				passes = append(passes[:i], passes[i+1:]...)
				continue
			}
			f := rapid.SampledFrom(event.Functions).Draw(rt, "function")
			rate, release := b.Take(f)
			passes = append(passes, pass{f, rate, release})
		}
		sum, floors := 0.0, 0.0
		for _, p := range passes {
			if p.rate < floor[p.function] || p.rate > Total {
				rt.Fatalf("granted %g", p.rate)
			}
			if p.rate == floor[p.function] {
				floors += p.rate
			}
			sum += p.rate
		}
		if sum > Total+floors+1e-9 {
			rt.Errorf("%g granted beside %g of floors, want at most %g", sum, floors, Total)
		}
	})
}

func TestADrainFindsRoom(t *testing.T) {
	var b Budget
	for range 3 {
		b.Take(event.Readiness)
		b.Take(event.Frontend)
	}
	if rate, _ := b.Take(event.Backends); rate < 2 {
		t.Errorf("backends is granted %g beside six others, want at least 2", rate)
	}
}
