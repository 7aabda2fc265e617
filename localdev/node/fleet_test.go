package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ownFleet starts a fleet of one node for a test that ends it.
func (b *bench) ownFleet(edit func(*Options)) *Fleet {
	b.Helper()
	opts := Options{
		Config: controlPlane.cluster.RESTConfig(), NamePrefix: b.namespace + "-",
		SandboxDelay: -1, StartDelay: -1,
	}
	if edit != nil {
		edit(&opts)
	}
	f, err := Start(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	return f
}

func TestRestartedFleetIsARebootedNode(t *testing.T) {
	b := newBench(t)
	first := b.ownFleet(func(o *Options) { o.KeepNodes = true })
	on := func(p *corev1.Pod) { p.Spec.NodeName = b.namespace + "-1" }
	pod := b.ready(b.create(on))
	done := b.create(func(p *corev1.Pod) {
		on(p)
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Annotations[AnnotationPrefix+KeyExitAfter] = "10ms"
		p.Annotations[AnnotationPrefix+KeyExitCode] = "0"
	})
	done = b.until(done.Name, "has succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", net.JoinHostPort(pod.Status.PodIP, "80")); err == nil {
		t.Error("a pod's port outlived its node")
	}
	if got := b.get(pod.Name); !ready(got) {
		t.Errorf("a node that is off says nothing about its pods: %+v", got.Status)
	}

	b.ownFleet(nil)
	before := pod.Status.ContainerStatuses[0]
	pod = b.until(pod.Name, "is restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 && ready(p) })
	after := pod.Status.ContainerStatuses[0]
	if last := after.LastTerminationState.Terminated; after.ContainerID == before.ContainerID || last == nil || last.ContainerID != before.ContainerID {
		t.Errorf("container after the reboot: %+v", after)
	}
	if got := ask(t, pod.Status.PodIP, 80); got.UID != string(pod.UID) {
		t.Errorf("asked %s, got %+v", pod.UID, got)
	}
	if got := b.get(done.Name); got.ResourceVersion != done.ResourceVersion {
		t.Errorf("a pod in a final phase was written to: %+v", got.Status)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	b := newBench(t)
	f := b.ownFleet(nil)
	hook := newHookServer(t)
	on := func(p *corev1.Pod) {
		p.Spec.NodeName = b.namespace + "-1"
		c := &p.Spec.Containers[0]
		c.ReadinessProbe, c.LivenessProbe = httpProbe("/ready"), tcpProbe(80)
		c.Ports = []corev1.ContainerPort{{ContainerPort: 53, Protocol: corev1.ProtocolUDP}}
		c.Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
	}
	pod, stopping := b.ready(b.create(on)), b.ready(b.create(on))
	idle := dial(t, "tcp", net.JoinHostPort(pod.Status.PodIP, "80"))
	if got := ask(t, pod.Status.PodIP, 80); got.Pod != pod.Name {
		t.Errorf("asked %s, got %+v", pod.Name, got)
	}
	if got := f.RequestsServed(pod.UID); got != 1 {
		t.Errorf("requests served: got %d, want 1: probes and idle connections don't count", got)
	}
	receivers := []string{fmt.Sprintf("%p", f)}
	f.mu.Lock()
	for _, w := range f.workers {
		receivers = append(receivers, fmt.Sprintf("%p", w))
	}
	f.mu.Unlock()
	b.delete(stopping, nil)
	hook.await()
	if !strings.Contains(stacks(), receivers[1]) {
		t.Fatal("a worker's goroutine isn't found by its receiver: this test can't see leaks")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the fleet")
	}
	if _, err := b.client.CoreV1().Nodes().Get(t.Context(), b.namespace+"-1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Node after Close: got %v, want it gone", err)
	}
	// The shared fleet runs on; this one's goroutines are those that have it, or
	// one of its pods, as their receiver.
	b.await("the end of the fleet's goroutines", func(context.Context) (bool, error) {
		all := stacks()
		for _, receiver := range receivers {
			if strings.Contains(all, receiver) {
				return false, nil
			}
		}
		return true, nil
	})
	listener, err := net.Listen("tcp4", net.JoinHostPort(pod.Status.PodIP, "80"))
	if err != nil {
		t.Fatalf("a pod's port after Close: %v", err)
	}
	listener.Close()
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	buf := make([]byte, 16<<20)
	return string(bytes.TrimSpace(buf[:runtime.Stack(buf, true)]))
}

func TestAddressIsReusedOnlyWhenAsked(t *testing.T) {
	b := newBench(t)
	b.ownFleet(func(o *Options) { o.ReuseAddresses = true })
	on := func(p *corev1.Pod) { p.Spec.NodeName = b.namespace + "-1" }
	first := b.ready(b.create(on))
	b.delete(first, nil)
	b.untilGone(first)
	second := b.ready(b.create(on))
	if first.Status.PodIP != second.Status.PodIP {
		t.Errorf("addresses: got %s after %s, want the same", second.Status.PodIP, first.Status.PodIP)
	}
	if got := ask(t, second.Status.PodIP, 80); got.UID != string(second.UID) {
		t.Errorf("the reused address is answered by %s, want %s", got.UID, second.UID)
	}
}

func TestHostNetworkPodsHaveTheNodesAddress(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.HostNetwork = true
		p.Spec.Containers[0] = corev1.Container{Name: "app", Image: "x", Ports: []corev1.ContainerPort{{ContainerPort: 8088, HostPort: 8088}}}
	}))
	if pod.Status.PodIP != pod.Status.HostIP || pod.Annotations[AnnotationNetworksStatus] != "" {
		t.Errorf("address %s on node %s, networks-status %q", pod.Status.PodIP, pod.Status.HostIP, pod.Annotations[AnnotationNetworksStatus])
	}
}

// TestProbesComeFromTheNode tells apart what a load balancer and what a kubelet
// asked for.
func TestProbesComeFromTheNode(t *testing.T) {
	b := newBench(t)
	asked := make(chan string, 10)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			select {
			case asked <- host:
			default:
			}
			c.Close()
		}
	}()
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.Containers[0].ReadinessProbe = tcpProbe(int32(l.Addr().(*net.TCPAddr).Port))
		p.Spec.Containers[0].ReadinessProbe.TCPSocket.Host = "127.0.0.1"
	}))
	select {
	case got := <-asked:
		if got != pod.Status.HostIP {
			t.Errorf("a probe came from %s, want the node's address %s", got, pod.Status.HostIP)
		}
	case <-time.After(10 * time.Second):
		t.Error("no probe came")
	}
}
