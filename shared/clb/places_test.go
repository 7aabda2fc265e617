package clb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

// atRule are n targets of a rule.
func atRule(listener, location string, n int) []model.Target {
	out := backends(listener, n)
	for i := range out {
		out[i].Location = location
	}
	return out
}

// TestTargetsOfRules: the calls for targets go across rules as across listeners, and
// keep within what is documented of each.
func TestTargetsOfRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	lb, first := r.layer7(model.HTTP, 80)
	listeners := []string{first, r.listener(lb.ID, model.HTTP, 81), r.listener(lb.ID, model.HTTP, 82), r.listener(lb.ID, model.TCP, 83)}
	// More places than one list of BatchModifyTargetWeight has, one of them with more
	// targets than it has for a place, and in all just as many as a batch.
	spots := map[model.Place]model.Spot{{Listener: listeners[3]}: {Listener: "l"}}
	want := backends(listeners[3], 10)
	for i, listener := range listeners[:3] {
		var rules []model.WantedRule
		for n := range 40 {
			rules = append(rules, wantedRule([]string{"", "a.example.com"}[n%2], fmt.Sprintf("/%d", n)))
		}
		for n, location := range r.make7(lb, listener, rules...) {
			spots[model.Place{Listener: listener, Location: location}] = rules[n].Spot
			bound := 3
			if i == 0 && n == 0 {
				bound = MaxBatch - 10 - 119*3
			}
			want = append(want, atRule(listener, location, bound)...)
		}
	}
	if err := r.Bind(ctx, lb.ID, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want), r.bound(lb.ID, listeners)); diff != "" {
		t.Fatalf("bound: -want +got:\n%s", diff)
	}
	one := slices.DeleteFunc(slices.Clone(want), func(x model.Target) bool { return x.IP != want[0].IP || x.Listener == first })
	if diff := cmp.Diff(byKey(one), r.bound(lb.ID, listeners[1:], want[0].IP)); diff != "" {
		t.Errorf("of one address at some of the listeners: -want +got:\n%s", diff)
	}
	for i := range want {
		want[i].Weight, want[i].Tag = i%7, fmt.Sprintf("tag-%d", i)
	}
	if err := r.SetWeights(ctx, lb.ID, want); err != nil {
		t.Fatal(err)
	}
	if err := r.SetTags(ctx, lb.ID, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want), r.bound(lb.ID, listeners)); diff != "" {
		t.Errorf("weighed and tagged: -want +got:\n%s", diff)
	}
	if n := r.Calls()["BatchModifyTargetWeight"]; n != 2 {
		t.Errorf("121 places, of which one needs three lists, at a hundred lists a call: want 2 calls, got %d", n)
	}

	verdicts, err := r.Health(ctx, []string{lb.ID}, nil)
	if err != nil || len(verdicts) != len(want) {
		t.Fatalf("want %d verdicts, got %d, %v", len(want), len(verdicts), err)
	}
	for _, x := range want {
		if v := verdicts[x.Key()]; v.Spot != spots[x.Place] || v.Weight != x.Weight {
			t.Fatalf("%s: want weight %d at %v, got %+v", x.Key(), x.Weight, spots[x.Place], v)
		}
	}
	if err := r.Unbind(ctx, lb.ID, want[5:]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byKey(want[:5]), r.bound(lb.ID, listeners)); diff != "" {
		t.Errorf("unbound: -want +got:\n%s", diff)
	}
}

// TestPartialOfRules: a refusal names the listener, of whatever rule it was, and other
// listeners' targets are bound.
func TestPartialOfRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	lb, first := r.layer7(model.HTTP, 80)
	second := r.listener(lb.ID, model.HTTP, 81)
	at := r.make7(lb, first, wantedRule("", "/"), wantedRule("a.example.com", "/"))
	other := r.make7(lb, second, wantedRule("", "/"))
	bad, good := atRule(first, at[1], 2), atRule(second, other[0], 1)
	r.server.FailTargets(netip.MustParseAddr(bad[1].IP))

	var part *Partial
	if err := r.Bind(ctx, lb.ID, slices.Concat(bad, good)); !errors.As(err, &part) {
		t.Fatalf("want a partial failure, got %v", err)
	}
	if diff := cmp.Diff(map[string]bool{first: true}, part.Listeners); diff != "" {
		t.Errorf("who refused: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(byKey(good), r.bound(lb.ID, []string{second})); diff != "" {
		t.Errorf("the other listener's: -want +got:\n%s", diff)
	}
	if err := r.Bind(ctx, lb.ID, []model.Target{{Place: model.Place{Listener: first, Location: "loc-00000000"}, Address: good[0].Address, Weight: 1, Tag: uid}}); err == nil {
		t.Error("at a rule that isn't there nothing can be bound")
	}
}
