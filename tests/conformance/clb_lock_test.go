package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

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
