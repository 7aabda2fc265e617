package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/desired"
)

//go:embed web.yaml
var web string

//go:embed direct.yaml
var direct string

const (
	release  = "clb-direct"
	replicas = 4
)

// steps are the life's, each under load.
func (l *life) steps() []step {
	return []step{
		{"upgrade: the forwarder runs, from the chart", l.runForwarder},
		{"take a live Service over from NodePort mode", l.takeOver},
		{"a rolling update, from pods that sleep before they end to such that are drained", l.firstRoll},
		{"scale to 8 and back", l.scale},
		{"upgrade during a rolling update", l.upgrade},
		{"roll back", l.rollBack},
		{"give the Service back", l.giveBack},
		{"uninstall the chart", l.uninstall},
		{"install the plain manifests", l.installManifests},
		{"take the Service over again", l.takeOver},
		{"another rolling update", l.roll},
		{"give the Service back again", l.giveBack},
		{"delete the manifests", l.deleteManifests},
	}
}

// precede is what the cluster already runs: an application behind somebody else's CLB.
func (l *life) precede(ctx context.Context) error {
	if err := l.apply(ctx, web); err != nil {
		return err
	}
	svc, err := l.client.CoreV1().Services("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the Service: %w", err)
	}
	if l.other, err = newTenant(l.s, l.client, "web", l.say); err != nil {
		return err
	}
	shut, err := l.other.serveNodePort(ctx, svc.Spec.Ports[0].NodePort)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = shut() })
	if err := l.other.start(ctx); err != nil {
		return err
	}
	l.say("an application in NodePort mode, behind a CLB of another controller's")
	return l.await(ctx, "the nodes serve", l.nodesServe)
}

func (l *life) vip() string {
	lb, _ := l.other.balancer()
	return lb.VIP.String()
}

// helmed runs helm with the values of this cluster.
func (l *life) helmed(ctx context.Context, command string, args ...string) error {
	values := []string{command, release, filepath.Join(l.root, "infra/chart"), "-n", stack.Namespace,
		"--set", "clusterId=" + stack.ClusterID, "--set", "claim=class", "--set", "network=vpc-cni"}
	_, err := l.helm.Run(ctx, slices.Concat(values, args)...)
	return err
}

// reach are values that lead from the forwarder to the functions, and to it: here no
// Service's address leads anywhere.
func (l *life) reach() []string {
	args := []string{"--set", "secret.eventSecret=" + l.s.EventSecret}
	for _, f := range []string{"frontend", "backends", "readiness"} {
		args = append(args, "--set", "transport.urls."+f+"="+l.s.SCF.URL(f))
	}
	for i, v := range l.addresses() {
		name, value, _ := strings.Cut(v, "=")
		args = append(args, "--set", fmt.Sprintf("forwarder.extraEnv[%d].name=%s", i, name), "--set", fmt.Sprintf("forwarder.extraEnv[%d].value=%s", i, value))
	}
	return args
}

func (l *life) addresses() []string {
	return []string{"WEBHOOK_URL=https://" + l.s.HookAddress() + "/mutate", "DRAIN_ADDRESS=" + l.s.HookAddress()}
}

func (l *life) runForwarder(ctx context.Context) error {
	if err := l.helmed(ctx, "upgrade", append(l.reach(), "--wait", "--timeout=2m")...); err != nil {
		return err
	}
	ip, err := l.drainAddress(ctx)
	if err != nil {
		return err
	}
	l.drain = ip
	return l.forwarderReady(ctx, 2)
}

// takeOver has the other controller leave the Service alone, and one of ours take its CLB
// and listener.
func (l *life) takeOver(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "annotate", "service", "web", "--overwrite", modeKey+"="+modeSkip); err != nil {
		return err
	}
	if err := l.apply(ctx, strings.ReplaceAll(direct, "{{lb}}", l.other.lb)); err != nil {
		return err
	}
	return l.await(ctx, "the pods serve, and nobody else is bound", l.podsServe(replicas))
}

// firstRoll replaces pods that were made before anybody here knew of them: without gate and
// drain, they have only their own sleep, which those after them need no more.
func (l *life) firstRoll(ctx context.Context) error {
	const without = `[{"op": "remove", "path": "/spec/template/spec/containers/0/lifecycle"}]`
	if err := l.s.Kubectl(ctx, nil, "patch", "deployment", "web", "--type=json", "--patch="+without); err != nil {
		return err
	}
	return l.rolled(ctx)
}

func (l *life) roll(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "rollout", "restart", "deployment/web"); err != nil {
		return err
	}
	return l.rolled(ctx)
}

