// Package budget shares out the calls that all functions together may make to the
// CLB API: 20 a second per action and sub-account are all there is, so what one
// pass is granted no other may use at the time.
package budget

import (
	"sync"

	"github.com/clb-direct/clb-direct/shared/event"
)

const (
	// Total is what is granted at a time, in calls a second per action. It leaves
	// room under the CLB API's 20 for people and for passes that outlive their event.
	Total = 16.0
	// reserve is what only backends may take: a drain never waits for the others.
	reserve = 4.0
)

// share says how the functions weigh against each other.
var share = map[event.Function]float64{event.Frontend: 2, event.Backends: 4, event.Readiness: 1}

// floor is the least a pass of a function can work with, whoever else is under way:
// what it is granted at its start holds for all of it, a drain may wait for a backends
// pass, and a readiness pass is for up to thirty CLBs with two calls each where others
// have one. Floors may exceed the total when very many are under way; their functions
// then wait for one another at the API's own limit.
var floor = map[event.Function]float64{event.Frontend: 0.5, event.Backends: 2, event.Readiness: 4}

// Budget keeps the account. The zero value is ready.
type Budget struct {
	mu      sync.Mutex
	weight  float64
	granted float64
}

// Take grants a pass of f its rate for every action, in calls a second. What it
// returns second gives the rate back; call it once.
func (b *Budget) Take(f event.Function) (rate float64, release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := share[f]
	b.weight += w
	left := Total - b.granted
	if f != event.Backends {
		left -= reserve
	}
	rate = max(min(Total*w/(b.weight+share[event.Backends]), left), floor[f])
	b.granted += rate
	return rate, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.weight -= w
		b.granted -= rate
	}
}
