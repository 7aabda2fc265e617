package clb

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

// settled is the error code of a call, once the task it has started is done.
func (r *rig) settled(request *string, err error) string {
	r.t.Helper()
	if err != nil {
		return code(err)
	}
	if got := r.done(request); got != 0 {
		return "task: " + *r.task(request).Message
	}
	return ""
}

func (r *rig) modifyRule(lb, l, location string, set func(*api.ModifyRuleRequest)) string {
	r.t.Helper()
	q := api.NewModifyRuleRequest()
	q.LoadBalancerId, q.ListenerId, q.LocationId = &lb, &l, &location
	set(q)
	answer, err := r.client.ModifyRule(q)
	if err != nil {
		return code(err)
	}
	return r.settled(answer.Response.RequestId, nil)
}

// ruleView is what tests look at of a rule's settings.
type ruleView struct {
	URL, Scheduler, Forward, Cookie             string
	Session                                     int64
	Switch, Timeout, Interval, Health, Unhealth int64
	Kind, Path, Domain, Method                  string
	Codes                                       int64
}

func viewOf(rule *api.RuleOutput) ruleView {
	hc := rule.HealthCheck
	return ruleView{
		*rule.Url, *rule.Scheduler, *rule.ForwardType, *rule.CookieName, *rule.SessionExpireTime,
		*hc.HealthSwitch, *hc.TimeOut, *hc.IntervalTime, *hc.HealthNum, *hc.UnHealthNum,
		*hc.CheckType, *hc.HttpCheckPath, *hc.HttpCheckDomain, *hc.HttpCheckMethod, *hc.HttpCode,
	}
}

// TestRuleDefaults: CLB API, RuleInput and HealthCheck.
func TestRuleDefaults(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	http := r.listener(lb, "HTTP", 8080)
	https := r.https(lb, 8443)
	r.rules(lb, http, ruleInput("a.example.com", "/"), ruleInput("*.example.com", "/", func(in *api.RuleInput) {
		in.HealthCheck = &api.HealthCheck{HttpCheckDomain: str("check.example.com"), HttpCheckPath: str("/ok"), HttpCode: i64(2), HttpCheckMethod: str("GET")}
		in.Scheduler, in.SessionExpireTime, in.CookieName = str("IP_HASH"), i64(86400), str("mine")
	}), ruleInput("", "/", func(in *api.RuleInput) { in.HealthCheck = &api.HealthCheck{HealthSwitch: i64(0)} }))
	forward := func(kind string) func(*api.RuleInput) {
		return func(in *api.RuleInput) { in.ForwardType = &kind }
	}
	r.rules(lb, https, ruleInput("a.example.com", "/"), ruleInput("a.example.com", "/s", forward("HTTPS")), ruleInput("a.example.com", "/g", forward("GRPC")))
	var got []ruleView
	for _, l := range []string{http, https} {
		for _, rule := range r.described(lb, l) {
			got = append(got, viewOf(rule))
		}
	}
	vip := r.vip(lb).String()
	want := []ruleView{
		{"/", "WRR", "HTTP", "", 0, 1, 2, 5, 3, 3, "HTTP", "/", "a.example.com", "HEAD", 31},
		{"/", "IP_HASH", "HTTP", "mine", 86400, 1, 2, 5, 3, 3, "HTTP", "/ok", "check.example.com", "GET", 2},
		{"/", "WRR", "HTTP", "", 0, 0, 2, 5, 3, 3, "HTTP", "/", vip, "HEAD", 31},
		{"/", "WRR", "HTTP", "", 0, 1, 2, 5, 3, 3, "HTTP", "/", "a.example.com", "HEAD", 31},
		{"/s", "WRR", "HTTPS", "", 0, 1, 2, 5, 3, 3, "HTTPS", "/", "a.example.com", "HEAD", 31},
		{"/g", "WRR", "GRPC", "", 0, 1, 2, 5, 3, 3, "GRPC", "/", "a.example.com", "HEAD", 31},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documented defaults: -want +got:\n%s", diff)
	}
}

