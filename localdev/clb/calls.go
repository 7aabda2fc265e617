package clb

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// maxCalls is how many calls are kept; older ones only count.
const maxCalls = 100_000

// Call is one request, as the call log has it.
type Call struct {
	// Time is its arrival.
	Time   time.Time
	Action string
	// Principal is that of the credential; empty if the signature was not accepted.
	Principal string
	// LoadBalancerID is what the request names; the first, if it names several.
	LoadBalancerID string
	RequestID      string
	// Targets counts the targets that the request names.
	Targets int
	// Write is whether the action changes anything.
	Write bool

	// Done is when the answer was ready, Code the error's, empty for success. Dropped
	// is a connection closed instead of answered, by a Fault.
	Done    time.Time
	Code    string
	Dropped bool
}

// callLog keeps calls and counts.
type callLog struct {
	mu     sync.Mutex
	calls  []Call
	counts map[string]int
}

func (l *callLog) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[c.Action]++
	l.calls = append(l.calls, c)
	if len(l.calls) > maxCalls {
		l.calls = slices.Delete(l.calls, 0, maxCalls/10)
	}
}

// Calls lists the requests that were answered, in the order of the answers.
func (s *Server) Calls() []Call {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return slices.Clone(s.calls.calls)
}

// CallCounts counts the requests by action.
func (s *Server) CallCounts() map[string]int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return maps.Clone(s.calls.counts)
}

// ResetCalls empties the log and the counts.
func (s *Server) ResetCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.calls = nil
	clear(s.calls.counts)
}
