package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const gate corev1.PodConditionType = "cloud.tencent.com/load-balancer-backendgroup-ready"

// setCondition writes a condition as another controller would.
func (b *bench) setCondition(pod *corev1.Pod, kind corev1.PodConditionType, status corev1.ConditionStatus) {
	b.Helper()
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":%q,"status":%q,"reason":"Test","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`, kind, status)
	if _, err := b.client.CoreV1().Pods(b.namespace).Patch(b.Context(), pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) annotate(pod *corev1.Pod, key string, value any) {
	b.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{AnnotationPrefix + key: value}}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := b.client.CoreV1().Pods(b.namespace).Patch(b.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		b.Fatal(err)
	}
}

// awaitEvent waits for an Event on a pod and returns its message.
func (b *bench) awaitEvent(pod *corev1.Pod, reason string) string {
	b.Helper()
	var message string
	b.await("the Event "+reason, func(ctx context.Context) (bool, error) {
		events, err := b.client.CoreV1().Events(b.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name + ",reason=" + reason})
		if err != nil || len(events.Items) == 0 {
			return false, err
		}
		message = events.Items[0].Message
		return true, nil
	})
	return message
}

func TestNodeIsReadyForPods(t *testing.T) {
	b := newBench(t)
	node, err := b.client.CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, taint := range node.Spec.Taints {
		t.Errorf("taint %s: a node that is ready has none", taint.Key)
	}
	for _, name := range []corev1.ResourceName{ResourceENIIP, ResourceDirectENI, corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory} {
		if q := node.Status.Allocatable[name]; q.Value() <= 0 {
			t.Errorf("allocatable %s: got %s, want some", name, q.String())
		}
	}
	if got := node.Labels[corev1.LabelHostname]; got != "node-1" {
		t.Errorf("label %s: got %q", corev1.LabelHostname, got)
	}
}

func TestENIPodsAreScheduledByResource(t *testing.T) {
	b := newBench(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		one := corev1.ResourceList{ResourceENIIP: resource.MustParse("1")}
		p.Annotations[AnnotationNetworks] = "tke-route-eni"
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: one, Limits: one}
	}))
	var got []networkStatus
	if err := json.Unmarshal([]byte(pod.Annotations[AnnotationNetworksStatus]), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Name != "tke-route-eni" || !got[0].Default || got[0].IPs[0] != pod.Status.PodIP {
		t.Errorf("networks-status: got %+v, want tke-route-eni with %s", got, pod.Status.PodIP)
	}

	tooMany := b.create(func(p *corev1.Pod) {
		many := corev1.ResourceList{ResourceENIIP: resource.MustParse("1000000")}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: many, Limits: many}
	})
	b.until(tooMany.Name, "can't be scheduled", func(p *corev1.Pod) bool {
		c := condition(p.Status.Conditions, corev1.PodScheduled)
		return c != nil && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, string(ResourceENIIP))
	})
}

func TestAddressComesBeforeContainers(t *testing.T) {
	b := newBench(t)
	pod := b.create(func(p *corev1.Pod) { p.Annotations[AnnotationPrefix+KeyStartDelay] = "1h" })
	pod = b.until(pod.Name, "has an address", func(p *corev1.Pod) bool { return p.Status.PodIP != "" })

	if pod.Status.Phase != corev1.PodPending || !isTrue(pod, corev1.PodReadyToStartContainers) || isTrue(pod, corev1.ContainersReady) {
		t.Errorf("want Pending, ready to start containers, none ready: %+v", pod.Status)
	}
	if w := pod.Status.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != "ContainerCreating" {
		t.Errorf("container: got %+v, want waiting, ContainerCreating", pod.Status.ContainerStatuses[0].State)
	}
	addr := netip.MustParseAddr(pod.Status.PodIP)
	if !DefaultAddresses.Contains(addr) || pod.Status.PodIP == pod.Status.HostIP {
		t.Errorf("address %s of node %s: want one of its own in %s", addr, pod.Status.HostIP, DefaultAddresses)
	}
	b.delete(pod, nil)
	b.untilGone(pod)
	if b.happened(pod, Started) {
		t.Error("a container of a deleted pod was started")
	}
}

func TestReadyWaitsForGates(t *testing.T) {
	b := newBench(t)
	pod := b.create(func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: gate}}
	})
	pod = b.until(pod.Name, "has ready containers", func(p *corev1.Pod) bool { return isTrue(p, corev1.ContainersReady) })
	want := corev1.PodCondition{
		Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ReadinessGatesNotReady",
		Message: `corresponding condition of pod readiness gate "cloud.tencent.com/load-balancer-backendgroup-ready" does not exist.`,
	}
	if diff := cmp.Diff(want, plain(condition(pod.Status.Conditions, corev1.PodReady))); diff != "" {
		t.Errorf("Ready without the gate's condition (-want +got):\n%s", diff)
	}
	b.setCondition(pod, gate, corev1.ConditionFalse)
	b.until(pod.Name, "names the gate as False", func(p *corev1.Pod) bool {
		return condition(p.Status.Conditions, corev1.PodReady).Message == `the status of pod readiness gate "cloud.tencent.com/load-balancer-backendgroup-ready" is not "True", but False`
	})
	began := time.Now()
	b.setCondition(pod, gate, corev1.ConditionTrue)
	pod = b.ready(pod)
	t.Logf("gate True to Ready: %v", time.Since(began))
	if c := condition(pod.Status.Conditions, gate); c.Reason != "Test" || c.LastTransitionTime.Year() != 2026 {
		t.Errorf("the gate's condition was touched: %+v", c)
	}
	b.setCondition(pod, gate, corev1.ConditionFalse)
	b.until(pod.Name, "isn't Ready any more", func(p *corev1.Pod) bool { return !ready(p) })
}

// plain drops what differs from run to run.
func plain(c *corev1.PodCondition) corev1.PodCondition {
	return corev1.PodCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message}
}

func TestForeignConditionsAreKept(t *testing.T) {
	b := newBench(t)
	pod := b.create(func(p *corev1.Pod) {
		p.Annotations[AnnotationPrefix+KeyReadyDelay] = "300ms"
		p.Spec.Containers[0].ReadinessProbe = httpProbe("/ready")
	})
	// Written while the node is busy writing too.
	for i := range 20 {
		b.setCondition(pod, corev1.PodConditionType(fmt.Sprintf("example.com/c%d", i)), corev1.ConditionTrue)
	}
	pod = b.ready(pod)
	for i := range 20 {
		kind := corev1.PodConditionType(fmt.Sprintf("example.com/c%d", i))
		if c := condition(pod.Status.Conditions, kind); c == nil || c.Reason != "Test" {
			t.Errorf("condition %s: got %+v, want it kept", kind, c)
		}
	}
}

func httpProbe(path string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(80)}},
		PeriodSeconds:    1,
		FailureThreshold: 1,
	}
}

func tcpProbe(port int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}},
		PeriodSeconds:    1,
		FailureThreshold: 1,
	}
}

func TestReadinessFollowsItsProbe(t *testing.T) {
	tests := map[string]struct {
		reason string
		probe  *corev1.Probe
	}{
		"HTTP": {"the path answers 503 while told to fail", httpProbe("/ready")},
		"TCP":  {"the port is closed while told to fail", tcpProbe(80)},
		"Exec": {"what can't be run is answered by the application itself", &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}},
			PeriodSeconds: 1, FailureThreshold: 1,
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pod := b.ready(b.create(func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = tc.probe }))
			id := pod.Status.ContainerStatuses[0].ContainerID
			b.annotate(pod, KeyFailProbe, "readiness")
			pod = b.until(pod.Name, "isn't Ready", func(p *corev1.Pod) bool { return !ready(p) })
			want := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "containers with unready status: [app]"}
			if diff := cmp.Diff(want, plain(condition(pod.Status.Conditions, corev1.PodReady))); diff != "" {
				t.Errorf("%s: Ready (-want +got):\n%s", tc.reason, diff)
			}
			b.awaitEvent(pod, "Unhealthy")
			b.annotate(pod, KeyFailProbe, nil)
			pod = b.ready(pod)
			if got := pod.Status.ContainerStatuses[0]; got.ContainerID != id || got.RestartCount != 0 {
				t.Errorf("%s: the container was restarted: %+v", tc.reason, got)
			}
		})
	}
}

func TestReadyDelayAnswers503(t *testing.T) {
	b := newBench(t)
	pod := b.create(func(p *corev1.Pod) {
		p.Annotations[AnnotationPrefix+KeyReadyDelay] = "1s"
		p.Spec.Containers[0].ReadinessProbe = httpProbe("/ready")
	})
	pod = b.until(pod.Name, "runs", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if ready(pod) {
		t.Error("Ready before the application is")
	}
	b.ready(pod)
}

func TestStartupProbeHoldsTheOthers(t *testing.T) {
	b := newBench(t)
	pod := b.create(func(p *corev1.Pod) {
		p.Annotations[AnnotationPrefix+KeyFailProbe] = "liveness"
		p.Annotations[AnnotationPrefix+KeyReadyDelay] = "1500ms"
		c := &p.Spec.Containers[0]
		c.StartupProbe, c.LivenessProbe = httpProbe("/started"), httpProbe("/alive")
		c.StartupProbe.FailureThreshold = 30
	})
	// The application is up after 1.5 s; until then its startup probe fails, and
	// liveness, which would fail too, isn't looked at.
	if got := b.moment(pod, Terminated).Sub(b.moment(pod, Started)); got < 1500*time.Millisecond {
		t.Errorf("the liveness probe ended the container %v after its start, before the startup probe could succeed", got)
	}
	b.until(pod.Name, "is restarted by its liveness probe", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount > 0 })
}

func TestLivenessRestart(t *testing.T) {
	b := newBench(t)
	hook := newHookServer(t)
	pod := b.ready(b.create(func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: gate}}
		c := &p.Spec.Containers[0]
		c.LivenessProbe = httpProbe("/alive")
		c.Lifecycle = &corev1.Lifecycle{PreStop: hook.handler()}
		go b.setConditionWhenRunning(p)
	}))
	before := pod.Status.ContainerStatuses[0]
	b.annotate(pod, KeyFailProbe, "liveness")
	req := hook.await()
	if c := b.get(pod.Name); c.Status.ContainerStatuses[0].ContainerID != before.ContainerID {
		t.Error("the container ended before its hook was answered")
	}
	b.annotate(pod, KeyFailProbe, nil)
	close(req)
	pod = b.until(pod.Name, "is restarted", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && ready(p)
	})
	after := pod.Status.ContainerStatuses[0]
	if after.ContainerID == before.ContainerID {
		t.Error("the container kept its ID")
	}
	if last := after.LastTerminationState.Terminated; last == nil || last.ContainerID != before.ContainerID {
		t.Errorf("last state: got %+v, want the end of %s", after.LastTerminationState, before.ContainerID)
	}
	if pod.Status.PodIP == "" || !isTrue(pod, gate) {
		t.Errorf("address and gate must outlive the restart: %+v", pod.Status)
	}
}
