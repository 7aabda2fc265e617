package clb

import (
	"encoding/json"
	"net/netip"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("Used", func(t *testing.T) {
		l := DefaultLatencies()
		l.API, l.Create, l.Task, l.Busy = 0, 0, Range{}, 0
		s := newStage(t, []int{10}, plain, func(o *Options) { o.Latencies = &l })
		s.visit("127.88.0.1").echo(t)
		u := s.listener(s.lb, "UDP", 8053)
		// Left behind on purpose: changes on their way to the data plane, and checks.
		s.bind(s.lb, batchTarget(u, udpPod(s.rig), 10))
	})
	await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStartNeedsStore(t *testing.T) {
	if s, err := Start(t.Context(), Options{}); err == nil {
		_ = s.Close()
		t.Error("without a store no request can be verified, so Start should fail")
	}
}

func TestVIPsRunOut(t *testing.T) {
	r := newRig(t, func(o *Options) { o.PublicVIPs = netip.MustParsePrefix("127.202.7.0/31") })
	lb := r.instance()
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType = str("OPEN")
	_, err := r.client.CreateLoadBalancer(q)
	if diff := cmp.Diff("ResourceInsufficient", code(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	dq := api.NewDeleteLoadBalancerRequest()
	dq.LoadBalancerIds = []*string{&lb}
	r.done(must[*api.DeleteLoadBalancerResponse](t)(r.client.DeleteLoadBalancer(dq)).Response.RequestId)
	if next := r.instance(); next == lb {
		t.Error("an address is used again, an id never")
	}
}

func TestLatenciesJSON(t *testing.T) {
	want := DefaultLatencies()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"api_ms":80,"task_ms":[500,1500],"busy_after_write_ms":300,"propagation_ms":[200,1000],"create_load_balancer_ms":5000}`
	if diff := cmp.Diff(text, string(data)); diff != "" {
		t.Errorf("the defaults as a report prints them: -want +got:\n%s", diff)
	}
	var got Latencies
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back: -want +got:\n%s", diff)
	}
}
