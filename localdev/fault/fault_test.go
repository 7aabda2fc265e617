package fault

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	sdkerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// rig is an emulator with faults, set by HTTP, and a client.
type rig struct {
	t      *testing.T
	faults *Faults
	remote Remote
	client *api.Client

	store    *tc3.Store
	endpoint string
}

// as is a client with credentials of its own.
func (r *rig) as(id, key, token string) *api.Client {
	r.t.Helper()
	p := profile.NewClientProfile()
	p.HttpProfile.Endpoint, p.HttpProfile.Scheme = r.endpoint, "HTTP"
	c, err := api.NewClient(common.NewTokenCredential(id, key, token), "ap-guangzhou", p)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "id", SecretKey: "key"})
	s, err := clb.Start(t.Context(), clb.Options{Store: store, Latencies: &clb.Latencies{}, RequestRate: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := &rig{t: t, faults: New(Parts{CLB: s, Store: store}), store: store, endpoint: s.Endpoint()}
	t.Cleanup(r.faults.Close)
	h := httptest.NewServer(r.faults.Handler())
	t.Cleanup(h.Close)
	r.remote = Remote{URL: h.URL}
	r.client = r.as("id", "key", "")
	return r
}

func (r *rig) set(rule Rule) string {
	r.t.Helper()
	id, err := r.remote.Set(r.t.Context(), rule)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// create makes a load balancer, and gives what its task came to.
func (r *rig) create() (status int64, err error) {
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType = new("OPEN")
	a, err := r.client.CreateLoadBalancer(q)
	if err != nil {
		return 0, err
	}
	d := api.NewDescribeTaskStatusRequest()
	d.TaskId = a.Response.RequestId
	out, err := r.client.DescribeTaskStatus(d)
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.Response.Status, nil
}

// count is how many load balancers there are.
func (r *rig) count() int {
	r.t.Helper()
	a, err := r.client.DescribeLoadBalancers(api.NewDescribeLoadBalancersRequest())
	if err != nil {
		r.t.Fatal(err)
	}
	return int(*a.Response.TotalCount)
}

func code(err error) string {
	var e *sdkerrors.TencentCloudSDKError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// TestCalls shows each fault of calls happening, through the vendor's SDK.
func TestCalls(t *testing.T) {
	cases := map[string]struct {
		reason string
		rule   Rule
		code   string
		status int64
		made   int
	}{
		"None":     {"as usual", Rule{Call: "DeleteLoadBalancer", Drop: true}, "", 0, 1},
		"Code":     {"refused, nothing done", Rule{Call: "CreateLoadBalancer", Code: "InternalError"}, "InternalError", 0, 0},
		"Throttle": {"as the API limits calls", Rule{Call: Any, Code: "RequestLimitExceeded", Times: 1}, "RequestLimitExceeded", 0, 0},
		"Drop":     {"done, and never answered", Rule{Call: "CreateLoadBalancer", Drop: true}, "ClientError.NetworkError", 0, 1},
		"FailTask": {"accepted, and failed in its task", Rule{Call: "CreateLoadBalancer", FailTask: "no"}, "", 1, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.set(tc.rule)
			status, err := r.create()
			if code(err) != tc.code || status != tc.status {
				t.Errorf("%s: want code %q and task status %d, got %v and %d", tc.reason, tc.code, tc.status, err, status)
			}
			if got := r.count(); got != tc.made {
				t.Errorf("%s: want %d load balancers, got %d", tc.reason, tc.made, got)
			}
		})
	}
}

func TestSlowCalls(t *testing.T) {
	for name, rule := range map[string]Rule{"Before": {Call: Any, BeforeMillis: 200}, "After": {Call: Any, AfterMillis: 200}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.set(rule)
			began := time.Now()
			r.count()
			if took := time.Since(began); took < 200*time.Millisecond {
				t.Errorf("it took %s, want at least 200 ms", took)
			}
		})
	}
}

// TestTurns: a fault lets some pass, has its turns, and is over.
func TestTurns(t *testing.T) {
	r := newRig(t)
	id := r.set(Rule{Call: "CreateLoadBalancer", Code: "InternalError", Skip: 1, Times: 2})
	var got []string
	for range 4 {
		_, err := r.create()
		got = append(got, code(err))
	}
	if diff := cmp.Diff([]string{"", "InternalError", "InternalError", ""}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	rules, err := r.remote.List(t.Context())
	if err != nil || len(rules) != 1 || rules[0].ID != id || rules[0].Met != 2 {
		t.Errorf("got %+v, %v", rules, err)
	}
}

func TestClear(t *testing.T) {
	r := newRig(t)
	one := r.set(Rule{Call: "CreateLoadBalancer", Code: "InternalError"})
	r.set(Rule{Call: "CreateLoadBalancer", Code: "FailedOperation"})
	if err := r.remote.Clear(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if _, err := r.create(); code(err) != "FailedOperation" {
		t.Errorf("want the next one to decide, got %v", err)
	}
	if err := r.remote.Clear(t.Context(), one); err == nil || !strings.Contains(err.Error(), one) {
		t.Errorf("want an error that names %s, got %v", one, err)
	}
	if err := r.remote.Clear(t.Context(), Any); err != nil {
		t.Fatal(err)
	}
	if _, err := r.create(); err != nil {
		t.Error(err)
	}
}

func TestRefusedRules(t *testing.T) {
	cases := map[string]struct {
		reason string
		rule   Rule
		want   string
	}{
		"Nothing":   {"it would do nothing", Rule{Call: Any}, "nothing would go wrong"},
		"Nobody":    {"to nobody", Rule{Drop: true}, "call, event"},
		"Both":      {"calls and events are two", Rule{Call: Any, Event: Any, BeforeMillis: 1}, "call, event"},
		"EventDrop": {"what only calls have", Rule{Event: "backends", Drop: true}, "event: "},
		"CallKill":  {"what only events have", Rule{Call: Any, Kill: scf.AfterEvent}, "call: "},
		"Negative":  {"there is no time before", Rule{Call: Any, BeforeMillis: -1}, "below 0"},
		"Message":   {"a message alone isn't heard", Rule{Call: Any, Drop: true, Message: "x"}, "message: "},
		"Moment":    {"a moment there isn't", Rule{Event: Any, Kill: "tomorrow"}, `"tomorrow"`},
	}
	r := newRig(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := r.remote.Set(t.Context(), tc.rule); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want an error about %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
	if rules := r.faults.List(); len(rules) > 0 {
		t.Errorf("refused, and set: %+v", rules)
	}
}

// TestEvents: what rules about events ask of the SCF emulator, which shows it happening.
func TestEvents(t *testing.T) {
	f := New(Parts{})
	if _, err := f.Set(Rule{Event: "backends", BeforeMillis: 5, Double: true, Kill: scf.DuringEvent, InMillis: 7, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if got := f.event(t.Context(), scf.Invocation{Key: "frontend"}); got != nil {
		t.Errorf("of another function: got %+v", got)
	}
	want := &scf.Fault{Before: 5 * time.Millisecond, Double: true, Kill: scf.DuringEvent, In: 7 * time.Millisecond}
	if diff := cmp.Diff(want, f.event(t.Context(), scf.Invocation{Key: "backends"})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := f.event(t.Context(), scf.Invocation{Key: "backends"}); got != nil {
		t.Errorf("once more: got %+v", got)
	}
}
