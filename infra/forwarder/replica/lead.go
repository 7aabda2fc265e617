package replica

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Election says how the one replica that sends is found.
type Election struct {
	// Off: this replica always leads. Only where there is no other.
	Off bool
	// Lease is the name of the Lease in the forwarder's namespace.
	Lease string
	// Duration is how long a leader that has vanished is waited for, Renew how long
	// a leader tries to renew before it gives up, Retry how often both are tried.
	// Defaults 6 s, 4 s, 0.5 s: who takes over is there within the first and a retry, and
	// a leader that gives the Lease back is followed within a second.
	Duration, Renew, Retry time.Duration
}

func (e Election) withDefaults() Election {
	if e.Duration == 0 {
		e.Duration, e.Renew, e.Retry = 6*time.Second, 4*time.Second, 500*time.Millisecond
	}
	return e
}

// lead sends while this replica is the leader, until ctx ends. A leader that has
// lost its Lease stands for election again.
func (r *Replica) lead(ctx context.Context) {
	if r.o.Election.Off {
		r.send(ctx)
		return
	}
	for ctx.Err() == nil {
		r.stand(ctx)
	}
}

// stand takes part in the election once: it waits for the Lease, leads, and
// returns when it is lost or given back and nothing is being sent any more.
func (r *Replica) stand(ctx context.Context) {
	e := r.o.Election.withDefaults()
	lock := &notedLock{Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: r.o.Namespace, Name: e.Lease},
		Client:     r.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: r.o.Identity},
	}}
	ended := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: e.Lease, Lock: lock,
		LeaseDuration: e.Duration, RenewDeadline: e.Renew, RetryPeriod: e.Retry,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				defer close(ended)
				r.send(ctx)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		r.o.Log.Error("standing for election", "error", err)
		linger(ctx, time.Second)
		return
	}
	elector.Run(ctx)
	if lock.held {
		<-ended
	}
}

// notedLock notes that its Lease was held: the elector starts what a leader does
// without telling its caller, and records an event only then.
type notedLock struct {
	resourcelock.Interface
	held bool
}

// RecordEvent is called by the goroutine that runs the elector.
func (l *notedLock) RecordEvent(s string) {
	l.held = true
	l.Interface.RecordEvent(s)
}

// send is what a leader does.
func (r *Replica) send(ctx context.Context) {
	r.leading.Store(true)
	r.metrics.leading.Set(1)
	r.o.Log.Info("leading", "identity", r.o.Identity)
	defer func() {
		r.leading.Store(false)
		r.metrics.leading.Set(0)
		r.o.Log.Info("no longer leading", "identity", r.o.Identity)
	}()
	var opening sync.WaitGroup
	opening.Go(func() { r.opener.Run(ctx) })
	r.relay.Lead(ctx)
	opening.Wait()
}
