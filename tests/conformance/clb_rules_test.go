package conformance

import (
	"slices"
	"strings"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// layer7 is a load balancer with an HTTP listener.
func (c *cloud) layer7() (lb, listener string) {
	c.t.Helper()
	lb = c.balancer()
	return lb, c.listener(lb, "HTTP", 80)
}

func TestCLBRules(t *testing.T) {
	const create, remove, modify = "CLB API CreateRule", "CLB API DeleteRule", "CLB API ModifyRule"
	const format = "CLB, Layer-7 domain name forwarding and URL rules"
	hold(t, "CLB rules", []fact{
		{name: "the answer has the locations in the order of the rules", source: create + ", LocationIds", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			q := api.NewCreateRuleRequest()
			q.LoadBalancerId, q.ListenerId = &lb, &l
			for _, url := range []string{"/b", "/a", "/c"} {
				q.Rules = append(q.Rules, &api.RuleInput{Domain: new("example.com"), Url: &url})
			}
			a := do(c, c.CreateRule, q).Response
			all := c.rules(lb, l)
			for i, url := range []string{"/b", "/a", "/c"} {
				if r := all["example.com"+url]; r == nil || *r.LocationId != *a.LocationIds[i] {
					t.Errorf("location %d is not that of %s", i, url)
				}
			}
		}},
		{name: "its defaults are the documented ones", source: create + " and CLB API, HealthCheck", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/")
			r := c.rules(lb, l)["example.com/"]
			h := r.HealthCheck
			if *r.Scheduler != "WRR" || *r.SessionExpireTime != 0 || *r.ForwardType != "HTTP" || *h.HealthSwitch != 1 || *h.CheckType != "HTTP" || *h.HttpCheckMethod != "HEAD" || *h.HttpCode != 31 || *h.HttpCheckPath != "/" {
				t.Errorf("got %+v with check %+v", r, h)
			}
		}},
		{name: "a domain and path are had once", source: create + ", error codes", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/")
			if code(c.ruling(lb, l, "example.com", "/")) == "" {
				t.Error("it was made twice")
			}
		}},
		{name: "a domain has at most 80 characters", source: create + ", RuleInput.Domain", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.ruling(lb, l, strings.Repeat("a", 77)+".com", "/"), "InvalidParameterValue.Length")
		}},
		{name: "a path has at most 200 characters", source: create + ", RuleInput.Url", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.ruling(lb, l, "example.com", "/"+strings.Repeat("a", 200)), "InvalidParameterValue.Length")
		}},
		{name: "a path begins with a slash", source: format, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.ruling(lb, l, "example.com", "x"), "InvalidParameter.FormatError")
		}},
		{name: "a domain has no spaces", source: format, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.ruling(lb, l, "exam ple.com", "/"), "InvalidParameter.FormatError")
		}},
		{name: "a wildcard stands at either end", source: format, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			fixed := func(r *api.RuleInput) { r.HealthCheck = &api.HealthCheck{HttpCheckDomain: new("a.example.com")} }
			c.rule(lb, l, "*.example.com", "/", fixed)
			c.rule(lb, l, "www.example.*", "/", fixed)
			refused(t, c.ruling(lb, l, "a.*.com", "/", fixed), "InvalidParameter.FormatError")
		}},
		{name: "a check asks for a name and not for a pattern", source: format, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			if code(c.ruling(lb, l, "*.example.com", "/", func(r *api.RuleInput) { r.HealthCheck = &api.HealthCheck{HttpCheckDomain: new("*.example.com")} })) == "" {
				t.Error("it was taken")
			}
		}},
		{name: "a session lasts 30 to 86400 seconds or isn't kept", source: create + ", RuleInput.SessionExpireTime", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			for _, bad := range []int64{29, 86401} {
				refused(t, c.ruling(lb, l, "example.com", "/", func(r *api.RuleInput) { r.SessionExpireTime = &bad }), "InvalidParameterValue")
			}
			c.rule(lb, l, "example.com", "/", func(r *api.RuleInput) { r.SessionExpireTime = new(int64(86400)) })
		}},
		{name: "IP_HASH schedules rules, too", source: create + ", RuleInput.Scheduler", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/", func(r *api.RuleInput) { r.Scheduler = new("IP_HASH") })
			if got := *c.rules(lb, l)["example.com/"].Scheduler; got != "IP_HASH" {
				t.Errorf("got %s", got)
			}
		}},
		{name: "a rule of an HTTP listener forwards by HTTP", source: modify + ", ForwardType", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.ruling(lb, l, "example.com", "/", func(r *api.RuleInput) { r.ForwardType = new("HTTPS") }), "InvalidParameterValue")
		}},
		{name: "layer-4 listeners have no rules", source: create, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			if code(c.ruling(lb, c.listener(lb, "TCP", 80), "example.com", "/")) == "" {
				t.Error("it was made")
			}
		}},
		{name: "one bad rule fails them all", source: create, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			q := api.NewCreateRuleRequest()
			q.LoadBalancerId, q.ListenerId = &lb, &l
			q.Rules = []*api.RuleInput{{Domain: new("example.com"), Url: new("/")}, {Domain: new("example.com"), Url: new("bad")}}
			if _, err := try(c, c.CreateRule, q); code(err) == "" {
				t.Error("it was accepted")
			}
			if all := keys(c.rules(lb, l)); len(all) > 0 {
				t.Errorf("got %v", all)
			}
		}},
		{name: "the quota of rules is kept", source: "CLB, Use limits (214/6187)", needs: rig, options: []func(*clb.Options){few}, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/a")
			c.rule(lb, l, "example.com", "/b")
			refused(t, c.ruling(lb, l, "example.com", "/c"), "LimitExceeded")
		}},
		{name: "a rule's path and check are changed", source: modify, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			r := c.rule(lb, l, "example.com", "/")
			q := api.NewModifyRuleRequest()
			q.LoadBalancerId, q.ListenerId, q.LocationId, q.Url = &lb, &l, &r, new("/new")
			q.HealthCheck = &api.HealthCheck{HttpCheckPath: new("/ready"), HttpCode: new(int64(2))}
			do(c, c.ModifyRule, q)
			got := c.rules(lb, l)["example.com/new"]
			if got == nil || *got.LocationId != r || *got.HealthCheck.HttpCheckPath != "/ready" || *got.HealthCheck.HttpCode != 2 {
				t.Errorf("got %+v", got)
			}
		}},
		{name: "a rule there isn't can't be changed", source: modify + ", error codes", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			q := api.NewModifyRuleRequest()
			q.LoadBalancerId, q.ListenerId, q.LocationId, q.Url = &lb, &l, new("loc-12345678"), new("/new")
			_, err := try(c, c.ModifyRule, q)
			refused(t, err, "InvalidParameter.LocationNotFound")
		}},
		{name: "rules are deleted by location", source: remove + ", LocationIds", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a := c.rule(lb, l, "example.com", "/a")
			c.rule(lb, l, "example.com", "/b")
			if err := c.forgetting(lb, l, func(q *api.DeleteRuleRequest) { q.LocationIds = []*string{&a} }); err != nil {
				t.Fatal(err)
			}
			if got := keys(c.rules(lb, l)); !slices.Equal(got, []string{"example.com/b"}) {
				t.Errorf("got %v", got)
			}
		}},
		{name: "by domain and path", source: remove + ", Domain and Url", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/a")
			c.rule(lb, l, "example.com", "/b")
			if err := c.forgetting(lb, l, func(q *api.DeleteRuleRequest) { q.Domain, q.Url = new("example.com"), new("/a") }); err != nil {
				t.Fatal(err)
			}
			if got := keys(c.rules(lb, l)); !slices.Equal(got, []string{"example.com/b"}) {
				t.Errorf("got %v", got)
			}
		}},
		{name: "and all of a domain by domain alone", source: remove + ", Domain", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "kept.example.com", "/")
			c.rule(lb, l, "example.com", "/a")
			c.rule(lb, l, "example.com", "/b")
			if err := c.forgetting(lb, l, func(q *api.DeleteRuleRequest) { q.Domain = new("example.com") }); err != nil {
				t.Fatal(err)
			}
			if got := keys(c.rules(lb, l)); !slices.Equal(got, []string{"kept.example.com/"}) {
				t.Errorf("got %v", got)
			}
		}},
		{name: "deleting a rule that isn't there is refused", source: remove + ", error codes", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.forgetting(lb, l, func(q *api.DeleteRuleRequest) { q.LocationIds = []*string{new("loc-12345678")} }), "InvalidParameter.LocationNotFound")
		}},
		{name: "rules have to be named", source: remove, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			refused(t, c.forgetting(lb, l, func(*api.DeleteRuleRequest) {}), "MissingParameter")
		}},
		{name: "the first domain is the default", source: create + ", RuleInput.DefaultServer", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "a.example.com", "/")
			c.rule(lb, l, "b.example.com", "/")
			all := c.rules(lb, l)
			if !*all["a.example.com/"].DefaultServer || *all["b.example.com/"].DefaultServer {
				t.Error("the second is, or the first isn't")
			}
		}},
		{name: "another can be made the default", source: "CLB API ModifyDomainAttributes, DefaultServer", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "a.example.com", "/")
			c.rule(lb, l, "b.example.com", "/")
			q := api.NewModifyDomainAttributesRequest()
			q.LoadBalancerId, q.ListenerId, q.Domain, q.DefaultServer = &lb, &l, new("b.example.com"), new(true)
			do(c, c.ModifyDomainAttributes, q)
			all := c.rules(lb, l)
			if *all["a.example.com/"].DefaultServer || !*all["b.example.com/"].DefaultServer {
				t.Error("the first still is, or the second isn't")
			}
		}},
		{name: "a domain is renamed with all its rules", source: "CLB API ModifyDomain", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "a.example.com", "/x")
			c.rule(lb, l, "a.example.com", "/y")
			q := api.NewModifyDomainRequest()
			q.LoadBalancerId, q.ListenerId, q.Domain, q.NewDomain = &lb, &l, new("a.example.com"), new("b.example.com")
			do(c, c.ModifyDomain, q)
			if got := keys(c.rules(lb, l)); !slices.Equal(got, []string{"b.example.com/x", "b.example.com/y"}) {
				t.Errorf("got %v", got)
			}
		}},
		{name: "HTTP 2 is for HTTPS", source: "CLB API ModifyDomainAttributes, Http2", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "a.example.com", "/")
			q := api.NewModifyDomainAttributesRequest()
			q.LoadBalancerId, q.ListenerId, q.Domain, q.Http2 = &lb, &l, new("a.example.com"), new(true)
			if _, err := try(c, c.ModifyDomainAttributes, q); code(err) == "" {
				t.Error("it was turned on")
			}
		}},
	})
}

