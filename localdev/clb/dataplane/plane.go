// Package dataplane is the part of the CLB emulator that carries packets: it listens on
// virtual addresses, checks the health of the bound targets and forwards connections to
// them. It knows nothing of the API, of tasks and of quotas.
//
// It is told what should be with Set, whole listeners at a time, and finds the
// difference itself. What it finds out about a target it writes into the target's
// Verdict.
//
// A listener of layer 4 is a forwarder: it joins connections. One of layer 7 is a front:
// it reads requests and sends each where the table says, over connections of its own.
// Both have their targets in pools, which choose and check them: one of a listener, one
// of each rule.
//
// Requests are carried by net/http/httputil.ReverseProxy: streaming, trailers, upgrades
// and hop-by-hop headers are its part. github.com/vulcand/oxy was looked at: its
// forwarder is that same proxy with X-Forwarded headers of its own kind, and its balancer
// knows neither smooth weights nor health, and sets its cookie before the target is
// known to take the request, so that no part of it would be left to use.
package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Scheduler says how a listener spreads new connections.
type Scheduler string

// The schedulers of layer-4 listeners (CLB API, CreateListener and ModifyListener).
const (
	WRR       Scheduler = "WRR"
	LeastConn Scheduler = "LEAST_CONN"
	IPHash    Scheduler = "IP_HASH"
)

// Listener is one listener as the data plane should serve it.
type Listener struct {
	// ID names the listener from one Set to the next.
	ID string
	// Network is "tcp" or "udp"; Addr is the virtual address and port. Neither may
	// change under one ID.
	Network string
	Addr    netip.AddrPort

	Scheduler Scheduler
	// Sticky keeps a client's address with its target until no new connection came for
	// that long; zero is off.
	Sticky time.Duration
	// Idle ends connections and UDP sessions without traffic; zero is never.
	Idle time.Duration
	// ResetOnUnbind ends the connections of an unbound target with RST instead of FIN.
	ResetOnUnbind bool
	// SNAT opens connections to targets from the virtual address instead of from the
	// client's.
	SNAT bool
	// MaxConn is how many connections or UDP sessions there may be at a time, MaxCPS how
	// many new ones a second; zero is no limit.
	MaxConn, MaxCPS int64
	// Reschedule says when established ones are moved.
	Reschedule Reschedule
	// TLS, if not nil, ends TLS here: targets get what is in it. Only on network "tcp".
	TLS *TLS

	Check   Check
	Targets []Target

	// HTTP makes it a listener of layer 7, on network "tcp"; nil is layer 4. Scheduler,
	// Sticky, Check and Targets are then the rules' and not used here.
	HTTP *HTTP
}

// TLS is what a layer-4 listener shows its clients, and whom it asks for certificates.
type TLS struct {
	Certificate *tls.Certificate
	// ClientCAs have signed clients' certificates; nil wants none.
	ClientCAs *x509.CertPool
}

// Reschedule says what has connections and UDP sessions leave their targets: clients
// then come again, to targets chosen anew (CLB API, Listener.RescheduleInterval: "long
// connections are broken off within the time set and spread anew"). It is comparable.
type Reschedule struct {
	// ZeroWeight: those of a target whose weight becomes 0. Unhealthy: those of one that
	// becomes Dead. Expand: all, when a target is bound or unbound.
	ZeroWeight, Unhealthy, Expand bool
	// After is from the cause to the first that is moved, Over from the first to the last.
	After, Over time.Duration
}

// Target is one binding.
type Target struct {
	Addr netip.AddrPort
	// Weight is the share of new connections, 0 to 100; at 0 there are none.
	Weight int
	// Verdict must not be nil, and must be a new one whenever the target is bound anew.
	Verdict *Verdict
	// Label is the caller's own word for the binding, which flows are told with.
	Label string
}

// Flow is what a client's connection or UDP session at layer 4 came to when it began.
type Flow struct {
	At time.Time
	// Listener and Client are the addresses and ports that it is between.
	Listener, Client netip.AddrPort
	// Target is the one chosen, with the binding's label, weight and state at that moment;
	// invalid if there was none.
	Target netip.AddrPort
	Label  string
	Weight int
	State  State
}

