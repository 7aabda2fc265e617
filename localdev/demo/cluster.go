package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// kubectl runs kubectl, shows the command, and gives what it printed.
func (d *show) kubectl(ctx context.Context, args ...string) (string, error) {
	raw, err := d.s.KubectlOutput(ctx, args...)
	out := strings.TrimSpace(string(raw))
	if err != nil {
		return "", fmt.Errorf("running kubectl %s: %w: %s", args[0], err, out)
	}
	d.say("$ kubectl %s", strings.Join(args, " "))
	return out, nil
}

// kubectlAloud runs kubectl and shows what it printed, too.
func (d *show) kubectlAloud(ctx context.Context, args ...string) error {
	out, err := d.kubectl(ctx, args...)
	if err != nil {
		return err
	}
	d.say("  %s", strings.ReplaceAll(out, "\n", "\n  "))
	return nil
}

// apply applies a file of ours, by its path below localdev.
func (d *show) apply(ctx context.Context, name string) error {
	path := filepath.Join("localdev", name)
	out, err := d.s.KubectlOutput(ctx, "apply", "-f", filepath.Join(d.o.Stack.Root, path))
	said := strings.TrimSpace(string(out))
	if err != nil {
		return fmt.Errorf("applying %s: %w: %s", path, err, said)
	}
	d.say("$ kubectl apply -f %s\n  %s", path, strings.ReplaceAll(said, "\n", "\n  "))
	return nil
}

func (d *show) scale(ctx context.Context, deployment string, n int) error {
	_, err := d.kubectl(ctx, "scale", "deployment/"+deployment, fmt.Sprintf("--replicas=%d", n))
	return err
}

// await polls a condition for up to a minute.
func (d *show) await(ctx context.Context, what string, ok func() (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, state := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %s", what, state)
		case <-tick.C:
		}
	}
}

// settle waits until exactly n pods run, all of them Ready, and the CLB's targets are
// exactly they.
func (d *show) settle(ctx context.Context, n int) error {
	if err := d.awaitReady(ctx, n); err != nil {
		return err
	}
	return d.awaitTargets(ctx, n)
}

// awaitReady waits until exactly n pods run and all are Ready.
func (d *show) awaitReady(ctx context.Context, n int) error {
	return d.await(ctx, fmt.Sprintf("%d pods to be Ready", n), func() (bool, string) {
		ready, all := d.board.count()
		return ready == n && all == n, fmt.Sprintf("%d of %d are", ready, all)
	})
}

// awaitTargets waits until the CLB's targets are exactly the n pods, and records
// whether that came to be.
func (d *show) awaitTargets(ctx context.Context, n int) error {
	err := d.await(ctx, fmt.Sprintf("the CLB's targets to be exactly the %d pods", n), func() (bool, string) {
		targets, pods := d.targetIPs(), d.board.ips()
		return len(pods) == n && same(targets, pods), fmt.Sprintf("targets %v, pods %v", targets, pods)
	})
	d.looked = append(d.looked, err == nil)
	return err
}

// targetsEqualPods: each time one looked.
func (d *show) targetsEqualPods() bool { return len(d.looked) > 0 && !slices.Contains(d.looked, false) }

// targets are all bindings of any CLB, of both layers.
func (d *show) targets() []clb.Target {
	var out []clb.Target
	for _, lb := range d.s.CLB.LoadBalancers() {
		for _, l := range lb.Listeners {
			out = append(out, l.Targets...)
			for _, r := range l.Rules {
				out = append(out, r.Targets...)
			}
		}
	}
	return out
}

// targetIPs are the addresses bound on any CLB.
func (d *show) targetIPs() []string {
	var ips []string
	for _, t := range d.targets() {
		ips = append(ips, t.IP.String())
	}
	return ips
}

// same compares two lists as sets.
func same(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
