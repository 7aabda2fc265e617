package index

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Verdict says what became of a look between its mark and its sending.
type Verdict int

// The verdicts.
const (
	// Send it.
	Send Verdict = iota
	// Gone: nobody is left whose business it is.
	Gone
	// Moved: the partition has another name now.
	Moved
)

// Fill makes the data of an event from a look, as things stand now. Cluster,
// attempt and grant are the caller's to set.
func (x *Index) Fill(k work.Key, l work.Look) (event.Sync, Verdict, work.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := event.Sync{All: l.All, ResourceVersion: l.Version}
	if s.ResourceVersion == "" {
		s.ResourceVersion = x.version
	}
	if s.Pods = l.Pods(); len(s.Pods) > event.MaxPods {
		s.All = true
	}
	if s.All { // a drain is only known from here
		s.Pods = slices.DeleteFunc(s.Pods, func(p event.Pod) bool { return p.Draining == "" })
	}
	switch k.Function {
	case event.Frontend:
		return x.fillFrontend(k, l, s)
	case event.Backends:
		s.LoadBalancers = []string{k.Partition}
		s.Objects = objects(x.balancers[k.Partition], l.Objects, (*front).uses)
		if len(s.Objects) == 0 {
			return s, Gone, k
		}
		return s, Send, k
	}
	if ns, ok := strings.CutPrefix(k.Partition, namespaceScope); ok {
		s.Namespaces = []string{ns}
		if len(s.Pods) == 0 {
			s.All = true
		}
		return s, Send, k
	}
	return x.fillBucket(k, l, s)
}

func (x *Index) fillFrontend(k work.Key, l work.Look, s event.Sync) (event.Sync, Verdict, work.Key) {
	if r, ok := ownerOf(k.Partition); ok {
		f := x.fronts[r]
		if f == nil {
			return s, Gone, k
		}
		if now := frontendKey(f); now != k {
			return s, Moved, now
		}
		s.Objects = []event.Ref{event.Ref(r)}
		return s, Send, k
	}
	s.LoadBalancers = []string{k.Partition}
	s.Objects = objects(x.balancers[k.Partition], l.Objects, (*front).uses)
	if len(s.Objects) == 0 {
		return s, Gone, k
	}
	return s, Send, k
}

func (x *Index) fillBucket(k work.Key, l work.Look, s event.Sync) (event.Sync, Verdict, work.Key) {
	all := fronts{}
	for n := range x.buckets.members {
		if bucketKey(n) != k {
			continue
		}
		for occupant := range x.buckets.members[n] {
			if r, ok := ownerOf(occupant); ok {
				all[r] = x.fronts[r]
				continue
			}
			s.LoadBalancers = append(s.LoadBalancers, occupant)
			maps.Copy(all, x.balancers[occupant])
		}
	}
	slices.Sort(s.LoadBalancers)
	s.Objects = objects(all, l.Objects, func(f *front) bool { return f.claimed })
	if len(s.Objects) == 0 {
		return s, Gone, k
	}
	return s, Send, k
}

// objects lists those of all that pass keep, the ones in first before the others.
func objects(all fronts, first []event.Ref, keep func(*front) bool) []event.Ref {
	var out, rest []event.Ref
	seen := map[event.Ref]bool{}
	for _, r := range first {
		if f := all[r.Object()]; f != nil && keep(f) && !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	for r, f := range all {
		if e := event.Ref(r); f != nil && keep(f) && !seen[e] {
			rest = append(rest, e)
		}
	}
	slices.SortFunc(rest, compareRefs)
	out = append(out, rest...)
	return out[:min(len(out), event.MaxObjects)]
}

func compareRefs(a, b event.Ref) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

// Everything is every partition once: what a sender that has just begun must send.
func (x *Index) Everything() []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := marks{}
	for _, f := range x.fronts {
		m.add(frontendKey(f), work.Look{Objects: []event.Ref{event.Ref(f.Ref())}, Version: x.version})
		if f.balancer != "" {
			m.add(backendsKey(f.balancer), work.Look{All: true, Version: x.version})
		}
		if f.claimed {
			m.add(bucketKey(x.buckets.take(f.occupant())), work.Look{All: true, Version: x.version})
		}
	}
	for _, pods := range x.pods {
		for _, p := range pods {
			if pending(p) && len(x.claimedBy(p)) == 0 {
				x.markDecision(p, false, p.ResourceVersion, m)
			}
		}
	}
	return m.list()
}

// Pressing tells whether a pod of the partition waits for its gate, so that
// failures must be tried again soon.
func (x *Index) Pressing(k work.Key) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if k.Function == event.Readiness {
		if ns, ok := strings.CutPrefix(k.Partition, namespaceScope); ok {
			return x.anyPending(ns, func(p *model.Pod) bool { return len(x.claimedBy(p)) == 0 })
		}
	}
	for _, f := range x.of(k) {
		if x.anyPending(f.Namespace, f.selects) {
			return true
		}
	}
	return false
}

func (x *Index) anyPending(ns string, match func(*model.Pod) bool) bool {
	for _, p := range x.pods[ns] {
		if pending(p) && match(p) {
			return true
		}
	}
	return false
}

// of are the fronts behind a partition.
func (x *Index) of(k work.Key) []*front {
	var out []*front
	if k.Function == event.Readiness {
		for occupant, n := range x.buckets.of {
			if bucketKey(n) == k {
				out = append(out, x.behind(occupant)...)
			}
		}
		return out
	}
	return x.behind(k.Partition)
}

// behind are the fronts behind a CLB id or a front's own partition.
func (x *Index) behind(partition string) []*front {
	if r, ok := ownerOf(partition); ok {
		if f := x.fronts[r]; f != nil {
			return []*front{f}
		}
		return nil
	}
	return slices.Collect(maps.Values(x.balancers[partition]))
}
