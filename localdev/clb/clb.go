// Package clb emulates Tencent Cloud Load Balancer: the API v3 of service "clb",
// version 2018-03-17, on loopback, with a data plane that really listens, checks the
// health of targets and forwards TCP, UDP, TCP_SSL, HTTP and HTTPS to them.
//
// It is a server for the vendor's SDK, held to the documentation: signatures, required
// fields, ranges, limits per call, quotas, error codes, asynchronous tasks, one write
// at a time per load balancer, twenty requests a second. Where sources disagree, or say
// nothing, an option chooses; each is documented where it is declared. What needs
// QUIC, IPv6, regular expressions or target groups is refused with
// UnsupportedOperation.
//
// This package is the wire. Package backend is the state, package dataplane carries the
// packets.
package clb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Latencies are how long things take; see DefaultLatencies.
type Latencies = backend.Latencies

// Range is what a latency is drawn from, evenly.
type Range = backend.Range

// Flow is what a client's connection or UDP session came to; its Label is the target's tag.
type Flow = dataplane.Flow

// Quotas are the limits of the account; see DefaultQuotas.
type Quotas = backend.Quotas

// DefaultLatencies are within what users of the real service report: API 80 ms, tasks
// 0.5 to 1.5 s, busy after a write 0.3 s, propagation 0.2 to 1 s, CreateLoadBalancer 5 s.
func DefaultLatencies() Latencies { return backend.DefaultLatencies() }

// DefaultQuotas are those of a sample account.
func DefaultQuotas() Quotas { return backend.DefaultQuotas() }

// Options set up a Server. The zero value, with a Store, is the documented service.
type Options struct {
	// Listen is the API's address; empty is a free port of 127.0.0.1.
	Listen string
	// Store has the credentials that are accepted. Required.
	Store *tc3.Store
	// Regions are the accepted values of X-TC-Region; none is any.
	Regions []string

	// Latencies nil is DefaultLatencies, Quotas nil is DefaultQuotas.
	Latencies *Latencies
	Quotas    *Quotas
	// RequestRate is how many requests a second each action takes from a sub-account;
	// zero is the documented 20, negative is no limit.
	RequestRate int
	// SubAccount says whose requests are counted together, by the credential's
	// principal. Nil counts all principals together, as functions sharing a role are.
	SubAccount func(principal string) string

	// Second is how long a second of a listener's settings lasts (health check, session
	// persistence, idle timeout), and of the passive check at layer 7: tests can't wait
	// for real ones. Zero is a second.
	Second time.Duration
	// PublicVIPs and InternalVIPs are what virtual addresses come from, by default
	// 127.200.0.0/16 and 127.201.0.0/16.
	PublicVIPs, InternalVIPs netip.Prefix
	// Location is the time zone of the API's times without one; nil is UTC+8.
	Location *time.Location

	// Interfaces are the addresses that network interfaces attached to nodes have: a batch
	// with another fails for its listener, a single call fails ("an elastic network
	// interface must be bound to a CVM first", CLB API, Target.EniIp). None allows all.
	Interfaces []netip.Prefix

	// AsyncBatch makes BatchRegisterTargets and BatchDeregisterTargets start tasks, as
	// the other writes do. Vendor code treats them as synchronous.
	AsyncBatch bool
	// UniqueBackends allows an address and port at one layer-4 listener of a load
	// balancer and protocol only; the documentation can be read either way.
	UniqueBackends bool
	// CoarseBatch makes BatchRegisterTargets and BatchDeregisterTargets operation-level
	// actions of CAM, as its international documents have them; those of China list them
	// as resource-level.
	CoarseBatch bool
	// NameDefault has DeleteRule refuse to delete the default domain of a listener that
	// has others unless NewDefaultServerDomain names one of them, as the console does;
	// otherwise the oldest of the others becomes the default, as documented for the API
	// (CLB, "Layer-7 Domain Name Forwarding and URL Rules").
	NameDefault bool
	// Rebind has registering a bound target change its weight and tag; otherwise it is
	// InvalidParameterValue.Duplicate.
	Rebind bool
	// RefuseDead refuses connections when all targets of weight above 0 are Dead,
	// instead of forwarding to all of them.
	RefuseDead bool
	// ClientSource has rules connect to targets from the client's address where the
	// listener's KeepaliveEnable is off; otherwise they see the virtual address, and the
	// client's in X-Forwarded-For.
	ClientSource bool
	// KeepUnbound lets the established connections of unbound targets go on.
	KeepUnbound bool
	// SkipWeightZero leaves targets of weight 0 unchecked; the documentation has them
	// checked.
	SkipWeightZero bool

	// OnFlow is told of every connection and UDP session at layer 4 as it begins, with the
	// target chosen and its tag; nil is nobody. It must not block.
	OnFlow func(Flow)

	// Now is the clock of everything dated or limited; nil is time.Now. Waiting is
	// always real.
	Now func() time.Time
	// Seed makes ids, latencies and health check phases repeatable; zero is random.
	Seed uint64
	// Log gets what can't be answered to a caller; nil discards it.
	Log *slog.Logger
}

