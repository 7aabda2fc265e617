package index

import (
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
)

// Route finds the partitions that a function asks to have woken. What it names of
// a readiness bucket is narrowed to the pods concerned: a bucket holds the CLBs of
// others too.
func (x *Index) Route(w event.Wake) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := marks{}
	look := work.Of(w.Sync.Pods...)
	look.All, look.Objects, look.Version = w.Sync.All, named(w.Sync.Objects), w.Sync.ResourceVersion
	switch w.Function {
	case event.Frontend, event.Backends:
		for _, id := range w.Sync.LoadBalancers {
			m.add(work.Key{Function: w.Function, Partition: id}, look)
		}
		if len(w.Sync.LoadBalancers) == 0 {
			x.routeObjects(w.Function, look, m)
		}
	case event.Readiness:
		x.routeReadiness(w.Sync, look.Version, m)
	}
	return m.list()
}

// routeObjects wakes by object where the CLB isn't named.
func (x *Index) routeObjects(f event.Function, look work.Look, m marks) {
	for _, r := range look.Objects {
		at := x.fronts[r.Object()]
		switch {
		case at == nil:
		case f == event.Frontend:
			m.add(frontendKey(at), look)
		case at.balancer != "":
			m.add(backendsKey(at.balancer), look)
		}
	}
}

// routeReadiness decides again the pods named, or else every undecided pod behind
// the CLBs, objects and namespaces named.
func (x *Index) routeReadiness(s event.Sync, version string, m marks) {
	for _, at := range s.Pods {
		if p := x.pods[at.Namespace][at.Name]; p != nil && p.UID == at.UID {
			x.markDecision(p, true, version, m)
		}
	}
	if len(s.Pods) > 0 && !s.All {
		return
	}
	for _, id := range s.LoadBalancers {
		for _, f := range x.balancers[id] {
			x.markDecisions(nil, f, m)
		}
	}
	for _, r := range s.Objects {
		if f := x.fronts[r.Object()]; f != nil {
			x.markDecisions(nil, f, m)
		}
	}
	for _, ns := range s.Namespaces {
		m.add(namespaceKey(ns), work.Look{All: true, Version: version})
	}
}

// named gives every reference its kind, so that equal ones are equal.
func named(refs []event.Ref) []event.Ref {
	out := make([]event.Ref, 0, len(refs))
	for _, r := range refs {
		out = append(out, event.Ref(r.Object()))
	}
	return out
}
