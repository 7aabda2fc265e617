// Command forwarder measures the forwarder beside a baseline with the semantics of
// Knative's ApiServerSource adapter (baseline/), the two in turn against one real API
// server and one sink: how fast they drain a backlog, what that costs, what they add to a
// change's way, and above all what each loses when something is away. It also measures
// the forwarder's memory, start and takeover at 10,000 and 50,000 pods.
//
// A change counts as known when the sink has answered an event that names the pod in that
// version or a newer one, or that asks for a look at everything behind the pod's CLB as of
// such a version. Added latency is the time from when a bare watch saw a change to when
// the sink got it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// options of a run.
type options struct {
	root, out, log string
	only           string
	rounds, pods   int
	outage, soak   time.Duration
}

// bench is a control plane with pods that run nowhere, a sink, and what is known of both.
type bench struct {
	o        options
	cluster  *cluster.Cluster
	client   kubernetes.Interface
	sink     *sink
	dir      string
	log      io.Writer
	logPath  string
	progress *setting.Progress
	running  []*program

	mu   sync.Mutex
	keys []*key
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/bench-forwarder.json", "the JSON to write")
	flag.StringVar(&o.log, "log", "", "file for what the forwarders print")
	flag.StringVar(&o.only, "only", "", "scenarios, by commas; all unless set: "+strings.Join(names(), ","))
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of what is measured by the median")
	flag.IntVar(&o.pods, "pods", 10000, "pods, and changes in a backlog")
	flag.DurationVar(&o.outage, "outage", 40*time.Second, "how long the sink is away")
	flag.DurationVar(&o.soak, "soak", 0, "instead of all that: how long to run under load with faults")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// scenario is measured with both, in turn.
type scenario struct {
	name   string
	rounds bool
	run    func(*bench, context.Context, kind) (figures, error)
}

var scenarios = []scenario{
	{"start_1000", false, func(b *bench, ctx context.Context, k kind) (figures, error) {
		return b.begin(ctx, k, b.keys[:min(1000, len(b.keys))])
	}},
	{"idle", true, (*bench).idle},
	{"loaded", true, (*bench).loaded},
	{"slow_sink", true, (*bench).slowSink},
	{"drain", true, (*bench).drain},
	{"drain_100", true, (*bench).drain100},
	{"sink_away", false, (*bench).sinkAway},
	{"sink_refused", false, (*bench).refused},
	{"http_500", false, (*bench).http500},
	{"crash", false, (*bench).crash},
	{"apiserver_killed", false, (*bench).apiServer},
}

// grown are the scenarios of ours alone.
var grown = []string{"takeover", "start_10000", "rss_10000", "rss_50000"}

func names() []string {
	var out []string
	for _, s := range scenarios {
		out = append(out, s.name)
	}
	return append(out, grown...)
}

func (o options) wants(name string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), name)
}

func run(ctx context.Context, o options) (err error) {
	for _, name := range strings.Split(o.only, ",") {
		if name != "" && !slices.Contains(names(), name) {
			return fmt.Errorf("reading -only: %q is none of %s", name, strings.Join(names(), ", "))
		}
	}
	if o.pods < services || o.rounds < 1 {
		return fmt.Errorf("reading -pods and -rounds: at least %d and 1", services)
	}
	b := &bench{o: o, progress: &setting.Progress{Began: time.Now()}, log: io.Discard}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.open(ctx); err != nil {
		return err
	}
	if o.soak > 0 {
		return b.soak(ctx)
	}
	r := newReport()
	r.Rounds = o.rounds
	failed := b.measure(ctx, r)
	r.Seconds = time.Since(b.progress.Began).Seconds()
	r.conclude()
	if err := record.Save(o.out, r); err != nil {
		return err
	}
	r.table(os.Stdout)
	fmt.Printf("\n%s, after %.0f s\n", o.out, r.Seconds)
	if failed == nil && len(r.Failures) > 0 {
		failed = errors.New("not every demand is met")
	}
	return failed
}

