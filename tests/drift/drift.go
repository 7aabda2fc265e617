package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/functions/resync"
	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

//go:embed scene.yaml
var scene string

const (
	namespace = "drift"
	pods      = 3
	// existing names the CLB that was there before, and its foreign listener's port.
	existing     = "existing"
	existingPort = 8999

	// period is that of the timer, in which a change has its phase.
	period = 20 * time.Second
	// limit is how long a change may last.
	limit = time.Minute
	// restTime is for how long calls are counted while nothing is changed.
	restTime = 65 * time.Second
	// glance is the pause between two pictures.
	glance = 250 * time.Millisecond
)

// drift is a play under way.
type drift struct {
	report  *report
	w       io.Writer
	began   time.Time
	rand    *rand.Rand
	stack   *stack.Stack
	account *setting.Account
	console *console

	balancers []balancer
	// baseline is what is ours and how it must be.
	baseline picture

	mu sync.Mutex // guards what follows
	// foreign is what is somebody else's and must stay as it is.
	foreign map[string]foreigner
	// lasting are the changes that are not healed yet.
	lasting []*lasting
}

// foreigner is something of somebody else's as it must stay.
type foreigner struct {
	holding
	touched bool
}

// lasting is a change that is not healed yet.
type lasting struct {
	*change
	// began is when its making was, made when it had taken effect.
	began, made time.Time
	// seen: a picture had it.
	seen bool
}

func (d *drift) say(format string, args ...any) {
	fmt.Fprintf(d.w, "%6.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// appear makes everything and waits until all of it is healthy.
func (d *drift) appear(ctx context.Context) error {
	if err := d.account.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	lb, err := d.account.CreateLoadBalancer(ctx, existing)
	if err != nil {
		return err
	}
	id, err := d.console.createListener(ctx, lb, "somebody-elses", existingPort)
	if err != nil {
		return err
	}
	at := place{lb, model.Place{Listener: id}}
	if err := d.console.register(ctx, at, []model.Target{{Address: model.Address{IP: "127.98.0.1", Port: 80}, Weight: 7}}); err != nil {
		return err
	}
	file := filepath.Join(d.stack.Dir, "scene.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(scene, "EXISTING", lb)), 0o644); err != nil {
		return fmt.Errorf("writing the scene: %w", err)
	}
	if err := d.stack.Kubectl(ctx, nil, "apply", "-n", namespace, "-f", file); err != nil {
		return err
	}
	d.say("applied two Services, an Ingress and a Deployment of %d pods; %s is a CLB with somebody else's listener", pods, lb)
	if err := setting.Await(ctx, "everything to be healthy", func() (bool, error) {
		if ready, err := d.ready(ctx); err != nil || !ready {
			return false, err
		}
		return d.healthy(), nil
	}); err != nil {
		return err
	}
	if d.balancers, err = d.balancersOf(ctx, lb); err != nil {
		return err
	}
	return nil
}

// ready tells whether all pods are.
func (d *drift) ready(ctx context.Context) (bool, error) {
	list, err := d.account.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, fmt.Errorf("listing pods: %w", err)
	}
	n := 0
	for _, pod := range list.Items {
		if slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			n++
		}
	}
	return n == pods && len(list.Items) == pods, nil
}

// places is how many there are with targets: two listeners of a Service, one of another,
// two rules.
const places = 5

// healthy tells whether every pod is bound everywhere and found healthy.
func (d *drift) healthy() bool {
	n := 0
	count := func(targets []clb.Target) {
		for _, t := range targets {
			if t.Health == string(model.Alive) && t.Weight == model.DefaultWeight {
				n++
			}
		}
	}
	for _, lb := range d.stack.CLB.LoadBalancers() {
		for _, l := range lb.Listeners {
			if _, ours := desired.OwnerOf(l.Name); !ours {
				continue
			}
			count(l.Targets)
			for _, r := range l.Rules {
				count(r.Targets)
			}
		}
	}
	return n == pods*places
}

// balancersOf names the CLBs after the objects that use them.
func (d *drift) balancersOf(ctx context.Context, lb string) ([]balancer, error) {
	web, err := d.account.Kube.CoreV1().Services(namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the Service: %w", err)
	}
	shop, err := d.account.Kube.NetworkingV1().Ingresses(namespace).Get(ctx, "shop", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the Ingress: %w", err)
	}
	return []balancer{{"web", web.Annotations[desired.LoadBalancerID]}, {"shop", shop.Annotations[desired.IngressLoadBalancerID]}, {existing, lb}}, nil
}

