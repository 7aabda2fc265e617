package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// round is one that has been played.
type round struct {
	began time.Time
	cast  cast
	tally *tally
}

// aftermath is how long requests are still counted to a round when everything is over.
const aftermath = time.Second

// rounds plays until the plan is at its end. The requests of a round are judged when it is
// over, those still on their way then with the next.
func (s *stage) rounds(ctx context.Context, p *plan) error {
	began := time.Now()
	played := map[string]int{}
	var all []round
	for i := 0; ; i++ {
		c, more := p.next(i, time.Since(began))
		if !more || ctx.Err() != nil {
			break
		}
		t := s.report.of(c.name())
		r := round{began: time.Now(), cast: c, tally: t}
		all = append(all, r)
		before := *t
		met, err := s.round(ctx, c, i, p.dice(c, played[c.list()]))
		played[c.list()]++
		findings := s.settle(all)
		t.Met += met
		t.Seconds += time.Since(r.began).Seconds()
		s.Say("round %d, %s, met %d times: %d rollouts in %.1f s; %d requests, %d failed, %d destroyed, %d wrong, %d premature", i+1, c.list(), met, sites,
			time.Since(r.began).Seconds(), t.Requests-before.Requests, t.Failed-before.Failed, t.Destroyed-before.Destroyed, t.WrongPod-before.WrongPod, t.Premature-before.Premature)
		for _, f := range findings {
			s.Say("    %s", f)
		}
		if len(findings) > 0 {
			s.Say("    again: make chaos SEED=%d FAULTS=%s ROUNDS=1", p.seed, c.list())
		}
		if err != nil {
			return fmt.Errorf("round %d, %s (again: make chaos SEED=%d FAULTS=%s ROUNDS=1): %w", i+1, c.list(), p.seed, c.list(), err)
		}
		t.Rollouts += sites
		s.report.Rollouts += sites
	}
	return ctx.Err()
}

// round rolls all Deployments while the faults of a cast happen.
func (s *stage) round(ctx context.Context, c cast, number int, dice *rand.Rand) (met int, err error) {
	old := map[string]bool{}
	for _, l := range s.watch.of("") {
		old[string(l.pod.UID)] = true
	}
	surge := []int{4, 2, 4}[dice.IntN(3)]
	going, over := context.WithCancel(ctx)
	defer over()
	var playing sync.WaitGroup
	errs, mets := make([]error, len(c)), make([]int, len(c))
	for i, m := range c {
		own := rand.New(rand.NewPCG(dice.Uint64(), dice.Uint64()))
		playing.Go(func() {
			var err error
			if mets[i], err = m.play(going, s, own); err != nil {
				errs[i] = fmt.Errorf("%s: %w", m.name, err)
			}
		})
	}
	err = s.roll(ctx, number, surge)
	if err == nil {
		err = s.await(ctx, "the rolling updates", func(l life) bool { return !old[string(l.pod.UID)] })
	}
	over()
	playing.Wait()
	for _, n := range mets {
		met += n
	}
	err = errors.Join(append(errs, err, s.Faults.Clear(fault.Any))...)
	if err == nil {
		// What a fault broke late is mended, too.
		err = s.await(ctx, "everything to be as it was", func(life) bool { return true })
	}
	wait(ctx, dice, aftermath, aftermath)
	return met, err
}

// roll has all Deployments replace their pods.
func (s *stage) roll(ctx context.Context, number, surge int) error {
	patch := fmt.Appendf(nil, `{"spec":{"strategy":{"rollingUpdate":{"maxSurge":%d}},"template":{"metadata":{"annotations":{"chaos/round":"%d"}}}}}`, surge, number)
	for _, at := range s.sites {
		if err := setting.Await(ctx, "the Deployment to be changed", func() (bool, error) {
			_, err := s.client.AppsV1().Deployments(namespace).Patch(ctx, at.name, types.MergePatchType, patch, metav1.PatchOptions{})
			return err == nil, nil // the API server may be away
		}); err != nil {
			return err
		}
	}
	return nil
}

// await waits until each site has as many pods as it should, all that are wanted and
// serve, and each is bound as it should.
func (s *stage) await(ctx context.Context, what string, wanted func(life) bool) error {
	var missing string
	err := setting.Await(ctx, what, func() (bool, error) {
		missing = ""
		for _, at := range s.sites {
			all := s.watch.of(at.name)
			good := slices.DeleteFunc(slices.Clone(all), func(l life) bool { return !l.serves() || !wanted(l) || l.weight() == 0 })
			if len(good) != replicas || len(all) != replicas {
				missing = fmt.Sprintf("%s has %d pods, %d of them as wanted", at.name, len(all), len(good))
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil && missing != "" {
		err = fmt.Errorf("%w: %s", err, missing)
	}
	return err
}

// settle judges the requests that are over, counts them to the rounds that they were sent
// in, and says what is not as it should.
func (s *stage) settle(rounds []round) (findings []string) {
	samples := s.book.take()
	for _, sample := range samples {
		i := len(rounds) - 1
		for i > 0 && sample.Sent.Before(rounds[i].began) {
			i--
		}
		e := s.evidence(sample)
		v, why := judge(e)
		for _, t := range []*tally{&s.report.tally, rounds[i].tally} {
			t.add(e, v)
		}
		s.report.ByKind[sample.Kind]++
		if v == wrongUngraceful {
			s.report.fence(e)
		}
		if v == good || v == destroyed || v == wrongUngraceful || v == prematureAgain {
			continue
		}
		finding := e.describe(v, why)
		s.report.note(rounds[i].cast, finding)
		if len(findings) < 12 {
			findings = append(findings, finding)
		}
	}
	s.report.account(s, rounds[len(rounds)-1].tally)
	return findings
}

// evidence collects what there is about a request.
func (s *stage) evidence(sample load.Sample) evidence {
	e := evidence{sample: sample}
	e.flow, e.traced = s.book.behind(sample)
	if e.traced && e.flow.Label != "" {
		e.past = s.Nodes.Moments(types.UID(e.flow.Label))
		at, struck := s.book.strike(e.flow.Label)
		if !struck {
			at, struck = s.book.brokenHold(e.past)
		}
		if struck && !at.at.After(sample.Ended) {
			e.strike = &at
		}
	}
	if sample.Err == nil {
		uid := sample.Answer.UID
		if l, known := s.watch.life(uid); known {
			e.site = l.site
		}
		e.answered = s.Nodes.Moments(types.UID(uid))
		at, struck := s.book.strike(uid)
		e.struckAgain = struck && !at.at.After(sample.Ended)
	}
	return e
}
