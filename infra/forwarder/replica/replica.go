// Package replica is one running copy of the forwarder: it watches, serves the
// webhook, health and metrics, and, while it leads, sends.
package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/infra/forwarder/drain"
	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/lean"
	"github.com/clb-direct/clb-direct/infra/forwarder/outage"
	"github.com/clb-direct/clb-direct/infra/forwarder/queue"
	"github.com/clb-direct/clb-direct/infra/forwarder/relay"
	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/infra/forwarder/watch"
	"github.com/clb-direct/clb-direct/infra/forwarder/webhook"
	"github.com/clb-direct/clb-direct/shared/admission"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
)

// Options of a Replica.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	Policy desired.Policy
	// Namespace is the forwarder's own, Identity the replica's name (its pod's).
	Namespace, Identity string
	Transport           transport.Transport
	// SendTimeout bounds a send, Parallel how many are under way.
	SendTimeout time.Duration
	Parallel    int
	Election    Election
	Webhook     Webhook
	// Listen is the address for health and metrics.
	Listen string
	// Pprof is the address for profiles, "" for none.
	Pprof string
	// Linger is how long a replica that was told to stop still serves the webhook,
	// until nobody is sent to it any more.
	Linger time.Duration
	Drain  Drain
	// Discover is how often the API server is asked for what it may have or not,
	// TkeServiceConfigs and Ingresses, Mend how often certificate and webhook
	// configuration are read again; default 30 s both.
	Discover, Mend time.Duration
	Log            *slog.Logger
}

// Webhook says how pods get their gate.
type Webhook struct {
	// Listen is the address it is served at; "" for no webhook.
	Listen string
	// URL, if set, is registered instead of Service.
	URL string
	// Service, Secret and Configuration are the names of its Service and Secret, both
	// in the forwarder's namespace, and of its MutatingWebhookConfiguration.
	Service, Secret, Configuration string
	// Owner is the ClusterRole that the configuration goes with, "" for none.
	Owner string
}

// Drain says how pods are drained before their containers are told to end. It is served
// beside the webhook.
type Drain struct {
	// Service is the name of the Service, in the forwarder's namespace, whose ClusterIP
	// drain hooks lead to, at port 443; "" for no hooks.
	Service string
	// Address, if set, is where they lead instead: host and port.
	Address string
	// Propagation is how long a CLB's data plane may take to follow its API.
	Propagation time.Duration
}

// Replica runs once. Make one with New.
type Replica struct {
	o       Options
	client  kubernetes.Interface
	watch   *watch.Watch
	relay   *relay.Relay
	opener  *outage.Opener
	upkeep  *webhook.Upkeep
	gate    *drain.Gate
	door    *drain.Door
	metrics *metrics
	// note shows refusals on their objects, until its context ends.
	note     func(context.Context)
	refusals chan refusal

	leading  atomic.Bool
	stopping atomic.Bool
	plain    net.Listener
	profiles net.Listener
	secure   net.Listener
	handler  http.Handler
}

// New makes a replica and opens its ports; it answers from Run on.
func New(o Options) (*Replica, error) {
	pulse := &watch.Pulse{Now: time.Now}
	config := rest.CopyConfig(o.Config)
	config.Wrap(pulse.Wrap)
	config.QPS, config.Burst = 100, 200
	config.UserAgent = "clb-direct-forwarder"
	meta, err := metadata.NewForConfig(metadata.ConfigFor(config))
	if err != nil {
		return nil, fmt.Errorf("making the metadata client: %w", err)
	}
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	pods, err := lean.NewClient(config)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	r := &Replica{o: o, client: client, metrics: newMetrics(), refusals: make(chan refusal, 100)}
	x := index.New(o.Policy)
	r.relay = relay.New(relay.Options{
		Index: x, Transport: o.Transport, Timeout: o.SendTimeout, Log: o.Log, Meter: r.metrics, Refused: r.refused,
		Queue: queue.Options{Parallel: o.Parallel, Now: time.Now, Random: rand.Float64},
	})
	r.metrics.registry.MustRegister(state{index: x, relay: r.relay, pulse: pulse, now: time.Now})
	edge, err := kube.New(config)
	if err != nil {
		return nil, err
	}
	r.opener = &outage.Opener{Index: x, Silent: r.relay.Silent, Writer: edge, Opened: r.metrics.opened.Inc, Now: time.Now, Log: o.Log}
	r.note = func(ctx context.Context) { r.tell(ctx, x, edge) }
	if err := r.prepareWebhook(x, edge); err != nil {
		return nil, err
	}
	wo := watch.Options{Client: client, Pods: pods, Metadata: meta, Index: x, Offer: r.relay.Offer, Discover: o.Discover, Log: o.Log}
	if r.upkeep != nil {
		wo.Fronts = r.upkeep.Changed
	}
	if r.watch, err = watch.New(wo); err != nil {
		return nil, err
	}
	return r, r.open()
}

