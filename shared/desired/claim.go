// Package desired computes what should be from what users wrote: Services,
// Ingresses and pods become listeners, rules and targets. Pure: no clients, no clock, no order of
// effects, only the wanted end.
package desired

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Annotations we read on Services; the names are TKE's (457/51258) unless they
// begin with clb-direct.io, which stand for both kinds.
const (
	DirectAccess      = "service.cloud.tencent.com/direct-access"
	ExistingLB        = "service.kubernetes.io/tke-existed-lbid"
	InternalSubnet    = "service.kubernetes.io/qcloud-loadbalancer-internal-subnetid"
	ServiceConfig     = "service.cloud.tencent.com/tke-service-config"
	ServiceConfigAuto = "service.cloud.tencent.com/tke-service-config-auto"
	// Takeover lets us write to a CLB that carries another controller's tags ("true"), and
	// take over the listeners of others that stand at a Service's ports (TakeListeners).
	Takeover = "clb-direct.io/takeover"
	// TakeListeners is a value of Takeover.
	TakeListeners = "listeners"
	// Readiness is "live" to let the gate follow the CLB's health after it was
	// first met; the default, "sticky", is TKE's behaviour.
	Readiness = "clb-direct.io/readiness"
	// ReadinessPolicy says what becomes of a gate while what decides it is away: see
	// OpenAfter.
	ReadinessPolicy = "clb-direct.io/readiness-policy"
)

// Annotations we write on Services.
const (
	// LoadBalancerID is output only: which CLB the Service uses.
	LoadBalancerID = "service.kubernetes.io/loadbalance-id"
	// ClientToken makes CreateLoadBalancer idempotent across crashes.
	ClientToken = "service.cloud.tencent.com/client-token"
	// Refused records what the CLB refused for good, so that readiness needn't
	// guess: a JSON object from "PROTOCOL/port" to a code.
	Refused = "clb-direct.io/refused"
	// Taken records the names of the listeners that we took over from somebody else, to
	// give them back: a JSON object from "PROTOCOL/port" to a name.
	Taken = "clb-direct.io/taken"
)

// Names of ours.
const (
	// Finalizer keeps a Service until what it holds on the CLB is released.
	Finalizer = "clb-direct.io/service"
	// Class is the loadBalancerClass that makes a Service ours under CLAIM=class.
	Class = "clb-direct.io/clb"
)

// Keys are the names by which an object of some kind says what it wants and is told
// what it has: the same things under TKE's different names.
type Keys struct {
	// Annotations.
	DirectAccess, ExistingLB, InternalSubnet, Config, ConfigAuto, LoadBalancerID, ClientToken, CustomWeight string
	// Finalizer keeps an object until what it holds on the CLB is released.
	Finalizer string
	// AutoSuffix ends the name of the TkeServiceConfig that ConfigAuto makes.
	AutoSuffix string
	// TKE's codes of what is refused: the existing CLB isn't there, is another's, is
	// another cluster's; the listener or rule is another's; the TkeServiceConfig isn't
	// there; direct access is neither true nor false.
	NoLoadBalancer, NotOurs, OtherCluster, Conflict, NoConfig, NotBool string
}

// KeysOf gives the names of a kind.
func KeysOf(k model.Kind) Keys {
	if k == model.KindIngress {
		return ingressKeys
	}
	return serviceKeys
}

var serviceKeys = Keys{
	DirectAccess: DirectAccess, ExistingLB: ExistingLB, InternalSubnet: InternalSubnet, Config: ServiceConfig, ConfigAuto: ServiceConfigAuto,
	LoadBalancerID: LoadBalancerID, ClientToken: ClientToken, CustomWeight: CustomWeight, Finalizer: Finalizer, AutoSuffix: AutoConfigSuffix,
	NoLoadBalancer: "E4011", NotOurs: "E4012", OtherCluster: "E4013", Conflict: "E4016", NoConfig: "E4026", NotBool: "E4037",
}

// ClaimMode says whose Services are ours.
type ClaimMode string

// The modes.
const (
	// ByClass claims Services with our loadBalancerClass and direct access on.
	// Safe beside TKE's own controller, which leaves foreign classes alone.
	ByClass ClaimMode = "class"
	// ByAnnotation claims every LoadBalancer Service with direct access on, as
	// TKE's document has it. Only where TKE's own controller is off.
	ByAnnotation ClaimMode = "annotation"
)

