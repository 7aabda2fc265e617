package conformance

import (
	"net/netip"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

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
