package clb

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

func ruleInput(domain, url string, set ...func(*api.RuleInput)) *api.RuleInput {
	in := &api.RuleInput{Url: &url}
	if domain != "" {
		in.Domain = &domain
	}
	for _, f := range set {
		f(in)
	}
	return in
}

// rules creates rules and waits for them.
func (r *rig) rules(lb, listener string, rules ...*api.RuleInput) []string {
	r.t.Helper()
	q := api.NewCreateRuleRequest()
	q.LoadBalancerId, q.ListenerId, q.Rules = &lb, &listener, rules
	answer := must[*api.CreateRuleResponse](r.t)(r.client.CreateRule(q)).Response
	if got := r.done(answer.RequestId); got != 0 {
		r.t.Fatalf("creating rules: task status %d", got)
	}
	return deref(answer.LocationIds)
}

// described are a listener's rules as the API describes them.
func (r *rig) described(lb, listener string) []*api.RuleOutput {
	r.t.Helper()
	for _, l := range r.listeners(lb) {
		if *l.ListenerId == listener {
			return l.Rules
		}
	}
	r.t.Fatalf("no listener %s", listener)
	return nil
}

// path is what tests look at of a rule.
type path struct {
	ID, Domain, URL string
	Default         bool
}

func (r *rig) paths(lb, listener string) []path {
	r.t.Helper()
	all := []path{}
	for _, rule := range r.described(lb, listener) {
		all = append(all, path{*rule.LocationId, *rule.Domain, *rule.Url, *rule.DefaultServer})
	}
	return all
}

func at(t *api.BatchTarget, location string) *api.BatchTarget {
	t.LocationId = &location
	return t
}

func TestRuleLife(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "HTTP", 8080)
	ids := r.rules(lb, l, ruleInput("a.example.com", "/"), ruleInput("", "/x"))
	want := []path{{ids[0], "a.example.com", "/", true}, {ids[1], r.vip(lb).String(), "/x", false}}
	if diff := cmp.Diff(want, r.paths(lb, l)); diff != "" {
		t.Fatalf("rules come in order, the first is the default domain's, and no domain is the virtual address: -want +got:\n%s", diff)
	}

	a, b := addr("127.77.3.1:80"), addr("127.77.3.2:80")
	r.bind(lb, at(batchTarget(l, a, 10), ids[0]), at(batchTarget(l, b, 0), ids[0]), at(batchTarget(l, a, 5), ids[1]))
	got := r.locations(lb)
	wantTargets := map[string][]bound{ids[0]: {{a.String(), 10, ""}, {b.String(), 0, ""}}, ids[1]: {{a.String(), 5, ""}}}
	if diff := cmp.Diff(wantTargets, got); diff != "" {
		t.Fatalf("one backend at two rules: -want +got:\n%s", diff)
	}
	q := api.NewDescribeTargetHealthRequest()
	q.LoadBalancerIds, q.LocationIds = []*string{&lb}, []*string{&ids[1]}
	health := must[*api.DescribeTargetHealthResponse](t)(r.client.DescribeTargetHealth(q)).Response.LoadBalancers[0].Listeners[0].Rules
	if len(health) != 1 || *health[0].LocationId != ids[1] || *health[0].Url != "/x" || len(health[0].Targets) != 1 {
		t.Errorf("health by location: %d rules", len(health))
	}
	r.unbind(lb, at(batchTarget(l, b, 0), ids[0]))
	if diff := cmp.Diff([]bound{{a.String(), 10, ""}}, r.locations(lb)[ids[0]]); diff != "" {
		t.Errorf("unbound: -want +got:\n%s", diff)
	}
}

// locations are the targets that the API describes, by rule.
func (r *rig) locations(lb string, filters ...*api.Filter) map[string][]bound {
	r.t.Helper()
	q := api.NewDescribeTargetsRequest()
	q.LoadBalancerId, q.Filters = &lb, filters
	answer := must[*api.DescribeTargetsResponse](r.t)(r.client.DescribeTargets(q)).Response
	all := map[string][]bound{}
	for _, l := range answer.Listeners {
		for _, rule := range l.Rules {
			for _, t := range rule.Targets {
				addr := netip.AddrPortFrom(netip.MustParseAddr(*t.PrivateIpAddresses[0]), uint16(*t.Port))
				all[*rule.LocationId] = append(all[*rule.LocationId], bound{addr.String(), int(*t.Weight), *t.Tag})
			}
		}
	}
	return all
}

