package plan

import (
	"cmp"
	"slices"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Listeners is what a plan for the listeners of one CLB is made from.
type Listeners struct {
	// Wanted are the listeners of every object known to use the CLB.
	Wanted []model.WantedListener
	// Observed are all listeners that are there, other people's too.
	Observed []model.Listener
	// Owns tells whether a listener, by its name, belongs to an object that this
	// plan speaks for: only those may be modified or deleted.
	Owns func(name string) bool
	// Keep tells of a listener that nobody wants any more whether it must stay all the
	// same: it carries rules of others. nil keeps none.
	Keep func(model.Listener) bool
	// Takes tells whether a wanted listener may become of one that stands at its port and
	// isn't ours: by another name, with all that is bound there. nil takes none.
	Takes func(model.WantedListener, model.Listener) bool
}

// ListenerChange is a listener as it is and as it should be.
type ListenerChange struct {
	Have, Want model.Listener
}

// Conflict is a wanted listener that can't be had: By is who has the port.
type Conflict struct {
	Wanted model.WantedListener
	// By is the listener that stands there, or will.
	By string
	// Foreign: it isn't one of ours.
	Foreign bool
}

// ListenerPlan is the outcome. Order: Take, Free, Modify, Create, Delete.
type ListenerPlan struct {
	// Take are listeners of others that become ours.
	Take []ListenerChange
	// Free are listeners of ours that must go before one that is wanted can be made.
	Free   []model.Listener
	Modify []ListenerChange
	Create []model.WantedListener
	// Delete are listeners of ours that nobody wants any more.
	Delete    []model.Listener
	Conflicts []Conflict
	// Have maps the name of each wanted listener that exists to what exists.
	Have map[string]model.Listener
}

// Empty tells that nothing is to be changed on the CLB.
func (p ListenerPlan) Empty() bool {
	return len(p.Take)+len(p.Free)+len(p.Modify)+len(p.Create)+len(p.Delete) == 0
}

// Plan decides by name, which carries cluster, owner, protocol and port. Where two
// objects want one port the older right has it; a listener that isn't ours always
// keeps its port. Several Ingresses may want one listener: that is no conflict.
func (l Listeners) Plan() ListenerPlan {
	out := ListenerPlan{Have: map[string]model.Listener{}}
	wanted := slices.Clone(l.Wanted)
	slices.SortStableFunc(wanted, func(a, b model.WantedListener) int {
		return cmp.Or(a.Owner.Before(b.Owner), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	observed := slices.Clone(l.Observed)
	slices.SortStableFunc(observed, func(a, b model.Listener) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.ID, b.ID))
	})

	type slot struct {
		port int
		udp  bool
	}
	at := func(p model.Protocol, port int) slot { return slot{port, model.PortClash(p, model.UDP)} }
	taken := map[slot]holder{}
	takes := l.takes(wanted, observed)
	for _, o := range observed {
		if takes[o.ID] == "" && !l.Owns(o.Name) {
			taken[at(o.Protocol, o.Port)] = holder{name: o.Name, foreign: true}
		}
	}
	granted, lost := contest(wanted, taken, func(w model.WantedListener) slot { return at(w.Protocol, w.Port) }, func(w model.WantedListener) string { return w.Name })
	for _, c := range lost {
		out.Conflicts = append(out.Conflicts, Conflict{Wanted: c.want, By: c.by.name, Foreign: c.by.foreign})
	}

	// One that is taken is ours from here on, by its new name.
	before := map[string]model.Listener{}
	for i, o := range observed {
		if name, ok := takes[o.ID]; ok {
			before[o.ID] = o
			observed[i].Name = name
		}
	}
	ours := keep(observed, func(o model.Listener) bool { return takes[o.ID] != "" || l.Owns(o.Name) })
	both, missing, gone := match(granted, ours, func(w model.WantedListener) string { return w.Name }, func(o model.Listener) string { return o.Name })
	for _, p := range both {
		out.Have[p.Want.Name] = p.Have
		want := p.Have
		var changed bool
		if !p.Want.Protocol.Layer7() {
			want.Attributes, changed = p.Want.Settings.Apply(p.Have.Attributes)
		} else if k := p.Want.KeepAlive; k != nil && *k != p.Have.KeepAlive {
			want.KeepAlive, changed = *k, true
		}
		if had, ok := before[p.Have.ID]; ok {
			out.Take = append(out.Take, ListenerChange{Have: had, Want: want})
			continue
		}
		if changed {
			out.Modify = append(out.Modify, ListenerChange{Have: p.Have, Want: want})
		}
	}
	needed := map[slot]bool{}
	for _, w := range missing {
		needed[at(w.Protocol, w.Port)] = true
	}
	out.Create = missing
	for _, o := range gone {
		switch {
		case l.Keep != nil && l.Keep(o):
		case needed[at(o.Protocol, o.Port)]:
			out.Free = append(out.Free, o)
		default:
			out.Delete = append(out.Delete, o)
		}
	}
	return out
}

// takes finds, by id, which listeners of others become which wanted ones. Of several that
// want a port only the first counts, who gets it, and whoever is there already by its own
// name needs none.
func (l Listeners) takes(wanted []model.WantedListener, observed []model.Listener) map[string]string {
	out := map[string]string{}
	if l.Takes == nil {
		return out
	}
	there := map[string]bool{}
	for _, o := range observed {
		there[o.Name] = true
	}
	for _, o := range observed {
		first := slices.IndexFunc(wanted, func(w model.WantedListener) bool {
			return w.Port == o.Port && model.PortClash(w.Protocol, o.Protocol)
		})
		if first < 0 || l.Owns(o.Name) {
			continue
		}
		if w := wanted[first]; w.Protocol == o.Protocol && !there[w.Name] && l.Takes(w, o) {
			out[o.ID], there[w.Name] = w.Name, true
		}
	}
	return out
}
