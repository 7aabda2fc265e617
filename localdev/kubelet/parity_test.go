package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// gate is a readiness gate that this test decides.
const gate = "localdev.clb-direct.io/gate"

// actor takes a pod through a story on one of the two nodes.
type actor struct {
	t      *testing.T
	ctx    context.Context
	client kubernetes.Interface
	node   string
	real   bool
	name   string
	events watch.Interface
	last   *corev1.Pod
	gone   bool
	// told are the moments of the story, as the API had them.
	told []string
}

// The emulated node tells the same stories as the real one: the same statuses, conditions
// with their reasons and messages, container states and ids, at each of their moments.
func TestEmulatedNodeDoesTheSame(t *testing.T) {
	needed(t)
	c, n, err := begin(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := node.Start(t.Context(), node.Options{Config: c.RESTConfig()})
	if err != nil {
		t.Fatal(errors.Join(err, n.Close(), c.Stop()))
	}
	t.Cleanup(func() {
		if err := errors.Join(fleet.Close(), n.Close(), c.Stop()); err != nil {
			t.Error(err)
		}
	})
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	emulated := node.DefaultNamePrefix + "1"
	for _, story := range []struct {
		name string
		tell func(*actor)
	}{
		{"ReadinessGate", gated},
		{"HeldByItsHook", held},
		{"LivenessRestart", restarted},
		{"Succeeded", func(a *actor) { exits(a, 0, corev1.PodSucceeded) }},
		{"Failed", func(a *actor) { exits(a, 3, corev1.PodFailed) }},
		{"CrashLoop", crashes},
		{"DeletedUnready", deletedUnready},
		// The last: neither node takes pods after it.
		{"NodeShutdown", func(a *actor) {
			stubborn := *a
			stubborn.name += "-stubborn"
			stubborn.create(func(p *corev1.Pod) {
				p.Spec.TerminationGracePeriodSeconds = new(int64(1))
				p.Annotations = map[string]string{node.AnnotationPrefix + node.KeyIgnoreSIGTERM: "true"}
				p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "IGNORE_SIGTERM", Value: "true"})
			})
			a.create(nil)
			a.until("it is Ready", ready)
			stubborn.until("it is Ready", ready)
			if a.real {
				a.must(n.Shutdown())
			} else {
				a.must(fleet.Shutdown(a.ctx, emulated, 30*time.Second))
			}
			for _, a := range []*actor{a, &stubborn} {
				a.until("it has ended", func(p *corev1.Pod) bool {
					return (p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded) && !holds(p, corev1.PodReadyToStartContainers)
				})
			}
			stubborn.end()
			a.told = append(a.told, stubborn.told...)
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			stories := map[bool][]string{}
			for _, real := range []bool{true, false} {
				a := &actor{t: t, ctx: t.Context(), client: client, real: real, node: emulated, name: strings.ToLower(story.name) + "-emulated"}
				if real {
					a.node, a.name = n.Name, strings.ToLower(story.name)+"-real"
				}
				story.tell(a)
				a.end()
				stories[real] = a.told
			}
			if diff := cmp.Diff(stories[true], stories[false]); diff != "" {
				t.Errorf("a pod's story (-real +emulated):\n%s", diff)
			}
		})
	}
}

func gated(a *actor) {
	a.create(func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: gate}}
		readyAfter(p, "2s")
	})
	a.until("it runs and isn't ready", running)
	a.until("its containers are ready", func(p *corev1.Pod) bool { return holds(p, corev1.ContainersReady) })
	a.decide(corev1.ConditionFalse)
	a.until("its gate is False", func(p *corev1.Pod) bool { return strings.Contains(reasonOf(p, corev1.PodReady), "but False") })
	a.decide(corev1.ConditionTrue)
	a.until("it is Ready", ready)
	a.delete()
	a.untilGone()
}