func (l *life) rolled(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "rollout", "status", "deployment/web", "--timeout=4m"); err != nil {
		return err
	}
	if err := l.await(ctx, "the pods serve, and nobody else is bound", l.podsServe(replicas)); err != nil {
		return err
	}
	pods, err := l.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && len(p.Spec.ReadinessGates) == 0 {
			return fmt.Errorf("pod %s has no readiness gate", p.Name)
		}
	}
	return nil
}

func (l *life) scale(ctx context.Context) error {
	for _, n := range []int{8, replicas} {
		if err := l.s.Kubectl(ctx, nil, "scale", "deployment/web", fmt.Sprintf("--replicas=%d", n)); err != nil {
			return err
		}
		if err := l.await(ctx, fmt.Sprintf("%d pods serve", n), l.podsServe(n)); err != nil {
			return err
		}
	}
	return nil
}

// upgrade replaces the forwarder while pods are being replaced.
func (l *life) upgrade(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "rollout", "restart", "deployment/web"); err != nil {
		return err
	}
	if err := l.helmed(ctx, "upgrade", append(l.reach(), "--set", "forwarder.replicas=3", "--set", "forwarder.image.tag=next", "--wait", "--timeout=3m")...); err != nil {
		return err
	}
	if err := l.s.Kubectl(ctx, nil, "rollout", "status", "deployment/web", "--timeout=4m"); err != nil {
		return err
	}
	if err := l.forwarderReady(ctx, 3); err != nil {
		return err
	}
	return l.await(ctx, "the pods serve, and nobody else is bound", l.podsServe(replicas))
}

func (l *life) rollBack(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "rollout", "restart", "deployment/web"); err != nil {
		return err
	}
	if _, err := l.helm.Run(ctx, "rollback", release, "-n", stack.Namespace, "--wait", "--timeout=3m"); err != nil {
		return err
	}
	if err := l.s.Kubectl(ctx, nil, "rollout", "status", "deployment/web", "--timeout=4m"); err != nil {
		return err
	}
	if err := l.forwarderReady(ctx, 2); err != nil {
		return err
	}
	return l.sameDrainAddress(ctx)
}

// giveBack has us let go, and the other controller go on with the listener as it was.
func (l *life) giveBack(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "annotate", "service", "web-direct", "--overwrite", desired.DirectAccess+"=false"); err != nil {
		return err
	}
	err := l.await(ctx, "the listener is the other's again", func(ctx context.Context) (bool, string) {
		lb, _ := l.other.balancer()
		svc, err := l.client.CoreV1().Services("default").Get(ctx, "web-direct", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(lb.Listeners) == 1 && lb.Listeners[0].Name == theirListener && len(svc.Finalizers) == 0, fmt.Sprintf("%+v %v", lb.Listeners, svc.Finalizers)
	})
	if err != nil {
		return err
	}
	if err := l.s.Kubectl(ctx, nil, "annotate", "service", "web", modeKey+"-"); err != nil {
		return err
	}
	if err := l.await(ctx, "the nodes serve, and nobody else is bound", l.nodesServe); err != nil {
		return err
	}
	return l.s.Kubectl(ctx, nil, "delete", "service", "web-direct")
}

// uninstall leaves the drain Service, and nothing that would speak of new pods.
func (l *life) uninstall(ctx context.Context) error {
	if _, err := l.helm.Run(ctx, "uninstall", release, "-n", stack.Namespace, "--wait", "--timeout=4m"); err != nil {
		return err
	}
	return l.gone(ctx)
}

func (l *life) gone(ctx context.Context) error {
	err := l.await(ctx, "the forwarder and its webhook are gone", func(ctx context.Context) (bool, string) {
		pods, err := l.client.CoreV1().Pods(stack.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		_, err = l.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "clb-direct", metav1.GetOptions{})
		return len(pods.Items) == 0 && apierrors.IsNotFound(err), fmt.Sprintf("%d pods, webhook: %v", len(pods.Items), err)
	})
	if err != nil {
		return err
	}
	return l.sameDrainAddress(ctx)
}

// manifests are the plain ones but namespace and drain Service, which stay.
func (l *life) manifests() []string {
	var args []string
	for _, f := range []string{"crd", "manifests/10-functions-rbac.yaml", "manifests/20-forwarder-rbac.yaml", "manifests/30-ingressclass.yaml", "manifests/50-forwarder.yaml", "manifests/55-networkpolicy.yaml", "policy"} {
		args = append(args, "-f", filepath.Join(l.root, "infra", f))
	}
	return args
}

