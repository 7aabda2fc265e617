// Command kubelet shows on the real kubelet, with containerd, runc, CNI and real
// containers, what the other suites show on emulated nodes: rolling updates under load
// without a request lost, and that containers hear that they are to end only when no load
// balancer sends them anything new, in a liveness restart, an eviction and a graceful
// shutdown of the node too. Beside it, the same without the drain: there the kubelet sends
// SIGTERM at once.
//
// It needs root and Debian's packages (package localdev/kubelet) and leaves nothing behind.
// Anything that is not as said is a failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/kubelet"
	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// options of a run.
type options struct {
	root, out, log, state string
	rounds                int
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/e2e-kubelet.json", "the JSON to write")
	flag.StringVar(&o.log, "log", "", "file for what everything prints")
	flag.StringVar(&o.state, "state", "", "folder to keep with what everything wrote, the kubelet's log too; none by default")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each of the four Deployments is rolled")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "kubelet:", err)
		stop()
		os.Exit(1)
	}
}

// run plays, reports and judges. What was seen up to a failure is reported, too.
func run(ctx context.Context, o options) error {
	r := &report{Ends: map[string]*comparison{}}
	failed := play(ctx, o, r)
	if r.Requests == 0 {
		return failed // it never came to anything
	}
	r.table(os.Stdout)
	if err := record.Save(o.out, r); err != nil {
		return errors.Join(failed, err)
	}
	fmt.Printf("\n%s\n", o.out)
	return errors.Join(append([]error{failed}, r.wrong(4*o.rounds)...)...)
}

// theatre is where it plays.
type theatre struct {
	*stack.Stack
	client kubernetes.Interface
	watch  *watching
	report *report
	setting.Progress
}

// pods is a range so small that pods get the addresses of others that have just ended.
var pods = netip.MustParsePrefix("10.88.0.0/27")

// play starts everything, rolls, and ends containers in all the other ways.
func play(ctx context.Context, o options, r *report) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute) // the first build included
	defer cancel()
	log := io.Discard
	if o.log != "" {
		f, err := os.Create(o.log)
		if err != nil {
			return fmt.Errorf("creating the log: %w", err)
		}
		defer f.Close()
		log = f
	}
	t := &theatre{report: r, Progress: setting.Progress{Began: time.Now()}}
	t.Say("starting a control plane, a node with the real kubelet and an emulated one, a CLB, SCF with the functions, the forwarder")
	t.Stack, err = stack.Start(ctx, stack.Options{
		Root: o.root, StateDir: o.state, Nodes: 1, Progress: &t.Progress, Log: log,
		Kubelet: &kubelet.Options{Pods: pods, Wait: 10 * time.Minute},
	})
	if err != nil {
		return fmt.Errorf("starting the stack: %w", err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if t.client, err = kubernetes.NewForConfig(t.Cluster.RESTConfig()); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	r.Latencies = t.CLB.Latencies()
	began := time.Now()
	defer func() { r.Seconds = time.Since(began).Seconds() }()
	t.watch = newWatching(t)
	stop, err := t.watch.begin(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for _, act := range []struct {
		about string
		run   func(context.Context) error
	}{
		{"rolling updates", func(ctx context.Context) error { return t.roll(ctx, o.rounds) }},
		{"liveness restart, eviction, graceful shutdown of the node: with the drain and without", t.end},
	} {
		t.Say("── %s", act.about)
		if err := act.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", act.about, err)
		}
	}
	return nil
}
