package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Rules is what a plan for the rules of one CLB's layer-7 listeners is made from.
type Rules struct {
	// Wanted are the rules of every Ingress known to use the CLB. Those whose listener
	// isn't there are left out: they have a conflict of their own, or come later.
	Wanted []model.WantedRule
	// Listeners are those of ours, as observed.
	Listeners []model.Listener
	// Owner tells whose an observed rule is by UID, "" for anybody this plan doesn't
	// speak for: such a rule is never touched and keeps its domain and path.
	Owner func(model.Spot) string
}

// RuleChange is a rule as it is and as it should be.
type RuleChange struct {
	Place      model.Place
	Have, Want model.Attributes
}

// DomainChange is a domain at a listener as it is and as it should be.
type DomainChange struct {
	Listener, Domain string
	Have, Want       model.DomainAttributes
}

// RedirectChange has a rule redirect to another. Which places they have is known once
// both are made.
type RedirectChange struct {
	From model.Spot
	model.WantedRedirect
}

// Removal is what goes from one listener.
type Removal struct {
	Listener  string
	Locations []string
	// NewDefault is the domain that must become the default because the one that is
	// goes with these rules, nil if it doesn't (CLB API, DeleteRule).
	NewDefault *string
}

// RuleConflict is a wanted rule that can't be had: By is the UID of who has domain and
// path, "" somebody who isn't one of ours.
type RuleConflict struct {
	Wanted model.WantedRule
	By     string
}

// RulePlan is the outcome. Order: Straighten, Create, Modify, Domains, Redirect,
// Remove: what is new serves before what is old goes.
type RulePlan struct {
	// Straighten are redirects of ours that must end, by source.
	Straighten []model.Redirection
	// Create are rules to be made, by listener id.
	Create    map[string][]model.WantedRule
	Modify    []RuleChange
	Domains   []DomainChange
	Redirect  []RedirectChange
	Remove    []Removal
	Conflicts []RuleConflict
	// Granted are the rules that are there or will be.
	Granted []model.WantedRule
}

// Empty tells that nothing is to be changed on the CLB.
func (p RulePlan) Empty() bool {
	return len(p.Straighten)+len(p.Create)+len(p.Modify)+len(p.Domains)+len(p.Redirect)+len(p.Remove) == 0
}

// found is an observed rule.
type found struct {
	model.Rule
	spot  model.Spot
	place model.Place
}

// Plan decides by domain and path. Where two Ingresses want the same the older right
// has it.
func (r Rules) Plan() RulePlan {
	out := RulePlan{Create: map[string][]model.WantedRule{}}
	ids := map[string]string{}
	var observed []found
	taken := map[model.Spot]holder{}
	spots := map[model.Place]model.Spot{}
	for _, l := range r.Listeners {
		ids[l.Name] = l.ID
		for _, rule := range l.Rules {
			f := found{rule, model.Spot{Listener: l.Name, Domain: rule.Domain, Path: rule.Path}, model.Place{Listener: l.ID, Location: rule.ID}}
			spots[f.place] = f.spot
			if r.Owner(f.spot) == "" {
				taken[f.spot] = holder{foreign: true}
				continue
			}
			observed = append(observed, f)
		}
	}
	slices.SortStableFunc(observed, func(a, b found) int { return a.spot.Compare(b.spot) })
	wanted := keep(r.Wanted, func(w model.WantedRule) bool { return ids[w.Listener] != "" })
	slices.SortStableFunc(wanted, func(a, b model.WantedRule) int { return cmp.Or(a.Owner.Before(b.Owner), a.Spot.Compare(b.Spot)) })
	granted, lost := contest(wanted, taken, func(w model.WantedRule) model.Spot { return w.Spot }, func(w model.WantedRule) string { return w.Owner.UID })
	for _, c := range lost {
		out.Conflicts = append(out.Conflicts, RuleConflict{Wanted: c.want, By: c.by.name})
	}
	out.Granted = granted

	both, missing, gone := match(granted, observed, func(w model.WantedRule) model.Spot { return w.Spot }, func(f found) model.Spot { return f.spot })
	for _, p := range both {
		if p.Want.Redirect == nil {
			if want, changed := p.Want.Settings.Apply(p.Have.Attributes); changed {
				out.Modify = append(out.Modify, RuleChange{p.Have.place, p.Have.Attributes, want})
			}
		}
		have := p.Have.Redirect
		same := have != nil && p.Want.Redirect != nil && spots[have.To] == p.Want.Redirect.To && (have.Code == p.Want.Redirect.Code || have.Code == 0)
		if have != nil && !same {
			out.Straighten = append(out.Straighten, model.Redirection{From: p.Have.place, To: have.To, Code: have.Code})
		}
		if p.Want.Redirect != nil && !same {
			out.Redirect = append(out.Redirect, RedirectChange{p.Want.Spot, *p.Want.Redirect})
		}
	}
	for _, w := range missing {
		out.Create[ids[w.Listener]] = append(out.Create[ids[w.Listener]], w)
		if w.Redirect != nil {
			out.Redirect = append(out.Redirect, RedirectChange{w.Spot, *w.Redirect})
		}
	}
	for _, f := range gone {
		if f.Redirect != nil {
			out.Straighten = append(out.Straighten, model.Redirection{From: f.place, To: f.Redirect.To, Code: f.Redirect.Code})
		}
	}
	slices.SortStableFunc(out.Redirect, func(a, b RedirectChange) int { return a.From.Compare(b.From) })
	for _, l := range r.Listeners {
		r.domains(&out, l, granted)
		r.remove(&out, l, gone, granted)
	}
	return out
}

