// Package watch keeps the index up with the cluster: shared informers over pods and
// Services that hold only what matters, and over the metadata of
// TkeServiceConfigs where the cluster has them.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// ServiceConfigs is the resource of TkeServiceConfigs (457/45490).
var ServiceConfigs = schema.GroupVersionResource{Group: "cloud.tencent.com", Version: "v1alpha1", Resource: "tkeserviceconfigs"}

// Options of a Watch.
type Options struct {
	Client   kubernetes.Interface
	Metadata metadata.Interface
	Index    *index.Index
	// Offer takes what became worth a look.
	Offer func([]work.Mark)
	// Services is called after the index has taken in a change of a Service.
	Services func()
	// Discover is how often the API server is asked whether it has TkeServiceConfigs;
	// default 30 s.
	Discover time.Duration
	Log      *slog.Logger
}

// Watch is what keeps the index up. Make one with New.
type Watch struct {
	o      Options
	synced []cache.InformerSynced
	// both are the informers of pods and Services.
	factory informers.SharedInformerFactory
}

// New registers the handlers; nothing is read until Run.
func New(o Options) (*Watch, error) {
	if o.Discover == 0 {
		o.Discover = 30 * time.Second
	}
	w := &Watch{o: o, factory: informers.NewSharedInformerFactoryWithOptions(o.Client, 0, informers.WithTransform(Trim))}
	pods := w.factory.Core().V1().Pods().Informer()
	services := w.factory.Core().V1().Services().Informer()
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{pods: w.pods(), services: w.services()} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("registering handler: %w", err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	return w, nil
}

// Run watches until ctx ends, and then waits for its goroutines.
func (w *Watch) Run(ctx context.Context) {
	w.factory.StartWithContext(ctx)
	defer w.factory.Shutdown()
	w.followConfigs(ctx)
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
				w.o.Offer(w.o.Index.DeleteService(model.Ref{Namespace: s.Namespace, Name: s.Name}))
				w.changed()
			}
		},
	}
}

func (w *Watch) changed() {
	if w.o.Services != nil {
		w.o.Services()
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

// followConfigs watches TkeServiceConfigs while the API server has them.
func (w *Watch) followConfigs(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	var stop context.CancelFunc
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	ticker := time.NewTicker(w.o.Discover)
	defer ticker.Stop()
	for {
		has, err := hasServiceConfigs(w.o.Client.Discovery())
		switch {
		case err != nil && ctx.Err() == nil:
			w.o.Log.Warn("discovering", "group", ServiceConfigs.GroupVersion(), "error", err)
		case has && stop == nil:
			watching, cancel := context.WithCancel(ctx)
			stop = cancel
			running.Go(func() { w.watchConfigs(watching) })
		case err == nil && !has && stop != nil:
			stop()
			stop = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *Watch) watchConfigs(ctx context.Context) {
	informer := metadatainformer.NewFilteredMetadataInformer(w.o.Metadata, ServiceConfigs, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := informer.SetTransform(Trim); err != nil {
		w.o.Log.Error("watching TkeServiceConfigs", "error", err)
		return
	}
	changed := func(obj any) {
		if m, ok := last(obj).(*metav1.PartialObjectMetadata); ok {
			w.o.Offer(w.o.Index.SetConfig(model.Ref{Namespace: m.Namespace, Name: m.Name}, m.ResourceVersion))
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed,
		UpdateFunc: func(old, now any) {
			a, aOK := old.(*metav1.PartialObjectMetadata)
			b, bOK := now.(*metav1.PartialObjectMetadata)
			if aOK && bOK && a.UID == b.UID && a.Generation == b.Generation {
				return // labels and the like
			}
			changed(now)
		},
		DeleteFunc: changed,
	})
	if err != nil {
		w.o.Log.Error("watching TkeServiceConfigs", "error", err)
		return
	}
	informer.RunWithContext(ctx)
}

// hasServiceConfigs asks the API server; what newer or other groups it has is not
// our business.
func hasServiceConfigs(d discovery.DiscoveryInterface) (bool, error) {
	list, err := d.ServerResourcesForGroupVersion(ServiceConfigs.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, r := range list.APIResources {
		if r.Name == ServiceConfigs.Resource {
			return true, nil
		}
	}
	return false, nil
}

// errUnknown is for an object that no informer of ours should hold.
var errUnknown = errors.New("not a pod, a Service or an object's metadata")

// Trim is the informers' transform: it keeps what the index reads. It changes the
// object in place and is idempotent.
func Trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return kube.TrimPod(o), nil
	case *corev1.Service:
		return trimService(o), nil
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
// only what shows that.
func trimService(s *corev1.Service) *corev1.Service {
	s.ManagedFields, s.OwnerReferences, s.Labels = nil, nil, nil
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Finalizers) == 0 {
		s.Annotations = nil
		s.Spec = corev1.ServiceSpec{Type: s.Spec.Type}
		s.Status = corev1.ServiceStatus{}
		return s
	}
	delete(s.Annotations, corev1.LastAppliedConfigAnnotation)
	s.Spec = corev1.ServiceSpec{
		Type:              s.Spec.Type,
		Selector:          s.Spec.Selector,
		Ports:             s.Spec.Ports,
		LoadBalancerClass: s.Spec.LoadBalancerClass,
	}
	s.Status = corev1.ServiceStatus{LoadBalancer: s.Status.LoadBalancer}
	return s
}
