package reconcile

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// subject is a Service or Ingress of a pass, with what it refers to.
type subject struct {
	desired.Object
	desired.Sources
	// wants is what follows from the two, for those that are ours.
	wants desired.Wants
}

// fewer objects than this are read one by one: that costs less than a list of a
// namespace, which may wait for a tenth of a second until the server's cache knows
// that it is as new as what was last written.
const fewer = 5

// names are names by namespace.
type names map[string][]string

func (n names) add(namespace, name string) {
	if !slices.Contains(n[namespace], name) {
		n[namespace] = append(n[namespace], name)
	}
}

// subjects reads the named Services and Ingresses, oldest first, and the Services that
// the Ingresses of ours refer to. What is gone is left out.
func (p *pass) subjects(ctx context.Context, refs []event.Ref) ([]*subject, error) {
	services, ingresses := names{}, names{}
	for _, r := range refs {
		if r.Object().Kind == model.KindIngress {
			ingresses.add(r.Namespace, r.Name)
		} else {
			services.add(r.Namespace, r.Name)
		}
	}
	r := reader{pass: p, services: map[model.Ref]*model.Service{}}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	readNamed(gctx, g, services, r.addService,
		func(ctx context.Context, ref model.Ref) (model.Service, error) { return p.Kube.Service(ctx, ref) },
		func(ctx context.Context, namespace string, some []string) ([]model.Service, error) {
			return p.Kube.Services(ctx, namespace, "", func(s *model.Service) bool { return slices.Contains(some, s.Name) })
		})
	readNamed(gctx, g, ingresses, r.addIngress,
		func(ctx context.Context, ref model.Ref) (model.Ingress, error) { return p.Kube.Ingress(ctx, ref) },
		func(ctx context.Context, namespace string, some []string) ([]model.Ingress, error) {
			return p.Kube.Ingresses(ctx, namespace, "", func(i *model.Ingress) bool { return slices.Contains(some, i.Name) })
		})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, s := range r.services {
		r.subjects = append(r.subjects, &subject{Object: desired.ServiceObject(s)})
	}
	return r.complete(ctx)
}

// claimedIn reads every Service and Ingress of ours in the namespaces, whatever an
// event named: a gate is decided over all of a pod's bindings or not at all.
func (p *pass) claimedIn(ctx context.Context, namespaces []string) ([]*subject, error) {
	all, err := p.readAll(ctx, namespaces, func(s *model.Service) bool { return s.Type == "LoadBalancer" })
	return p.claimed(all), err
}

// everybody reads every Service and Ingress of the cluster that is ours or holds
// something.
func (p *pass) everybody(ctx context.Context) ([]*subject, error) {
	return p.readAll(ctx, []string{""}, func(s *model.Service) bool { return s.Type == "LoadBalancer" || desired.Held(&s.Front) })
}

