package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// quiet is for how long nothing may be sent before a scene is over: longer than until a
// function that wrote something asks to be called again.
const quiet = 5 * time.Second

// tally is what there is of what shall be.
type tally struct{ listeners, rules, bound, healthy int }

// look counts what is at the CLB, of targets those at an address, or all for "". It
// looks into the emulator, so that it takes neither calls nor much time.
func (b *bench) look(ip string) tally {
	var t tally
	lbs := b.stack.CLB.LoadBalancers()
	i := slices.IndexFunc(lbs, func(lb clb.LoadBalancer) bool { return lb.ID == b.lb })
	if i < 0 {
		return t
	}
	for _, l := range lbs[i].Listeners {
		t.listeners++
		for _, r := range l.Rules {
			t.rules++
			for _, target := range r.Targets {
				if ip != "" && target.IP.String() != ip {
					continue
				}
				t.bound++
				if target.Health == string(model.Alive) && target.Weight == model.DefaultWeight {
					t.healthy++
				}
			}
		}
	}
	return t
}

// await looks until done, and tells how far it is once a second.
func (b *bench) await(ctx context.Context, what, ip string, done func(tally) (bool, error)) error {
	var told tally
	var at time.Time
	return setting.Await(ctx, what, func() (bool, error) {
		t := b.look(ip)
		if time.Since(at) >= time.Second && t != told {
			told, at = t, time.Now()
			b.Say("%3d rules, %5d bound, %5d healthy", t.rules, t.bound, t.healthy)
		}
		return done(t)
	})
}

// converge creates the Ingress and waits until the API says of all bindings that they
// are healthy.
func (b *bench) converge(ctx context.Context) error {
	b.Say("creating an Ingress with %d rules", hosts*paths)
	began := time.Now()
	if _, err := b.Kube.NetworkingV1().Ingresses(namespace).Create(ctx, ingress(b.lb), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the Ingress: %w", err)
	}
	r, last := b.report, 0
	defer func() {
		r.Calls, r.Writes, r.Passes = b.calls(began), b.writes(began), b.passes(began)
	}()
	err := b.await(ctx, "every binding to be healthy", "", func(t tally) (bool, error) {
		since := time.Since(began).Seconds()
		for _, m := range []struct {
			at   *float64
			have bool
		}{
			{&r.Milestones.Listener, t.listeners == 1}, {&r.Milestones.Rules, t.rules == hosts*paths},
			{&r.Milestones.Bound, t.bound == bindings},
		} {
			if m.have && *m.at == 0 {
				*m.at = since
			}
		}
		r.Lost += max(0, last-t.healthy)
		if last = t.healthy; t.healthy < bindings {
			return false, nil
		}
		ok, err := b.confirm(ctx)
		r.Milestones.Healthy = time.Since(began).Seconds()
		return ok, err
	})
	if err != nil {
		return err
	}
	r.Seconds, r.Reached = r.Milestones.Healthy, true
	b.Say("all %d bindings are healthy, %.1f s after the Ingress was created", bindings, r.Seconds)
	return b.checkOf(ctx)
}

// confirm asks the API, as a user would.
func (b *bench) confirm(ctx context.Context) (bool, error) {
	verdicts, err := b.Session().Health(ctx, []string{b.lb}, nil)
	healthy := 0
	for _, v := range verdicts {
		if v.Health == model.Alive && v.Weight == model.DefaultWeight {
			healthy++
		}
	}
	return healthy == bindings, err
}

// checkOf notes how often the rules are checked, which nobody has said anything about.
func (b *bench) checkOf(ctx context.Context) error {
	listeners, err := b.Session().Listeners(ctx, b.lb)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		for _, rule := range l.Rules {
			c := &b.report.Constants
			c.HealthNum, c.HealthInterval = rule.HealthCheck.HealthNum, float64(rule.HealthCheck.Interval)
		}
	}
	return nil
}

