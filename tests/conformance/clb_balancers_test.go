package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// balancers lists load balancers.
func (c *cloud) balancers(set func(*api.DescribeLoadBalancersRequest)) *api.DescribeLoadBalancersResponseParams {
	c.t.Helper()
	q := api.NewDescribeLoadBalancersRequest()
	set(q)
	a, err := try(c, c.DescribeLoadBalancers, q)
	if err != nil {
		c.t.Fatal(err)
	}
	return a.Response
}

// instance is the description of one load balancer.
func (c *cloud) instance(id string) *api.LoadBalancer {
	c.t.Helper()
	a := c.balancers(func(q *api.DescribeLoadBalancersRequest) { q.LoadBalancerIds = []*string{&id} })
	if len(a.LoadBalancerSet) != 1 {
		c.t.Fatalf("want load balancer %s, got %d", id, len(a.LoadBalancerSet))
	}
	return a.LoadBalancerSet[0]
}

// creating is a creation that is expected to be refused.
func (c *cloud) creating(set func(*api.CreateLoadBalancerRequest)) error {
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType, q.VpcId = new("OPEN"), new(c.vpc())
	set(q)
	a, err := try(c, c.CreateLoadBalancer, q)
	if err == nil && a.Response != nil {
		for _, id := range a.Response.LoadBalancerIds {
			c.t.Cleanup(func() { c.remove(*id) })
		}
	}
	return err
}

// few are quotas that a test can use up.
func few(o *clb.Options) {
	o.Quotas = &clb.Quotas{OpenCLBs: 2, InternalCLBs: 1, Listeners: 2, Rules: 2, Targets: 3, Deletions: 2}
}

func ids(all []*api.LoadBalancer) []string {
	var out []string
	for _, lb := range all {
		out = append(out, *lb.LoadBalancerId)
	}
	return out
}

func named(name, value string) func(*api.CreateLoadBalancerRequest) {
	return func(q *api.CreateLoadBalancerRequest) {
		q.Tags = append(q.Tags, &api.TagInfo{TagKey: &name, TagValue: &value})
	}
}

func filter(name string, values ...string) []*api.Filter {
	f := &api.Filter{Name: &name}
	for _, v := range values {
		f.Values = append(f.Values, &v)
	}
	return []*api.Filter{f}
}

