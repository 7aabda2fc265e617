package node

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hookServer holds preStop requests until the test lets them go.
type hookServer struct {
	t      *testing.T
	server *httptest.Server
	held   chan chan struct{}
	seen   chan *http.Request
}

func newHookServer(t *testing.T) *hookServer {
	s := &hookServer{t: t, held: make(chan chan struct{}), seen: make(chan *http.Request, 10)}
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		release := make(chan struct{})
		s.seen <- r
		select {
		case s.held <- release:
		case <-r.Context().Done():
			return
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		// The kubelet takes any answer for a success.
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// handler is the hook that asks the server, over HTTPS with a certificate that
// nobody vouches for.
func (s *hookServer) handler() *corev1.LifecycleHandler {
	host, port, _ := net.SplitHostPort(s.server.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{
		Host: host, Port: intstr.FromInt32(int32(n)), Path: "/drain?token=x", Scheme: corev1.URISchemeHTTPS,
		HTTPHeaders: []corev1.HTTPHeader{{Name: "X-Token", Value: "secret"}},
	}}
}

// await waits for a request and returns what lets it go when closed.
func (s *hookServer) await() chan struct{} {
	s.t.Helper()
	select {
	case release := <-s.held:
		return release
	case <-time.After(30 * time.Second):
		s.t.Fatal("no preStop request came")
		return nil
	}
}

// setConditionWhenRunning opens the gate of the only pod in the namespace.
func (b *bench) setConditionWhenRunning(*corev1.Pod) {
	for b.Context().Err() == nil {
		pods, err := b.client.CoreV1().Pods(b.namespace).List(b.Context(), metav1.ListOptions{})
		if err == nil && len(pods.Items) == 1 {
			b.setCondition(&pods.Items[0], gate, corev1.ConditionTrue)
			return
		}
	}
}

func (b *bench) delete(pod *corev1.Pod, grace *int64) {
	b.Helper()
	if err := b.client.CoreV1().Pods(b.namespace).Delete(b.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) untilGone(pod *corev1.Pod) {
	b.Helper()
	b.await("the end of "+pod.Name, func(ctx context.Context) (bool, error) {
		_, err := b.client.CoreV1().Pods(b.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// moment returns when something first happened to a pod, waiting for it.
func (b *bench) moment(pod *corev1.Pod, what What) time.Time {
	b.Helper()
	var at time.Time
	b.await(string(what), func(context.Context) (bool, error) {
		for _, m := range b.fleet.Moments(pod.UID) {
			if m.What == what {
				at = m.At
				return true, nil
			}
		}
		return false, nil
	})
	return at
}

func (b *bench) happened(pod *corev1.Pod, what What) bool {
	for _, m := range b.fleet.Moments(pod.UID) {
		if m.What == what {
			return true
		}
	}
	return false
}

func TestDeletionRunsTheHookFirst(t *testing.T) {
	b := newBench(t)
	hook := newHookServer(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
	}))
	b.delete(pod, nil)
	release := hook.await()
	req := <-hook.seen
	if got, want := req.URL.RequestURI()+" "+req.Header.Get("X-Token")+" "+req.UserAgent(), "/drain?token=x secret kube-lifecycle/1.37"; got != want {
		t.Errorf("hook's request: got %q, want %q", got, want)
	}
	if host, _, _ := net.SplitHostPort(req.RemoteAddr); host != pod.Status.HostIP {
		t.Errorf("hook's request came from %s, want the node's address %s", host, pod.Status.HostIP)
	}
	// While the hook is held the application serves, and knows of nothing.
	if got := ask(t, pod.Status.PodIP, 80); got.State != StateReady {
		t.Errorf("state while the hook is held: got %s, want ready", got.State)
	}
	if p := b.get(pod.Name); !ready(p) || p.Status.Phase != corev1.PodRunning {
		t.Errorf("while the hook is held the pod stays Running and Ready: %+v", p.Status)
	}
	if b.happened(pod, Terminated) {
		t.Error("SIGTERM came before the hook was answered")
	}
	close(release)
	b.untilGone(pod)
	if b.happened(pod, Killed) {
		t.Error("a hook that was answered and an application that ends must not need SIGKILL")
	}
}

func TestGracePeriodBoundsTheHook(t *testing.T) {
	b := newBench(t)
	hook := newHookServer(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Annotations[AnnotationPrefix+KeyIgnoreSIGTERM] = "true"
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
	}))
	grace := int64(1)
	b.delete(pod, &grace)
	hook.await() // never let go
	b.untilGone(pod)
	began, termed, killed := b.moment(pod, HookBegan), b.moment(pod, Terminated), b.moment(pod, Killed)
	if got := termed.Sub(began); got < time.Second {
		t.Errorf("SIGTERM %v after the hook began, want the grace period of 1 s", got)
	}
	if got := killed.Sub(termed); got < 2*time.Second {
		t.Errorf("SIGKILL %v after SIGTERM, want at least the 2 s that always remain", got)
	}
}

func TestGracePeriodCanBeShortened(t *testing.T) {
	b := newBench(t)
	hook := newHookServer(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
	}))
	long, short := int64(3600), int64(1)
	b.delete(pod, &long)
	hook.await() // never let go
	b.delete(pod, &short)
	b.untilGone(pod)
	if b.happened(pod, Killed) || !b.happened(pod, Terminated) {
		t.Errorf("want SIGTERM after the shorter grace period: %+v", b.fleet.Moments(pod.UID))
	}
}

func TestHookThatFailsIsSkipped(t *testing.T) {
	tests := map[string]struct {
		reason string
		hook   corev1.LifecycleHandler
	}{
		"Exec":    {"there is nothing to execute", corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"nginx", "-s", "quit"}}}},
		"Refused": {"nobody listens there", corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Host: "127.0.0.1", Port: intstr.FromInt32(1), Path: "/"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pod := b.ready(b.create(func(p *corev1.Pod) {
				p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &tc.hook}
			}))
			b.delete(pod, nil)
			b.untilGone(pod)
			if got := b.awaitEvent(pod, "FailedPreStopHook"); got != "PreStopHook failed" {
				t.Errorf("%s: Event: got %q", tc.reason, got)
			}
		})
	}
}

