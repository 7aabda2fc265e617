// Package demo shows the main job: a Service bound straight to its pods, each Ready
// only when the CLB has found it healthy, on a real control plane with the real
// forwarder and the packaged functions. It reports what it measured and fails if
// any of it is not so.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/stack"
)

// The objects of the seed document.
const (
	namespace  = "default"
	service    = "nginx-service-eni"
	deployment = "nginx-deployment-eni"
)

// Options of the demo.
type Options struct {
	Stack stack.Options
	// Out is the folder for demo.json.
	Out string
	// W is where people look.
	W io.Writer
}

// show is a demo under way.
type show struct {
	o      Options
	s      *stack.Stack
	client kubernetes.Interface
	board  *board
	report Report
	began  time.Time

	mu sync.Mutex
	// onInvoke is what the SCF emulator calls before it hands an event over.
	onInvoke func(context.Context, scf.Invocation)
}

// Run runs the demo, at most a few minutes, and ends everything that it started.
func Run(ctx context.Context, o Options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute) // the first build included
	defer cancel()
	d := &show{o: o, began: time.Now()}
	d.o.Stack.SCF.OnInvoke = d.invoked
	d.say("starting: a Kubernetes control plane, nodes, a CLB, SCF, the functions, the forwarder")
	if d.s, err = stack.Start(ctx, d.o.Stack); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.s.Close()) }()
	if d.client, err = kubernetes.NewForConfig(d.s.Cluster.RESTConfig()); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	d.report.Latencies = d.s.CLB.Latencies()
	d.say("everything is up; latencies of the emulated CLB: %s", latencies(d.report.Latencies))

	d.board = newBoard(d)
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watchers sync.WaitGroup
	watchers.Go(func() { d.board.watchPods(watching) })
	watchers.Go(func() { d.board.watchTargets(watching) })
	defer watchers.Wait()
	defer stopWatching()

	for _, act := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"the Service, then the Deployment, as they stand in the document", d.apply},
		{"200 requests from two client addresses through the CLB", d.requests},
		{"scale to 6, and kill the function that is binding them between two writes to the CLB", d.kill},
		{"scale to 2", d.shrink},
		{"delete the Service", d.remove},
	} {
		d.say("")
		d.say("── %s", act.title)
		if err := act.run(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", act.title, err), d.write())
		}
	}
	return errors.Join(d.finish(), d.write())
}

func (d *show) say(format string, args ...any) { fmt.Fprintf(d.o.W, format+"\n", args...) }

func (d *show) seed(name string) string {
	return filepath.Join(d.o.Stack.Root, "localdev", "seed", name+".yaml")
}

// apply applies the seed's objects and waits until every pod is Ready.
func (d *show) apply(ctx context.Context) error {
	for _, name := range []string{"service", "deployment"} {
		out, err := d.s.KubectlOutput(ctx, "apply", "-f", d.seed(name))
		if err != nil {
			return fmt.Errorf("applying %s.yaml: %w: %s", name, err, out)
		}
		d.say("$ kubectl apply -f localdev/seed/%s.yaml\n  %s", name, trim(out))
	}
	if err := d.awaitReady(ctx, 3); err != nil {
		return err
	}
	return d.awaitTargets(ctx, 3)
}

// awaitReady waits until exactly n pods run and all are Ready.
func (d *show) awaitReady(ctx context.Context, n int) error {
	return d.await(ctx, fmt.Sprintf("%d pods to be Ready", n), func() (bool, string) {
		ready, all := d.board.count()
		return ready == n && all == n, fmt.Sprintf("%d of %d are", ready, all)
	})
}

// awaitTargets waits until the CLB's targets are exactly the pods, and records
// whether that came to be.
func (d *show) awaitTargets(ctx context.Context, n int) error {
	err := d.await(ctx, fmt.Sprintf("the CLB's targets to be exactly the %d pods", n), func() (bool, string) {
		targets, pods := d.targetIPs(), d.board.ips()
		return len(pods) == n && same(targets, pods), fmt.Sprintf("targets %v, pods %v", targets, pods)
	})
	d.report.checks = append(d.report.checks, err == nil)
	d.report.TargetsEqualPods = !slices.Contains(d.report.checks, false)
	return err
}

// await polls a condition for up to a minute.
func (d *show) await(ctx context.Context, what string, ok func() (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, state := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %s", what, state)
		case <-tick.C:
		}
	}
}

// vip is the Service's address.
func (d *show) vip(ctx context.Context) (string, error) {
	svc, err := d.client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the Service: %w", err)
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		return in.IP, nil
	}
	return "", fmt.Errorf("reading the Service: it has no address")
}

// shrink scales down and waits until nothing but the two is bound.
func (d *show) shrink(ctx context.Context) error {
	if err := d.scale(ctx, 2); err != nil {
		return err
	}
	if err := d.awaitReady(ctx, 2); err != nil {
		return err
	}
	return d.awaitTargets(ctx, 2)
}

func (d *show) scale(ctx context.Context, n int) error {
	out, err := d.s.KubectlOutput(ctx, "scale", "deployment/"+deployment, fmt.Sprintf("--replicas=%d", n))
	if err != nil {
		return fmt.Errorf("scaling: %w: %s", err, out)
	}
	d.say("$ kubectl scale deployment/%s --replicas=%d", deployment, n)
	return nil
}

// remove deletes the Service and looks for anything left behind.
func (d *show) remove(ctx context.Context) error {
	out, err := d.s.KubectlOutput(ctx, "delete", "service", service, "--timeout=50s")
	if err != nil {
		return fmt.Errorf("deleting the Service: %w: %s", err, out)
	}
	d.say("$ kubectl delete service %s\n  %s", service, trim(out))
	left := LeftBehind{}
	for _, lb := range d.s.CLB.LoadBalancers() {
		left.LoadBalancers++
		for _, l := range lb.Listeners {
			left.Targets += len(l.Targets)
		}
	}
	services, err := d.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	for _, svc := range services.Items {
		left.Finalizers += len(svc.Finalizers)
	}
	d.report.LeftBehind = &left
	return nil
}

// targetIPs are the addresses bound on any CLB.
func (d *show) targetIPs() []string {
	var ips []string
	for _, lb := range d.s.CLB.LoadBalancers() {
		for _, l := range lb.Listeners {
			for _, t := range l.Targets {
				ips = append(ips, t.IP.String())
			}
		}
	}
	return ips
}

func ready(p *corev1.Pod) bool { return condition(p, corev1.PodReady) }

func condition(p *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func latencies(l clb.Latencies) string {
	return fmt.Sprintf("API %s, task %s-%s, busy after a write %s, propagation %s-%s, CreateLoadBalancer %s; cold start of a function %s",
		l.API, l.Task.Min, l.Task.Max, l.Busy, l.Propagation.Min, l.Propagation.Max, l.Create, scf.DefaultColdStart)
}
