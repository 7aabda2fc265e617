package clb

import (
	"encoding/json"
	"errors"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

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

func TestPropagationLatency(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Latencies = &Latencies{Propagation: Range{Min: time.Hour, Max: time.Hour}} })
	lb := r.instance()
	off := r.listener(lb, "TCP", 8080, func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{HealthSwitch: i64(0)} })
	on := r.listener(lb, "TCP", 8081, quickCheck)
	p, q := newPod(r), newPod(r)
	r.bind(lb, batchTarget(off, p.addr, 10), batchTarget(on, q.addr, 10))
	want := map[string]string{p.addr.String(): "Close", q.addr.String(): "Unknown"}
	if diff := cmp.Diff(want, r.health(lb)); diff != "" {
		t.Errorf("the API knows the switch at once, checks begin when the binding has arrived: -want +got:\n%s", diff)
	}
	if _, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nothing listens yet, got %v", err)
	}
}

func TestAPILatency(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Latencies = &Latencies{API: 30 * time.Millisecond} })
	started := time.Now()
	must[*api.DescribeQuotaResponse](t)(r.client.DescribeQuota(api.NewDescribeQuotaRequest()))
	if took := time.Since(started); took < 30*time.Millisecond {
		t.Errorf("a request took %v, less than the API's latency", took)
	}
}
