package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/localdev/watch"
)

// watching sees every pod's life, and what the CLBs do to it.
type watching struct {
	s      *stack.Stack
	client kubernetes.Interface

	mu   sync.Mutex
	pods map[string]*life // by UID
}

// life is one pod's.
type life struct {
	pod  *corev1.Pod
	site string
	gone bool
	// weights are the changes of the highest weight that it has at any listener.
	weights []weighed
}

// weighed is a weight since a moment.
type weighed struct {
	at     time.Time
	weight int
}

func newWatching(s *stack.Stack, client kubernetes.Interface) *watching {
	return &watching{s: s, client: client, pods: map[string]*life{}}
}

// begin watches until stop is called.
func (w *watching) begin(ctx context.Context) (stop func(), err error) {
	return watch.PodsAnd(ctx, w.client, namespace, w.seen, glance, w.look)
}

// glance is how often the CLBs' weights are looked at.
const glance = 50 * time.Millisecond

func (w *watching) seen(pod *corev1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.pods[string(pod.UID)]
	if l == nil {
		l = &life{site: pod.Labels["app"]}
		w.pods[string(pod.UID)] = l
	}
	l.pod, l.gone = pod, gone
}

// look takes over the weights that the CLBs have.
func (w *watching) look() {
	now := time.Now()
	weights := w.s.CLB.Weights()
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, l := range w.pods {
		if weight := weights[uid]; weight != l.weight() {
			l.weights = append(l.weights, weighed{now, weight})
		}
	}
}

func (l *life) weight() int {
	if len(l.weights) == 0 {
		return 0
	}
	return l.weights[len(l.weights)-1].weight
}

// weightAt is what it had at a moment, and whether it ever had any until then.
func (l *life) weightAt(t time.Time) (weight int, ever bool) {
	for _, w := range l.weights {
		if w.at.After(t) {
			break
		}
		weight, ever = w.weight, ever || w.weight > 0
	}
	return weight, ever
}

// serves: it is Ready, and nobody has told it to go.
func (l life) serves() bool {
	return !l.gone && watch.Is(l.pod, corev1.PodReady) && l.pod.DeletionTimestamp == nil
}

// of are the lives of a site's pods that are there and haven't ended, by name; all sites'
// for none.
func (w *watching) of(site string) []life {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []life
	for _, l := range w.pods {
		ended := l.pod.Status.Phase == corev1.PodFailed || l.pod.Status.Phase == corev1.PodSucceeded
		if !l.gone && !ended && (site == "" || l.site == site) {
			out = append(out, *l)
		}
	}
	slices.SortFunc(out, func(a, b life) int { return strings.Compare(a.pod.Name, b.pod.Name) })
	return out
}

// count tells how many pods a site has, and how many are Ready and not going.
func (w *watching) count(site string) (ready, all int) {
	for _, l := range w.of(site) {
		all++
		if l.serves() {
			ready++
		}
	}
	return ready, all
}

// addresses are those of pods that are there, up to n.
func (w *watching) addresses(n int) []netip.Addr {
	var out []netip.Addr
	for _, l := range w.of("") {
		if a, err := netip.ParseAddr(l.pod.Status.PodIP); err == nil && len(out) < n {
			out = append(out, a)
		}
	}
	return out
}

// life is one pod's as it stands; false for one never seen.
func (w *watching) life(uid string) (life, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.pods[uid]
	if l == nil {
		return life{}, false
	}
	out := *l
	out.weights = slices.Clone(l.weights)
	return out, true
}

// uids are those of all pods that ever were.
func (w *watching) uids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for uid := range w.pods {
		out = append(out, uid)
	}
	return out
}
