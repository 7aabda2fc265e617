package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// bench is a run of the passes.
type bench struct {
	*setting.Progress
	*setting.Account
	stack  *stack.Stack
	opts   options
	report *report
	worker *worker
	// answers is what the CLB's health checks find at every pod's address.
	answers  *setting.Answers
	scenes   []*scene
	attempts int
}

func newBench(ctx context.Context, s *stack.Stack, o options, p *setting.Progress, r *report) (*bench, error) {
	b := &bench{Progress: p, stack: s, opts: o, report: r}
	var err error
	if b.Account, err = setting.NewAccount(s); err != nil {
		return nil, err
	}
	if b.answers, err = setting.AnswerEverywhere(ctx, ""); err != nil {
		return nil, err
	}
	if b.worker, err = startWorker(ctx, s); err != nil {
		return nil, errors.Join(err, b.answers.Close())
	}
	return b, nil
}

func (b *bench) close() error { return errors.Join(b.worker.close(), b.answers.Close()) }

// kinds of passes, by the name of their figures.
const (
	bindAll    = "backends_bind_all"
	bindSteady = "backends_steady"
	bindOne    = "backends_one_pod"
	openAll    = "readiness_open_all"
	openSteady = "readiness_steady"
	openOne    = "readiness_one_pod"
)

var kinds = []string{bindAll, bindSteady, bindOne, openAll, openSteady, openOne}

// all is the event for everything in the scene.
func (s *scene) all(f event.Function) order {
	s.attempts++
	return order{Function: f, Sync: event.Sync{
		Cluster: stack.ClusterID, LoadBalancers: []string{s.lb}, Objects: s.services, All: true,
		Grant: setting.Unbounded(), Attempt: fmt.Sprintf("bench-%d", s.attempts),
	}}
}

// one is the event for one pod, as the forwarder sends it: to backends with all
// Services of the CLB.
func (s *scene) one(f event.Function, p pod) order {
	o := s.all(f)
	o.Sync.All = false
	o.Sync.Pods = []event.Pod{{Namespace: s.namespace, Name: p.name, UID: p.uid, IP: p.ip}}
	return o
}

// expect fails unless exactly n of what, and nothing else, was written: a pass that
// didn't do its work must not count as a fast one.
func expect(o outcome, what string, n int) error {
	want := 1
	if n == 0 {
		want = 0
	}
	if len(o.Writes) != want || o.Writes[what] != n {
		return fmt.Errorf("wrote %v, should have written %d %s", o.Writes, n, what)
	}
	return nil
}

// measure runs one pass and books it.
func (s *scene) measure(kind string, o order, what string, writes int) error {
	out, err := s.worker.do(o)
	if err == nil {
		err = expect(out, what, writes)
	}
	if err != nil {
		return fmt.Errorf("measuring %s at %d pods: %w", kind, s.size, err)
	}
	s.report.add(kind, s.size, out)
	if kind != bindOne && kind != openOne { // those would only scroll by
		s.Say("%s: %d pods in %.0f ms", kind, s.size, elapsed(time.Duration(out.Nanos)))
	}
	return nil
}

// saySoFar tells the medians of a kind of pass that runs too often to tell each.
func (b *bench) saySoFar(kind string) {
	for _, s := range b.scenes {
		f := b.report.Passes[kind][strconv.Itoa(s.size)]
		b.Say("%s: %d pods in %.0f ms, the median of %d", kind, s.size, f.Millis, len(f.runs))
	}
}

// each gives every scene its turn.
func (b *bench) each(do func(*scene) error) error {
	for _, s := range b.scenes {
		if err := do(s); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measureBackends(ctx context.Context) error {
	// The first pass of a process asks for the server's version, and opens connections.
	if _, err := b.worker.do(b.scenes[0].all(event.Backends)); err != nil {
		return err
	}
	for range b.opts.rounds {
		err := b.each(func(s *scene) error {
			if err := s.unbindAll(ctx); err != nil {
				return err
			}
			return s.measure(bindAll, s.all(event.Backends), "Bind", s.size)
		})
		if err != nil {
			return err
		}
		if err := b.each(func(s *scene) error { return s.measure(bindSteady, s.all(event.Backends), "", 0) }); err != nil {
			return err
		}
		for range b.opts.onePods {
			err := b.each(func(s *scene) error {
				p := s.next()
				if err := s.Session().Unbind(ctx, s.lb, []model.Target{p.target()}); err != nil {
					return err
				}
				return s.measure(bindOne, s.one(event.Backends, p), "Bind", 1)
			})
			if err != nil {
				return err
			}
		}
		b.saySoFar(bindOne)
	}
	return nil
}

// awaitAlive has the emulator check fast until it has found every pod healthy.
func (b *bench) awaitAlive(ctx context.Context) error {
	b.Say("waiting for the health checks")
	return b.each(func(s *scene) error {
		if err := s.setCheck(ctx, fast); err != nil {
			return err
		}
		err := setting.Await(ctx, "the health checks", func() (bool, error) {
			verdicts, err := s.Session().Health(ctx, []string{s.lb}, nil)
			alive := 0
			for _, v := range verdicts {
				if v.Health == model.Alive {
					alive++
				}
			}
			return alive == s.size, err
		})
		if err != nil {
			return err
		}
		return s.setCheck(ctx, slow)
	})
}

func (b *bench) measureReadiness(ctx context.Context) error {
	for round := range b.opts.rounds {
		if round < max(1, b.opts.heavyRounds) {
			if err := b.openAll(ctx); err != nil {
				return err
			}
		}
		if err := b.each(func(s *scene) error { return s.measure(openSteady, s.all(event.Readiness), "", 0) }); err != nil {
			return err
		}
		for range b.opts.onePods {
			err := b.each(func(s *scene) error {
				p := s.next()
				if err := s.closeGate(ctx, p); err != nil {
					return err
				}
				return s.measure(openOne, s.one(event.Readiness, p), "Conditions", 1)
			})
			if err != nil {
				return err
			}
		}
		b.saySoFar(openOne)
	}
	return b.checkGates(ctx)
}

// openAll has every gate opened. The biggest size takes a minute and more, in which
// the machine may become busier or idler; so the others have a turn before and one
// after it.
func (b *bench) openAll(ctx context.Context) error {
	turns := slices.Clone(b.scenes)
	for _, s := range slices.Backward(b.scenes[:len(b.scenes)-1]) {
		turns = append(turns, s)
	}
	for _, s := range turns {
		if s.opened { // pods are made with their gates closed
			if err := s.closeGates(ctx); err != nil {
				return err
			}
		}
		s.opened = true
		if err := s.measure(openAll, s.all(event.Readiness), "Conditions", s.size); err != nil {
			return err
		}
	}
	return nil
}

// checkGates makes sure that what was measured has really happened.
func (b *bench) checkGates(ctx context.Context) error {
	return b.each(func(s *scene) error {
		p := s.next()
		got, err := s.Kube.CoreV1().Pods(s.namespace).Get(ctx, p.name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading %s: %w", p.name, err)
		}
		for _, c := range got.Status.Conditions {
			if c.Type == model.GateType && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("reading %s: its gate is closed after all passes", p.name)
	})
}

// elapsed is a time in milliseconds.
func elapsed(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
