package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// target is one as most actions take it.
func eni(a netip.AddrPort, set ...func(*api.Target)) *api.Target {
	t := &api.Target{EniIp: new(a.Addr().String()), Port: new(int64(a.Port()))}
	for _, f := range set {
		f(t)
	}
	return t
}

func weighing(w int64) func(*api.Target) { return func(t *api.Target) { t.Weight = &w } }

func enis(all []netip.AddrPort, set ...func(*api.Target)) []*api.Target {
	var out []*api.Target
	for _, a := range all {
		out = append(out, eni(a, set...))
	}
	return out
}

// register binds targets of a listener by RegisterTargets, to the end.
func (c *cloud) register(lb, listener string, targets ...*api.Target) error {
	c.t.Helper()
	q := api.NewRegisterTargetsRequest()
	q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &listener, targets
	a, err := try(c, c.RegisterTargets, q)
	if err == nil {
		c.ended(*a.Response.RequestId)
	}
	return err
}

// batch is targets of listeners for the batch actions.
func batch(listener string, all []netip.AddrPort) []*api.BatchTarget {
	var out []*api.BatchTarget
	for _, a := range all {
		out = append(out, &api.BatchTarget{ListenerId: &listener, EniIp: new(a.Addr().String()), Port: new(int64(a.Port())), Weight: new(int64(10))})
	}
	return out
}

// unbind is BatchDeregisterTargets.
func (c *cloud) unbind(lb string, targets ...*api.BatchTarget) (*api.BatchDeregisterTargetsResponseParams, error) {
	q := api.NewBatchDeregisterTargetsRequest()
	q.LoadBalancerId, q.Targets = &lb, targets
	a, err := try(c, c.BatchDeregisterTargets, q)
	if err != nil {
		return nil, err
	}
	return a.Response, nil
}

// bound are the targets at a listener, as DescribeTargets has them.
func (c *cloud) bound(lb string, set ...func(*api.DescribeTargetsRequest)) []*api.Backend {
	c.t.Helper()
	q := api.NewDescribeTargetsRequest()
	q.LoadBalancerId = &lb
	for _, f := range set {
		f(q)
	}
	a, err := try(c, c.DescribeTargets, q)
	if err != nil {
		c.t.Fatal(err)
	}
	var out []*api.Backend
	for _, l := range a.Response.Listeners {
		out = append(out, l.Targets...)
		for _, r := range l.Rules {
			out = append(out, r.Targets...)
		}
	}
	return out
}