func TestSleepHook(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}
	}))
	b.delete(pod, nil)
	b.untilGone(pod)
	if got := b.moment(pod, Terminated).Sub(b.moment(pod, HookBegan)); got < time.Second {
		t.Errorf("SIGTERM %v after the hook began, want its second of sleep", got)
	}
}

func TestIgnoredSIGTERMEndsInSIGKILL(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(func(p *corev1.Pod) { p.Annotations[AnnotationPrefix+KeyIgnoreSIGTERM] = "true" }))
	grace := int64(2)
	b.delete(pod, &grace)
	b.moment(pod, Terminated)
	if got := ask(t, pod.Status.PodIP, 80); got.State != StateReady {
		t.Errorf("state after an ignored SIGTERM: got %s, want ready", got.State)
	}
	b.untilGone(pod)
	if got := b.moment(pod, Killed).Sub(b.moment(pod, Terminated)); got < 2*time.Second {
		t.Errorf("SIGKILL %v after SIGTERM, want the grace period of 2 s", got)
	}
}

func TestForcedDeletionKillsAtOnce(t *testing.T) {
	b := newBench(t)
	hook := newHookServer(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
	}))
	b.delete(pod, new(int64))
	b.moment(pod, Exited)
	if !b.happened(pod, Killed) || b.happened(pod, HookBegan) || b.happened(pod, Terminated) {
		t.Errorf("want SIGKILL and nothing else: %+v", b.fleet.Moments(pod.UID))
	}
}

