package main

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan is what each round plays.
type plan struct {
	seed uint64
	// alone are the rounds in order; after them come mixes for as long as there is time, or
	// again those of alone where only is set.
	alone []cast
	only  bool
	// rounds is how many there are, 0 for as many as there is time for.
	rounds int
	limit  time.Duration
}

// cast is the faults of one round; none for a round without.
type cast []mishap

// none and mix are names for what is not one fault.
const none, mix = "none", "mix"

// schedule reads what was asked for.
func schedule(o options) (*plan, error) {
	p := &plan{seed: o.seed, rounds: o.rounds, limit: o.limit}
	switch {
	case len(o.faults) == 0:
		p.alone = append(p.alone, cast{})
		for _, m := range mishaps {
			p.alone = append(p.alone, cast{m})
		}
	case slices.Equal(o.faults, []string{mix}):
	case slices.Equal(o.faults, []string{none}):
		p.alone, p.only = []cast{{}}, true
	default:
		p.only = true
		for _, list := range o.faults {
			var all cast
			for name := range strings.SplitSeq(list, ",") {
				if name == none {
					continue
				}
				m, err := find(name)
				if err != nil {
					return nil, err
				}
				all = append(all, m)
			}
			p.alone = append(p.alone, all)
		}
	}
	return p, nil
}

// next is the cast of a round; false where no more is to begin.
func (p *plan) next(round int, since time.Duration) (cast, bool) {
	if p.rounds > 0 && round >= p.rounds || since > p.limit {
		return nil, false
	}
	switch {
	case round < len(p.alone):
		return p.alone[round], true
	case p.only && p.rounds == 0:
		return nil, false // once each
	case p.only:
		return p.alone[round%len(p.alone)], true
	}
	dice := rand.New(rand.NewPCG(p.seed, uint64(round)))
	var out cast
	for _, i := range dice.Perm(len(mishaps))[:mixed] {
		out = append(out, mishaps[i])
	}
	return out, true
}

// mixed is how many faults there are in a mix.
const mixed = 3

// dice are those of a cast when it plays for the nth time: the same wherever in a run that
// is, so that a round can be played again by itself.
func (p *plan) dice(c cast, nth int) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.list())) // writing to a hash never fails
	return rand.New(rand.NewPCG(p.seed, h.Sum64()+uint64(nth)))
}

// list is the names of the faults, as they are given to play them again.
func (c cast) list() string {
	var all []string
	for _, m := range c {
		all = append(all, m.name)
	}
	if len(all) == 0 {
		return none
	}
	return strings.Join(all, ",")
}

// name is what a cast is called in the report.
func (c cast) name() string {
	switch len(c) {
	case 0:
		return none
	case 1:
		return c[0].name
	}
	return mix
}
