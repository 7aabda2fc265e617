package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/stack"
)

// forwarders are the two replicas of the forwarder, as deployed.
type forwarders struct {
	stack *stack.Stack

	mu       sync.Mutex
	replicas [2]*stack.Replica
}

// start starts a replica and waits until it is ready.
func (f *forwarders) start(ctx context.Context, i int) error {
	r, err := f.stack.StartReplica(ctx, fmt.Sprintf("forwarder-%d", i), "url")
	f.mu.Lock()
	defer f.mu.Unlock()
	if r != nil {
		f.replicas[i] = r
	}
	return err
}

// end sends a replica a signal and waits until it has ended; it is killed after a minute.
func (f *forwarders) end(i int, sig syscall.Signal) error {
	f.mu.Lock()
	r := f.replicas[i]
	f.replicas[i] = nil
	f.mu.Unlock()
	if r == nil {
		return nil
	}
	if sig == syscall.SIGTERM {
		return r.Stop(time.Minute)
	}
	if err := r.Signal(sig); err != nil {
		return err
	}
	<-r.Done()
	return nil
}

// stop ends those that run.
func (f *forwarders) stop() error {
	var errs []error
	for i := range f.replicas {
		errs = append(errs, f.end(i, syscall.SIGTERM))
	}
	return errors.Join(errs...)
}
