package reconcile

import (
	"context"
	"time"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
)

// Times of a drain that finds a CLB's Lease held. Its attempt waits for the Lease, and
// holds another one meanwhile, of whose name the holder knows; the holder looks for that
// before each write but its first, and hands over. Who waits touches nothing of the
// holder's, so that whatever becomes of either the fence is what it was. A waiting attempt
// that dies costs passes a hand-over after each write until its Lease is over.
const (
	// drainPatience is how long a pass that drains waits for the Lease, and drainAgain how
	// often it tries.
	drainPatience = 3 * time.Second
	drainAgain    = 50 * time.Millisecond
	// courtesy is how long a pass that gave way stands back after it has let go of the
	// Lease: asked to continue it would be back sooner than the drain tries again.
	courtesy = 5 * drainAgain
)

// leaseOf is the name of a CLB's Lease, waitingFor of that of a drain which waits for it.
func leaseOf(lb string) string    { return "clb-direct-" + lb }
func waitingFor(lb string) string { return leaseOf(lb) + "-drain" }

// acquire takes the CLB's Lease. Who finds it held comes again, but a drain waits for it,
// and says so: a container is held meanwhile, and whoever holds the Lease may take it again
// and again between the tries of somebody who comes later.
func (p *pass) acquire(ctx context.Context, lb string) (*kube.Lease, error) {
	take := func(name string) (*kube.Lease, error) {
		return p.Kube.Acquire(ctx, p.LeaseNamespace, name, p.req.Sync.Attempt, p.req.Sync.Ended)
	}
	lease, err := take(leaseOf(lb))
	if !fault.Is(err, fault.Conflict) || !p.req.Sync.Drains() {
		return lease, err
	}
	// That another drain says it already, or that it can't be said, changes nothing.
	if waiting, err := take(waitingFor(lb)); err == nil {
		defer func() {
			if err := waiting.Release(context.WithoutCancel(ctx), false); err != nil {
				p.Log.Warn("no longer waiting for the lease", "loadBalancer", lb, "error", err)
			}
		}()
	}
	for began := p.Now(); fault.Is(err, fault.Conflict) && p.Now().Sub(began) <= drainPatience; lease, err = take(leaseOf(lb)) {
		if !pause(ctx, drainAgain) {
			break
		}
	}
	return lease, err
}

// awaited tells whether a drain waits for the Lease that this pass has. A drain gives way
// to nobody.
func (p *pass) awaited(ctx context.Context) bool {
	if p.lb == "" || p.req.Sync.Drains() {
		return false
	}
	waits, err := p.Kube.Held(ctx, p.LeaseNamespace, waitingFor(p.lb))
	if err != nil {
		p.Log.Warn("looking whether a drain waits", "loadBalancer", p.lb, "error", err)
	}
	p.gaveWay = p.gaveWay || waits
	return waits
}

// letPass stands back until the drain that the pass gave way to has the Lease.
func (p *pass) letPass(ctx context.Context) {
	if !p.gaveWay {
		return
	}
	for began := p.Now(); p.Now().Sub(began) < courtesy && p.awaited(ctx); {
		if !pause(ctx, drainAgain) {
			return
		}
	}
}

// pause waits, false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
