package clb

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

// TestSingleActionsAtRules: CLB API, RegisterTargets, ModifyTargetWeight and
// DeregisterTargets name a rule by LocationId or by Domain and Url.
func TestSingleActionsAtRules(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "HTTP", 8080)
	ids := r.rules(lb, l, ruleInput("a.example.com", "/"), ruleInput("", "/x"))
	a, b := addr("127.77.3.1:80"), addr("127.77.3.2:80")
	register := func(set func(*api.RegisterTargetsRequest), targets ...*api.Target) string {
		q := api.NewRegisterTargetsRequest()
		q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, targets
		set(q)
		answer, err := r.client.RegisterTargets(q)
		if err != nil {
			return code(err)
		}
		return r.settled(answer.Response.RequestId, nil)
	}
	weigh := func(set func(*api.ModifyTargetWeightRequest), targets ...*api.Target) string {
		q := api.NewModifyTargetWeightRequest()
		q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, targets
		set(q)
		answer, err := r.client.ModifyTargetWeight(q)
		if err != nil {
			return code(err)
		}
		return r.settled(answer.Response.RequestId, nil)
	}
	deregister := func(set func(*api.DeregisterTargetsRequest), targets ...*api.Target) string {
		q := api.NewDeregisterTargetsRequest()
		q.LoadBalancerId, q.ListenerId, q.Targets = &lb, &l, targets
		set(q)
		answer, err := r.client.DeregisterTargets(q)
		if err != nil {
			return code(err)
		}
		return r.settled(answer.Response.RequestId, nil)
	}
	one := map[string][]bound{ids[0]: {{a.String(), 10, ""}}}
	two := map[string][]bound{ids[0]: {{a.String(), 10, ""}}, ids[1]: {{a.String(), 5, ""}}}
	steps := []struct {
		reason string
		do     func() string
		want   string
		left   map[string][]bound
	}{
		{"the listener itself has no targets", func() string { return register(func(*api.RegisterTargetsRequest) {}, target(a, 10)) }, "InvalidParameter.LocationNotFound", map[string][]bound{}},
		{"an unknown path", func() string {
			return register(func(q *api.RegisterTargetsRequest) { q.Domain, q.Url = str("a.example.com"), str("/x") }, target(a, 10))
		}, "InvalidParameter.LocationNotFound", map[string][]bound{}},
		{"by domain and path", func() string {
			return register(func(q *api.RegisterTargetsRequest) { q.Domain, q.Url = str("a.example.com"), str("/") }, target(a, 10))
		}, "", one},
		{"a location beats them, and a path alone is the virtual address's", func() string {
			return register(func(q *api.RegisterTargetsRequest) { q.LocationId, q.Domain, q.Url = &ids[1], str("c"), str("/c") }, target(a, 4))
		}, "", map[string][]bound{ids[0]: one[ids[0]], ids[1]: {{a.String(), 4, ""}}}},
		{"weights by path", func() string {
			return weigh(func(q *api.ModifyTargetWeightRequest) { q.Url = str("/x") }, target(a, 5))
		}, "", two},
		{"weights of what isn't bound there", func() string {
			return weigh(func(q *api.ModifyTargetWeightRequest) { q.LocationId = &ids[1] }, target(b, 5))
		}, "InvalidParameter", two},
		{"bound already at that rule", func() string {
			return register(func(q *api.RegisterTargetsRequest) { q.LocationId = &ids[1] }, target(a, 4))
		}, "InvalidParameterValue.Duplicate", two},
		{"unbinding by domain and path leaves the other rule", func() string {
			return deregister(func(q *api.DeregisterTargetsRequest) { q.Domain, q.Url = str(r.vip(lb).String()), str("/x") }, target(a, 0))
		}, "", one},
		{"and what isn't bound is an error", func() string {
			return deregister(func(q *api.DeregisterTargetsRequest) { q.LocationId = &ids[1] }, target(a, 0))
		}, "InvalidParameter", one},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
		if diff := cmp.Diff(step.left, r.locations(lb)); diff != "" {
			t.Fatalf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
}

// TestBatchesAcrossRules: CLB API, BatchRegisterTargets, BatchDeregisterTargets,
// BatchModifyTargetWeight and BatchModifyTargetTag; partial failure is by listener.
func TestBatchesAcrossRules(t *testing.T) {
	r := newRig(t, func(o *Options) {
		q := DefaultQuotas()
		q.Targets = 2
		o.Quotas, o.UniqueBackends = &q, true
	})
	lb := r.instance()
	l, m := r.listener(lb, "HTTP", 8080), r.listener(lb, "HTTP", 8081)
	ids := append(r.rules(lb, l, ruleInput("a", "/"), ruleInput("b", "/")), r.rules(lb, m, ruleInput("a", "/"))...)
	a, b, c := addr("127.77.3.1:80"), addr("127.77.3.2:80"), addr("127.77.3.3:80")
	register := func(targets ...*api.BatchTarget) []string {
		t.Helper()
		q := api.NewBatchRegisterTargetsRequest()
		q.LoadBalancerId, q.Targets = &lb, targets
		return deref(must[*api.BatchRegisterTargetsResponse](t)(r.client.BatchRegisterTargets(q)).Response.FailListenerIdSet)
	}
	all := map[string][]bound{ids[0]: {{a.String(), 10, ""}}, ids[1]: {{a.String(), 10, ""}}, ids[2]: {{a.String(), 10, ""}}}
	r.FailTargetsAt(ids[1], b.Addr())
	steps := []struct {
		reason string
		do     func() []string
		want   []string
		left   map[string][]bound
	}{
		{"one backend everywhere: layer 7 shares", func() []string {
			return register(at(batchTarget(l, a, 10), ids[0]), at(batchTarget(l, a, 10), ids[1]), at(batchTarget(m, a, 10), ids[2]))
		}, []string{}, all},
		{"a rule over its quota fails its listener whole", func() []string {
			return register(at(batchTarget(l, b, 1), ids[0]), at(batchTarget(l, c, 1), ids[0]), at(batchTarget(l, c, 1), ids[1]), at(batchTarget(m, b, 1), ids[2]))
		}, []string{l}, map[string][]bound{ids[0]: all[ids[0]], ids[1]: all[ids[1]], ids[2]: {{a.String(), 10, ""}, {b.String(), 1, ""}}}},
		{"an interface that can't be bound at one rule can at another", func() []string {
			return register(at(batchTarget(l, b, 1), ids[0]))
		}, []string{}, map[string][]bound{ids[0]: {{a.String(), 10, ""}, {b.String(), 1, ""}}, ids[1]: all[ids[1]], ids[2]: {{a.String(), 10, ""}, {b.String(), 1, ""}}}},
		{"and fails where it can't", func() []string {
			return register(at(batchTarget(l, b, 1), ids[1]))
		}, []string{l}, map[string][]bound{ids[0]: {{a.String(), 10, ""}, {b.String(), 1, ""}}, ids[1]: all[ids[1]], ids[2]: {{a.String(), 10, ""}, {b.String(), 1, ""}}}},
		{"unbinding across rules", func() []string {
			r.unbind(lb, at(batchTarget(l, b, 1), ids[0]), at(batchTarget(m, b, 1), ids[2]))
			return nil
		}, nil, all},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: FailListenerIdSet: -want +got:\n%s", step.reason, diff)
		}
		if diff := cmp.Diff(step.left, r.locations(lb)); diff != "" {
			t.Fatalf("%s: -want +got:\n%s", step.reason, diff)
		}
	}

	wq := api.NewBatchModifyTargetWeightRequest()
	wq.LoadBalancerId = &lb
	wq.ModifyList = []*api.RsWeightRule{
		{ListenerId: &l, LocationId: &ids[0], Targets: []*api.Target{target(a, 1)}},
		{ListenerId: &l, Domain: str("b"), Url: str("/"), Targets: []*api.Target{target(a, 2)}},
		{ListenerId: &m, LocationId: &ids[2], Weight: i64(3), Targets: []*api.Target{{EniIp: str("127.77.3.1"), Port: i64(80)}}},
	}
	r.done(must[*api.BatchModifyTargetWeightResponse](t)(r.client.BatchModifyTargetWeight(wq)).Response.RequestId)
	tq := api.NewBatchModifyTargetTagRequest()
	tq.LoadBalancerId = &lb
	tq.ModifyList = []*api.RsTagRule{{ListenerId: &l, LocationId: &ids[1], Tag: str("x"), Targets: []*api.Target{target(a, 0)}}}
	must[*api.BatchModifyTargetTagResponse](t)(r.client.BatchModifyTargetTag(tq))
	want := map[string][]bound{ids[0]: {{a.String(), 1, ""}}, ids[1]: {{a.String(), 2, "x"}}, ids[2]: {{a.String(), 3, ""}}}
	if diff := cmp.Diff(want, r.locations(lb)); diff != "" {
		t.Errorf("weights and tags across rules: -want +got:\n%s", diff)
	}

	filter := func(name string, values ...string) *api.Filter {
		return &api.Filter{Name: &name, Values: common.StringPtrs(values)}
	}
	filters := map[string]struct {
		reason  string
		filters []*api.Filter
		want    map[string][]bound
	}{
		"Location": {"rules", []*api.Filter{filter("location-id", ids[0], ids[2])}, map[string][]bound{ids[0]: want[ids[0]], ids[2]: want[ids[2]]}},
		"Tag":      {"tags", []*api.Filter{filter("tag", "x")}, map[string][]bound{ids[1]: want[ids[1]]}},
		"IP":       {"addresses", []*api.Filter{filter("private-ip-address", "127.77.3.2")}, map[string][]bound{}},
	}
	for name, tc := range filters {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, r.locations(lb, tc.filters...)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestInspectRules(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l, m := r.listener(lb, "HTTP", 8080), r.https(lb, 8443, sni)
	from := r.rules(lb, l, ruleInput("a", "/"))
	to := r.rules(lb, m, ruleInput("a", "/", func(in *api.RuleInput) { in.Certificate = &api.CertificateInput{CertId: str("cert-ec")} }))
	if got := r.manual(lb, l, m, pair(from[0], to[0])); got != "" {
		t.Fatal(got)
	}
	r.bind(lb, at(batchTarget(m, addr("127.77.3.1:80"), 10), to[0]))
	var got [][]Rule
	for _, l := range r.LoadBalancers()[0].Listeners {
		got = append(got, l.Rules)
	}
	want := [][]Rule{
		{{ID: from[0], Domain: "a", URL: "/", Default: true, RedirectTo: to[0]}},
		{{ID: to[0], Domain: "a", URL: "/", Default: true, CertificateID: "cert-ec", Targets: []Target{
			{IP: addr("127.77.3.1:80").Addr(), Port: 80, Weight: 10, Health: "Unknown", Registered: got[1][0].Targets[0].Registered},
		}}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Target) bool { return a == b })); diff != "" {
		t.Errorf("rules without the API: -want +got:\n%s", diff)
	}
}
