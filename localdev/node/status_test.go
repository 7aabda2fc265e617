package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func runningStatus(name string, ready bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ContainerID: "localdev://" + name, Ready: ready, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func endedStatus(name string, code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, ContainerID: "localdev://" + name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func waitingStatus(name string, lastCode ...int32) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
	if len(lastCode) > 0 {
		s.ContainerID = "localdev://" + name
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: lastCode[0]}
	}
	return s
}

func TestPhase(t *testing.T) {
	type args struct {
		policy     corev1.RestartPolicy
		over       bool
		containers []corev1.ContainerStatus
	}
	tests := map[string]struct {
		reason string
		args   args
		want   corev1.PodPhase
	}{
		"Creating":      {"a container that never ran is waiting", args{corev1.RestartPolicyAlways, false, []corev1.ContainerStatus{runningStatus("a", true), waitingStatus("b")}}, corev1.PodPending},
		"Running":       {"all run", args{corev1.RestartPolicyAlways, false, []corev1.ContainerStatus{runningStatus("a", true), runningStatus("b", false)}}, corev1.PodRunning},
		"OneEnded":      {"one still runs", args{corev1.RestartPolicyNever, false, []corev1.ContainerStatus{runningStatus("a", true), endedStatus("b", 1)}}, corev1.PodRunning},
		"Restarting":    {"all ended, to be started again", args{corev1.RestartPolicyAlways, false, []corev1.ContainerStatus{endedStatus("a", 0)}}, corev1.PodRunning},
		"BackingOff":    {"waiting for a restart isn't waiting for the first start", args{corev1.RestartPolicyAlways, false, []corev1.ContainerStatus{waitingStatus("a", 1)}}, corev1.PodRunning},
		"OnFailure":     {"a failure is to be started again", args{corev1.RestartPolicyOnFailure, false, []corev1.ContainerStatus{endedStatus("a", 1), endedStatus("b", 0)}}, corev1.PodRunning},
		"Succeeded":     {"all ended with 0 for good", args{corev1.RestartPolicyOnFailure, false, []corev1.ContainerStatus{endedStatus("a", 0), endedStatus("b", 0)}}, corev1.PodSucceeded},
		"Failed":        {"one failed for good", args{corev1.RestartPolicyNever, false, []corev1.ContainerStatus{endedStatus("a", 0), endedStatus("b", 2)}}, corev1.PodFailed},
		"DeletedWell":   {"a deleted pod's containers aren't restarted", args{corev1.RestartPolicyAlways, true, []corev1.ContainerStatus{endedStatus("a", 0)}}, corev1.PodSucceeded},
		"DeletedKilled": {"SIGKILL is a failure", args{corev1.RestartPolicyAlways, true, []corev1.ContainerStatus{endedStatus("a", 137)}}, corev1.PodFailed},
		"DeletedEarly":  {"what never ran has failed", args{corev1.RestartPolicyAlways, true, []corev1.ContainerStatus{waitingStatus("a")}}, corev1.PodFailed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := phaseOf(&corev1.PodSpec{RestartPolicy: tc.args.policy}, sight{over: tc.args.over, containers: tc.args.containers})
			if got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestStatusKeepsWhatIsNotTheNodes(t *testing.T) {
	then, now := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	foreign := corev1.PodCondition{Type: gate, Status: corev1.ConditionTrue, Reason: "Theirs", LastTransitionTime: then}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Generation: 3},
		Spec: corev1.PodSpec{
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: gate}},
			Containers:     []corev1.Container{{Name: "a"}},
		},
		Status: corev1.PodStatus{
			QOSClass:  corev1.PodQOSBurstable,
			StartTime: &then,
			Conditions: []corev1.PodCondition{
				foreign,
				{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", LastTransitionTime: then},
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: then},
			},
		},
	}
	status := newStatus(pod, sight{hostIP: "127.64.0.1", podIP: "127.64.0.2", sandbox: true, containers: []corev1.ContainerStatus{runningStatus("a", true)}}, now)
	if status.QOSClass != corev1.PodQOSBurstable || !status.StartTime.Equal(&then) || status.ObservedGeneration != 3 {
		t.Errorf("kept fields: %+v", status)
	}
	want := map[corev1.PodConditionType]corev1.PodCondition{
		gate:                             foreign,
		corev1.PodReadyToStartContainers: {Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: 3},
		corev1.PodInitialized:            {Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: 3},
		corev1.ContainersReady:           {Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: 3},
		corev1.PodReady:                  {Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: 3},
		corev1.PodScheduled:              {Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: then, ObservedGeneration: 3},
	}
	got := map[corev1.PodConditionType]corev1.PodCondition{}
	for _, c := range status.Conditions {
		got[c.Type] = c
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conditions: transition times change only with the status (-want +got):\n%s", diff)
	}

	// A second look at the same thing changes nothing.
	pod.Status = status
	if diff := cmp.Diff(status, newStatus(pod, sight{hostIP: "127.64.0.1", podIP: "127.64.0.2", sandbox: true, containers: []corev1.ContainerStatus{runningStatus("a", true)}}, metav1.NewTime(time.Unix(3000, 0)))); diff != "" {
		t.Errorf("the same sight again (-want +got):\n%s", diff)
	}
}

func TestStatusPatchNamesNoForeignCondition(t *testing.T) {
	from := corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: gate, Status: corev1.ConditionFalse},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse},
	}}
	to := *from.DeepCopy()
	to.Conditions[1].Status = corev1.ConditionTrue
	patch, err := statusPatch("u", &from, &to)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"uid":"u"},"status":{"$setElementOrder/conditions":[{"type":"cloud.tencent.com/load-balancer-backendgroup-ready"},{"type":"Ready"}],"conditions":[{"status":"True","type":"Ready"}]}}`
	if diff := cmp.Diff(want, string(patch)); diff != "" {
		t.Errorf("patch (-want +got):\n%s", diff)
	}
}

func TestTally(t *testing.T) {
	spec := &corev1.Probe{FailureThreshold: 3, SuccessThreshold: 2}
	tests := map[string]struct {
		reason  string
		results string // S and F
		want    string // what settles: s, f, or - for nothing
	}{
		"Successes":     {"the second success in a row settles, once", "SSSS", "-s--"},
		"Failures":      {"the third failure in a row settles, once", "FFFFF", "--f--"},
		"Interrupted":   {"a success between failures starts the count anew", "FFSFFF", "-----f"},
		"BackAndForth":  {"each threshold counts from the change", "SSFFFSS", "-s--f-s"},
		"NeverInARow":   {"alternating results settle nothing", "SFSFSF", "------"},
		"RecoversEarly": {"failures below the threshold leave the result alone", "SSFFSS", "-s----"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var streak tally
			got := ""
			for _, r := range tc.results {
				switch {
				case !streak.add(r == 'S', spec):
					got += "-"
				case r == 'S':
					got += "s"
				default:
					got += "f"
				}
			}
			if got != tc.want {
				t.Errorf("%s: %s: got %s, want %s", tc.reason, tc.results, got, tc.want)
			}
		})
	}
}
