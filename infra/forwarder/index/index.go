// Package index knows what is related: which Services and Ingresses are ours, whose
// pods they have bound, which CLB they use. It is told of every object's latest state
// and answers with what that makes worth a look, function by function and partition
// by partition. No client and no clock; what it holds is plain data under one lock.
//
//	what changed                       frontend      backends          readiness
//	a Service or Ingress of ours       its CLB       its CLB, all      its undecided pods
//	a Service that such an Ingress
//	names: selector, ports             its CLB       its CLB, all      its undecided pods
//	its TkeServiceConfig, its secrets  its CLB       -                 -
//	an annotation nobody can read      the object    -                 -
//	a selected pod (or no longer)      -             each CLB, it      it, while undecided
//	a gated pod that nothing selects   -             -                 it, while undecided
package index

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Index holds the relations. Safe for concurrent use.
type Index struct {
	policy desired.Policy

	mu sync.Mutex
	// services are all Services: any may stand behind an Ingress.
	services map[model.Ref]*model.Service
	// fronts are what concerns us: claimed, held or with a problem.
	fronts fronts
	// used are the claimed or held fronts of each namespace, relying those of them
	// that have the pods of a Service bound, by its namespace and name, and balancers
	// those of each CLB.
	used      map[string]fronts
	relying   map[string]map[string]fronts
	balancers map[string]fronts
	// pods are all pods, by namespace and name.
	pods    map[string]map[string]*model.Pod
	buckets buckets
	version string
	// followers are told when the pod with a uid changes.
	followers map[string][]chan struct{}
}

type fronts map[model.Ref]*front

// front is a Service or Ingress that concerns us.
type front struct {
	desired.Object
	claimed, held, problem bool
	// balancer is the CLB it uses, "" while that isn't known.
	balancer string
	// names are the Services whose pods it has bound, behind those of them that are
	// there, as they were when it was last looked at.
	names  []string
	behind []*model.Service
}

// uses tells whether the front has, or wants, something on a CLB.
func (f *front) uses() bool { return f != nil && (f.claimed || f.held) }

// selects tells whether a Service behind the front selects p.
func (f *front) selects(p *model.Pod) bool {
	return slices.ContainsFunc(f.behind, func(s *model.Service) bool { return s.Selects(p.Namespace, p.Labels) })
}

// occupant is the front's place among the readiness buckets.
func (f *front) occupant() string {
	if f.balancer != "" {
		return f.balancer
	}
	return ownPartition(f.Ref())
}

// New makes an empty index that claims by policy.
func New(policy desired.Policy) *Index {
	return &Index{
		policy:    policy,
		services:  map[model.Ref]*model.Service{},
		fronts:    fronts{},
		used:      map[string]fronts{},
		relying:   map[string]map[string]fronts{},
		balancers: map[string]fronts{},
		pods:      map[string]map[string]*model.Pod{},
		followers: map[string][]chan struct{}{},
	}
}

// Policy is what the index claims by.
func (x *Index) Policy() desired.Policy { return x.policy }

// Claims tells whether a claimed Service, or one behind a claimed Ingress, of the
// namespace selects labels.
func (x *Index) Claims(namespace string, labels map[string]string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.claimedBy(&model.Pod{Namespace: namespace, Labels: labels})) > 0
}

// Namespaces are those with a claimed Service or Ingress, sorted.
func (x *Index) Namespaces() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for ns, used := range x.used {
		if used.anyClaimed() {
			out = append(out, ns)
		}
	}
	slices.Sort(out)
	return out
}

func (fs fronts) anyClaimed() bool {
	for _, f := range fs {
		if f.claimed {
			return true
		}
	}
	return false
}

// NamesSecrets tells whether a claimed Ingress names a secret.
func (x *Index) NamesSecrets() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.fronts {
		if f.claimed && len(desired.SecretsOf(f.Object)) > 0 {
			return true
		}
	}
	return false
}

// Undecided counts the pods that are selected for something claimed and wait for
// their gate.
func (x *Index) Undecided() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for ns := range x.used {
		for _, p := range x.pods[ns] {
			if pending(p) && len(x.claimedBy(p)) > 0 {
				n++
			}
		}
	}
	return n
}

// classify reads an object; nil when it doesn't concern us.
func (x *Index) classify(o desired.Object) *front {
	claimed, problem := desired.Claimed(o, x.policy)
	f := &front{Object: o, claimed: claimed, held: desired.Held(o.Front), problem: problem != nil}
	if !f.claimed && !f.held && !f.problem {
		return nil
	}
	if f.uses() {
		f.balancer = desired.LoadBalancerOf(o.Front)
		f.names = desired.ServicesOf(o)
		for _, name := range f.names {
			if s := x.services[serviceRef(f.Namespace, name)]; s != nil {
				f.behind = append(f.behind, s)
			}
		}
	}
	return f
}

func serviceRef(namespace, name string) model.Ref {
	return model.Ref{Kind: model.KindService, Namespace: namespace, Name: name}
}

// selected are the claimed or held fronts that a Service behind them selects p for,
// in order of kind and name.
func (x *Index) selected(p *model.Pod) []*front {
	if p == nil {
		return nil
	}
	found := fronts{}
	for name, relying := range x.relying[p.Namespace] {
		if s := x.services[serviceRef(p.Namespace, name)]; s != nil && s.Selects(p.Namespace, p.Labels) {
			maps.Copy(found, relying)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *front) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// claimedBy are the claimed fronts that p is selected for.
func (x *Index) claimedBy(p *model.Pod) []*front {
	return slices.DeleteFunc(x.selected(p), func(f *front) bool { return !f.claimed })
}

// saw notes the newest version seen.
func (x *Index) saw(version string) { x.version = kube.LatestResourceVersion(x.version, version) }

// marks collects looks by key, so that one change makes at most one mark a key.
type marks map[work.Key]work.Look

func (m marks) add(k work.Key, l work.Look) {
	had := m[k]
	had.Absorb(l)
	m[k] = had
}

// list gives the marks, frontend first, each function's in order of partition.
func (m marks) list() []work.Mark {
	out := make([]work.Mark, 0, len(m))
	for k, l := range m {
		out = append(out, work.Mark{Key: k, Look: l})
	}
	slices.SortFunc(out, func(a, b work.Mark) int {
		return cmp.Or(cmp.Compare(slices.Index(event.Functions, a.Function), slices.Index(event.Functions, b.Function)), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// UID is that of a Service or Ingress that concerns us.
func (x *Index) UID(r model.Ref) (string, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.fronts[r]
	if f == nil {
		return "", false
	}
	return f.UID, true
}
