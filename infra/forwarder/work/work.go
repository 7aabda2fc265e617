// Package work holds the unit of what the forwarder does: a Look, which says where
// a function should look, under a Key, which says which function and partition.
// Looks of one key merge, so that only the latest state of anything is ever sent.
package work

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
)

// Key names a queue: one partition of one function. At most one event of a key is
// under way at a time.
type Key struct {
	Function  event.Function
	Partition string
}

// String writes function and partition.
func (k Key) String() string { return string(k.Function) + " " + k.Partition }

// Mark is a look under its key.
type Mark struct {
	Key
	Look Look
}

// podKey tells pods apart in a look. The address is part of it: a pod that got
// another one may still have a target at the old. So is the container that is about to
// end.
type podKey struct{ namespace, name, uid, ip, draining string }

// Look is what is known to need a look. The zero value is an empty look.
type Look struct {
	// All: everything of the partition.
	All bool
	// Objects that changed, Services and Ingresses, the first one to change first.
	Objects []event.Ref
	// Version is the newest resourceVersion among what changed.
	Version string
	// Urgent: traffic may be lost while this waits (a pod is going).
	Urgent bool
	// Since is when the oldest part of it became known, zero when nobody is waiting
	// for it: the function itself asked to be called again.
	Since time.Time

	pods map[podKey]event.Pod
}

// Of is a look at pods.
func Of(pods ...event.Pod) Look {
	var l Look
	for _, p := range pods {
		l.add(p)
	}
	return l
}

// Empty tells whether there is nothing to look at.
func (l Look) Empty() bool { return !l.All && len(l.Objects) == 0 && len(l.pods) == 0 }

// Drains tells that somebody waits for pods to be drained.
func (l Look) Drains() bool {
	for k := range l.pods {
		if k.draining != "" {
			return true
		}
	}
	return false
}

// Len is how many pods are named.
func (l Look) Len() int { return len(l.pods) }

// Pods are the pods named, in the order of namespace, name, uid, address and
// container.
func (l Look) Pods() []event.Pod {
	out := make([]event.Pod, 0, len(l.pods))
	for _, p := range l.pods {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b event.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID), cmp.Compare(a.IP, b.IP), cmp.Compare(a.Draining, b.Draining))
	})
	return out
}

// Merge is everything that l or m says. Neither is changed.
func (l Look) Merge(m Look) Look {
	out := Look{
		All:     l.All || m.All,
		Urgent:  l.Urgent || m.Urgent,
		Version: kube.LatestResourceVersion(l.Version, m.Version),
		Since:   earlier(l.Since, m.Since),
	}
	for _, refs := range [][]event.Ref{l.Objects, m.Objects} {
		for _, r := range refs {
			if !slices.Contains(out.Objects, r) {
				out.Objects = append(out.Objects, r)
			}
		}
	}
	if n := len(l.pods) + len(m.pods); n > 0 {
		out.pods = make(map[podKey]event.Pod, n)
	}
	for _, pods := range []map[podKey]event.Pod{l.pods, m.pods} {
		for _, p := range pods {
			out.add(p)
		}
	}
	return out
}

// Absorb adds to l everything that m says, in place: what Merge does, without a copy for
// each of many. More pods than an event may name become all of them, but for those that
// are drained, so that what waits takes no more room for more that changes.
func (l *Look) Absorb(m Look) {
	l.All, l.Urgent = l.All || m.All, l.Urgent || m.Urgent
	l.Version, l.Since = kube.LatestResourceVersion(l.Version, m.Version), earlier(l.Since, m.Since)
	for _, r := range m.Objects {
		if !slices.Contains(l.Objects, r) {
			l.Objects = append(slices.Clip(l.Objects), r)
		}
	}
	for _, p := range m.pods {
		l.add(p)
	}
	if len(l.pods) > event.MaxPods {
		l.All = true
		maps.DeleteFunc(l.pods, func(k podKey, _ event.Pod) bool { return k.draining == "" })
	}
}

// Only is l narrowed to pods, with everything else that it says.
func (l Look) Only(pods []event.Pod) Look {
	out := Of(pods...)
	out.Version, out.Since, out.Urgent = l.Version, l.Since, l.Urgent
	return out
}

// add names a pod; the newest version of the same one is kept.
func (l *Look) add(p event.Pod) {
	if l.pods == nil {
		l.pods = map[podKey]event.Pod{}
	}
	k := podKey{p.Namespace, p.Name, p.UID, p.IP, p.Draining}
	if had, ok := l.pods[k]; ok {
		p.ResourceVersion = kube.LatestResourceVersion(had.ResourceVersion, p.ResourceVersion)
	}
	l.pods[k] = p
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
