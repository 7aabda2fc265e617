package clb

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func tag(key, value string) *api.TagInfo { return &api.TagInfo{TagKey: &key, TagValue: &value} }

func TestCreateLoadBalancerRefuses(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Quotas = &Quotas{OpenCLBs: 2} })
	cases := map[string]struct {
		reason string
		set    func(*api.CreateLoadBalancerRequest)
		want   string
	}{
		"NoType":        {"LoadBalancerType is required", func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerType = nil }, "MissingParameter"},
		"OtherType":     {"there are two types", func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerType = common.StringPtr("open") }, "InvalidParameterValue"},
		"InternalNoVpc": {"INTERNAL needs VpcId", func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerType = common.StringPtr("INTERNAL") }, "MissingParameter"},
		"InternalNoSubnet": {"INTERNAL needs SubnetId", func(q *api.CreateLoadBalancerRequest) {
			q.LoadBalancerType, q.VpcId = common.StringPtr("INTERNAL"), common.StringPtr("vpc-1")
		}, "MissingParameter"},
		"TooMany":            {"Number is at most 20", func(q *api.CreateLoadBalancerRequest) { q.Number = common.Uint64Ptr(21) }, "InvalidParameterValue.Range"},
		"None":               {"Number is at least 1", func(q *api.CreateLoadBalancerRequest) { q.Number = common.Uint64Ptr(0) }, "InvalidParameterValue.Range"},
		"OverQuota":          {"the quota counts what is asked for", func(q *api.CreateLoadBalancerRequest) { q.Number = common.Uint64Ptr(3) }, "LimitExceeded"},
		"LongToken":          {"ClientToken is at most 64 characters", func(q *api.CreateLoadBalancerRequest) { q.ClientToken = common.StringPtr(strings.Repeat("x", 65)) }, "InvalidParameterValue.Length"},
		"TokenNotASCII":      {"ClientToken is ASCII", func(q *api.CreateLoadBalancerRequest) { q.ClientToken = common.StringPtr("é") }, "InvalidParameterValue.Length"},
		"LongName":           {"names are at most 80 characters", func(q *api.CreateLoadBalancerRequest) { q.LoadBalancerName = common.StringPtr(strings.Repeat("x", 81)) }, "InvalidParameterValue.Length"},
		"TagWithoutKey":      {"a tag needs its key", func(q *api.CreateLoadBalancerRequest) { q.Tags = []*api.TagInfo{tag("", "v")} }, "MissingParameter"},
		"TagTwice":           {"keys are unique", func(q *api.CreateLoadBalancerRequest) { q.Tags = []*api.TagInfo{tag("k", "v"), tag("k", "w")} }, "InvalidParameterValue"},
		"IPv6":               {"what isn't emulated says so", func(q *api.CreateLoadBalancerRequest) { q.AddressIPVersion = common.StringPtr("IPv6FullChain") }, "UnsupportedOperation"},
		"VipOutsideOfSubnet": {"a chosen Vip must belong to the pool", func(q *api.CreateLoadBalancerRequest) { q.Vip = common.StringPtr("127.1.2.3") }, "InvalidParameterValue"},
		"TooManyTags": {"20 tags at most", func(q *api.CreateLoadBalancerRequest) {
			for i := range 21 {
				q.Tags = append(q.Tags, tag(fmt.Sprint(i), ""))
			}
		}, "InvalidParameterValue.Length"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := api.NewCreateLoadBalancerRequest()
			q.LoadBalancerType = common.StringPtr("OPEN")
			tc.set(q)
			_, err := r.client.CreateLoadBalancer(q)
			if diff := cmp.Diff(tc.want, code(err)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
	if left := r.LoadBalancers(); len(left) != 0 {
		t.Errorf("refused requests left %v", left)
	}
}

func TestCreateLoadBalancerTakesTime(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Latencies = &Latencies{Create: 400 * time.Millisecond} })
	q := api.NewCreateLoadBalancerRequest()
	q.LoadBalancerType, q.VpcId, q.SubnetId = common.StringPtr("INTERNAL"), common.StringPtr("vpc-1"), common.StringPtr("subnet-1")
	q.LoadBalancerName = common.StringPtr("mine")
	answer := must[*api.CreateLoadBalancerResponse](t)(r.client.CreateLoadBalancer(q)).Response

	early := r.describe(func(q *api.DescribeLoadBalancersRequest) {})
	if len(early) != 1 || *early[0].Status != 0 || len(early[0].LoadBalancerVips) != 0 {
		t.Errorf("while it is created, Status is 0 and there is no VIP: %+v", early)
	}
	lq := api.NewCreateListenerRequest()
	lq.LoadBalancerId, lq.Protocol, lq.Ports = answer.LoadBalancerIds[0], common.StringPtr("TCP"), common.Int64Ptrs([]int64{80})
	_, err := r.client.CreateListener(lq)
	if diff := cmp.Diff("FailedOperation.ResourceInOperating", code(err)); diff != "" {
		t.Errorf("a write while it is created: -want +got:\n%s", diff)
	}

	r.done(answer.RequestId)
	late := r.describe(func(q *api.DescribeLoadBalancersRequest) { q.LoadBalancerIds = answer.LoadBalancerIds })
	if len(late) != 1 || *late[0].Status != 1 || len(late[0].LoadBalancerVips) != 1 {
		t.Fatalf("afterwards Status is 1 and there is a VIP: %+v", late)
	}
	if vip := netip.MustParseAddr(*late[0].LoadBalancerVips[0]); !netip.MustParsePrefix("127.201.0.0/16").Contains(vip) {
		t.Errorf("an internal VIP is not from the internal pool: %s", vip)
	}
	if diff := cmp.Diff([]string{"mine", "INTERNAL", "vpc-1", "subnet-1"}, []string{*late[0].LoadBalancerName, *late[0].LoadBalancerType, *late[0].VpcId, *late[0].SubnetId}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	tq := api.NewDescribeTaskStatusRequest()
	tq.DealName = answer.DealName
	byDeal := must[*api.DescribeTaskStatusResponse](t)(r.client.DescribeTaskStatus(tq)).Response
	if *byDeal.Status != 0 || *byDeal.LoadBalancerIds[0] != *answer.LoadBalancerIds[0] {
		t.Errorf("the deal name stands for the task: %+v", byDeal)
	}
}