func TestFinalStatusIsWritten(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(func(p *corev1.Pod) { p.Finalizers = []string{"example.com/hold"} }))
	b.delete(pod, nil)
	pod = b.until(pod.Name, "has a final phase", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	state := pod.Status.ContainerStatuses[0].State.Terminated
	if state == nil || state.ExitCode != 0 || state.Reason != "Completed" {
		t.Errorf("container: got %+v, want terminated with 0", pod.Status.ContainerStatuses[0].State)
	}
	if c := condition(pod.Status.Conditions, corev1.PodReady); c.Status != corev1.ConditionFalse || c.Reason != "PodCompleted" {
		t.Errorf("Ready: got %+v, want False, PodCompleted", c)
	}
	if _, err := b.client.CoreV1().Pods(b.namespace).Patch(t.Context(), pod.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	b.untilGone(pod)
}

func TestCrashesBackOff(t *testing.T) {
	b := newBench(t)
	pod := b.create(func(p *corev1.Pod) { p.Annotations[AnnotationPrefix+KeyExitAfter] = "50ms" })
	pod = b.until(pod.Name, "backs off", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	got := pod.Status.ContainerStatuses[0]
	if got.RestartCount != 1 || got.LastTerminationState.Terminated == nil || got.LastTerminationState.Terminated.ExitCode != 1 {
		t.Errorf("the first restart comes at once, the second backs off: %+v", got)
	}
	if pod.Status.Phase != corev1.PodRunning {
		t.Errorf("phase: got %s, want Running", pod.Status.Phase)
	}
	b.until(pod.Name, "is restarted again", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount >= 3 })
}

func TestRestartPolicyDecidesThePhase(t *testing.T) {
	tests := map[string]struct {
		reason string
		policy corev1.RestartPolicy
		code   string
		want   corev1.PodPhase
	}{
		"NeverFailed":      {"a failure is final", corev1.RestartPolicyNever, "3", corev1.PodFailed},
		"NeverSucceeded":   {"an end with 0 is a success", corev1.RestartPolicyNever, "0", corev1.PodSucceeded},
		"OnFailureSuccess": {"nothing has failed", corev1.RestartPolicyOnFailure, "0", corev1.PodSucceeded},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pod := b.create(func(p *corev1.Pod) {
				p.Spec.RestartPolicy = tc.policy
				p.Annotations[AnnotationPrefix+KeyExitAfter] = "20ms"
				p.Annotations[AnnotationPrefix+KeyExitCode] = tc.code
			})
			pod = b.until(pod.Name, "has ended: "+tc.reason, func(p *corev1.Pod) bool { return p.Status.Phase == tc.want })
			if pod.Status.PodIP == "" || pod.Status.ContainerStatuses[0].RestartCount != 0 {
				t.Errorf("%s: status: %+v", tc.reason, pod.Status)
			}
			b.delete(pod, nil)
			b.untilGone(pod)
		})
	}
}

func TestBadAnnotationGivesAnEvent(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(func(p *corev1.Pod) { p.Annotations[AnnotationPrefix+KeyReadyDelay] = "soon" }))
	want := `annotation app.localdev.clb-direct.io/ready-delay: "soon" is not a duration such as 1.5s; the default is in force`
	if got := b.awaitEvent(pod, "InvalidAnnotation"); got != want {
		t.Errorf("Event:\n got %q\nwant %q", got, want)
	}
}

func TestInitContainersAndSidecars(t *testing.T) {
	b := newBench(t)
	always := corev1.ContainerRestartPolicyAlways
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{
			{Name: "setup", Image: "busybox"},
			{Name: "proxy", Image: "proxy", RestartPolicy: &always, Ports: []corev1.ContainerPort{{ContainerPort: 15001}}},
		}
	}))
	if got := pod.Status.InitContainerStatuses[0].State.Terminated; got == nil || got.ExitCode != 0 {
		t.Errorf("init container: got %+v, want ended with 0", pod.Status.InitContainerStatuses[0])
	}
	if got := ask(t, pod.Status.PodIP, 15001); got.ContainerID != pod.Status.InitContainerStatuses[1].ContainerID {
		t.Errorf("the sidecar's port is answered by %s, want the sidecar", got.ContainerID)
	}
	b.delete(pod, nil)
	b.untilGone(pod)
	var order []string
	for _, m := range b.fleet.Moments(pod.UID) {
		if m.What == Exited {
			order = append(order, m.Container)
		}
	}
	if len(order) != 2 || order[1] != "proxy" {
		t.Errorf("order of ends: got %v, want the sidecar last", order)
	}
}
