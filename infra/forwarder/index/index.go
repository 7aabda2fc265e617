// Package index knows what is related: which Services are ours, which pods they
// select, which CLB they use. It is told of every object's latest state and
// answers with what that makes worth a look, function by function and partition by
// partition. No client and no clock; what it holds is plain data under one lock.
//
//	what changed                       frontend      backends          readiness
//	a Service of ours                  its CLB       its CLB, all      its undecided pods
//	its TkeServiceConfig               its CLB       -                 -
//	an annotation nobody can read      the Service   -                 -
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
	// services are those that concern us: claimed, held or with a problem.
	services map[model.Ref]*service
	// selecting are the claimed or held ones of each namespace.
	selecting map[string]map[model.Ref]*service
	// balancers are the claimed or held ones of each CLB.
	balancers map[string]map[model.Ref]*service
	// pods are all pods, by namespace and name.
	pods    map[string]map[string]*model.Pod
	buckets buckets
	version string
}

// service is a Service that concerns us.
type service struct {
	model.Service
	claimed, held, problem bool
	// balancer is the CLB it uses, "" while that isn't known.
	balancer string
}

// uses tells whether the Service has, or wants, something on a CLB.
func (s *service) uses() bool { return s != nil && (s.claimed || s.held) }

// occupant is the Service's place among the readiness buckets.
func (s *service) occupant() string {
	if s.balancer != "" {
		return s.balancer
	}
	return servicePartition(s.Ref())
}

// New makes an empty index that claims by policy.
func New(policy desired.Policy) *Index {
	return &Index{
		policy:    policy,
		services:  map[model.Ref]*service{},
		selecting: map[string]map[model.Ref]*service{},
		balancers: map[string]map[model.Ref]*service{},
		pods:      map[string]map[string]*model.Pod{},
	}
}

// Policy is what the index claims by.
func (x *Index) Policy() desired.Policy { return x.policy }

// Claims tells whether a claimed Service of the namespace selects labels.
func (x *Index) Claims(namespace string, labels map[string]string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.selecting[namespace] {
		if s.claimed && s.Selects(namespace, labels) {
			return true
		}
	}
	return false
}

// Namespaces are those with a claimed Service, sorted.
func (x *Index) Namespaces() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for ns, services := range x.selecting {
		for _, s := range services {
			if s.claimed {
				out = append(out, ns)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// Undecided counts the pods that are selected by a claimed Service and wait for
// their gate.
func (x *Index) Undecided() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for ns := range x.selecting {
		for _, p := range x.pods[ns] {
			if pending(p) && len(x.claimedBy(p)) > 0 {
				n++
			}
		}
	}
	return n
}

// classify reads a Service; nil when it doesn't concern us.
func (x *Index) classify(svc *model.Service) *service {
	claimed, problem := desired.Claimed(svc, x.policy)
	s := &service{Service: *svc, claimed: claimed, held: desired.Held(svc), problem: problem != nil}
	if !s.claimed && !s.held && !s.problem {
		return nil
	}
	if s.uses() {
		s.balancer = desired.LoadBalancerOf(svc)
	}
	return s
}

// selected are the claimed or held Services that select p, in order of name.
func (x *Index) selected(p *model.Pod) []*service {
	if p == nil {
		return nil
	}
	var out []*service
	for _, s := range x.selecting[p.Namespace] {
		if s.Selects(p.Namespace, p.Labels) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *service) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// claimedBy are the claimed Services that select p.
func (x *Index) claimedBy(p *model.Pod) []*service {
	return slices.DeleteFunc(x.selected(p), func(s *service) bool { return !s.claimed })
}

// saw notes the newest version seen.
func (x *Index) saw(version string) { x.version = kube.LatestResourceVersion(x.version, version) }

// marks collects looks by key, so that one change makes at most one mark a key.
type marks map[work.Key]work.Look

func (m marks) add(k work.Key, l work.Look) { m[k] = m[k].Merge(l) }

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

// without is annotations less those that say nothing to a function when they
// change: our own output, and kubectl's copy of everything else.
func without(annotations map[string]string) map[string]string {
	out := maps.Clone(annotations)
	for _, k := range []string{desired.ClientToken, desired.Refused, "kubectl.kubernetes.io/last-applied-configuration"} {
		delete(out, k)
	}
	return out
}