// TestModifyRule: CLB API, ModifyRule.
func TestModifyRule(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "HTTP", 8080)
	ids := r.rules(lb, l, ruleInput("a.example.com", "/"), ruleInput("a.example.com", "/x"))
	steps := []struct {
		reason string
		set    func(*api.ModifyRuleRequest)
		want   string
	}{
		{"nothing given is no error", func(q *api.ModifyRuleRequest) {}, ""},
		{"the path, with its settings staying", func(q *api.ModifyRuleRequest) { q.Url = str("= /y") }, ""},
		{"its own path again", func(q *api.ModifyRuleRequest) { q.Url = str("=/y") }, ""},
		{"another rule's path", func(q *api.ModifyRuleRequest) { q.Url = str("/x") }, "InvalidParameterValue"},
		{"a path begins with /", func(q *api.ModifyRuleRequest) { q.Url = str("y") }, "InvalidParameter.FormatError"},
		{"scheduler and session", func(q *api.ModifyRuleRequest) { q.Scheduler, q.SessionExpireTime = str("LEAST_CONN"), i64(30) }, ""},
		{"0 or 30 to 86400", func(q *api.ModifyRuleRequest) { q.SessionExpireTime = i64(1) }, "InvalidParameterValue"},
		{"one field of the health check leaves the others", func(q *api.ModifyRuleRequest) { q.HealthCheck = &api.HealthCheck{IntervalTime: i64(10)} }, ""},
		{"ranges hold against what was set before", func(q *api.ModifyRuleRequest) { q.HealthCheck = &api.HealthCheck{TimeOut: i64(10)} }, "InvalidParameterValue"},
		{"HTTP listeners forward HTTP", func(q *api.ModifyRuleRequest) { q.ForwardType = str("GRPC") }, "InvalidParameterValue"},
		{"another location", func(q *api.ModifyRuleRequest) { q.LocationId = str("loc-none") }, "InvalidParameter.LocationNotFound"},
		{"another listener", func(q *api.ModifyRuleRequest) { q.ListenerId = str("lbl-none") }, "InvalidParameter.ListenerIdNotFound"},
		{"the location is required", func(q *api.ModifyRuleRequest) { q.LocationId = nil }, "MissingParameter"},
		{"OAuth is not emulated", func(q *api.ModifyRuleRequest) { q.OAuth = &api.OAuth{} }, "UnsupportedOperation"},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, r.modifyRule(lb, l, ids[0], step.set)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
	want := ruleView{"=/y", "LEAST_CONN", "HTTP", "", 30, 1, 2, 10, 3, 3, "HTTP", "/", "a.example.com", "HEAD", 31}
	if diff := cmp.Diff(want, viewOf(r.described(lb, l)[0])); diff != "" {
		t.Errorf("after all changes: -want +got:\n%s", diff)
	}
}

func (r *rig) deleteRule(lb, l string, set func(*api.DeleteRuleRequest)) string {
	r.t.Helper()
	q := api.NewDeleteRuleRequest()
	q.LoadBalancerId, q.ListenerId = &lb, &l
	set(q)
	answer, err := r.client.DeleteRule(q)
	if err != nil {
		return code(err)
	}
	return r.settled(answer.Response.RequestId, nil)
}