// prepareWebhook makes handler, certificate and registration, unless there is to be
// no webhook.
func (r *Replica) prepareWebhook(x *index.Index, edge *kube.Client) error {
	w := r.o.Webhook
	if w.Listen == "" {
		return nil
	}
	hosts := []string{
		fmt.Sprintf("%s.%s.svc", w.Service, r.o.Namespace),
		fmt.Sprintf("%s.%s.svc.cluster.local", w.Service, r.o.Namespace),
	}
	if w.URL != "" {
		u, err := url.Parse(w.URL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" {
			return fmt.Errorf("reading the webhook's URL: %q is not an https address", w.URL)
		}
		hosts = append(hosts, u.Hostname())
	}
	var err error
	if r.door, err = drain.NewDoor(r.client, r.o.Namespace, r.o.Drain.Service, r.o.Drain.Address); err != nil {
		return err
	}
	keeper := &webhook.Keeper{Client: r.client, Namespace: r.o.Namespace, Name: w.Secret, Hosts: hosts, Now: time.Now}
	registration := &webhook.Registration{
		Client: r.client, Name: w.Configuration, URL: w.URL, Owner: w.Owner,
		Service: admissionregistrationv1.ServiceReference{
			Namespace: r.o.Namespace, Name: w.Service, Path: new(webhook.Path), Port: new(int32(443)),
		},
		Namespaces: x.Namespaces, Leading: r.leading.Load, Now: time.Now,
	}
	r.upkeep = webhook.NewUpkeep(keeper, registration, r.o.Log)
	if r.o.Mend > 0 {
		r.upkeep.Every = r.o.Mend
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+webhook.Path, &webhook.Handler{
		Claims: x.Claims, Fresh: webhook.NewFresh(edge, r.o.Policy).Services, Drain: r.door.Hook, Count: r.metrics.decided, Log: r.o.Log,
	})
	r.gate = drain.New(drain.Options{Index: x, Send: r.relay.Drain, Propagation: r.o.Drain.Propagation, Count: r.metrics.held, Log: r.o.Log})
	mux.Handle(drain.Pattern, r.gate)
	// For whoever wants to know whether a node reaches this address.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	r.handler = mux
	return nil
}

func (r *Replica) open() (err error) {
	if r.plain, err = net.Listen("tcp", r.o.Listen); err != nil {
		return fmt.Errorf("listening for health and metrics: %w", err)
	}
	if r.o.Pprof != "" {
		if r.profiles, err = net.Listen("tcp", r.o.Pprof); err != nil {
			r.plain.Close()
			return fmt.Errorf("listening for profiles: %w", err)
		}
	}
	if r.upkeep == nil {
		return nil
	}
	if r.secure, err = net.Listen("tcp", r.o.Webhook.Listen); err != nil {
		r.plain.Close()
		return fmt.Errorf("listening for the webhook: %w", err)
	}
	return nil
}

// Address is where health and metrics are served, WebhookAddress where the webhook
// is, "" if it isn't.
func (r *Replica) Address() string { return r.plain.Addr().String() }

// WebhookAddress is where the webhook is served, "" if it isn't.
func (r *Replica) WebhookAddress() string {
	if r.secure == nil {
		return ""
	}
	return r.secure.Addr().String()
}

// Leading tells whether this replica sends.
func (r *Replica) Leading() bool { return r.leading.Load() }

// Run works until ctx ends. It then gives up the lead at once, serves the webhook
// for Linger, and stops.
func (r *Replica) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	failed := make(chan error, 3)
	closers := r.serve(failed, &running)
	running.Go(func() { r.watch.Run(background) })
	running.Go(func() { r.note(background) })
	if r.upkeep != nil {
		running.Go(func() { r.upkeep.Run(background) })
		running.Go(func() { r.door.Run(background, r.upkeep.Every, r.o.Log) })
		running.Go(func() { r.relay.RunDrains(background) })
	}
	leading, resign := context.WithCancel(ctx)
	led := make(chan struct{})
	go func() {
		defer close(led)
		if r.watch.Wait(leading) == nil {
			r.lead(leading)
		}
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	r.stopping.Store(true)
	resign()
	<-led
	if err == nil {
		linger(background, r.o.Linger)
		r.letGo(background)
	}
	for _, c := range closers {
		c()
	}
	return err
}

// quiet is how long nobody may have asked for a drain before the address goes: a node that
// still sends hooks here would have a connection closed on it that nobody had taken, and
// its container ended without a drain.
const quiet = time.Second

// letGo waits until nothing is held any more and what asks is answered elsewhere.
func (r *Replica) letGo(ctx context.Context) {
	for began := time.Now(); r.gate != nil && r.gate.Quiet() < quiet && time.Since(began) < (admission.MaxHold+1)*time.Second; {
		linger(ctx, 50*time.Millisecond)
	}
}

func linger(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// serve starts the servers and gives what ends them.
func (r *Replica) serve(failed chan<- error, running *sync.WaitGroup) (closers []func()) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", r.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.metrics.registry, promhttp.HandlerOpts{}))
	start := func(l net.Listener, h http.Handler) {
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ConnContext: drain.Connection, ErrorLog: slog.NewLogLogger(r.o.Log.Handler(), slog.LevelDebug)}
		running.Go(func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", l.Addr(), err)
			}
		})
		closers = append(closers, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if s.Shutdown(ctx) != nil {
				s.Close()
			}
		})
	}
	start(r.plain, mux)
	if r.profiles != nil {
		start(r.profiles, profiling())
	}
	if r.secure != nil {
		start(tls.NewListener(r.secure, r.upkeep.Keeper.TLS()), r.handler)
	}
	return closers
}

// profiling serves what net/http/pprof would, had it been asked and not just imported.
func profiling() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// readyz tells whether the replica can answer the webhook well. Leading is no part
// of it: a replica that waits is ready.
func (r *Replica) readyz(w http.ResponseWriter, _ *http.Request) {
	switch {
	case r.stopping.Load():
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	case !r.watch.Synced():
		http.Error(w, "the caches have not synced", http.StatusServiceUnavailable)
	case r.upkeep != nil && !r.upkeep.Keeper.Ready():
		http.Error(w, "the webhook has no certificate", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n"))
	}
}
