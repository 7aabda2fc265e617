package watch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// optional is a watch of what a cluster may have or not, or of what may be of use or
// not, now or later.
type optional struct {
	// find tells what to watch, false for nothing.
	find func(context.Context) (schema.GroupVersionResource, bool, error)
	// watch does it until ctx ends, and tells by what it has synced.
	watch func(ctx context.Context, r schema.GroupVersionResource, synced func(cache.InformerSynced))
	poked chan struct{}

	mu sync.Mutex
	// found: find has answered at least once.
	found  bool
	synced cache.InformerSynced
}

func newOptional(find func(context.Context) (schema.GroupVersionResource, bool, error), watch func(context.Context, schema.GroupVersionResource, func(cache.InformerSynced))) *optional {
	return &optional{find: find, watch: watch, poked: make(chan struct{}, 1)}
}

// hasSynced tells whether everything that existed when the watch began was handed
// on, or whether it is known that there is nothing to watch.
func (o *optional) hasSynced() bool {
	o.mu.Lock()
	found, synced := o.found, o.synced
	o.mu.Unlock()
	return found && (synced == nil || synced())
}

func (o *optional) state(found bool, synced cache.InformerSynced) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.found, o.synced = found, synced
}

// poke has find asked again now. It never blocks.
func (o *optional) poke() {
	select {
	case o.poked <- struct{}{}:
	default:
	}
}

// again is when to ask again after a failure.
const again = time.Second

// follow asks find every so often until ctx ends, and watches what it says.
func (o *optional) follow(ctx context.Context, every time.Duration, log *slog.Logger) {
	var at schema.GroupVersionResource
	idle := func(error) {}
	stop := idle
	defer func() { stop(nil) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-o.poked:
		}
		r, has, err := o.find(ctx)
		next := every
		switch {
		case err != nil:
			if ctx.Err() == nil {
				log.Warn("discovering what to watch", "error", err)
			}
			next = min(again, every)
		case r != at:
			stop(errStopped)
			at, stop = r, idle
			if has {
				stop = o.start(ctx, r)
			} else {
				o.state(true, nil)
			}
		case !has:
			o.state(true, nil)
		}
		timer.Reset(next)
	}
}

// errStopped ends a watch because there is nothing to watch any more, not because the
// program ends.
var errStopped = errors.New("there is nothing to watch any more")

// start watches r; stop ends that, because of cause, and waits.
func (o *optional) start(ctx context.Context, r schema.GroupVersionResource) (stop func(cause error)) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	o.state(true, func() bool { return false })
	go func() {
		defer close(ended)
		o.watch(ctx, r, func(synced cache.InformerSynced) { o.state(true, synced) })
	}()
	return func(cause error) {
		cancel(cause)
		<-ended
	}
}
