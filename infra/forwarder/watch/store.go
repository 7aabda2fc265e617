package watch

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/model"
)

// source is where objects of one kind come from.
type source struct {
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// store is what a reflector fills: the index, which holds everything that is known, so
// that nothing is held twice. What a list doesn't have any more is deleted; what it has
// as it is known changes nothing.
type store[T any] struct {
	name string
	source
	// example is an object of the kind, as the source gives it.
	example runtime.Object
	// read makes of an object what the index takes.
	read func(runtime.Object) (T, bool)
	// set and drop tell the index.
	set, drop func(T) []work.Mark
	// since has an object that is gone be so as of a version.
	since func(o *T, version string)
	// known is the version in which the index has an object, "" for not at all; others are
	// those that it has besides the ones named by namespace and name.
	known  func(namespace, name, uid string) (version string)
	others func(than map[model.Ref]struct{}) []T
	// offer takes what became worth a look, changed is called after each change.
	offer   func([]work.Mark)
	changed func()
	log     *slog.Logger

	synced atomic.Bool
}

// pageSize is how many objects are asked for at a time where the API server can't stream
// what there is.
const pageSize = 500

// run keeps the index up until ctx ends.
func (s *store[T]) run(ctx context.Context) {
	lw := &cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) { return s.pages(ctx) },
		WatchFuncWithContext: s.source.watch,
	}
	// A cluster without an API server is an outage of its own: whoever comes back first
	// must not wait for a forwarder that counts to thirty.
	backoff := &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 5 * time.Second, Steps: 10}
	cache.NewReflectorWithOptions(lw, s.example, s, cache.ReflectorOptions{Name: s.name, Backoff: backoff}).RunWithContext(ctx)
}

// item is an object on its way into the index.
type item[T any] struct {
	metav1.TypeMeta
	namespace, name string
	value           T
	// same: the index has it as it is.
	same bool
}

// GetObjectMeta names the object.
func (i *item[T]) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: i.namespace, Name: i.name}
}

// DeepCopyObject is for the interface: nobody changes an item.
func (i *item[T]) DeepCopyObject() runtime.Object { return new(*i) }

// GetObjectKind says nothing.
func (i *item[T]) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// take reads what a source gives.
func (s *store[T]) take(obj any) (*item[T], error) {
	switch o := obj.(type) {
	case *item[T]:
		return o, nil
	case runtime.Object:
		m, ok := obj.(metav1.Object)
		if !ok {
			break
		}
		if v := m.GetResourceVersion(); v != "" && s.known(m.GetNamespace(), m.GetName(), string(m.GetUID())) == v {
			return &item[T]{namespace: m.GetNamespace(), name: m.GetName(), same: true}, nil
		}
		if value, ok := s.read(o); ok {
			return &item[T]{namespace: m.GetNamespace(), name: m.GetName(), value: value}, nil
		}
	}
	return nil, fmt.Errorf("reading %T: %w", obj, errUnknown)
}

// Transformer has a reflector hold what take gives, while it gathers what there is
// (cache.TransformingStore).
func (s *store[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return s.take(obj) }
}

// pages lists everything, page by page, as of now: what isn't needed of a page is let go
// of before the next one comes.
func (s *store[T]) pages(ctx context.Context) (runtime.Object, error) {
	out := &internalversion.List{}
	for o := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := s.source.list(ctx, o)
		if err != nil {
			return nil, err
		}
		m, ok := page.(metav1.ListInterface)
		if !ok {
			return nil, fmt.Errorf("listing: got %T", page)
		}
		if err := eachOf(page, func(obj runtime.Object) error {
			i, err := s.take(obj)
			out.Items = append(out.Items, i)
			return err
		}); err != nil {
			return nil, err
		}
		out.ResourceVersion = m.GetResourceVersion()
		if o.Continue = m.GetContinue(); o.Continue == "" {
			return out, nil
		}
	}
}

// put hands an object to the index.
func (s *store[T]) put(obj any) error {
	i, err := s.take(obj)
	if err != nil || i.same {
		return err
	}
	s.offer(s.set(i.value))
	s.changed()
	return nil
}

// Add takes in an object that is new.
func (s *store[T]) Add(obj any) error { return s.put(obj) }

// Update takes in a changed one.
func (s *store[T]) Update(obj any) error { return s.put(obj) }

// Delete takes in that one is gone, with its last state.
func (s *store[T]) Delete(obj any) error {
	o, ok := obj.(runtime.Object)
	if !ok {
		return fmt.Errorf("reading %T: %w", obj, errUnknown)
	}
	value, ok := s.read(o)
	if !ok {
		return fmt.Errorf("reading %T: %w", obj, errUnknown)
	}
	s.offer(s.drop(value))
	s.changed()
	return nil
}

// Replace takes in a list of all that there is, and makes the difference. A list of
// nothing, where there was something, is asked for a second time: to believe it would be
// to take everything for deleted.
func (s *store[T]) Replace(list []any, version string) error {
	if len(list) == 0 && len(s.others(nil)) > 0 {
		if err := s.confirm(); err != nil {
			return err
		}
	}
	there := make(map[model.Ref]struct{}, len(list))
	for _, obj := range list {
		i, err := s.take(obj)
		if err != nil {
			return err
		}
		there[model.Ref{Namespace: i.namespace, Name: i.name}] = struct{}{}
		if !i.same {
			s.offer(s.set(i.value))
		}
	}
	for _, value := range s.others(there) {
		// Whoever looks must see that it is gone: its own last version is from before.
		s.since(&value, version)
		s.offer(s.drop(value))
	}
	s.changed()
	s.synced.Store(true)
	return nil
}

// confirm fails if there are objects after all.
func (s *store[T]) confirm() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	page, err := s.source.list(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("asking whether there are really no %s: %w", s.name, err)
	}
	return eachOf(page, func(runtime.Object) error {
		s.log.Warn("an empty list was not believed", "resource", s.name)
		return fmt.Errorf("a list has no %s, another one has", s.name)
	})
}

// Resync does nothing: the index is what it is.
func (s *store[T]) Resync() error { return nil }
