package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

var moment = metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func TestPodFrom(t *testing.T) {
	later := metav1.NewTime(moment.Add(time.Minute))
	ended := corev1.ContainerStatus{Name: "web", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}
	runs := corev1.ContainerStatus{Name: "web", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	eni := func(name corev1.ResourceName, n string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{name: resource.MustParse(n)}}}
	}
	cases := map[string]struct {
		reason string
		args   corev1.Pod
		want   model.Pod
	}{
		"Identity": {
			reason: "who it is and where",
			args: corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", ResourceVersion: "7", Labels: map[string]string{"a": "b"}, CreationTimestamp: moment, DeletionTimestamp: &later},
				Spec:       corev1.PodSpec{NodeName: "n", HostNetwork: true},
				Status:     corev1.PodStatus{Phase: "Running", PodIP: "10.0.0.1", StartTime: &later},
			},
			want: model.Pod{Namespace: "ns", Name: "p", UID: "u", ResourceVersion: "7", Labels: map[string]string{"a": "b"}, NodeName: "n", HostNetwork: true, Phase: "Running", IP: "10.0.0.1", Created: moment.Time, Started: later.Time, Deleting: true},
		},
		"Annotations": {
			reason: "only those that somebody reads",
			args:   corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"x": "y", desired.CustomWeight: "5", desired.IngressCustomWeight: "6"}}},
			want:   model.Pod{Annotations: map[string]string{desired.CustomWeight: "5", desired.IngressCustomWeight: "6"}},
		},
		"Conditions": {
			reason: "when the containers, the sandbox and the gate became so",
			args: corev1.Pod{
				Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "other"}, {ConditionType: model.GateType}}},
				Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
					{Type: corev1.ContainersReady, Status: "True", LastTransitionTime: later},
					{Type: corev1.PodReadyToStartContainers, Status: "True", LastTransitionTime: moment},
					{Type: model.GateType, Status: "False", Reason: "R", Message: "M", LastTransitionTime: later},
				}},
			},
			want: model.Pod{Gated: true, ContainersReady: true, ContainersReadySince: later.Time, SandboxSince: moment.Time, Gate: &model.Condition{Reason: "R", Message: "M", Since: later.Time}},
		},
		"NotYet": {
			reason: "a condition that is not True tells no time",
			args: corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
				{Type: corev1.ContainersReady, Status: "False", LastTransitionTime: later},
				{Type: corev1.PodReadyToStartContainers, Status: "Unknown", LastTransitionTime: moment},
			}}},
		},
		"OtherGate": {reason: "another gate isn't ours", args: corev1.Pod{Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "other"}}}}},
		"Ports": {
			reason: "an unnamed protocol is TCP",
			args:   corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}, {Name: "dns", ContainerPort: 53, Protocol: "UDP"}}}}}},
			want:   model.Pod{Ports: []model.ContainerPort{{Name: "web", Port: 80, Protocol: model.TCP}, {Name: "dns", Port: 53, Protocol: model.UDP}}},
		},
		"ENI":     {reason: "a container asks for an address", args: corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{}, eni("tke.cloud.tencent.com/eni-ip", "1")}}}, want: model.Pod{DirectResource: true}},
		"ENIZero": {reason: "asks for none", args: corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{eni("tke.cloud.tencent.com/eni-ip", "0")}}}},
		"CPU":     {reason: "another resource", args: corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{eni("cpu", "1")}}}},
		"EndedGoing": {
			reason: "ended while the pod goes",
			args:   corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &moment}, Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{ended}}},
			want:   model.Pod{Deleting: true, AllTerminated: true},
		},
		"EndedNever": {
			reason: "ended and never restarted",
			args:   corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: make([]corev1.Container, 1)}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{ended}}},
			want:   model.Pod{AllTerminated: true},
		},
		"EndedRestarts": {
			reason: "a crash is followed by a restart at the same address",
			args:   corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{ended}}},
		},
		"EndedSome": {
			reason: "one still runs",
			args:   corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &moment}, Spec: corev1.PodSpec{Containers: make([]corev1.Container, 2)}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{ended, runs}}},
			want:   model.Pod{Deleting: true},
		},
		"Hooks": {
			reason: "a hook of its own drains nothing",
			args: corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: "ours", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/drain/default/token/ours"}}}},
				{Name: "own", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/bye"}}}},
				{Name: "after", Lifecycle: &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{}}},
			}}},
			want: model.Pod{Unhooked: []string{"own", "after"}, Bare: true},
		},
		"OwnHooks": {
			reason: "a hook of its own is no reason to give it one",
			args: corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: "own", Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}},
			}}},
			want: model.Pod{Unhooked: []string{"own"}},
		},
		"EndedUntold": {
			reason: "of one nothing is known",
			args:   corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &moment}, Spec: corev1.PodSpec{Containers: make([]corev1.Container, 2)}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{ended}}},
			want:   model.Pod{Deleting: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, c := range tc.args.Spec.Containers {
				if c.Lifecycle == nil { // which only the case about hooks has
					tc.want.Unhooked, tc.want.Bare = append(tc.want.Unhooked, c.Name), true
				}
			}
			if diff := cmp.Diff(tc.want, PodFrom(&tc.args)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, PodFrom(TrimPod(tc.args.DeepCopy()))); diff != "" {
				t.Errorf("%s, trimmed: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// drawPod draws a pod with all that PodFrom reads and some that it doesn't.
func drawPod(t *rapid.T) *corev1.Pod {
	yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "p", UID: types.UID(rapid.String().Draw(t, "uid")), Labels: map[string]string{"a": "b"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}, OwnerReferences: []metav1.OwnerReference{{Name: "o"}}, Finalizers: []string{"f"},
	}}
	keys := append([]string{"kubectl.kubernetes.io/last-applied-configuration"}, podAnnotations...)
	p.Annotations = rapid.MapOf(rapid.SampledFrom(keys), rapid.String()).Draw(t, "annotations")
	if yes("deleting") {
		p.DeletionTimestamp = &moment
	}
	p.Spec.NodeName, p.Spec.HostNetwork = rapid.String().Draw(t, "node"), yes("host network")
	p.Spec.RestartPolicy = rapid.SampledFrom([]corev1.RestartPolicy{"", corev1.RestartPolicyAlways, corev1.RestartPolicyNever}).Draw(t, "restarts")
	p.Spec.ServiceAccountName = "sa"
	for _, g := range rapid.SliceOfN(rapid.SampledFrom([]corev1.PodConditionType{"other", model.GateType}), 0, 3).Draw(t, "gates") {
		p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: g})
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "containers") {
		c := corev1.Container{Name: string(rune('a' + i)), Image: "nginx", Env: []corev1.EnvVar{{Name: "E"}}}
		for range rapid.IntRange(0, 2).Draw(t, "ports") {
			c.Ports = append(c.Ports, corev1.ContainerPort{Name: rapid.String().Draw(t, "name"), ContainerPort: rapid.Int32().Draw(t, "port"), Protocol: rapid.SampledFrom([]corev1.Protocol{"", "TCP", "UDP"}).Draw(t, "protocol")})
		}
		for _, list := range []*corev1.ResourceList{&c.Resources.Requests, &c.Resources.Limits} {
			if yes("asks") {
				names := append([]corev1.ResourceName{"cpu"}, eniResources...)
				*list = corev1.ResourceList{rapid.SampledFrom(names).Draw(t, "resource"): resource.MustParse(rapid.SampledFrom([]string{"0", "1"}).Draw(t, "quantity"))}
			}
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
		if yes("has status") {
			s := corev1.ContainerStatus{Name: c.Name, ContainerID: "containerd://x"}
			if yes("ended") {
				s.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}
			}
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
		}
	}
	p.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{"Pending", "Running", "Failed"}).Draw(t, "phase")
	p.Status.PodIP = rapid.SampledFrom([]string{"", "10.0.0.1"}).Draw(t, "ip")
	if yes("started") {
		p.Status.StartTime = &moment
	}
	for _, kind := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReadyToStartContainers, corev1.PodReady, model.GateType} {
		if yes("has " + string(kind)) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
				Type: kind, Status: rapid.SampledFrom([]corev1.ConditionStatus{"True", "False", "Unknown"}).Draw(t, "status"), Reason: rapid.String().Draw(t, "reason"), LastTransitionTime: moment,
			})
		}
	}
	return p
}