func TestCLBTargets(t *testing.T) {
	const register, deregister = "CLB API RegisterTargets", "CLB API DeregisterTargets"
	const weigh, describe = "CLB API ModifyTargetWeight", "CLB API DescribeTargets"
	hold(t, "CLB targets by listener", []fact{
		{name: "one that is registered is described with its weight", source: register, needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a := c.unused(1)
			if err := c.register(lb, c.listener(lb, "TCP", 80), eni(a[0], weighing(7))); err != nil {
				t.Fatal(err)
			}
			if got := c.weights(lb); got[a[0].String()] != 7 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "the weight is 10 unless given", source: register + ", Target.Weight", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a := c.unused(1)
			if err := c.register(lb, c.listener(lb, "TCP", 80), eni(a[0])); err != nil {
				t.Fatal(err)
			}
			if got := c.weights(lb); got[a[0].String()] != 10 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "a weight is at most 100", source: register + ", Target.Weight", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			if code(c.register(lb, c.listener(lb, "TCP", 80), eni(c.unused(1)[0], weighing(101)))) == "" {
				t.Error("101 was taken")
			}
		}},
		{name: "at most 20 are registered by a call", source: register + ", Targets", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			refused(t, c.register(lb, l, enis(c.unused(21))...), "InvalidParameterValue.Length")
			if err := c.register(lb, l, enis(c.unused(20))...); err != nil {
				t.Error(err)
			}
		}},
		{name: "a target is named by instance or address, not both", source: register + ", Target", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			both := eni(c.unused(1)[0], func(t *api.Target) { t.InstanceId = new("ins-12345678") })
			refused(t, c.register(lb, c.listener(lb, "TCP", 80), both), "InvalidParameter")
		}},
		{name: "a target needs its port", source: register + ", Target.Port", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			refused(t, c.register(lb, c.listener(lb, "TCP", 80), eni(c.unused(1)[0], func(t *api.Target) { t.Port = nil })), "MissingParameter")
		}},
		{name: "a target named twice is refused", source: register + ", error codes", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a := c.unused(1)[0]
			refused(t, c.register(lb, c.listener(lb, "TCP", 80), eni(a), eni(a)), "InvalidParameterValue.Duplicate")
		}},
		{name: "a listener there isn't is refused", source: register + ", error codes", needs: backends, check: func(t *testing.T, c *cloud) {
			refused(t, c.register(c.balancer(), "lbl-12345678", eni(c.unused(1)[0])), "InvalidParameter.ListenerIdNotFound")
		}},
		{name: "a rule's targets need its location", source: register + ", LocationId", needs: backends, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/")
			if code(c.register(lb, l, eni(c.unused(1)[0]))) == "" {
				t.Error("it was taken without")
			}
		}},
		{name: "or its domain and path", source: register + ", Domain and Url", needs: backends, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/")
			a := c.unused(1)
			q := api.NewRegisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId, q.Domain, q.Url, q.Targets = &lb, &l, new("example.com"), new("/"), enis(a)
			do(c, c.RegisterTargets, q)
			if got := c.weights(lb); got[a[0].String()] != 10 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "a target is deregistered", source: deregister, needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(1)
			c.bind(lb, l, "", a...)
			q := api.NewDeregisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, enis(a)
			do(c, c.DeregisterTargets, q)
			if got := c.weights(lb); len(got) > 0 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "one that isn't bound can't be", source: "terraform-provider-tencentcloud: duplicate deregister causes an error", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			q := api.NewDeregisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, enis(c.unused(1))
			if _, err := try(c, c.DeregisterTargets, q); code(err) == "" {
				t.Error("it was accepted")
			}
		}},
		{name: "a target's own weight is over the call's", source: weigh, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(2)
			c.bind(lb, l, "", a...)
			q := api.NewModifyTargetWeightRequest()
			q.LoadBalancerId, q.ListenerId, q.Weight = &lb, &l, new(int64(30))
			q.Targets = []*api.Target{eni(a[0], weighing(20)), eni(a[1])}
			do(c, c.ModifyTargetWeight, q)
			if got := c.weights(lb); got[a[0].String()] != 20 || got[a[1].String()] != 30 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "changing a weight without the port is an InternalError", source: "tencentcloud-sdk-nodejs, issue 11", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(1)
			c.bind(lb, l, "", a...)
			q := api.NewModifyTargetWeightRequest()
			q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, []*api.Target{eni(a[0], func(t *api.Target) { t.Port = nil })}
			_, err := try(c, c.ModifyTargetWeight, q)
			refused(t, err, "InternalError")
		}},
		{name: "targets are found by address", source: describe + ", filter private-ip-address", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a := c.unused(3)
			c.bind(lb, c.listener(lb, "TCP", 80), "", a...)
			got := c.bound(lb, func(q *api.DescribeTargetsRequest) { q.Filters = filter("private-ip-address", a[1].Addr().String()) })
			if len(got) != 1 || *got[0].PrivateIpAddresses[0] != a[1].Addr().String() {
				t.Errorf("got %d", len(got))
			}
		}},
		{name: "by tag", source: describe + ", filter tag", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(2)
			some := batch(l, a)
			some[1].Tag = new("mine")
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, some
			do(c, c.BatchRegisterTargets, q)
			got := c.bound(lb, func(q *api.DescribeTargetsRequest) { q.Filters = filter("tag", "mine") })
			if len(got) != 1 || *got[0].Tag != "mine" {
				t.Errorf("got %d", len(got))
			}
		}},
		{name: "by location", source: describe + ", filter location-id", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			x, y := c.rule(lb, l, "example.com", "/x"), c.rule(lb, l, "example.com", "/y")
			a := c.unused(2)
			c.bind(lb, l, x, a[0])
			c.bind(lb, l, y, a[1])
			got := c.bound(lb, func(q *api.DescribeTargetsRequest) { q.Filters = filter("location-id", y) })
			if len(got) != 1 || *got[0].PrivateIpAddresses[0] != a[1].Addr().String() {
				t.Errorf("got %d", len(got))
			}
		}},
		{name: "at most 20 listeners are asked for by id", source: describe + ", ListenerIds", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeTargetsRequest()
			q.LoadBalancerId = new(c.balancer())
			for range 21 {
				q.ListenerIds = append(q.ListenerIds, new("lbl-12345678"))
			}
			_, err := try(c, c.DescribeTargets, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "at most 30 load balancers are asked for their targets' health", source: "CLB API DescribeTargetHealth, LoadBalancerIds", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeTargetHealthRequest()
			for range 31 {
				q.LoadBalancerIds = append(q.LoadBalancerIds, new("lb-12345678"))
			}
			_, err := try(c, c.DescribeTargetHealth, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "where an address is bound is found by it", source: "CLB API DescribeLBListeners", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			c.listener(lb, "TCP", 81)
			a := c.unused(1)[0]
			c.bind(lb, l, "", a)
			q := api.NewDescribeLBListenersRequest()
			q.Backends = []*api.LbRsItem{{VpcId: new(c.vpc()), PrivateIp: new(a.Addr().String())}}
			out, err := try(c, c.DescribeLBListeners, q)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(out.Response.LoadBalancers, func(b *api.LBItem) bool { return *b.LoadBalancerId == lb })
			if i < 0 {
				t.Fatal("the load balancer is missing")
			}
			found := out.Response.LoadBalancers[i].Listeners
			if len(found) != 1 || *found[0].ListenerId != l || *found[0].Targets[0].Port != int64(a.Port()) || *found[0].Targets[0].Weight != 10 {
				t.Errorf("got %+v", found)
			}
		}},
		{name: "the quota of targets is kept", source: "CLB, Use limits (214/6187)", needs: rig, options: []func(*clb.Options){few}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			refused(t, c.register(lb, c.listener(lb, "TCP", 80), enis(c.unused(4))...), "LimitExceeded")
		}},
	})
}

