package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

//go:embed web.yaml
var web string

const replicas = 4

// Headings of the documents.
const (
	leaving    = "Upgrade, roll back, uninstall"
	takingOver = "Take a live Service over, from NodePort or direct mode"
	givingBack = "Give it back"
)

// follow runs commands of the n-th block below a heading, all of them unless some are
// named, and does what becomes of them elsewhere.
func (l *life) follow(ctx context.Context, page, heading string, n int, lines ...int) error {
	b, err := l.reader.block(page, heading, n)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		for i := range b.Lines() {
			lines = append(lines, i)
		}
	}
	for _, i := range lines {
		line, err := l.reader.line(b, i)
		if err != nil {
			return err
		}
		env := []string{"HELM_REACH=" + l.reach() + l.more}
		if l.s.SCF != nil {
			env = append(env, "CHECKFLAGS=-scf-endpoint "+l.s.SCF.Endpoint()+" -scf-scheme HTTP -drain-address "+l.s.HookAddress())
		}
		if err := l.reader.run(ctx, line, env...); err != nil {
			return err
		}
		if !l.reader.deployed() {
			continue
		}
		if err := l.s.Deploy(ctx, l.reader.dir); err != nil {
			return err
		}
		for _, f := range event.Functions {
			l.reader.words["https://"+string(f)+".example"] = l.s.SCF.URL(string(f))
		}
	}
	return nil
}

