package dataplane

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// flow is what a target is busy with: a connection or UDP session at layer 4, a request
// at layer 7.
type flow interface {
	// abort ends it at once, with RST if asked and if its protocol has one.
	abort(reset bool)
	// leave has its client come again, to a target chosen anew.
	leave()
}

// policy is how a pool spreads traffic and checks its targets.
type policy struct {
	scheduler Scheduler
	// sticky keeps clients by address.
	sticky time.Duration
	// resetOnUnbind ends the flows of an unbound target with RST.
	resetOnUnbind bool
	reschedule    Reschedule
	check         Check
}

// pool is the targets of one listener of layer 4 or of one rule of layer 7: who is
// next, who is healthy, and who is busy with what.
type pool struct {
	plane *Plane
	// source is where checks come from.
	source  netip.Addr
	network string

	mu      sync.Mutex
	closed  bool
	policy  policy
	bound   []Target
	targets []*target
	byAddr  map[netip.AddrPort]*target
	sticky  map[netip.Addr]*keeping
	flows   map[flow]struct{}
}

// target is one binding at work.
type target struct {
	addr    netip.AddrPort
	weight  int
	verdict *Verdict
	label   string
	checker *checker
	gone    bool

	// current is the running score of smooth weighted round robin.
	current int
	flows   map[flow]struct{}
	// host is the address as a URL has it, cookie the value that stands for it in
	// session cookies; both are for layer 7 alone.
	host, cookie string
	// failures in a row, and until when they keep it out, are what forwarding found.
	failures     int
	blockedUntil time.Time
}

// keeping is where a client's address is kept, and until when.
type keeping struct {
	t     *target
	until time.Time
}

func newPool(p *Plane, network string, source netip.Addr) *pool {
	return &pool{plane: p, network: network, source: source, flows: map[flow]struct{}{}}
}

// update takes over new settings and bindings and says whether some binding ended.
// Bindings that stay keep their health, their flows and their place in the round.
func (p *pool) update(to policy, want []Target) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || to == p.policy && slices.Equal(p.bound, want) {
		return false
	}
	old := p.byAddr
	checkChanged := to.check != p.policy.check
	p.policy, p.bound = to, slices.Clone(want)
	p.byAddr = make(map[netip.AddrPort]*target, len(want))
	p.targets = make([]*target, 0, len(want))

	bound := false
	for _, want := range want {
		t, stays := old[want.Addr]
		if stays = stays && t.verdict == want.Verdict; stays {
			delete(old, want.Addr)
		} else {
			t, bound = p.bind(want), true
		}
		if to.reschedule.ZeroWeight && t.weight > 0 && want.Weight == 0 {
			p.move(t)
		}
		t.weight, t.label = want.Weight, want.Label
		p.byAddr[want.Addr] = t
		p.targets = append(p.targets, t)
		if on := to.check.On && (t.weight > 0 || !p.plane.opts.SkipWeightZero); !stays || checkChanged || on != t.checker.running() {
			t.checker.apply(to.check, on)
		}
	}
	for _, t := range old {
		p.unbind(t)
	}
	for client, k := range p.sticky {
		if k.t.gone {
			delete(p.sticky, client)
		}
	}
	if to.reschedule.Expand && (bound || len(old) > 0) {
		p.move(p.targets...)
	}
	return len(old) > 0
}

func (p *pool) bind(want Target) *target {
	t := &target{
		addr: want.Addr, verdict: want.Verdict, flows: map[flow]struct{}{},
		host: want.Addr.String(), cookie: routeOf(want.Addr),
		checker: &checker{plane: p.plane, source: p.source, network: p.network, target: want.Addr, verdict: want.Verdict},
	}
	t.checker.died = func() { p.died(t) }
	return t
}

// died is told when t has become Dead.
func (p *pool) died(t *target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.policy.reschedule.Unhealthy {
		p.move(t)
	}
}

// move has the flows of targets leave them, one after the other; p.mu is held.
func (p *pool) move(from ...*target) {
	type leaving struct {
		t  *target
		fl flow
	}
	var all []leaving
	for _, t := range from {
		for fl := range t.flows {
			all = append(all, leaving{t, fl})
		}
	}
	r := p.policy.reschedule
	for i, l := range all {
		time.AfterFunc(r.After+r.Over*time.Duration(i)/time.Duration(len(all)), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if _, on := l.t.flows[l.fl]; on {
				l.fl.leave()
			}
		})
	}
}

// unbind ends a binding; p.mu is held.
func (p *pool) unbind(t *target) {
	t.gone = true
	t.checker.stop()
	if p.plane.opts.KeepUnbound {
		return
	}
	for fl := range t.flows {
		fl.abort(p.policy.resetOnUnbind)
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, t := range p.targets {
		t.gone = true
		t.checker.stop()
	}
	for fl := range p.flows {
		fl.abort(true)
	}
}

// track books fl to t. It fails if t was unbound since it was picked, or the pool
// closed: the caller then drops the flow.
func (p *pool) track(t *target, fl flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || t.gone {
		return false
	}
	p.flows[fl] = struct{}{}
	t.flows[fl] = struct{}{}
	return true
}

// hold books fl to no target yet: it ends with the pool. It fails if that has closed.
func (p *pool) hold(fl flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.flows[fl] = struct{}{}
	return true
}

// let ends what hold began.
func (p *pool) let(fl flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flows, fl)
}

func (p *pool) untrack(t *target, fl flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flows, fl)
	delete(t.flows, fl)
}
