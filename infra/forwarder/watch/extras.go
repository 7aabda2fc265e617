package watch

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// What is watched where it is.
var (
	// ServiceConfigs is the resource of TkeServiceConfigs (457/45490).
	ServiceConfigs = schema.GroupVersionResource{Group: "cloud.tencent.com", Version: "v1alpha1", Resource: "tkeserviceconfigs"}
	secrets        = corev1.SchemeGroupVersion.WithResource("secrets")
)

// findIngresses asks the API server which version of them it has.
func (w *Watch) findIngresses(ctx context.Context) (schema.GroupVersionResource, bool, error) {
	gv, has, err := kube.IngressVersion(ctx, func(ctx context.Context, path string) ([]byte, error) {
		return w.o.Client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", runtime.ContentTypeJSON).DoRaw(ctx)
	})
	if err != nil || !has {
		return schema.GroupVersionResource{}, false, err
	}
	return gv.WithResource("ingresses"), true, nil
}

// watchIngresses keeps the index up with Ingresses. When it ends they are out of the
// index: the cluster has none any more, or another watch will bring them back.
func (w *Watch) watchIngresses(ctx context.Context, r schema.GroupVersionResource, synced func(cache.InformerSynced)) {
	factory := informers.NewSharedInformerFactoryWithOptions(w.o.Client, 0, informers.WithTransform(Trim))
	generic, err := factory.ForResource(r)
	if err != nil {
		w.o.Log.Error("watching Ingresses", "error", err)
		return
	}
	informer := generic.Informer()
	registration, err := informer.AddEventHandler(w.ingressHandler())
	if err != nil {
		w.o.Log.Error("watching Ingresses", "error", err)
		return
	}
	synced(registration.HasSynced)
	informer.RunWithContext(ctx)
	if errors.Is(context.Cause(ctx), errStopped) {
		for _, obj := range informer.GetStore().List() {
			w.dropIngress(obj)
		}
	}
}

func (w *Watch) ingressHandler() cache.ResourceEventHandler {
	set := func(obj any) {
		o, ok := obj.(runtime.Object)
		if !ok {
			return
		}
		ing, err := kube.IngressFrom(o)
		if err != nil {
			w.o.Log.Error("reading an Ingress", "error", err)
			return
		}
		w.o.Offer(w.o.Index.SetIngress(ing))
		w.changed()
		w.secrets.poke()
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, obj any) { set(obj) },
		DeleteFunc: w.dropIngress,
	}
}

func (w *Watch) dropIngress(obj any) {
	o, ok := last(obj).(metav1.Object)
	if !ok {
		return
	}
	w.o.Offer(w.o.Index.DeleteIngress(o.GetNamespace(), o.GetName(), o.GetResourceVersion()))
	w.changed()
}

// findSecrets: they are watched only while an Ingress of ours names one.
func (w *Watch) findSecrets(context.Context) (schema.GroupVersionResource, bool, error) {
	if !w.o.Index.NamesSecrets() {
		return schema.GroupVersionResource{}, false, nil
	}
	return secrets, true, nil
}

// watchSecrets notes that a secret has changed. Only metadata is asked for: what is in
// a secret is not the forwarder's to know.
func (w *Watch) watchSecrets(ctx context.Context, r schema.GroupVersionResource, synced func(cache.InformerSynced)) {
	same := func(a, b *metav1.PartialObjectMetadata) bool { return a.ResourceVersion == b.ResourceVersion }
	w.watchMetadata(ctx, r, w.o.Index.SetSecret, same, synced)
}

// findConfigs asks the API server whether it has TkeServiceConfigs; what newer or
// other groups it has is not our business.
func (w *Watch) findConfigs(context.Context) (schema.GroupVersionResource, bool, error) {
	list, err := w.o.Client.Discovery().ServerResourcesForGroupVersion(ServiceConfigs.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return schema.GroupVersionResource{}, false, nil
	}
	if err != nil {
		return schema.GroupVersionResource{}, false, err
	}
	for _, r := range list.APIResources {
		if r.Name == ServiceConfigs.Resource {
			return ServiceConfigs, true, nil
		}
	}
	return schema.GroupVersionResource{}, false, nil
}

// watchConfigs notes that a TkeServiceConfig's spec has changed, not its labels.
func (w *Watch) watchConfigs(ctx context.Context, r schema.GroupVersionResource, synced func(cache.InformerSynced)) {
	same := func(a, b *metav1.PartialObjectMetadata) bool { return a.Generation == b.Generation }
	w.watchMetadata(ctx, r, w.o.Index.SetConfig, same, synced)
}

// watchMetadata hands on which objects have come, gone, or changed other than same
// says.
func (w *Watch) watchMetadata(ctx context.Context, r schema.GroupVersionResource, set func(model.Ref, string) []work.Mark, same func(a, b *metav1.PartialObjectMetadata) bool, synced func(cache.InformerSynced)) {
	informer := metadatainformer.NewFilteredMetadataInformer(w.o.Metadata, r, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := informer.SetTransform(Trim); err != nil {
		w.o.Log.Error("watching", "resource", r.Resource, "error", err)
		return
	}
	changed := func(obj any) {
		if m, ok := last(obj).(*metav1.PartialObjectMetadata); ok {
			w.o.Offer(set(model.Ref{Namespace: m.Namespace, Name: m.Name}, m.ResourceVersion))
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed,
		UpdateFunc: func(old, now any) {
			a, aOK := old.(*metav1.PartialObjectMetadata)
			b, bOK := now.(*metav1.PartialObjectMetadata)
			if !aOK || !bOK || a.UID != b.UID || !same(a, b) {
				changed(now)
			}
		},
		DeleteFunc: changed,
	})
	if err != nil {
		w.o.Log.Error("watching", "resource", r.Resource, "error", err)
		return
	}
	synced(registration.HasSynced)
	informer.RunWithContext(ctx)
}
