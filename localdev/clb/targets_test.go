package clb

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

// bound is what tests look at of a target.
type bound struct {
	Addr   string
	Weight int
	Tag    string
}

// targets is what the API describes, by listener.
func (r *rig) targets(lb string, filters ...*api.Filter) map[string][]bound {
	r.t.Helper()
	q := api.NewDescribeTargetsRequest()
	q.LoadBalancerId, q.Filters = &lb, filters
	answer := must[*api.DescribeTargetsResponse](r.t)(r.client.DescribeTargets(q)).Response
	all := map[string][]bound{}
	for _, l := range answer.Listeners {
		for _, t := range l.Targets {
			all[*l.ListenerId] = append(all[*l.ListenerId], bound{fmt.Sprintf("%s:%d", *t.PrivateIpAddresses[0], *t.Port), int(*t.Weight), *t.Tag})
		}
	}
	return all
}

func tagged(t *api.BatchTarget, tag string) *api.BatchTarget {
	t.Tag = &tag
	return t
}

func ips(n int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range n {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, byte(5 + i>>8), byte(i)}), 80))
	}
	return all
}

func TestTargetActionsRefuse(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	r.bind(lb, batchTarget(l, addr("127.77.3.1:80"), 10))
	one := []*api.Target{target(addr("127.77.3.2:80"), 10)}
	var some []*api.Target
	var lots []*api.BatchTarget
	for i, a := range ips(501) {
		if i < 51 {
			some = append(some, target(a, 10))
		}
		lots = append(lots, batchTarget(l, a, 10))
	}
	register := func(set func(*api.RegisterTargetsRequest)) func() error {
		return func() error {
			q := api.NewRegisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, one
			set(q)
			_, err := r.client.RegisterTargets(q)
			return err
		}
	}
	with := func(change func(*api.Target)) func() error {
		return register(func(q *api.RegisterTargetsRequest) {
			t := *one[0]
			change(&t)
			q.Targets = []*api.Target{&t}
		})
	}
	deregister := func(set func(*api.DeregisterTargetsRequest)) func() error {
		return func() error {
			q := api.NewDeregisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, one
			set(q)
			_, err := r.client.DeregisterTargets(q)
			return err
		}
	}
	batch := func(targets ...*api.BatchTarget) func() error {
		return func() error {
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId, q.Targets = &lb, targets
			_, err := r.client.BatchRegisterTargets(q)
			return err
		}
	}
	weights := func(rules ...*api.RsWeightRule) func() error {
		return func() error {
			q := api.NewBatchModifyTargetWeightRequest()
			q.LoadBalancerId, q.ModifyList = &lb, rules
			_, err := r.client.BatchModifyTargetWeight(q)
			return err
		}
	}
	rules := func(n int, targets []*api.Target) []*api.RsWeightRule {
		var all []*api.RsWeightRule
		for range n {
			all = append(all, &api.RsWeightRule{ListenerId: &l, Targets: targets})
		}
		return all
	}
	cases := map[string]struct {
		reason string
		call   func() error
		want   string
	}{
		"RegisterNoListener":     {"required", register(func(q *api.RegisterTargetsRequest) { q.ListenerId = nil }), "MissingParameter"},
		"RegisterNoTargets":      {"required", register(func(q *api.RegisterTargetsRequest) { q.Targets = nil }), "MissingParameter"},
		"RegisterTooMany":        {"20 at most", register(func(q *api.RegisterTargetsRequest) { q.Targets = some[:21] }), "InvalidParameterValue.Length"},
		"RegisterUnknownLB":      {"it must exist", register(func(q *api.RegisterTargetsRequest) { q.LoadBalancerId = str("lb-none") }), "InvalidParameter.LBIdNotFound"},
		"RegisterUnknown":        {"the listener must exist", register(func(q *api.RegisterTargetsRequest) { q.ListenerId = str("lbl-none") }), "InvalidParameter.ListenerIdNotFound"},
		"RegisterLocation":       {"a layer-4 listener has no locations", register(func(q *api.RegisterTargetsRequest) { q.LocationId = str("loc-1") }), "InvalidParameter.LocationNotFound"},
		"RegisterTwice":          {"a bound target is a duplicate", with(func(t *api.Target) { t.EniIp = str("127.77.3.1") }), "InvalidParameterValue.Duplicate"},
		"RegisterRepeated":       {"so is one named twice", register(func(q *api.RegisterTargetsRequest) { q.Targets = []*api.Target{one[0], one[0]} }), "InvalidParameterValue.Duplicate"},
		"RegisterNoPort":         {"a target has a port", with(func(t *api.Target) { t.Port = nil }), "MissingParameter"},
		"RegisterPort":           {"1 to 65535", with(func(t *api.Target) { t.Port = i64(0) }), "InvalidParameterValue"},
		"RegisterWeight":         {"0 to 100", with(func(t *api.Target) { t.Weight = i64(101) }), "InvalidParameterValue"},
		"RegisterNothing":        {"an address or an instance", with(func(t *api.Target) { t.EniIp = nil }), "InvalidParameter"},
		"RegisterBoth":           {"not both", with(func(t *api.Target) { t.InstanceId = str("ins-1") }), "InvalidParameter"},
		"RegisterNotIP":          {"EniIp is an address", with(func(t *api.Target) { t.EniIp = str("pod-1") }), "InvalidParameterValue"},
		"DeregisterTooMany":      {"20 at most", deregister(func(q *api.DeregisterTargetsRequest) { q.Targets = some[:21] }), "InvalidParameterValue.Length"},
		"DeregisterMissing":      {"a target that isn't bound is an error", deregister(func(q *api.DeregisterTargetsRequest) {}), "InvalidParameter"},
		"BatchTooMany":           {"500 at most", batch(lots...), "InvalidParameterValue.Length"},
		"BatchNone":              {"required", batch(), "MissingParameter"},
		"BatchNoListener":        {"every target names its listener", batch(&api.BatchTarget{EniIp: str("127.77.3.9"), Port: i64(80)}), "MissingParameter"},
		"BatchUnknownListener":   {"an unknown listener fails the call", batch(batchTarget("lbl-none", addr("127.77.3.9:80"), 10)), "InvalidParameter.ListenerIdNotFound"},
		"WeightsTooManyRules":    {"100 rules", weights(rules(101, one)...), "InvalidParameterValue.Length"},
		"WeightsTooManyOfRule":   {"50 targets a rule", weights(rules(1, some)...), "InvalidParameterValue.Length"},
		"WeightsTooManyTogether": {"500 targets together", weights(rules(11, some[:50])...), "InvalidParameterValue.Length"},
		"WeightsMissing":         {"targets must be bound", weights(rules(1, one)...), "InvalidParameter"},
		"WeightNoPort": {"which the real one can't tell from a bug", func() error {
			q := api.NewModifyTargetWeightRequest()
			q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, []*api.Target{{EniIp: str("127.77.3.1")}}
			_, err := r.client.ModifyTargetWeight(q)
			return err
		}, "InternalError"},
		"TagMissing": {"targets must be bound", func() error {
			q := api.NewBatchModifyTargetTagRequest()
			q.LoadBalancerId, q.ModifyList = &lb, []*api.RsTagRule{{ListenerId: &l, Targets: one}}
			_, err := r.client.BatchModifyTargetTag(q)
			return err
		}, "InvalidParameter"},
		"DescribeTooMany": {"20 listeners", func() error {
			q := api.NewDescribeTargetsRequest()
			q.LoadBalancerId, q.ListenerIds = &lb, common.StringPtrs(make([]string, 21))
			_, err := r.client.DescribeTargets(q)
			return err
		}, "InvalidParameterValue.Length"},
		"DescribeFilter": {"three filters there are", func() error {
			q := api.NewDescribeTargetsRequest()
			q.LoadBalancerId, q.Filters = &lb, []*api.Filter{{Name: str("port"), Values: common.StringPtrs([]string{"80"})}}
			_, err := r.client.DescribeTargets(q)
			return err
		}, "InvalidParameterValue.InvalidFilter"},
		"HealthTooMany": {"30 load balancers", func() error {
			q := api.NewDescribeTargetHealthRequest()
			q.LoadBalancerIds = common.StringPtrs(make([]string, 31))
			_, err := r.client.DescribeTargetHealth(q)
			return err
		}, "InvalidParameterValue.Length"},
		"HealthUnknown": {"they must exist", func() error {
			q := api.NewDescribeTargetHealthRequest()
			q.LoadBalancerIds = common.StringPtrs([]string{"lb-none"})
			_, err := r.client.DescribeTargetHealth(q)
			return err
		}, "InvalidParameter.LBIdNotFound"},
		"TaskUnknown": {"a task has an id", func() error {
			q := api.NewDescribeTaskStatusRequest()
			q.TaskId = str("none")
			_, err := r.client.DescribeTaskStatus(q)
			return err
		}, "InvalidParameter"},
		"TaskNone": {"one of two is required", func() error {
			_, err := r.client.DescribeTaskStatus(api.NewDescribeTaskStatusRequest())
			return err
		}, "MissingParameter"},
	}
	before := r.targets(lb)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, code(tc.call())); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
	if diff := cmp.Diff(before, r.targets(lb)); diff != "" {
		t.Errorf("refused requests changed something: -before +after:\n%s", diff)
	}
}

