package plan

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Kind is what a step does to its targets.
type Kind string

// The kinds, in the order in which a plan takes them: traffic stops before
// anything is torn down, and what is torn down for safety goes before what is
// built. A failed step never blocks an unrelated one.
const (
	// Lower sets weights to 0: a drain never waits for anything.
	Lower Kind = "Lower"
	// Evict unbinds strangers: targets bound for another pod at an address that
	// now is this pod's. Until that is done nothing may be bound there.
	Evict Kind = "Evict"
	// Adopt writes the pod's UID on a target that was made for it without one.
	Adopt Kind = "Adopt"
	// Bind registers targets.
	Bind Kind = "Bind"
	// Raise sets weights above 0.
	Raise Kind = "Raise"
	// Unbind removes the rest: pods that are gone or no longer selected.
	Unbind Kind = "Unbind"
)

// Step is one kind of change to some targets. Targets are as they should be after
// it (for Evict and Unbind: as they are).
type Step struct {
	Kind    Kind
	Targets []model.Target
}

// Targets is what a plan for targets is made from.
type Targets struct {
	// Places are the listeners and rules of ours that the plan is about: nothing
	// anywhere else is touched. Where a backend can be had only once the first of
	// them gets it.
	Places []model.Place
	// Wanted are the targets as they should be there.
	Wanted []model.Wanted
	// Observed are the targets that are there.
	Observed []model.Target
	// Only limits the plan to these pods, by UID: their targets, and what stands
	// in their way. nil means everything at Places.
	Only map[string]bool
	// Alive tells which observed targets are Alive; it is asked only about places
	// where a stranger was found. nil means that nobody looked: then strangers stay
	// where they are and come back as Doubts.
	Alive func(model.Key) bool
	// Guests are places that were taken over from somebody else, who tags no target. There
	// targets without a pod's UID serve until one of ours does, and one at a pod's address
	// is the pod's where it is Alive.
	Guests map[model.Place]bool
}

// TargetPlan is the outcome.
type TargetPlan struct {
	Steps []Step
	// Doubts are targets that look like strangers'. Before one is evicted, look
	// who else claims its address and what is Alive at its place, and plan again.
	Doubts []model.Target
	// Waiting are targets of others at places taken over that still serve, as nobody of
	// ours does yet: look again soon.
	Waiting []model.Target
}

// Empty tells that nothing is to be done.
func (p TargetPlan) Empty() bool { return len(p.Steps) == 0 && len(p.Doubts) == 0 }

// AdoptAfter is how long after its pod's start a target without a known tag must
// have been registered to count as made for that pod: the CLB's clock has a
// resolution of a second, and the clocks of CLB and kubelet differ a little.
const AdoptAfter = 5 * time.Second

// Plan compares wanted and observed targets:
//
//	wanted  observed                              then
//	yes     no                                    Bind, unless the pod is going
//	yes     tag is the pod's UID                  Lower or Raise if the weight differs
//	yes     tag is another UID                    a stranger: Evict, then Bind
//	yes     tag is no UID, made after pod start   Adopt, and the weight
//	yes     tag is no UID, older or age unknown   a stranger
//	no      anything                              Lower, Unbind
//
// The last Alive target of a place is never evicted for its tag, because an
// outage for certain is worse than a doubt: it is adopted instead, and readiness
// makes up for the doubt by waiting until its health must be the new pod's. One of
// weight 0 serves nobody: nothing is lost with it, and adopted it would serve on a
// verdict about whoever was drained there.
func (t Targets) Plan() TargetPlan {
	places := map[model.Place]bool{}
	rank := map[model.Place]int{}
	for i, p := range t.Places {
		places[p], rank[p] = true, i
	}
	wanted := keep(t.Wanted, func(w model.Wanted) bool { return places[w.Place] && (t.Only == nil || t.Only[w.Tag]) })
	wantedKeys := map[model.Key]bool{} // asked for only where the pass is about some pods
	if t.Only != nil {
		for _, w := range wanted {
			wantedKeys[w.Key()] = true
		}
	}
	observed := keep(t.Observed, func(o model.Target) bool {
		return places[o.Place] && (t.Only == nil || t.Only[o.Tag] || wantedKeys[o.Key()])
	})
	wanted = sortByKey(wanted, model.Wanted.Key)
	observed = sortByKey(observed, model.Target.Key)

	both, missing, gone := match(wanted, observed, func(w model.Wanted) model.Key { return w.Key() }, func(o model.Target) model.Key { return o.Key() })

	var lower, evict, adopt, bind, raise, unbind []model.Target
	var doubts []model.Target
	weigh := func(w model.Wanted, have int) {
		switch {
		case w.Weight == have:
		case w.Weight == 0:
			lower = append(lower, w.Target)
		default:
			raise = append(raise, w.Target)
		}
	}
	var strangers []pair[model.Wanted, model.Target]
	for _, p := range both {
		switch {
		case p.Have.Tag == p.Want.Tag:
			weigh(p.Want, p.Have.Weight)
		case !IsUID(p.Have.Tag) && madeFor(p.Have, p.Want):
			adopt = append(adopt, p.Want.Target)
			weigh(p.Want, p.Have.Weight)
		default:
			strangers = append(strangers, p)
		}
	}
	going := map[model.Key]bool{}
	if len(strangers) > 0 {
		going = goingBy(gone, both)
	}
	for _, p := range strangers {
		if t.Alive == nil {
			doubts = append(doubts, p.Have)
			continue
		}
		if t.Alive(p.Have.Key()) && (p.Have.Weight > 0 && t.lastAlive(p.Have, going) || t.Guests[p.Have.Place] && !IsUID(p.Have.Tag)) {
			adopt = append(adopt, p.Want.Target)
			weigh(p.Want, p.Have.Weight)
			continue
		}
		going[p.Have.Key()] = true
		evict = append(evict, p.Have)
		if p.Want.Bind {
			bind = append(bind, p.Want.Target)
		}
	}
	for _, w := range missing {
		if w.Bind {
			bind = append(bind, w.Target)
		}
	}
	var waiting []model.Target
	for _, o := range gone {
		if t.Guests[o.Place] && !IsUID(o.Tag) {
			if t.Alive == nil {
				doubts = append(doubts, o)
				continue
			}
			if !t.relieved(o.Place, both) {
				waiting = append(waiting, o)
				continue
			}
			if o.Weight != 0 { // what is under way ends before it is cut
				waiting = append(waiting, o)
				low := o
				low.Weight = 0
				lower = append(lower, low)
				continue
			}
		}
		if o.Weight != 0 {
			low := o
			low.Weight = 0
			lower = append(lower, low)
		}
		unbind = append(unbind, o)
	}
	// Serving pods first: with quota short they are the ones that must get in.
	slices.SortStableFunc(bind, func(a, b model.Target) int {
		return cmp.Or(cmp.Compare(min(b.Weight, 1), min(a.Weight, 1)), cmp.Compare(rank[a.Place], rank[b.Place]))
	})

	var out TargetPlan
	for _, s := range []Step{{Lower, lower}, {Evict, evict}, {Adopt, adopt}, {Bind, bind}, {Raise, raise}, {Unbind, unbind}} {
		if len(s.Targets) > 0 {
			out.Steps = append(out.Steps, s)
		}
	}
	out.Doubts, out.Waiting = doubts, waiting
	return out
}

