// Package kube is the Kubernetes API at the edge: it reads objects into the nouns
// of package model and writes conditions, statuses, Leases and Events back. It
// knows no policy: what to write was decided before.
package kube

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/shared/model"
)

// annotations of a pod that anything of ours reads; the others stay behind.
var podAnnotations = []string{
	"tke.cloud.tencent.com/networks",
	"tke.cloud.tencent.com/networks-status",
	"tke.cloud.tencent.com/pod-type",
	"service.cloud.tencent.com/custom-weight",
	"ingress.cloud.tencent.com/custom-weight",
	model.GateMark,
	model.DrainToken,
	model.DrainTimeout,
	model.DrainDelay,
}

// eniResources are the extended resources by which a pod asks for an ENI or an
// address on one (TKE, "tke.cloud.tencent.com/eni-ip" and its kin).
var eniResources = []corev1.ResourceName{
	"tke.cloud.tencent.com/eni-ip",
	"tke.cloud.tencent.com/direct-eni",
	"tke.cloud.tencent.com/sub-eni",
}

// PodFrom reads what we need of a pod. It is idempotent on pods that TrimPod has
// been over.
func PodFrom(p *corev1.Pod) model.Pod {
	out := model.Pod{
		Namespace:       p.Namespace,
		Name:            p.Name,
		UID:             string(p.UID),
		ResourceVersion: p.ResourceVersion,
		Labels:          p.Labels,
		NodeName:        p.Spec.NodeName,
		HostNetwork:     p.Spec.HostNetwork,
		Phase:           string(p.Status.Phase),
		IP:              p.Status.PodIP,
		Created:         p.CreationTimestamp.Time,
		Deleting:        p.DeletionTimestamp != nil,
		AllTerminated:   allTerminated(p),
	}
	if p.Status.StartTime != nil {
		out.Started = p.Status.StartTime.Time
	}
	for _, key := range podAnnotations {
		if v, ok := p.Annotations[key]; ok {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[key] = v
		}
	}
	if seconds := p.Spec.TerminationGracePeriodSeconds; seconds != nil {
		out.Grace = time.Duration(*seconds) * time.Second
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.ContainerID != "" {
			if out.Containers == nil {
				out.Containers = map[string]string{}
			}
			out.Containers[s.Name] = s.ContainerID
		}
	}
	for _, c := range p.Spec.Containers {
		if !hooked(c) {
			out.Unhooked = append(out.Unhooked, c.Name)
		}
		out.Bare = out.Bare || c.Lifecycle == nil || c.Lifecycle.PreStop == nil
	}
	for _, g := range p.Spec.ReadinessGates {
		out.Gated = out.Gated || g.ConditionType == model.GateType
	}
	for _, c := range serving(p) {
		for _, port := range c.Ports {
			protocol := model.Protocol(port.Protocol)
			if protocol == "" {
				protocol = model.TCP
			}
			out.Ports = append(out.Ports, model.ContainerPort{Name: port.Name, Port: int(port.ContainerPort), Protocol: protocol})
		}
		for _, r := range eniResources {
			if q, ok := c.Resources.Requests[r]; ok && !q.IsZero() {
				out.DirectResource = true
			}
			if q, ok := c.Resources.Limits[r]; ok && !q.IsZero() {
				out.DirectResource = true
			}
		}
	}
	for _, c := range p.Status.Conditions {
		is := c.Status == corev1.ConditionTrue
		switch c.Type {
		case corev1.ContainersReady:
			out.ContainersReady = is
			if is {
				out.ContainersReadySince = c.LastTransitionTime.Time
			}
		case corev1.PodReadyToStartContainers:
			if is {
				out.SandboxSince = c.LastTransitionTime.Time
			}
		case model.GateType:
			out.Gate = &model.Condition{Status: is, Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time}
		case model.DrainingType:
			if is {
				out.Drains = model.ParseDrains(c.Message)
			}
		case model.DrainedType:
			out.Drained = &model.Condition{Status: is, Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time}
		}
	}
	return out
}

// drainHook is what is kept of every drain hook: that it is one.
var drainHook = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: model.DrainPath}}}

// ownHook is what is kept of every other preStop hook.
var ownHook = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{}}

// hooked tells whether a container has a drain hook.
func hooked(c corev1.Container) bool {
	return c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.HTTPGet != nil &&
		strings.HasPrefix(c.Lifecycle.PreStop.HTTPGet.Path, model.DrainPath)
}

// serving are the containers that run beside each other: the usual ones, and the
// sidecars, which are init containers that restart always. Kubernetes looks for
// named ports in both.
func serving(p *corev1.Pod) []corev1.Container {
	out := p.Spec.Containers
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out[:len(out):len(out)], c)
		}
	}
	return out
}

// allTerminated tells whether no container of p runs or will run again: then
// nothing is behind its address any more.
func allTerminated(p *corev1.Pod) bool {
	statuses := p.Status.ContainerStatuses
	if len(statuses) == 0 || len(statuses) < len(p.Spec.Containers) {
		return false
	}
	for _, s := range statuses {
		if s.State.Terminated == nil {
			return false
		}
	}
	// A container that ended will be started again, unless the pod is going.
	return p.DeletionTimestamp != nil || p.Spec.RestartPolicy == corev1.RestartPolicyNever
}

