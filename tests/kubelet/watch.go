package main

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/watch"
	"github.com/clb-direct/clb-direct/shared/model"
)

// watching sees every pod's life, and what the CLBs do to it.
type watching struct {
	t    *theatre
	mu   sync.Mutex
	pods map[string]*life // by UID
}

// life is one pod's. Times are zero until it happened.
type life struct {
	pod                             *corev1.Pod
	containersReady, gateMet, ready time.Time
	told                            time.Time // deletion was asked for
	weighted, lowered               time.Time // at its CLB: it had weight; it has none any more
	drained                         time.Time // says the condition
	gone                            bool
}

func newWatching(t *theatre) *watching { return &watching{t: t, pods: map[string]*life{}} }

// begin watches until stop is called.
func (w *watching) begin(ctx context.Context) (stop func(), err error) {
	return watch.PodsAnd(ctx, w.t.client, namespace, w.seen, 20*time.Millisecond, w.look)
}

func (w *watching) seen(pod *corev1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	l := w.pods[string(pod.UID)]
	if l == nil {
		l = &life{}
		w.pods[string(pod.UID)] = l
	}
	l.pod, l.gone = pod, gone
	for _, c := range []struct {
		kind corev1.PodConditionType
		at   *time.Time
	}{{corev1.ContainersReady, &l.containersReady}, {model.GateType, &l.gateMet}, {corev1.PodReady, &l.ready}, {model.DrainedType, &l.drained}} {
		if c.at.IsZero() && watch.Is(pod, c.kind) {
			*c.at = now
		}
	}
	if l.told.IsZero() && pod.DeletionTimestamp != nil {
		l.told = now
	}
}

// look takes over the weights that the CLBs have.
func (w *watching) look() {
	now := time.Now()
	weights := w.t.CLB.Weights()
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, l := range w.pods {
		switch weight := weights[uid]; {
		case weight > 0:
			l.weighted, l.lowered = now, time.Time{}
		case !l.weighted.IsZero() && l.lowered.IsZero():
			l.lowered = now
		}
	}
}

// ended says whether a pod has, while its object is still there.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// of are the lives of a site's pods that are there, on a node if one is named, by name.
func (w *watching) of(site, node string) []life {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []life
	for _, l := range w.pods {
		if !l.gone && !ended(l.pod) && l.pod.Labels["app"] == site && (node == "" || l.pod.Spec.NodeName == node) {
			out = append(out, *l)
		}
	}
	slices.SortFunc(out, func(a, b life) int { return cmpName(a.pod, b.pod) })
	return out
}

func cmpName(a, b *corev1.Pod) int {
	if a.Name < b.Name {
		return -1
	}
	return 1
}

// count tells how many pods a site has, and how many are Ready and not going.
func (w *watching) count(site string) (ready, all int) {
	for _, l := range w.of(site, "") {
		all++
		if watch.Is(l.pod, corev1.PodReady) && l.pod.DeletionTimestamp == nil {
			ready++
		}
	}
	return ready, all
}

// site is whose pod a UID is; "" for one never seen.
func (w *watching) site(uid string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.pods[uid]; l != nil {
		return l.pod.Labels["app"]
	}
	return ""
}

// life is one pod's as it stands.
func (w *watching) life(uid string) life {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.pods[uid]; l != nil {
		return *l
	}
	return life{}
}

// all are the lives of all pods that ever were on a node.
func (w *watching) all(node string) []life {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []life
	for _, l := range w.pods {
		if l.pod.Spec.NodeName == node {
			out = append(out, *l)
		}
	}
	return out
}

// terminated is when the last SIGTERM came to a pod's containers, by their own word; zero
// if none has.
func (t *theatre) terminated(uid string) time.Time {
	var at time.Time
	for _, m := range t.Kubelet.Journal.Moments(uid) {
		if m.What == node.Terminated {
			at = m.At
		}
	}
	return at
}

// drainedFirst: no CLB had any weight for the pod when its containers heard SIGTERM.
func (l life) drainedFirst(sigterm time.Time) bool {
	return !l.lowered.IsZero() && l.lowered.Before(sigterm)
}
