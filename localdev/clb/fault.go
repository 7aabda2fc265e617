package clb

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Fault is what goes wrong with one call.
type Fault struct {
	// Before holds the call before it is looked at, After before it is answered.
	Before, After time.Duration
	// Error is answered, and nothing is applied.
	Error *tc3.Error
	// Drop closes the connection instead of answering what was applied.
	Drop bool
	// FailTask makes the task that the call starts fail with that message, with nothing
	// applied. A call that starts none answers FailedOperation.
	FailTask string
}

// Interceptor sees a call before it is looked at (Done, Code and Dropped are not set)
// and says what goes wrong with it; nil is nothing. It may block: the call then waits.
// ctx ends with the server; a client that went away ends nothing.
type Interceptor func(ctx context.Context, call Call) *Fault

// Intercept has f see every call from now on until remove is called. Of several
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

// fault asks the interceptors; never nil.
func (s *Server) fault(ctx context.Context, call Call) *Fault {
	s.mu.Lock()
	var hooks []Interceptor
	for _, id := range slices.Sorted(maps.Keys(s.hooks)) {
		hooks = append(hooks, s.hooks[id])
	}
	s.mu.Unlock()
	for _, f := range hooks {
		if fault := f(ctx, call); fault != nil {
			return fault
		}
	}
	return &Fault{}
}
