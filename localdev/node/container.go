package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// containerState is where a container is.
//
//	waiting --start--> running --exit--> exited --restart--> running
type containerState int

const (
	waiting containerState = iota
	running
	exited
)

// container is one container of a pod through all its starts. Only the pod's
// own goroutine touches it.
type container struct {
	spec    *corev1.Container
	sidecar bool

	state    containerState
	startAt  time.Time // when to start, while waiting or exited
	backoff  string    // the message of a back-off in force
	restarts int32

	// Of the running or last start.
	id         string
	startedAt  time.Time
	finishedAt time.Time
	exitCode   int32
	message    string
	app        *app
	started    *atomic.Bool // the startup probe has succeeded, or there is none
	ready      bool         // the readiness probe has succeeded, or there is none
	trigger    chan struct{}
	stopProbes map[probeKind]context.CancelFunc
	stop       *stopping
	killed     bool // ended because a probe failed, not by itself
	starved    bool // ended for its memory

	// Of the start before.
	last *corev1.ContainerStateTerminated
}

// stopping is a container's way from the decision to its end.
type stopping struct {
	began     time.Time
	grace     time.Duration
	hooked    bool // it has a preStop hook to run
	hookDone  bool
	signalled bool
	killAt    time.Time
	shot      bool
}

// minimumGrace is what remains for SIGTERM however long the hook took
// (minimumGracePeriodInSeconds of kuberuntime).
const minimumGrace = 2 * time.Second

// restartTime is what a runtime takes from a container's end to its next start, at the
// least: time enough for the status in between to be seen.
const restartTime = 50 * time.Millisecond

// newContainerID makes an ID of the form that containerd reports.
func newContainerID() string {
	var b [32]byte
	rand.Read(b[:])
	return "containerd://" + hex.EncodeToString(b[:])
}

// startContainer starts a container, for the first time or again.
func (w *worker) startContainer(c *container, now time.Time) {
	if c.state == exited {
		c.last = c.terminated()
		c.restarts++
	}
	b, complaints := readBehaviour(w.pod.Annotations, c.spec.Name)
	w.complain(complaints)
	id := newContainerID()
	*c = container{
		spec: c.spec, sidecar: c.sidecar, restarts: c.restarts, last: c.last,
		state: running, id: id, startedAt: now,
		started:    &atomic.Bool{},
		ready:      c.spec.ReadinessProbe == nil,
		trigger:    make(chan struct{}, 1),
		stopProbes: map[probeKind]context.CancelFunc{},
	}
	c.started.Store(c.spec.StartupProbe == nil)
	c.app = &app{
		addr:    w.ip,
		ports:   listenPorts(c.spec, w.fleet.opts.ImagePorts),
		probes:  probeTargets(c.spec),
		behave:  b,
		program: w.started(c),
		onServe: func() { w.record.served.Add(1) },
		onExit:  func(code int32, message string) { w.post(func() { w.containerExited(c, id, code, message) }) },
		answer: Answer{
			Pod: w.pod.Name, Namespace: w.pod.Namespace, UID: string(w.uid),
			Node: w.host.name, ContainerID: id,
		},
	}
	if c.app.program != nil {
		c.app.ports = nil
	}
	w.note(c, Started)
	if err := c.app.start(); err != nil {
		c.app = nil
		w.containerExited(c, id, exitFailure, err.Error())
		return
	}
	w.event(corev1.EventTypeNormal, "Started", "Container started: %s", c.spec.Name)
	for _, kind := range probeKinds {
		if spec := kind.of(c.spec); spec != nil {
			w.startProber(c, kind, spec)
		}
	}
}

