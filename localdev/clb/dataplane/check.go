package dataplane

import (
	"net/netip"
	"sync"
	"time"
)

// Check is how a listener checks the health of its targets (CLB API, HealthCheck). It
// is comparable: a change of any field restarts the rounds.
type Check struct {
	// On is the health switch; without it targets are Closed.
	On bool
	// Kind is TCP, HTTP, CUSTOM or PING, and for rules of layer 7 HTTPS or GRPC too.
	Kind string
	// Interval is from the start of one check to the start of the next; Timeout must be
	// less.
	Interval, Timeout time.Duration
	// HealthNum and UnHealthNum are how many checks in a row change the verdict.
	HealthNum, UnHealthNum int
	// Port is checked instead of the target's own; zero is the target's own.
	Port uint16

	// Method, Path, Domain and Version ("HTTP/1.0" or "HTTP/1.1") make the request of
	// an HTTP check; Codes is the bitmask of healthy answers, 1 for 1xx to 16 for 5xx.
	Method, Path, Domain, Version string
	Codes                         int

	// ExtendedCode is the gRPC status codes of healthy answers to a GRPC check: numbers,
	// ranges ("0-99") and lists of them by comma; "12" if empty (CLB API, HealthCheck).
	ExtendedCode string

	// Send and Receive are the payloads of a CUSTOM check.
	Send, Receive string
}

// checker checks one binding, round after round. A timer per binding and a goroutine
// only while a check is on its way keep thousands of them cheap.
type checker struct {
	plane   *Plane
	source  netip.Addr
	network string
	target  netip.AddrPort
	verdict *Verdict
	// died, if not nil, is called when the verdict becomes Dead, with no lock held.
	died func()

	mu    sync.Mutex
	check Check
	on    bool
	timer *time.Timer
	// round tells a check that is on its way that its result is no longer asked for.
	round int
	// streak counts equal results in a row: above zero good ones, below zero bad ones.
	streak int
}

// apply starts over with new settings. The verdict stays unless checking was switched.
func (c *checker) apply(check Check, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switched := on != c.on || !on
	c.check, c.on = check, on
	c.halt()
	switch {
	case !check.On:
		c.verdict.set(Closed)
	case switched:
		c.verdict.set(Unknown)
	}
	if on {
		c.schedule(c.plane.phase(check.Interval))
	}
}

func (c *checker) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on
}

func (c *checker) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	c.halt()
}

// halt ends the rounds; c.mu is held.
func (c *checker) halt() {
	c.round++
	c.streak = 0
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// schedule plans the next check; c.mu is held.
func (c *checker) schedule(in time.Duration) {
	round, check := c.round, c.check
	c.timer = time.AfterFunc(in, func() { c.run(round, check) })
}

// run does one check, books its result and plans the next.
func (c *checker) run(round int, check Check) {
	if !c.begin(round) {
		return
	}
	defer c.plane.running.Done()

	to := c.target
	if check.Port != 0 {
		to = netip.AddrPortFrom(to.Addr(), check.Port)
	}
	started := time.Now()
	healthy := probe(c.network, check, c.source, to)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.round != round {
		return
	}
	c.book(healthy, check)
	c.schedule(max(0, check.Interval-time.Since(started)))
}

// book takes the result of one check; c.mu is held.
func (c *checker) book(healthy bool, check Check) {
	if c.plane.frozen.Load() {
		c.streak = 0
		return
	}
	if healthy {
		c.streak = max(c.streak, 0) + 1
	} else {
		c.streak = min(c.streak, 0) - 1
	}
	switch {
	case c.streak >= check.HealthNum:
		c.verdict.set(Alive)
	case -c.streak >= check.UnHealthNum:
		if c.verdict.State() != Dead && c.died != nil {
			c.plane.running.Go(c.died)
		}
		c.verdict.set(Dead)
	}
}

// begin says whether the round is still wanted, and if so makes Plane.Close wait for
// it: adding to the wait group under the lock that stop takes keeps the two apart.
func (c *checker) begin(round int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.round != round {
		return false
	}
	c.plane.running.Add(1)
	return true
}
