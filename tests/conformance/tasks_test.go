package conformance

import (
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

func TestCLBTasks(t *testing.T) {
	hold(t, "CLB tasks", []fact{
		{
			name:   "the request id of a write names its task",
			source: "CLB API DescribeTaskStatus, TaskId",
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				q := api.NewCreateListenerRequest()
				q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(80))}
				a, err := try(c, c.CreateListener, q)
				if err != nil {
					t.Fatal(err)
				}
				if status, message := c.ended(*a.Response.RequestId); status != taskDone {
					t.Errorf("want status %d, got %d: %s", taskDone, status, message)
				}
			},
		},
	})
}

func TestCLBTargetDisputes(t *testing.T) {
	settle(t, "CLB targets", []dispute{
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
	})
}
