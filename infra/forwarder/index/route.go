package index

import (
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Route finds the partitions that a function asks to have woken. What it names of
// a readiness bucket is narrowed to the pods concerned: a bucket holds the CLBs of
// others too.
func (x *Index) Route(w event.Wake) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := marks{}
	look := work.Of(w.Sync.Pods...)
	look.All, look.Services, look.Version = w.Sync.All, w.Sync.Services, w.Sync.ResourceVersion
	switch w.Function {
	case event.Frontend, event.Backends:
		for _, id := range w.Sync.LoadBalancers {
			m.add(work.Key{Function: w.Function, Partition: id}, look)
		}
		if len(w.Sync.LoadBalancers) == 0 {
			x.routeServices(w.Function, look, m)
		}
	case event.Readiness:
		x.routeReadiness(w.Sync, look.Version, m)
	}
	return m.list()
}

// routeServices wakes by Service where the CLB isn't named.
func (x *Index) routeServices(f event.Function, look work.Look, m marks) {
	for _, r := range look.Services {
		s := x.services[model.Ref{Namespace: r.Namespace, Name: r.Name}]
		switch {
		case s == nil:
		case f == event.Frontend:
			m.add(frontendKey(s), look)
		case s.balancer != "":
			m.add(backendsKey(s.balancer), look)
		}
	}
}

// routeReadiness decides again the pods named, or else every undecided pod behind
// the CLBs, Services and namespaces named.
func (x *Index) routeReadiness(s event.Sync, version string, m marks) {
	for _, named := range s.Pods {
		if p := x.pods[named.Namespace][named.Name]; p != nil && p.UID == named.UID {
			x.markDecision(p, true, version, m)
		}
	}
	if len(s.Pods) > 0 && !s.All {
		return
	}
	for _, id := range s.LoadBalancers {
		for _, svc := range x.balancers[id] {
			x.markDecisions(nil, svc, m)
		}
	}
	for _, r := range s.Services {
		if svc := x.services[model.Ref{Namespace: r.Namespace, Name: r.Name}]; svc != nil {
			x.markDecisions(nil, svc, m)
		}
	}
	for _, ns := range s.Namespaces {
		m.add(namespaceKey(ns), work.Look{All: true, Version: version})
	}
}
