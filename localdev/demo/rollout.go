package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

//go:embed rollout.yaml
var rolloutObjects string

// replicas is how many pods each way has.
const replicas = 4

// manner is a way of replacing pods under load.
type manner struct {
	// key is its name in the report, name that of its objects.
	key, name, about string
	// label, annotation and lifecycle are lines of its pods' template, or "".
	label, annotation, lifecycle string
}

// ways are those that are compared, ours last.
var ways = []manner{
	{key: "no_gate", name: "no-gate", about: "no readiness gate", label: `clb-direct.io/admission: "off"`},
	{key: "gate", name: "gate", about: "gate, no drain", annotation: `clb-direct.io/drain-timeout: "0"`},
	{key: "gate_sleep", name: "gate-sleep", about: "gate and preStop: sleep 10", annotation: `clb-direct.io/drain-timeout: "0"`, lifecycle: "lifecycle: {preStop: {sleep: {seconds: 10}}}"},
	{key: "clb_direct", name: "clb-direct", about: "clb-direct: gate and drain"},
}

func (w manner) objects() string {
	return strings.NewReplacer("{{name}}", w.name, "{{label}}", w.label, "{{annotation}}", w.annotation, "{{lifecycle}}", w.lifecycle).Replace(rolloutObjects)
}

// rolloutShow is the demo of rolling updates.
type rolloutShow struct {
	show
	contests []*contest
	// lasted is how long the load went on.
	lasted time.Duration
}

// contest is a way under way.
type contest struct {
	manner
	vip string

	mu     sync.Mutex
	result WayResult
	began  time.Time
	// misses are when requests failed, since the beginning.
	misses []time.Duration
	done   bool
}

// Rollout replaces the pods of four Deployments at a time, each in another of the usual
// ways, under the same load, and ends everything that it started. Its report is
// rollout.json, its plot rollout.svg.
func Rollout(ctx context.Context, o Options) error {
	d := &rolloutShow{}
	for _, w := range ways {
		d.contests = append(d.contests, &contest{manner: w})
	}
	d.show = show{o: o, quiet: true, short: suffix}
	return d.perform(ctx, play{file: "rollout.json", report: d.report, acts: []act{
		{"the same application four times, each behind a load balancer of its own", d.appear},
		{"all pods replaced, at a constant load", d.roll},
		{"the plot", d.plot},
	}})
}

func (d *rolloutShow) report() report { return d.measured() }

func (d *rolloutShow) measured() *RolloutReport {
	out := &RolloutReport{clbCalls: total(d.s.CLB.CallCounts())}
	for _, c := range d.contests {
		c.mu.Lock()
		*out.of(c.key) = c.result
		out.of(c.key).FailedOverTime = overTime(c.misses, d.lasted.Seconds())
		c.mu.Unlock()
	}
	return out
}

// appear applies the objects and waits until every pod serves through its CLB.
func (d *rolloutShow) appear(ctx context.Context) error {
	for _, c := range d.contests {
		if err := d.s.Kubectl(ctx, bytes.NewBufferString(c.objects()), "apply", "-f", "-"); err != nil {
			return err
		}
		d.say("  %-12s %s", c.name, c.about)
	}
	if err := d.settle(ctx, len(ways)*replicas); err != nil {
		return err
	}
	for _, c := range d.contests {
		s, err := d.client.CoreV1().Services(namespace).Get(ctx, c.name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the Service: %w", err)
		}
		for _, in := range s.Status.LoadBalancer.Ingress {
			c.vip = in.IP
		}
		if c.vip == "" {
			return fmt.Errorf("reading the Service: %s has no address", c.name)
		}
	}
	return d.allAlive(ctx)
}

// allAlive waits until every pod takes traffic: one without a gate is Ready before.
func (d *rolloutShow) allAlive(ctx context.Context) error {
	return d.await(ctx, "every target is Alive, with weight", func() (bool, string) {
		good := 0
		for _, t := range d.targets() {
			if t.Health == "Alive" && t.Weight > 0 {
				good++
			}
		}
		return good == len(ways)*replicas, fmt.Sprintf("%d are", good)
	})
}

// roll rolls all at a time, each under the same load until the last is through.
func (d *rolloutShow) roll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	errs := make([]error, len(d.contests))
	var all sync.WaitGroup
	began := time.Now()
	for _, c := range d.contests {
		c.began = began
		defer d.press(ctx, c)()
	}
	for i, c := range d.contests {
		all.Go(func() { errs[i] = d.contend(ctx, c) })
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			d.lasted = time.Since(began)
			d.sayStanding(time.Since(began))
			return errors.Join(errs...)
		case <-tick.C:
			d.sayStanding(time.Since(began))
		}
	}
}

// contend rolls one Deployment.
func (d *rolloutShow) contend(ctx context.Context, c *contest) error {
	old := d.board.of(c.name)
	if _, err := d.s.KubectlOutput(ctx, "rollout", "restart", "deployment/"+c.name); err != nil {
		return fmt.Errorf("rolling %s: %w", c.name, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now := d.board.of(c.name)
		through := 0
		for _, t := range d.board.present() {
			if t.pod.Labels["app"] == c.name && ready(t.pod) && t.pod.DeletionTimestamp == nil {
				through++
			}
		}
		if through == replicas && len(now) == replicas && disjoint(old, now) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("rolling %s: %w; pods %v", c.name, ctx.Err(), now)
		}
	}
	c.mu.Lock()
	c.result.RolloutSeconds = time.Since(c.began).Round(time.Millisecond).Seconds()
	c.done = true
	c.mu.Unlock()
	return nil
}

// press sends requests, over new and over kept connections, until stop is called.
func (d *rolloutShow) press(ctx context.Context, c *contest) (stop func()) {
	return press(ctx, d.clients(), visitor{}, func(client *http.Client, _ int) { d.request(ctx, c, client) })
}

func (d *rolloutShow) request(ctx context.Context, c *contest, client *http.Client) {
	at := time.Now()
	a, err := get(context.WithoutCancel(ctx), client, "http://"+c.vip+"/")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Requests++
	switch {
	case err != nil:
		c.result.Failed++
		c.misses = append(c.misses, at.Sub(c.began))
	case d.board.app(a.UID) != c.name:
		c.result.WrongPod++
	}
}

// sayStanding shows the ways side by side.
func (d *rolloutShow) sayStanding(since time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "  %5.1fs", since.Seconds())
	for _, c := range d.contests {
		c.mu.Lock()
		state := "rolling"
		if c.done {
			state = fmt.Sprintf("%.1fs", c.result.RolloutSeconds)
		}
		fmt.Fprintf(&b, "  | %-10s %6d sent %4d failed %8s", c.name, c.result.Requests, c.result.Failed, state)
		c.mu.Unlock()
	}
	d.say("%s", b.String())
}
