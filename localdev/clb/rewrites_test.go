package clb

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

// rewrite is what tests look at of a redirect.
type rewrite struct {
	From, To string
	Code     int64
	TakeURL  bool
	Kind     string
}

func (r *rig) rewrites(lb string, set ...func(*api.DescribeRewriteRequest)) []rewrite {
	r.t.Helper()
	q := api.NewDescribeRewriteRequest()
	q.LoadBalancerId = &lb
	for _, f := range set {
		f(q)
	}
	var all []rewrite
	for _, rule := range must[*api.DescribeRewriteResponse](r.t)(r.client.DescribeRewrite(q)).Response.RewriteSet {
		to := rule.RewriteTarget
		all = append(all, rewrite{*rule.LocationId, *to.TargetLocationId, *to.RewriteCode, *to.TakeUrl, *to.RewriteType})
	}
	return all
}

func (r *rig) manual(lb, from, to string, infos ...*api.RewriteLocationMap) string {
	r.t.Helper()
	q := api.NewManualRewriteRequest()
	q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId, q.RewriteInfos = &lb, &from, &to, infos
	answer, err := r.client.ManualRewrite(q)
	if err != nil {
		return code(err)
	}
	return r.settled(answer.Response.RequestId, nil)
}

func (r *rig) deleteRewrite(lb, from, to string, infos ...*api.RewriteLocationMap) string {
	r.t.Helper()
	q := api.NewDeleteRewriteRequest()
	q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId, q.RewriteInfos = &lb, &from, &to, infos
	answer, err := r.client.DeleteRewrite(q)
	if err != nil {
		return code(err)
	}
	return r.settled(answer.Response.RequestId, nil)
}

func (r *rig) auto(lb, l string, set ...func(*api.AutoRewriteRequest)) string {
	r.t.Helper()
	q := api.NewAutoRewriteRequest()
	q.LoadBalancerId, q.ListenerId = &lb, &l
	for _, f := range set {
		f(q)
	}
	answer, err := r.client.AutoRewrite(q)
	if err != nil {
		return code(err)
	}
	return r.settled(answer.Response.RequestId, nil)
}

func pair(from, to string) *api.RewriteLocationMap {
	return &api.RewriteLocationMap{SourceLocationId: &from, TargetLocationId: &to}
}

func coded(from, to string, code int64, take bool, domain string) *api.RewriteLocationMap {
	p := pair(from, to)
	p.RewriteCode, p.TakeUrl, p.SourceDomain = &code, &take, &domain
	return p
}