func held(a *actor) {
	asked, answer := make(chan struct{}), make(chan struct{})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	a.must(err)
	defer l.Close()
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(asked)
			<-answer
		}))
	}()
	a.create(func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{
			Host: "127.0.0.1", Port: intstr.FromInt(l.Addr().(*net.TCPAddr).Port), Path: "/",
		}}}
	})
	a.until("it is Ready", ready)
	a.delete()
	select {
	case <-asked:
	case <-a.ctx.Done():
		a.t.Fatal("the hook was not asked")
	}
	a.until("its hook is asked", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	close(answer)
	a.untilGone()
}

func restarted(a *actor) {
	a.create(func(p *corev1.Pod) {
		readyAfter(p, "1s")
		// So that the emulated one can be made well again before it is asked.
		p.Spec.Containers[0].LivenessProbe.InitialDelaySeconds = 3
	})
	a.until("it is Ready", ready)
	if a.real {
		res, err := http.Post("http://"+a.last.Status.PodIP+application.LivePath, "", nil)
		a.must(err)
		_ = res.Body.Close()
	} else {
		a.annotate(`"liveness"`)
	}
	a.until("it is restarting", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 })
	if !a.real {
		a.annotate("null")
	}
	a.until("it is Ready again", ready)
}

func exits(a *actor, code int, phase corev1.PodPhase) {
	a.create(func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		ending(p, code)
	})
	a.until("it has ended", func(p *corev1.Pod) bool {
		return p.Status.Phase == phase && !holds(p, corev1.PodReadyToStartContainers)
	})
	a.delete()
	a.untilGone()
}

func crashes(a *actor) {
	a.create(func(p *corev1.Pod) { ending(p, 3) })
	a.until("it waits", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses
		return len(s) > 0 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
}

func deletedUnready(a *actor) {
	a.create(func(p *corev1.Pod) { readyAfter(p, "1h") })
	a.until("it runs and isn't ready", running)
	a.delete()
	a.untilGone()
}

// readyAfter has a pod's application be ready so long after its start.
func readyAfter(p *corev1.Pod, delay string) {
	p.Annotations = map[string]string{node.AnnotationPrefix + node.KeyReadyDelay: delay}
	p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "READY_DELAY", Value: delay})
}

// ending has a pod's container exit by itself.
func ending(p *corev1.Pod, code int) {
	p.Annotations = map[string]string{node.AnnotationPrefix + node.KeyExitAfter: "1s", node.AnnotationPrefix + node.KeyExitCode: fmt.Sprint(code)}
	p.Spec.Containers[0].ReadinessProbe, p.Spec.Containers[0].LivenessProbe = nil, nil
	p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "EXIT_AFTER", Value: "1s"}, corev1.EnvVar{Name: "EXIT_CODE", Value: fmt.Sprint(code)})
}

func (a *actor) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("%s: %v", a.name, err)
	}
}

// create makes the pod on the node and watches it.
func (a *actor) create(change func(*corev1.Pod)) {
	a.t.Helper()
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 5, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(80)}}}
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: a.name},
		Spec: corev1.PodSpec{NodeName: a.node, TerminationGracePeriodSeconds: new(int64(20)), Containers: []corev1.Container{{
			Name: "app", Image: DefaultImage, Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			ReadinessProbe: probe(application.ReadyPath), LivenessProbe: probe(application.LivePath),
		}}},
	}
	if change != nil {
		change(p)
	}
	var err error
	a.events, err = a.client.CoreV1().Pods("default").Watch(a.ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", a.name).String()})
	a.must(err)
	a.last, err = a.client.CoreV1().Pods("default").Create(a.ctx, p, metav1.CreateOptions{})
	a.must(err)
}

