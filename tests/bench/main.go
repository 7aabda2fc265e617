// Command bench measures what a pass costs as a cluster grows: the planner by
// itself, whole backends and readiness passes against the real API server and the
// CLB emulator with its latencies off, and the packaged functions' memory and cold
// start, at 100, 1,000 and 10,000 pods.
//
// It shows a table, writes every figure under its name as JSON, and fails when a
// demand is not met: growth from 1,000 to 10,000 pods, the price of one changed pod
// in a big cluster, memory. Only ratios and memory are demanded, never absolute
// times; a ratio is taken within a round, in which all sizes have their turn, and
// the median of the rounds counts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// options of a run.
type options struct {
	root, out string
	// rounds is how often passes are measured, heavyRounds how often the one that
	// patches every pod, which takes the API server most of a run; onePods is how many
	// single pods a round changes.
	rounds, heavyRounds, onePods int
	// log gets what the stack prints.
	log string
}

func main() {
	var o options
	worker := flag.Bool("worker", false, "run passes for the benchmark that started this process")
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/bench.json", "the JSON to write")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds in which every size has its turn")
	flag.IntVar(&o.heavyRounds, "heavy-rounds", 1, "rounds in which every gate is opened")
	flag.IntVar(&o.onePods, "one-pods", 7, "changed pods a round")
	flag.StringVar(&o.log, "log", "", "file for what the emulators and the control plane print")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *worker {
		err = work(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures everything, reports it, and fails if a demand is not met.
func run(ctx context.Context, o options) error {
	p := &setting.Progress{Began: time.Now()}
	r := newReport()
	p.Say("planner")
	if err := measurePlanner(r); err != nil {
		return err
	}
	if err := measurePasses(ctx, o, p, r); err != nil {
		return err
	}
	r.Seconds = time.Since(p.Began).Seconds()
	r.conclude()
	if err := record.Save(o.out, r); err != nil {
		return err
	}
	r.table(os.Stdout)
	fmt.Printf("\n%s, after %.0f s\n", o.out, r.Seconds)
	if !r.Met {
		return errors.New("not every demand is met")
	}
	return nil
}

// lag is how far the emulated CLB's clock is behind: targets look bound for longer
// than they are, so that no measurement waits for a verdict to settle. TC3 signatures
// allow for five minutes.
const lag = 4 * time.Minute

// measurePasses starts everything and measures the passes, in this process' worker
// and packaged.
func measurePasses(ctx context.Context, o options, p *setting.Progress, r *report) (err error) {
	log := io.Discard
	if o.log != "" {
		f, err := os.Create(o.log)
		if err != nil {
			return fmt.Errorf("creating the log: %w", err)
		}
		defer f.Close()
		log = f
	}
	s, err := stack.Start(ctx, stack.Options{
		Root: o.root, Nodes: -1, NoForwarder: true, Progress: p, Log: log,
		CLB: clb.Options{Latencies: &clb.Latencies{}, RequestRate: -1, Now: func() time.Time { return time.Now().Add(-lag) }},
	})
	if err != nil {
		return fmt.Errorf("starting the stack: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	b, err := newBench(ctx, s, o, p, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, step := range []func(context.Context) error{
		b.populate, b.measureBackends, b.packagedBackends, b.awaitAlive, b.measureReadiness, b.packagedReadiness,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
