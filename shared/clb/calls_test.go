package clb

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

func TestLoadBalancers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	tags := map[string]string{"owner": uid, "cluster": "cls-1"}
	id := r.loadBalancer("token-1", tags)
	r.loadBalancer("token-2", map[string]string{"owner": "other", "cluster": "cls-1"})

	again, err := r.CreateLoadBalancer(ctx, LoadBalancerSpec{Name: "test", ClientToken: "token-1", Tags: tags})
	if err != nil || again != id {
		t.Errorf("the same token makes the same load balancer: want %s, got %s, %v", id, again, err)
	}
	found, err := r.LoadBalancersTagged(ctx, tags)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].ID != id || len(found[0].VIPs) != 1 || found[0].Internal {
		t.Fatalf("by its tags, all of them, it is found: got %+v", found)
	}
	if diff := cmp.Diff(tags, found[0].Tags); diff != "" {
		t.Errorf("tags -want +got:\n%s", diff)
	}
	if none, err := r.LoadBalancers(ctx, "lb-00000000"); err != nil || len(none) != 0 {
		t.Errorf("one that isn't there is left out, got %v, %v", none, err)
	}
	for range 2 {
		if err := r.DeleteLoadBalancer(ctx, id); err != nil {
			t.Errorf("deleting, and deleting again: %v", err)
		}
	}
	if left, err := r.LoadBalancersTagged(ctx, tags); err != nil || len(left) != 0 {
		t.Errorf("it is gone, got %v, %v", left, err)
	}
}

func TestInternalLoadBalancer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, err := r.CreateLoadBalancer(t.Context(), LoadBalancerSpec{Name: "test", ClientToken: "t", Internal: true, SubnetID: "subnet-12345678", VPCID: "vpc-12345678"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.LoadBalancers(t.Context(), id)
	if err != nil || len(found) != 1 || !found[0].Internal || found[0].SubnetID != "subnet-12345678" {
		t.Errorf("want an internal one in the subnet, got %+v, %v", found, err)
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	lb := r.loadBalancer("t", nil)
	on, off, zero, ten, nine, hundred, least := true, false, 0, 10, 9, 100, "LEAST_CONN"
	plain := model.WantedListener{Name: "plain", Protocol: model.TCP, Port: 80}
	tuned := model.WantedListener{Name: "tuned", Protocol: model.UDP, Port: 80, Settings: model.Settings{HealthEnabled: &on, Interval: &ten, Timeout: &nine, SessionExpire: &hundred}}
	var ids []string
	for _, w := range []model.WantedListener{plain, tuned} {
		made, err := r.CreateListeners(ctx, lb, []model.WantedListener{w})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, made...)
	}
	read := func() []model.Listener {
		t.Helper()
		got, err := r.Listeners(ctx, lb)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b model.Listener) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
		return got
	}
	want := []model.Listener{
		{ID: ids[0], Name: "plain", Protocol: model.TCP, Port: 80, Attributes: model.Attributes{HealthCheck: checkBy("TCP"), Scheduler: "WRR"}},
		{ID: ids[1], Name: "tuned", Protocol: model.UDP, Port: 80, Attributes: model.Attributes{HealthCheck: model.HealthCheck{Enabled: true, Interval: 10, Timeout: 9, HealthNum: 3, UnhealthNum: 3, Type: "PING"}, SessionExpire: 100, Scheduler: "WRR"}},
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Fatalf("created: -want +got:\n%s", diff)
	}

	// Each change must be seen afterwards as it was wanted, or it would be wanted
	// for ever.
	for i, s := range []model.Settings{
		{Interval: &ten, Timeout: &nine},
		{HealthEnabled: &off},
		{HealthEnabled: &on},
		{SessionExpire: &hundred},
		{SessionExpire: &zero},
		{Scheduler: &least},
	} {
		have := read()[0]
		changed := have
		changed.Attributes, _ = s.Apply(have.Attributes)
		if err := r.ModifyListener(ctx, lb, have, changed); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
		if again, still := s.Apply(read()[0].Attributes); still {
			t.Errorf("change %d: want %+v, got %+v", i, again, read()[0])
		}
	}
	if diff := cmp.Diff(want[1], read()[1]); diff != "" {
		t.Errorf("the other listener is as it was: -want +got:\n%s", diff)
	}

	_, err := r.CreateListeners(ctx, lb, []model.WantedListener{plain})
	if !fault.Is(err, fault.Conflict) || Code(err) != CodePortTaken {
		t.Errorf("a port that is taken is a Conflict with its code, got %v", err)
	}
	if err := r.DeleteListeners(ctx, lb, ids[:1]); err != nil {
		t.Fatal(err)
	}
	if got := read(); len(got) != 1 || got[0].ID != ids[1] {
		t.Errorf("only the one named is deleted, left is %+v", got)
	}
	before := r.server.CallCounts()["DeleteLoadBalancerListeners"]
	if err := r.DeleteListeners(ctx, lb, nil); err != nil {
		t.Error(err)
	}
	if n := r.server.CallCounts()["DeleteLoadBalancerListeners"]; n != before || len(read()) != 1 {
		t.Error("naming none would delete all: the call must not be made")
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	lb := r.loadBalancer("t", nil)
	ids := r.listeners(lb, 2)
	// More at one place than one list of BatchModifyTargetWeight takes.
	want := append(backends(ids[0], 60), backends(ids[1], 3)...)
	if err := r.Bind(ctx, lb, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want), r.bound(lb, ids)); diff != "" {
		t.Fatalf("bound: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(byKey(want[60:]), r.bound(lb, ids[1:])); diff != "" {
		t.Errorf("at one listener: -want +got:\n%s", diff)
	}
	if got := r.bound(lb, nil); len(got) != 0 {
		t.Errorf("at no listener there is nothing, got %v", got)
	}
	if diff := cmp.Diff(byKey([]model.Target{want[1], want[61]}), r.bound(lb, ids, want[1].IP)); diff != "" {
		t.Errorf("of one address: -want +got:\n%s", diff)
	}
	var many []string
	for _, x := range want[:maxFilterValues+5] {
		many = append(many, x.IP)
	}
	if got := r.bound(lb, ids[:1], many...); len(got) != len(many) {
		t.Errorf("of more addresses than the API filters by: want %d, got %d", len(many), len(got))
	}

	for i := range want {
		want[i].Weight = i % 3
	}
	if err := r.SetWeights(ctx, lb, want); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Tag = "bbbbbbbb-0000-4000-8000-000000000002"
	}
	if err := r.SetTags(ctx, lb, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want), r.bound(lb, ids)); diff != "" {
		t.Errorf("weighed and tagged: -want +got:\n%s", diff)
	}
	verdicts, err := r.Health(ctx, []string{lb}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(verdicts) != len(want) {
		t.Errorf("a verdict for every target: want %d, got %d", len(want), len(verdicts))
	}
	for _, x := range want {
		if v, ok := verdicts[x.Key()]; !ok || v.Health == model.Alive || v.Weight != x.Weight || v.Spot != (model.Spot{Listener: "l"}) {
			t.Fatalf("%s: nobody answers there, want its weight %d and listener, got %+v", x.Key(), x.Weight, v)
		}
	}
	if err := r.Unbind(ctx, lb, want[:62]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want[62:]), r.bound(lb, ids)); diff != "" {
		t.Errorf("unbound: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(r.server.CallCounts(), r.Calls()); diff != "" {
		t.Errorf("every call is counted: -server +session:\n%s", diff)
	}
}