// readAll reads the Ingresses of the namespaces ("" for all) and those Services that
// keep says yes to.
func (p *pass) readAll(ctx context.Context, namespaces []string, keep func(*model.Service) bool) ([]*subject, error) {
	r := reader{pass: p, services: map[model.Ref]*model.Service{}}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, namespace := range namespaces {
		g.Go(func() error {
			list, err := p.Kube.Services(gctx, namespace, "", keep)
			for i := range list {
				r.addService(&list[i])
			}
			return err
		})
		g.Go(func() error {
			list, err := p.Kube.Ingresses(gctx, namespace, "", nil)
			for i := range list {
				r.addIngress(&list[i])
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, s := range r.services {
		r.subjects = append(r.subjects, &subject{Object: desired.ServiceObject(s)})
	}
	return r.complete(ctx)
}

// claimed keeps the subjects that are ours.
func (p *pass) claimed(all []*subject) []*subject {
	return slices.DeleteFunc(all, func(s *subject) bool {
		ours, _ := desired.Claimed(s.Object, p.Policy)
		return !ours
	})
}

// reader collects what is read at once.
type reader struct {
	*pass
	mu       sync.Mutex
	services map[model.Ref]*model.Service
	subjects []*subject
}

func (r *reader) addService(s *model.Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services[s.Ref()] = s
}

func (r *reader) addIngress(i *model.Ingress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subjects = append(r.subjects, &subject{Object: desired.IngressObject(i)})
}

// complete reads the Services that Ingresses of ours refer to and says what everybody
// of ours wants. Every Service is there once, whoever refers to it.
func (r *reader) complete(ctx context.Context) ([]*subject, error) {
	missing := names{}
	for _, s := range r.subjects {
		if ours, _ := desired.Claimed(s.Object, r.Policy); !ours || s.Ingress == nil {
			continue
		}
		for _, name := range desired.ServicesOf(s.Object) {
			if r.services[model.Ref{Kind: model.KindService, Namespace: s.Namespace, Name: name}] == nil {
				missing.add(s.Namespace, name)
			}
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	readNamed(gctx, g, missing, r.addService,
		func(ctx context.Context, ref model.Ref) (model.Service, error) { return r.Kube.Service(ctx, ref) },
		func(ctx context.Context, namespace string, some []string) ([]model.Service, error) {
			return r.Kube.Services(ctx, namespace, "", func(s *model.Service) bool { return slices.Contains(some, s.Name) })
		})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, s := range r.subjects {
		if ours, _ := desired.Claimed(s.Object, r.Policy); !ours {
			continue
		}
		if s.Ingress != nil {
			s.Services = map[string]*model.Service{}
			for _, name := range desired.ServicesOf(s.Object) {
				if svc := r.services[model.Ref{Kind: model.KindService, Namespace: s.Namespace, Name: name}]; svc != nil {
					s.Services[name] = svc
				}
			}
		}
		s.wants = desired.WantsOf(s.Object, s.Sources, r.Policy)
	}
	slices.SortFunc(r.subjects, func(a, b *subject) int { return a.Before(b.Front) })
	return r.subjects, nil
}

// readNamed reads objects by name, one by one where they are few in a namespace, else
// with a list. Those that are gone are left out.
func readNamed[T any](ctx context.Context, g *errgroup.Group, wanted names, add func(*T), get func(context.Context, model.Ref) (T, error), list func(ctx context.Context, namespace string, some []string) ([]T, error)) {
	for namespace, some := range wanted {
		if len(some) >= fewer {
			g.Go(func() error {
				all, err := list(ctx, namespace, some)
				for i := range all {
					add(&all[i])
				}
				return err
			})
			continue
		}
		for _, name := range some {
			g.Go(func() error {
				one, err := get(ctx, model.Ref{Namespace: namespace, Name: name})
				if fault.Is(err, fault.NotFound) {
					return nil
				}
				if err == nil {
					add(&one)
				}
				return err
			})
		}
	}
}

// backingsOf are the places of all the subjects.
func backingsOf(subjects []*subject) []desired.Backing {
	var out []desired.Backing
	for _, s := range subjects {
		out = append(out, s.wants.Backings...)
	}
	return out
}

// namedPods reads the pods of an event. Gone ones (or ones whose name belongs to
// another pod by now) are missing from the result.
func (p *pass) namedPods(ctx context.Context, named []event.Pod) ([]*model.Pod, error) {
	var mu sync.Mutex
	var out []*model.Pod
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	seen := map[model.Ref]bool{}
	for _, n := range named {
		if seen[model.Ref{Namespace: n.Namespace, Name: n.Name}] {
			continue // named with each address it has had
		}
		seen[model.Ref{Namespace: n.Namespace, Name: n.Name}] = true
		g.Go(func() error {
			pod, err := p.Kube.Pod(ctx, model.Ref{Namespace: n.Namespace, Name: n.Name})
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, &pod)
			return nil
		})
	}
	return out, g.Wait()
}

// selectedPods lists every pod that one of the Services selects, each once. However
// many Services a namespace has, it is listed once: for every list with a selector
// the server goes through all the pods of the namespace.
func (p *pass) selectedPods(ctx context.Context, services []*model.Service) ([]*model.Pod, error) {
	byNamespace := map[string][]*model.Service{}
	for _, s := range services {
		if len(s.Selector) > 0 {
			byNamespace[s.Namespace] = append(byNamespace[s.Namespace], s)
		}
	}
	var mu sync.Mutex
	var out []*model.Pod
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4) // a list is big
	for namespace, selecting := range byNamespace {
		g.Go(func() error {
			index := desired.NewSelecting(selecting)
			pods, err := p.Kube.Pods(ctx, kube.PodQuery{
				Namespace: namespace, Labels: commonLabels(selecting), ResourceVersion: p.req.Sync.ResourceVersion,
				Keep: func(pod *model.Pod) bool { return len(index.Of(pod)) > 0 },
			})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, pods...)
			return nil
		})
	}
	return out, g.Wait()
}

// maxValues bounds the values of one label in a query, which is part of a URL.
const maxValues = 64

// commonLabels are the labels that every one of the Services selects by, with the
// values that they ask for: what all pods that any of them selects have.
func commonLabels(services []*model.Service) map[string][]string {
	common := map[string][]string{}
	for key := range services[0].Selector {
		var values []string
		everywhere := true
		for _, s := range services {
			v, ok := s.Selector[key]
			everywhere = everywhere && ok
			values = append(values, v)
		}
		slices.Sort(values)
		if values = slices.Compact(values); everywhere && len(values) <= maxValues {
			common[key] = values
		}
	}
	return common
}
