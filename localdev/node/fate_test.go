package node

import (
	"context"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// disrupted tells whether a pod says that its node ends it.
func disrupted(p *corev1.Pod) bool {
	c := condition(p.Status.Conditions, corev1.DisruptionTarget)
	return c != nil && c.Status == corev1.ConditionTrue && c.Reason == byKubelet
}

// TestGracefulNodeShutdown: hook, SIGTERM, no deletionTimestamp; in the end Succeeded, as
// its container exits with 0, and without a reason; Failed with one if that is killed.
func TestGracefulNodeShutdown(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(nil)
	node := b.namespace + "-1"
	hook := newHookServer(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.NodeName = node
		p.Spec.TerminationGracePeriodSeconds = new(int64(30))
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
	}))
	stubborn := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.NodeName = node
		p.Spec.TerminationGracePeriodSeconds = new(int64(1))
		p.Annotations = map[string]string{AnnotationPrefix + KeyIgnoreSIGTERM: "true"}
	}))
	down := make(chan error, 1)
	go func() { down <- f.Shutdown(t.Context(), node, 20*time.Second) }()
	release := <-hook.held
	b.until(pod.Name, "says so while its hook runs", func(p *corev1.Pod) bool {
		return disrupted(p) && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning
	})
	if got := ask(t, pod.Status.PodIP, 80); got.UID != string(pod.UID) {
		t.Errorf("asked while its hook runs: got %+v", got)
	}
	close(release)
	if err := <-down; err != nil {
		t.Fatal(err)
	}
	got := b.until(pod.Name, "has succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	if got.Status.Reason != "" || got.Status.Message != "" || got.DeletionTimestamp != nil || !disrupted(got) {
		t.Errorf("exited with 0: got %+v", got.Status)
	}
	got = b.until(stubborn.Name, "has failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if got.Status.Reason != shutdownReason || got.Status.Message != shutdownMessage || got.DeletionTimestamp != nil || !disrupted(got) {
		t.Errorf("killed: got %+v", got.Status)
	}
	n, err := b.client.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			t.Error("the node still says that it is ready")
		}
	}
}

func TestEvictionUnderPressure(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(nil)
	for name, grace := range map[string]time.Duration{"soft": 5 * time.Second, "hard": 0} {
		pod := b.ready(b.create(func(p *corev1.Pod) { p.Spec.NodeName = b.namespace + "-1" }))
		if err := f.Evict(pod.UID, grace); err != nil {
			t.Fatal(err)
		}
		got := b.until(pod.Name, "has ended", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
		})
		// One that has time to exit with 0 has succeeded.
		wanted := corev1.PodStatus{Phase: corev1.PodSucceeded}
		if grace == 0 {
			wanted = corev1.PodStatus{Phase: corev1.PodFailed, Reason: evictedReason}
		}
		if got.Status.Phase != wanted.Phase || got.Status.Reason != wanted.Reason || !disrupted(got) {
			t.Errorf("%s: got %+v", name, got.Status)
		}
		killed := false
		for _, m := range f.Moments(pod.UID) {
			killed = killed || m.What == Killed
		}
		if hard := grace == 0; killed != hard {
			t.Errorf("%s: killed is %v", name, killed)
		}
	}
	if err := f.Evict("nobody", 0); err == nil {
		t.Error("a pod there isn't was evicted")
	}
}

func TestContainerKilledForItsMemory(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(func(o *Options) { o.BackoffInitial = 100 * time.Millisecond })
	pod := b.ready(b.create(func(p *corev1.Pod) { p.Spec.NodeName = b.namespace + "-1" }))
	if err := f.KillForMemory(pod.UID, "app"); err != nil {
		t.Fatal(err)
	}
	got := b.until(pod.Name, "is restarted", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && ready(p)
	})
	last := got.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
		t.Errorf("got %+v", last)
	}
	if got.Status.PodIP != pod.Status.PodIP {
		t.Errorf("its address changed from %s to %s", pod.Status.PodIP, got.Status.PodIP)
	}
}

// TestCrash: the process ends of itself, and is started again.
func TestCrash(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(func(o *Options) { o.BackoffInitial = 100 * time.Millisecond })
	pod := b.ready(b.create(func(p *corev1.Pod) { p.Spec.NodeName = b.namespace + "-1" }))
	if err := f.Crash(pod.UID, "app"); err != nil {
		t.Fatal(err)
	}
	got := b.until(pod.Name, "is restarted", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && ready(p)
	})
	last := got.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.Reason != "Error" || last.ExitCode != 1 {
		t.Errorf("got %+v", last)
	}
}

// TestBoot: a node that has gone, or was shut down, comes back and takes pods.
func TestBoot(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(nil)
	name := b.namespace + "-1"
	if err := f.Boot(t.Context(), name); err == nil {
		t.Error("a node that is up was booted")
	}
	ran := map[types.UID]bool{}
	for how, down := range map[string]func() error{
		"vanished":  func() error { return f.Vanish(name) },
		"shut down": func() error { return f.Shutdown(t.Context(), name, time.Second) },
	} {
		if err := down(); err != nil {
			t.Fatal(err)
		}
		for uid := range ran {
			if past := f.Moments(uid); past[len(past)-1].What != Exited {
				t.Errorf("%s: the journal of its pod ends with %+v", how, past[len(past)-1])
			}
		}
		waiting := b.create(func(p *corev1.Pod) { p.Spec.NodeName = name })
		if err := f.Boot(t.Context(), name); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		// One that came while the node was away is started now.
		b.ready(waiting)
		pod := b.ready(b.create(func(p *corev1.Pod) { p.Spec.NodeName = name }))
		ran = map[types.UID]bool{pod.UID: true}
		if got := ask(t, pod.Status.PodIP, 80); got.UID != string(pod.UID) || !got.Ready {
			t.Errorf("%s: got %+v", how, got)
		}
		n, err := b.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				t.Errorf("%s: the node isn't ready: %+v", how, c)
			}
		}
	}
}

// TestVanishedNode: nobody answers any more and nobody says so; the object goes when it is
// deleted by force.
func TestVanishedNode(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(nil)
	node := b.namespace + "-1"
	pod := b.ready(b.create(func(p *corev1.Pod) { p.Spec.NodeName = node }))
	if err := f.Vanish(node); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(pod.Status.PodIP, "80")); err == nil {
		conn.Close()
		t.Error("its pod still answers")
	}
	if got := b.get(pod.Name); !ready(got) {
		t.Errorf("it said so: %+v", got.Status)
	}
	pods := b.client.CoreV1().Pods(b.namespace)
	if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := b.get(pod.Name); got.DeletionTimestamp == nil {
		t.Error("the pod should wait for its node")
	}
	if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		t.Fatal(err)
	}
	b.await("the object to be gone", func(ctx context.Context) (bool, error) {
		_, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		return err != nil, nil
	})
}
