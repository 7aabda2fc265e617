package clb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tcerr "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// TestRetries: what surely had no effect is repeated, nothing else is.
func TestRetries(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		// fails is how many calls go wrong in this way.
		fails int
		fault emulator.Fault
		write bool
		calls int
		want  fault.Kind
	}{
		"Busy":           {reason: "a busy load balancer changed nothing", fails: 3, fault: refuse(CodeBusy), write: true, calls: 4},
		"Rate":           {reason: "nor did a refusal for rate", fails: 1, fault: refuse(CodeRate), write: true, calls: 2},
		"RateRead":       {reason: "the same for reads", fails: 1, fault: refuse(CodeRate), calls: 2},
		"ReadError":      {reason: "a read that failed is read again", fails: 2, fault: refuse("InternalError"), calls: 3},
		"ReadDropped":    {reason: "and one that got no answer", fails: 1, fault: emulator.Fault{Drop: true}, calls: 2},
		"ReadErrorsLong": {reason: "but not for ever", fails: 9, fault: refuse("InternalError"), calls: 4, want: fault.Transient},
		"WriteError":     {reason: "a write that may have had an effect is not repeated", fails: 1, fault: refuse("InternalError"), write: true, calls: 1, want: fault.Transient},
		"WriteDropped":   {reason: "without an answer nobody knows", fails: 1, fault: emulator.Fault{Drop: true}, write: true, calls: 1, want: fault.Transient},
		"Refused":        {reason: "a refusal stays one", fails: 1, fault: refuse("InvalidParameter.FormatError"), write: true, calls: 1, want: fault.Invalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			lb := r.loadBalancer("t", nil)
			ids := r.listeners(lb, 1)
			action, do := "DescribeListeners", func() error { _, err := r.Listeners(t.Context(), lb); return err }
			if tc.write {
				action, do = "BatchRegisterTargets", func() error { return r.Bind(t.Context(), lb, backends(ids[0], 1)) }
			}
			before := r.Calls()[action]
			r.spoil(action, tc.fails, tc.fault)
			err := do()
			if fault.KindOf(err) != tc.want {
				t.Errorf("%s: want kind %q, got %v", tc.reason, tc.want, err)
			}
			if got := r.Calls()[action] - before; got != tc.calls {
				t.Errorf("%s: want %d calls, got %d", tc.reason, tc.calls, got)
			}
			if diff := cmp.Diff(r.server.CallCounts()[action], r.Calls()[action]); diff != "" {
				t.Errorf("every call is counted: -server +session:\n%s", diff)
			}
		})
	}
}

// TestBusyLatency: with the real service's way of being busy after each write,
// write after write goes through.
func TestBusyLatency(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *emulator.Options) {
		o.Latencies = &emulator.Latencies{Task: emulator.Range{Min: 20 * time.Millisecond, Max: 40 * time.Millisecond}, Busy: 100 * time.Millisecond}
	})
	lb := r.loadBalancer("t", nil)
	ids := r.listeners(lb, 1)
	want := backends(ids[0], 2)
	if err := r.Bind(t.Context(), lb, want); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Weight = 0
	}
	if err := r.SetWeights(t.Context(), lb, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want), r.bound(lb, ids)); diff != "" {
		t.Errorf("when a call returns its task is done: -want +got:\n%s", diff)
	}
}

func TestTaskFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lb := r.loadBalancer("t", nil)
	r.spoil("CreateListener", 1, emulator.Fault{FailTask: "no more room"})
	_, err := r.CreateListeners(t.Context(), lb, []model.WantedListener{{Name: "l", Protocol: model.TCP, Port: 80}})
	if !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "no more room") {
		t.Errorf("a task that failed is an error that says why, got %v", err)
	}
	if got, err := r.Listeners(t.Context(), lb); err != nil || len(got) != 0 {
		t.Errorf("nothing was made, got %v, %v", got, err)
	}
}

