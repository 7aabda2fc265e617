package clb

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// rig is an emulator with an SDK client.
type rig struct {
	*Server
	t      *testing.T
	client *api.Client
	pods   byte
}

const testRegion = "ap-test"

// newRig starts an emulator, by default one that waits for nothing and limits no rate.
func newRig(t *testing.T, set ...func(*Options)) *rig {
	t.Helper()
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "tester/1"})
	store.Add(tc3.Credential{SecretID: "id2", SecretKey: "key2", Principal: "other/1"})
	opts := Options{Store: store, Latencies: &Latencies{}, RequestRate: -1, Second: 10 * time.Millisecond, Seed: 1}
	for _, f := range set {
		f(&opts)
	}
	s, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{Server: s, t: t, client: newClient(t, s, "id", "key")}
}

func newClient(t *testing.T, s *Server, id, key string) *api.Client {
	t.Helper()
	prof := profile.NewClientProfile()
	prof.HttpProfile.Endpoint = s.Endpoint()
	prof.HttpProfile.Scheme = "HTTP"
	client, err := api.NewClient(common.NewCredential(id, key), testRegion, prof)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// must gives the answer of a call that may not fail.
func must[T any](t *testing.T) func(T, error) T {
	return func(answer T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// code is the API error code of err.
func code(err error) string {
	var e *sdkerrors.TencentCloudSDKError
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return "not an API error: " + err.Error()
	}
	return ""
}

// await polls until done, for at most ten seconds.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *rig) task(id *string) *api.DescribeTaskStatusResponseParams {
	r.t.Helper()
	q := api.NewDescribeTaskStatusRequest()
	q.TaskId = id
	return must[*api.DescribeTaskStatusResponse](r.t)(r.client.DescribeTaskStatus(q)).Response
}

// done waits for a task to end and returns its status.
func (r *rig) done(id *string) int64 {
	r.t.Helper()
	status := int64(2)
	await(r.t, "task "+*id, func() bool {
		status = *r.task(id).Status
		return status != 2
	})
	return status
}

// instance creates a load balancer and waits until it is normal.
func (r *rig) instance(set ...func(*api.CreateLoadBalancerRequest)) string {
	r.t.Helper()
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType = common.StringPtr("OPEN")
	for _, f := range set {
		f(q)
	}
	answer := must[*api.CreateLoadBalancerResponse](r.t)(r.client.CreateLoadBalancer(q)).Response
	r.done(answer.RequestId)
	return *answer.LoadBalancerIds[0]
}

// listener creates one listener and waits for it.
func (r *rig) listener(lb, protocol string, port int, set ...func(*api.CreateListenerRequest)) string {
	r.t.Helper()
	q := api.NewCreateListenerRequest()
	q.LoadBalancerId, q.Protocol, q.Ports = &lb, &protocol, common.Int64Ptrs([]int64{int64(port)})
	for _, f := range set {
		f(q)
	}
	answer := must[*api.CreateListenerResponse](r.t)(r.client.CreateListener(q)).Response
	if got := r.done(answer.RequestId); got != 0 {
		r.t.Fatalf("creating a listener: task status %d", got)
	}
	return *answer.ListenerIds[0]
}

func batchTarget(listener string, addr netip.AddrPort, weight int) *api.BatchTarget {
	return &api.BatchTarget{
		ListenerId: &listener, EniIp: common.StringPtr(addr.Addr().String()),
		Port: common.Int64Ptr(int64(addr.Port())), Weight: common.Int64Ptr(int64(weight)),
	}
}

func target(addr netip.AddrPort, weight int) *api.Target {
	return &api.Target{
		EniIp: common.StringPtr(addr.Addr().String()),
		Port:  common.Int64Ptr(int64(addr.Port())), Weight: common.Int64Ptr(int64(weight)),
	}
}

// bind registers targets and fails the test on partial failure.
func (r *rig) bind(lb string, targets ...*api.BatchTarget) {
	r.t.Helper()
	q := api.NewBatchRegisterTargetsRequest()
	q.LoadBalancerId, q.Targets = &lb, targets
	answer := must[*api.BatchRegisterTargetsResponse](r.t)(r.client.BatchRegisterTargets(q)).Response
	if len(answer.FailListenerIdSet) > 0 {
		r.t.Fatalf("binding: %s", *answer.Message)
	}
}

func (r *rig) unbind(lb string, targets ...*api.BatchTarget) {
	r.t.Helper()
	q := api.NewBatchDeregisterTargetsRequest()
	q.LoadBalancerId, q.Targets = &lb, targets
	answer := must[*api.BatchDeregisterTargetsResponse](r.t)(r.client.BatchDeregisterTargets(q)).Response
	if len(answer.FailListenerIdSet) > 0 {
		r.t.Fatalf("unbinding: %s", *answer.Message)
	}
}

func (r *rig) weigh(lb, listener string, targets ...*api.Target) {
	r.t.Helper()
	q := api.NewModifyTargetWeightRequest()
	q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &listener, targets
	answer := must[*api.ModifyTargetWeightResponse](r.t)(r.client.ModifyTargetWeight(q)).Response
	if got := r.done(answer.RequestId); got != 0 {
		r.t.Fatalf("changing weights: task status %d", got)
	}
}

// health is the state of every target of a load balancer, by address, through the API.
func (r *rig) health(lb string) map[string]string {
	r.t.Helper()
	q := api.NewDescribeTargetHealthRequest()
	q.LoadBalancerIds = []*string{&lb}
	answer := must[*api.DescribeTargetHealthResponse](r.t)(r.client.DescribeTargetHealth(q)).Response
	all := map[string]string{}
	for _, l := range answer.LoadBalancers[0].Listeners {
		for _, rule := range l.Rules {
			for _, t := range rule.Targets {
				all[net.JoinHostPort(*t.IP, strconv.Itoa(int(*t.Port)))] = *t.HealthStatusDetail
			}
		}
	}
	return all
}

func (r *rig) awaitHealth(lb string, addr netip.AddrPort, want string) {
	r.t.Helper()
	await(r.t, addr.String()+" to be "+want, func() bool { return r.health(lb)[addr.String()] == want })
}

func (r *rig) vip(lb string) netip.Addr {
	r.t.Helper()
	for _, have := range r.LoadBalancers() {
		if have.ID == lb {
			return have.VIP
		}
	}
	r.t.Fatalf("no load balancer %s", lb)
	return netip.Addr{}
}

// podAddr is an address for a test server. Rigs may share one: ports differ.
func (r *rig) podAddr() netip.Addr {
	r.pods++
	return netip.AddrFrom4([4]byte{127, 77, 1, r.pods})
}
