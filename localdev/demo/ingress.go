package demo

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The objects of hosts.yaml and of the seed document's Ingress.
const (
	seedIngress  = "test-ingress"
	hostsIngress = "example-com"
	certificate  = "certdemo"

	shopHost = "shop.example.com"
	apiHost  = "api.example.com"
)

// ingressShow is the demo of Ingresses.
type ingressShow struct {
	show
	result IngressReport
	tally  tally
	// sites are what requests are sent to under load: of each host one address.
	sites []site
	// roots and resolve are what visitors know of the hosts.
	roots   *x509.CertPool
	resolve map[string]string
}

// site is an address and who is to answer there.
type site struct{ host, url, app string }

// Ingress runs the demo of Ingresses, at most a few minutes, and ends everything that
// it started. Its report is demo-ingress.json.
func Ingress(ctx context.Context, o Options) error {
	d := &ingressShow{resolve: map[string]string{}, sites: []site{
		{shopHost, "https://" + shopHost + "/", "shop"},
		{apiHost, "https://" + apiHost + "/v1/items", "api"},
	}}
	d.show = show{o: o, short: func(p *corev1.Pod) string { return fmt.Sprintf("%-5s %s", p.Labels["app"], suffix(p)) }}
	return d.perform(ctx, play{file: "demo-ingress.json", report: d.report, acts: []act{
		{"the Ingress and the Deployment of the document, and the Service that they need", d.appear},
		{"two hosts over HTTPS, with a certificate from a secret; HTTP redirected", d.hosts},
		{"a rolling update under load, over new and over kept connections", d.roll},
		{"scale, then delete the Ingresses", d.remove},
	}})
}

// report completes what the acts have measured.
func (d *ingressShow) report() report {
	r := d.result
	for _, t := range d.board.tracks() {
		r.Pods = append(r.Pods, IngressPod{App: t.pod.Labels["app"], Created: t.created.UTC().Round(time.Millisecond), Pod: t.way(),
			Gated: len(t.pod.Spec.ReadinessGates) > 0, DrainedMS: t.drained.Milliseconds()})
	}
	r.Requests, r.TargetsEqualPods, r.looked = d.tally.now(), d.targetsEqualPods(), len(d.looked)
	r.Latencies, r.CLBCalls = d.s.CLB.Latencies(), d.s.CLB.CallCounts()
	return &r
}

// appear applies the seed's objects, waits until every pod is Ready and asks them.
func (d *ingressShow) appear(ctx context.Context) error {
	for _, name := range []string{"seed/ingress-service.yaml", "seed/ingress.yaml", "seed/deployment.yaml"} {
		if err := d.apply(ctx, name); err != nil {
			return err
		}
	}
	if err := d.settle(ctx, 3); err != nil {
		return err
	}
	vip, err := d.vip(ctx, seedIngress)
	if err != nil {
		return err
	}
	if err := d.sayRules(vip); err != nil {
		return err
	}
	at := site{vip, "http://" + vip + "/", "nginx"}
	return d.visitAll(ctx, 30, at)
}

// hosts applies an Ingress of two hosts with TLS and asks both, over HTTPS and HTTP.
func (d *ingressShow) hosts(ctx context.Context) error {
	cert, roots, err := newCertificate(time.Now(), shopHost, apiHost)
	if err != nil {
		return err
	}
	if err := d.s.CLB.AddCertificate(certificate, cert); err != nil {
		return err
	}
	d.roots = roots
	if err := d.apply(ctx, "demo/hosts.yaml"); err != nil {
		return err
	}
	if err := d.settle(ctx, 6); err != nil {
		return err
	}
	vip, err := d.vip(ctx, hostsIngress)
	if err != nil {
		return err
	}
	d.resolve[shopHost], d.resolve[apiHost] = vip, vip
	if err := d.sayRules(vip); err != nil {
		return err
	}
	if err := d.visitAll(ctx, 20, d.sites...); err != nil {
		return err
	}
	return d.redirects(ctx)
}

// vip is an Ingress's address.
func (d *ingressShow) vip(ctx context.Context, name string) (string, error) {
	ing, err := d.client.NetworkingV1().Ingresses(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the Ingress: %w", err)
	}
	for _, in := range ing.Status.LoadBalancer.Ingress {
		return in.IP, nil
	}
	return "", fmt.Errorf("reading the Ingress: %s has no address", name)
}

// sayRules shows what became of an Ingress on the CLB of an address.
func (d *ingressShow) sayRules(vip string) error {
	n := 0
	for _, lb := range d.s.CLB.LoadBalancers() {
		if lb.VIP.String() != vip {
			continue
		}
		for _, l := range lb.Listeners {
			for _, r := range l.Rules {
				n++
				serves := fmt.Sprintf("%d targets", len(r.Targets))
				if r.RedirectTo != "" {
					serves = "redirected to " + r.RedirectTo
				}
				d.say("  %s  %-9s  %-16s  %-4s  %s  %s", lb.ID, fmt.Sprintf("%s:%d", l.Protocol, l.Port), r.Domain, r.URL, r.ID, serves)
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("the CLB of %s has no rules", vip)
	}
	return nil
}

// remove scales, deletes the Ingresses and looks for anything left behind.
func (d *ingressShow) remove(ctx context.Context) error {
	if err := d.scale(ctx, "shop", 1); err != nil {
		return err
	}
	if err := d.scale(ctx, deployment, 1); err != nil {
		return err
	}
	if err := d.settle(ctx, 3); err != nil {
		return err
	}
	if err := d.kubectlAloud(ctx, "delete", "ingress", seedIngress, hostsIngress, "--timeout=50s"); err != nil {
		return err
	}
	finalizers, err := d.finalizers(ctx)
	if err != nil {
		return err
	}
	left := IngressLeftBehind{LeftBehind: LeftBehind{Targets: len(d.targets()), Finalizers: finalizers}}
	for _, lb := range d.s.CLB.LoadBalancers() {
		left.LoadBalancers++
		left.Listeners += len(lb.Listeners)
		for _, l := range lb.Listeners {
			left.Rules += len(l.Rules)
		}
	}
	d.result.LeftBehind = &left
	return nil
}
