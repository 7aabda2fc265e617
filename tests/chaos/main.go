// Command chaos replaces the pods of eight Deployments at a time, over and over, under
// load and with everything going wrong that can (docs/faults.md), each fault alone and
// then several at a time. Every answer says which pod gave it and in what state, so that
// what is lost, or answered by a pod that should not, is seen.
//
//	go run ./tests/chaos -o out/chaos.json
//
// Whatever it finds is a failure, and comes with the command that plays it again. What a
// fault itself destroys, the connections of the very pod that it kills, is counted apart,
// by evidence: which target the load balancer had chosen, and what became of that pod when.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/clb-direct/clb-direct/localdev/record"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// options of a run.
type options struct {
	root, out, log string
	seed           uint64
	// rounds is how many, 0 for one of each fault and then mixes until the time is over.
	rounds int
	// faults are lists of names, separated by commas, of those to play; none for all.
	faults []string
	// limit is how long new rounds are begun.
	limit time.Duration
	// pace of the load: 1 is load.DefaultRates.
	pace float64
}

func main() {
	var o options
	var faults string
	var minutes float64
	flag.StringVar(&o.root, "root", ".", "directory of the module")
	flag.StringVar(&o.out, "o", "out/chaos.json", "the JSON to write")
	flag.StringVar(&o.log, "log", "", "file for what everything prints")
	flag.Uint64Var(&o.seed, "seed", 0, "what the mixes and moments are drawn from; 0 for another each time")
	flag.IntVar(&o.rounds, "rounds", 0, "how many rounds of eight rollouts; 0 for as many as there is time for")
	flag.StringVar(&faults, "faults", "", "names of faults to play at a time, separated by commas, or several such lists, separated by semicolons, for a round each; mix for random ones, none for no fault; empty for each alone and then mixes")
	flag.Float64Var(&minutes, "minutes", 26.5, "no round begins later than that")
	flag.Float64Var(&o.pace, "pace", 1, "how much load, 1 is 38 requests a second for each Service")
	flag.Parse()
	o.limit = time.Duration(minutes * float64(time.Minute))
	if faults != "" {
		o.faults = strings.Split(faults, ";")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// run plays, reports and judges. What was seen up to a failure is reported, too.
func run(ctx context.Context, o options) error {
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	plan, err := schedule(o)
	if err != nil {
		return err
	}
	r := &report{Seed: o.seed, ByFault: map[string]*tally{}, ByKind: map[load.Kind]int{}}
	failed := perform(ctx, o, plan, r)
	if r.Requests == 0 {
		return failed // it never came to anything
	}
	r.table(os.Stdout)
	if err := record.Save(o.out, r); err != nil {
		return errors.Join(failed, err)
	}
	fmt.Printf("\n%s\n", o.out)
	rollouts, requests := sites, 1
	if len(o.faults) == 0 && o.rounds == 0 {
		rollouts, requests = wantedRollouts, wantedRequests
	}
	return errors.Join(append([]error{failed}, r.wrong(rollouts, requests)...)...)
}

// What a whole run must come to.
const wantedRollouts, wantedRequests = 200, 400_000
