package model

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// law is what must hold, judged by what the world knows.
type law struct {
	w          *world
	violations []string
	running    map[*run]bool
	// healthy are the uids that the CLB has really found healthy, by listener.
	healthy map[string]map[string]bool
	// passed are those that have passed as many checks in a row as make a target Alive.
	passed map[string]bool
	// tagged are the uids that a listener's target was ever bound for.
	tagged map[string]bool
	// before is who had an address before its present owner.
	owner, before map[string]*pod
	// wrote counts writes to the CLB.
	wrote int
}

func newLaw(w *world) *law {
	return &law{w: w, running: map[*run]bool{}, healthy: map[string]map[string]bool{}, tagged: map[string]bool{}, passed: map[string]bool{}, owner: map[string]*pod{}, before: map[string]*pod{}}
}

func (l *law) broken(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.w.note("VIOLATION %s", text)
	l.violations = append(l.violations, text)
}

// found: a pod has passed a check, and the CLB calls its target Alive.
func (l *law) found(at *listener, uid string) {
	if l.healthy[at.id] == nil {
		l.healthy[at.id] = map[string]bool{}
	}
	l.healthy[at.id][uid] = true
}

func (l *law) owned(p *pod) {
	l.before[p.ip], l.owner[p.ip] = l.owner[p.ip], p
}

func ownName(name string) bool {
	o, ok := desired.OwnerOf(name)
	return ok && o.Cluster == clusterID
}

// writing: only who holds the Lease writes, and only to what is ours.
func (l *law) writing(r *run, action string, q ask) {
	l.wrote++
	who, attempt := "nobody", ""
	if r != nil {
		who, attempt = r.name, r.attempt
	}
	holder := ""
	if lease, ok := l.w.api.objects["leases"][system+"/clb-direct-"+l.w.clb.id].(*coordinationv1.Lease); ok && lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	if holder != attempt || attempt == "" {
		l.broken("a write without the Lease: %s of %s (%s), it is held by %q", action, who, attempt, holder)
	}
	if q.LoadBalancerID != l.w.clb.id {
		l.broken("a write to what is not ours: %s of %s at %s", action, who, q.LoadBalancerID)
	}
	check := func(id string) {
		if at := l.w.clb.listener(id); at != nil && at.foreign() {
			l.broken("a write to what is not ours: %s of %s at listener %s", action, who, at.name)
		}
	}
	for _, id := range q.ListenerIDs {
		check(id)
	}
	for _, name := range q.ListenerNames {
		if !ownName(name) {
			l.broken("a listener that nobody will know as ours: %q", name)
		}
	}
	l.w.clb.each(q, func(at *listener, a askTarget) *apiError {
		if at != nil {
			check(at.id)
		}
		return nil
	})
}

// listenerOf is a Service's listener, nil while there is none.
func (l *law) listenerOf(s *corev1.Service) *listener {
	for _, at := range l.w.clb.listeners {
		if o, ok := desired.OwnerOf(at.name); ok && o.UID == string(s.UID) {
			return at
		}
	}
	return nil
}

// claiming are the Services of ours that select a pod.
func (l *law) claiming(o *corev1.Pod) []*corev1.Service {
	var out []*corev1.Service
	for _, key := range sortedKeys(l.w.api.objects["services"]) {
		s := l.w.api.objects["services"][key].(*corev1.Service)
		matches := s.DeletionTimestamp == nil && s.Annotations[desired.DirectAccess] == "true"
		for k, v := range s.Spec.Selector {
			matches = matches && o.Labels[k] == v
		}
		if matches {
			out = append(out, s)
		}
	}
	return out
}

// patched: never Ready before the CLB has found that very pod healthy.
func (l *law) patched(old, now *corev1.Pod) {
	if !gateOpen(now) || gateOpen(old) {
		return
	}
	reason := condition(now, model.GateType).Reason
	for _, s := range l.claiming(now) {
		at := l.listenerOf(s)
		if reason != readiness.ReasonReady || at == nil || !l.healthy[at.id][string(now.UID)] || !l.tagged[at.id+string(now.UID)] {
			l.broken("Ready before healthy: pod %s (%s) with reason %s, which the CLB has not found healthy for %s", now.Name, now.UID, reason, s.Name)
		}
	}
}

