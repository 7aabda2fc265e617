package model

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Times of pods.
const (
	grace = 30 * time.Second
	hold  = 15 * time.Second
)

// stage is how far a pod has come.
type stage int

const (
	pending stage = iota
	running
	// asking: its preStop hook waits for an answer.
	asking
	// ended: its containers have been told to end.
	ended
)

// pod is one as its node knows it.
type pod struct {
	name, uid, ip string
	stage         stage
	// up: it answers at its address. restarting: only its container ends.
	up, restarting bool
	// ready: its containers were ready once.
	ready     bool
	deleting  bool
	container int
	asked     time.Time
	// drained: SIGTERM came when the forwarder had said so.
	drained bool
	gone    bool
}

func (p *pod) key() string { return space + "/" + p.name }

func (p *pod) id() string { return fmt.Sprintf("containerd://%s-%d", p.uid[24:], p.container) }

// at is whose sandbox has an address.
func (w *world) at(ip string) *pod {
	for _, p := range w.pods {
		if p.ip == ip {
			return p
		}
	}
	return nil
}

// service makes a Service of ours before the CLB.
func (w *world) service(selector map[string]string) {
	w.services++
	name := fmt.Sprintf("web-%d", w.services)
	w.api.put("services", &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: name, UID: types.UID(uid(1000 + w.services)), CreationTimestamp: metav1.NewTime(time.Now()),
			Annotations: map[string]string{desired.DirectAccess: "true", desired.ExistingLB: w.clb.id}},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: selector,
			Ports: []corev1.ServicePort{{Port: int32(80 + w.services), Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}}},
	})
}

func uid(n int) string { return fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", n) }

// create makes a pod; names come again as those of a StatefulSet do.
func (w *world) create() {
	w.created++
	p := &pod{uid: uid(w.created)}
	for i := range 9 {
		name := fmt.Sprintf("pod-%d", i)
		if w.api.objects["pods"][space+"/"+name] == nil && !slices.ContainsFunc(w.pods, func(o *pod) bool { return o.name == name }) {
			p.name = name
			break
		}
	}
	seconds := int64(grace / time.Second)
	w.pods = append(w.pods, p)
	w.api.put("pods", &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: p.name, UID: types.UID(p.uid), CreationTimestamp: metav1.NewTime(time.Now()),
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{model.DrainToken: "token-" + p.uid}},
		Spec: corev1.PodSpec{NodeName: "node-1", TerminationGracePeriodSeconds: &seconds, RestartPolicy: corev1.RestartPolicyAlways,
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: model.GateType}},
			Containers: []corev1.Container{{Name: "app", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: w.hook(p)}}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	})
}

func (w *world) hook(p *pod) string { return model.DrainPath + space + "/token-" + p.uid + "/app" }

// publish changes a pod's object.
func (w *world) publish(p *pod, f func(*corev1.Pod)) {
	have, ok := w.api.objects["pods"][p.key()].(*corev1.Pod)
	if !ok || string(have.UID) != p.uid {
		return
	}
	o := have.DeepCopy()
	f(o)
	w.api.put("pods", o)
}

func (w *world) object(p *pod) *corev1.Pod {
	o, ok := w.api.objects["pods"][p.key()].(*corev1.Pod)
	if !ok || string(o.UID) != p.uid {
		return nil
	}
	return o
}

func mark(o *corev1.Pod, kind corev1.PodConditionType, is bool) {
	status := corev1.ConditionFalse
	if is {
		status = corev1.ConditionTrue
	}
	if c := condition(o, kind); c != nil && c.Status == status {
		return
	}
	setCondition(o, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.NewTime(time.Now())})
}

// address is a free one: the first, so that they come again at once.
func (w *world) address() string {
	for i := 1; ; i++ {
		if ip := fmt.Sprintf("10.0.0.%d", i); w.at(ip) == nil {
			return ip
		}
	}
}

// live goes one step on with a pod, as its node does.
func (w *world) live(p *pod) {
	o := w.object(p)
	switch {
	case p.stage == pending:
		p.ip, p.stage, p.container = w.address(), running, 1
		w.note("%s starts at %s", p.name, p.ip)
		w.law.owned(p)
		w.publish(p, func(o *corev1.Pod) {
			now := metav1.NewTime(time.Now())
			o.Status.Phase, o.Status.PodIP, o.Status.StartTime = corev1.PodRunning, p.ip, &now
			mark(o, corev1.PodReadyToStartContainers, true)
			w.container(o, p)
		})
	case p.stage == running && p.deleting || p.stage == running && p.restarting:
		w.ask(p)
	case p.stage == running && !p.up:
		w.note("%s answers", p.name)
		p.up = true
	case p.stage == running && o != nil && !isTrue(o, corev1.ContainersReady):
		w.note("%s: its containers are ready", p.name)
		p.ready = true
		w.publish(p, func(o *corev1.Pod) { mark(o, corev1.ContainersReady, true) })
	case p.stage == ended && p.up:
		w.note("%s answers no more", p.name)
		p.up = false
	case p.stage == ended && !p.deleting: // its container is restarted
		p.stage, p.restarting, p.drained = running, false, false
		p.container++
		w.note("%s: container %s starts", p.name, p.id())
		w.publish(p, func(o *corev1.Pod) { mark(o, corev1.ContainersReady, false); w.container(o, p) })
	case p.stage == ended && o != nil && o.Status.ContainerStatuses[0].State.Terminated == nil:
		w.note("%s: its containers have ended", p.name)
		w.publish(p, func(o *corev1.Pod) {
			mark(o, corev1.ContainersReady, false)
			o.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
		})
	case p.stage == ended && p.ip != "":
		w.note("%s: %s is free", p.name, p.ip)
		p.ip = ""
	case p.stage == ended:
		w.note("%s is gone", p.name)
		w.forget(p)
	}
}

func (w *world) container(o *corev1.Pod, p *pod) {
	o.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: p.id(), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
}

func (w *world) forget(p *pod) {
	if w.object(p) != nil {
		w.api.remove("pods", p.key())
	}
	p.gone = true
	w.pods = slices.DeleteFunc(w.pods, func(o *pod) bool { return o == p })
}

// remove deletes a pod, as users and controllers do.
func (w *world) remove(p *pod) {
	w.note("%s is deleted", p.name)
	p.deleting = true
	w.publish(p, func(o *corev1.Pod) { now := metav1.NewTime(time.Now()); o.DeletionTimestamp = &now })
	if p.stage == pending {
		w.forget(p)
	}
}

// force deletes a pod whose node doesn't answer: it is gone at once.
func (w *world) force(p *pod) {
	w.note("%s is deleted by force", p.name)
	p.up, p.ip, p.stage = false, "", ended
	w.forget(p)
}

// ask has the node ask a replica to drain the pod, and wait.
func (w *world) ask(p *pod) {
	p.stage, p.asked = asking, time.Now()
	term := func(drained bool) {
		if p.gone || p.stage != asking {
			return
		}
		w.note("%s: SIGTERM, drained %t", p.name, drained)
		p.stage, p.drained = ended, drained
	}
	if len(w.replicas) == 0 {
		term(false)
		return
	}
	r := w.replicas[w.dice.IntN(len(w.replicas))]
	w.note("%s: its hook asks %s", p.name, r.name)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	r.ask(ctx, w.hook(p), func(status int, broken bool) {
		cancel()
		if !p.gone && p.stage == asking {
			w.note("%s: the hook is answered %d, broken %t", p.name, status, broken)
			w.law.answered(p, r, status, broken)
		}
		term(status == 200 && !broken)
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