// installManifests installs what the chart did. The functions' ServiceAccount is another
// one, so they are deployed anew with its token.
func (l *life) installManifests(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, "apply", "-f", filepath.Join(l.root, "infra/manifests/10-functions-rbac.yaml")); err != nil {
		return err
	}
	if err := l.s.Redeploy(ctx); err != nil {
		return err
	}
	config := []string{"create", "configmap", "forwarder", "-n", stack.Namespace}
	settings := append(l.addresses(), "CLUSTER_ID="+stack.ClusterID, "CLAIM=class", "NETWORK=vpc-cni")
	for _, f := range []string{"frontend", "backends", "readiness"} {
		settings = append(settings, "URL_"+strings.ToUpper(f)+"="+l.s.SCF.URL(f))
	}
	for _, v := range settings {
		config = append(config, "--from-literal="+v)
	}
	for _, args := range [][]string{
		config,
		{"create", "secret", "generic", "forwarder", "-n", stack.Namespace, "--from-literal=EVENT_SECRET=" + l.s.EventSecret},
		{"apply", "-f", filepath.Join(l.root, "infra/crd"), "-f", filepath.Join(l.root, "infra/manifests"), "-f", filepath.Join(l.root, "infra/policy")},
		{"rollout", "status", "-n", stack.Namespace, "deployment/clb-direct-forwarder", "--timeout=3m"},
	} {
		if err := l.s.Kubectl(ctx, nil, args...); err != nil {
			return err
		}
	}
	return l.forwarderReady(ctx, 2)
}

func (l *life) deleteManifests(ctx context.Context) error {
	if err := l.s.Kubectl(ctx, nil, append([]string{"delete", "--wait=false", "--ignore-not-found"}, l.manifests()...)...); err != nil {
		return err
	}
	return l.gone(ctx)
}

func (l *life) drainAddress(ctx context.Context) (string, error) {
	s, err := l.client.CoreV1().Services(stack.Namespace).Get(ctx, "clb-direct-drain", metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the drain Service: %w", err)
	}
	return s.Spec.ClusterIP, nil
}

func (l *life) sameDrainAddress(ctx context.Context) error {
	ip, err := l.drainAddress(ctx)
	if err == nil && ip != l.drain {
		err = fmt.Errorf("the drain Service was at %s and is at %s: pods' hooks lead nowhere", l.drain, ip)
	}
	return err
}

// forwarderReady waits until so many replicas are Ready and no other pod of it is left.
func (l *life) forwarderReady(ctx context.Context, n int) error {
	return l.await(ctx, fmt.Sprintf("%d replicas of the forwarder are Ready", n), func(ctx context.Context) (bool, string) {
		pods, err := l.client.CoreV1().Pods(stack.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=clb-direct-forwarder"})
		if err != nil {
			return false, err.Error()
		}
		ready := 0
		for _, p := range pods.Items {
			if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue }) {
				ready++
			}
		}
		return ready == n && len(pods.Items) == n, fmt.Sprintf("%d of %d", ready, len(pods.Items))
	})
}

// nodesServe: every node is bound at the other's listener, healthy, and nobody else is.
func (l *life) nodesServe(ctx context.Context) (bool, string) {
	lb, ok := l.other.balancer()
	if !ok || len(lb.Listeners) != 1 || lb.Listeners[0].Name != theirListener {
		return false, fmt.Sprintf("%+v", lb)
	}
	nodes, err := l.other.nodes(ctx)
	if err != nil {
		return false, err.Error()
	}
	targets := lb.Listeners[0].Targets
	bad := slices.ContainsFunc(targets, func(g clb.Target) bool {
		_, isNode := byAddress(nodes, g.IP)
		return !isNode || g.Health != "Alive" || g.Weight == 0
	})
	return len(targets) == len(nodes) && !bad, fmt.Sprintf("%+v", targets)
}

// podsServe: so many pods are bound at our listener as themselves, healthy, and nobody else is.
func (l *life) podsServe(n int) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		lb, _ := l.other.balancer()
		if len(lb.Listeners) != 1 {
			return false, fmt.Sprintf("%+v", lb)
		}
		_, ours := desired.OwnerOf(lb.Listeners[0].Name)
		pods, err := l.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return false, err.Error()
		}
		uids := map[string]bool{}
		for _, p := range pods.Items {
			uids[string(p.UID)] = true
		}
		targets := lb.Listeners[0].Targets
		bad := slices.ContainsFunc(targets, func(g clb.Target) bool { return !uids[g.Tag] || g.Health != "Alive" || g.Weight == 0 })
		return ours && len(uids) == n && len(targets) == n && !bad, fmt.Sprintf("listener %s, %d pods, targets %+v", lb.Listeners[0].Name, len(uids), targets)
	}
}

func (l *life) apply(ctx context.Context, objects string) error {
	return l.s.Kubectl(ctx, bytes.NewBufferString(objects), "apply", "-f", "-")
}

// await polls for something, for two minutes at most, and tells what it saw last.
func (l *life) await(ctx context.Context, what string, done func(context.Context) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		ok, seen := done(ctx)
		if ok {
			return nil
		}
		if ctx.Err() == nil {
			last = seen
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("awaiting that %s: %w; seen: %s", what, context.Cause(ctx), last)
		}
	}
}