func TestCLBBatches(t *testing.T) {
	const register, deregister, weigh, retag = "CLB API BatchRegisterTargets", "CLB API BatchDeregisterTargets", "CLB API BatchModifyTargetWeight", "CLB API BatchModifyTargetTag"
	hold(t, "CLB targets by batch", []fact{
		{name: "a batch goes across listeners and rules", source: register, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			tcp, l := c.listener(lb, "TCP", 81), c.listener(lb, "HTTP", 80)
			r := c.rule(lb, l, "example.com", "/")
			a := c.unused(2)
			both := append(batch(tcp, a[:1]), batch(l, a[1:])...)
			both[1].LocationId = &r
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, both
			if out := do(c, c.BatchRegisterTargets, q).Response; len(out.FailListenerIdSet) > 0 {
				t.Fatal(*out.Message)
			}
			if got := c.weights(lb); len(got) != 2 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "at most 500 are taken by a call", source: register + ", Targets", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, batch(c.listener(lb, "TCP", 80), c.unused(501))
			_, err := try(c, c.BatchRegisterTargets, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "the listeners that fail are named, without an error, and the others have theirs", source: register + ", FailListenerIdSet", needs: rig, options: []func(*clb.Options){few}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			good, bad := c.listener(lb, "TCP", 80), c.listener(lb, "TCP", 81)
			a := c.unused(5)
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, append(batch(good, a[:1]), batch(bad, a[1:])...)
			out := do(c, c.BatchRegisterTargets, q).Response
			if len(out.FailListenerIdSet) != 1 || *out.FailListenerIdSet[0] != bad || *out.Message == "" {
				t.Errorf("got %+v", out)
			}
			if got := c.weights(lb); len(got) != 1 || got[a[0].String()] != 10 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "a listener there isn't fails the call", source: register + ", error codes", needs: backends, check: func(t *testing.T, c *cloud) {
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = new(c.balancer()), batch("lbl-12345678", c.unused(1))
			_, err := try(c, c.BatchRegisterTargets, q)
			refused(t, err, "InvalidParameter.ListenerIdNotFound")
		}},
		{name: "a batch takes targets away across listeners", source: deregister, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			x, y := c.listener(lb, "TCP", 80), c.listener(lb, "TCP", 81)
			a := c.unused(2)
			c.bind(lb, x, "", a...)
			c.bind(lb, y, "", a...)
			if out, err := c.unbind(lb, append(batch(x, a), batch(y, a)...)...); err != nil || len(out.FailListenerIdSet) > 0 {
				t.Fatal(out, err)
			}
			if got := c.weights(lb); len(got) > 0 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "one that isn't bound fails its listener", source: deregister + ", FailListenerIdSet", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			x, y := c.listener(lb, "TCP", 80), c.listener(lb, "TCP", 81)
			a := c.unused(2)
			c.bind(lb, x, "", a[0])
			out, err := c.unbind(lb, append(batch(x, a[:1]), batch(y, a[:1])...)...)
			if err != nil || len(out.FailListenerIdSet) != 1 || *out.FailListenerIdSet[0] != y {
				t.Errorf("got %+v, %v", out, err)
			}
		}},
		{name: "weights are changed by a task", source: weigh, needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(1)
			c.bind(lb, l, "", a...)
			q := api.NewBatchModifyTargetWeightRequest()
			q.LoadBalancerId = &lb
			q.ModifyList = []*api.RsWeightRule{{ListenerId: &l, Targets: enis(a, weighing(0))}}
			out, err := try(c, c.BatchModifyTargetWeight, q)
			if err != nil {
				t.Fatal(err)
			}
			if status, why := c.ended(*out.Response.RequestId); status != taskDone {
				t.Errorf("the task ended with %d: %s", status, why)
			}
			if got := c.weights(lb); got[a[0].String()] != 0 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "an item has at most 50 targets", source: weigh + ", Targets", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewBatchModifyTargetWeightRequest()
			q.LoadBalancerId = &lb
			q.ModifyList = []*api.RsWeightRule{{ListenerId: new(c.listener(lb, "TCP", 80)), Targets: enis(c.unused(51), weighing(1))}}
			_, err := try(c, c.BatchModifyTargetWeight, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "a call has at most 100 items", source: weigh + ", ModifyList", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			q := api.NewBatchModifyTargetWeightRequest()
			q.LoadBalancerId = &lb
			for _, a := range c.unused(101) {
				q.ModifyList = append(q.ModifyList, &api.RsWeightRule{ListenerId: &l, Targets: enis([]netip.AddrPort{a}, weighing(1))})
			}
			_, err := try(c, c.BatchModifyTargetWeight, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "the weight of what isn't bound can't be changed", source: weigh + ", error codes", needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewBatchModifyTargetWeightRequest()
			q.LoadBalancerId = &lb
			q.ModifyList = []*api.RsWeightRule{{ListenerId: new(c.listener(lb, "TCP", 80)), Targets: enis(c.unused(1), weighing(1))}}
			if _, err := try(c, c.BatchModifyTargetWeight, q); code(err) == "" {
				t.Error("it was accepted")
			}
		}},
		{name: "tags are changed at once", source: retag, needs: backends, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(1)
			c.bind(lb, l, "", a...)
			q := api.NewBatchModifyTargetTagRequest()
			q.LoadBalancerId = &lb
			q.ModifyList = []*api.RsTagRule{{ListenerId: &l, Targets: enis(a), Tag: new("new")}}
			if _, err := try(c, c.BatchModifyTargetTag, q); err != nil {
				t.Fatal(err)
			}
			if got := c.bound(lb); len(got) != 1 || *got[0].Tag != "new" || *got[0].Weight != 10 {
				t.Errorf("got %+v", got)
			}
		}},
	})
}

