package node

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons that the kubelet gives (pkg/kubelet/status/generate.go).
const (
	reasonContainersNotReady       = "ContainersNotReady"
	reasonContainersNotInitialized = "ContainersNotInitialized"
	reasonReadinessGatesNotReady   = "ReadinessGatesNotReady"
	reasonPodCompleted             = "PodCompleted"
	reasonPodFailed                = "PodFailed"
	reasonSandboxNotReady          = "PodSandboxNotReady"

	messageSandboxNotReady = "pod sandbox is not ready"
	messageNoSandbox       = "no pod sandbox exists"
)

// ownConditions are those that a kubelet writes; all others are left as they
// are, whoever wrote them.
var ownConditions = []corev1.PodConditionType{
	corev1.PodReadyToStartContainers,
	corev1.PodInitialized,
	corev1.PodReady,
	corev1.ContainersReady,
	corev1.PodScheduled,
}

// sight is what a node knows of one of its pods, without the API's part.
type sight struct {
	hostIP string
	// podIP is empty until the sandbox has been made, and kept after its end.
	podIP   string
	sandbox bool
	// over says that no container runs or will run: the phase may be final.
	over       bool
	fate       *fate
	init       []corev1.ContainerStatus
	containers []corev1.ContainerStatus
}

// newStatus computes the status a kubelet would report: from the pod as the API
// has it, which the conditions of others and transition times are kept from, and
// what the node sees.
func newStatus(pod *corev1.Pod, s sight, now metav1.Time) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.HostIP = s.hostIP
	status.HostIPs = []corev1.HostIP{{IP: s.hostIP}}
	status.PodIP, status.PodIPs = "", nil
	if s.podIP != "" {
		status.PodIP, status.PodIPs = s.podIP, []corev1.PodIP{{IP: s.podIP}}
	}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	status.InitContainerStatuses, status.ContainerStatuses = s.init, s.containers
	if phase := phaseOf(&pod.Spec, s); status.Phase != corev1.PodFailed && status.Phase != corev1.PodSucceeded {
		status.Phase = phase
	}
	s.fate.fated(&status, s.over, pod.Generation, now)

	status.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions), func(c corev1.PodCondition) bool {
		return slices.Contains(ownConditions, c.Type)
	})
	foreign := status.Conditions
	containersReady := containersReadyCondition(&pod.Spec, s, status.Phase)
	for _, c := range []corev1.PodCondition{
		sandboxCondition(s),
		initializedCondition(s, status.Phase),
		readyCondition(&pod.Spec, foreign, containersReady),
		containersReady,
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	} {
		c.ObservedGeneration = pod.Generation
		c.LastTransitionTime = now
		if old := condition(pod.Status.Conditions, c.Type); old != nil && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions = append(status.Conditions, c)
	}
	return status
}

func condition(conditions []corev1.PodCondition, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

func sandboxCondition(s sight) corev1.PodCondition {
	if s.sandbox {
		return corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}
	}
	c := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse, Reason: reasonSandboxNotReady, Message: messageSandboxNotReady}
	if s.podIP == "" {
		c.Message = messageNoSandbox
	}
	return c
}

// phaseOf is the kubelet's getPhase, and what its status manager adds: no final
// phase while a container runs.
//
//	init not done, or a container that never ran is waiting   Pending
//	one runs, or is to be started again                       Running
//	all ended for good: all with 0                            Succeeded
//	                    else                                  Failed
func phaseOf(spec *corev1.PodSpec, s sight) corev1.PodPhase {
	running, stopped, succeeded, final := 0, 0, 0, 0
	for _, c := range s.containers {
		ended := c.State.Terminated
		if ended == nil && c.State.Waiting != nil {
			ended = c.LastTerminationState.Terminated
		}
		switch {
		case c.State.Running != nil:
			running++
		case ended == nil && s.over:
			// Never started and never will: a pod deleted before it ran has failed.
			stopped, final = stopped+1, final+1
		case ended == nil:
			return corev1.PodPending
		default:
			stopped++
			if ended.ExitCode == 0 {
				succeeded++
			}
			if s.over || !restarts(spec.RestartPolicy, ended.ExitCode) {
				final++
			}
		}
	}
	switch {
	case running > 0 || final < stopped:
		return corev1.PodRunning
	case succeeded == stopped:
		return corev1.PodSucceeded
	default:
		return corev1.PodFailed
	}
}

// restarts says whether a container that exited with a code is started again.
func restarts(policy corev1.RestartPolicy, code int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	default:
		return true
	}
}

func initializedCondition(s sight, phase corev1.PodPhase) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if phase == corev1.PodSucceeded {
		c.Reason = reasonPodCompleted
		return c
	}
	if slices.ContainsFunc(s.containers, func(c corev1.ContainerStatus) bool { return c.ContainerID != "" }) {
		return c
	}
	var incomplete []string
	for _, i := range s.init {
		sidecarStarted := i.Started != nil && *i.Started
		if !i.Ready && !sidecarStarted {
			incomplete = append(incomplete, i.Name)
		}
	}
	if len(incomplete) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, reasonContainersNotInitialized
		c.Message = fmt.Sprintf("containers with incomplete status: %s", incomplete)
	}
	return c
}

func containersReadyCondition(spec *corev1.PodSpec, s sight, phase corev1.PodPhase) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	switch phase {
	case corev1.PodSucceeded:
		c.Reason = reasonPodCompleted
		return c
	case corev1.PodFailed:
		c.Reason = reasonPodFailed
		return c
	}
	// Of the init containers only sidecars go on running.
	var unready []string
	for _, i := range s.init {
		if !i.Ready && isSidecar(spec, i.Name) {
			unready = append(unready, i.Name)
		}
	}
	for _, i := range s.containers {
		if !i.Ready {
			unready = append(unready, i.Name)
		}
	}
	if len(unready) > 0 {
		c.Reason = reasonContainersNotReady
		c.Message = fmt.Sprintf("containers with unready status: %s", unready)
		return c
	}
	c.Status = corev1.ConditionTrue
	return c
}

// readyCondition is ContainersReady and every readiness gate True.
func readyCondition(spec *corev1.PodSpec, foreign []corev1.PodCondition, containersReady corev1.PodCondition) corev1.PodCondition {
	c := containersReady
	c.Type = corev1.PodReady
	if c.Status != corev1.ConditionTrue {
		return c
	}
	var unready []string
	for _, gate := range spec.ReadinessGates {
		switch got := condition(foreign, gate.ConditionType); {
		case got == nil:
			unready = append(unready, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case got.Status != corev1.ConditionTrue:
			unready = append(unready, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, got.Status))
		}
	}
	if len(unready) > 0 {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, reasonReadinessGatesNotReady, strings.Join(unready, ", ")
	}
	return c
}

// isSidecar says whether an init container is one that goes on running.
func isSidecar(spec *corev1.PodSpec, name string) bool {
	return slices.ContainsFunc(spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	})
}