// relieved tells whether a pod of ours serves at a place: bound as itself, with weight, and
// Alive.
func (t Targets) relieved(place model.Place, both []pair[model.Wanted, model.Target]) bool {
	return slices.ContainsFunc(both, func(p pair[model.Wanted, model.Target]) bool {
		return p.Have.Place == place && p.Have.Tag == p.Want.Tag && p.Want.Weight > 0 && p.Have.Weight > 0 && t.Alive(p.Have.Key())
	})
}

// goingBy are the targets that serve no more once a plan is done, for counting who
// is left: pods that are gone count as little as strangers do.
func goingBy(gone []model.Target, both []pair[model.Wanted, model.Target]) map[model.Key]bool {
	going := map[model.Key]bool{}
	for _, o := range gone {
		going[o.Key()] = true
	}
	for _, p := range both {
		going[p.Have.Key()] = p.Want.Weight == 0
	}
	return going
}

// sortByKey sorts place by place: a CLB has few places with bounded targets each, so
// this grows with the targets and hardly faster.
func sortByKey[T any](items []T, key func(T) model.Key) []T {
	byPlace := map[model.Place][]T{}
	for _, item := range items {
		at := key(item).Place
		byPlace[at] = append(byPlace[at], item)
	}
	out := make([]T, 0, len(items))
	for _, at := range slices.SortedFunc(maps.Keys(byPlace), model.Place.Compare) {
		group := byPlace[at]
		slices.SortStableFunc(group, func(a, b T) int { return key(a).Compare(key(b)) })
		out = append(out, group...)
	}
	return out
}

// madeFor tells whether an observed target without a pod's UID must have been
// registered for the pod that is there now.
func madeFor(have model.Target, want model.Wanted) bool {
	return !have.Registered.IsZero() && !want.Started.IsZero() && have.Registered.Sub(want.Started) > AdoptAfter
}

// lastAlive tells whether no other target of the same place would be Alive and
// have weight once target and all that is going are gone.
func (t Targets) lastAlive(target model.Target, going map[model.Key]bool) bool {
	for _, o := range t.Observed {
		if o.Place == target.Place && o.Key() != target.Key() && !going[o.Key()] && o.Weight > 0 && t.Alive(o.Key()) {
			return false
		}
	}
	return true
}

// IsUID tells whether tag looks like a Kubernetes UID (RFC 4122 text form): then
// it names a pod. Anything else was written by somebody who doesn't know us.
func IsUID(tag string) bool {
	if len(tag) != 36 {
		return false
	}
	for i, c := range []byte(tag) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

func keep[T any](in []T, ok func(T) bool) []T {
	var out []T
	for _, v := range in {
		if ok(v) {
			out = append(out, v)
		}
	}
	return out
}