// Server is a running emulator.
type Server struct {
	machines machines
	opts     Options
	backend  *backend.Backend
	http     *http.Server
	ln       net.Listener
	serving  sync.WaitGroup
	calls    callLog

	// ctx ends with the server. Requests wait under it and not under their own: what
	// has been sent is done, whether or not its sender lives to see it.
	ctx     context.Context
	cancel  context.CancelFunc
	closing sync.Once
	failed  error

	mu       sync.Mutex
	meters   map[meterKey]*rate.Limiter
	hooks    map[int]Interceptor
	hidden   map[netip.Addr]bool
	nextHook int
}

// Start listens and serves until ctx is done or Close is called.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Store == nil {
		return nil, fmt.Errorf("starting the CLB emulator: Options.Store is missing")
	}
	opts = opts.withDefaults()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("starting the CLB emulator: %w", err)
	}
	s := &Server{
		opts:   opts,
		ln:     ln,
		meters: map[meterKey]*rate.Limiter{},
		hooks:  map[int]Interceptor{},
		calls:  callLog{counts: map[string]int{}},
		backend: backend.New(ctx, backend.Options{
			Latencies: *opts.Latencies, Quotas: *opts.Quotas, Second: opts.Second,
			Public: opts.PublicVIPs, Internal: opts.InternalVIPs,
			Interfaces: opts.Interfaces, UniqueBackends: opts.UniqueBackends, NameDefault: opts.NameDefault, Rebind: opts.Rebind,
			Plane: dataplane.Options{
				RefuseDead: opts.RefuseDead, KeepUnbound: opts.KeepUnbound,
				SkipWeightZero: opts.SkipWeightZero, ClientSource: opts.ClientSource,
				PassiveBlock: passiveBlock * opts.Second, OnFlow: opts.OnFlow, Log: opts.Log,
			},
			Now: opts.Now, Seed: opts.Seed,
		}),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		// Clients that vanish are not this server's news.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.serving.Go(func() { _ = s.http.Serve(ln) })
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Latencies == nil {
		l := DefaultLatencies()
		o.Latencies = &l
	}
	if o.Quotas == nil {
		q := DefaultQuotas()
		o.Quotas = &q
	}
	if o.RequestRate == 0 {
		o.RequestRate = 20
	}
	if o.SubAccount == nil {
		o.SubAccount = func(string) string { return "" }
	}
	if !o.PublicVIPs.IsValid() {
		o.PublicVIPs = netip.MustParsePrefix("127.200.0.0/16")
	}
	if !o.InternalVIPs.IsValid() {
		o.InternalVIPs = netip.MustParsePrefix("127.201.0.0/16")
	}
	if o.Second == 0 {
		o.Second = time.Second
	}
	if o.Location == nil {
		o.Location = time.FixedZone("CST", 8*60*60)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Endpoint is the API's host and port, for the SDK's HttpProfile.Endpoint with Scheme
// "HTTP".
func (s *Server) Endpoint() string { return s.ln.Addr().String() }

// Latencies are those in force.
func (s *Server) Latencies() Latencies { return *s.opts.Latencies }

// Close ends requests, tasks, listeners and connections, and waits for them. Closing
// again does nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.cancel()
		// Requests end now that nothing makes them wait, unless an interceptor does.
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.failed = fmt.Errorf("closing the CLB emulator: %w", errors.Join(err, s.http.Close()))
		}
		s.serving.Wait()
		s.backend.Close()
	})
	return s.failed
}

// passiveBlock is for how many seconds forwarding that failed keeps a target of layer 7
// out (CLB, "Health Check Overview").
const passiveBlock = 10

// closeTimeout is how long Close waits for requests.
const closeTimeout = 5 * time.Second

// FailTargets sets which addresses can't be bound from now on, as if their network
// interface were attached to no node: RegisterTargets fails in its task,
// BatchRegisterTargets names the whole listener in FailListenerIdSet and goes on with
// the others. No addresses ends it.
func (s *Server) FailTargets(ips ...netip.Addr) { s.backend.FailTargets("", ips...) }

// FailTargetsAt is FailTargets for one rule, by its LocationId. No addresses ends it
// there.
func (s *Server) FailTargetsAt(location string, ips ...netip.Addr) {
	s.backend.FailTargets(location, ips...)
}