func TestTargetLife(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080)
	a, b := addr("127.77.3.1:80"), addr("127.77.3.2:80")

	q := api.NewRegisterTargetsRequest()
	q.LoadBalancerId, q.ListenerId = &lb, &l
	q.Targets = []*api.Target{target(a, 0), {EniIp: str("127.77.3.2"), Port: i64(80), Tag: str("uid-b")}}
	r.done(must[*api.RegisterTargetsResponse](t)(r.client.RegisterTargets(q)).Response.RequestId)
	want := map[string][]bound{l: {{a.String(), 0, ""}, {b.String(), 10, "uid-b"}}}
	if diff := cmp.Diff(want, r.targets(lb)); diff != "" {
		t.Fatalf("registered, with the default weight: -want +got:\n%s", diff)
	}

	r.weigh(lb, l, target(a, 7))
	wq := api.NewBatchModifyTargetWeightRequest()
	wq.LoadBalancerId = &lb
	wq.ModifyList = []*api.RsWeightRule{{ListenerId: &l, Weight: i64(3), Targets: []*api.Target{{EniIp: str("127.77.3.2"), Port: i64(80)}}}}
	r.done(must[*api.BatchModifyTargetWeightResponse](t)(r.client.BatchModifyTargetWeight(wq)).Response.RequestId)
	tq := api.NewBatchModifyTargetTagRequest()
	tq.LoadBalancerId = &lb
	tq.ModifyList = []*api.RsTagRule{{ListenerId: &l, Tag: str("uid-a"), Targets: []*api.Target{target(a, 1), {EniIp: str("127.77.3.2"), Port: i64(80), Tag: str("uid-c")}}}}
	must[*api.BatchModifyTargetTagResponse](t)(r.client.BatchModifyTargetTag(tq))
	want = map[string][]bound{l: {{a.String(), 7, "uid-a"}, {b.String(), 3, "uid-c"}}}
	if diff := cmp.Diff(want, r.targets(lb)); diff != "" {
		t.Fatalf("a target's own weight and tag beat its rule's, and tagging leaves weights: -want +got:\n%s", diff)
	}

	dq := api.NewDeregisterTargetsRequest()
	dq.LoadBalancerId, dq.ListenerId, dq.Targets = &lb, &l, []*api.Target{target(a, 0)}
	r.done(must[*api.DeregisterTargetsResponse](t)(r.client.DeregisterTargets(dq)).Response.RequestId)
	want = map[string][]bound{l: {{b.String(), 3, "uid-c"}}}
	if diff := cmp.Diff(want, r.targets(lb)); diff != "" {
		t.Fatalf("unbound: -want +got:\n%s", diff)
	}
}

