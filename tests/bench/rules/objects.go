package main

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

const (
	// hosts, with so many paths each, are the rules of the Ingress; behind each of them
	// is the same Service of so many pods.
	hosts, paths, pods = 20, 10, 50
	bindings           = hosts * paths * pods

	namespace = "rules"
	app       = "web"
	port      = 80

	// requestRate is how many requests a second each action takes, the documented number.
	requestRate = 20
)

// bench is a run.
type bench struct {
	*setting.Progress
	*setting.Account
	stack  *stack.Stack
	report *report
	lb     string
	pods   []*corev1.Pod
}

// populate makes everything but the Ingress: a CLB of the user's own, as making one is
// no matter of rules, and a Service whose pods have been running for long.
func (b *bench) populate(ctx context.Context) error {
	b.Say("making a load balancer, a Service and %d pods", pods)
	if err := b.CreateNodes(ctx, pods+1); err != nil {
		return err
	}
	if err := b.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	var err error
	if b.lb, err = b.CreateLoadBalancer(ctx, namespace); err != nil {
		return err
	}
	if _, err := b.Kube.CoreV1().Services(namespace).Create(ctx, service(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating the Service: %w", err)
	}
	for i := range pods {
		pod, err := b.CreatePod(ctx, podAt(i))
		if err != nil {
			return err
		}
		b.pods = append(b.pods, pod)
	}
	b.report.Constants = constants{
		Rules: hosts * paths, Pods: pods, Bindings: bindings,
		RulesPerCall: clb.MaxRules, TargetsPerCall: clb.MaxBatch,
		Latencies: b.stack.CLB.Latencies(), ColdStart: scf.DefaultColdStart.Seconds(), RequestRate: requestRate,
	}
	return nil
}

// podAt is pod number i; its address is far from the emulator's virtual ones.
func podAt(i int) setting.Pod {
	return setting.Pod{Namespace: namespace, App: app, Number: i, IP: netip.AddrFrom4([4]byte{127, 60, 0, byte(i)}).String()}
}

func service() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app},
			Ports:    []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: port, TargetPort: intstr.FromInt32(setting.PodPort)}},
		},
	}
}

// ingress has every path of every host.
func ingress(lb string) *networkingv1.Ingress {
	prefix := networkingv1.PathTypePrefix
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: app, Port: networkingv1.ServiceBackendPort{Number: port}}}
	ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app, Annotations: map[string]string{
		desired.IngressClassAnnotation: desired.QcloudClass, desired.IngressDirectAccess: "true", desired.IngressExistingLB: lb,
	}}}
	for h := range hosts {
		rule := networkingv1.IngressRule{Host: fmt.Sprintf("shop-%02d.example.com", h)}
		rule.HTTP = &networkingv1.HTTPIngressRuleValue{}
		for p := range paths {
			rule.HTTP.Paths = append(rule.HTTP.Paths, networkingv1.HTTPIngressPath{Path: fmt.Sprintf("/section-%02d", p), PathType: &prefix, Backend: backend})
		}
		ing.Spec.Rules = append(ing.Spec.Rules, rule)
	}
	return ing
}
