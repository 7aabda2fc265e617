package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

// account is a CLB as the planner's laws see it: the targets there are. It refuses
// what the API refuses.
type account map[model.Key]model.Target

func (a account) apply(steps []Step) error {
	for _, s := range steps {
		for _, t := range s.Targets {
			have, bound := a[t.Key()]
			if bound == (s.Kind == Bind) {
				return fmt.Errorf("%s of %s, bound: %t", s.Kind, t.Key(), bound)
			}
			switch s.Kind {
			case Bind:
				have = t
			case Lower, Raise:
				have.Weight = t.Weight
			case Adopt:
				have.Tag = t.Tag
			case Evict, Unbind:
				delete(a, t.Key())
				continue
			}
			a[t.Key()] = have
		}
	}
	return nil
}

func (a account) targets() []model.Target {
	var out []model.Target
	for _, t := range a {
		out = append(out, t)
	}
	return out
}

// drawTargets draws a planner's input over a universe that is small, so that
// addresses are used again: four addresses, five pods, two places of ours and one
// of somebody else's.
func drawTargets(t *rapid.T) Targets {
	places := []model.Place{here, {Listener: "lbl-http", Location: "loc-1"}, there}
	uids := []string{uidA, uidB, uidC, "dddddddd-0000-4000-8000-000000000004", "eeeeeeee-0000-4000-8000-000000000005"}
	weight := rapid.SampledFrom([]int{0, 0, 10, 10, 50})
	in := Targets{Places: places[:2]}
	alive := map[model.Key]bool{}
	for _, place := range places {
		for i := range 4 {
			key := model.Key{Place: place, Address: model.Address{IP: fmt.Sprintf("10.0.0.%d", i+1), Port: 80}}
			if rapid.Bool().Draw(t, "wanted") {
				w := model.Wanted{
					Target:  model.Target{Place: key.Place, Address: key.Address, Weight: weight.Draw(t, "weight"), Tag: rapid.SampledFrom(uids).Draw(t, "pod")},
					Bind:    rapid.Bool().Draw(t, "bind"),
					Started: rapid.SampledFrom([]time.Time{{}, started}).Draw(t, "started"),
				}
				if !w.Bind {
					w.Weight = 0
				}
				in.Wanted = append(in.Wanted, w)
			}
			if rapid.Bool().Draw(t, "observed") {
				in.Observed = append(in.Observed, model.Target{
					Place: key.Place, Address: key.Address, Weight: weight.Draw(t, "weight"),
					Tag:        rapid.SampledFrom(append([]string{"", "blue"}, uids...)).Draw(t, "tag"),
					Registered: rapid.SampledFrom([]time.Time{{}, started.Add(-time.Minute), started.Add(time.Minute)}).Draw(t, "registered"),
				})
				alive[key] = rapid.Bool().Draw(t, "alive")
			}
		}
	}
	in.Alive = func(k model.Key) bool { return alive[k] }
	return in
}