// TestDeleteRule: CLB API, DeleteRule; for default domains CLB, "Layer-7 Domain Name
// Forwarding and URL Rules".
func TestDeleteRule(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "HTTP", 8080)
	ids := r.rules(lb, l, ruleInput("a", "/"), ruleInput("a", "/x"), ruleInput("b", "/"), ruleInput("b", "/x"), ruleInput("c", "/"), ruleInput("d", "/"), ruleInput("e", "/"))
	byID := func(ids ...string) func(*api.DeleteRuleRequest) {
		return func(q *api.DeleteRuleRequest) { q.LocationIds = common.StringPtrs(ids) }
	}
	steps := []struct {
		reason string
		set    func(*api.DeleteRuleRequest)
		want   string
		left   []path
	}{
		{"which, is required", byID(), "MissingParameter", nil},
		{"one of two that is unknown fails both", byID(ids[0], "loc-none"), "InvalidParameter.LocationNotFound", nil},
		{"an unknown domain", func(q *api.DeleteRuleRequest) { q.Domain = str("f") }, "InvalidParameter.LocationNotFound", nil},
		{"an unknown path", func(q *api.DeleteRuleRequest) { q.Domain, q.Url = str("a"), str("/y") }, "InvalidParameter.LocationNotFound", nil},
		{"the next default must be on the listener", func(q *api.DeleteRuleRequest) { q.Domain, q.NewDefaultServerDomain = str("a"), str("f") }, "InvalidParameter", nil},
		{"and not go as well", func(q *api.DeleteRuleRequest) { q.Domain, q.NewDefaultServerDomain = str("a"), str("a") }, "InvalidParameter", nil},
		{
			"a rule of the default domain that has others goes without more", byID(ids[0]), "",
			[]path{{ids[1], "a", "/x", true}, {ids[2], "b", "/", false}, {ids[3], "b", "/x", false}, {ids[4], "c", "/", false}, {ids[5], "d", "/", false}, {ids[6], "e", "/", false}},
		},
		{
			"by domain and path", func(q *api.DeleteRuleRequest) { q.Domain, q.Url = str("b"), str("/x") }, "",
			[]path{{ids[1], "a", "/x", true}, {ids[2], "b", "/", false}, {ids[4], "c", "/", false}, {ids[5], "d", "/", false}, {ids[6], "e", "/", false}},
		},
		{
			"the default domain, with the next named", func(q *api.DeleteRuleRequest) { q.Domain, q.NewDefaultServerDomain = str("a"), str("c") }, "",
			[]path{{ids[2], "b", "/", false}, {ids[4], "c", "/", true}, {ids[5], "d", "/", false}, {ids[6], "e", "/", false}},
		},
		{
			"the default domain, with the oldest the next", byID(ids[4]), "",
			[]path{{ids[2], "b", "/", true}, {ids[5], "d", "/", false}, {ids[6], "e", "/", false}},
		},
		{"all", byID(ids[2], ids[5], ids[6]), "", []path{}},
	}
	before := r.paths(lb, l)
	for _, step := range steps {
		if diff := cmp.Diff(step.want, r.deleteRule(lb, l, step.set)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
		if step.left == nil {
			step.left = before
		}
		if diff := cmp.Diff(step.left, r.paths(lb, l)); diff != "" {
			t.Fatalf("%s: left: -want +got:\n%s", step.reason, diff)
		}
		before = step.left
	}
}

func TestNameDefault(t *testing.T) {
	r := newRig(t, func(o *Options) { o.NameDefault = true })
	lb := r.instance()
	l := r.listener(lb, "HTTP", 8080)
	ids := r.rules(lb, l, ruleInput("a", "/"), ruleInput("b", "/"))
	domain := func(name, next string) func(*api.DeleteRuleRequest) {
		return func(q *api.DeleteRuleRequest) {
			q.Domain = &name
			if next != "" {
				q.NewDefaultServerDomain = &next
			}
		}
	}
	if got := r.deleteRule(lb, l, domain("a", "")); got != "InvalidParameter" {
		t.Errorf("the default domain goes without another named: %q", got)
	}
	if got := r.deleteRule(lb, l, domain("a", "b")); got != "" {
		t.Errorf("with another named: %q", got)
	}
	if diff := cmp.Diff([]path{{ids[1], "b", "/", true}}, r.paths(lb, l)); diff != "" {
		t.Errorf("left: -want +got:\n%s", diff)
	}
	if got := r.deleteRule(lb, l, domain("b", "")); got != "" {
		t.Errorf("the last domain needs no other: %q", got)
	}
}