// TestFence: every write asks it, every time; reads don't; and when it is lost
// nothing more is sent.
func TestFence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lb := r.loadBalancer("t", nil)
	ids := r.listeners(lb, 1)
	target := backends(ids[0], 1)
	lost := errors.New("the lease is somebody else's")

	var asked, allow atomic.Int64
	allow.Store(1 << 30)
	s := r.client.Session(freely, func(context.Context) error {
		if asked.Add(1) > allow.Load() {
			return lost
		}
		return nil
	})
	ctx := t.Context()
	if _, err := s.Listeners(ctx, lb); err != nil || asked.Load() != 0 {
		t.Errorf("a read needs no fence: asked %d times, %v", asked.Load(), err)
	}
	r.spoil("BatchRegisterTargets", 2, refuse(CodeBusy))
	r.client.inline.Store(true) // so that only the write itself asks
	if err := s.Bind(ctx, lb, target); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 3 {
		t.Errorf("asked before each of three attempts, got %d", asked.Load())
	}
	asked.Store(0)
	if err := s.SetWeights(ctx, lb, target); err != nil {
		t.Fatal(err)
	}
	if asked.Load() < 2 {
		t.Errorf("kept up while the task goes on: asked %d times", asked.Load())
	}

	asked.Store(0)
	allow.Store(0)
	before := maps.Clone(r.server.CallCounts())
	for name, write := range map[string]func() error{
		"CreateLoadBalancer": func() error {
			_, err := s.CreateLoadBalancer(ctx, LoadBalancerSpec{Name: "n", ClientToken: "x"})
			return err
		},
		"DeleteLoadBalancer": func() error { return s.DeleteLoadBalancer(ctx, lb) },
		"CreateListeners": func() error {
			_, err := s.CreateListeners(ctx, lb, []model.WantedListener{{Name: "l", Protocol: model.TCP, Port: 99}})
			return err
		},
		"ModifyListener": func() error {
			return s.ModifyListener(ctx, lb, model.Listener{ID: ids[0]}, model.Listener{ID: ids[0], Attributes: model.Attributes{SessionExpire: 30}})
		},
		"DeleteListeners": func() error { return s.DeleteListeners(ctx, lb, ids) },
		"Bind":            func() error { return s.Bind(ctx, lb, target) },
		"Unbind":          func() error { return s.Unbind(ctx, lb, target) },
		"SetWeights":      func() error { return s.SetWeights(ctx, lb, target) },
		"SetTags":         func() error { return s.SetTags(ctx, lb, target) },
		"CreateRules": func() error {
			_, err := s.CreateRules(ctx, &model.LoadBalancer{ID: lb}, ids[0], []model.WantedRule{wantedRule("a.example.com", "/")})
			return err
		},
		"ModifyRule": func() error {
			return s.ModifyRule(ctx, lb, model.Place{Listener: ids[0], Location: "loc-1"}, model.Attributes{}, model.Attributes{SessionExpire: 30})
		},
		"ModifyDomain": func() error {
			return s.ModifyDomain(ctx, &model.LoadBalancer{ID: lb}, ids[0], "a.example.com", model.DomainAttributes{}, model.DomainAttributes{HTTP2: true})
		},
		"DeleteRules": func() error {
			return s.DeleteRules(ctx, &model.LoadBalancer{ID: lb}, ids[0], []string{"loc-1", "loc-2"}, nil)
		},
		"Redirect":   func() error { return s.Redirect(ctx, lb, []model.Redirection{{}}) },
		"Straighten": func() error { return s.Straighten(ctx, lb, []model.Redirection{{}}) },
	} {
		if err := write(); !fault.Is(err, fault.Conflict) || !errors.Is(err, lost) {
			t.Errorf("%s without the fence: want a Conflict, got %v", name, err)
		}
	}
	if diff := cmp.Diff(before, r.server.CallCounts()); diff != "" {
		t.Errorf("without the fence nothing is sent: -want +got:\n%s", diff)
	}

	asked.Store(0)
	allow.Store(1) // lost while the task goes on
	if err := s.SetWeights(ctx, lb, target); !fault.Is(err, fault.Conflict) {
		t.Errorf("lost while waiting: want a Conflict, got %v", err)
	}
}