// answered: a container ends only when nothing new is sent to it, or when its time is
// over, or nobody is left to answer.
func (l *law) answered(p *pod, r *replica, status int, broken bool) {
	took := time.Since(p.asked)
	switch {
	case broken && r.ctx.Err() != nil, broken && took >= grace:
	case broken:
		l.broken("the hook of %s broke off after %s", p.name, took)
	case status == 504 && took < hold:
		l.broken("the hook of %s was given up after %s", p.name, took)
	case status == 504 && l.w.calm && l.w.rested:
		l.broken("not drained: nothing is amiss, and the hook of %s was held in vain", p.name)
	case status == 504:
	case len(r.feed) > 0 && status == 404: // its watch is behind
	default:
		for _, at := range l.w.clb.listeners {
			for _, t := range at.targets {
				if !at.foreign() && t.ip == p.ip && t.sends > 0 {
					l.broken("terminated before drained: %s (%d) is still sent traffic at %s by listener %s, weight %d of %d", p.name, status, t.ip, at.id, t.sends, t.weight)
				}
			}
		}
	}
}

// unbinding: nobody is taken off who is still sent anything and answers.
func (l *law) unbinding(at *listener, t *target) {
	if t == nil || at.foreign() {
		return
	}
	if p := l.w.at(t.ip); p != nil && p.uid == t.tag && p.up && p.stage != ended && t.sends > 0 {
		l.broken("unbound before drained: %s still answers at %s of listener %s", p.name, t.ip, at.id)
	}
}

// weighed: nobody is sent anything before its containers were ready.
func (l *law) weighed(t *target) {
	if p := l.w.at(t.ip); t.weight > 0 && p != nil && p.uid == t.tag && !p.ready {
		l.broken("raised before ready: %s at %s", p.name, t.ip)
	}
}

// fenced: the next owner of an address gets nothing before it has passed as itself,
// where the last one was drained.
func (l *law) fenced() {
	for _, at := range l.w.clb.listeners {
		for _, t := range at.targets {
			p := l.w.at(t.ip)
			if at.foreign() || p == nil || !p.up || !t.alive || t.sends == 0 || l.passed[at.id+p.uid] {
				continue
			}
			if b := l.before[t.ip]; b != nil && b.drained {
				l.broken("traffic on a wrong pod's health: %s (%s) at %s, after %s", p.name, p.uid, t.ip, b.uid)
			}
		}
	}
}

// settled says what is not yet as it should be.
func (l *law) settled() (wrong []string) {
	for _, key := range sortedKeys(l.w.api.objects["services"]) {
		s := l.w.api.objects["services"][key].(*corev1.Service)
		at := l.listenerOf(s)
		if at == nil {
			wrong = append(wrong, "no listener for "+s.Name)
			continue
		}
		want := map[string]bool{}
		for _, p := range l.w.pods {
			o := l.w.object(p)
			if o == nil || !slices.Contains(l.claiming(o), s) {
				continue
			}
			want[p.ip] = true
			t := at.target(p.ip, 8080)
			if t == nil || t.tag != p.uid || t.weight != desiredWeight(o) {
				wrong = append(wrong, fmt.Sprintf("the target of %s at %s: %+v", p.name, s.Name, t))
			}
		}
		for _, t := range at.targets {
			if !want[t.ip] {
				wrong = append(wrong, fmt.Sprintf("a target too many at %s: %+v", s.Name, *t))
			}
		}
	}
	for _, p := range l.w.pods {
		if o := l.w.object(p); o != nil && !gateOpen(o) {
			wrong = append(wrong, fmt.Sprintf("the gate of %s is closed: %v", p.name, condition(o, model.GateType)))
		}
	}
	return wrong
}

func desiredWeight(*corev1.Pod) int { return model.DefaultWeight }