// ServiceFrom reads what we need of a Service.
func ServiceFrom(s *corev1.Service) model.Service {
	out := model.Service{
		Front:    frontOf(model.KindService, &s.ObjectMeta),
		Type:     string(s.Spec.Type),
		Selector: s.Spec.Selector,
	}
	if s.Spec.LoadBalancerClass != nil {
		out.Class = *s.Spec.LoadBalancerClass
	}
	for _, p := range s.Spec.Ports {
		port := model.ServicePort{Name: p.Name, Protocol: model.Protocol(p.Protocol), Port: int(p.Port)}
		if port.Protocol == "" {
			port.Protocol = model.TCP
		}
		switch {
		case p.TargetPort.Type == intstr.String:
			port.TargetName = p.TargetPort.StrVal
		case p.TargetPort.IntVal != 0:
			port.TargetPort = int(p.TargetPort.IntVal)
		default: // the API server fills it in, older ones may not have
			port.TargetPort = int(p.Port)
		}
		out.Ports = append(out.Ports, port)
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		out.Addresses = appendAddress(out.Addresses, in.IP, in.Hostname)
	}
	return out
}

// frontOf reads what fronts of all kinds have.
func frontOf(kind model.Kind, meta *metav1.ObjectMeta) model.Front {
	return model.Front{
		Kind:            kind,
		Namespace:       meta.Namespace,
		Name:            meta.Name,
		UID:             string(meta.UID),
		ResourceVersion: meta.ResourceVersion,
		Created:         meta.CreationTimestamp.Time,
		Deleting:        meta.DeletionTimestamp != nil,
		Finalizers:      meta.Finalizers,
		Annotations:     meta.Annotations,
	}
}

// appendAddress adds what a load balancer's status says of one address.
func appendAddress(to []string, ip, hostname string) []string {
	switch {
	case ip != "":
		return append(to, ip)
	case hostname != "":
		return append(to, hostname)
	}
	return to
}

// TrimPod keeps of a pod only what PodFrom reads: what a cache of all pods of a
// cluster can afford. It changes p in place and is idempotent, as an informer may
// transform an object twice.
func TrimPod(p *corev1.Pod) *corev1.Pod {
	kept := map[string]string{}
	for _, key := range podAnnotations {
		if v, ok := p.Annotations[key]; ok {
			kept[key] = v
		}
	}
	if len(kept) == 0 {
		kept = nil
	}
	meta := p.ObjectMeta
	p.ObjectMeta.Annotations = kept
	p.ObjectMeta.ManagedFields = nil
	p.ObjectMeta.OwnerReferences = nil
	p.ObjectMeta.Finalizers = nil
	p.ObjectMeta.Labels = meta.Labels

	spec := corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork, RestartPolicy: p.Spec.RestartPolicy, TerminationGracePeriodSeconds: p.Spec.TerminationGracePeriodSeconds}
	for _, g := range p.Spec.ReadinessGates {
		if g.ConditionType == model.GateType {
			spec.ReadinessGates = []corev1.PodReadinessGate{g}
		}
	}
	for _, c := range p.Spec.Containers {
		spec.Containers = append(spec.Containers, trimContainer(c))
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecar := trimContainer(c)
			sidecar.RestartPolicy = c.RestartPolicy
			spec.InitContainers = append(spec.InitContainers, sidecar)
		}
	}
	p.Spec = spec

	status := corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, StartTime: p.Status.StartTime}
	for _, c := range p.Status.Conditions {
		switch c.Type {
		case corev1.ContainersReady, corev1.PodReadyToStartContainers, model.GateType, model.DrainingType, model.DrainedType:
			status.Conditions = append(status.Conditions, c)
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		trimmed := corev1.ContainerStatus{Name: s.Name, ContainerID: s.ContainerID}
		if s.State.Terminated != nil {
			trimmed.State.Terminated = &corev1.ContainerStateTerminated{}
		}
		status.ContainerStatuses = append(status.ContainerStatuses, trimmed)
	}
	p.Status = status
	return p
}

func trimContainer(c corev1.Container) corev1.Container {
	out := corev1.Container{Name: c.Name, Ports: c.Ports}
	switch {
	case hooked(c):
		out.Lifecycle = drainHook
	case c.Lifecycle != nil && c.Lifecycle.PreStop != nil:
		out.Lifecycle = ownHook
	}
	for _, r := range eniResources {
		if q, ok := c.Resources.Requests[r]; ok {
			if out.Resources.Requests == nil {
				out.Resources.Requests = corev1.ResourceList{}
			}
			out.Resources.Requests[r] = q
		}
		if q, ok := c.Resources.Limits[r]; ok {
			if out.Resources.Limits == nil {
				out.Resources.Limits = corev1.ResourceList{}
			}
			out.Resources.Limits[r] = q
		}
	}
	return out
}

// LatestResourceVersion is the newer of two opaque versions where both are the
// integers that every kube-apiserver hands out, else the second.
func LatestResourceVersion(a, b string) string {
	if len(a) > len(b) || len(a) == len(b) && a > b {
		return a
	}
	return b
}
