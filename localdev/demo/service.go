package demo

import (
	"context"
	"fmt"
	"net"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// The objects of the seed document.
const (
	service    = "nginx-service-eni"
	deployment = "nginx-deployment-eni"
)

// visitors is how many addresses requests come from.
const visitors = 2

// clients are those addresses.
func (d *show) clients() []string {
	var out []string
	for n := range visitors {
		out = append(out, d.s.Client(n+1))
	}
	return out
}

// serviceShow is the demo of a Service.
type serviceShow struct {
	show
	result ServiceReport

	mu sync.Mutex
	// onInvoke is what the SCF emulator calls before it hands an event over.
	onInvoke func(context.Context, scf.Invocation)
}

// Service runs the demo of a Service, at most a few minutes, and ends everything that
// it started. Its report is demo.json.
func Service(ctx context.Context, o Options) error {
	d := &serviceShow{show: show{o: o, short: suffix}}
	d.o.Stack.SCF.OnInvoke = d.invoked
	return d.perform(ctx, play{file: "demo.json", report: d.report, acts: []act{
		{"the Service, then the Deployment, as they stand in the document", d.appear},
		{"200 requests from two client addresses through the CLB", d.requests},
		{"scale to 6, and kill the function that is binding them between two writes to the CLB", d.kill},
		{"scale to 2", d.shrink},
		{"delete the Service", d.remove},
	}})
}

// report completes what the acts have measured.
func (d *serviceShow) report() report {
	r := d.result
	r.Pods, r.TargetsEqualPods, r.looked = d.board.ways(), d.targetsEqualPods(), len(d.looked)
	r.Latencies, r.CLBCalls = d.s.CLB.Latencies(), d.s.CLB.CallCounts()
	return &r
}

// appear applies the seed's objects and waits until every pod is Ready.
func (d *serviceShow) appear(ctx context.Context) error {
	for _, name := range []string{"seed/service.yaml", "seed/deployment.yaml"} {
		if err := d.apply(ctx, name); err != nil {
			return err
		}
	}
	return d.settle(ctx, 3)
}

// vip is the Service's address.
func (d *serviceShow) vip(ctx context.Context) (string, error) {
	svc, err := d.client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the Service: %w", err)
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		return in.IP, nil
	}
	return "", fmt.Errorf("reading the Service: it has no address")
}

// requests sends 200 requests through the CLB, half from each client address, and
// looks who answered and whom they saw.
func (d *serviceShow) requests(ctx context.Context) error {
	vip, err := d.vip(ctx)
	if err != nil {
		return err
	}
	const each = 100
	r := Requests{PerPod: map[string]int{}}
	preserved := true
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, from := range d.clients() {
		wg.Go(func() {
			// A new connection for each request, or one pod would get them all.
			client := visitor{from: from}.client()
			for range each {
				a, err := get(ctx, client, "http://"+vip+"/")
				mu.Lock()
				r.Sent++
				if err != nil {
					r.Failed++
					d.say("  a request from %s failed: %v", from, err)
				} else {
					r.OK++
					r.PerPod[a.Pod]++
					host, _, splitErr := net.SplitHostPort(a.Client)
					preserved = preserved && splitErr == nil && host == from
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	d.result.Requests, d.result.ClientIPPreserved = r, preserved
	d.say("  %d sent to http://%s, %d answered, %d failed; pods saw the clients' own addresses: %v", r.Sent, vip, r.OK, r.Failed, preserved)
	d.sayPerPod(r.PerPod)
	if r.Failed > 0 || !preserved || len(r.PerPod) != 3 {
		return fmt.Errorf("%d of %d requests failed, client addresses preserved %v, %d pods answered", r.Failed, r.Sent, preserved, len(r.PerPod))
	}
	return nil
}

// shrink scales down and waits until nothing but the two is bound.
func (d *serviceShow) shrink(ctx context.Context) error {
	if err := d.scale(ctx, deployment, 2); err != nil {
		return err
	}
	return d.settle(ctx, 2)
}

// remove deletes the Service and looks for anything left behind.
func (d *serviceShow) remove(ctx context.Context) error {
	if err := d.kubectlAloud(ctx, "delete", "service", service, "--timeout=50s"); err != nil {
		return err
	}
	finalizers, err := d.finalizers(ctx)
	if err != nil {
		return err
	}
	d.result.LeftBehind = &LeftBehind{LoadBalancers: len(d.s.CLB.LoadBalancers()), Targets: len(d.targets()), Finalizers: finalizers}
	return nil
}
