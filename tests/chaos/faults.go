package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/scf"
)

// mishap is one of the faults of docs/faults.md, as it happens in a round. Each goes over
// by itself, well within the time that drain hooks are held: what is away for longer than
// that can't be waited for by an unmodified kubelet.
type mishap struct {
	name string
	play play
}

// play has a fault happen, at moments drawn from the dice, and returns when it is over and
// how often something has met it.
type play func(context.Context, *stage, *rand.Rand) (met int, err error)

// spell is how long switches stay on.
const spell = 6 * time.Second

// mishaps are all of them.
var mishaps = []mishap{
	{"call-slow", rule(fault.Rule{Call: fault.Any, BeforeMillis: 1000, AfterMillis: 500, Times: 40})},
	{"call-throttled", rule(fault.Rule{Call: fault.Any, Code: "RequestLimitExceeded", Times: 25})},
	{"call-refused", rule(fault.Rule{Call: fault.Any, Code: "InternalError", Times: 15})},
	{"task-failed", rule(fault.Rule{Call: fault.Any, FailTask: "made to fail", Times: 10})},
	{"call-unanswered", rule(fault.Rule{Call: fault.Any, Drop: true, Times: 10})},
	{"function-killed-before", rule(fault.Rule{Event: fault.Any, Kill: scf.BeforeEvent, Times: 10})},
	{"function-killed-during", rule(fault.Rule{Event: fault.Any, Kill: scf.DuringEvent, InMillis: 300, Times: 10})},
	{"function-killed-after", rule(fault.Rule{Event: fault.Any, Kill: scf.AfterEvent, Times: 10})},
	{"event-lost", rule(fault.Rule{Event: fault.Any, Lose: true, Times: 10})},
	{"event-doubled", rule(fault.Rule{Event: fault.Any, Double: true, Times: 40})},
	{"event-delayed", rule(fault.Rule{Event: fault.Any, BeforeMillis: 1500, Times: 20})},
	{"event-refused-429", rule(fault.Rule{Event: fault.Any, Status: 429, Times: 10})},
	{"event-refused-432", rule(fault.Rule{Event: fault.Any, Status: 432, Times: 10})},
	{"event-refused-500", rule(fault.Rule{Event: fault.Any, Status: 500, Times: 10})},

	{"batch-applied-in-part", switched(func(to *fault.Switches, s *stage) { to.FailTargets = s.watch.addresses(8) }, func(to *fault.Switches) { to.FailTargets = nil })},
	{"health-frozen", switched(func(to *fault.Switches, _ *stage) { to.FreezeHealth = true }, func(to *fault.Switches) { to.FreezeHealth = false })},
	{"health-hidden", switched(func(to *fault.Switches, s *stage) { to.HideHealth = s.watch.addresses(16) }, func(to *fault.Switches) { to.HideHealth = nil })},
	{"clocks-differ", switched(func(to *fault.Switches, _ *stage) { to.SkewMillis = 6 * 60_000 }, func(to *fault.Switches) { to.SkewMillis = 0 })},
	{"watches-dead", switched(func(to *fault.Switches, _ *stage) { to.Silent = true }, func(to *fault.Switches) { to.Silent = false })},

	{"apiserver-restarted", act(fault.Act{Do: fault.RestartComponent, Component: string(cluster.APIServer)})},
	{"controllers-restarted", act(fault.Act{Do: fault.RestartComponent, Component: string(cluster.ControllerManager)})},
	{"etcd-restarted", act(fault.Act{Do: fault.RestartComponent, Component: string(cluster.Etcd)})},
	{"etcd-compacted", act(fault.Act{Do: fault.CompactEtcd})},
	{"credentials-expired", act(fault.Act{Do: fault.ExpireCredentials})},
	{"functions-killed", killFunctions},
	{"node-shutdown", shutDown},
	{"node-gone", vanish},
	{"evicted", evict},
	{"killed-for-memory", strikePods("being killed for its memory", fault.KillForMemory)},
	{"crashed", strikePods("a crash", fault.CrashContainer)},
	{"force-deleted", forceDelete},
	{"liveness-restart", failLiveness},
	{"forwarder-killed", killForwarders},
	{"forwarder-restarted", restartForwarders},
}

// names are those of all faults.
func names() []string {
	var out []string
	for _, m := range mishaps {
		out = append(out, m.name)
	}
	return out
}

// find gives a fault by its name.
func find(name string) (mishap, error) {
	i := slices.IndexFunc(mishaps, func(m mishap) bool { return m.name == name })
	if i < 0 {
		return mishap{}, fmt.Errorf("faults: there is no %q, want %s, mix or none", name, strings.Join(names(), ", "))
	}
	return mishaps[i], nil
}

// wait waits between least and most.
func wait(ctx context.Context, dice *rand.Rand, least, most time.Duration) {
	select {
	case <-time.After(least + time.Duration(dice.Int64N(int64(most-least)+1))):
	case <-ctx.Done():
	}
}

// rule sets a rule until so many calls or events have had it, or the round is over.
func rule(r fault.Rule) play {
	return func(ctx context.Context, s *stage, dice *rand.Rand) (met int, err error) {
		wait(ctx, dice, 0, 4*time.Second)
		id, err := s.Faults.Set(r)
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Faults.Clear(id) }()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, now := range s.Faults.List() {
				if now.ID == id {
					met = now.Met
				}
			}
			if met >= r.Times {
				return met, nil
			}
			select {
			case <-ctx.Done():
				return met, nil
			case <-tick.C:
			}
		}
	}
}

// switched changes a switch for a spell.
func switched(on func(*fault.Switches, *stage), off func(*fault.Switches)) play {
	return func(ctx context.Context, s *stage, dice *rand.Rand) (int, error) {
		wait(ctx, dice, 0, 5*time.Second)
		if err := s.Faults.Switch(func(to *fault.Switches) error { on(to, s); return nil }); err != nil {
			return 0, err
		}
		wait(context.WithoutCancel(ctx), dice, spell, spell)
		return 1, s.Faults.Switch(func(to *fault.Switches) error { off(to); return nil })
	}
}

// act does something once.
func act(a fault.Act) play {
	return func(ctx context.Context, s *stage, dice *rand.Rand) (int, error) {
		wait(ctx, dice, time.Second, 8*time.Second)
		return 1, s.Faults.Do(context.WithoutCancel(ctx), a)
	}
}
