// Package watch keeps the index up with the cluster: shared informers over pods,
// Services and Ingresses that hold only what matters, and over the metadata of
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
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/kube"
)

// Options of a Watch.
type Options struct {
	Client   kubernetes.Interface
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
	// factory has the informers of what every cluster has: pods and Services.
	factory   informers.SharedInformerFactory
	ingresses *optional
	secrets   *optional
	configs   *optional
}

// New registers the handlers; nothing is read until Run.
func New(o Options) (*Watch, error) {
	if o.Discover == 0 {
		o.Discover = 30 * time.Second
	}
	w := &Watch{o: o, factory: informers.NewSharedInformerFactoryWithOptions(o.Client, 0, informers.WithTransform(Trim))}
	w.ingresses = newOptional(w.findIngresses, w.watchIngresses)
	w.secrets = newOptional(w.findSecrets, w.watchSecrets)
	w.configs = newOptional(w.findConfigs, w.watchConfigs)
	pods := w.factory.Core().V1().Pods().Informer()
	services := w.factory.Core().V1().Services().Informer()
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{pods: w.pods(), services: w.services()} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("registering handler: %w", err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	w.synced = append(w.synced, w.ingresses.hasSynced)
	return w, nil
}

// Run watches until ctx ends, and then waits for its goroutines.
func (w *Watch) Run(ctx context.Context) {
	w.factory.StartWithContext(ctx)
	defer w.factory.Shutdown()
	var running sync.WaitGroup
	defer running.Wait()
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

func (w *Watch) pods() cache.ResourceEventHandler {
	set := func(obj any) {
		if p, ok := obj.(*corev1.Pod); ok {
			w.o.Offer(w.o.Index.SetPod(kube.PodFrom(p)))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if p, ok := last(obj).(*corev1.Pod); ok {
				w.o.Offer(w.o.Index.DeletePod(kube.PodFrom(p)))
			}
		},
	}
}

func (w *Watch) services() cache.ResourceEventHandler {
	set := func(obj any) {
		if s, ok := obj.(*corev1.Service); ok {
			w.o.Offer(w.o.Index.SetService(kube.ServiceFrom(s)))
			w.changed()
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: func(obj any) {
			if s, ok := last(obj).(*corev1.Service); ok {
				w.o.Offer(w.o.Index.DeleteService(s.Namespace, s.Name, s.ResourceVersion))
				w.changed()
			}
		},
	}
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

// errUnknown is for an object that no informer of ours should hold.
var errUnknown = errors.New("not a pod, a Service, an Ingress or an object's metadata")

// Trim is the informers' transform: it keeps what the index reads. It changes the
// object in place and is idempotent.
func Trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return kube.TrimPod(o), nil
	case *corev1.Service:
		return trimService(o), nil
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