// idle waits until there is nothing to do and counts what that costs in calls.
func (d *drift) idle(ctx context.Context) error {
	const still = 6 * time.Second
	if err := setting.Await(ctx, "everything to be still", func() (bool, error) {
		for _, inv := range d.stack.SCF.Invocations() {
			if inv.Key != string(event.Resync) && (inv.End.IsZero() || time.Since(inv.End) < still) {
				return false, nil
			}
		}
		return true, nil
	}); err != nil {
		return err
	}
	before, err := look(ctx, d.account.Session(), d.balancers)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(before) {
		if h := before[name]; h.ours {
			d.baseline[name] = h
		} else {
			d.foreign[name] = foreigner{holding: h}
		}
	}
	d.say("all is healthy and still: %d listeners and rules of ours, %d of somebody else's; counting calls for %s", len(d.baseline), len(d.foreign), restTime)
	from := time.Now()
	if err := sleep(ctx, restTime); err != nil {
		return err
	}
	d.report.Idle = rateOf(d.stack.CLB.Calls(), from, time.Now())
	for _, inv := range d.stack.SCF.Invocations() {
		if inv.Start.After(from) {
			d.report.IdleInvocations[inv.Key]++
		}
	}
	after, err := look(ctx, d.account.Session(), d.balancers)
	if err != nil {
		return err
	}
	for name, h := range before {
		if after[name].text != h.text {
			return fmt.Errorf("%s changed while nothing happened: was\n%s\nis\n%s", name, h.text, after[name].text)
		}
	}
	d.say("%.1f calls a minute: %v", d.report.Idle.Total, d.report.Idle.ByAction)
	return nil
}

// change makes the changes and watches them until all are healed or given up.
func (d *drift) change(ctx context.Context) error {
	names := sortedKeys(d.baseline)
	var balancers []string
	for _, b := range d.balancers {
		balancers = append(balancers, b.name)
	}
	todo := wishes(d.rand, names, balancers)
	d.say("%d changes by hand", len(todo))

	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	var failed error
	watcher.Go(func() { failed = d.watch(watching) })
	defer watcher.Wait()
	defer stop()

	m := &maker{console: d.console, rand: d.rand}
	for len(todo) > 0 {
		if err := sleep(ctx, time.Duration(500+d.rand.IntN(6500))*time.Millisecond); err != nil {
			return err
		}
		// What was given up is not as it must be, and can't be told from another change.
		todo = slices.DeleteFunc(todo, func(w wish) bool { return d.spoilt(w.reach(names)) })
		i := slices.IndexFunc(todo, func(w wish) bool { return d.free(w.reach(names)) })
		if i < 0 {
			continue
		}
		if err := d.grant(ctx, m, todo[i], names); err != nil {
			return err
		}
		todo = slices.Delete(todo, i, i+1)
	}
	err := setting.Await(ctx, "every change to be healed or given up", func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.lasting) == 0, nil
	})
	stop()
	watcher.Wait()
	if err != nil {
		return err
	}
	return failed
}

// free tells whether no lasting change reaches any of the places.
func (d *drift) free(reach []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lasting {
		if slices.ContainsFunc(l.reach, func(name string) bool { return slices.Contains(reach, name) }) {
			return false
		}
	}
	return true
}

// spoilt tells whether a change that was given up reaches any of the places.
func (d *drift) spoilt(reach []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.report.Changes, func(c *change) bool {
		return c.givenUp && slices.ContainsFunc(c.reach, func(name string) bool { return slices.Contains(reach, name) })
	})
}

// grant makes one change.
func (d *drift) grant(ctx context.Context, m *maker, w wish, names []string) error {
	l := &lasting{change: &change{Kind: w.kind, Where: w.where, reach: w.reach(names)}, began: time.Now()}
	var now picture
	if w.kind != foreign {
		var err error
		if now, err = look(ctx, d.account.Session(), d.balancers); err != nil {
			return err
		}
		d.mu.Lock()
		d.lasting = append(d.lasting, l)
		d.mu.Unlock()
		if l.What, err = m.change(ctx, w.kind, now[w.where]); err != nil {
			return fmt.Errorf("%s at %s: %w", w.kind, w.where, err)
		}
	} else {
		i := slices.IndexFunc(d.balancers, func(b balancer) bool { return b.name == w.where })
		port, err := m.add(ctx, d.balancers[i].id)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", w.kind, w.where, err)
		}
		if now, err = look(ctx, d.account.Session(), d.balancers); err != nil {
			return err
		}
		name := fmt.Sprintf("%s TCP:%d", w.where, port)
		h, there := now[name]
		if !there {
			return fmt.Errorf("%s at %s: it is not there", w.kind, w.where)
		}
		l.What, l.seen = fmt.Sprintf("TCP:%d with a target", port), true
		d.mu.Lock()
		d.foreign[name] = foreigner{holding: h}
		d.lasting = append(d.lasting, l)
		d.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.made = time.Now()
	l.At = l.made.Sub(d.began).Seconds()
	l.Phase = (time.Duration(l.made.UnixNano()) % period).Seconds()
	d.report.Changes = append(d.report.Changes, l.change)
	d.say("%2d  %-22s %-28s %-22s %4.1f s into the timer's period", len(d.report.Changes), w.kind, w.where, l.What, l.Phase)
	return nil
}

