package conformance

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// tag marks what this suite has made.
const tag = "clb-direct-conformance"

// do makes a call that sets the stage: again while the load balancer is busy or calls
// are limited, and to the end of the task that it starts. It may not fail.
func do[Q any, A any](c *cloud, call func(Q) (A, error), q Q) A {
	c.t.Helper()
	a, err := try(c, call, q)
	if err != nil {
		c.t.Fatal(err)
	}
	if id := requestID(a); id != nil {
		if status, message := c.ended(*id); status == taskFailed {
			c.t.Fatalf("task %s failed: %s", *id, message)
		}
	}
	return a
}

// try is do for a call whose answer is what is looked at: its task may still run.
func try[Q any, A any](c *cloud, call func(Q) (A, error), q Q) (A, error) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		a, err := call(q)
		switch code(err) {
		case "RequestLimitExceeded", "FailedOperation.ResourceInOperating":
			if time.Now().Before(deadline) {
				time.Sleep(c.second / 2)
				continue
			}
		}
		return a, err
	}
}

// requestID is that of an answer of an action that starts a task, nil of others.
func requestID(answer any) *string {
	switch a := answer.(type) {
	case *api.CreateLoadBalancerResponse:
		return a.Response.RequestId
	case *api.DeleteLoadBalancerResponse:
		return a.Response.RequestId
	case *api.CreateListenerResponse:
		return a.Response.RequestId
	case *api.ModifyListenerResponse:
		return a.Response.RequestId
	case *api.DeleteListenerResponse:
		return a.Response.RequestId
	case *api.DeleteLoadBalancerListenersResponse:
		return a.Response.RequestId
	case *api.CreateRuleResponse:
		return a.Response.RequestId
	case *api.ModifyRuleResponse:
		return a.Response.RequestId
	case *api.DeleteRuleResponse:
		return a.Response.RequestId
	case *api.ModifyDomainResponse:
		return a.Response.RequestId
	case *api.ModifyDomainAttributesResponse:
		return a.Response.RequestId
	case *api.AutoRewriteResponse:
		return a.Response.RequestId
	case *api.ManualRewriteResponse:
		return a.Response.RequestId
	case *api.DeleteRewriteResponse:
		return a.Response.RequestId
	case *api.RegisterTargetsResponse:
		return a.Response.RequestId
	case *api.DeregisterTargetsResponse:
		return a.Response.RequestId
	case *api.ModifyTargetWeightResponse:
		return a.Response.RequestId
	case *api.BatchModifyTargetWeightResponse:
		return a.Response.RequestId
	}
	return nil
}

// The states of a task (DescribeTaskStatus, Status).
const (
	taskDone    = 0
	taskFailed  = 1
	taskRunning = 2
)

// task is the state of a task.
func (c *cloud) task(id string) *api.DescribeTaskStatusResponseParams {
	c.t.Helper()
	q := api.NewDescribeTaskStatusRequest()
	q.TaskId = &id
	a, err := try(c, c.DescribeTaskStatus, q)
	if err != nil {
		c.t.Fatal(err)
	}
	return a.Response
}

// ended waits for the end of a task and tells how it ended.
func (c *cloud) ended(id string) (status int64, message string) {
	c.t.Helper()
	c.await("task "+id+" ends", func() bool {
		r := c.task(id)
		status = *r.Status
		if r.Message != nil {
			message = *r.Message
		}
		return status != taskRunning
	})
	return status, message
}

