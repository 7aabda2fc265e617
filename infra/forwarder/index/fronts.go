package index

import (
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// SetService takes in the latest state of a Service, ours or not.
func (x *Index) SetService(svc model.Service) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(svc.ResourceVersion)
	m := marks{}
	r := svc.Ref()
	old := x.services[r]
	x.services[r] = &svc
	x.setFront(desired.ServiceObject(&svc), m)
	if old == nil || !sameBackend(old, &svc) {
		x.reviewRelying(r, svc.ResourceVersion, m)
	}
	return m.list()
}

// DeleteService takes in that a Service is gone, as of version.
func (x *Index) DeleteService(namespace, name, version string) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(version)
	m := marks{}
	r := serviceRef(namespace, name)
	had := x.services[r]
	delete(x.services, r)
	x.dropFront(r, version, m)
	if had != nil {
		x.reviewRelying(r, version, m)
	}
	return m.list()
}

// SetIngress takes in the latest state of an Ingress.
func (x *Index) SetIngress(ing model.Ingress) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(ing.ResourceVersion)
	m := marks{}
	x.setFront(desired.IngressObject(&ing), m)
	return m.list()
}

// DeleteIngress takes in that an Ingress is gone, as of version.
func (x *Index) DeleteIngress(namespace, name, version string) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(version)
	m := marks{}
	x.dropFront(model.Ref{Kind: model.KindIngress, Namespace: namespace, Name: name}, version, m)
	return m.list()
}

// SetConfig takes in that a TkeServiceConfig was made, changed or deleted.
func (x *Index) SetConfig(r model.Ref, version string) []work.Mark {
	return x.setNamed(r, version, func(f *front) bool { return desired.ConfigNameOf(f.Front) == r.Name })
}

// SetSecret takes in that a secret was made, changed or deleted.
func (x *Index) SetSecret(r model.Ref, version string) []work.Mark {
	return x.setNamed(r, version, func(f *front) bool { return f.claimed && slices.Contains(desired.SecretsOf(f.Object), r.Name) })
}

// setNamed has frontend look at the fronts that name what has changed.
func (x *Index) setNamed(r model.Ref, version string, names func(*front) bool) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(version)
	m := marks{}
	for _, f := range x.used[r.Namespace] {
		if names(f) {
			m.add(frontendKey(f), work.Look{Version: version, Objects: []event.Ref{event.Ref(f.Ref())}})
		}
	}
	return m.list()
}

// setFront takes in the latest state of an object.
func (x *Index) setFront(o desired.Object, m marks) {
	r := o.Ref()
	if old := x.fronts[r]; old != nil && old.UID != o.UID {
		x.replace(old, nil, m)
	}
	x.replace(x.fronts[r], x.classify(o), m)
}

// dropFront takes in that an object is gone. Whoever looks must have seen as much.
func (x *Index) dropFront(r model.Ref, version string, m marks) {
	old := x.fronts[r]
	if old == nil {
		return
	}
	old.ResourceVersion = kube.LatestResourceVersion(old.ResourceVersion, version)
	x.replace(old, nil, m)
}

// reviewRelying takes in that a Service has come, gone, or selects otherwise, for the
// Ingresses that have its pods bound.
func (x *Index) reviewRelying(r model.Ref, version string, m marks) {
	// Of a copy: replacing changes what is gone through.
	for _, f := range slices.Collect(maps.Values(x.relying[r.Namespace][r.Name])) {
		if f.Ingress == nil {
			continue // a Service relies on itself, and was looked at
		}
		ing := *f.Ingress
		ing.ResourceVersion = kube.LatestResourceVersion(ing.ResourceVersion, version)
		x.replace(f, x.classify(desired.IngressObject(&ing)), m)
	}
}

// replace swaps the old state of a front for the new one (nil: none, or none of our
// concern) and marks what that makes worth a look.
func (x *Index) replace(old, now *front, m marks) {
	x.unlink(old)
	x.link(now)
	x.occupy(old, now)
	if old == nil && now == nil {
		return
	}
	if now != nil {
		look := work.Look{Version: now.ResourceVersion, Objects: []event.Ref{event.Ref(now.Ref())}}
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

// markLeft looks again at a CLB that a front has left: what it had there is planned
// without it, if anybody is left to plan with.
func (x *Index) markLeft(old, now *front, m marks) {
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
		look.Objects = append(look.Objects, event.Ref(r))
	}
	slices.SortFunc(look.Objects, compareRefs)
	m.add(frontendKey(old), look)
}

// markDecisions has the pods that the front has selected, now or before, decided
// again: their bindings have changed.
func (x *Index) markDecisions(old, now *front, m marks) {
	newest := owner(now, old)
	for _, p := range x.pods[newest.Namespace] {
		was := old != nil && old.claimed && old.selects(p)
		is := now != nil && now.claimed && now.selects(p)
		if was || is {
			x.markDecision(p, false, newest.ResourceVersion, m)
		}
	}
}

func owner(a, b *front) *front {
	if a != nil {
		return a
	}
	return b
}

func (x *Index) unlink(f *front) {
	if f == nil {
		return
	}
	r := f.Ref()
	delete(x.fronts, r)
	if !f.uses() {
		return
	}
	drop(x.used, f.Namespace, r)
	for _, name := range f.names {
		drop(x.relying[f.Namespace], name, r)
	}
	if len(x.relying[f.Namespace]) == 0 {
		delete(x.relying, f.Namespace)
	}
	if f.balancer != "" {
		drop(x.balancers, f.balancer, r)
	}
}

func (x *Index) link(f *front) {
	if f == nil {
		return
	}
	x.fronts[f.Ref()] = f
	if !f.uses() {
		return
	}
	put(x.used, f.Namespace, f)
	for _, name := range f.names {
		if x.relying[f.Namespace] == nil {
			x.relying[f.Namespace] = map[string]fronts{}
		}
		put(x.relying[f.Namespace], name, f)
	}
	if f.balancer != "" {
		put(x.balancers, f.balancer, f)
	}
}

// occupy keeps the readiness buckets: a CLB has a place while something claimed uses
// it, a front has one of its own until its CLB is known.
func (x *Index) occupy(old, now *front) {
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

// occupied tells whether something claimed stands behind an occupant.
func (x *Index) occupied(occupant string) bool {
	if r, ok := ownerOf(occupant); ok {
		f := x.fronts[r]
		return f != nil && f.claimed && f.balancer == ""
	}
	return x.balancers[occupant].anyClaimed()
}

func put(m map[string]fronts, k string, f *front) {
	if m[k] == nil {
		m[k] = fronts{}
	}
	m[k][f.Ref()] = f
}

func drop(m map[string]fronts, k string, r model.Ref) {
	delete(m[k], r)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// ServiceVersion is the version in which a Service is known, "" for not at all.
func (x *Index) ServiceVersion(namespace, name, uid string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.services[serviceRef(namespace, name)]; s != nil && s.UID == uid {
		return s.ResourceVersion
	}
	return ""
}

// OtherServices are those that are known besides the ones named by namespace and name.
func (x *Index) OtherServices(than map[model.Ref]struct{}) []model.Service {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []model.Service
	for r, s := range x.services {
		if _, named := than[model.Ref{Namespace: r.Namespace, Name: r.Name}]; !named {
			out = append(out, *s)
		}
	}
	return out
}
