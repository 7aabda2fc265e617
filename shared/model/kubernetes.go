// Package model holds the nouns of clb-direct: what a Service, a pod and a load
// balancer are to us. Plain data, no clients, no clock: everything that plans
// works on these alone.
package model

import "time"

// GateType is the pod condition that TKE's readiness gate waits for. One per pod,
// whatever selects it (observed on TKE pods).
const GateType = "cloud.tencent.com/load-balancer-backendgroup-ready"

// GateMark is the annotation by which our webhook marks a pod whose gate is ours to
// decide even when nothing of ours selects it any more. TKE's own controller uses a
// gate of the same type: without the mark, and without a claimed object that selects
// the pod, the gate is TKE's.
const GateMark = "clb-direct.io/gate"

// GateOpened is the reason of a gate that was opened by declared policy, as nobody could
// tell what the load balancer says. It isn't met: it is decided anew until it is.
const GateOpened = "OpenedByPolicy"

// Kind is a kind of Kubernetes object.
type Kind string

// The kinds that a Ref tells apart: those that have a CLB serve pods.
const (
	KindService Kind = "Service"
	KindIngress Kind = "Ingress"
	// KindPod is one that only questions are about.
	KindPod Kind = "Pod"
)

// Ref names a namespaced object. Kind is empty where it goes without saying.
type Ref struct {
	Kind            Kind
	Namespace, Name string
}

// String writes namespace/name.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// Protocol is a transport or application protocol of a Service port or listener,
// in the CLB API's spelling.
type Protocol string

// The protocols of listeners: layer 4 is a Service's.
const (
	TCP Protocol = "TCP"
	UDP Protocol = "UDP"
	// HTTP and HTTPS are those of an Ingress's listeners.
	HTTP  Protocol = "HTTP"
	HTTPS Protocol = "HTTPS"
)

// Pod is what a pass needs of a Kubernetes pod.
type Pod struct {
	Namespace, Name, UID string
	ResourceVersion      string
	Labels               map[string]string
	Annotations          map[string]string
	NodeName             string
	HostNetwork          bool
	// DirectResource: a container asks for an ENI or ENI address of its own.
	DirectResource bool
	// Phase is Pending, Running, Succeeded, Failed or Unknown.
	Phase string
	IP    string
	// Created is the object's creation, Started status.startTime (zero until the
	// kubelet has seen the pod).
	Created, Started time.Time
	// Deleting: deletionTimestamp is set.
	Deleting bool
	// AllTerminated: there are container statuses and every container has ended
	// for good or is ending with the pod.
	AllTerminated        bool
	ContainersReady      bool
	ContainersReadySince time.Time
	// SandboxSince is when the present sandbox became ready, zero where the
	// kubelet doesn't say (condition PodReadyToStartContainers).
	SandboxSince time.Time
	// Gated: the pod waits for GateType.
	Gated bool
	// Gate is the condition as it stands, nil when nobody wrote it.
	Gate *Condition
	// Ports are the containers' declared ports, for named target ports.
	Ports []ContainerPort
	// Grace is how long the containers have to end.
	Grace time.Duration
	// Containers are the ids of those that have been started, by name.
	Containers map[string]string
	// Unhooked are the containers without a drain hook, which nothing holds when they are
	// to end.
	Unhooked []string
	// Bare: one of them has no preStop hook of any kind, so that the webhook would have
	// given it one.
	Bare bool
	// Drains are the marks of containers that are about to end, by name. Draining: one
	// of them was in force when the pod was read.
	Drains   map[string]Drain
	Draining bool
	// Drained is the condition DrainedType as it stands, nil when nobody wrote it.
	Drained *Condition
}

// Ref names the pod.
func (p *Pod) Ref() Ref { return Ref{Namespace: p.Namespace, Name: p.Name} }

// Terminal tells whether the pod has ended for good: its address may already be
// somebody else's.
func (p *Pod) Terminal() bool { return p.Phase == "Succeeded" || p.Phase == "Failed" }

// GateMet tells whether the pod's gate was found met: as long as its sandbox is the same,
// there is nothing left to decide.
func (p *Pod) GateMet() bool { return p.Gate != nil && p.Gate.Status && p.Gate.Reason != GateOpened }

// Condition is a pod condition.
type Condition struct {
	Status          bool
	Reason, Message string
	Since           time.Time
}

// ContainerPort is a declared port of a container.
type ContainerPort struct {
	Name     string
	Port     int
	Protocol Protocol
}

// Service is what a pass needs of a Kubernetes Service.
type Service struct {
	Front
	Type     string
	Selector map[string]string
	Ports    []ServicePort
}

// Selects tells whether the Service's selector matches labels. An empty selector
// selects nothing, as in Kubernetes.
func (s *Service) Selects(namespace string, labels map[string]string) bool {
	if len(s.Selector) == 0 || namespace != s.Namespace {
		return false
	}
	for k, v := range s.Selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name     string
	Protocol Protocol
	Port     int
	// TargetName is set for a named target port, else TargetPort is the number.
	TargetName string
	TargetPort int
}

// Resolve finds the port number that sp means in pod p. A name is looked for
// among the declared ports of the same protocol; ok is false when p has none.
func (sp ServicePort) Resolve(p *Pod) (port int, ok bool) {
	if sp.TargetName == "" {
		return sp.TargetPort, true
	}
	for _, c := range p.Ports {
		if c.Name == sp.TargetName && c.Protocol == sp.Protocol {
			return c.Port, true
		}
	}
	return 0, false
}
