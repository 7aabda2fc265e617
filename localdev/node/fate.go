package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// fate is how a node ends a pod that nobody has deleted.
type fate struct {
	reason, message string
	grace           time.Duration
}

// What the kubelet writes (pkg/kubelet/nodeshutdown and pkg/kubelet/eviction).
const (
	shutdownReason  = "Terminated"
	shutdownMessage = "Pod was terminated in response to imminent node shutdown."
	evictedReason   = "Evicted"
	evictedMessage  = "The node was low on resource: memory. "
	// byKubelet is the reason of the condition DisruptionTarget in both cases.
	byKubelet = "TerminationByKubelet"
)

// Shutdown ends all pods of a node as a kubelet does whose machine shuts down gracefully:
// hooks, SIGTERM and at most grace for both, no deletionTimestamp; they end as Failed, or as
// Succeeded if their containers exit with 0.
// It waits until none runs any more. The node takes no further pods.
func (f *Fleet) Shutdown(ctx context.Context, node string, grace time.Duration) error {
	h := f.byName[node]
	if h == nil {
		return fmt.Errorf("there is no node %s", node)
	}
	h.down.Store(true)
	if err := f.notReady(ctx, node, "KubeletNotReady", "node is shutting down"); err != nil {
		return err
	}
	for _, w := range f.of(h) {
		w.post(func() { w.meet(fate{shutdownReason, shutdownMessage, grace}) })
	}
	return f.quiet(ctx, h)
}

// Evict ends a pod as a kubelet does whose machine has too little memory, with at most
// grace for hooks and SIGTERM; none at all kills at once.
func (f *Fleet) Evict(pod types.UID, grace time.Duration) error {
	return f.tell(pod, func(w *worker) { w.meet(fate{evictedReason, evictedMessage, grace}) })
}

// KillForMemory ends a container's process as the kernel does when it passes its memory
// limit: it exits with 137, reason OOMKilled, and is started again as its policy says.
func (f *Fleet) KillForMemory(pod types.UID, name string) error {
	return f.strike(pod, name, func(c *container) {
		c.starved = true
		c.app.kill()
	})
}

// Crash has a container's process end of itself with code 1, whatever it is doing; it is
// started again as its policy says.
func (f *Fleet) Crash(pod types.UID, name string) error {
	return f.strike(pod, name, func(c *container) { c.app.exit(exitFailure, "") })
}

// strike does something to a container's process, if it runs.
func (f *Fleet) strike(pod types.UID, name string, how func(*container)) error {
	return f.tell(pod, func(w *worker) {
		for _, c := range w.containers {
			if c.spec.Name == name && c.state == running && c.app != nil {
				how(c)
			}
		}
	})
}

// Vanish takes a node away at once, as a power cut does: its pods no longer answer, and
// nobody says so to the API server. Deleting them without grace is up to others.
func (f *Fleet) Vanish(node string) error {
	h := f.byName[node]
	if h == nil {
		return fmt.Errorf("there is no node %s", node)
	}
	h.down.Store(true)
	_ = h.server.Close()
	for _, w := range f.of(h) {
		w.cancel()
		<-w.ended
	}
	return nil
}

// Boot starts the machine of a node again that was shut down or has vanished: it is Ready
// and takes pods. Those that are still bound to it are started, again if they had run and
// haven't ended for good.
func (f *Fleet) Boot(ctx context.Context, node string) error {
	h := f.byName[node]
	switch {
	case h == nil:
		return fmt.Errorf("there is no node %s", node)
	case !h.down.Load():
		return fmt.Errorf("node %s is up", node)
	}
	_ = h.server.Close() // that of one that was shut down still listens
	if err := h.block.reclaim(); err != nil {
		return fmt.Errorf("booting %s: %w", node, err)
	}
	f.serve(h)
	h.down.Store(false)
	f.resume(h)
	return f.register(ctx, h)
}

// resume takes up the pods of a node that has come back.
func (f *Fleet) resume(h *host) {
	for _, w := range f.of(h) {
		select {
		case <-w.ended:
			f.mu.Lock()
			delete(f.workers, w.uid)
			f.mu.Unlock()
		default: // it waits for its object to go
		}
	}
	for _, obj := range f.pods.List() {
		if pod := obj.(*corev1.Pod); f.byName[pod.Spec.NodeName] == h {
			f.seen(pod)
		}
	}
}

// of lists the pods of a node.
func (f *Fleet) of(h *host) []*worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*worker
	for _, w := range f.workers {
		if w.host == h {
			out = append(out, w)
		}
	}
	return out
}

// tell hands a pod's worker something to do.
func (f *Fleet) tell(pod types.UID, do func(*worker)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.workers[pod]
	if w == nil {
		return fmt.Errorf("no node has a pod %s", pod)
	}
	w.post(func() { do(w) })
	return nil
}

// quiet waits until nothing runs on a node.
func (f *Fleet) quiet(ctx context.Context, h *host) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		runs := false
		for _, w := range f.of(h) {
			answer := make(chan bool, 1)
			w.post(func() { answer <- w.anyRunning(nil) })
			select {
			case r := <-answer:
				runs = runs || r
			case <-w.ended:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !runs {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notReady has the Node say so.
func (f *Fleet) notReady(ctx context.Context, node, reason, message string) error {
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"False","reason":%q,"message":%q,"lastTransitionTime":%q}]}}`,
		reason, message, f.now().UTC().Format(time.RFC3339))
	_, err := f.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("saying that %s is not ready: %w", node, err)
	}
	return nil
}

// meet begins the pod's end. A pod that is being deleted, or has ended, goes on as it did.
func (w *worker) meet(f fate) {
	if w.terminating || w.over || w.fate != nil {
		return
	}
	w.fate = &f
	w.terminating, w.grace = true, min(w.podGrace(), int64(f.grace/time.Second))
	w.forced = f.grace <= 0
}

// fated is what a fate makes of a status: a condition at once; in the end the reason, and
// Failed for its phase, but not if all containers exited with 0. Then the kubelet computes
// Succeeded, and with the phase goes the reason (generateAPIPodStatus, mergePodStatus).
func (f *fate) fated(status *corev1.PodStatus, over bool, generation int64, now metav1.Time) {
	if f == nil {
		return
	}
	if over && status.Phase != corev1.PodSucceeded {
		status.Phase, status.Reason, status.Message = corev1.PodFailed, f.reason, f.message
	}
	target := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: byKubelet, Message: f.message,
		LastTransitionTime: now, ObservedGeneration: generation,
	}
	if old := condition(status.Conditions, corev1.DisruptionTarget); old != nil {
		target.LastTransitionTime = old.LastTransitionTime
		*old = target
		return
	}
	status.Conditions = append(status.Conditions, target)
}
