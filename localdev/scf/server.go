// Package scf runs packaged functions on this machine as Tencent Cloud's Serverless
// Cloud Function (SCF) runs them, so that the zip that would be uploaded is what is
// tried, and not an approximation of it.
//
// It takes that zip and a serverless.yml of component multi-scf. Every instance of a
// function is a process of its own with a clean environment, spoken to by net/rpc as
// the Go1 runtime does; it handles one event at a time, is stopped (SIGSTOP) between
// events and ends when its time or memory limit is passed. More events at a time mean
// more instances. Role credentials are made anew for every event and put into a
// credential store, which other emulators may share, under a principal that names the
// request: their call logs can be traced back to one attempt.
//
// Functions are reached as on the platform: by the actions Invoke, synchronous or not,
// and InvokeFunction of API v3, signed, by function URL and by timer. What else has
// triggers there, CKafka, EventBridge and the console, is not here, but what it would
// hand over is: by Go methods, in the way of its trigger. Not emulated are other
// triggers, dead letter queues, versions and the isolation of the file system: an
// instance sees this machine's files and shares its network. It needs Linux.
package scf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Defaults of Options, and of the component for the region.
const (
	DefaultColdStart          = 300 * time.Millisecond
	DefaultIdleTimeout        = 5 * time.Minute
	DefaultCredentialLifetime = time.Hour
	DefaultRegion             = manifest.DefaultRegion
)

const (
	// regionQuotaMB is the memory that all instances of a region may have together.
	regionQuotaMB = 128_000
	maxEvent      = 6 << 20
	appID         = "1250000000"
	uin           = cam.UIN
	version       = "$LATEST"
)

// Options configure Start. Package and Manifest are required.
type Options struct {
	// Package is the path of the zip that would be uploaded.
	Package string
	// Manifest is the path of the serverless.yml.
	Manifest string
	// Env resolves ${env:NAME} in the manifest.
	Env map[string]string
	// Stage replaces the manifest's stage unless empty.
	Stage string
	// Region is what functions are told and API callers must name; default the
	// manifest's.
	Region string
	// Store takes the role credentials and has those of API callers; a new one when nil.
	Store *tc3.Store
	// RolePolicies are what the execution role of the functions was granted, put into
	// their credentials for the emulators that share Store. Nil lets it do everything.
	RolePolicies []cam.Policy
	// OwnInvoke has Invoke need a permission of its own, scf:Invoke; the documents know
	// scf:InvokeFunction only, for synchronous and asynchronous invocations ("Permission
	// management").
	OwnInvoke bool
	// CoarseInvoke makes invoking an operation-level action of CAM, as a table of its
	// international documents has it; those of SCF list it as resource-level.
	CoarseInvoke bool
	// CredentialLifetime is how long the role credentials of one event are good;
	// default DefaultCredentialLifetime. On the platform it is one to several hours.
	CredentialLifetime time.Duration
	// Listen is the address of the API; default a free port of 127.0.0.1. Function
	// URLs get free ports of the same host.
	Listen string
	// ColdStart is the least time from the event that needs a new instance until that
	// is ready; its own start is part of it. Default DefaultColdStart, negative none.
	ColdStart time.Duration
	// Concurrency caps the instances of every function, as a reserved quota does; zero
	// means what the region's 128,000 MB give.
	Concurrency int
	// IdleTimeout ends an instance that had no event for so long; default
	// DefaultIdleTimeout.
	IdleTimeout time.Duration
	// Timers lets the manifest's enabled timers fire; without it, they do when told
	// to (FireTimer).
	Timers bool
	// Kafka are the brokers of CKafka instances, host:port each, by the instances' ids:
	// triggers on their topics read them. Messages of other instances come by FireCKafka.
	Kafka map[string][]string
	// Clock is what timers and the waits between retries go by; default the real one.
	// Functions run in real time whatever it says.
	Clock clock.Clock
	// Stderr gets what instances write, a line at a time after "key[pid] "; default
	// nowhere.
	Stderr io.Writer
	// OnInvoke, when set, is called before an event is handed to its instance, which
	// waits for it to return. ctx ends with the server. Calls may be concurrent.
	OnInvoke func(ctx context.Context, invocation Invocation)
}

