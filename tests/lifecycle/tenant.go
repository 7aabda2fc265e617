package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/inetaf/tcpproxy"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/stack"
)

// What the controller that was there first is known by (TKE: 457/46370, 457/39142).
const (
	theirListener = "TKE-DEDICATED-LISTENER"
	modeKey       = "service.cloud.tencent.com/mode"
	modeSkip      = "skip"
)

// tenant is somebody else's controller, as TKE's is in NodePort mode: it makes a CLB with
// tags of its own, a listener by its own name, and binds every node at the Service's
// NodePort, again and again, unless the Service says that it is to be skipped.
type tenant struct {
	s       *stack.Stack
	client  kubernetes.Interface
	cloud   *api.Client
	service string
	lb      string
	say     func(string, ...any)
}

func newTenant(s *stack.Stack, client kubernetes.Interface, service string, say func(string, ...any)) (*tenant, error) {
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", s.CLB.Endpoint()
	cloud, err := api.NewClient(common.NewCredential(s.Account.SecretID, s.Account.SecretKey), stack.Region, p)
	if err != nil {
		return nil, fmt.Errorf("making a client of the CLB API: %w", err)
	}
	return &tenant{s: s, client: client, cloud: cloud, service: service, say: say}, nil
}

// start makes the CLB and goes on until ctx ends.
func (t *tenant) start(ctx context.Context) error {
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType, q.LoadBalancerName = new("OPEN"), new("tke-"+t.service)
	q.Tags = []*api.TagInfo{{TagKey: new("tke-createdBy-flag"), TagValue: new("yes")}, {TagKey: new("tke-clusterId"), TagValue: new(stack.ClusterID)}}
	res, err := t.cloud.CreateLoadBalancerWithContext(ctx, q)
	if err != nil {
		return fmt.Errorf("making a CLB: %w", err)
	}
	t.lb = *res.Response.LoadBalancerIds[0]
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if err := t.sync(ctx); err != nil && ctx.Err() == nil {
				t.say("  the other controller: %v", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return nil
}

// balancer is the CLB as it is.
func (t *tenant) balancer() (clb.LoadBalancer, bool) {
	for _, lb := range t.s.CLB.LoadBalancers() {
		if lb.ID == t.lb {
			return lb, true
		}
	}
	return clb.LoadBalancer{}, false
}

// sync does what is missing: the listener, the nodes, and only when these serve away with
// what else is bound.
func (t *tenant) sync(ctx context.Context) error {
	svc, err := t.client.CoreV1().Services("default").Get(ctx, t.service, metav1.GetOptions{})
	if err != nil || svc.Annotations[modeKey] == modeSkip {
		return err
	}
	lb, ok := t.balancer()
	if !ok || !lb.VIP.IsValid() {
		return nil
	}
	at := slices.IndexFunc(lb.Listeners, func(l clb.Listener) bool { return l.Name == theirListener })
	if at < 0 {
		q := api.NewCreateListenerRequest()
		q.LoadBalancerId, q.Protocol, q.Ports, q.ListenerNames = &t.lb, new("TCP"), []*int64{new(int64(80))}, []*string{new(theirListener)}
		q.HealthCheck = &api.HealthCheck{HealthSwitch: new(int64(1)), IntervalTime: new(int64(2)), HealthNum: new(int64(2)), UnHealthNum: new(int64(2)), TimeOut: new(int64(2))}
		_, err := t.cloud.CreateListenerWithContext(ctx, q)
		return err
	}
	nodes, err := t.nodes(ctx)
	if err != nil {
		return err
	}
	listener := lb.Listeners[at]
	port := svc.Spec.Ports[0].NodePort
	serving := 0
	var missing, others []*api.BatchTarget
	for id, addr := range nodes {
		i := slices.IndexFunc(listener.Targets, func(g clb.Target) bool { return g.IP == addr && g.Port == int(port) })
		switch {
		case i < 0:
			missing = append(missing, &api.BatchTarget{ListenerId: &listener.ID, InstanceId: new(id), Port: new(int64(port)), Weight: new(int64(10))})
		case listener.Targets[i].Health == "Alive":
			serving++
		}
	}
	if len(missing) > 0 {
		q := api.NewBatchRegisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &t.lb, missing
		_, err := t.cloud.BatchRegisterTargetsWithContext(ctx, q)
		return err
	}
	var heavy []*api.Target
	for _, g := range listener.Targets {
		if _, isNode := byAddress(nodes, g.IP); isNode {
			continue
		}
		if g.Weight > 0 {
			heavy = append(heavy, &api.Target{EniIp: new(g.IP.String()), Port: new(int64(g.Port)), Weight: new(int64(0))})
			continue
		}
		others = append(others, &api.BatchTarget{ListenerId: &listener.ID, EniIp: new(g.IP.String()), Port: new(int64(g.Port))})
	}
	switch {
	case serving < len(nodes):
	case len(heavy) > 0:
		q := api.NewBatchModifyTargetWeightRequest()
		q.LoadBalancerId, q.ModifyList = &t.lb, []*api.RsWeightRule{{ListenerId: &listener.ID, Targets: heavy}}
		_, err = t.cloud.BatchModifyTargetWeightWithContext(ctx, q)
	case len(others) > 0:
		select { // what is under way ends
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
		q := api.NewBatchDeregisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &t.lb, others
		_, err = t.cloud.BatchDeregisterTargetsWithContext(ctx, q)
	}
	return err
}

// nodes are the machines' addresses, by instance.
func (t *tenant) nodes(ctx context.Context) (map[string]netip.Addr, error) {
	list, err := t.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	out := map[string]netip.Addr{}
	for _, n := range list.Items {
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
				out["ins-"+n.Name] = addr
			}
		}
	}
	return out, nil
}

func byAddress(nodes map[string]netip.Addr, addr netip.Addr) (string, bool) {
	for id, a := range nodes {
		if a == addr {
			return id, true
		}
	}
	return "", false
}

// serveNodePort does on every node what kube-proxy would: a connection to the NodePort
// goes on to one of the Service's Ready pods.
func (t *tenant) serveNodePort(ctx context.Context, port int32) (close func() error, err error) {
	nodes, err := t.nodes(ctx)
	if err != nil {
		return nil, err
	}
	proxy := &tcpproxy.Proxy{}
	for id, addr := range nodes {
		t.s.CLB.AddInstance(id, addr)
		proxy.AddRoute(net.JoinHostPort(addr.String(), strconv.Itoa(int(port))), &tcpproxy.DialProxy{
			Addr:        "a Ready pod",
			OnDialError: func(src net.Conn, _ error) { _ = src.Close() },
			DialContext: t.dialPod,
		})
	}
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("serving the NodePort: %w", err)
	}
	return proxy.Close, nil
}

func (t *tenant) dialPod(ctx context.Context, network, _ string) (net.Conn, error) {
	pods, err := t.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=" + t.service, ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	var ready []string
	for _, p := range pods.Items {
		is := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
		if is && p.DeletionTimestamp == nil {
			ready = append(ready, p.Status.PodIP)
		}
	}
	if len(ready) == 0 {
		return nil, fmt.Errorf("no pod is Ready")
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort(ready[rand.IntN(len(ready))], "80"))
}