func TestCLBLock(t *testing.T) {
	const source = "CLB API, FailedOperation.ResourceInOperating"
	// Longer than the calls of a case take.
	slow := func(o *clb.Options) {
		o.RequestRate = -1 // waiting asks often
		o.Latencies = &clb.Latencies{Task: clb.Range{Min: 300 * time.Millisecond, Max: 300 * time.Millisecond}, Busy: 300 * time.Millisecond}
	}
	hold(t, "CLB operation lock", []fact{
		{name: "a write is refused while another's task runs", source: source, needs: rig, options: []func(*clb.Options){slow}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(80))}
			first, err := try(c, c.CreateListener, q)
			if err != nil {
				t.Fatal(err)
			}
			q.Ports = []*int64{new(int64(81))}
			_, err = c.CreateListener(q)
			refused(t, err, "FailedOperation.ResourceInOperating")
			if want := fmt.Sprintf("Loadbalancer(%s) is not in normal desState", lb); !strings.Contains(message(err), want) {
				t.Errorf("want %q, got %q", want, message(err))
			}
			c.ended(*first.Response.RequestId)
		}},
		{name: "and for a while after it", source: source + "; tencentcloud-cloud-controller-manager's successors wait after a task", needs: rig, options: []func(*clb.Options){slow}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80) // to the end of its task
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(81))}
			_, err := c.CreateListener(q)
			refused(t, err, "FailedOperation.ResourceInOperating")
		}},
		{name: "and after a batch that is done when it is answered", source: source, needs: rig, options: []func(*clb.Options){slow}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			a := c.unused(2)
			c.bind(lb, l, "", a[0])
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, batch(l, a[1:])
			_, err := c.BatchRegisterTargets(q)
			refused(t, err, "FailedOperation.ResourceInOperating")
		}},
		{name: "what is read is answered all the same", source: source, needs: rig, options: []func(*clb.Options){slow}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(80))}
			if _, err := try(c, c.CreateListener, q); err != nil {
				t.Fatal(err)
			}
			d := api.NewDescribeListenersRequest()
			d.LoadBalancerId = &lb
			if _, err := c.DescribeListeners(d); err != nil {
				t.Error(err)
			}
		}},
		{name: "another load balancer is written to meanwhile", source: source, needs: rig, options: []func(*clb.Options){slow}, check: func(t *testing.T, c *cloud) {
			one, two := c.balancer(), c.balancer()
			c.await("the second is free", func() bool { return *c.instance(two).Status == 1 })
			time.Sleep(c.second) // its own busy time
			c.listener(two, "TCP", 80)
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &one, new("TCP"), []*int64{new(int64(80))}
			if _, err := c.CreateListener(q); err != nil {
				t.Error(err)
			}
		}},
		{name: "a task is in progress, then done", source: "CLB API DescribeTaskStatus, Status", needs: rig, options: []func(*clb.Options){slow}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(80))}
			a, err := try(c, c.CreateListener, q)
			if err != nil {
				t.Fatal(err)
			}
			if got := *c.task(*a.Response.RequestId).Status; got != taskRunning {
				t.Errorf("want %d at first, got %d", taskRunning, got)
			}
			if got, _ := c.ended(*a.Response.RequestId); got != taskDone {
				t.Errorf("want %d in the end, got %d", taskDone, got)
			}
		}},
		{name: "a task names its load balancer", source: "CLB API DescribeTaskStatus, LoadBalancerIds", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(80))}
			a, err := try(c, c.CreateListener, q)
			if err != nil {
				t.Fatal(err)
			}
			if r := c.task(*a.Response.RequestId); !slices.ContainsFunc(r.LoadBalancerIds, func(id *string) bool { return *id == lb }) {
				t.Errorf("got %d load balancers", len(r.LoadBalancerIds))
			}
		}},
		{name: "a creation is found by its deal, too", source: "CLB API DescribeTaskStatus, DealName", check: func(t *testing.T, c *cloud) {
			q := api.NewCreateLoadBalancerRequest()
			q.LoadBalancerType, q.VpcId, q.LoadBalancerName = new("OPEN"), new(c.vpc()), new(tag)
			a := do(c, c.CreateLoadBalancer, q).Response
			t.Cleanup(func() { c.remove(*a.LoadBalancerIds[0]) })
			d := api.NewDescribeTaskStatusRequest()
			d.DealName = a.DealName
			out, err := try(c, c.DescribeTaskStatus, d)
			if err != nil || *out.Response.Status != taskDone {
				t.Errorf("got %+v, %v", out, err)
			}
		}},
		{name: "a task there isn't is refused", source: "CLB API DescribeTaskStatus, error codes", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeTaskStatusRequest()
			q.TaskId = new("00000000-0000-0000-0000-000000000000")
			_, err := try(c, c.DescribeTaskStatus, q)
			if code(err) == "" {
				t.Error("it was found")
			}
		}},
	})
}

