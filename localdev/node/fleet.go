package node

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	clientrecord "k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
)

// Fleet is a set of emulated nodes and the pods on them.
type Fleet struct {
	opts    Options
	client  kubernetes.Interface
	now     func() time.Time
	backoff *flowcontrol.Backoff
	journal journal
	hosts   []*host
	byName  map[string]*host
	sink    clientrecord.EventBroadcaster

	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup // workers, hooks, the informer, the kubelet ports
	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex
	workers map[types.UID]*worker
	pods    cache.Store // all that are bound to nodes, ours or not
}

// Start registers nodes and runs the pods bound to them until Close. Cancelling
// ctx aborts the start only.
func Start(ctx context.Context, opts Options) (_ *Fleet, err error) {
	if opts.Config == nil {
		return nil, fmt.Errorf("starting nodes: Config is required")
	}
	opts = opts.withDefaults()
	cfg := rest.CopyConfig(opts.Config)
	cfg.QPS = -1 // the API server's own fairness limits us, as it does a thousand kubelets
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cfg.UserAgent = "clb-direct-localdev-node"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	f := &Fleet{
		opts:    opts,
		client:  client,
		now:     time.Now,
		backoff: flowcontrol.NewBackOff(opts.BackoffInitial, opts.BackoffMax),
		journal: journal{records: map[types.UID]*record{}},
		byName:  map[string]*host{},
		workers: map[types.UID]*worker{},
		sink:    clientrecord.NewBroadcaster(),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	f.sink.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	blocks, err := claimBlocks(opts.Addresses, opts.Nodes, opts.ReuseAddresses)
	if err != nil {
		return nil, err
	}
	for i, b := range blocks {
		f.addHost(fmt.Sprintf("%s%d", opts.NamePrefix, i+1), b)
	}
	if err := f.watch(ctx); err != nil {
		return nil, err
	}
	for _, h := range f.hosts {
		if err := f.register(ctx, h); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *Fleet) addHost(name string, b *block) {
	h := &host{
		name: name, block: b, client: client(b.own), hooks: hookClient(b.own),
		events: f.sink.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: name}),
	}
	f.hosts = append(f.hosts, h)
	f.byName[name] = h
	f.serve(h)
}

// serve answers on a node's kubelet port.
func (f *Fleet) serve(h *host) {
	server, claim := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "an emulated node has no logs and runs no commands", http.StatusNotImplemented)
		}),
	}, h.block.claim
	h.server = server
	f.wg.Go(func() { _ = server.Serve(claim) })
}

// watch follows all pods that are bound to a node, ours or not: a field selector
// can't name several nodes, and one watch for all is the cheaper one anyway.
func (f *Fleet) watch(ctx context.Context) error {
	source := cache.NewFilteredListWatchFromClient(f.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	})
	informer := cache.NewSharedInformer(source, &corev1.Pod{}, 0)
	err := informer.SetTransform(func(obj any) (any, error) {
		if pod, ok := obj.(*corev1.Pod); ok {
			trimmed(pod)
		}
		return obj, nil
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { f.seen(obj.(*corev1.Pod)) },
		UpdateFunc: func(old, obj any) {
			before, pod := old.(*corev1.Pod), obj.(*corev1.Pod)
			if before.UID != pod.UID {
				f.lost(before)
			}
			f.seen(pod)
		},
		DeleteFunc: func(obj any) {
			if missed, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = missed.Obj
			}
			if pod, ok := obj.(*corev1.Pod); ok {
				f.lost(pod)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	f.pods = informer.GetStore()
	f.wg.Go(func() { informer.Run(f.ctx.Done()) })
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return fmt.Errorf("watching pods: %w", ctx.Err())
	}
	return nil
}

// seen takes a version of a pod to its worker, a new one for a pod that is new
// on one of our nodes.
func (f *Fleet) seen(pod *corev1.Pod) {
	h := f.byName[pod.Spec.NodeName]
	if h == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.workers[pod.UID]; w != nil {
		w.post(func() { w.see(pod) })
		return
	}
	if h.down.Load() {
		return // nobody is there to take it
	}
	w := newWorker(f, h, pod)
	f.workers[pod.UID] = w
	f.wg.Go(w.run)
}

// lost tells a pod's worker that its object is gone. Only now is the worker
// forgotten, though it may have ended before: a late version of the pod must not
// bring it back to life.
func (f *Fleet) lost(pod *corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.workers[pod.UID]; w != nil {
		delete(f.workers, pod.UID)
		w.post(func() { w.gone = true })
	}
}

// Close ends every pod's processes at once, without a word to the API server,
// and removes the Node objects unless they are to be kept. Nothing the fleet
// started runs on after it.
func (f *Fleet) Close() error {
	f.closeOnce.Do(func() {
		f.cancel()
		for _, h := range f.hosts {
			_ = h.server.Close()
		}
		f.wg.Wait()
		f.sink.Shutdown()
		for _, h := range f.hosts {
			h.block.release()
			h.client.CloseIdleConnections()
			h.hooks.CloseIdleConnections()
		}
		if !f.opts.KeepNodes {
			f.closeErr = f.unregister()
		}
	})
	return f.closeErr
}

// event writes an Event on the pod.
func (w *worker) event(kind, reason, format string, args ...any) {
	if kind == corev1.EventTypeNormal && !w.fleet.opts.Events {
		return
	}
	ref := &corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: w.key.Namespace, Name: w.key.Name, UID: w.uid}
	w.host.events.Eventf(ref, kind, reason, format, args...)
}
