package reconcile

import (
	"errors"
	"testing"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// TestAssure: that a draining pod's weight is 0 is only believed where no write of
// somebody else may still be under way.
func TestAssure(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason             string
		doubt, doubted     bool
		draining, answered bool
		want               int
	}{
		"Sure":     {reason: "nothing to write", draining: true},
		"Doubt":    {reason: "the raise of a pass that died may come yet", doubt: true, draining: true, want: 1},
		"Doubted":  {reason: "it may have come after the targets were read", doubted: true, draining: true, want: 1},
		"Serving":  {reason: "nobody waits for a drain", doubt: true},
		"Answered": {reason: "it was said already", doubt: true, draining: true, answered: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			target := b.target(b.a, 1, 0)
			if err := b.session.Bind(t.Context(), b.lb, []model.Target{target}); err != nil {
				t.Fatal(err)
			}
			pod := &model.Pod{UID: target.Tag, IP: target.IP, Draining: tc.draining}
			if tc.answered {
				pod.Drained = &model.Condition{Status: true}
			}
			b.scene = &scene{pass: b.pass, pods: []*model.Pod{pod}, observed: []model.Target{target}}
			b.doubted = tc.doubted
			if tc.doubt {
				b.session.Doubt()
			}
			if err := b.assure(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := b.session.Calls()["BatchModifyTargetWeight"]; got != tc.want {
				t.Errorf("%s: want %d writes, got %d", tc.reason, tc.want, got)
			}
		})
	}
}

// TestWhatHoldsTheGateAllTheSame: a listener that did not get its target because a task
// failed, or a quota is used up, still holds the gate; only one that the CLB refused a
// backend of another doesn't.
func TestWhatHoldsTheGateAllTheSame(t *testing.T) {
	for name, err := range map[string]error{
		"Task":  errors.Join(&clb.Partial{Listeners: map[string]bool{"a": true}, Task: true}),
		"Quota": &fault.Error{Kind: fault.Permanent, Code: clb.CodeQuota, Err: errors.New("the quota is used up")},
	} {
		t.Run(name, func(t *testing.T) { notShared(t, err) })
	}
}

// notShared fails if a refusal is taken for that of a shared backend.
func notShared(t *testing.T, refused error) {
	t.Helper()
	place := func(id string) model.Place { return model.Place{Listener: id} }
	at := func(id string) model.Target {
		return model.Target{Place: place(id), Address: model.Address{IP: "10.0.0.1", Port: 80}}
	}
	front := &model.Front{Kind: model.KindService}
	sc := &scene{subjects: []*subject{{Object: desired.Object{Front: front}, wants: desired.Wants{Backings: []desired.Backing{{Spot: model.Spot{Listener: "a"}, Front: front, Key: "TCP/80"}}}}},
		places: map[model.Spot]model.Place{{Listener: "a"}: place("a")}}
	a := &applier{pass: &pass{World: &World{}}, scene: sc, changed: []model.Target{at("b")}, failed: map[model.Key]bool{at("a").Key(): true},
		parked: []refusal{{at("a"), refused}}}
	a.recordShared(t.Context()) // would panic for want of a client, if it wrote anything
	if a.reply.Failure != nil {
		t.Errorf("got %+v", a.reply.Failure)
	}
}
