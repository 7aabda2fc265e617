package node

import (
	"context"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// worker takes one pod through its life. All its state belongs to the goroutine
// of run; others hand it functions to run there.
type worker struct {
	fleet  *Fleet
	host   *host
	key    types.NamespacedName
	uid    types.UID
	record *record
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // probers

	ended chan struct{} // closed when nothing of it is left
	wake  chan struct{}
	mu    sync.Mutex
	inbox []func()

	pod         *corev1.Pod
	gone        bool // the object is no more
	frozen      bool // it was in a final phase when it came: only its deletion counts
	terminating bool
	forced      bool // deleted without any grace
	grace       int64
	fate        *fate // the node ends it, nil for none
	over        bool  // nothing runs or will run
	deleted     bool  // the deletion of the object has been asked for

	sandboxAt  time.Time
	sandbox    bool
	ip         netip.Addr // kept in the status after the sandbox's end
	init       []*container
	containers []*container // regular ones and sidecars
	complained map[string]bool
	retry      time.Duration
	changed    time.Time // when the status came to differ from the API's
}

// deadline collects the earliest of several times.
type deadline struct{ time time.Time }

func (d *deadline) at(t time.Time) {
	if d.time.IsZero() || t.Before(d.time) {
		d.time = t
	}
}

func newWorker(f *Fleet, h *host, pod *corev1.Pod) *worker {
	w := &worker{
		fleet: f, host: h, uid: pod.UID, record: f.journal.open(pod.UID),
		key:  types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name},
		wake: make(chan struct{}, 1), ended: make(chan struct{}), complained: map[string]bool{},
		pod: pod, sandboxAt: f.now().Add(max(f.opts.SandboxDelay, 0)),
	}
	w.ctx, w.cancel = context.WithCancel(f.ctx)
	w.frozen = pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	w.over = w.frozen
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		if isSidecar(&pod.Spec, spec.Name) {
			w.containers = append(w.containers, newContainer(spec, true, pod.Status.InitContainerStatuses))
		} else {
			w.init = append(w.init, newContainer(spec, false, pod.Status.InitContainerStatuses))
		}
	}
	for i := range pod.Spec.Containers {
		w.containers = append(w.containers, newContainer(&pod.Spec.Containers[i], false, pod.Status.ContainerStatuses))
	}
	return w
}

// newContainer takes over what the API has of a container: one that ran before
// the node was restarted counts as restarted.
func newContainer(spec *corev1.Container, sidecar bool, known []corev1.ContainerStatus) *container {
	c := &container{spec: spec, sidecar: sidecar}
	for _, s := range known {
		if s.Name != spec.Name || s.ContainerID == "" {
			continue
		}
		c.restarts, c.last = s.RestartCount+1, s.LastTerminationState.Terminated
		if s.State.Terminated != nil {
			c.last = s.State.Terminated
		}
		if r := s.State.Running; r != nil {
			c.last = &corev1.ContainerStateTerminated{
				ExitCode: 255, Reason: "Unknown", ContainerID: s.ContainerID,
				StartedAt: r.StartedAt, FinishedAt: metav1.Now().Rfc3339Copy(),
			}
		}
	}
	return c
}

// post hands the worker's goroutine something to do. It never blocks.
func (w *worker) post(do func()) {
	w.mu.Lock()
	w.inbox = append(w.inbox, do)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run is the worker's goroutine: do what was handed in, take the pod a step
// further, tell the API, wait.
func (w *worker) run() {
	defer w.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.doPosted()
		var next deadline
		w.step(w.fleet.now(), &next)
		if w.gone && !w.anyRunning(nil) {
			return
		}
		if !w.gone {
			w.publish(&next)
		}
		timer.Stop()
		if !next.time.IsZero() {
			timer.Reset(next.time.Sub(w.fleet.now()))
		}
		select {
		case <-w.wake:
		case <-timer.C:
		case <-w.ctx.Done():
			return
		}
	}
}

func (w *worker) doPosted() {
	w.mu.Lock()
	todo := w.inbox
	w.inbox = nil
	w.mu.Unlock()
	for _, do := range todo {
		do()
	}
}

// end leaves nothing behind: neither processes nor probers nor the address.
func (w *worker) end() {
	defer close(w.ended)
	w.cancel()
	for _, c := range w.containers {
		if app := c.app; app != nil {
			app.kill()
			<-app.gone
			w.note(c, Exited)
		}
	}
	w.wg.Wait()
	w.tearDown()
	for _, c := range w.containers {
		w.fleet.backoff.DeleteEntry(string(w.uid) + "/" + c.spec.Name)
	}
}