func TestCLBLoadBalancers(t *testing.T) {
	const create, describe, remove = "CLB API CreateLoadBalancer", "CLB API DescribeLoadBalancers", "CLB API DeleteLoadBalancer"
	hold(t, "CLB load balancers", []fact{
		{name: "one that is created gets an address and becomes normal", source: create + "; LoadBalancer.Status", check: func(t *testing.T, c *cloud) {
			lb := c.instance(c.balancer())
			if *lb.Status != 1 || len(lb.LoadBalancerVips) != 1 || *lb.LoadBalancerVips[0] == "" {
				t.Errorf("got %+v", lb)
			}
		}},
		{name: "it is described as it was asked for", source: describe, check: func(t *testing.T, c *cloud) {
			lb := c.instance(c.balancer())
			if *lb.LoadBalancerName != tag || *lb.LoadBalancerType != "OPEN" || *lb.VpcId != c.vpc() || *lb.Forward != 1 {
				t.Errorf("got %+v", lb)
			}
		}},
		{name: "the type is required", source: create + ", LoadBalancerType", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerType = nil }), "MissingParameter")
		}},
		{name: "there are two types", source: create + ", LoadBalancerType", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerType = new("HALF") }), "InvalidParameterValue")
		}},
		{name: "an internal one needs a subnet", source: create + ", SubnetId", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerType = new("INTERNAL") }), "MissingParameter")
		}},
		{name: "at most 20 are created by a call", source: create + ", Number", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) { q.Number = new(uint64(21)) }), "InvalidParameterValue.Range")
		}},
		{name: "a name has at most 80 characters", source: create + ", LoadBalancerName", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerName = new(strings.Repeat("n", 81)) }), "InvalidParameterValue.Length")
		}},
		{name: "the same ClientToken creates no second one", source: create + ", ClientToken", check: func(t *testing.T, c *cloud) {
			token := func(q *api.CreateLoadBalancerRequest) { q.ClientToken = new("token-" + tag) }
			if a, b := c.balancer(token), c.balancer(token); a != b {
				t.Errorf("want one, got %s and %s", a, b)
			}
		}},
		{name: "a ClientToken has at most 64 characters", source: create + ", ClientToken", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) { q.ClientToken = new(strings.Repeat("t", 65)) }), "InvalidParameterValue.Length")
		}},
		{name: "tags are kept", source: create + ", Tags", check: func(t *testing.T, c *cloud) {
			lb := c.instance(c.balancer(named("owner", "conformance")))
			if !slices.ContainsFunc(lb.Tags, func(g *api.TagInfo) bool { return *g.TagKey == "owner" && *g.TagValue == "conformance" }) {
				t.Errorf("got %d tags", len(lb.Tags))
			}
		}},
		{name: "at most 20 tags are taken", source: create + ", Tags", check: func(t *testing.T, c *cloud) {
			refused(t, c.creating(func(q *api.CreateLoadBalancerRequest) {
				for i := range 21 {
					named(strings.Repeat("k", i+1), "v")(q)
				}
			}), "InvalidParameterValue.Length")
		}},
		{name: "a filter by tag finds those with the value", source: describe + ", Filters tag:", check: func(t *testing.T, c *cloud) {
			mark := *c.instance(c.balancer()).LoadBalancerId
			lb := c.balancer(named("mark", mark))
			a := c.balancers(func(q *api.DescribeLoadBalancersRequest) { q.Filters = filter("tag:mark", mark) })
			if got := ids(a.LoadBalancerSet); !slices.Equal(got, []string{lb}) {
				t.Errorf("want %s, got %v", lb, got)
			}
		}},
		{name: "a filter there isn't is refused", source: describe + ", error codes", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeLoadBalancersRequest()
			q.Filters = filter("colour", "red")
			_, err := try(c, c.DescribeLoadBalancers, q)
			refused(t, err, "InvalidParameterValue.InvalidFilter")
		}},
		{name: "at most 20 are asked for by id", source: describe + ", LoadBalancerIds", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeLoadBalancersRequest()
			for range 21 {
				q.LoadBalancerIds = append(q.LoadBalancerIds, new("lb-12345678"))
			}
			_, err := try(c, c.DescribeLoadBalancers, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "a page has at most 100", source: describe + ", Limit", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeLoadBalancersRequest()
			q.Limit = new(int64(101))
			_, err := try(c, c.DescribeLoadBalancers, q)
			refused(t, err, "InvalidParameterValue.Range")
		}},
		{name: "pages follow one another and the total counts all", source: describe + ", Limit, Offset and TotalCount", check: func(t *testing.T, c *cloud) {
			mark := c.balancer()
			want := []string{c.balancer(named("mark", mark)), c.balancer(named("mark", mark)), c.balancer(named("mark", mark))}
			var got []string
			for offset := range int64(3) {
				a := c.balancers(func(q *api.DescribeLoadBalancersRequest) {
					q.Filters, q.Limit, q.Offset = filter("tag:mark", mark), new(int64(1)), &offset
				})
				if *a.TotalCount != 3 || len(a.LoadBalancerSet) != 1 {
					t.Fatalf("want one of 3, got %d of %d", len(a.LoadBalancerSet), *a.TotalCount)
				}
				got = append(got, ids(a.LoadBalancerSet)...)
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("want %v, got %v", want, got)
			}
		}},
		{name: "one that isn't there is not described", source: describe + ", LoadBalancerIds", check: func(t *testing.T, c *cloud) {
			a := c.balancers(func(q *api.DescribeLoadBalancersRequest) { q.LoadBalancerIds = []*string{new("lb-12345678")} })
			if *a.TotalCount != 0 {
				t.Errorf("got %d", *a.TotalCount)
			}
		}},
		{name: "deleting takes it away by a task", source: remove, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewDeleteLoadBalancerRequest()
			q.LoadBalancerIds = []*string{&lb}
			do(c, c.DeleteLoadBalancer, q)
			if a := c.balancers(func(q *api.DescribeLoadBalancersRequest) { q.LoadBalancerIds = []*string{&lb} }); *a.TotalCount != 0 {
				t.Error("it is still there")
			}
		}},
		{name: "deleting one that isn't there is refused", source: remove + ", error codes", check: func(t *testing.T, c *cloud) {
			q := api.NewDeleteLoadBalancerRequest()
			q.LoadBalancerIds = []*string{new("lb-12345678")}
			_, err := try(c, c.DeleteLoadBalancer, q)
			refused(t, err, "InvalidParameter.LBIdNotFound")
		}},
		{name: "at most 20 are deleted by a call", source: remove + ", LoadBalancerIds", check: func(t *testing.T, c *cloud) {
			q := api.NewDeleteLoadBalancerRequest()
			for range 21 {
				q.LoadBalancerIds = append(q.LoadBalancerIds, new("lb-12345678"))
			}
			_, err := try(c, c.DeleteLoadBalancer, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "one that is protected isn't deleted, by force neither", source: "CLB API ModifyLoadBalancerAttributes, DeleteProtect", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			protect := func(on bool) {
				q := api.NewModifyLoadBalancerAttributesRequest()
				q.LoadBalancerId, q.DeleteProtect = &lb, &on
				if _, err := try(c, c.ModifyLoadBalancerAttributes, q); err != nil {
					t.Fatal(err)
				}
			}
			protect(true)
			if !slices.ContainsFunc(c.instance(lb).AttributeFlags, func(f *string) bool { return *f == "DeleteProtect" }) {
				t.Error("it isn't said to be protected")
			}
			q := api.NewDeleteLoadBalancerRequest()
			q.LoadBalancerIds, q.ForceDelete = []*string{&lb}, new(true)
			if _, err := try(c, c.DeleteLoadBalancer, q); code(err) == "" {
				t.Error("it was deleted")
			}
			protect(false)
			do(c, c.DeleteLoadBalancer, q)
		}},
		{name: "its name is changed at once", source: "CLB API ModifyLoadBalancerAttributes, LoadBalancerName", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewModifyLoadBalancerAttributesRequest()
			q.LoadBalancerId, q.LoadBalancerName = &lb, new(tag+"-new")
			if _, err := try(c, c.ModifyLoadBalancerAttributes, q); err != nil {
				t.Fatal(err)
			}
			if got := *c.instance(lb).LoadBalancerName; got != tag+"-new" {
				t.Errorf("got %s", got)
			}
		}},
		{name: "security groups are replaced, and none given are none left", source: "CLB API SetLoadBalancerSecurityGroups", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			set := func(groups ...string) []*string {
				q := api.NewSetLoadBalancerSecurityGroupsRequest()
				q.LoadBalancerId = &lb
				for _, g := range groups {
					q.SecurityGroups = append(q.SecurityGroups, &g)
				}
				if _, err := try(c, c.SetLoadBalancerSecurityGroups, q); err != nil {
					t.Fatal(err)
				}
				return c.instance(lb).SecureGroups
			}
			set("sg-a")
			if got := set("sg-b", "sg-c"); len(got) != 2 || *got[0] != "sg-b" {
				t.Errorf("got %d", len(got))
			}
			if got := set(); len(got) > 0 {
				t.Errorf("%d are left", len(got))
			}
		}},
		{name: "at most 50 security groups are taken", source: "CLB API SetLoadBalancerSecurityGroups, SecurityGroups", check: func(t *testing.T, c *cloud) {
			q := api.NewSetLoadBalancerSecurityGroupsRequest()
			q.LoadBalancerId = new(c.balancer())
			for range 51 {
				q.SecurityGroups = append(q.SecurityGroups, new("sg-12345678"))
			}
			_, err := try(c, c.SetLoadBalancerSecurityGroups, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "20 targets are a risk that only force takes", source: remove + ", ForceDelete", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.bind(lb, c.listener(lb, "TCP", 80), "", c.unused(20)...)
			q := api.NewDeleteLoadBalancerRequest()
			q.LoadBalancerIds = []*string{&lb}
			_, err := try(c, c.DeleteLoadBalancer, q)
			refused(t, err, "FailedOperation.TargetNumCheckRisk")
			q.ForceDelete = new(true)
			do(c, c.DeleteLoadBalancer, q)
		}},
		{name: "too many deletions in five minutes are a risk", source: remove + ", ForceDelete", needs: rig, options: []func(*clb.Options){few}, check: func(t *testing.T, c *cloud) {
			q := api.NewDeleteLoadBalancerRequest()
			for range 2 {
				q.LoadBalancerIds = []*string{new(c.balancer())}
				do(c, c.DeleteLoadBalancer, q)
			}
			q.LoadBalancerIds = []*string{new(c.balancer())}
			_, err := try(c, c.DeleteLoadBalancer, q)
			refused(t, err, "FailedOperation.FrequencyCheckRisk")
		}},
		{name: "the quota of instances is kept", source: "CLB, Use limits (214/6187)", needs: rig, options: []func(*clb.Options){few}, check: func(t *testing.T, c *cloud) {
			c.balancer()
			c.balancer()
			refused(t, c.creating(func(*api.CreateLoadBalancerRequest) {}), "LimitExceeded")
		}},
		{name: "DescribeQuota tells quotas and what of them is used", source: "CLB API DescribeQuota", check: func(t *testing.T, c *cloud) {
			c.balancer()
			a, err := try(c, c.DescribeQuota, api.NewDescribeQuotaRequest())
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, q := range a.Response.QuotaSet {
				seen[*q.QuotaId] = true
				if *q.QuotaLimit <= 0 || *q.QuotaId == "TOTAL_OPEN_CLB_QUOTA" && (q.QuotaCurrent == nil || *q.QuotaCurrent < 1) {
					t.Errorf("got %+v", q)
				}
			}
			for _, id := range []string{"TOTAL_OPEN_CLB_QUOTA", "TOTAL_INTERNAL_CLB_QUOTA", "TOTAL_LISTENER_QUOTA", "TOTAL_LISTENER_RULE_QUOTA", "TOTAL_TARGET_BIND_QUOTA"} {
				if !seen[id] {
					t.Errorf("%s is missing", id)
				}
			}
		}},
	})
}

