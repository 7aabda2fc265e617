package main

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Where TKE's controllers can be seen, and how they are told to leave a Service alone
// (457/131136, 457/51258).
const (
	tkeNamespace = "kube-system"
	tkeConfig    = "tke-service-controller-config"
	tkeMode      = "service.cloud.tencent.com/mode"
	tkeSkip      = "skip"
)

// others tells whether TKE's own controllers would act on what we claim.
func (c *clusterCheck) others(ctx context.Context) {
	_, err := c.client.CoreV1().ConfigMaps(tkeNamespace).Get(ctx, tkeConfig, metav1.GetOptions{})
	on := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		c.line(wrong, "other controllers", err.Error(), "the kubeconfig must be an administrator's")
		return
	}
	if on && c.in.config.Policy.Claim == desired.ByAnnotation {
		c.line(wrong, "other controllers", fmt.Sprintf("CLAIM=annotation, and TKE's service controller is there (ConfigMap %s/%s): both would act on the same Services", tkeNamespace, tkeConfig), "set CLAIM=class, for the functions and the forwarder (docs/coexistence.md)")
		return
	}
	both := 0
	for _, ours := range c.ours {
		lb := desired.LoadBalancerOf(&ours.Front)
		for i := range c.services {
			theirs := &c.services[i]
			if lb == "" || theirs.UID == ours.UID || theirs.Type != "LoadBalancer" || desired.LoadBalancerOf(&theirs.Front) != lb || theirs.Annotations[tkeMode] == tkeSkip {
				continue
			}
			if is, _ := desired.Claimed(desired.ServiceObject(theirs), c.in.config.Policy); is || theirs.Class == desired.Class || !samePort(ours, theirs) {
				continue
			}
			both++
			c.line(wrong, "other controllers", fmt.Sprintf("Service %s/%s is ours and Service %s/%s is another controller's, both at the same port of %s", ours.Namespace, ours.Name, theirs.Namespace, theirs.Name, lb),
				fmt.Sprintf("kubectl -n %s annotate service %s %s=%s", theirs.Namespace, theirs.Name, tkeMode, tkeSkip))
		}
	}
	if both == 0 {
		seen := "none is to be seen"
		if on {
			seen = "TKE's service controller leaves class " + desired.Class + " alone"
		}
		c.line(ok, "other controllers", strings.Join([]string{seen, fmt.Sprintf("%d Services are ours", len(c.ours))}, "; "), "")
	}
}

func samePort(a, b *model.Service) bool {
	for _, p := range a.Ports {
		for _, q := range b.Ports {
			if p.Port == q.Port && model.PortClash(p.Protocol, q.Protocol) {
				return true
			}
		}
	}
	return false
}