// redirect is a manual one.
func (c *cloud) redirect(lb, from, source, to, target string, set ...func(*api.ManualRewriteRequest)) error {
	c.t.Helper()
	q := api.NewManualRewriteRequest()
	q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId = &lb, &from, &to
	q.RewriteInfos = []*api.RewriteLocationMap{{SourceLocationId: &source, TargetLocationId: &target}}
	for _, f := range set {
		f(q)
	}
	a, err := try(c, c.ManualRewrite, q)
	if err == nil {
		c.ended(*a.Response.RequestId)
	}
	return err
}

func TestCLBRedirects(t *testing.T) {
	const manual = "CLB API ManualRewrite"
	hold(t, "CLB redirects", []fact{
		{name: "a rule redirects to another", source: manual, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b := c.rule(lb, l, "a.example.com", "/"), c.rule(lb, l, "b.example.com", "/")
			if err := c.redirect(lb, l, a, l, b); err != nil {
				t.Fatal(err)
			}
			if to := c.rules(lb, l)["a.example.com/"].RewriteTarget; to == nil || *to.TargetLocationId != b {
				t.Errorf("got %+v", to)
			}
		}},
		{name: "to one only", source: manual + ": if A redirects to B, A can't redirect to C", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b, d := c.rule(lb, l, "a.example.com", "/"), c.rule(lb, l, "b.example.com", "/"), c.rule(lb, l, "d.example.com", "/")
			if err := c.redirect(lb, l, a, l, b); err != nil {
				t.Fatal(err)
			}
			refused(t, c.redirect(lb, l, a, l, d), "InvalidParameter.RewriteAlreadyExist")
		}},
		{name: "and that redirects no further", source: manual + ": B can't redirect to anything", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b, d := c.rule(lb, l, "a.example.com", "/"), c.rule(lb, l, "b.example.com", "/"), c.rule(lb, l, "d.example.com", "/")
			if err := c.redirect(lb, l, a, l, b); err != nil {
				t.Fatal(err)
			}
			refused(t, c.redirect(lb, l, b, l, d), "InvalidParameter.RewriteAlreadyExist")
		}},
		{name: "the codes are 301, 302 and 307", source: manual + ", RewriteCodes", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b := c.rule(lb, l, "a.example.com", "/"), c.rule(lb, l, "b.example.com", "/")
			coded := func(n int64) func(*api.ManualRewriteRequest) {
				return func(q *api.ManualRewriteRequest) {
					q.RewriteInfos[0].RewriteCode, q.RewriteInfos[0].TakeUrl, q.RewriteInfos[0].SourceDomain = &n, new(true), new("a.example.com")
				}
			}
			if code(c.redirect(lb, l, a, l, b, coded(308))) == "" {
				t.Error("308 was taken")
			}
			if err := c.redirect(lb, l, a, l, b, coded(307)); err != nil {
				t.Error(err)
			}
		}},
		{name: "a redirect ends and its rule stays", source: "CLB API DeleteRewrite", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b := c.rule(lb, l, "a.example.com", "/"), c.rule(lb, l, "b.example.com", "/")
			if err := c.redirect(lb, l, a, l, b); err != nil {
				t.Fatal(err)
			}
			q := api.NewDeleteRewriteRequest()
			q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId = &lb, &l, &l
			q.RewriteInfos = []*api.RewriteLocationMap{{SourceLocationId: &a, TargetLocationId: &b}}
			do(c, c.DeleteRewrite, q)
			if to := c.rules(lb, l)["a.example.com/"].RewriteTarget; to != nil && to.TargetLocationId != nil {
				t.Errorf("got %+v", to)
			}
			_, err := try(c, c.DeleteRewrite, q)
			refused(t, err, "InvalidParameter.SomeRewriteNotFound")
		}},
		{name: "an automatic one makes the HTTP listener", source: "CLB API AutoRewrite", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.secure()
			c.rule(lb, l, "a.example.com", "/")
			q := api.NewAutoRewriteRequest()
			q.LoadBalancerId, q.ListenerId = &lb, &l
			do(c, c.AutoRewrite, q)
			var http string
			for _, o := range c.listeners(lb) {
				if *o.Protocol == "HTTP" && *o.Port == 80 {
					http = *o.ListenerId
				}
			}
			if r := c.rules(lb, http)["a.example.com/"]; r == nil || r.RewriteTarget == nil || *r.RewriteTarget.TargetListenerId != l {
				t.Errorf("got %+v", r)
			}
		}},
		{name: "DescribeRewrite lists them", source: "CLB API DescribeRewrite", check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b := c.rule(lb, l, "a.example.com", "/"), c.rule(lb, l, "b.example.com", "/")
			if err := c.redirect(lb, l, a, l, b); err != nil {
				t.Fatal(err)
			}
			q := api.NewDescribeRewriteRequest()
			q.LoadBalancerId = &lb
			out, err := try(c, c.DescribeRewrite, q)
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(out.Response.RewriteSet, func(r *api.RuleOutput) bool { return *r.LocationId == a })
			if !found {
				t.Errorf("got %d", len(out.Response.RewriteSet))
			}
		}},
	})
}