func TestClientToken(t *testing.T) {
	r := newRig(t)
	ask := func(token, name string) (string, string) {
		q := api.NewCreateLoadBalancerRequest()
		q.LoadBalancerType, q.ClientToken, q.LoadBalancerName = common.StringPtr("OPEN"), &token, &name
		answer, err := r.client.CreateLoadBalancer(q)
		if err != nil {
			return "", code(err)
		}
		if got := r.done(answer.Response.RequestId); got != 0 {
			return "", fmt.Sprintf("task status %d", got)
		}
		return *answer.Response.LoadBalancerIds[0], ""
	}
	first, err1 := ask("a", "x")
	again, err2 := ask("a", "x")
	other, err3 := ask("b", "x")
	_, err4 := ask("a", "y")
	if first != again || first == other || err1+err2+err3 != "" {
		t.Errorf("one token is one instance: %s %s %s (%s%s%s)", first, again, other, err1, err2, err3)
	}
	if diff := cmp.Diff("InvalidParameter", err4); diff != "" {
		t.Errorf("a token with other parameters: -want +got:\n%s", diff)
	}
	if n := len(r.LoadBalancers()); n != 2 {
		t.Errorf("%d instances, want 2", n)
	}

	remove := r.Intercept(func(_ context.Context, _ Call) *Fault { return &Fault{FailTask: "sold out"} })
	_, failed := ask("c", "x")
	remove()
	_, err5 := ask("c", "x")
	if diff := cmp.Diff([]string{"task status 1", "InvalidParameter.ClientTokenLimitExceeded"}, []string{failed, err5}); diff != "" {
		t.Errorf("the token of a failed order is used up: -want +got:\n%s", diff)
	}
	if n := len(r.LoadBalancers()); n != 2 {
		t.Errorf("%d instances after a failed one, want 2", n)
	}
}

func (r *rig) describe(set func(*api.DescribeLoadBalancersRequest)) []*api.LoadBalancer {
	r.t.Helper()
	q := api.NewDescribeLoadBalancersRequest()
	set(q)
	return must[*api.DescribeLoadBalancersResponse](r.t)(r.client.DescribeLoadBalancers(q)).Response.LoadBalancerSet
}