func (w *worker) startProber(c *container, kind probeKind, spec *corev1.Probe) {
	ctx, cancel := context.WithCancel(w.ctx)
	c.stopProbes[kind] = cancel
	id := c.id
	p := &prober{
		kind: kind, spec: spec, container: c.spec,
		addr: w.ip, app: c.app, started: c.started, startedAt: c.startedAt,
		client: w.host.client, from: w.host.block.own,
		settled: func(success bool) { w.post(func() { w.probed(c, id, kind, success) }) },
		failed: func(output string) {
			w.event(corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", kind.title(), output)
		},
	}
	if kind == readinessProbe {
		p.trigger = c.trigger
	}
	w.wg.Go(func() { p.run(ctx) })
}

// probed takes a settled result of a probe.
func (w *worker) probed(c *container, id string, kind probeKind, success bool) {
	if c.id != id || c.state != running {
		return
	}
	switch kind {
	case startupProbe:
		if success {
			c.started.Store(true)
			c.probeNow()
			return
		}
		w.failedProbe(c, kind)
	case readinessProbe:
		c.ready = success
	case livenessProbe:
		if !success {
			w.failedProbe(c, kind)
		}
	}
}

// probeNow asks the readiness prober not to wait for its next tick: the kubelet
// does so whenever it computes the status of a container that isn't ready.
func (c *container) probeNow() {
	select {
	case c.trigger <- struct{}{}:
	default:
	}
}

// failedProbe begins the restart of a container whose liveness or startup probe
// has failed.
func (w *worker) failedProbe(c *container, kind probeKind) {
	if c.stop != nil || w.terminating {
		return
	}
	grace := w.podGrace()
	if g := kind.of(c.spec).TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	message := fmt.Sprintf("Container %s failed %s probe", c.spec.Name, kind)
	if c.sidecar || w.pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		message += ", will be restarted"
	}
	c.killed = true
	w.beginStop(c, grace, message)
}

// containerExited takes the end of a container's process.
func (w *worker) containerExited(c *container, id string, code int32, message string) {
	if c.id != id || c.state != running {
		return
	}
	for _, cancel := range c.stopProbes {
		cancel()
	}
	c.state, c.exitCode, c.message, c.finishedAt = exited, code, message, w.fleet.now()
	c.ready, c.stop, c.app = false, nil, nil
	c.started.Store(false)
	w.note(c, Exited)
}

// stepExited decides whether and when an exited container is started again, by
// the kubelet's doBackOff: the first restart comes at once, later ones so long
// after the end of the one before. When a failed probe ended the container, its
// end isn't yet in what the kubelet looks at: the end before it is.
func (w *worker) stepExited(c *container, now time.Time, next *deadline) {
	if !c.sidecar && !restarts(w.pod.Spec.RestartPolicy, c.exitCode) {
		return
	}
	if again := c.finishedAt.Add(restartTime); now.Before(again) {
		c.startAt = again
		next.at(again)
		return
	}
	key := string(w.uid) + "/" + c.spec.Name
	since := c.finishedAt
	if c.killed {
		c.killed = false
		since = time.Time{}
		if c.last != nil {
			since = c.last.FinishedAt.Time
		}
	}
	if since.IsZero() {
		w.startContainer(c, now)
		return
	}
	if w.fleet.backoff.IsInBackOffSince(key, since) {
		delay := w.fleet.backoff.Get(key)
		first := c.backoff == ""
		c.backoff = fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, c.spec.Name, w.pod.Name, w.pod.Namespace, w.uid)
		if first {
			w.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c.spec.Name, w.pod.Name, w.pod.Namespace, w.uid)
		}
		c.startAt = since.Add(delay)
		next.at(c.startAt)
		return
	}
	w.fleet.backoff.Next(key, since)
	w.startContainer(c, now)
}

// status is the container's status as the API has it.
func (c *container) status() corev1.ContainerStatus {
	isStarted := c.state == running && c.started.Load()
	s := corev1.ContainerStatus{
		Name:         c.spec.Name,
		Image:        c.spec.Image,
		ContainerID:  c.id,
		RestartCount: c.restarts,
		Started:      &isStarted,
		Ready:        isStarted && c.ready,
	}
	if c.id != "" {
		s.ImageID = c.spec.Image
	}
	if c.last != nil {
		s.LastTerminationState.Terminated = c.last
	}
	switch {
	case c.state == running:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.startedAt).Rfc3339Copy()}
	case c.state == exited && c.backoff != "":
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: c.backoff}
		s.LastTerminationState.Terminated = c.terminated()
	case c.state == exited:
		s.State.Terminated = c.terminated()
	default:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	return s
}

// terminated describes the last start's end.
func (c *container) terminated() *corev1.ContainerStateTerminated {
	reason := "Completed"
	switch {
	case c.starved:
		reason = "OOMKilled"
	case c.exitCode != 0:
		reason = "Error"
	}
	return &corev1.ContainerStateTerminated{
		ExitCode:    c.exitCode,
		Reason:      reason,
		Message:     c.message,
		StartedAt:   metav1.NewTime(c.startedAt).Rfc3339Copy(),
		FinishedAt:  metav1.NewTime(c.finishedAt).Rfc3339Copy(),
		ContainerID: c.id,
	}
}
