package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
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
}

func newBoard(d *show) *board { return &board{d: d, pods: map[string]*track{}} }

// watchPods follows the pods of the demo's namespace until ctx ends.
func (b *board) watchPods(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(b.d.client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	seen := func(obj any) {
		if pod, ok := obj.(*corev1.Pod); ok {
			b.seen(pod)
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    seen,
		UpdateFunc: func(_, obj any) { seen(obj) },
		DeleteFunc: func(obj any) {
			if tomb, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = tomb.Obj
			}
			if pod, ok := obj.(*corev1.Pod); ok {
				b.lost(pod)
			}
		},
	}); err != nil {
		b.d.say("watching pods: %v", err)
		return
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
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
	if t.containersReady == 0 && condition(pod, corev1.ContainersReady) {
		t.containersReady = now
		b.line(t, "containers ready")
	}
	if t.ready == 0 && ready(pod) {
		t.ready = now
		b.line(t, "Ready")
	}
	if had != nil && had.DeletionTimestamp == nil && pod.DeletionTimestamp != nil {
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
		for _, lb := range b.d.s.CLB.LoadBalancers() {
			for _, l := range lb.Listeners {
				for _, t := range l.Targets {
					b.target(t.Tag, t.Weight, t.Health)
				}
			}
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
}

// line shows a pod as it is now. b.mu is held.
func (b *board) line(t *track, what string) {
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
	b.d.say("  %6.1fs  %s  %-15s %s  %s  %s  %s  %s", time.Since(b.d.began).Seconds(), short(t.pod.Name), ip,
		mark("bound", t.bound), mark("containers", t.containersReady), mark("alive", t.alive), mark("Ready", t.ready), what)
}

// short leaves the part of a pod's name that tells it from its siblings.
func short(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

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

// ways are the pods' ways for the report, in order of creation.
func (b *board) ways() []Pod {
	b.mu.Lock()
	defer b.mu.Unlock()
	var tracks []*track
	for _, t := range b.pods {
		tracks = append(tracks, t)
	}
	slices.SortFunc(tracks, func(x, y *track) int { return x.created.Compare(y.created) })
	var out []Pod
	for _, t := range tracks {
		out = append(out, Pod{Name: t.pod.Name, IP: t.pod.Status.PodIP,
			BoundMS: t.bound.Milliseconds(), ContainersReadyMS: t.containersReady.Milliseconds(), AliveMS: t.alive.Milliseconds(), ReadyMS: t.ready.Milliseconds()})
	}
	return out
}

// same compares two lists as sets.
func same(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func trim(out []byte) string { return strings.TrimSpace(string(out)) }