// TestLimits: what the API would refuse is refused before a call is made.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	many := backends("lbl-1", MaxBatch+1)
	ports := make([]model.WantedListener, maxPorts+1)
	// An IPv6 one has no address that could stand for a host.
	v6 := &model.LoadBalancer{ID: "lb-1", IPv6: "2001:db8::1"}
	create := func(rules ...model.WantedRule) func() error {
		return func() error { _, err := r.CreateRules(ctx, v6, "lbl-1", rules); return err }
	}
	change := func(domain string, have, want model.DomainAttributes) func() error {
		return func() error { return r.ModifyDomain(ctx, v6, "lbl-1", domain, have, want) }
	}
	own := ""
	certified := model.DomainAttributes{Certificate: model.Certificate{ID: "cert-1"}}
	cases := map[string]struct {
		field string
		do    func() error
	}{
		"Bind":               {"Targets", func() error { return r.Bind(ctx, "lb-1", many) }},
		"BindNone":           {"Targets", func() error { return r.Bind(ctx, "lb-1", nil) }},
		"Unbind":             {"Targets", func() error { return r.Unbind(ctx, "lb-1", many) }},
		"SetWeights":         {"targets", func() error { return r.SetWeights(ctx, "lb-1", many) }},
		"SetTags":            {"targets", func() error { return r.SetTags(ctx, "lb-1", many) }},
		"CreateListeners":    {"Ports", func() error { _, err := r.CreateListeners(ctx, "lb-1", ports); return err }},
		"CreateNoListeners":  {"Ports", func() error { _, err := r.CreateListeners(ctx, "lb-1", nil); return err }},
		"CreateRules":        {"Rules", create(make([]model.WantedRule, MaxRules+1)...)},
		"CreateNoRules":      {"Rules", create()},
		"NoHost":             {"Domain", create(wantedRule("a.example.com", "/"), wantedRule("", "/"))},
		"LongHost":           {"Domain", create(wantedRule(strings.Repeat("a", maxDomain+1), "/"))},
		"NoPath":             {"Url", create(wantedRule("a.example.com", ""))},
		"LongPath":           {"Url", create(wantedRule("a.example.com", strings.Repeat("/", maxURL+1)))},
		"ModifyNoHost":       {"Domain", change("", model.DomainAttributes{}, certified)},
		"NoCertificate":      {"Certificate", change("a.example.com", certified, model.DomainAttributes{})},
		"NoDefault":          {"DefaultServer", change("a.example.com", model.DomainAttributes{DefaultServer: true}, model.DomainAttributes{})},
		"NextDefault":        {"Domain", func() error { return r.DeleteRules(ctx, v6, "lbl-1", []string{"loc-1"}, &own) }},
		"CreateWithoutToken": {"ClientToken", func() error { _, err := r.CreateLoadBalancer(ctx, LoadBalancerSpec{Name: "n"}); return err }},
		"InternalNoSubnet": {"SubnetId, VpcId", func() error {
			_, err := r.CreateLoadBalancer(ctx, LoadBalancerSpec{Name: "n", ClientToken: "t", Internal: true})
			return err
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.do()
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Field != tc.field {
				t.Errorf("want Invalid naming %s, got %v", tc.field, err)
			}
		})
	}
	// So that a batch can be taken apart to find which it is.
	for want, err := range map[string]error{CodeNoAddress: create(wantedRule("", "/"))(), codeLength: create(wantedRule("a", ""))()} {
		if Code(err) != want {
			t.Errorf("want code %s, got %v", want, err)
		}
	}
	if n := len(r.server.CallCounts()); n != 0 {
		t.Errorf("no call was worth making, got %v", r.server.CallCounts())
	}
}