// open starts everything that a scenario needs.
func (b *bench) open(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "clb-direct-bench-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if b.o.log != "" {
		f, err := os.Create(b.o.log)
		if err != nil {
			return fmt.Errorf("creating the log: %w", err)
		}
		b.log, b.logPath = f, b.o.log
	}
	if err := build(ctx, b.o.root, b.dir); err != nil {
		return err
	}
	if b.sink, err = openSink(); err != nil {
		return err
	}
	if b.cluster, err = cluster.Start(ctx, cluster.Options{Root: b.o.root, Progress: b.progress}); err != nil {
		return err
	}
	config := b.cluster.RESTConfig()
	config.ContentType = "application/vnd.kubernetes.protobuf"
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for n := range namespaces {
		if _, err := b.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(n)}}, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making a namespace: %w", err)
		}
	}
	if _, err := b.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clb-direct-system"}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making a namespace: %w", err)
	}
	for s := range services {
		if _, err := b.client.CoreV1().Services(namespaceOf(s)).Create(ctx, service(s), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making a Service: %w", err)
		}
	}
	// These only get in the way: pods that run nowhere are collected, and every change of
	// one is looked at.
	return errors.Join(b.cluster.Kill(cluster.ControllerManager), b.cluster.Kill(cluster.Scheduler))
}

func (b *bench) close() error {
	for _, p := range b.running {
		p.stop()
	}
	if b.sink != nil && b.sink.server != nil {
		b.sink.close()
	}
	var err error
	if b.cluster != nil {
		err = b.cluster.Stop()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// measure runs the scenarios wanted. What was measured up to a failure stays.
func (b *bench) measure(ctx context.Context, r *report) error {
	for _, s := range scenarios {
		if !b.o.wants(s.name) {
			continue
		}
		pods := b.o.pods
		if s.name == "start_1000" {
			pods = 1000
		}
		if err := b.populate(ctx, max(pods, len(b.keys)), small); err != nil {
			return err
		}
		if err := b.turns(ctx, r, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return b.grow(ctx, r)
}

// turns runs a scenario with both in turn, as often as it is to be.
func (b *bench) turns(ctx context.Context, r *report, s scenario) error {
	n := 1
	if s.rounds {
		n = b.o.rounds
	}
	all := map[kind][]figures{}
	for i := range n {
		for _, k := range []kind{ours, baseline} {
			b.sink.forget()
			f, err := s.run(b, ctx, k)
			if err != nil {
				return err
			}
			b.progress.Say("%s %d/%d %s: %v", s.name, i+1, n, k, f)
			all[k] = append(all[k], f)
		}
	}
	for k, rounds := range all {
		r.of(k)[s.name] = spread(rounds)
	}
	return nil
}

// grow measures ours alone, with ever more pods.
func (b *bench) grow(ctx context.Context, r *report) error {
	if b.o.wants("takeover") {
		if err := b.populate(ctx, max(b.o.pods, len(b.keys)), small); err != nil {
			return err
		}
		for name, s := range map[string]syscall.Signal{"takeover": syscall.SIGKILL, "handover": syscall.SIGTERM} {
			var rounds []figures
			for range b.o.rounds {
				f, err := b.takeover(ctx, s)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				b.progress.Say("%s: %v", name, f)
				rounds = append(rounds, f)
			}
			r.Ours[name] = spread(rounds)
		}
		r.Takeover, _ = value(r.Ours, "takeover", "seconds")
		r.Handover, _ = value(r.Ours, "handover", "seconds")
	}
	if b.o.wants("start_10000") {
		if err := b.populate(ctx, 10000, real); err != nil {
			return err
		}
		if err := b.turns(ctx, r, scenario{"start_10000", false, func(b *bench, ctx context.Context, k kind) (figures, error) { return b.begin(ctx, k, b.keys[:10000]) }}); err != nil {
			return fmt.Errorf("start_10000: %w", err)
		}
		r.Start10000, _ = value(r.Ours, "start_10000", "seconds")
	}
	for _, pods := range []int{10000, 50000} {
		name := strconv.Itoa(pods)
		if !b.o.wants("rss_" + name) {
			continue
		}
		if err := b.populate(ctx, pods, real); err != nil {
			return err
		}
		now, peak, err := b.resident(ctx, b.keys[:pods])
		if err != nil {
			return fmt.Errorf("rss_%s: %w", name, err)
		}
		b.progress.Say("%d pods: %.1f MiB, at most %.1f", pods, now, peak)
		r.RSS[name], r.RSSSteady[name] = peak, now
	}
	return nil
}