func TestCLBControlDisputes(t *testing.T) {
	settle(t, "CLB disputes", []dispute{
		{
			name:     "registering what is bound",
			source:   "error list of CLB API RegisterTargets (InvalidParameterValue.Duplicate); clients differ",
			profiles: []string{"rebind"},
			needs:    backends,
			observe: func(t *testing.T, c *cloud) string {
				lb := c.balancer()
				l := c.listener(lb, "TCP", 80)
				target := c.unused(1)
				c.bind(lb, l, "", target...)
				q := api.NewRegisterTargetsRequest()
				q.LoadBalancerId, q.ListenerId = &lb, &l
				q.Targets = []*api.Target{{EniIp: new(target[0].Addr().String()), Port: new(int64(target[0].Port())), Weight: new(int64(20))}}
				_, err := try(c, c.RegisterTargets, q)
				switch code(err) {
				case "":
					return "rebind"
				case "InvalidParameterValue.Duplicate":
					return ""
				}
				return code(err)
			},
		},
		{
			name: "a batch call and its task", source: "SDK: synchronous; EXTNET polls tasks of all others", profiles: []string{"async-batch"}, needs: backends,
			observe: func(t *testing.T, c *cloud) string {
				lb := c.balancer()
				l := c.listener(lb, "TCP", 80)
				q := api.NewBatchRegisterTargetsRequest()
				q.LoadBalancerId, q.Targets = &lb, batch(l, c.unused(1))
				a, err := try(c, c.BatchRegisterTargets, q)
				if err != nil {
					t.Fatal(err)
				}
				d := api.NewDescribeTaskStatusRequest()
				d.TaskId = a.Response.RequestId
				if _, err := try(c, c.DescribeTaskStatus, d); err == nil {
					c.ended(*a.Response.RequestId)
					return "async-batch"
				}
				return ""
			},
		},
		{
			name: "one backend at two layer-4 listeners", source: "CLB, E4036 (81004), which can be read either way", profiles: []string{"unique-backends"}, needs: backends,
			observe: func(t *testing.T, c *cloud) string {
				lb := c.balancer()
				a := c.unused(1)
				c.bind(lb, c.listener(lb, "TCP", 80), "", a...)
				q := api.NewBatchRegisterTargetsRequest()
				q.LoadBalancerId, q.Targets = &lb, batch(c.listener(lb, "TCP", 81), a)
				out := do(c, c.BatchRegisterTargets, q).Response
				if len(out.FailListenerIdSet) > 0 {
					return "unique-backends"
				}
				return ""
			},
		},
		{
			name: "deleting the default domain", source: "CLB API DeleteRule, NewDefaultServerDomain; the console asks for it", profiles: []string{"name-default"},
			observe: func(t *testing.T, c *cloud) string {
				lb, l := c.layer7()
				c.rule(lb, l, "a.example.com", "/")
				c.rule(lb, l, "b.example.com", "/")
				if code(c.forgetting(lb, l, func(q *api.DeleteRuleRequest) { q.Domain = new("a.example.com") })) != "" {
					return "name-default"
				}
				return ""
			},
		},
	})
}