// await asks until done, for up to a minute.
func (c *cloud) await(what string, done func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(c.second / 5) {
		if time.Now().After(deadline) {
			c.t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// balancer creates a load balancer of this suite's, removed in the end.
func (c *cloud) balancer(set ...func(*api.CreateLoadBalancerRequest)) string {
	c.t.Helper()
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType, q.VpcId, q.LoadBalancerName = new("OPEN"), new(c.vpc()), new(tag)
	q.Tags = []*api.TagInfo{{TagKey: new(tag), TagValue: new("true")}}
	for _, f := range set {
		f(q)
	}
	a := do(c, c.CreateLoadBalancer, q).Response
	id := *a.LoadBalancerIds[0]
	c.t.Cleanup(func() { c.remove(id) })
	return id
}

// remove deletes what balancer has made, on the cloud: an emulator goes as a whole.
func (c *cloud) remove(id string) {
	if c.emulator != nil {
		return
	}
	q := api.NewDeleteLoadBalancerRequest()
	q.LoadBalancerIds, q.ForceDelete = []*string{&id}, new(true)
	if _, err := try(c, c.DeleteLoadBalancer, q); err != nil && code(err) != "InvalidParameter.LBIdNotFound" {
		c.t.Errorf("deleting %s, which stays: %v", id, err)
	}
}

// vip is the address of a load balancer.
func (c *cloud) vip(lb string) string {
	c.t.Helper()
	q := api.NewDescribeLoadBalancersRequest()
	q.LoadBalancerIds = []*string{&lb}
	a, err := try(c, c.DescribeLoadBalancers, q)
	if err != nil {
		c.t.Fatal(err)
	}
	return *a.Response.LoadBalancerSet[0].LoadBalancerVips[0]
}

// listener creates a listener.
func (c *cloud) listener(lb, protocol string, port int64, set ...func(*api.CreateListenerRequest)) string {
	c.t.Helper()
	q := api.NewCreateListenerRequest()
	q.LoadBalancerId, q.Protocol, q.Ports = &lb, &protocol, []*int64{&port}
	for _, f := range set {
		f(q)
	}
	return *do(c, c.CreateListener, q).Response.ListenerIds[0]
}

// rule creates a rule.
func (c *cloud) rule(lb, listener, domain, url string, set ...func(*api.RuleInput)) string {
	c.t.Helper()
	q := api.NewCreateRuleRequest()
	r := &api.RuleInput{Domain: &domain, Url: &url}
	for _, f := range set {
		f(r)
	}
	q.LoadBalancerId, q.ListenerId, q.Rules = &lb, &listener, []*api.RuleInput{r}
	return *do(c, c.CreateRule, q).Response.LocationIds[0]
}

// bind registers targets of weight 10 by a batch call, at a rule unless location is "".
func (c *cloud) bind(lb, listener, location string, targets ...netip.AddrPort) {
	c.t.Helper()
	q := api.NewBatchRegisterTargetsRequest()
	q.LoadBalancerId = &lb
	for _, a := range targets {
		t := &api.BatchTarget{ListenerId: &listener, EniIp: new(a.Addr().String()), Port: new(int64(a.Port())), Weight: new(int64(10))}
		if location != "" {
			t.LocationId = &location
		}
		q.Targets = append(q.Targets, t)
	}
	if a := do(c, c.BatchRegisterTargets, q); len(a.Response.FailListenerIdSet) > 0 {
		c.t.Fatalf("binding: %s", *a.Response.Message)
	}
}

// weights are those of a load balancer's targets, by "ip:port", listeners and rules
// taken together.
func (c *cloud) weights(lb string) map[string]int64 {
	c.t.Helper()
	q := api.NewDescribeTargetsRequest()
	q.LoadBalancerId = &lb
	a, err := try(c, c.DescribeTargets, q)
	if err != nil {
		c.t.Fatal(err)
	}
	all := map[string]int64{}
	add := func(targets []*api.Backend) {
		for _, t := range targets {
			all[net.JoinHostPort(*t.PrivateIpAddresses[0], strconv.FormatInt(*t.Port, 10))] = *t.Weight
		}
	}
	for _, l := range a.Response.Listeners {
		add(l.Targets)
		for _, r := range l.Rules {
			add(r.Targets)
		}
	}
	return all
}

// health is the detailed state of a load balancer's targets, by "ip:port".
func (c *cloud) health(lb string) map[string]string {
	c.t.Helper()
	q := api.NewDescribeTargetHealthRequest()
	q.LoadBalancerIds = []*string{&lb}
	a, err := try(c, c.DescribeTargetHealth, q)
	if err != nil {
		c.t.Fatal(err)
	}
	all := map[string]string{}
	for _, b := range a.Response.LoadBalancers {
		for _, l := range b.Listeners {
			for _, r := range l.Rules {
				for _, t := range r.Targets {
					all[net.JoinHostPort(*t.IP, strconv.FormatInt(*t.Port, 10))] = *t.HealthStatusDetail
				}
			}
		}
	}
	return all
}

// unused are addresses that nothing answers at; on the cloud they must be of the VPC,
// so cases that bind them need backends there.
func (c *cloud) unused(n int) []netip.AddrPort {
	c.t.Helper()
	if c.emulator == nil {
		if all := place.addresses(c.t); len(all) >= n {
			return all[:n]
		}
		c.t.Skipf("needs %d addresses in CONFORMANCE_TARGETS", n)
	}
	out := make([]netip.AddrPort, n)
	for i := range out {
		out[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 79, byte(i / 250), byte(i%250 + 1)}), 80)
	}
	return out
}

// podHost is the address of the n-th backend of a case.
func podHost(n byte) string { return netip.AddrFrom4([4]byte{127, 78, 0, n}).String() }

// refused requires an API error code.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("want error code %s, got %q (%s)", want, got, message(err))
	}
}