// Network says which pods can be reached directly.
type Network string

// The networks.
const (
	// VPCCNI: the cluster was made with VPC-CNI, every pod has an ENI address.
	VPCCNI Network = "vpc-cni"
	// GlobalRouter: pods have ENI addresses only where they ask for one.
	GlobalRouter Network = "global-router"
)

// Policy is the configuration that decides what is ours.
type Policy struct {
	Cluster string
	Claim   ClaimMode
	Network Network
}

// Problem is something wrong with what a user wrote. Code is TKE's where it has
// one (457/81004); Field names what to change.
type Problem struct {
	Code    string
	Field   string
	Message string
}

// String writes what an Event shows.
func (p Problem) String() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Code != "" {
		s = p.Code + ": " + s
	}
	return s
}

// Claimed tells whether o is ours under p, and what is wrong with the annotations
// that decide it. An object that is being deleted is never claimed: what it holds is
// to be released.
func Claimed(o Object, p Policy) (bool, *Problem) {
	if !o.candidate(p) {
		return false, nil
	}
	on, problem := Bool(o.Annotations, KeysOf(o.Kind).DirectAccess)
	return on && problem == nil && !o.Deleting, problem
}

// candidate tells whether o is of a kind and class that can be ours.
func (o Object) candidate(p Policy) bool {
	if o.Ingress != nil {
		return ingressCandidate(o.Ingress, p)
	}
	if o.Service.Type != "LoadBalancer" {
		return false
	}
	return o.Class == Class || p.Claim == ByAnnotation && o.Class == ""
}

// WhyNotClaimed says, for people, what keeps an object from being ours.
func WhyNotClaimed(o Object, p Policy) string {
	k := KeysOf(o.Kind)
	switch on, _ := Bool(o.Annotations, k.DirectAccess); {
	case o.Service != nil && o.Service.Type != "LoadBalancer":
		return fmt.Sprintf("its type is %s, must be LoadBalancer", o.Service.Type)
	case !o.candidate(p) && o.Ingress != nil && p.Claim == ByClass:
		return fmt.Sprintf("its class is %q, must be %q (CLAIM=class)", o.Class, IngressClass)
	case !o.candidate(p) && o.Ingress != nil:
		return fmt.Sprintf("its class is %q, must be %q, %q or none (CLAIM=annotation)", o.Class, QcloudClass, IngressClass)
	case !o.candidate(p) && p.Claim == ByClass:
		return fmt.Sprintf("its loadBalancerClass is %q, must be %q (CLAIM=class)", o.Class, Class)
	case !o.candidate(p):
		return fmt.Sprintf("its loadBalancerClass is %q, must be %q or none (CLAIM=annotation)", o.Class, Class)
	case !on:
		return fmt.Sprintf("it is not annotated %s: \"true\"", k.DirectAccess)
	}
	return "it is being deleted"
}

// Bool reads a boolean annotation; absent is false.
func Bool(annotations map[string]string, key string) (bool, *Problem) {
	v, ok := annotations[key]
	if !ok {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, &Problem{Code: "E4037", Field: key, Message: fmt.Sprintf("is %q, must be \"true\" or \"false\"", v)}
}

// Held tells whether f carries our finalizer: it may hold something on a CLB.
func Held(f *model.Front) bool { return slices.Contains(f.Finalizers, KeysOf(f.Kind).Finalizer) }

// LoadBalancerOf is the CLB that f uses or will use, "" if that isn't known yet.
// The user's choice beats what we once wrote, which is output only.
func LoadBalancerOf(f *model.Front) string {
	k := KeysOf(f.Kind)
	if id := f.Annotations[k.ExistingLB]; id != "" && !f.Deleting {
		return id
	}
	return f.Annotations[k.LoadBalancerID]
}

// ConfigNameOf is the TkeServiceConfig that f names, "" if none.
func ConfigNameOf(f *model.Front) string {
	k := KeysOf(f.Kind)
	if name := f.Annotations[k.Config]; name != "" {
		return name
	}
	if auto, _ := Bool(f.Annotations, k.ConfigAuto); auto {
		return f.Name + k.AutoSuffix
	}
	return ""
}

// AutoConfigSuffix ends the name of a TkeServiceConfig made by tke-service-config-auto.
const AutoConfigSuffix = "-auto-service-config"