// trimLaws: trimming loses nothing that is read, and trimming again nothing at all.
func trimLaws(t *rapid.T) {
	p := drawPod(t)
	want := PodFrom(p)
	trimmed := TrimPod(p.DeepCopy())
	if diff := cmp.Diff(want, PodFrom(trimmed)); diff != "" {
		t.Fatalf("trimmed: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(trimmed, TrimPod(trimmed.DeepCopy())); diff != "" {
		t.Fatalf("trimmed twice: -once +twice:\n%s", diff)
	}
	if trimmed.Size() > p.Size() || len(trimmed.ManagedFields) > 0 || len(trimmed.Annotations) > len(podAnnotations) {
		t.Fatalf("not trimmed: %d bytes of %d", trimmed.Size(), p.Size())
	}
}

func TestTrimPod(t *testing.T) { rapid.Check(t, trimLaws) }

func FuzzTrimPod(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Fuzz(rapid.MakeFuzz(trimLaws))
}

func TestServiceFrom(t *testing.T) {
	class := "clb-direct.io/clb"
	cases := map[string]struct {
		reason string
		args   corev1.Service
		want   model.Service
	}{
		"Identity": {
			reason: "who it is and what it wants",
			args: corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "u", ResourceVersion: "7", CreationTimestamp: moment, DeletionTimestamp: &moment, Finalizers: []string{"f"}, Annotations: map[string]string{"a": "b"}},
				Spec:       corev1.ServiceSpec{Type: "LoadBalancer", LoadBalancerClass: &class, Selector: map[string]string{"app": "x"}},
			},
			want: model.Service{
				Front: model.Front{Namespace: "ns", Name: "s", UID: "u", ResourceVersion: "7", Created: moment.Time, Deleting: true, Finalizers: []string{"f"}, Annotations: map[string]string{"a": "b"}, Class: class},
				Type:  "LoadBalancer", Selector: map[string]string{"app": "x"},
			},
		},
		"Ports": {
			reason: "a number, a name, and nothing, which is the port itself",
			args: corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
				{Port: 80, Protocol: "TCP", TargetPort: intstr.FromInt32(8080)}, {Name: "dns", Port: 53, Protocol: "UDP", TargetPort: intstr.FromString("dns")}, {Port: 81},
			}}},
			want: model.Service{Ports: []model.ServicePort{{Protocol: model.TCP, Port: 80, TargetPort: 8080}, {Name: "dns", Protocol: model.UDP, Port: 53, TargetName: "dns"}, {Protocol: model.TCP, Port: 81, TargetPort: 81}}},
		},
		"Addresses": {
			reason: "IPs and host names",
			args:   corev1.Service{Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "1.2.3.4"}, {Hostname: "lb.example.com"}, {}}}}},
			want:   model.Service{Front: model.Front{Addresses: []string{"1.2.3.4", "lb.example.com"}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Kind = model.KindService
			if diff := cmp.Diff(tc.want, ServiceFrom(&tc.args)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLatestResourceVersion(t *testing.T) {
	cases := map[string]struct{ a, b, want string }{
		"Longer": {"10", "9", "10"},
		"Later":  {"9", "10", "10"},
		"Same":   {"10", "10", "10"},
		"Digit":  {"12", "11", "12"},
		"First":  {"", "5", "5"},
		"Second": {"5", "", "5"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := LatestResourceVersion(tc.a, tc.b); got != tc.want {
				t.Errorf("of %q and %q: want %q, got %q", tc.a, tc.b, tc.want, got)
			}
		})
	}
}
