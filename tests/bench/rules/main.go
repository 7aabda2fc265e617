// Command rules measures how 200 rules over 50 pods, 10,000 bindings, come to be: an
// Ingress is created where there was none, and the clock runs until the CLB says of
// every binding that it is healthy, with its weight. All of it is the real way: control
// plane, forwarder, packaged functions, and a CLB emulator with its default latencies
// and its twenty requests a second. The timer of resync is off.
//
// What it took is held against the floor: the least that the API's limits and latencies
// allow. More than 1.3 times the floor is a failure. Two more scenes are told but not
// judged by time: one pod replaced, and a pass over everything with nothing to do.
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
type options struct{ root, out, log string }

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/bench-rules.json", "the JSON to write")
	flag.StringVar(&o.log, "log", "", "file for what everything prints")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures, reports, and fails if the end was not reached or took too long. What
// was measured up to a failure is reported, too.
func run(ctx context.Context, o options) error {
	r := &report{}
	failed := measure(ctx, o, r)
	if r.Constants.Rules == 0 {
		return failed // it never began
	}
	r.conclude()
	r.table(os.Stdout)
	if err := record.Save(o.out, r); err != nil {
		return errors.Join(failed, err)
	}
	fmt.Printf("\n%s\n", o.out)
	switch {
	case failed != nil:
		return failed
	case !r.Met:
		return fmt.Errorf("it took %.2f times the floor, more than %.1f", r.Ratio, maxRatio)
	}
	return nil
}

// measure starts everything and plays the scenes.
func measure(ctx context.Context, o options, r *report) (err error) {
	log := io.Discard
	if o.log != "" {
		f, err := os.Create(o.log)
		if err != nil {
			return fmt.Errorf("creating the log: %w", err)
		}
		defer f.Close()
		log = f
	}
	p := &setting.Progress{Began: time.Now()}
	quotas := clb.DefaultQuotas()
	quotas.Rules = hosts * paths // of all quotas only this one is raised
	s, err := stack.Start(ctx, stack.Options{
		Root: o.root, Nodes: -1, Progress: p, Log: log, CLB: clb.Options{Quotas: &quotas, RequestRate: requestRate},
	})
	if err != nil {
		return fmt.Errorf("starting the stack: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	b := &bench{Progress: p, stack: s, report: r}
	if b.Account, err = setting.NewAccount(s); err != nil {
		return err
	}
	answers, err := setting.AnswerEverywhere(ctx, setting.HTTP)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answers.Close()) }()
	for _, step := range []func(context.Context) error{b.populate, b.converge, b.replaceOne, b.passSteadily} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