func (o Options) withDefaults() Options {
	if o.Store == nil {
		o.Store = &tc3.Store{}
	}
	if o.CredentialLifetime == 0 {
		o.CredentialLifetime = DefaultCredentialLifetime
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.ColdStart == 0 {
		o.ColdStart = DefaultColdStart
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

// Server is a running emulator.
type Server struct {
	opts      Options
	code      string // the unpacked package
	scratch   string // a folder per instance, in place of its /tmp
	functions map[string]*function
	urls      map[string]string
	endpoint  string
	spawner   *spawner
	output    *lineWriter
	history   history
	queue     queue
	consumers consumers
	servers   []*http.Server
	serving   sync.WaitGroup

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	unhook func() bool

	mu       sync.Mutex
	meters   map[string]*rate.Limiter
	hooks    map[int]Interceptor
	nextHook int
	closed   bool
	inflight sync.WaitGroup // added to only under mu and before closed
	live     map[*instance]struct{}

	closeOnce sync.Once
	closeErr  error
}

// Start unpacks the package, reads the manifest and serves its functions until Close,
// or until ctx ends. No process is started before the first event. What package manifest
// finds wrong with the manifest, warnings aside, is an error.
func Start(ctx context.Context, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	deployed, err := manifest.Read(opts.Manifest, manifest.Deployment{Env: opts.Env, Stage: opts.Stage})
	if err != nil {
		return nil, err
	}
	opts.Region = orElse(opts.Region, deployed.Region)
	host, _, err := net.SplitHostPort(opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("reading the listen address: %w", err)
	}
	dir, err := os.MkdirTemp("", "scf-")
	if err != nil {
		return nil, err
	}

	s := &Server{
		opts:      opts,
		code:      filepath.Join(dir, "user"),
		scratch:   filepath.Join(dir, "tmp"),
		functions: map[string]*function{},
		urls:      map[string]string{},
		meters:    map[string]*rate.Limiter{},
		hooks:     map[int]Interceptor{},
		spawner:   newSpawner(),
		output:    &lineWriter{w: opts.Stderr},
		live:      map[*instance]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := s.start(deployed, host); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.unhook = context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

func (s *Server) start(deployed *manifest.Manifest, host string) error {
	for _, dir := range []string{s.code, s.scratch} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unpack(s.opts.Package, s.code); err != nil {
		return fmt.Errorf("unpacking %s: %w", s.opts.Package, err)
	}
	for _, f := range deployed.Functions {
		if err := checkHandler(s.code, f.Handler); err != nil {
			return fmt.Errorf("function %s: %w", f.Key, err)
		}
		s.functions[f.Key] = &function{Function: f, server: s}
	}

	endpoint, err := s.serve(s.opts.Listen, http.HandlerFunc(s.serveAPI))
	if err != nil {
		return err
	}
	s.endpoint = endpoint
	for _, f := range s.functions {
		if !f.URL {
			continue
		}
		addr, err := s.serve(net.JoinHostPort(host, "0"), urlHandler{s, f})
		if err != nil {
			return err
		}
		s.urls[f.Key] = "http://" + addr + "/"
	}
	if s.opts.Timers {
		if err := s.startTimers(); err != nil {
			return err
		}
	}
	return s.startKafka()
}

func (s *Server) serve(addr string, handler http.Handler) (string, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler: handler,
		// Clients that go away are none of the operator's business.
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.servers = append(s.servers, server)
	s.serving.Go(func() { _ = server.Serve(listener) })
	return listener.Addr().String(), nil
}

// Endpoint is host:port of the API, for HttpProfile.Endpoint with scheme HTTP.
func (s *Server) Endpoint() string { return s.endpoint }

// URL is the function's URL by its key in the manifest, empty if it has none.
func (s *Server) URL(key string) string { return s.urls[key] }

// Function is the name on the platform of the function with that key in the manifest,
// empty if there is none.
func (s *Server) Function(key string) string {
	if f, ok := s.functions[key]; ok {
		return f.Name
	}
	return ""
}

// Invocations lists what was invoked, oldest first, those running included; the first
// half is forgotten at 100,000.
func (s *Server) Invocations() []Invocation { return s.history.list() }

// PeakMemory is the most resident memory any instance of the function with that key
// has had, in bytes (VmHWM); zero before its first event.
func (s *Server) PeakMemory(key string) int64 {
	if f, ok := s.functions[key]; ok {
		return f.peak.Load()
	}
	return 0
}

// Kill sends SIGKILL to the processes that run target now, which is a request id, or a
// function's key or name, and returns the request ids whose attempt it ended: each
// ends with StatusProcessExit, whether or not its answer was on the way.
func (s *Server) Kill(target string) []string { return s.history.kill(target) }

// Close ends all instances and events, removes the unpacked package and waits for
// everything it started. Calling it again does nothing.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	if s.unhook != nil {
		s.unhook()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()

	// Events first: they end what they run themselves when ctx does. Then nothing
	// starts an instance any more, and the idle ones can go.
	s.inflight.Wait()
	for _, f := range s.functions {
		f.drain()
	}
	for _, in := range s.instances() {
		in.end()
	}
	s.spawner.stop()

	// Answers of the events just ended are still being written.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
	s.serving.Wait()
	return os.RemoveAll(filepath.Dir(s.code))
}

// enter counts an event in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.inflight.Add(1)
	return true
}

func (s *Server) instances() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*instance, 0, len(s.live))
	for in := range s.live {
		all = append(all, in)
	}
	return all
}
