package index

import (
	"cmp"
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
	if s.All {
		s.Pods = nil
	}
	switch k.Function {
	case event.Frontend:
		return x.fillFrontend(k, l, s)
	case event.Backends:
		s.LoadBalancers = []string{k.Partition}
		s.Services = services(x.balancers[k.Partition], l.Services, (*service).uses)
		if len(s.Services) == 0 {
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
	if r, ok := serviceOf(k.Partition); ok {
		svc := x.services[r]
		if svc == nil {
			return s, Gone, k
		}
		if now := frontendKey(svc); now != k {
			return s, Moved, now
		}
		s.Services = []event.Ref{ref(r)}
		return s, Send, k
	}
	s.LoadBalancers = []string{k.Partition}
	s.Services = services(x.balancers[k.Partition], l.Services, (*service).uses)
	if len(s.Services) == 0 {
		return s, Gone, k
	}
	return s, Send, k
}

func (x *Index) fillBucket(k work.Key, l work.Look, s event.Sync) (event.Sync, Verdict, work.Key) {
	all := map[model.Ref]*service{}
	for n := range x.buckets.members {
		if bucketKey(n) != k {
			continue
		}
		for occupant := range x.buckets.members[n] {
			if r, ok := serviceOf(occupant); ok {
				all[r] = x.services[r]
				continue
			}
			s.LoadBalancers = append(s.LoadBalancers, occupant)
			for r, svc := range x.balancers[occupant] {
				all[r] = svc
			}
		}
	}
	slices.Sort(s.LoadBalancers)
	s.Services = services(all, l.Services, func(svc *service) bool { return svc != nil && svc.claimed })
	if len(s.Services) == 0 {
		return s, Gone, k
	}
	return s, Send, k
}

// services lists those of all that pass keep, the ones in first before the others.
func services(all map[model.Ref]*service, first []event.Ref, keep func(*service) bool) []event.Ref {
	var out, rest []event.Ref
	for _, r := range first {
		if s := all[model.Ref{Namespace: r.Namespace, Name: r.Name}]; s != nil && keep(s) && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	for r, s := range all {
		if e := ref(r); s != nil && keep(s) && !slices.Contains(out, e) {
			rest = append(rest, e)
		}
	}
	slices.SortFunc(rest, compareRefs)
	out = append(out, rest...)
	return out[:min(len(out), event.MaxServices)]
}

func compareRefs(a, b event.Ref) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Everything is every partition once: what a sender that has just begun must send.
func (x *Index) Everything() []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := marks{}
	for _, s := range x.services {
		m.add(frontendKey(s), work.Look{Services: []event.Ref{ref(s.Ref())}, Version: x.version})
		if s.balancer != "" {
			m.add(backendsKey(s.balancer), work.Look{All: true, Version: x.version})
		}
		if s.claimed {
			m.add(bucketKey(x.buckets.take(s.occupant())), work.Look{All: true, Version: x.version})
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
	for _, s := range x.of(k) {
		if x.anyPending(s.Namespace, func(p *model.Pod) bool { return s.Selects(p.Namespace, p.Labels) }) {
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

// of are the Services behind a partition.
func (x *Index) of(k work.Key) []*service {
	var out []*service
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

// behind are the Services behind a CLB id or a Service's own partition.
func (x *Index) behind(partition string) []*service {
	if r, ok := serviceOf(partition); ok {
		if s := x.services[r]; s != nil {
			return []*service{s}
		}
		return nil
	}
	var out []*service
	for _, s := range x.balancers[partition] {
		out = append(out, s)
	}
	return out
}