// steps are the life's, each under load.
func (l *life) steps() []step {
	return []step{
		{"check what is there, and deploy the functions", l.deployFunctions},
		{"upgrade: the forwarder runs, from the chart", l.runForwarder},
		{"take a live Service over from NodePort mode", l.takeOver},
		{"a rolling update, from pods that sleep before they end to such that are drained", l.firstRoll},
		{"scale to 8 and back", l.scale},
		{"from function URLs to calls by API, signed by the pods' identity", l.callByAPI},
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

// addresses lead to the forwarder, as here no Service's address leads anywhere, and from
// there to the emulated APIs.
func (l *life) addresses() map[string]string {
	return map[string]string{"WEBHOOK_URL": "https://" + l.s.HookAddress() + "/mutate", "DRAIN_ADDRESS": l.s.HookAddress(), "SCF_SCHEME": "HTTP"}
}

// reach are the same, as helm takes them.
func (l *life) reach() string {
	var args []string
	for i, name := range slices.Sorted(maps.Keys(l.addresses())) {
		args = append(args, fmt.Sprintf("--set forwarder.extraEnv[%d].name=%s --set forwarder.extraEnv[%d].value=%s", i, name, i, l.addresses()[name]))
	}
	return strings.Join(args, " ")
}

// access is step 2 of the document: the functions need a ServiceAccount before anything
// else.
func (l *life) access(ctx context.Context) error {
	if err := l.follow(ctx, install, "2. Access in the cluster", 0, 0); err != nil {
		return err
	}
	return l.token(ctx)
}

// token asks for the functions' token until there is one: the cluster makes it.
func (l *life) token(ctx context.Context) error {
	return l.await(ctx, "the functions have a token", func(ctx context.Context) (bool, string) {
		if err := l.follow(ctx, install, "2. Access in the cluster", 0, 1); err != nil {
			return false, err.Error()
		}
		l.env["KUBE_TOKEN"] = l.reader.said
		return strings.Count(l.reader.said, ".") == 2, l.reader.said
	})
}

// Step 3 of the document: its commands are cp, deploy-check and deploy.
const (
	functions       = "3. The functions"
	check, deploy   = 1, 2
	installerKeyEnv = "key.env" // as the document calls it
)

// deployFunctions is step 3: .env is filled in, checked, and deployed with.
func (l *life) deployFunctions(ctx context.Context) error { return l.fillIn(ctx, check, deploy) }

// fillIn makes .env, and runs what comes after that in step 3.
func (l *life) fillIn(ctx context.Context, then ...int) error {
	key, err := l.s.Key("installer", "functions.json", "forwarder.json")
	if err != nil {
		return err
	}
	if err := l.reader.write(installerKeyEnv, map[string]string{"TENCENTCLOUD_SECRETID": key.SecretID, "TENCENTCLOUD_SECRETKEY": key.SecretKey}); err != nil {
		return err
	}
	if err := l.follow(ctx, install, functions, 0, 0); err != nil {
		return err
	}
	token := l.env["KUBE_TOKEN"]
	l.env = maps.Clone(l.s.Env)
	l.env["KUBE_TOKEN"] = token
	if err := l.reader.write(".env", l.env); err != nil {
		return err
	}
	return l.follow(ctx, install, functions, 0, then...)
}

// runForwarder is step 4.
func (l *life) runForwarder(ctx context.Context) error {
	if err := l.follow(ctx, install, "4. The forwarder", 0); err != nil {
		return err
	}
	ip, err := l.drainAddress(ctx)
	if err != nil {
		return err
	}
	l.drain = ip
	return l.forwarderReady(ctx, 2)
}

// callByAPI has the forwarder call the functions by InvokeFunction, without a Secret.
func (l *life) callByAPI(ctx context.Context) error {
	l.more = " --set transport.invoke.endpoint=" + l.s.SCF.Endpoint() + " --set transport.invoke.pod.stsEndpoint=" + l.s.STS.Endpoint()
	if err := l.follow(ctx, install, "Calls by API", 0); err != nil {
		return err
	}
	l.more = ""
	if err := l.forwarderReady(ctx, 2); err != nil {
		return err
	}
	return l.roll(ctx)
}

// takeOver has the other controller leave the Service alone, and one of ours take its CLB
// and listener.
func (l *life) takeOver(ctx context.Context) error {
	if err := l.follow(ctx, coexistence, takingOver, 0); err != nil {
		return err
	}
	direct, err := l.reader.block(coexistence, takingOver, 1)
	if err != nil {
		return err
	}
	if err := l.apply(ctx, l.reader.object(direct)); err != nil {
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
	if err := l.follow(ctx, coexistence, takingOver, 2); err != nil {
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
	l.more = " --set forwarder.replicas=3 --set forwarder.image.tag=next" // what a newer release brings
	if err := l.follow(ctx, install, leaving, 0, 0); err != nil {
		return err
	}
	l.more = ""
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
	if err := l.follow(ctx, install, leaving, 0, 1); err != nil {
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
	if err := l.follow(ctx, coexistence, givingBack, 0); err != nil {
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
	if err := l.follow(ctx, coexistence, givingBack, 1); err != nil {
		return err
	}
	if err := l.await(ctx, "the nodes serve, and nobody else is bound", l.nodesServe); err != nil {
		return err
	}
	return l.follow(ctx, coexistence, givingBack, 2)
}

// uninstall leaves the drain Service, and nothing that would speak of new pods.
func (l *life) uninstall(ctx context.Context) error {
	if err := l.follow(ctx, install, leaving, 0, 2); err != nil {
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

// installManifests installs what the chart did. The functions' ServiceAccount is another
// one, so they are deployed anew with its token.
func (l *life) installManifests(ctx context.Context) error {
	const heading = "Without helm"
	if err := l.follow(ctx, install, heading, 0); err != nil {
		return err
	}
	if err := l.token(ctx); err != nil {
		return err
	}
	// Until they are deployed the functions have the token of before.
	if err := l.fillIn(ctx, deploy, check); err != nil {
		return err
	}
	settings := l.addresses()
	settings["CLUSTER_ID"], settings["CLAIM"], settings["NETWORK"] = stack.ClusterID, "class", "vpc-cni"
	for _, f := range event.Functions {
		settings["URL_"+strings.ToUpper(string(f))] = l.s.SCF.URL(string(f))
	}
	err := errors.Join(l.reader.write("forwarder.env", settings), l.reader.write("forwarder-secret.env", map[string]string{"EVENT_SECRET": l.s.EventSecret}))
	if err != nil {
		return err
	}
	if err := l.follow(ctx, install, heading, 1); err != nil {
		return err
	}
	return l.forwarderReady(ctx, 2)
}

func (l *life) deleteManifests(ctx context.Context) error {
	if err := l.follow(ctx, install, leaving, 1); err != nil {
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