// TestManualRewrite: CLB API, ManualRewrite, RewriteLocationMap and DeleteRewrite. "If A
// redirects to B, A can't redirect to C, and B can't redirect to anything."
func TestManualRewrite(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l, m, tcp := r.listener(lb, "HTTP", 8080), r.https(lb, 8443), r.listener(lb, "TCP", 8081)
	from := r.rules(lb, l, ruleInput("a", "/"), ruleInput("b", "/"), ruleInput("c", "/"))
	to := r.rules(lb, m, ruleInput("a", "/"), ruleInput("b", "/"))
	one := rewrite{from[0], to[0], 301, true, "Manual"}
	steps := []struct {
		reason string
		do     func() string
		want   string
		left   []rewrite
	}{
		{"what, is required", func() string { return r.manual(lb, l, m) }, "MissingParameter", nil},
		{"an unknown load balancer", func() string { return r.manual("lb-none", l, m, pair(from[0], to[0])) }, "InvalidParameter.LBIdNotFound", nil},
		{"an unknown listener", func() string { return r.manual(lb, l, "lbl-none", pair(from[0], to[0])) }, "InvalidParameter.ListenerIdNotFound", nil},
		{"an unknown rule", func() string { return r.manual(lb, l, m, pair(from[0], "loc-none")) }, "InvalidParameter.LocationNotFound", nil},
		{"layer 4", func() string { return r.manual(lb, tcp, m, pair(from[0], to[0])) }, "InvalidParameter.ProtocolCheckFailed", nil},
		{"itself", func() string { return r.manual(lb, l, l, pair(from[0], from[0])) }, "InvalidParameter", nil},
		{"other codes", func() string { return r.manual(lb, l, m, coded(from[0], to[0], 308, true, "a")) }, "InvalidParameterValue", nil},
		{"a code goes with TakeUrl and SourceDomain", func() string {
			p := pair(from[0], to[0])
			p.RewriteCode = i64(301)
			return r.manual(lb, l, m, p)
		}, "MissingParameter", nil},
		{"another's domain", func() string { return r.manual(lb, l, m, coded(from[0], to[0], 301, true, "b")) }, "InvalidParameterValue", nil},
		{"two in one call, of which one is refused", func() string { return r.manual(lb, l, m, pair(from[0], to[0]), pair(from[0], to[1])) }, "InvalidParameter.RewriteAlreadyExist", nil},
		{"one", func() string { return r.manual(lb, l, m, pair(from[0], to[0])) }, "", []rewrite{one}},
		{"A to C", func() string { return r.manual(lb, l, m, pair(from[0], to[1])) }, "InvalidParameter.RewriteAlreadyExist", []rewrite{one}},
		{"B to C", func() string { return r.manual(lb, m, l, pair(to[0], from[1])) }, "InvalidParameter.RewriteAlreadyExist", []rewrite{one}},
		{"C to A", func() string { return r.manual(lb, l, l, pair(from[1], from[0])) }, "InvalidParameter.RewriteAlreadyExist", []rewrite{one}},
		{"a second to B, with everything", func() string { return r.manual(lb, l, m, coded(from[1], to[0], 307, false, "b")) }, "", []rewrite{one, {from[1], to[0], 307, false, "Manual"}}},
		{"ending one that isn't", func() string { return r.deleteRewrite(lb, l, m, pair(from[1], to[0]), pair(from[2], to[0])) }, "InvalidParameter.SomeRewriteNotFound", []rewrite{one, {from[1], to[0], 307, false, "Manual"}}},
		{"or to elsewhere", func() string { return r.deleteRewrite(lb, l, m, pair(from[0], to[1])) }, "InvalidParameter.SomeRewriteNotFound", []rewrite{one, {from[1], to[0], 307, false, "Manual"}}},
		{"ending one", func() string { return r.deleteRewrite(lb, l, m, pair(from[1], to[0])) }, "", []rewrite{one}},
		{"the target deleted, the redirect ends", func() string {
			return r.deleteRule(lb, m, func(q *api.DeleteRuleRequest) { q.LocationIds = []*string{&to[0]} })
		}, "", nil},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
		if diff := cmp.Diff(step.left, r.rewrites(lb)); diff != "" {
			t.Fatalf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
	if got := len(r.paths(lb, l)); got != 3 {
		t.Errorf("rules stay where redirects end: %d of 3", got)
	}
}

// TestAutoRewrite: CLB API, AutoRewrite; CLB, "Layer-7 Redirection Configuration".
func TestAutoRewrite(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	m, other, http := r.https(lb, 443), r.https(lb, 8443), r.listener(lb, "HTTP", 8080)
	to := r.rules(lb, m, ruleInput("a", "/"), ruleInput("a", "/x"), ruleInput("b", "/"))
	domains := func(names ...string) func(*api.AutoRewriteRequest) {
		return func(q *api.AutoRewriteRequest) { q.Domains = common.StringPtrs(names) }
	}
	refusals := map[string]struct {
		reason string
		do     func() string
		want   string
	}{
		"Protocol": {"HTTPS is rewritten to", func() string { return r.auto(lb, http) }, "InvalidParameter.ProtocolCheckFailed"},
		"Port":     {"at port 443", func() string { return r.auto(lb, other) }, "InvalidParameter.PortCheckFailed"},
		"Domain":   {"domains must be there", func() string { return r.auto(lb, m, domains("c")) }, "InvalidParameter.LocationNotFound"},
		"Code": {"one of three", func() string {
			return r.auto(lb, m, func(q *api.AutoRewriteRequest) { q.RewriteCodes = []*int64{i64(308)} })
		}, "InvalidParameterValue"},
		"Codes": {"one by domain", func() string {
			return r.auto(lb, m, domains("a", "b"), func(q *api.AutoRewriteRequest) { q.RewriteCodes = []*int64{i64(301)} })
		}, "InvalidParameterValue.Length"},
		"Listener": {"required", func() string { return r.auto(lb, "") }, "MissingParameter"},
	}
	for name, tc := range refusals {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.do()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
	if got := len(r.listeners(lb)); got != 3 {
		t.Fatalf("refused calls made listeners: %d of 3", got)
	}

	if got := r.auto(lb, m, domains("a"), func(q *api.AutoRewriteRequest) { q.RewriteCodes, q.TakeUrls = []*int64{i64(302)}, []*bool{flag(false)} }); got != "" {
		t.Fatal(got)
	}
	made := r.listeners(lb, func(q *api.DescribeListenersRequest) { q.Port = i64(80) })
	if len(made) != 1 || *made[0].Protocol != "HTTP" || len(made[0].Rules) != 2 || !*made[0].Rules[0].BeAutoCreated {
		t.Fatalf("HTTP:80 is made, with the rules of the domain: %d listeners", len(made))
	}
	l, from := *made[0].ListenerId, made[0].Rules
	want := []rewrite{{*from[0].LocationId, to[0], 302, false, "Auto"}, {*from[1].LocationId, to[1], 302, false, "Auto"}}
	if diff := cmp.Diff(want, r.rewrites(lb)); diff != "" {
		t.Errorf("the domain redirects: -want +got:\n%s", diff)
	}
	more := r.rules(lb, m, ruleInput("a", "/y"))
	plain := r.rules(lb, l, ruleInput("b", "/"))
	if got := r.auto(lb, m); got != "" {
		t.Fatal(got)
	}
	got := r.rewrites(lb)
	want = []rewrite{
		{*from[0].LocationId, to[0], 301, true, "Auto"}, {*from[1].LocationId, to[1], 301, true, "Auto"},
		{plain[0], to[2], 301, true, "Auto"}, {got[len(got)-1].From, more[0], 301, true, "Auto"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("again, for all domains: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want[:1], r.rewrites(lb, func(q *api.DescribeRewriteRequest) {
		q.SourceListenerIds, q.SourceLocationIds = []*string{&l}, []*string{from[0].LocationId}
	})); diff != "" {
		t.Errorf("by rule: -want +got:\n%s", diff)
	}
	if got := r.rewrites(lb, func(q *api.DescribeRewriteRequest) { q.SourceListenerIds = []*string{&m} }); len(got) != 0 {
		t.Errorf("by another listener: %v", got)
	}

	extra := r.rules(lb, l, ruleInput("a", "/z"))
	if got := r.manual(lb, l, http, pair(extra[0], r.rules(lb, http, ruleInput("a", "/z"))[0])); got != "InvalidParameter.RewriteAlreadyExist" {
		t.Errorf("a domain that redirects automatically takes no other: %q", got)
	}
	// Deleting the target's rules takes along the rules made for them, and no others.
	if got := r.deleteRule(lb, m, func(q *api.DeleteRuleRequest) { q.Domain = str("a") }); got != "" {
		t.Fatal(got)
	}
	if diff := cmp.Diff([]path{{plain[0], "b", "/", false}, {extra[0], "a", "/z", true}}, r.paths(lb, l)); diff != "" {
		t.Errorf("what is left of HTTP:80: -want +got:\n%s", diff)
	}
}

func TestAutoRewriteLimits(t *testing.T) {
	r := newRig(t, func(o *Options) { q := DefaultQuotas(); q.Rules, q.Listeners = 2, 1; o.Quotas = &q })
	lb := r.instance()
	m := r.https(lb, 443)
	r.rules(lb, m, ruleInput("a", "/"))
	if got := r.auto(lb, m); got != "LimitExceeded" {
		t.Errorf("a listener over the quota: %q", got)
	}
	r2 := newRig(t, func(o *Options) { q := DefaultQuotas(); q.Rules = 1; o.Quotas = &q })
	lb2 := r2.instance()
	m2, l2 := r2.https(lb2, 443), r2.listener(lb2, "HTTP", 80)
	r2.rules(lb2, m2, ruleInput("a", "/"))
	r2.rules(lb2, l2, ruleInput("b", "/"))
	if got := r2.auto(lb2, m2); got != "LimitExceeded" {
		t.Errorf("a rule over the quota: %q", got)
	}
	r3 := newRig(t)
	lb3 := r3.instance()
	m3 := r3.https(lb3, 443)
	r3.listener(lb3, "TCP", 80)
	r3.rules(lb3, m3, ruleInput("a", "/"))
	if got := r3.auto(lb3, m3); got != "InvalidParameter.PortCheckFailed" {
		t.Errorf("port 80 taken: %q", got)
	}
}