func TestDescribeLoadBalancers(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	a := r.instance(func(q *api.CreateLoadBalancerRequest) {
		q.LoadBalancerName, q.Tags = common.StringPtr("alpha"), []*api.TagInfo{tag("owner", "one"), tag("cluster", "c")}
	})
	b := r.instance(func(q *api.CreateLoadBalancerRequest) {
		q.LoadBalancerName, q.Tags = common.StringPtr("beta"), []*api.TagInfo{tag("owner", "two"), tag("cluster", "c")}
	})
	c := r.instance(func(q *api.CreateLoadBalancerRequest) {
		q.LoadBalancerType, q.VpcId, q.SubnetId = common.StringPtr("INTERNAL"), common.StringPtr("vpc-1"), common.StringPtr("subnet-1")
	})
	l := r.listener(b, "TCP", 8080)
	r.bind(b, batchTarget(l, addr("127.77.3.1:80"), 10))
	filter := func(name string, values ...string) *api.Filter {
		return &api.Filter{Name: &name, Values: common.StringPtrs(values)}
	}
	cases := map[string]struct {
		reason string
		set    func(*api.DescribeLoadBalancersRequest)
		want   []string
	}{
		"All":       {"the latest comes first", func(q *api.DescribeLoadBalancersRequest) {}, []string{c, b, a}},
		"Ascending": {"OrderType 0 turns it round", func(q *api.DescribeLoadBalancersRequest) { q.OrderType = common.Int64Ptr(0) }, []string{a, b, c}},
		"ByName": {"other orders", func(q *api.DescribeLoadBalancersRequest) {
			q.OrderBy, q.OrderType, q.LoadBalancerType = common.StringPtr("LoadBalancerName"), common.Int64Ptr(1), common.StringPtr("OPEN")
		}, []string{b, a}},
		"Page":       {"paging", func(q *api.DescribeLoadBalancersRequest) { q.Offset, q.Limit = common.Int64Ptr(1), common.Int64Ptr(1) }, []string{b}},
		"PageBeyond": {"an offset beyond the end is empty", func(q *api.DescribeLoadBalancersRequest) { q.Offset = common.Int64Ptr(9) }, nil},
		"Ids": {"unknown ids are left out", func(q *api.DescribeLoadBalancersRequest) {
			q.LoadBalancerIds = common.StringPtrs([]string{a, "lb-none"})
		}, []string{a}},
		"Name": {"names match in part", func(q *api.DescribeLoadBalancersRequest) { q.LoadBalancerName = common.StringPtr("lph") }, []string{a}},
		"Tag": {"by one tag", func(q *api.DescribeLoadBalancersRequest) {
			q.Filters = []*api.Filter{filter("tag:owner", "one", "three")}
		}, []string{a}},
		"Tags": {"filters must all hold", func(q *api.DescribeLoadBalancersRequest) {
			q.Filters = []*api.Filter{filter("tag:cluster", "c"), filter("tag:owner", "two")}
		}, []string{b}},
		"TagKey":      {"by key", func(q *api.DescribeLoadBalancersRequest) { q.Filters = []*api.Filter{filter("tag-key", "cluster")} }, []string{b, a}},
		"Vpc":         {"by network", func(q *api.DescribeLoadBalancersRequest) { q.VpcId = common.StringPtr("vpc-1") }, []string{c}},
		"WithTargets": {"by having targets", func(q *api.DescribeLoadBalancersRequest) { q.WithRs = common.Int64Ptr(1) }, []string{b}},
		"Vip": {"by address", func(q *api.DescribeLoadBalancersRequest) {
			q.LoadBalancerVips = common.StringPtrs([]string{r.vip(a).String()})
		}, []string{a}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, lb := range r.describe(tc.set) {
				got = append(got, *lb.LoadBalancerId)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}

	counted := r.describe(func(q *api.DescribeLoadBalancersRequest) {
		q.AdditionalFields = common.StringPtrs([]string{"TargetCount"})
	})
	if got := *counted[1].TargetCount; got != 1 {
		t.Errorf("TargetCount is %d, want 1", got)
	}
	created, err := time.ParseInLocation(time.DateTime, *counted[0].CreateTime, time.FixedZone("", 8*60*60))
	if err != nil || created.Before(now.Add(-time.Second)) || created.After(time.Now()) {
		t.Errorf("CreateTime %q is not in UTC+8: %v", *counted[0].CreateTime, err)
	}
	refused := map[string]func(*api.DescribeLoadBalancersRequest){
		"InvalidParameterValue.Range":         func(q *api.DescribeLoadBalancersRequest) { q.Limit = common.Int64Ptr(101) },
		"InvalidParameterValue.Length":        func(q *api.DescribeLoadBalancersRequest) { q.LoadBalancerIds = common.StringPtrs(make([]string, 21)) },
		"InvalidParameterValue.InvalidFilter": func(q *api.DescribeLoadBalancersRequest) { q.Filters = []*api.Filter{filter("colour", "red")} },
	}
	for want, set := range refused {
		q := api.NewDescribeLoadBalancersRequest()
		set(q)
		_, err := r.client.DescribeLoadBalancers(q)
		if diff := cmp.Diff(want, code(err)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestDeleteLoadBalancer(t *testing.T) {
	r := newRig(t, func(o *Options) { q := DefaultQuotas(); q.Deletions = 2; o.Quotas = &q })
	a, b, c := r.instance(), r.instance(), r.instance()
	l := r.listener(a, "TCP", 8080)
	var targets []*api.BatchTarget
	for i := range 20 {
		targets = append(targets, batchTarget(l, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, 4, byte(i + 1)}), 80), 10))
	}
	r.bind(a, targets...)
	remove := func(force bool, ids ...string) string {
		q := api.NewDeleteLoadBalancerRequest()
		q.LoadBalancerIds, q.ForceDelete = common.StringPtrs(ids), &force
		answer, err := r.client.DeleteLoadBalancer(q)
		if err == nil {
			r.done(answer.Response.RequestId)
		}
		return code(err)
	}
	steps := []struct {
		reason string
		force  bool
		ids    []string
		want   string
	}{
		{"ids are required", false, nil, "MissingParameter"},
		{"at most 20", false, make([]string, 21), "InvalidParameterValue.Length"},
		{"one unknown id fails the call", false, []string{b, "lb-none"}, "InvalidParameter.LBIdNotFound"},
		{"20 targets are a risk", false, []string{a}, "FailedOperation.TargetNumCheckRisk"},
		{"which can be forced", true, []string{a}, ""},
		{"gone is gone", true, []string{a}, "InvalidParameter.LBIdNotFound"},
		{"an empty one needs no force", false, []string{b}, ""},
		{"so many deletions are a risk", false, []string{c}, "FailedOperation.FrequencyCheckRisk"},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, remove(step.force, step.ids...)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
	if left := r.LoadBalancers(); len(left) != 1 || left[0].ID != c {
		t.Errorf("left: %+v", left)
	}
}

func TestVIPsAreNotShared(t *testing.T) {
	one, two := newRig(t), newRig(t)
	seen := map[netip.Addr]bool{}
	for _, r := range []*rig{one, two, one, two} {
		vip := r.vip(r.instance())
		if seen[vip] {
			t.Errorf("%s was given out twice", vip)
		}
		seen[vip] = true
	}
}

func TestDescribeQuota(t *testing.T) {
	r := newRig(t)
	r.instance()
	got := map[string][2]int64{}
	for _, q := range must[*api.DescribeQuotaResponse](t)(r.client.DescribeQuota(api.NewDescribeQuotaRequest())).Response.QuotaSet {
		current := int64(-1)
		if q.QuotaCurrent != nil {
			current = *q.QuotaCurrent
		}
		got[*q.QuotaId] = [2]int64{current, *q.QuotaLimit}
	}
	want := map[string][2]int64{
		"TOTAL_OPEN_CLB_QUOTA": {1, 100}, "TOTAL_INTERNAL_CLB_QUOTA": {0, 200},
		"TOTAL_LISTENER_QUOTA": {-1, 50}, "TOTAL_LISTENER_RULE_QUOTA": {-1, 50}, "TOTAL_TARGET_BIND_QUOTA": {-1, 200},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