// until follows the pod up to a moment and notes how it is then.
func (a *actor) until(moment string, done func(*corev1.Pod) bool) {
	a.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for a.gone || !done(a.last) {
		select {
		case e := <-a.events.ResultChan():
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				a.t.Fatalf("%s: the watch ended: %v", a.name, e.Object)
			}
			a.last, a.gone = p, e.Type == watch.Deleted
		case <-limit.C:
			a.t.Fatalf("%s: waited a minute for %q; it is\n%s", a.name, moment, a.looks())
		}
		if a.gone {
			break
		}
	}
	a.told = append(a.told, moment+"\n"+a.looks())
}

func (a *actor) untilGone() {
	a.t.Helper()
	a.until("its object is gone", func(*corev1.Pod) bool { return a.gone })
}

func (a *actor) delete() {
	a.t.Helper()
	a.must(a.client.CoreV1().Pods("default").Delete(a.ctx, a.name, metav1.DeleteOptions{}))
}

// end leaves nothing of the story.
func (a *actor) end() {
	a.events.Stop()
	err := a.client.CoreV1().Pods("default").Delete(a.ctx, a.name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	if err != nil && !apierrors.IsNotFound(err) {
		a.must(err)
	}
}

func (a *actor) annotate(value string) {
	a.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, node.AnnotationPrefix+node.KeyFailProbe, value)
	_, err := a.client.CoreV1().Pods("default").Patch(a.ctx, a.name, types.MergePatchType, patch, metav1.PatchOptions{})
	a.must(err)
}

// decide sets the gate's condition.
func (a *actor) decide(status corev1.ConditionStatus) {
	a.t.Helper()
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":%q,"status":%q}]}}`, gate, status)
	_, err := a.client.CoreV1().Pods("default").Patch(a.ctx, a.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	a.must(err)
}

func running(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && p.Status.PodIP != "" && holds(p, corev1.PodReadyToStartContainers)
}

func ready(p *corev1.Pod) bool { return holds(p, corev1.PodReady) }

func holds(p *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func reasonOf(p *corev1.Pod, kind corev1.PodConditionType) string {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}

// looks is the pod's status without what must differ: times, addresses, names, digests.
func (a *actor) looks() string {
	p := a.last
	var b strings.Builder
	plain := func(s string) string {
		return strings.NewReplacer(string(p.UID), "<uid>", a.name, "<pod>").Replace(s)
	}
	s := p.Status
	fmt.Fprintf(&b, "phase %s reason %q message %q address %t %d host %t started %t deleted %t qos %s\n", s.Phase, s.Reason, plain(s.Message),
		s.PodIP != "", len(s.PodIPs), s.HostIP != "", s.StartTime != nil, p.DeletionTimestamp != nil, s.QOSClass)
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "condition %s %s %q %q observed %t since %t\n", c.Type, c.Status, c.Reason, plain(c.Message), c.ObservedGeneration == p.Generation, !c.LastTransitionTime.IsZero())
	}
	for _, c := range s.ContainerStatuses {
		started := "nil"
		if c.Started != nil {
			started = fmt.Sprint(*c.Started)
		}
		fmt.Fprintf(&b, "container %s ready %t started %s restarts %d id %s\n  now  %s\n  last %s\n", c.Name, c.Ready, started, c.RestartCount,
			shape(c.ContainerID), state(c.State, plain), state(c.LastTerminationState, plain))
	}
	return b.String()
}

// shape is what an id looks like.
func shape(id string) string {
	kind, rest, _ := strings.Cut(id, "://")
	return fmt.Sprintf("%s://%d", kind, len(rest))
}

func state(s corev1.ContainerState, plain func(string) string) string {
	switch {
	case s.Running != nil:
		return fmt.Sprintf("running since %t", !s.Running.StartedAt.IsZero())
	case s.Waiting != nil:
		return fmt.Sprintf("waiting %s %q", s.Waiting.Reason, plain(s.Waiting.Message))
	case s.Terminated != nil:
		t := s.Terminated
		return fmt.Sprintf("terminated %d %s %q signal %d id %s", t.ExitCode, t.Reason, plain(t.Message), t.Signal, shape(t.ContainerID))
	}
	return "-"
}