// replaceOne has another pod take the place of one, as a rolling update would.
func (b *bench) replaceOne(ctx context.Context) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.Say("replacing one pod of %d", pods)
	began := time.Now()
	young, err := b.CreatePod(ctx, podAt(pods))
	if err != nil {
		return err
	}
	old, now := b.pods[0], int64(0)
	if err := b.Kube.CoreV1().Pods(namespace).Delete(ctx, old.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return fmt.Errorf("deleting a pod: %w", err)
	}
	err = b.await(ctx, "the pod to be replaced", young.Status.PodIP, func(t tally) (bool, error) {
		if t.healthy < hosts*paths || b.look(old.Status.PodIP).bound > 0 {
			return false, nil
		}
		return b.open(ctx, young.Name)
	})
	if err != nil {
		return err
	}
	s := scene{Seconds: time.Since(began).Seconds(), Calls: b.calls(began)}
	b.report.Scenes.OnePod = &s
	b.Say("replaced after %.1f s and %d calls", s.Seconds, s.Calls.Total)
	return nil
}

// open tells whether the pod's gate, which it has because the Ingress was there before
// it, is open.
func (b *bench) open(ctx context.Context, pod string) (bool, error) {
	got, err := b.Kube.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("reading a pod: %w", err)
	}
	if len(got.Spec.ReadinessGates) == 0 {
		return false, fmt.Errorf("reading a pod: %s was created without a gate", pod)
	}
	return slices.ContainsFunc(got.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == model.GateType && c.Status == corev1.ConditionTrue
	}), nil
}

// passSteadily has a forwarder that has just begun send everything once, with nothing
// to be done.
func (b *bench) passSteadily(ctx context.Context) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.Say("starting the forwarder anew: every pass once, with nothing to do")
	if err := b.stack.StopForwarder(); err != nil {
		return err
	}
	began := time.Now()
	if err := b.stack.StartForwarder(ctx, "url"); err != nil {
		return err
	}
	err := setting.Await(ctx, "every pass", func() (bool, error) {
		seen := map[string]bool{}
		for _, p := range b.passes(began) {
			seen[p.Function] = true
		}
		return len(seen) == len(event.Functions), nil
	})
	if err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	if w := b.writes(began); len(w) > 0 {
		return fmt.Errorf("passing over what is as it should be: %d calls wrote, the first is %s", len(w), w[0].Action)
	}
	b.report.Scenes.Steady = &scene{Calls: b.calls(began)}
	return nil
}

// settle waits until nothing has been sent for a while.
func (b *bench) settle(ctx context.Context) error {
	return setting.Await(ctx, "the functions to be done", func() (bool, error) {
		for _, i := range b.stack.SCF.Invocations() {
			if i.End.IsZero() || time.Since(i.End) < quiet {
				return false, nil
			}
		}
		return true, nil
	})
}

// sent are the calls of the functions since a time.
func (b *bench) sent(since time.Time) []clb.Call {
	return slices.DeleteFunc(b.stack.CLB.Calls(), func(c clb.Call) bool {
		return c.Time.Before(since) || c.Principal == b.stack.Account.Principal
	})
}

func (b *bench) calls(since time.Time) calls {
	out := calls{ByAction: map[string]int{}}
	for _, c := range b.sent(since) {
		out.ByAction[c.Action]++
		out.Total++
		if c.Code != "" {
			out.Refused++
		}
	}
	return out
}

// writes are the calls that changed something, or were to.
func (b *bench) writes(since time.Time) []write {
	var out []write
	for _, c := range b.sent(since) {
		if c.Write {
			out = append(out, write{c.Action, round(c.Time.Sub(since)), round(c.Done.Sub(c.Time)), c.Targets, c.Code})
		}
	}
	return out
}

// passes are the functions' invocations.
func (b *bench) passes(since time.Time) []pass {
	var out []pass
	for _, i := range b.stack.SCF.Invocations() {
		if i.Start.Before(since) || i.End.IsZero() {
			continue
		}
		out = append(out, pass{i.Key, round(i.Start.Sub(since)), round(i.End.Sub(i.Start)), i.Cold, i.Memory >> 20})
	}
	return out
}

// round is d in seconds, to the millisecond.
func round(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
