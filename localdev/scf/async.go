package scf

import (
	"context"
	"sync/atomic"
	"time"
)

// How the platform treats asynchronous events ("Invocation types" and "Retry policy",
// document 583/41138; "Limits"). The functions' own settings, which the manifest can't
// change, are at their defaults.
const (
	maxAsyncEvent = 128 << 10
	maxQueued     = 100_000
	asyncRetries  = 2
	retryInterval = time.Minute
	eventAge      = 6 * time.Hour
)

// Pending is an asynchronous event on its way.
type Pending struct {
	// RequestID is the platform's id, the same for every try.
	RequestID string

	done    chan struct{}
	outcome Outcome
}

// Wait waits until nothing more will be done about the event, and returns what came of
// its last try. It returns ctx's error if that ends before.
func (p *Pending) Wait(ctx context.Context) (Outcome, error) {
	select {
	case <-p.done:
		return p.outcome, nil
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
}

// queue counts the asynchronous events that are not done with.
type queue struct{ size atomic.Int64 }

// enqueue accepts an event and returns at once, as the platform does. Events are
// begun in no particular order: with retries in between, the platform keeps none
// either.
func (s *Server) enqueue(f *function, via string, payload []byte) (*Pending, *Failure) {
	if failure := checkEvent(payload, maxAsyncEvent); failure != nil {
		return nil, failure
	}
	if s.queue.size.Add(1) > maxQueued {
		s.queue.size.Add(-1)
		return nil, &Failure{ErrorMessage: "The queue of asynchronous events is full", StatusCode: StatusConcurrency}
	}
	if !s.enter() {
		s.queue.size.Add(-1)
		return nil, closing()
	}
	p := &Pending{RequestID: newRequestID(), done: make(chan struct{})}
	go func() {
		defer s.inflight.Done()
		defer s.queue.size.Add(-1)
		defer close(p.done)
		p.outcome = s.deliver(f, delivery{via: via, requestID: p.RequestID, payload: payload, async: true})
	}()
	return p, nil
}

// deliver tries until the event is through or given up: after a failure of the function
// twice more, after one of the platform for as long as the event is young enough.
func (s *Server) deliver(f *function, d delivery) Outcome {
	accepted := s.opts.Clock.Now()
	failures := 0
	for {
		o := s.run(f, d)
		if o.Failure == nil {
			return o
		}
		switch o.Status.blame() {
		case sender:
			return o
		case user:
			if failures == asyncRetries {
				return o
			}
			failures++
		}
		if s.opts.Clock.Since(accepted)+retryInterval > eventAge || !s.pause(s.ctx, retryInterval) {
			return o
		}
		d.retry++
	}
}

// pause waits by the server's clock and is false if ctx, or the server, ends first.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	t := s.opts.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	case <-s.ctx.Done():
		return false
	}
}