func TestCLBProtocol(t *testing.T) {
	const source = "API 3.0, common error codes"
	hold(t, "CLB protocol", []fact{
		{name: "who isn't known is refused", source: source, check: func(t *testing.T, c *cloud) {
			_, err := c.client("AKIDnobody", "key", "").DescribeQuota(api.NewDescribeQuotaRequest())
			refused(t, err, "AuthFailure.SecretIdNotFound")
		}},
		{name: "another key is refused", source: source, needs: rig, check: func(t *testing.T, c *cloud) {
			_, err := c.client("id", "another", "").DescribeQuota(api.NewDescribeQuotaRequest())
			refused(t, err, "AuthFailure.SignatureFailure")
		}},
		{name: "a clock five minutes off is refused", source: source + ", AuthFailure.SignatureExpire", needs: rig, options: []func(*clb.Options){func(o *clb.Options) {
			o.Now = func() time.Time { return time.Now().Add(6 * time.Minute) }
		}}, check: func(t *testing.T, c *cloud) {
			_, err := c.DescribeQuota(api.NewDescribeQuotaRequest())
			refused(t, err, "AuthFailure.SignatureExpire")
		}},
		{name: "a clock four minutes off is not", source: source + ", AuthFailure.SignatureExpire", needs: rig, options: []func(*clb.Options){func(o *clb.Options) {
			o.Now = func() time.Time { return time.Now().Add(4 * time.Minute) }
		}}, check: func(t *testing.T, c *cloud) {
			if _, err := c.DescribeQuota(api.NewDescribeQuotaRequest()); err != nil {
				t.Error(err)
			}
		}},
		{name: "an action there isn't is refused", source: source, needs: rig, check: func(t *testing.T, c *cloud) {
			_, err := c.DescribeTargetGroups(api.NewDescribeTargetGroupsRequest())
			refused(t, err, "InvalidAction")
		}},
		{name: "a parameter that is missing is named", source: source, check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeListenersRequest()
			_, err := c.DescribeListeners(q)
			refused(t, err, "MissingParameter")
			if !strings.Contains(message(err), "LoadBalancerId") {
				t.Errorf("got %q", message(err))
			}
		}},
		{name: "every answer has a request id", source: "API 3.0, responses", check: func(t *testing.T, c *cloud) {
			a, err := c.DescribeQuota(api.NewDescribeQuotaRequest())
			if err != nil || *a.Response.RequestId == "" {
				t.Errorf("got %+v, %v", a, err)
			}
		}},
		{name: "more than 20 calls of an action in a second are limited", source: "CLB API, rate limit", needs: rig, check: func(t *testing.T, c *cloud) {
			limited := 0
			for range 60 {
				if _, err := c.DescribeQuota(api.NewDescribeQuotaRequest()); code(err) == "RequestLimitExceeded" {
					limited++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if limited == 0 {
				t.Error("60 calls at once were all answered")
			}
		}},
		{name: "another action has a limit of its own", source: "API 3.0, request frequency limit: by action, region and account", needs: rig, check: func(t *testing.T, c *cloud) {
			for range 60 {
				_, _ = c.DescribeQuota(api.NewDescribeQuotaRequest())
			}
			if _, err := c.DescribeLoadBalancers(api.NewDescribeLoadBalancersRequest()); err != nil {
				t.Error(err)
			}
		}},
	})
}
