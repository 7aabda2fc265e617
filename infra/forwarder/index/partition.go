package index

import (
	"fmt"
	"strings"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

// The partitions that are not a CLB's id.
const (
	serviceScope   = "service/"
	ingressScope   = "ingress/"
	readinessScope = "readiness/"
	namespaceScope = "namespace/"
)

// scopes are the kinds' own partitions.
var scopes = map[model.Kind]string{model.KindService: serviceScope, model.KindIngress: ingressScope}

// ownPartition is that of a front alone.
func ownPartition(r model.Ref) string { return scopes[r.Kind] + r.String() }

// ownerOf reads the front out of a partition that is one's own.
func ownerOf(partition string) (model.Ref, bool) {
	for kind, scope := range scopes {
		if rest, ok := strings.CutPrefix(partition, scope); ok {
			ns, name, ok := strings.Cut(rest, "/")
			return model.Ref{Kind: kind, Namespace: ns, Name: name}, ok
		}
	}
	return model.Ref{}, false
}

// frontendKey is the CLB where it is known, else the front itself. A front that is
// here only for a problem must not mix with a CLB's.
func frontendKey(f *front) work.Key {
	if f.balancer != "" {
		return work.Key{Function: event.Frontend, Partition: f.balancer}
	}
	return work.Key{Function: event.Frontend, Partition: ownPartition(f.Ref())}
}

func backendsKey(balancer string) work.Key {
	return work.Key{Function: event.Backends, Partition: balancer}
}

func bucketKey(n int) work.Key {
	return work.Key{Function: event.Readiness, Partition: fmt.Sprintf("%s%d", readinessScope, n)}
}

func namespaceKey(ns string) work.Key {
	return work.Key{Function: event.Readiness, Partition: namespaceScope + ns}
}

// podAt names p at an address it has or had.
func podAt(p *model.Pod, ip string) event.Pod {
	return event.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, IP: ip, ResourceVersion: p.ResourceVersion}
}

// buckets share CLBs out to readiness partitions of at most MaxReadinessCLBs. A
// CLB keeps its bucket while it is used: two partitions deciding over one pod
// would be harmless, but twice the calls.
type buckets struct {
	of      map[string]int
	members []map[string]struct{}
}

// take gives the bucket of an occupant, the lowest with room if it has none yet.
func (b *buckets) take(occupant string) int {
	if n, ok := b.of[occupant]; ok {
		return n
	}
	n := 0
	for n < len(b.members) && len(b.members[n]) >= event.MaxReadinessCLBs {
		n++
	}
	b.put(occupant, n)
	return n
}

// move gives the place of one occupant to another: a front's to its CLB.
func (b *buckets) move(from, to string) {
	n, ok := b.of[from]
	if !ok {
		return
	}
	b.release(from)
	if _, has := b.of[to]; !has {
		b.put(to, n)
	}
}

func (b *buckets) put(occupant string, n int) {
	if b.of == nil {
		b.of = map[string]int{}
	}
	for len(b.members) <= n {
		b.members = append(b.members, map[string]struct{}{})
	}
	b.of[occupant] = n
	b.members[n][occupant] = struct{}{}
}

func (b *buckets) release(occupant string) {
	n, ok := b.of[occupant]
	if !ok {
		return
	}
	delete(b.of, occupant)
	delete(b.members[n], occupant)
}
