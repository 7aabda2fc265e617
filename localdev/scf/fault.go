package scf

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Moment is when a function's process is killed.
type Moment string

// The moments.
const (
	// BeforeEvent: the process is there and has not got the event yet.
	BeforeEvent Moment = "before"
	// DuringEvent: it is at it, since Fault.In.
	DuringEvent Moment = "during"
	// AfterEvent: it has answered, and nobody has heard it.
	AfterEvent Moment = "after"
)

// Fault is what goes wrong with one event.
type Fault struct {
	// Before holds the event back on its way; those that come later overtake it.
	Before time.Duration
	// Lose forgets the event: who waits for its answer has the connection broken off.
	Lose bool
	// Double hands the event over once more when it is through, as a queue does that
	// missed the acknowledgement. Nobody hears the second answer.
	Double bool
	// Status refuses the event, as the platform does with 429, 432 or 500.
	Status Status
	// Kill ends the process (SIGKILL): at once, In after the event was handed over, or
	// when it has answered.
	Kill Moment
	In   time.Duration
}

// Interceptor sees an event that comes in (RequestID, Key, Function, Via, Async, Retry
// and Payload are set) and says what goes wrong with it; nil is nothing. It may block:
// the event then waits. ctx ends with the server.
type Interceptor func(ctx context.Context, i Invocation) *Fault

// Intercept has f see every event from now on until remove is called. Of several
// interceptors the earliest with a fault decides.
func (s *Server) Intercept(f Interceptor) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.nextHook
	s.nextHook++
	s.hooks[id] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hooks, id)
	}
}

// fault asks the interceptors, and takes the time that the event is held for; never nil.
func (s *Server) fault(i Invocation) *Fault {
	s.mu.Lock()
	var hooks []Interceptor
	for _, id := range slices.Sorted(maps.Keys(s.hooks)) {
		hooks = append(hooks, s.hooks[id])
	}
	s.mu.Unlock()
	for _, f := range hooks {
		fault := f(s.ctx, i)
		if fault == nil {
			continue
		}
		if fault.Before > 0 {
			timer := time.NewTimer(fault.Before)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-s.ctx.Done():
			}
		}
		return fault
	}
	return &Fault{}
}

// again hands an event over once more, with nothing going wrong.
func (s *Server) again(f *function, d delivery) {
	if !s.enter() {
		return
	}
	go func() {
		defer s.inflight.Done()
		s.carryOut(f, d, &Fault{})
	}()
}
