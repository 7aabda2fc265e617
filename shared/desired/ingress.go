package desired

import (
	"slices"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Annotations we read on Ingresses, TKE's (457/56112).
const (
	IngressDirectAccess   = "ingress.cloud.tencent.com/direct-access"
	IngressExistingLB     = "kubernetes.io/ingress.existLbId"
	IngressInternalSubnet = "kubernetes.io/ingress.subnetId"
	IngressConfig         = "ingress.cloud.tencent.com/tke-service-config"
	IngressConfigAuto     = "ingress.cloud.tencent.com/tke-service-config-auto"
	// EnableGroup lets several Ingresses share an existing CLB and its listeners.
	EnableGroup = "ingress.cloud.tencent.com/enable-group"
	ListenPorts = "ingress.cloud.tencent.com/listen-ports"
	RuleMix     = "kubernetes.io/ingress.rule-mix"
	RuleMixBoth = "kubernetes.io/ingress.rule-mix-both"
	HTTPRules   = "kubernetes.io/ingress.http-rules"
	HTTPSRules  = "kubernetes.io/ingress.https-rules"
	// RewriteSupport switches redirects on, AutoRewrite redirects every HTTPS rule's
	// HTTP twin to it.
	RewriteSupport = "ingress.cloud.tencent.com/rewrite-support"
	AutoRewrite    = "ingress.cloud.tencent.com/auto-rewrite"
	// IngressClassAnnotation is the class from before spec.ingressClassName.
	IngressClassAnnotation = "kubernetes.io/ingress.class"
)

// Annotations we write on Ingresses.
const (
	IngressLoadBalancerID = "kubernetes.io/ingress.qcloud-loadbalance-id"
	IngressClientToken    = "ingress.cloud.tencent.com/client-token"
	// Rules records which rules an Ingress has, or is about to have, of the listeners
	// it shares with others: a JSON list of RuleKey.
	Rules = "clb-direct.io/rules"
)

// Classes of Ingresses that are ours.
const (
	// IngressClass is ours, under either ClaimMode.
	IngressClass = "clb-direct"
	// QcloudClass is TKE's: ours under CLAIM=annotation.
	QcloudClass = "qcloud"
)

// IngressCustomWeight is TKE's annotation for a pod's own weight behind Ingresses
// (457/128647).
const IngressCustomWeight = "ingress.cloud.tencent.com/custom-weight"

// IngressFinalizer keeps an Ingress until what it holds on the CLB is released.
const IngressFinalizer = "clb-direct.io/ingress"

var ingressKeys = Keys{
	DirectAccess: IngressDirectAccess, ExistingLB: IngressExistingLB, InternalSubnet: IngressInternalSubnet, Config: IngressConfig, ConfigAuto: IngressConfigAuto,
	LoadBalancerID: IngressLoadBalancerID, ClientToken: IngressClientToken, CustomWeight: IngressCustomWeight, Finalizer: IngressFinalizer, AutoSuffix: AutoIngressSuffix,
	NoLoadBalancer: "E4018", NotOurs: "E4019", OtherCluster: "E4020", Conflict: "E4101", NoConfig: "E4043", NotBool: "E4037",
}

// AutoIngressSuffix ends the name of a TkeServiceConfig made for an Ingress by
// tke-service-config-auto.
const AutoIngressSuffix = "-auto-ingress-config"

// ingressCandidate tells whether the Ingress is of a class that can be ours: TKE takes
// "qcloud" and none at all.
func ingressCandidate(ing *model.Ingress, p Policy) bool {
	return ing.Class == IngressClass || p.Claim == ByAnnotation && (ing.Class == "" || ing.Class == QcloudClass)
}

// ingressServices are the Services behind the rules and the default backend, each once.
func ingressServices(ing *model.Ingress) []string {
	var names []string
	add := func(b model.IngressBackend) {
		if !b.Resource && b.Service != "" {
			names = append(names, b.Service)
		}
	}
	if ing.Default != nil {
		add(*ing.Default)
	}
	for _, rule := range ing.Rules {
		add(rule.Backend)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ingressSecrets are the secrets of spec.tls, each once.
func ingressSecrets(ing *model.Ingress) []string {
	var names []string
	for _, t := range ing.TLS {
		if t.Secret != "" {
			names = append(names, t.Secret)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