// watch takes pictures until ctx ends and finds in them what is healed, and what of
// somebody else's was touched.
func (d *drift) watch(ctx context.Context) error {
	session := d.account.Session()
	for blind := time.Now(); ; {
		began := time.Now()
		p, err := look(ctx, session, d.balancers)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			blind = time.Now()
			d.compare(p, began)
		case time.Since(blind) > 10*time.Second: // else something went while the picture was taken
			return fmt.Errorf("looking at the CLBs: %w", err)
		}
		if sleep(ctx, glance) != nil {
			return nil
		}
	}
}

// compare finds what a picture, begun at a time, shows.
func (d *drift) compare(p picture, began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.foreign {
		if h, there := p[name]; !f.touched && (!there || h.id() != f.id() || h.text != f.text) {
			f.touched = true
			d.foreign[name] = f
			d.report.ForeignTouched++
			d.say("TOUCHED %s, which is somebody else's: was\n%s\nis\n%s", name, f.text, h.text)
		}
	}
	d.lasting = slices.DeleteFunc(d.lasting, func(l *lasting) bool {
		off := slices.IndexFunc(l.reach, func(name string) bool { return p[name].text != d.baseline[name].text })
		l.seen = l.seen || off >= 0
		if l.made.IsZero() || began.Before(l.made) {
			return false
		}
		l.Seconds = time.Since(l.made).Seconds()
		healed := off < 0
		if l.Kind == foreign {
			healed = d.passed(l.made)
		}
		switch {
		case healed:
			l.Healed, l.Seen = true, l.seen || d.written(l.began)
			d.say("    %-22s %-28s healed after %.1f s", l.Kind, l.Where, l.Seconds)
			return true
		case l.Seconds > limit.Seconds():
			l.Seen, l.givenUp = l.seen, true
			d.say("NOT HEALED %s at %s (%s) after %.0f s", l.Kind, l.Where, l.What, l.Seconds)
			if off >= 0 {
				d.say("%s was\n%s\nis\n%s", l.reach[off], d.baseline[l.reach[off]].text, p[l.reach[off]].text)
			}
			return true
		}
		return false
	})
}

// passed tells whether a resync has come and gone since.
func (d *drift) passed(since time.Time) bool {
	return slices.ContainsFunc(d.stack.SCF.Invocations(), func(inv scf.Invocation) bool {
		return inv.Key == string(event.Resync) && inv.Handed.After(since) && !inv.End.IsZero() && inv.Status == scf.StatusOK
	})
}

// written tells whether a function has written to a CLB since: what it healed may have
// been too short to be in a picture.
func (d *drift) written(since time.Time) bool {
	return slices.ContainsFunc(d.stack.CLB.Calls(), func(c clb.Call) bool {
		return c.Write && c.Principal != person && c.Code == "" && c.Time.After(since)
	})
}

// end waits until all is healthy again and asks what there is left to do.
func (d *drift) end(ctx context.Context) error {
	if slices.ContainsFunc(d.report.Changes, func(c *change) bool { return c.givenUp }) {
		return nil
	}
	err := setting.Await(ctx, "everything to be healthy again", func() (bool, error) { return d.healthy(), nil })
	if err != nil {
		return err
	}
	d.report.HealthyAgain = true
	sample := strings.ReplaceAll(string(resync.TestEvent), "cls-example", stack.ClusterID)
	out, err := d.stack.SCF.Test(string(event.Resync), []byte(sample))
	if err != nil {
		return fmt.Errorf("asking what is left to do: %w", err)
	}
	replies, err := event.ParseReplies(out.Answer)
	if err != nil || len(replies) != 1 {
		return fmt.Errorf("asking what is left to do: %s: %w", out.Answer, err)
	}
	d.report.Left = replies[0].Plan
	d.say("all is healthy again; a dry run has %d things to do", len(d.report.Left))
	raw, err := json.Marshal(d.report.Left)
	if err == nil && len(d.report.Left) > 0 {
		d.say("%s", raw)
	}
	return err
}
