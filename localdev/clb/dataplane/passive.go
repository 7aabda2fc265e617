package dataplane

import "time"

// The passive check of layer 7 (CLB, "Health Check Overview"): always on, whatever the
// health check; each forwarding that fails counts, and at three the target is kept out
// for Options.PassiveBlock.
const passiveFailures = 3

// blocked says whether forwarding has found t bad lately; the pool's lock is held.
func (t *target) blocked(now time.Time) bool { return now.Before(t.blockedUntil) }

// failed books a forwarding to t that failed. A target that is kept out and tried all
// the same, as all are dead, gets no more time.
func (p *pool) failed(t *target, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.blocked(now) {
		return
	}
	if t.failures++; t.failures >= passiveFailures {
		t.failures, t.blockedUntil = 0, now.Add(p.plane.opts.PassiveBlock)
	}
}

// served books a forwarding that reached t: what it answered doesn't matter.
func (p *pool) served(t *target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.failures = 0
}