// TestCreateRuleRefuses: CLB API, CreateRule and RuleInput; CLB, "Layer-7 Domain Name
// Forwarding and URL Rules".
func TestCreateRuleRefuses(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l, tcp := r.listener(lb, "HTTP", 8080), r.listener(lb, "TCP", 8081)
	r.rules(lb, l, ruleInput("a.example.com", "/"))
	one := func(domain, url string, set ...func(*api.RuleInput)) func(*api.CreateRuleRequest) {
		return func(q *api.CreateRuleRequest) { q.Rules = []*api.RuleInput{ruleInput(domain, url, set...)} }
	}
	with := func(set func(*api.RuleInput)) func(*api.CreateRuleRequest) { return one("b.example.com", "/", set) }
	health := func(h api.HealthCheck) func(*api.CreateRuleRequest) {
		return with(func(in *api.RuleInput) { in.HealthCheck = &h })
	}
	cases := map[string]struct {
		reason string
		set    func(*api.CreateRuleRequest)
		want   string
	}{
		"NoLoadBalancer":  {"required", func(q *api.CreateRuleRequest) { q.LoadBalancerId = nil }, "MissingParameter"},
		"NoListener":      {"required", func(q *api.CreateRuleRequest) { q.ListenerId = nil }, "MissingParameter"},
		"NoRules":         {"required", func(q *api.CreateRuleRequest) { q.Rules = nil }, "MissingParameter"},
		"NoUrl":           {"required", func(q *api.CreateRuleRequest) { q.Rules[0].Url = nil }, "MissingParameter"},
		"UnknownLB":       {"it must exist", func(q *api.CreateRuleRequest) { q.LoadBalancerId = str("lb-none") }, "InvalidParameter.LBIdNotFound"},
		"UnknownListener": {"it must exist", func(q *api.CreateRuleRequest) { q.ListenerId = str("lbl-none") }, "InvalidParameter.ListenerIdNotFound"},
		"Layer4":          {"a TCP listener has no rules", func(q *api.CreateRuleRequest) { q.ListenerId = &tcp }, "InvalidParameter"},
		"Exists":          {"domain and path are unique", one("a.example.com", "/"), "InvalidParameterValue"},
		"Twice": {"within the request too", func(q *api.CreateRuleRequest) {
			q.Rules = []*api.RuleInput{ruleInput("b.example.com", "= /x"), ruleInput("b.example.com", "=/x")}
		}, "InvalidParameterValue"},
		"TwoDefaults": {"there is one default domain", func(q *api.CreateRuleRequest) {
			yes := func(in *api.RuleInput) { in.DefaultServer = flag(true) }
			q.Rules = []*api.RuleInput{ruleInput("b.example.com", "/", yes), ruleInput("c.example.com", "/", yes)}
		}, "InvalidParameterValue"},
		"OverQuota": {"50 rules a listener", func(q *api.CreateRuleRequest) {
			for len(q.Rules) < 50 {
				q.Rules = append(q.Rules, ruleInput("b.example.com", "/"+strings.Repeat("x", len(q.Rules))))
			}
		}, "LimitExceeded"},
		"UrlEmpty":         {"1 to 200", one("b.example.com", ""), "InvalidParameterValue.Length"},
		"UrlLong":          {"1 to 200", one("b.example.com", "/"+strings.Repeat("x", 200)), "InvalidParameterValue.Length"},
		"UrlRelative":      {"a path begins with /", one("b.example.com", "x"), "InvalidParameter.FormatError"},
		"UrlExactRelative": {"an exact one too", one("b.example.com", "= x"), "InvalidParameter.FormatError"},
		"UrlCharacters":    {"a-zA-Z0-9.-_/=?:", one("b.example.com", "/a b"), "InvalidParameter.FormatError"},
		"UrlRegexp":        {"not emulated", one("b.example.com", "~* .png$"), "UnsupportedOperation"},
		"DomainLong":       {"1 to 80", one(strings.Repeat("x", 81), "/"), "InvalidParameterValue.Length"},
		"DomainUpper":      {"a-z0-9.-_", one("B.example.com", "/"), "InvalidParameter.FormatError"},
		"DomainUnderscore": {"doesn't begin with _", one("_b.example.com", "/"), "InvalidParameter.FormatError"},
		"DomainStarInside": {"* is at an end", one("b.*.com", "/"), "InvalidParameter.FormatError"},
		"DomainTwoStars":   {"* is there once", one("*.example.*", "/"), "InvalidParameter.FormatError"},
		"DomainRegexp":     {"not emulated", one("~^www", "/"), "UnsupportedOperation"},
		"BothDomains":      {"Domain or Domains", with(func(in *api.RuleInput) { in.Domains = []*string{str("c.example.com")} }), "InvalidParameter"},
		"SeveralDomains":   {"not emulated", one("", "/", func(in *api.RuleInput) { in.Domains = common.StringPtrs([]string{"b.example.com", "c.example.com"}) }), "UnsupportedOperation"},
		"SessionShort":     {"0 or 30 to 86400", with(func(in *api.RuleInput) { in.SessionExpireTime = i64(29) }), "InvalidParameterValue"},
		"SessionLong":      {"0 or 30 to 86400", with(func(in *api.RuleInput) { in.SessionExpireTime = i64(86401) }), "InvalidParameterValue"},
		"Scheduler":        {"one of three", with(func(in *api.RuleInput) { in.Scheduler = str("RANDOM") }), "InvalidParameterValue"},
		"ForwardType":      {"HTTPS listeners have others than HTTP", with(func(in *api.RuleInput) { in.ForwardType = str("HTTPS") }), "InvalidParameterValue"},
		"Http2":            {"HTTPS only", with(func(in *api.RuleInput) { in.Http2 = flag(true) }), "InvalidParameter"},
		"Certificate":      {"SNI only", with(func(in *api.RuleInput) { in.Certificate = &api.CertificateInput{CertId: str("c")} }), "InvalidParameter"},
		"Quic":             {"not emulated", with(func(in *api.RuleInput) { in.Quic = flag(true) }), "UnsupportedOperation"},
		"TargetGroup":      {"not emulated", with(func(in *api.RuleInput) { in.TargetType = str("TARGETGROUP") }), "UnsupportedOperation"},
		"CheckType":        {"HTTP or GRPC", health(api.HealthCheck{CheckType: str("TCP")}), "InvalidParameterValue"},
		"CheckTypeHTTPS":   {"of HTTPS listeners", health(api.HealthCheck{CheckType: str("HTTPS")}), "InvalidParameterValue"},
		"CheckPort":        {"layer 4 only", health(api.HealthCheck{CheckPort: i64(81)}), "InvalidParameter"},
		"CheckCode":        {"1 to 31", health(api.HealthCheck{HttpCode: i64(0)}), "InvalidParameterValue"},
		"CheckMethod":      {"HEAD or GET", health(api.HealthCheck{HttpCheckMethod: str("POST")}), "InvalidParameterValue"},
		"CheckPath":        {"begins with /", health(api.HealthCheck{HttpCheckPath: str("x")}), "InvalidParameter.FormatError"},
		"CheckPathLong":    {"1 to 200", health(api.HealthCheck{HttpCheckPath: str("/" + strings.Repeat("x", 200))}), "InvalidParameterValue.Length"},
		"CheckDomain":      {"no wildcards", health(api.HealthCheck{HttpCheckDomain: str("*.example.com")}), "InvalidParameter.FormatError"},
		"CheckNoDomain":    {"a wildcard domain needs one to check", one("*.example.com", "/"), "MissingParameter"},
		"CheckExtended":    {"gRPC codes are numbers", health(api.HealthCheck{CheckType: str("GRPC"), ExtendedCode: str("OK")}), "InvalidParameterValue"},
		"CheckInterval":    {"the timeout is less", health(api.HealthCheck{TimeOut: i64(5)}), "InvalidParameterValue"},
	}
	before := r.paths(lb, l)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := api.NewCreateRuleRequest()
			q.LoadBalancerId, q.ListenerId, q.Rules = &lb, &l, []*api.RuleInput{ruleInput("b.example.com", "/")}
			tc.set(q)
			_, err := r.client.CreateRule(q)
			if diff := cmp.Diff(tc.want, code(err)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
	if diff := cmp.Diff(before, r.paths(lb, l)); diff != "" {
		t.Errorf("refused requests changed something: -before +after:\n%s", diff)
	}
}
