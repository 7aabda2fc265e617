package index

import (
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// SetService takes in the latest state of a Service.
func (x *Index) SetService(svc model.Service) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(svc.ResourceVersion)
	m := marks{}
	if old := x.services[svc.Ref()]; old != nil && old.UID != svc.UID {
		x.replace(old, nil, m)
	}
	x.replace(x.services[svc.Ref()], x.classify(&svc), m)
	return m.list()
}

// DeleteService takes in that a Service is gone.
func (x *Index) DeleteService(r model.Ref) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := marks{}
	x.replace(x.services[r], nil, m)
	return m.list()
}

// SetConfig takes in that a TkeServiceConfig was made, changed or deleted.
func (x *Index) SetConfig(r model.Ref, version string) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(version)
	m := marks{}
	for _, s := range x.selecting[r.Namespace] {
		if s.uses() && desired.ConfigNameOf(&s.Service) == r.Name {
			look := work.Look{Version: version}
			look.Services = append(look.Services, ref(s.Ref()))
			m.add(frontendKey(s), look)
		}
	}
	return m.list()
}

// replace swaps the old state of a Service for the new one (nil: none, or none of
// our concern) and marks what that makes worth a look.
func (x *Index) replace(old, now *service, m marks) {
	x.unlink(old)
	x.link(now)
	x.occupy(old, now)
	if old == nil && now == nil {
		return
	}
	if now != nil {
		look := work.Look{Version: now.ResourceVersion}
		look.Services = append(look.Services, ref(now.Ref()))
		if frontendMatters(old, now) {
			m.add(frontendKey(now), look)
		}
		if now.balancer != "" && backendsMatter(old, now) {
			look.All = true
			m.add(backendsKey(now.balancer), look)
		}
	}
	x.markLeft(old, now, m)
	if old == nil || now == nil || backendsMatter(old, now) || old.Annotations[desired.Refused] != now.Annotations[desired.Refused] {
		x.markDecisions(old, now, m)
	}
}

// markLeft looks again at a CLB that a Service has left: what it had there is
// planned without it, if anybody is left to plan with.
func (x *Index) markLeft(old, now *service, m marks) {
	if !old.uses() || old.balancer == "" || now.uses() && now.balancer == old.balancer {
		return
	}
	if len(x.balancers[old.balancer]) == 0 {
		return
	}
	look := work.Look{All: true, Version: old.ResourceVersion}
	if now != nil {
		look.Version = now.ResourceVersion
	}
	m.add(backendsKey(old.balancer), look)
	look.All = false
	for r := range x.balancers[old.balancer] {
		look.Services = append(look.Services, ref(r))
	}
	slices.SortFunc(look.Services, compareRefs)
	m.add(frontendKey(old), look)
}

// markDecisions has the pods that the Service selects, or has selected, decided
// again: their bindings have changed.
func (x *Index) markDecisions(old, now *service, m marks) {
	for _, p := range x.pods[owner(old, now).Namespace] {
		was := old != nil && old.claimed && old.Selects(p.Namespace, p.Labels)
		is := now != nil && now.claimed && now.Selects(p.Namespace, p.Labels)
		if was || is {
			x.markDecision(p, false, owner(now, old).ResourceVersion, m)
		}
	}
}

func owner(a, b *service) *service {
	if a != nil {
		return a
	}
	return b
}

func (x *Index) unlink(s *service) {
	if s == nil {
		return
	}
	delete(x.services, s.Ref())
	if !s.uses() {
		return
	}
	drop(x.selecting, s.Namespace, s.Ref())
	if s.balancer != "" {
		drop(x.balancers, s.balancer, s.Ref())
	}
}

func (x *Index) link(s *service) {
	if s == nil {
		return
	}
	x.services[s.Ref()] = s
	if !s.uses() {
		return
	}
	put(x.selecting, s.Namespace, s)
	if s.balancer != "" {
		put(x.balancers, s.balancer, s)
	}
}

// occupy keeps the readiness buckets: a CLB has a place while a claimed Service
// uses it, a Service has one of its own until its CLB is known.
func (x *Index) occupy(old, now *service) {
	had, has := old != nil && old.claimed, now != nil && now.claimed
	if had && has && old.occupant() != now.occupant() && !x.occupied(old.occupant()) {
		x.buckets.move(old.occupant(), now.occupant())
	}
	if had && !x.occupied(old.occupant()) {
		x.buckets.release(old.occupant())
	}
	if has {
		x.buckets.take(now.occupant())
	}
}

// occupied tells whether a claimed Service stands behind an occupant.
func (x *Index) occupied(occupant string) bool {
	if r, ok := serviceOf(occupant); ok {
		s := x.services[r]
		return s != nil && s.claimed && s.balancer == ""
	}
	for _, s := range x.balancers[occupant] {
		if s.claimed {
			return true
		}
	}
	return false
}

// frontendMatters tells whether a Service's change is worth a pass of frontend.
// What frontend itself writes when all goes well is not: the first address, the
// finalizer, its notes.
func frontendMatters(old, now *service) bool {
	if old == nil {
		return true
	}
	return backendsMatter(old, now) ||
		old.problem != now.problem ||
		old.Type != now.Type || old.Class != now.Class ||
		old.held && !now.held ||
		!maps.Equal(without(old.Annotations), without(now.Annotations)) ||
		len(old.Addresses) > 0 && !slices.Equal(old.Addresses, now.Addresses)
}

// backendsMatter tells whether a Service's change alters what should be bound.
func backendsMatter(old, now *service) bool {
	return old == nil ||
		old.claimed != now.claimed ||
		old.balancer != now.balancer ||
		old.Deleting != now.Deleting ||
		!maps.Equal(old.Selector, now.Selector) ||
		!slices.Equal(old.Ports, now.Ports) ||
		!maps.Equal(without(old.Annotations), without(now.Annotations))
}

func put(m map[string]map[model.Ref]*service, k string, s *service) {
	if m[k] == nil {
		m[k] = map[model.Ref]*service{}
	}
	m[k][s.Ref()] = s
}

func drop(m map[string]map[model.Ref]*service, k string, r model.Ref) {
	delete(m[k], r)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}
