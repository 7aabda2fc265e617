// Package watch keeps the index up with the cluster: reflectors over pods and Services
// that fill it directly, informers over Ingresses, and over the metadata of
// TkeServiceConfigs and of secrets, whose contents stay where they are.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Options of a Watch.
type Options struct {
	Client kubernetes.Interface
	// Pods is a client of the core API that reads pods (lean.NewClient).
	Pods     rest.Interface
	Metadata metadata.Interface
	Index    *index.Index
	// Offer takes what became worth a look.
	Offer func([]work.Mark)
	// Fronts is called after the index has taken in a change of a Service or Ingress.
	Fronts func()
	// Discover is how often the API server is asked whether it has TkeServiceConfigs,
	// and Ingresses in which version; default 30 s.
	Discover time.Duration
	Log      *slog.Logger
}

// Watch is what keeps the index up. Make one with New.
type Watch struct {
	o      Options
	synced []cache.InformerSynced
	// pods and services are what every cluster has.
	pods      *store[model.Pod]
	services  *store[model.Service]
	ingresses *optional
	secrets   *optional
	configs   *optional
}

// New registers the handlers; nothing is read until Run.
func New(o Options) (*Watch, error) {
	if o.Discover == 0 {
		o.Discover = 30 * time.Second
	}
	w := &Watch{o: o}
	w.pods, w.services = w.podStore(), w.serviceStore()
	w.ingresses = newOptional(w.findIngresses, w.watchIngresses)
	w.secrets = newOptional(w.findSecrets, w.watchSecrets)
	w.configs = newOptional(w.findConfigs, w.watchConfigs)
	w.synced = append(w.synced, w.pods.synced.Load, w.services.synced.Load)
	w.synced = append(w.synced, w.ingresses.hasSynced)
	return w, nil
}

// Run watches until ctx ends, and then waits for its goroutines.
func (w *Watch) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { w.pods.run(ctx) })
	running.Go(func() { w.services.run(ctx) })
	for _, o := range []*optional{w.ingresses, w.secrets, w.configs} {
		running.Go(func() { o.follow(ctx, w.o.Discover, w.o.Log) })
	}
}

// Synced tells whether everything that existed at the start is in the index.
func (w *Watch) Synced() bool {
	for _, synced := range w.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// Wait returns when Synced, or with ctx's error.
func (w *Watch) Wait(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), w.synced...) {
		return fmt.Errorf("waiting for the caches: %w", context.Cause(ctx))
	}
	return nil
}

// podStore keeps pods: what is read of them off the wire, and nothing else.
func (w *Watch) podStore() *store[model.Pod] {
	core := w.o.Pods
	in := newInterner()
	return &store[model.Pod]{
		name: "pods", example: &corev1.Pod{}, source: source{
			list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return core.Get().Resource("pods").VersionedParams(&o, scheme.ParameterCodec).Do(ctx).Get()
			},
			watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.Watch = true
				return core.Get().Resource("pods").VersionedParams(&o, scheme.ParameterCodec).Timeout(timeout(o)).Watch(ctx)
			},
		},
		read: func(o runtime.Object) (model.Pod, bool) {
			p, ok := o.(*corev1.Pod)
			if !ok {
				return model.Pod{}, false
			}
			return in.pod(kube.PodFrom(p)), true
		},
		set: w.o.Index.SetPod, drop: w.o.Index.DeletePod,
		since: func(p *model.Pod, version string) {
			p.ResourceVersion = kube.LatestResourceVersion(p.ResourceVersion, version)
		},
		known: w.o.Index.PodVersion, others: w.o.Index.OtherPods,
		offer: w.o.Offer, changed: func() {}, log: w.o.Log,
	}
}

// serviceStore keeps Services.
func (w *Watch) serviceStore() *store[model.Service] {
	services := w.o.Client.CoreV1().Services(metav1.NamespaceAll)
	return &store[model.Service]{
		name: "services", example: &corev1.Service{}, source: source{
			list:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return services.List(ctx, o) },
			watch: services.Watch,
		},
		read: func(o runtime.Object) (model.Service, bool) {
			s, ok := o.(*corev1.Service)
			if !ok {
				return model.Service{}, false
			}
			return kube.ServiceFrom(trimService(s)), true
		},
		set: w.o.Index.SetService,
		drop: func(s model.Service) []work.Mark {
			return w.o.Index.DeleteService(s.Namespace, s.Name, s.ResourceVersion)
		},
		since: func(s *model.Service, version string) {
			s.ResourceVersion = kube.LatestResourceVersion(s.ResourceVersion, version)
		},
		known: w.o.Index.ServiceVersion, others: w.o.Index.OtherServices,
		offer: w.o.Offer, changed: w.changed, log: w.o.Log,
	}
}

// timeout is what a watch is asked to last.
func timeout(o metav1.ListOptions) time.Duration {
	if o.TimeoutSeconds == nil {
		return 0
	}
	return time.Duration(*o.TimeoutSeconds) * time.Second
}

// eachOf calls f for every object of a list, until it fails.
func eachOf(list runtime.Object, f func(runtime.Object) error) error {
	switch l := list.(type) {
	case *corev1.PodList:
		for i := range l.Items {
			if err := f(&l.Items[i]); err != nil {
				return err
			}
		}
		return nil
	case *corev1.ServiceList:
		for i := range l.Items {
			if err := f(&l.Items[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("reading %T: %w", list, errUnknown)
}

func (w *Watch) changed() {
	if w.o.Fronts != nil {
		w.o.Fronts()
	}
}

// last is an object's last known state: a deletion that the watch missed comes as a
// tombstone.
func last(obj any) any {
	if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		return t.Obj
	}
	return obj
}

// errUnknown is for an object that is none of what is watched.
var errUnknown = errors.New("not a pod, a Service, an Ingress or an object's metadata")

// Trim is the informers' transform: it keeps what the index reads. It changes the
// object in place and is idempotent.
func Trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *networkingv1.Ingress:
		trimMeta(&o.ObjectMeta)
		return o, nil
	case *networkingv1beta1.Ingress:
		trimMeta(&o.ObjectMeta)
		return o, nil
	case *extensionsv1beta1.Ingress:
		trimMeta(&o.ObjectMeta)
		return o, nil
	case *metav1.PartialObjectMetadata:
		o.ManagedFields, o.Annotations, o.Labels, o.OwnerReferences = nil, nil, nil, nil
		return o, nil
	case cache.DeletedFinalStateUnknown:
		return o, nil
	default:
		return nil, fmt.Errorf("trimming %T: %w", obj, errUnknown)
	}
}

// trimService keeps what kube.ServiceFrom reads, and of Services that can't be ours
// only what an Ingress of ours may need of them.
func trimService(s *corev1.Service) *corev1.Service {
	trimMeta(&s.ObjectMeta)
	spec := corev1.ServiceSpec{Type: s.Spec.Type, Selector: s.Spec.Selector, Ports: s.Spec.Ports}
	status := corev1.ServiceStatus{}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Finalizers) == 0 {
		s.Annotations = nil
	} else {
		spec.LoadBalancerClass, status.LoadBalancer = s.Spec.LoadBalancerClass, s.Status.LoadBalancer
	}
	s.Spec, s.Status = spec, status
	return s
}

// trimMeta drops what no front is read for.
func trimMeta(m *metav1.ObjectMeta) {
	m.ManagedFields, m.OwnerReferences, m.Labels = nil, nil, nil
	delete(m.Annotations, corev1.LastAppliedConfigAnnotation)
}