// step takes the pod as far as it can go now.
func (w *worker) step(now time.Time, next *deadline) {
	if w.over {
		return
	}
	w.noticeDeletion(now)
	if w.gone || w.forced {
		// There is nobody left to be graceful for, and the name may be taken.
		for _, c := range w.containers {
			w.shoot(c)
		}
	}
	if w.gone {
		return
	}
	if !w.sandbox && !w.terminating {
		if now.Before(w.sandboxAt) {
			next.at(w.sandboxAt)
			return
		}
		if !w.setUp(now) {
			next.at(w.sandboxAt)
			return
		}
	}
	for _, c := range w.containers {
		w.stepContainer(c, now, next)
	}
	if !w.done() {
		return
	}
	if !w.anyRunning(nil) {
		w.over = true
		w.tearDown()
		return
	}
	// Only sidecars are left.
	for _, c := range w.containers {
		if c.state == running && c.stop == nil {
			w.beginStop(c, w.podGrace(), "Stopping container "+c.spec.Name)
			next.at(now)
		}
	}
}

func (w *worker) stepContainer(c *container, now time.Time, next *deadline) {
	switch {
	case c.state == running && c.stop != nil:
		w.stepStop(c, now, next)
	case c.state == running && w.terminating:
		w.beginStop(c, w.grace, "Stopping container "+c.spec.Name)
		w.stepStop(c, now, next)
	case c.state == running || w.terminating || c.sidecar && w.done():
	case c.state == waiting && now.Before(c.startAt):
		next.at(c.startAt)
	case c.state == waiting:
		w.startContainer(c, now)
	case c.state == exited && now.Before(c.startAt):
		next.at(c.startAt)
	case c.state == exited:
		w.stepExited(c, now, next)
	}
	if c.state == exited && c.startAt.IsZero() && !w.terminating {
		next.at(now) // it ended as it started
	}
}

// noticeDeletion takes over the pod's deletion and its grace period, which can
// only become shorter.
func (w *worker) noticeDeletion(now time.Time) {
	if w.pod.DeletionTimestamp == nil {
		return
	}
	grace := int64(1)
	if g := w.pod.DeletionGracePeriodSeconds; g != nil {
		grace = max(grace, *g)
		w.forced = w.forced || *g == 0
	}
	if !w.terminating || grace < w.grace {
		w.terminating, w.grace = true, grace
		for _, c := range w.containers {
			w.shortenStop(c, seconds(grace), now)
		}
	}
}

// setUp makes the sandbox: from now on the pod has an address.
func (w *worker) setUp(now time.Time) bool {
	if w.pod.Spec.HostNetwork {
		w.ip = w.host.block.own
	} else {
		ip, err := w.host.block.take()
		if err != nil {
			w.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: %v", err)
			w.sandboxAt = now.Add(time.Second)
			return false
		}
		w.ip = ip
	}
	w.sandbox = true
	for _, c := range w.init {
		c.id, c.state = newContainerID(), exited
		c.startedAt, c.finishedAt = now, now
	}
	for _, c := range w.containers {
		b, complaints := readBehaviour(w.pod.Annotations, c.spec.Name)
		w.complain(complaints)
		delay := b.startDelay
		if delay < 0 {
			delay = max(w.fleet.opts.StartDelay, 0)
		}
		c.startAt = now.Add(delay)
	}
	return true
}

// tearDown ends the sandbox; its address may be another pod's at once, while the
// status still names it.
func (w *worker) tearDown() {
	if w.sandbox && !w.pod.Spec.HostNetwork {
		w.host.block.give(w.ip)
	}
	w.sandbox = false
}

// done says whether the pod's regular containers have ended for good.
func (w *worker) done() bool {
	for _, c := range w.containers {
		switch {
		case c.sidecar:
		case c.state == running:
			return false
		case !w.terminating && (c.state == waiting || restarts(w.pod.Spec.RestartPolicy, c.exitCode)):
			return false
		}
	}
	return true
}

// podGrace is the grace period of the pod's own specification.
func (w *worker) podGrace() int64 {
	if g := w.pod.Spec.TerminationGracePeriodSeconds; g != nil {
		return *g
	}
	return int64(minimumGrace / time.Second)
}

func (w *worker) anyRunning(which func(*container) bool) bool {
	for _, c := range w.containers {
		if c.state == running && (which == nil || which(c)) {
			return true
		}
	}
	return false
}

// see takes over a newer version of the pod's object.
func (w *worker) see(pod *corev1.Pod) {
	if !newer(pod, w.pod) {
		return
	}
	old := w.pod
	w.pod = pod
	for _, c := range w.containers {
		if c.state != running {
			continue
		}
		if !c.ready && c.started.Load() && gatesDiffer(old, pod) {
			c.probeNow()
		}
		if c.app != nil && annotationsDiffer(old, pod) {
			b, complaints := readBehaviour(pod.Annotations, c.spec.Name)
			w.complain(complaints)
			c.app.steer(b)
		}
	}
}

// complain writes an Event for each annotation that can't be read, once.
func (w *worker) complain(complaints []string) {
	for _, c := range complaints {
		if !w.complained[c] {
			w.complained[c] = true
			w.event(corev1.EventTypeWarning, "InvalidAnnotation", "%s; the default is in force", c)
		}
	}
}
