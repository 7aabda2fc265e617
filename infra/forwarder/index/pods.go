package index

import (
	"maps"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// SetPod takes in the latest state of a pod.
func (x *Index) SetPod(p model.Pod) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(p.ResourceVersion)
	m := marks{}
	old := x.pods[p.Namespace][p.Name]
	if old != nil && old.UID != p.UID {
		x.gone(old, m)
		old = nil
	}
	if x.pods[p.Namespace] == nil {
		x.pods[p.Namespace] = map[string]*model.Pod{}
	}
	x.pods[p.Namespace][p.Name] = &p
	x.stir(p.UID)
	x.markTargets(old, &p, m)
	if decisionMatters(old, &p) {
		x.markDecision(&p, moved(old, &p), p.ResourceVersion, m)
	}
	return m.list()
}

// DeletePod takes in that a pod is gone. last is its last known state, which may
// be newer than the one we hold.
func (x *Index) DeletePod(last model.Pod) []work.Mark {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saw(last.ResourceVersion)
	m := marks{}
	old := x.pods[last.Namespace][last.Name]
	if old == nil || old.UID != last.UID {
		return nil // already replaced by its namesake
	}
	if old.IP == "" {
		old.IP = last.IP
	}
	old.ResourceVersion = last.ResourceVersion
	x.gone(old, m)
	return m.list()
}

func (x *Index) gone(p *model.Pod, m marks) {
	x.stir(p.UID)
	delete(x.pods[p.Namespace], p.Name)
	if len(x.pods[p.Namespace]) == 0 {
		delete(x.pods, p.Namespace)
	}
	if p.IP == "" {
		return // never had a target
	}
	look := work.Of(podAt(p, p.IP))
	look.Version, look.Urgent = p.ResourceVersion, true
	for _, f := range x.selected(p) {
		if f.balancer != "" {
			m.add(backendsKey(f.balancer), look)
		}
	}
}

// markTargets has backends look at a pod whose targets may have to change, at
// every CLB that selects it or did. A pod that has no address and had none can
// have no target.
func (x *Index) markTargets(old, now *model.Pod, m marks) {
	if now.IP == "" && (old == nil || old.IP == "") || !targetsMatter(old, now) {
		return
	}
	look := work.Look{}
	if now.IP != "" {
		look = work.Of(podAt(now, now.IP))
	}
	if old != nil && old.IP != "" && old.IP != now.IP {
		look = look.Merge(work.Of(podAt(now, old.IP)))
	}
	look.Version = now.ResourceVersion
	look.Urgent = now.Deleting && (old == nil || !old.Deleting)
	for _, p := range []*model.Pod{old, now} {
		for _, f := range x.selected(p) {
			if f.balancer != "" {
				m.add(backendsKey(f.balancer), look)
			}
		}
	}
}

// markDecision has readiness look at a pod that waits for its gate, or whose gate
// must be looked at although it is met: it has moved to another sandbox, or a
// front wants it to follow the CLB's health.
func (x *Index) markDecision(p *model.Pod, moved bool, version string, m marks) {
	if !p.Gated || p.Deleting || p.Terminal() || p.IP == "" {
		return
	}
	claimed := x.claimedBy(p)
	live := false
	for _, f := range claimed {
		follows, _ := desired.Live(f.Front)
		live = live || follows
	}
	if !pending(p) && !live && !moved {
		return
	}
	look := work.Of(podAt(p, p.IP))
	look.Version = version
	if len(claimed) == 0 {
		m.add(namespaceKey(p.Namespace), look)
		return
	}
	for _, f := range claimed {
		at := look
		at.Objects = []event.Ref{event.Ref(f.Ref())}
		m.add(bucketKey(x.buckets.take(f.occupant())), at)
	}
}

// pending tells whether p waits for its gate, or has it open by policy alone.
func pending(p *model.Pod) bool {
	return p.Gated && !p.Deleting && !p.Terminal() && !p.GateMet()
}

// targetsMatter tells whether a pod's change may alter its targets. Annotations
// are only those that say where the pod can be reached and with what weight.
func targetsMatter(old, now *model.Pod) bool {
	return old == nil ||
		old.IP != now.IP ||
		old.Phase != now.Phase ||
		old.ContainersReady != now.ContainersReady ||
		old.Deleting != now.Deleting ||
		old.AllTerminated != now.AllTerminated ||
		!maps.Equal(old.Labels, now.Labels) ||
		!maps.Equal(old.Annotations, now.Annotations)
}

// decisionMatters tells whether a pod's change may alter what its gate should be.
// The gate's own writes don't, unless somebody has taken it away.
func decisionMatters(old, now *model.Pod) bool {
	return targetsMatter(old, now) || moved(old, now) || !pending(old) && pending(now)
}

// moved tells whether the pod has got another sandbox or address: a gate met
// before says nothing about it.
func moved(old, now *model.Pod) bool {
	return old != nil && (old.IP != "" && old.IP != now.IP || !old.SandboxSince.IsZero() && !now.SandboxSince.IsZero() && !old.SandboxSince.Equal(now.SandboxSince))
}

// PodVersion is the version in which a pod is known, "" for not at all.
func (x *Index) PodVersion(namespace, name, uid string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.pods[namespace][name]; p != nil && p.UID == uid {
		return p.ResourceVersion
	}
	return ""
}

// OtherPods are those that are known besides the ones named by namespace and name.
func (x *Index) OtherPods(than map[model.Ref]struct{}) []model.Pod {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []model.Pod
	for _, pods := range x.pods {
		for _, p := range pods {
			if _, named := than[p.Ref()]; !named {
				out = append(out, *p)
			}
		}
	}
	return out
}
