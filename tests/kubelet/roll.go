package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// roll replaces all pods of four Deployments at a time, several times over, under load.
func (t *theatre) roll(ctx context.Context, rounds int) error {
	if rounds == 0 {
		return nil
	}
	var sites []*site
	for _, name := range []string{"roll-a", "roll-b", "roll-c", "roll-d"} {
		sites = append(sites, &site{name: name, real: 3})
	}
	if err := t.appear(ctx, sites...); err != nil {
		return err
	}
	var stops []func() tally
	for _, s := range sites {
		stops = append(stops, t.press(ctx, s))
	}
	count := func() {
		for _, stop := range stops {
			t.report.add(stop())
		}
	}
	for round := range rounds {
		began := time.Now()
		errs := make([]error, len(sites))
		var all sync.WaitGroup
		for i, s := range sites {
			all.Go(func() { errs[i] = t.replace(ctx, s) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			count()
			return err
		}
		t.report.Rollouts += len(sites)
		t.Say("round %d of %d: %d Deployments rolled in %.1f s", round+1, rounds, len(sites), time.Since(began).Seconds())
	}
	count()
	t.account()
	for _, s := range sites {
		for _, kind := range []string{"deployment/" + s.name + "-real", "service/" + s.name} {
			if _, err := t.KubectlOutput(ctx, "delete", kind, "--wait=false"); err != nil {
				return fmt.Errorf("deleting %s: %w", kind, err)
			}
		}
	}
	return nil
}

// replace rolls a site's Deployment and waits until none of the old pods is left.
func (t *theatre) replace(ctx context.Context, s *site) error {
	var old []string
	for _, l := range t.watch.of(s.name, "") {
		old = append(old, string(l.pod.UID))
	}
	if out, err := t.KubectlOutput(ctx, "rollout", "restart", "deployment/"+s.name+"-real"); err != nil {
		return fmt.Errorf("rolling %s: %w: %s", s.name, err, out)
	}
	return setting.Await(ctx, "the rolling update of "+s.name, func() (bool, error) {
		ready, all := t.watch.count(s.name)
		left := slices.ContainsFunc(old, func(uid string) bool { return !t.watch.life(uid).gone })
		return !left && ready == s.real && all == s.real, nil
	})
}

// account takes stock of the pods of all rolling updates.
func (t *theatre) account() {
	r := t.report
	owners := map[string]int{}
	for _, l := range t.watch.all(t.Kubelet.Name) {
		r.Pods++
		owners[l.pod.Status.PodIP]++
		r.took(&r.ContainersReadyToReady, l.containersReady, l.ready)
		r.took(&r.GateToReady, l.gateMet, l.ready)
		if !l.gone {
			continue
		}
		sigterm := t.terminated(string(l.pod.UID))
		if sigterm.IsZero() {
			r.Unheard++
			continue
		}
		r.Terminated++
		r.took(&r.DeleteToSIGTERM, l.told, sigterm)
		if l.drainedFirst(sigterm) && !l.drained.IsZero() {
			r.Drained++
		}
	}
	for _, n := range owners {
		r.AddressesReused += n - 1
	}
	r.DrainedRatio = float64(r.Drained) / float64(max(r.Terminated, 1))
}
