package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// clusterCheck asks as an administrator.
type clusterCheck struct {
	options
	*sheet
	in     given
	client kubernetes.Interface
	config *rest.Config

	services []model.Service
	ours     []*model.Service
	running  bool
}

// forwarder tells whether it runs.
func (c *clusterCheck) forwarder(ctx context.Context) {
	d, err := c.client.AppsV1().Deployments(home).Get(ctx, "clb-direct-forwarder", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		pods, perr := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "clb-direct", metav1.GetOptions{})
		if perr == nil && pods != nil {
			c.running = true
			c.line(note, "forwarder", "it runs, but not from the Deployment clb-direct-forwarder", "")
			return
		}
		c.line(note, "forwarder", "is not installed yet", "docs/install.md: install the chart")
	case err != nil:
		c.line(wrong, "forwarder", err.Error(), "the kubeconfig must be an administrator's")
	case d.Status.ReadyReplicas < 1:
		c.line(wrong, "forwarder", fmt.Sprintf("none of %d replicas is ready", d.Status.Replicas), "kubectl -n "+home+" logs deployment/clb-direct-forwarder")
	default:
		c.running = true
		c.line(ok, "forwarder", fmt.Sprintf("%d of %d replicas are ready", d.Status.ReadyReplicas, d.Status.Replicas), "")
	}
}

// claimed reads the Services, and which are ours.
func (c *clusterCheck) claimed(ctx context.Context) {
	client, err := kube.New(c.config)
	if err == nil {
		c.services, err = client.Services(ctx, "", "", nil)
	}
	if err != nil {
		c.line(wrong, "Services", err.Error(), "the kubeconfig must be an administrator's")
		return
	}
	for i := range c.services {
		if is, _ := desired.Claimed(desired.ServiceObject(&c.services[i]), c.in.config.Policy); is {
			c.ours = append(c.ours, &c.services[i])
		}
	}
}

// webhook has the API server admit a pod of a claimed Service, without making it: the
// gate shows whether it was reached.
func (c *clusterCheck) webhook(ctx context.Context) {
	i := slices.IndexFunc(c.ours, func(s *model.Service) bool { return len(s.Selector) > 0 })
	switch {
	case !c.running:
		c.line(skipped, "webhook", "the forwarder doesn't run", "")
		return
	case i < 0:
		c.line(skipped, "webhook", "no Service is claimed yet, so no pod is admitted", "apply a Service (docs/concepts.md) and check again")
		return
	}
	s := c.ours[i]
	pod := probePod("clb-direct-check-", s.Selector)
	made, err := c.client.CoreV1().Pods(s.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err != nil:
		c.line(wrong, "webhook", err.Error(), "the dry run of a pod of Service "+s.Namespace+"/"+s.Name+" was refused by somebody else")
	case !slices.ContainsFunc(made.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == model.GateType }):
		c.line(wrong, "webhook", "a pod of Service "+s.Namespace+"/"+s.Name+" got no readiness gate", "the API server must reach the forwarder's pods at port 8443 (security groups of nodes and of pods' interfaces)")
	default:
		c.line(ok, "webhook", "a pod of Service "+s.Namespace+"/"+s.Name+" got its readiness gate", "")
	}
}

// drain tells where hooks lead, whether pods' hooks lead there too, and whether a node
// reaches it: a pod's startup probe is asked by the kubelet as a hook is.
func (c *clusterCheck) drain(ctx context.Context) {
	host, port := "", 443
	if c.drainAddress != "" {
		h, p, err := net.SplitHostPort(c.drainAddress)
		if err == nil {
			port, err = strconv.Atoi(p)
		}
		if err != nil {
			c.line(wrong, "drain address", err.Error(), "-drain-address is host:port")
			return
		}
		host = h
	} else {
		s, err := c.client.CoreV1().Services(home).Get(ctx, "clb-direct-drain", metav1.GetOptions{})
		if err != nil {
			c.line(note, "drain address", "there is no drain Service: pods get no drain hook", "install the chart, or apply infra/manifests/40-drain-service.yaml")
			return
		}
		host = s.Spec.ClusterIP
	}
	if astray := c.astray(ctx, host); len(astray) > 0 {
		c.line(wrong, "drain hooks", fmt.Sprintf("of pods %s lead to %s, the drain Service is at %s", strings.Join(astray, ", "), "another address", host), "give the Service the address that they have (drain.clusterIP of the chart), or replace the pods")
	}
	if c.probeImage == "" || !c.running {
		c.line(skipped, "drain address", host+": no -probe-image was named, or the forwarder doesn't run", "")
		return
	}
	pod := probePod("clb-direct-check-", map[string]string{"app.kubernetes.io/part-of": "clb-direct"})
	pod.Spec.Containers[0].Image = c.probeImage
	pod.Spec.Containers[0].StartupProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: host, Port: intstr.FromInt32(int32(port)), Path: "/healthz", Scheme: corev1.URISchemeHTTPS}},
		PeriodSeconds: 1, TimeoutSeconds: 3, FailureThreshold: 30,
	}
	made, err := c.client.CoreV1().Pods(home).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		c.line(wrong, "drain address", err.Error(), "a pod must be allowed in namespace "+home)
		return
	}
	defer func() {
		_ = c.client.CoreV1().Pods(home).Delete(context.WithoutCancel(ctx), made.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	}()
	seen := c.reached(ctx, made.Name)
	if seen == "" {
		c.line(ok, "drain address", fmt.Sprintf("%s is reached from a node", net.JoinHostPort(host, strconv.Itoa(port))), "")
		return
	}
	c.line(wrong, "drain address", fmt.Sprintf("%s is not reached from a node: %s", net.JoinHostPort(host, strconv.Itoa(port)), seen), "nodes must reach ClusterIPs and, behind them, the forwarder's pods at port 8443; without that run the forwarder with --drain-service=-")
}

// reached waits for the probe; "" if it succeeded.
func (c *clusterCheck) reached(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := "the pod has not started"
	for {
		p, err := c.client.CoreV1().Pods(home).Get(ctx, name, metav1.GetOptions{})
		if err == nil && len(p.Status.ContainerStatuses) > 0 {
			st := p.Status.ContainerStatuses[0]
			switch {
			case st.Started != nil && *st.Started:
				return ""
			case st.State.Waiting != nil:
				last = "the pod waits: " + st.State.Waiting.Reason
			case st.State.Running != nil:
				last = "its probe does not succeed on node " + p.Spec.NodeName
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return last
		}
	}
}

// astray are pods whose hooks lead somewhere else, some of them.
func (c *clusterCheck) astray(ctx context.Context, host string) []string {
	var out []string
	opts := metav1.ListOptions{Limit: 500}
	for {
		list, err := c.client.CoreV1().Pods("").List(ctx, opts)
		if err != nil {
			return out
		}
		for _, p := range list.Items {
			for _, container := range p.Spec.Containers {
				l := container.Lifecycle
				if l == nil || l.PreStop == nil || l.PreStop.HTTPGet == nil || !strings.HasPrefix(l.PreStop.HTTPGet.Path, model.DrainPath) || l.PreStop.HTTPGet.Host == host {
					continue
				}
				if out = append(out, p.Namespace+"/"+p.Name); len(out) == 5 {
					return out
				}
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return out
		}
	}
}

func probePod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name, Labels: labels},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false), RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{Name: "check", Image: "pause"}},
		},
	}
}