// domains finds what is to be changed of the domains of a listener. A domain that is
// only being made gets its certificate with its rules; its being the default may have
// to be said once it is there.
func (r Rules) domains(out *RulePlan, l model.Listener, granted []model.WantedRule) {
	have := map[string]model.DomainAttributes{}
	for _, rule := range l.Rules {
		have[rule.Domain] = rule.DomainAttributes
	}
	want := map[string]model.DomainAttributes{}
	decided := map[string]bool{}
	standard, defaulted := "", false
	for _, w := range granted {
		if w.Listener != l.Name {
			continue
		}
		attributes, there := want[w.Domain]
		if !there {
			attributes = have[w.Domain]
			if _, exists := have[w.Domain]; !exists {
				attributes = created(w)
			}
		}
		if !decided[w.Domain] && (w.Certificate != nil || w.HTTP2 != nil) {
			decided[w.Domain] = true // of two that differ, the older right
			if w.Certificate != nil {
				attributes.Certificate = *w.Certificate
			}
			if w.HTTP2 != nil {
				attributes.HTTP2 = *w.HTTP2
			}
		}
		if w.DefaultServer && !defaulted {
			attributes.DefaultServer, standard, defaulted = true, w.Domain, true
		}
		want[w.Domain] = attributes
	}
	for _, domain := range slices.Sorted(maps.Keys(want)) {
		before, exists := have[domain]
		if !exists {
			before = madeWith(granted, l.Name, domain)
		}
		if defaulted && domain != standard {
			// It is the default no more by the other's becoming it.
			before.DefaultServer = false
			after := want[domain]
			after.DefaultServer = false
			want[domain] = after
		}
		if want[domain] != before {
			out.Domains = append(out.Domains, DomainChange{Listener: l.ID, Domain: domain, Have: before, Want: want[domain]})
		}
	}
}

// created is what a domain has once a rule has made it.
func created(w model.WantedRule) (a model.DomainAttributes) {
	if w.Certificate != nil {
		a.Certificate = *w.Certificate
	}
	if w.HTTP2 != nil {
		a.HTTP2 = *w.HTTP2
	}
	return a
}

// madeWith is what a domain has once the first of its rules has made it.
func madeWith(granted []model.WantedRule, listener, domain string) model.DomainAttributes {
	for _, w := range granted {
		if w.Listener == listener && w.Domain == domain {
			return created(w)
		}
	}
	return model.DomainAttributes{}
}

// remove finds what goes from a listener, and who is the default afterwards.
func (r Rules) remove(out *RulePlan, l model.Listener, gone []found, granted []model.WantedRule) {
	going := map[string]bool{}
	removal := Removal{Listener: l.ID}
	for _, f := range gone {
		if f.place.Listener == l.ID {
			going[f.ID] = true
			removal.Locations = append(removal.Locations, f.ID)
		}
	}
	if len(removal.Locations) == 0 {
		return
	}
	left := map[string]bool{}
	was, moved := "", false
	for _, rule := range l.Rules {
		if rule.DefaultServer {
			was, moved = rule.Domain, true
		}
		if !going[rule.ID] {
			left[rule.Domain] = true
		}
	}
	for _, w := range granted {
		if w.Listener == l.Name {
			left[w.Domain] = true
			if w.DefaultServer {
				moved = false // it has become the default before anything goes
			}
		}
	}
	if moved && !left[was] && len(left) > 0 {
		removal.NewDefault = &slices.Sorted(maps.Keys(left))[0]
	}
	out.Remove = append(out.Remove, removal)
}
