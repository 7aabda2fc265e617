package clb

import (
	"net/netip"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// A target may be a machine, named by its id: it is told as one, and unbound as one.
func TestTargetsCanBeMachines(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 80)
	node := &api.BatchTarget{ListenerId: &l, InstanceId: str("ins-1"), Port: i64(30080), Weight: i64(10)}
	q := api.NewBatchRegisterTargetsRequest()
	q.LoadBalancerId, q.Targets = &lb, []*api.BatchTarget{node}
	if _, err := r.client.BatchRegisterTargets(q); code(err) != "InvalidParameterValue" {
		t.Errorf("a machine that the account doesn't have: want InvalidParameterValue, got %v", err)
	}
	r.AddInstance("ins-1", netip.MustParseAddr("127.77.9.1"))
	r.bind(lb, node)
	bound := func() []*api.Backend {
		t.Helper()
		q := api.NewDescribeTargetsRequest()
		q.LoadBalancerId = &lb
		return must[*api.DescribeTargetsResponse](t)(r.client.DescribeTargets(q)).Response.Listeners[0].Targets
	}
	if got := bound(); len(got) != 1 || *got[0].Type != "CVM" || *got[0].InstanceId != "ins-1" || *got[0].PrivateIpAddresses[0] != "127.77.9.1" {
		t.Fatalf("want the machine, got %+v", got)
	}
	r.unbind(lb, &api.BatchTarget{ListenerId: &l, InstanceId: str("ins-1"), Port: i64(30080)})
	if got := bound(); len(got) != 0 {
		t.Errorf("want nothing bound, got %+v", got)
	}
}
