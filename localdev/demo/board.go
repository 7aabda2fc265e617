package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clb-direct/clb-direct/localdev/watch"
)

// board follows every pod from its creation to Ready, and shows it.
type board struct {
	d *show

	mu   sync.Mutex
	pods map[string]*track // by UID
}

// track is one pod's way, each moment counted from its creation as it was seen.
type track struct {
	pod     *corev1.Pod
	created time.Time
	// zero until it happened
	bound, containersReady, alive, ready time.Duration
	gone                                 bool
	// told is when it was told to go, drained how long its target then kept a weight.
	told    time.Time
	drained time.Duration
}

func newBoard(d *show) *board { return &board{d: d, pods: map[string]*track{}} }

// watchPods follows the pods of the demo's namespace until ctx ends.
func (b *board) watchPods(ctx context.Context) {
	stop, err := watch.Pods(ctx, b.d.client, namespace, func(pod *corev1.Pod, gone bool) {
		if gone {
			b.lost(pod)
			return
		}
		b.seen(pod)
	})
	if err != nil {
		b.d.say("%v", err)
		return
	}
	<-ctx.Done()
	stop()
}

func (b *board) seen(pod *corev1.Pod) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.pods[string(pod.UID)]
	if !ok {
		t = &track{created: time.Now()}
		b.pods[string(pod.UID)] = t
	}
	had := t.pod
	t.pod = pod
	now := time.Since(t.created)
	if had == nil || had.Status.PodIP == "" && pod.Status.PodIP != "" && t.containersReady == 0 {
		b.line(t, "")
	}
	if t.containersReady == 0 && watch.Is(pod, corev1.ContainersReady) {
		t.containersReady = now
		b.line(t, "containers ready")
	}
	if t.ready == 0 && ready(pod) {
		t.ready = now
		b.line(t, "Ready")
	}
	if had != nil && had.DeletionTimestamp == nil && pod.DeletionTimestamp != nil {
		t.told = time.Now()
		b.line(t, "told to go")
	}
}

func (b *board) lost(pod *corev1.Pod) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.pods[string(pod.UID)]; ok && !t.gone {
		t.gone = true
		b.line(t, "gone")
	}
}

// watchTargets looks at the CLB for the pods' targets until ctx ends.
func (b *board) watchTargets(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, t := range b.d.targets() {
			b.target(t.Tag, t.Weight, t.Health)
		}
	}
}

func (b *board) target(uid string, weight int, health string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.pods[uid]
	if !ok {
		return
	}
	now := time.Since(t.created)
	if t.bound == 0 {
		t.bound = now
		b.line(t, fmt.Sprintf("bound, weight %d", weight))
	}
	if t.alive == 0 && health == "Alive" {
		t.alive = now
		b.line(t, "CLB says Alive")
	}
	if t.drained == 0 && !t.told.IsZero() && !t.gone && weight == 0 {
		t.drained = time.Since(t.told)
		b.line(t, fmt.Sprintf("weight 0, %.1f s after", t.drained.Seconds()))
	}
}

// line shows a pod as it is now. b.mu is held.
func (b *board) line(t *track, what string) {
	if b.d.quiet {
		return
	}
	mark := func(name string, d time.Duration) string {
		if d == 0 {
			return fmt.Sprintf("%s %6s", name, "-")
		}
		return fmt.Sprintf("%s %5.1fs", name, d.Seconds())
	}
	ip := t.pod.Status.PodIP
	if ip == "" {
		ip = "no address yet"
	}
	b.d.say("  %6.1fs  %s  %-15s %s  %s  %s  %s  %s", b.d.elapsed(time.Now()), b.d.short(t.pod), ip,
		mark("bound", t.bound), mark("containers", t.containersReady), mark("alive", t.alive), mark("Ready", t.ready), what)
}

// suffix is the part of a pod's name that tells it from its siblings.
func suffix(p *corev1.Pod) string { return p.Name[strings.LastIndexByte(p.Name, '-')+1:] }

// count tells how many pods are there, and how many of them Ready.
func (b *board) count() (isReady, all int) {
	for _, t := range b.present() {
		all++
		if ready(t.pod) && t.pod.DeletionTimestamp == nil {
			isReady++
		}
	}
	return isReady, all
}

// ips are the addresses of the pods that are there.
func (b *board) ips() []string {
	var out []string
	for _, t := range b.present() {
		out = append(out, t.pod.Status.PodIP)
	}
	return out
}

// of are the names of the pods of an app that are there, sorted.
func (b *board) of(app string) []string {
	var out []string
	for _, t := range b.present() {
		if t.pod.Labels["app"] == app {
			out = append(out, t.pod.Name)
		}
	}
	slices.Sort(out)
	return out
}

// app is whose pod a UID is or was; "" for one never seen.
func (b *board) app(uid string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.pods[uid]; t != nil {
		return t.pod.Labels["app"]
	}
	return ""
}

// names maps the UIDs of the pods that are there to their names.
func (b *board) names() map[string]string {
	out := map[string]string{}
	for uid, t := range b.present() {
		out[uid] = t.pod.Name
	}
	return out
}

func (b *board) present() map[string]track {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]track{}
	for uid, t := range b.pods {
		if !t.gone {
			out[uid] = *t
		}
	}
	return out
}

// tracks are the ways of all pods that ever were, in order of creation.
func (b *board) tracks() []track {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []track
	for _, t := range b.pods {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(x, y track) int { return x.created.Compare(y.created) })
	return out
}

// ways are the pods' ways for the report, in order of creation.
func (b *board) ways() []Pod {
	var out []Pod
	for _, t := range b.tracks() {
		out = append(out, t.way())
	}
	return out
}

func (t track) way() Pod {
	return Pod{Name: t.pod.Name, IP: t.pod.Status.PodIP,
		BoundMS: t.bound.Milliseconds(), ContainersReadyMS: t.containersReady.Milliseconds(), AliveMS: t.alive.Milliseconds(), ReadyMS: t.ready.Milliseconds()}
}

func ready(p *corev1.Pod) bool { return watch.Is(p, corev1.PodReady) }
