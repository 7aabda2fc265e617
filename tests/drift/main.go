// Command drift shows that what people change by hand on CLBs is put right by the timer
// of the function resync: targets deleted, added, re-weighted and re-tagged, listeners
// and rules removed, each at a random moment between two firings; and that what is
// somebody else's, whether it was there before or is added now, is left alone.
//
// All of it is the real way: control plane, nodes, forwarder, packaged functions with
// their timer, and a CLB emulator with its default latencies, which a person changes
// through its API. A change that is not healed within a minute, or anything of somebody
// else's that was touched, is a failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
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
	root, out, log string
	seed           uint64
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/drift.json", "the JSON to write")
	flag.StringVar(&o.log, "log", "", "file for what everything prints")
	flag.Uint64Var(&o.seed, "seed", 0, "what the changes and their moments are drawn from; 0 takes the time")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano() % 1e9)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "drift:", err)
		stop()
		os.Exit(1)
	}
}

// run plays, reports and judges. What was seen up to a failure is reported, too.
func run(ctx context.Context, o options) error {
	r := &report{Seed: o.seed, IdleInvocations: map[string]int{}}
	failed := play(ctx, o, r)
	if len(r.Changes) == 0 {
		return failed // it never came to changes
	}
	r.conclude()
	r.table(os.Stdout)
	if err := record.Save(o.out, r); err != nil {
		return errors.Join(failed, err)
	}
	fmt.Printf("\n%s\n", o.out)
	return errors.Join(append([]error{failed}, r.wrong()...)...)
}

// person is the principal of the account that the changes are made with.
const person = "account"

// play starts everything, makes the changes and watches them heal.
func play(ctx context.Context, o options, r *report) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute) // the first build included
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
	d := &drift{
		report: r, w: os.Stdout, began: time.Now(), rand: rand.New(rand.NewPCG(o.seed, 0)),
		baseline: picture{}, foreign: map[string]foreigner{},
	}
	d.say("seed %d; starting a control plane, nodes, a CLB, SCF with the functions and their timer, the forwarder", o.seed)
	d.stack, err = stack.Start(ctx, stack.Options{
		Root: o.root, Timers: true, Log: log,
		// The console's requests are counted by themselves, as another sub-account's are.
		CLB: clb.Options{SubAccount: func(principal string) string {
			if principal == person {
				return person
			}
			return ""
		}},
	})
	if err != nil {
		return fmt.Errorf("starting the stack: %w", err)
	}
	defer func() { err = errors.Join(err, d.stack.Close()) }()
	if d.account, err = setting.NewAccount(d.stack); err != nil {
		return err
	}
	if d.console, err = newConsole(d.stack); err != nil {
		return err
	}
	r.Latencies = d.stack.CLB.Latencies()
	for _, step := range []func(context.Context) error{d.appear, d.idle, d.change, d.end} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