// Options choose between behaviours on which the sources disagree, and inject what
// tests want to hold. The zero value is the documented behaviour.
type Options struct {
	// RefuseDead refuses connections when every target of weight above 0 is Dead,
	// instead of forwarding to all of them.
	RefuseDead bool
	// KeepUnbound lets the established connections of an unbound target go on.
	KeepUnbound bool
	// SkipWeightZero leaves targets of weight 0 unchecked (state Unknown), against the
	// documentation, which has them checked whatever their weight.
	SkipWeightZero bool
	// ClientSource has layer-7 rules connect to targets from the client's address where
	// KeepAlive is off, as "Obtaining Real Client IPs" has it. Otherwise, and with
	// KeepAlive, they see the virtual address.
	ClientSource bool
	// PassiveBlock is how long forwarding that failed keeps a target of layer 7 out; ten
	// seconds if zero (CLB, "Health Check Overview").
	PassiveBlock time.Duration
	// TargetTimeout ends exchanges with a layer-7 target that says nothing for so long;
	// a minute if zero (CLB, "Layer-7 Custom Configuration", proxy_read_timeout).
	TargetTimeout time.Duration
	// OnFlow is told of every flow at layer 4 before anything is carried; nil is nobody. It
	// must not block.
	OnFlow func(Flow)
	// Seed makes the phases of health checks repeatable.
	Seed uint64
	// Log gets what can't be told to anyone else; nil discards it. A target that is
	// down is not logged: that is what verdicts are for.
	Log *slog.Logger
}

// Plane is a running data plane. It is safe for concurrent use.
type Plane struct {
	opts Options

	mu         sync.Mutex
	rand       *rand.Rand
	forwarders map[string]server
	closed     bool

	running sync.WaitGroup
	// frozen: checks change no verdict.
	frozen atomic.Bool
}

// FreezeVerdicts keeps every verdict as it is while on. What checks find meanwhile is not
// made up for: streaks begin anew.
func (p *Plane) FreezeVerdicts(on bool) { p.frozen.Store(on) }

// New makes a data plane that serves nothing yet.
func New(opts Options) *Plane {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.PassiveBlock <= 0 {
		opts.PassiveBlock = 10 * time.Second
	}
	if opts.TargetTimeout <= 0 {
		opts.TargetTimeout = time.Minute
	}
	return &Plane{
		opts:       opts,
		rand:       rand.New(rand.NewPCG(opts.Seed, opts.Seed)),
		forwarders: map[string]server{},
	}
}

// Set makes the listener l.ID be as l says: opened if it is new, its bindings and
// settings changed if it isn't. It fails if the address can't be listened on; the next
// Set tries again.
func (p *Plane) Set(l Listener) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return fmt.Errorf("setting listener %s: data plane is closed", l.ID)
	}
	f, found := p.forwarders[l.ID]
	if !found {
		var err error
		if f, err = p.open(l); err != nil {
			p.mu.Unlock()
			return fmt.Errorf("opening listener %s: %w", l.ID, err)
		}
		p.forwarders[l.ID] = f
	}
	p.mu.Unlock()

	f.update(l)
	return nil
}

// server is a listener at work.
type server interface {
	// open listens on l's address; nothing is forwarded before the first update.
	open(l Listener) error
	// update takes over what l says.
	update(l Listener)
	// close ends the listener and all that it carries.
	close()
}

func (p *Plane) open(l Listener) (server, error) {
	var s server = &forwarder{plane: p}
	if l.HTTP != nil {
		s = newFront(p)
	}
	return s, s.open(l)
}

// Remove closes the listener and everything it carries; an unknown id is no error.
func (p *Plane) Remove(id string) {
	p.mu.Lock()
	f := p.forwarders[id]
	delete(p.forwarders, id)
	p.mu.Unlock()
	if f != nil {
		f.close()
	}
}

// Close ends everything and waits until it has ended.
func (p *Plane) Close() {
	p.mu.Lock()
	p.closed = true
	forwarders := p.forwarders
	p.forwarders = map[string]server{}
	p.mu.Unlock()
	for _, f := range forwarders {
		f.close()
	}
	p.running.Wait()
}

// phase is a random part of interval, so that the checks of many targets bound in one
// call don't come in one burst.
func (p *Plane) phase(interval time.Duration) time.Duration {
	if interval <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.rand.Int64N(int64(interval)))
}
