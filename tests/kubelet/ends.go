package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clb-direct/clb-direct/localdev/node/application"
	"github.com/clb-direct/clb-direct/localdev/watch"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

// end ends containers of two sites, one drained and one not, in all the ways that aren't
// rolling updates. The emulated pod of each serves when no other does.
func (t *theatre) end(ctx context.Context) error {
	sites := []*site{{name: "drained", real: 2, emulated: 1}, {name: "undrained", undrained: true, real: 2, emulated: 1}}
	if err := t.appear(ctx, sites...); err != nil {
		return err
	}
	for _, way := range []struct {
		key, about string
		do         func(context.Context, []*site) ([]*ending, error)
		after      func(context.Context) error
	}{
		{"liveness_restart", "a liveness probe fails", t.restart, nil},
		{"eviction", "a pod is evicted through the API", t.evict, nil},
		{"node_shutdown", "logind announces that the node shuts down", t.shutDown, t.comeBack},
	} {
		t.Say("%s", way.about)
		if err := t.compare(ctx, way.key, sites, way.do); err != nil {
			return fmt.Errorf("%s: %w", way.about, err)
		}
		if way.after != nil {
			if err := way.after(ctx); err != nil {
				return err
			}
		}
		for _, s := range sites {
			if err := t.settle(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// ending is a pod whose container is ended.
type ending struct {
	site  *site
	uid   string
	since time.Time // it was set in motion
}

// compare does it to both sites at a time, under load, and notes what came of it.
func (t *theatre) compare(ctx context.Context, key string, sites []*site, do func(context.Context, []*site) ([]*ending, error)) error {
	c := &comparison{}
	t.report.Ends[key] = c
	var stops []func() tally
	for _, s := range sites {
		stops = append(stops, t.press(ctx, s))
	}
	cases, err := do(ctx, sites)
	for _, k := range cases {
		e := c.of(k.site)
		if err == nil {
			err = setting.Await(ctx, "SIGTERM of a pod of "+k.site.name, func() (bool, error) {
				return t.terminated(k.uid).After(k.since), nil
			})
		}
		sigterm := t.terminated(k.uid)
		e.Containers++
		e.SIGTERMAfterMS = append(e.SIGTERMAfterMS, sigterm.Sub(k.since).Milliseconds())
		// The CLB is looked at, too: what is lowered later must have been seen by then.
		if err == nil {
			err = setting.Await(ctx, "weight 0 of a pod of "+k.site.name, func() (bool, error) {
				l := t.watch.life(k.uid)
				return l.lowered.After(k.since) || l.weighted.After(sigterm.Add(time.Second)), nil
			})
		}
		l := t.watch.life(k.uid)
		if l.lowered.After(k.since) && l.drainedFirst(sigterm) {
			e.DrainedFirst++
		}
	}
	// What comes later than its end would be nobody's; kept connections end with the pod.
	if err == nil {
		err = t.calm(ctx)
	}
	for i, s := range sites {
		c.of(s).add(stops[i]())
	}
	for _, s := range sites {
		e := c.of(s)
		t.Say("  %-10s %d containers, SIGTERM after %v ms, %d drained by then; %d requests, %d failed", s.name, e.Containers, e.SIGTERMAfterMS, e.DrainedFirst, e.Requests, e.Failed)
	}
	return err
}

// calm lets the load go on for a while after the event.
func (t *theatre) calm(ctx context.Context) error {
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// both does something to each site's first pod on the real node at the same time.
func (t *theatre) both(sites []*site, do func(s *site, pod *corev1.Pod) error) ([]*ending, error) {
	cases, errs := make([]*ending, len(sites)), make([]error, len(sites))
	var wg sync.WaitGroup
	for i, s := range sites {
		pods := t.watch.of(s.name, t.Kubelet.Name)
		if len(pods) == 0 {
			return nil, fmt.Errorf("%s has no pod on %s", s.name, t.Kubelet.Name)
		}
		cases[i] = &ending{site: s, uid: string(pods[0].pod.UID), since: time.Now()}
		wg.Go(func() { errs[i] = do(s, pods[0].pod) })
	}
	wg.Wait()
	return cases, errors.Join(errs...)
}

// restart has a liveness probe fail, and waits until the container is there again.
func (t *theatre) restart(ctx context.Context, sites []*site) ([]*ending, error) {
	return t.both(sites, func(s *site, pod *corev1.Pod) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+pod.Status.PodIP+application.LivePath, nil)
		if err != nil {
			return fmt.Errorf("telling %s: %w", pod.Name, err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("telling %s: %w", pod.Name, err)
		}
		_ = res.Body.Close()
		return setting.Await(ctx, "the restart of "+pod.Name, func() (bool, error) {
			l := t.watch.life(string(pod.UID))
			if l.pod.Status.PodIP != pod.Status.PodIP {
				return false, fmt.Errorf("%s had %s and now has %s", pod.Name, pod.Status.PodIP, l.pod.Status.PodIP)
			}
			return l.pod.Status.ContainerStatuses[0].RestartCount == 1 && watch.Is(l.pod, corev1.PodReady), nil
		})
	})
}

// evict asks the API to evict a pod, as `kubectl drain` does.
func (t *theatre) evict(ctx context.Context, sites []*site) ([]*ending, error) {
	return t.both(sites, func(_ *site, pod *corev1.Pod) error {
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: namespace}}
		if err := t.client.PolicyV1().Evictions(namespace).Evict(ctx, eviction); err != nil {
			return fmt.Errorf("evicting %s: %w", pod.Name, err)
		}
		return t.awaitEnd(ctx, pod)
	})
}

// awaitEnd waits until a pod has ended or is gone.
func (t *theatre) awaitEnd(ctx context.Context, pod *corev1.Pod) error {
	return setting.Await(ctx, "the end of "+pod.Name, func() (bool, error) {
		l := t.watch.life(string(pod.UID))
		return l.gone || ended(l.pod), nil
	})
}

// shutDown has logind announce a shutdown to the kubelet, which then ends all its pods
// (node graceful shutdown). The node takes no others meanwhile.
func (t *theatre) shutDown(ctx context.Context, sites []*site) ([]*ending, error) {
	if err := t.cordon(ctx, true); err != nil {
		return nil, err
	}
	var cases []*ending
	var pods []*corev1.Pod
	for _, s := range sites {
		for _, l := range t.watch.of(s.name, t.Kubelet.Name) {
			cases = append(cases, &ending{site: s, uid: string(l.pod.UID), since: time.Now()})
			pods = append(pods, l.pod)
		}
	}
	if err := t.Kubelet.Shutdown(); err != nil {
		return cases, err
	}
	for _, pod := range pods {
		if err := t.awaitEnd(ctx, pod); err != nil {
			return cases, err
		}
		if l := t.watch.life(string(pod.UID)); !l.gone {
			t.report.ShutdownReason = l.pod.Status.Reason
		}
	}
	return cases, nil
}

// comeBack takes the shutdown back and has the node take pods again.
func (t *theatre) comeBack(ctx context.Context) error {
	return errors.Join(t.Kubelet.Resume(), t.cordon(ctx, false))
}

func (t *theatre) cordon(ctx context.Context, closed bool) error {
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, closed)
	if _, err := t.client.CoreV1().Nodes().Patch(ctx, t.Kubelet.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("cordoning: %w", err)
	}
	return nil
}