// lawful checks the laws of a plan for targets.
func lawful(t *rapid.T) {
	in := drawTargets(t)
	p := in.Plan()

	kinds := []Kind{Lower, Evict, Adopt, Bind, Raise, Unbind}
	last := -1
	for _, s := range p.Steps {
		i := slices.Index(kinds, s.Kind)
		if i <= last || len(s.Targets) == 0 {
			t.Fatalf("%s with %d targets is out of order in %v", s.Kind, len(s.Targets), p.Steps)
		}
		last = i
	}
	if len(p.Doubts) > 0 {
		t.Fatalf("somebody looked, yet there are doubts: %v", p.Doubts)
	}

	before, after := account{}, account{}
	for _, o := range in.Observed {
		before[o.Key()], after[o.Key()] = o, o
	}
	if err := after.apply(p.Steps); err != nil {
		t.Fatalf("the CLB refuses the plan: %v", err)
	}
	checkReached(t, in, before, after)
	checkLastAlive(t, in, p)

	again := in
	again.Observed = after.targets()
	if second := again.Plan(); !second.Empty() {
		t.Fatalf("planning again is not empty: %+v", second)
	}

	shuffled := in
	shuffled.Wanted = rapid.Permutation(in.Wanted).Draw(t, "order of wanted")
	shuffled.Observed = rapid.Permutation(in.Observed).Draw(t, "order of observed")
	if diff := cmp.Diff(p, shuffled.Plan(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the plan depends on the order of its input: -want +got:\n%s", diff)
	}
}

// checkReached: at our places there is what was wanted and nothing else, and all
// other places are as they were.
func checkReached(t *rapid.T, in Targets, before, after account) {
	wanted := map[model.Key]model.Wanted{}
	for _, w := range in.Wanted {
		wanted[w.Key()] = w
	}
	ours := func(p model.Place) bool { return slices.Contains(in.Places, p) }
	for key, w := range wanted {
		got, bound := after[key]
		switch {
		case !ours(key.Place):
		case !bound && w.Bind:
			t.Fatalf("%s is wanted and not bound", key)
		case bound && (got.Weight != w.Weight || got.Tag != w.Tag):
			t.Fatalf("%s: want weight %d tag %s, got weight %d tag %q", key, w.Weight, w.Tag, got.Weight, got.Tag)
		case bound && !w.Bind:
			if _, was := before[key]; !was {
				t.Fatalf("%s was bound for a pod that is going", key)
			}
		}
	}
	for key, got := range after {
		if _, ok := wanted[key]; ours(key.Place) && !ok {
			t.Fatalf("%s is still bound: %+v", key, got)
		}
		if !ours(key.Place) && got != before[key] {
			t.Fatalf("%s is not ours, but became %+v", key, got)
		}
	}
	for key := range before {
		if _, still := after[key]; !ours(key.Place) && !still {
			t.Fatalf("%s is not ours, but was unbound", key)
		}
	}
}

// checkLastAlive: whoever is evicted while Alive and of weight leaves another behind that
// is Alive, has weight, and is neither unbound nor drained by the same plan.
func checkLastAlive(t *rapid.T, in Targets, p TargetPlan) {
	stops := map[model.Key]bool{}
	for _, s := range p.Steps {
		if s.Kind == Lower || s.Kind == Evict || s.Kind == Unbind {
			for _, x := range s.Targets {
				stops[x.Key()] = true
			}
		}
	}
	for _, s := range p.Steps {
		if s.Kind != Evict {
			continue
		}
		for _, x := range s.Targets {
			left := slices.ContainsFunc(in.Observed, func(o model.Target) bool {
				return o.Place == x.Place && o.Weight > 0 && in.Alive(o.Key()) && !stops[o.Key()]
			})
			if x.Weight > 0 && in.Alive(x.Key()) && !left {
				t.Fatalf("%s was the last Alive target of its place and was evicted for its tag", x.Key())
			}
		}
	}
}

func TestTargetLaws(t *testing.T) { rapid.Check(t, lawful) }

func FuzzTargetLaws(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Fuzz(rapid.MakeFuzz(lawful))
}

// TestUnlookedDoubts: while nobody looked at health no step touches a stranger,
// and the doubts are exactly those.
func TestUnlookedDoubts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawTargets(t)
		looked := in.Plan()
		in.Alive = nil
		p := in.Plan()
		doubts := map[model.Key]bool{}
		for _, d := range p.Doubts {
			doubts[d.Key()] = true
		}
		for _, s := range p.Steps {
			for _, x := range s.Targets {
				if doubts[x.Key()] {
					t.Fatalf("%s of %s, which is in doubt", s.Kind, x.Key())
				}
			}
			if s.Kind == Evict {
				t.Fatalf("evicted without looking: %v", s.Targets)
			}
		}
		for _, s := range looked.Steps {
			for _, x := range s.Targets {
				if s.Kind == Evict && !doubts[x.Key()] {
					t.Fatalf("%s was evicted without having been a doubt", x.Key())
				}
			}
		}
	})
}

// TestOnlyIsARestriction: where there are no strangers, a plan for some pods is
// the whole plan's part about those pods.
func TestOnlyIsARestriction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawTargets(t)
		in.Alive = nil
		doubts := map[model.Key]bool{}
		for _, d := range in.Plan().Doubts {
			doubts[d.Key()] = true
		}
		in.Observed = slices.DeleteFunc(in.Observed, func(o model.Target) bool { return doubts[o.Key()] })
		only := map[string]bool{uidA: rapid.Bool().Draw(t, "A"), uidB: rapid.Bool().Draw(t, "B"), uidC: rapid.Bool().Draw(t, "C")}

		var want TargetPlan
		for _, s := range in.Plan().Steps {
			s.Targets = slices.DeleteFunc(slices.Clone(s.Targets), func(x model.Target) bool { return !only[x.Tag] })
			if len(s.Targets) > 0 {
				want.Steps = append(want.Steps, s)
			}
		}
		in.Only = only
		if diff := cmp.Diff(want, in.Plan(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("limited to %v: -want +got:\n%s", only, diff)
		}
	})
}
