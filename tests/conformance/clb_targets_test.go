package conformance

import (
	"net/netip"
	"slices"
	"testing"

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