func TestDescribeTargetsFilters(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l, m := r.listener(lb, "TCP", 8080), r.listener(lb, "TCP", 8081)
	a, b := addr("127.77.3.1:80"), addr("127.77.3.2:80")
	before := time.Now().Truncate(time.Second)
	r.bind(lb, tagged(batchTarget(l, a, 1), "x"), tagged(batchTarget(l, b, 1), "y"), tagged(batchTarget(m, a, 1), "y"))
	filter := func(name string, values ...string) *api.Filter {
		return &api.Filter{Name: &name, Values: common.StringPtrs(values)}
	}
	cases := map[string]struct {
		reason  string
		filters []*api.Filter
		want    map[string][]bound
	}{
		"IP":       {"an address over all listeners", []*api.Filter{filter("private-ip-address", "127.77.3.1")}, map[string][]bound{l: {{a.String(), 1, "x"}}, m: {{a.String(), 1, "y"}}}},
		"IPs":      {"any of the values", []*api.Filter{filter("private-ip-address", "127.77.3.2", "127.77.3.3")}, map[string][]bound{l: {{b.String(), 1, "y"}}}},
		"Tag":      {"a tag", []*api.Filter{filter("tag", "x")}, map[string][]bound{l: {{a.String(), 1, "x"}}}},
		"Both":     {"all of the filters", []*api.Filter{filter("private-ip-address", "127.77.3.1"), filter("tag", "y")}, map[string][]bound{m: {{a.String(), 1, "y"}}}},
		"Location": {"layer 4 has none", []*api.Filter{filter("location-id", "loc-1")}, map[string][]bound{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, r.targets(lb, tc.filters...)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}

	q := api.NewDescribeTargetsRequest()
	q.LoadBalancerId, q.ListenerIds = &lb, []*string{&m}
	answer := must[*api.DescribeTargetsResponse](t)(r.client.DescribeTargets(q)).Response
	if len(answer.Listeners) != 1 || *answer.Listeners[0].ListenerId != m {
		t.Fatalf("by listener: %d listeners", len(answer.Listeners))
	}
	registered, err := time.ParseInLocation("2006-01-02 15:04:05", *answer.Listeners[0].Targets[0].RegisteredTime, time.FixedZone("", 8*60*60))
	if err != nil || registered.Before(before) || registered.After(time.Now()) {
		t.Errorf("RegisteredTime %q is not now in UTC+8: %v", *answer.Listeners[0].Targets[0].RegisteredTime, err)
	}
}