// TestCredentials: they are asked for at every call, as SCF renews them.
func TestCredentials(t *testing.T) {
	t.Parallel()
	store := &tc3.Store{}
	r := newRig(t, func(o *emulator.Options) { o.Store = store })
	var asked atomic.Int64
	client := mustClient(t, r.server, func() (string, string, string) {
		n := asked.Add(1)
		id := fmt.Sprintf("id-%d", n)
		store.Add(tc3.Credential{SecretID: id, SecretKey: "key", Token: fmt.Sprintf("token-%d", n), Principal: id})
		return id, "key", fmt.Sprintf("token-%d", n)
	})
	s := client.Session(freely, nil)
	for range 3 {
		if _, err := s.LoadBalancersTagged(t.Context(), map[string]string{"a": "b"}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, c := range r.server.Calls() {
		seen[c.Principal] = true
	}
	if len(seen) != 3 {
		t.Errorf("three calls by three credentials, got %v", seen)
	}
	bad := mustClient(t, r.server, func() (string, string, string) { return "id-1", "wrong", "token-1" })
	if _, err := bad.Session(freely, nil).LoadBalancers(t.Context(), "lb-1"); !fault.Is(err, fault.Permanent) {
		t.Errorf("a wrong key is for a person to mend, got %v", err)
	}
}

func TestGrant(t *testing.T) {
	cases := map[string]struct {
		reason string
		grant  map[string]float64
		want   float64
	}{
		"Default":  {reason: "granted nothing", want: DefaultRate},
		"Named":    {reason: "by action", grant: map[string]float64{"A": 7, "*": 2}, want: 7},
		"Others":   {reason: "every action not named", grant: map[string]float64{"B": 7, "*": 2}, want: 2},
		"NotNamed": {reason: "others' grants aren't ours", grant: map[string]float64{"B": 7}, want: DefaultRate},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := (&Client{}).Session(tc.grant, nil)
			first := s.limiter("A")
			if got := float64(first.Limit()); got != tc.want {
				t.Errorf("%s: want %g calls a second, got %g", tc.reason, tc.want, got)
			}
			if again := s.limiter("A"); again != first {
				t.Error("an action has one limiter")
			}
		})
	}
}