// TestManyListeners: with more listeners than one call may name, none is named and
// others' targets are left out of what comes back.
func TestManyListeners(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lb := r.loadBalancer("t", nil)
	ids := r.listeners(lb, maxTargetListeners+2)
	var want []model.Target
	for _, id := range ids {
		want = append(want, backends(id, 1)...)
	}
	if err := r.Bind(t.Context(), lb, want); err != nil {
		t.Fatal(err)
	}
	before := r.Calls()["DescribeTargets"]
	if diff := cmp.Diff(byKey(want[1:]), r.bound(lb, ids[1:])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := r.Calls()["DescribeTargets"] - before; n != 1 {
		t.Errorf("one call for all, got %d", n)
	}
}

// TestPartial: both behaviours of the batch calls tell the same story, and are done
// when they return.
func TestPartial(t *testing.T) {
	t.Parallel()
	for name, async := range map[string]bool{"Inline": false, "Task": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *emulator.Options) { o.AsyncBatch = async })
			ctx := t.Context()
			lb := r.loadBalancer("t", nil)
			ids := r.listeners(lb, 2)
			good, bad := backends(ids[0], 3), backends(ids[1], 3)
			r.server.FailTargets(netip.MustParseAddr(bad[2].IP))

			// The address is bad at both listeners; the first isn't asked for it.
			err := r.Bind(ctx, lb, append(slices.Clone(good[:2]), bad...))
			var part *Partial
			if !errors.As(err, &part) || !part.Listeners[ids[1]] || part.Message == "" {
				t.Fatalf("want the refusing listener and why, got %v", err)
			}
			if !async && part.Listeners[ids[0]] {
				t.Errorf("%s took its targets, yet it is named", ids[0])
			}
			if diff := cmp.Diff(byKey(good[:2]), r.bound(lb, ids)); diff != "" {
				t.Errorf("the others are bound when the call is over: -want +got:\n%s", diff)
			}
			if err := r.Bind(ctx, lb, bad[:2]); err != nil {
				t.Errorf("without the bad one: %v", err)
			}
			err = r.Unbind(ctx, lb, []model.Target{good[0], bad[2]})
			if !errors.As(err, &part) || !part.Listeners[ids[1]] {
				t.Errorf("unbinding what isn't bound is a partial failure, got %v", err)
			}
			if diff := cmp.Diff(byKey([]model.Target{good[1], bad[0], bad[1]}), r.bound(lb, ids)); diff != "" {
				t.Errorf("unbound at the other listener: -want +got:\n%s", diff)
			}
			if n := r.Calls()["DescribeTaskStatus"]; !async && n > 5 {
				t.Errorf("that there are no tasks is asked once, got %d calls", n)
			}
		})
	}
}
