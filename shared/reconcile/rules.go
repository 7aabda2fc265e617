package reconcile

import (
	"context"
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// claims tells whose the listeners and rules of a CLB are, as far as the pass speaks
// for their owners.
type claims struct {
	policy desired.Policy
	lb     string
	wards  []*ward
}

// owns tells whether a listener, by its name, is one of a ward's, or shared by the
// Ingresses of this cluster and one of those is here.
func (c claims) owns(name string) bool {
	o, ours := desired.OwnerOf(name)
	if !ours || o.Cluster != c.policy.Cluster {
		return false
	}
	return slices.ContainsFunc(c.wards, func(w *ward) bool { return w.UID == o.UID || o.UID == c.lb && w.Ingress != nil })
}

// owner tells whose rule stands at a spot, "" if nobody's that is here.
func (c claims) owner(at model.Spot) string {
	key, ours := desired.SpotKey(at)
	if !ours {
		return ""
	}
	for _, w := range c.wards {
		if w.Ingress != nil && desired.Holds(w.Front, at, key) {
			return w.UID
		}
	}
	return ""
}

// keeps tells of a listener that it carries a rule of somebody who isn't here.
func (c claims) keeps(l model.Listener) bool {
	return slices.ContainsFunc(l.Rules, func(r model.Rule) bool {
		return c.owner(model.Spot{Listener: l.Name, Domain: r.Domain, Path: r.Path}) == ""
	})
}

// layer7 tells whether anybody wants rules.
func (c claims) layer7() bool {
	return slices.ContainsFunc(c.wards, func(w *ward) bool { return w.Ingress != nil })
}

// listeners plans the listeners of the CLB.
func (c claims) listeners(observed []model.Listener) plan.ListenerPlan {
	in := plan.Listeners{Observed: observed, Owns: c.owns, Keep: c.keeps, Takes: func(w model.WantedListener, o model.Listener) bool {
		_, ours := desired.OwnerOf(o.Name)
		return !ours && desired.Takes(w.Owner) && !w.Protocol.Layer7()
	}}
	for _, w := range c.wards {
		in.Wanted = append(in.Wanted, w.wants.Listeners...)
	}
	return in.Plan()
}

// rules plans the rules of the listeners that are the wards'.
func (c claims) rules(observed []model.Listener) (plan.RulePlan, []model.Listener) {
	in := plan.Rules{Owner: c.owner}
	for _, l := range observed {
		if l.Protocol.Layer7() && c.owns(l.Name) {
			in.Listeners = append(in.Listeners, l)
		}
	}
	for _, w := range c.wards {
		in.Wanted = append(in.Wanted, w.wants.Rules...)
	}
	return in.Plan(), in.Listeners
}

// onRules plans and makes the rules of the listeners that are ours.
func (p *pass) onRules(ctx context.Context, session *clb.Session, c claims, observed []model.Listener, out *outcome) error {
	if !c.layer7() || p.reply.Continue {
		return nil
	}
	todo, listeners := c.rules(observed)
	out.rules = todo.Conflicts
	// What is on a shared listener is ours by our own record alone, so that comes
	// first, and what is gone leaves it last.
	if err := p.record(ctx, c, todo, true); err != nil {
		return err
	}
	a := ruleApplier{pass: p, session: session, lb: &c.wards[0].lb, places: model.Spots(listeners), broken: map[model.Spot]error{}}
	a.run(ctx, todo)
	out.broken = a.broken
	if a.stopped || p.reply.Continue {
		return nil
	}
	return p.record(ctx, c, todo, false)
}

// record writes which rules of shared listeners each Ingress has: beforehand those it
// had and will have, afterwards those that were granted.
func (p *pass) record(ctx context.Context, c claims, todo plan.RulePlan, before bool) error {
	for _, w := range c.wards {
		if w.Ingress == nil {
			continue
		}
		keys := map[string]bool{}
		if before {
			maps.Copy(keys, desired.RecordOf(w.Front))
		}
		for _, r := range todo.Granted {
			if o, _ := desired.OwnerOf(r.Listener); o.UID == c.lb && r.Owner.UID == w.UID {
				keys[r.Key] = true
			}
		}
		if err := p.patch(ctx, w.Front, map[string]any{desired.Rules: desired.RecordValue(slices.Sorted(maps.Keys(keys)))}, nil); err != nil {
			return err
		}
	}
	return nil
}

// ruleApplier takes the steps of a plan for rules.
type ruleApplier struct {
	*pass
	session *clb.Session
	lb      *model.LoadBalancer
	// places of rules, with those made on the way.
	places map[model.Spot]model.Place
	// broken are rules whose step failed.
	broken map[model.Spot]error
	// stopped: something is left to be done by another pass.
	stopped bool
}

// run takes the steps in order; a failed one never keeps an unrelated one waiting.
func (a *ruleApplier) run(ctx context.Context, todo plan.RulePlan) {
	a.do(ctx, len(todo.Straighten), func() error { return a.session.Straighten(ctx, a.lb.ID, todo.Straighten) })
	for _, listener := range slices.Sorted(maps.Keys(todo.Create)) {
		for _, batch := range plan.Batches(todo.Create[listener], clb.MaxRules) {
			a.create(ctx, listener, batch)
		}
	}
	spots := map[model.Place]model.Spot{}
	for spot, place := range a.places {
		spots[place] = spot
	}
	for _, c := range todo.Modify {
		a.one(ctx, []model.Spot{spots[c.Place]}, func() error { return a.session.ModifyRule(ctx, a.lb.ID, c.Place, c.Have, c.Want) })
	}
	for _, c := range todo.Domains {
		var of []model.Spot
		there := false
		for spot, place := range a.places {
			if place.Listener == c.Listener && spot.Domain == c.Domain {
				of, there = append(of, spot), true
			}
		}
		if there { // the domain's rules may all have failed
			a.one(ctx, of, func() error { return a.session.ModifyDomain(ctx, a.lb, c.Listener, c.Domain, c.Have, c.Want) })
		}
	}
	a.redirect(ctx, todo.Redirect)
	for _, r := range todo.Remove {
		a.do(ctx, len(r.Locations), func() error { return a.session.DeleteRules(ctx, a.lb, r.Listener, r.Locations, r.NewDefault) })
	}
}

// do makes a change of n rules, if there are any and there is time.
func (a *ruleApplier) do(ctx context.Context, n int, change func() error) {
	switch {
	case n == 0:
	case a.over(ctx):
		a.stopped = true
	default:
		if err := change(); err != nil {
			a.stopped = true
			a.fail(err)
			return
		}
		a.wrote("Rules", n)
	}
}

// one makes a change that concerns the rules given.
func (a *ruleApplier) one(ctx context.Context, of []model.Spot, change func() error) {
	a.do(ctx, 1, func() error {
		err := change()
		if err != nil {
			for _, spot := range of {
				a.broken[spot] = err
			}
		}
		return err
	})
}

// create makes rules with one call; when the call is refused, with halves of it, so
// that a bad one doesn't keep the others from being made.
func (a *ruleApplier) create(ctx context.Context, listener string, rules []model.WantedRule) {
	if a.over(ctx) {
		a.stopped = true
		return
	}
	ids, err := a.session.CreateRules(ctx, a.lb, listener, rules)
	if err == nil {
		for i, r := range rules {
			if i < len(ids) {
				a.places[r.Spot] = model.Place{Listener: listener, Location: ids[i]}
			}
		}
		a.wrote("Rules", len(rules))
		return
	}
	if len(rules) > 1 && len(a.broken) < maxRefusals && (separable(err) || fault.Is(err, fault.Permanent)) {
		half := (len(rules) + 1) / 2
		a.create(ctx, listener, rules[:half])
		a.create(ctx, listener, rules[half:])
		return
	}
	a.stopped = true
	for _, r := range rules {
		a.broken[r.Spot] = err
	}
	a.fail(err)
}

// redirect makes the redirects both of whose ends are there.
func (a *ruleApplier) redirect(ctx context.Context, changes []plan.RedirectChange) {
	var rs []model.Redirection
	for _, c := range changes {
		from, made := a.places[c.From]
		to, there := a.places[c.To]
		if !made || !there {
			a.stopped = true // they are looked for again
			a.reply.RequeueAfter(verifyAfter)
			continue
		}
		rs = append(rs, model.Redirection{From: from, To: to, Code: c.Code})
	}
	a.do(ctx, len(rs), func() error { return a.session.Redirect(ctx, a.lb.ID, rs) })
}