// TestBudgetSpent: who would have to wait longer than there is time is told so, and
// nothing is sent.
func TestBudgetSpent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.client.Session(map[string]float64{"*": 0.001}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	for range 3 { // two at once are always allowed
		_, err = s.LoadBalancersTagged(ctx, map[string]string{"a": "b"})
	}
	if !fault.Is(err, fault.Throttled) || s.Calls()["DescribeLoadBalancers"] != 2 {
		t.Errorf("want Throttled after two calls, got %v after %v", err, s.Calls())
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.server.Intercept(func(context.Context, emulator.Call) *emulator.Fault { cancel(); f := refuse(CodeRate); return &f })
	_, err := r.LoadBalancersTagged(ctx, map[string]string{"a": "b"})
	if err == nil || r.Calls()["DescribeLoadBalancers"] != 1 {
		t.Errorf("nobody waits any more: want one call and an error, got %v, %v", r.Calls(), err)
	}
}

func TestClassify(t *testing.T) {
	cases := map[string]struct {
		code, message string
		want          fault.Kind
		retryAfter    bool
	}{
		"Rate":             {code: "RequestLimitExceeded", want: fault.Throttled, retryAfter: true},
		"RateSubCode":      {code: "RequestLimitExceeded.UinLimitExceeded", want: fault.Throttled, retryAfter: true},
		"Busy":             {code: CodeBusy, want: fault.Throttled, retryAfter: true},
		"Cloning":          {code: "FailedOperation.ResourceInCloning", want: fault.Throttled, retryAfter: true},
		"InUse":            {code: "ResourceInUse", want: fault.Throttled, retryAfter: true},
		"LBGone":           {code: CodeLBGone, want: fault.NotFound},
		"ListenerGone":     {code: CodeListenerGone, want: fault.NotFound},
		"ListenerGoneText": {code: "InvalidParameter", message: "some ListenerId lbl-1 not found", want: fault.NotFound},
		"LocationGone":     {code: CodeLocationGone, want: fault.NotFound},
		"RewriteGone":      {code: "InvalidParameter.SomeRewriteNotFound", want: fault.NotFound},
		"RewriteThere":     {code: "InvalidParameter.RewriteAlreadyExist", want: fault.Conflict},
		"ProtocolCheck":    {code: "InvalidParameter.ProtocolCheckFailed", want: fault.Invalid},
		"Length":           {code: "InvalidParameterValue.Length", want: fault.Invalid},
		"ResourceGone":     {code: "ResourceNotFound", want: fault.NotFound},
		"PortTaken":        {code: CodePortTaken, want: fault.Conflict},
		"Duplicate":        {code: "InvalidParameterValue.Duplicate", want: fault.Conflict},
		"TokenSpent":       {code: CodeTokenSpent, want: fault.Conflict},
		"TokenExpired":     {code: "AuthFailure.TokenFailure", want: fault.Transient},
		"ClockSkew":        {code: "AuthFailure.SignatureExpire", want: fault.Transient},
		"Signature":        {code: "AuthFailure.SignatureFailure", want: fault.Permanent},
		"Permission":       {code: "UnauthorizedOperation", want: fault.Permanent},
		"Quota":            {code: "LimitExceeded", want: fault.Permanent},
		"SoldOut":          {code: "ResourcesSoldOut", want: fault.Permanent},
		"NoSubnetIPs":      {code: "ResourceInsufficient", want: fault.Permanent},
		"Unsupported":      {code: "UnsupportedOperation", want: fault.Permanent},
		"Internal":         {code: "InternalError", want: fault.Transient},
		"Network":          {code: "ClientError.NetworkError", want: fault.Transient},
		"Failed":           {code: "FailedOperation", want: fault.Transient},
		"Status":           {code: "FailedOperation.InvalidLBStatus", want: fault.Transient},
		"Format":           {code: "InvalidParameter.FormatError", want: fault.Invalid},
		"Range":            {code: "InvalidParameterValue.Range", want: fault.Invalid},
		"Missing":          {code: "MissingParameter", want: fault.Invalid},
		"Prefix":           {code: "LimitExceededness", want: fault.Transient},
		"New":              {code: "SomethingNew", want: fault.Transient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cause := tcerr.NewTencentCloudSDKError(tc.code, tc.message, "req-1")
			err := fmt.Errorf("outer: %w", classify("binding targets", cause))
			if got := fault.KindOf(err); got != tc.want {
				t.Errorf("%s: want %s, got %s", tc.code, tc.want, got)
			}
			if Code(err) != tc.code {
				t.Errorf("want code %s, got %s", tc.code, Code(err))
			}
			if (fault.RetryAfter(err) > 0) != tc.retryAfter {
				t.Errorf("retry after %s", fault.RetryAfter(err))
			}
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), "req-1") {
				t.Errorf("the cause and its request id must be kept: %v", err)
			}
			if IsQuota(err) != (tc.code == "LimitExceeded") {
				t.Errorf("quota: %t", IsQuota(err))
			}
		})
	}
	if got := fault.KindOf(classify("op", errors.New("anything"))); got != fault.Transient {
		t.Errorf("what nobody knows may pass by itself, got %s", got)
	}
	if classify("op", nil) != nil {
		t.Error("no error is no error")
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		reason, text string
		want         time.Time
	}{
		"UTC":        {reason: "some minutes ago in UTC", text: "2026-03-01 11:50:00", want: now.Add(-10 * time.Minute)},
		"China":      {reason: "some minutes ago in China: in UTC it would be in the future", text: "2026-03-01 19:50:00", want: now.Add(-10 * time.Minute)},
		"Either":     {reason: "long ago: the later reading, which can only make a verdict wait", text: "2026-03-01 03:00:00", want: now.Add(-9 * time.Hour)},
		"JustNow":    {reason: "clocks differ by seconds", text: "2026-03-01 12:00:30", want: now.Add(30 * time.Second)},
		"JustNowCST": {reason: "also in China", text: "2026-03-01 20:00:30", want: now.Add(30 * time.Second)},
		"Missing":    {reason: "not said"},
		"Other":      {reason: "another format says nothing", text: "2026-03-01T11:50:00Z"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := parseTime(tc.text, now); !got.Equal(tc.want) {
				t.Errorf("%s: %q want %s, got %s", tc.reason, tc.text, tc.want, got)
			}
		})
	}
}

// TestRegisteredZone: whatever zone the API's times are of, a fresh target is fresh.
func TestRegisteredZone(t *testing.T) {
	t.Parallel()
	for name, zone := range map[string]*time.Location{"UTC": time.UTC, "China": time.FixedZone("CST", 8*60*60)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *emulator.Options) { o.Location = zone })
			lb := r.loadBalancer("t", nil)
			ids := r.listeners(lb, 1)
			if err := r.Bind(t.Context(), lb, backends(ids[0], 1)); err != nil {
				t.Fatal(err)
			}
			got, err := r.Targets(t.Context(), lb, ids, TargetFilter{})
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			if age := time.Since(got[0].Registered); age < -time.Minute || age > time.Minute {
				t.Errorf("registered just now, got %s ago", age)
			}
		})
	}
}
