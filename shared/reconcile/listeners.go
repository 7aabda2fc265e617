package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// maxListeners made in one call, below the API's limit of ports.
const maxListeners = 20

// applyListeners takes a listener plan's steps: what stands in the way goes first,
// what nobody wants any more last. It returns what failed, by listener name.
func (p *pass) applyListeners(ctx context.Context, session *clb.Session, lb string, todo plan.ListenerPlan) map[string]error {
	failed := map[string]error{}
	fail := func(err error, names ...string) {
		for _, n := range names {
			failed[n] = err
		}
		p.fail(err)
	}
	remove := func(listeners []model.Listener) {
		if len(listeners) == 0 || p.over(ctx) {
			return
		}
		var ids, names []string
		for _, l := range listeners {
			ids, names = append(ids, l.ID), append(names, l.Name)
		}
		if err := session.DeleteListeners(ctx, lb, ids); err != nil {
			fail(err, names...)
			return
		}
		p.wrote("Listeners", len(ids))
	}
	for _, c := range todo.Take {
		if p.over(ctx) {
			break
		}
		if err := session.ModifyListener(ctx, lb, c.Have, c.Want); err != nil {
			fail(err, c.Want.Name)
			continue
		}
		p.wrote("Listeners", 1)
	}
	remove(todo.Free)
	for _, c := range todo.Modify {
		if p.over(ctx) {
			break
		}
		if err := session.ModifyListener(ctx, lb, c.Have, c.Want); err != nil {
			fail(err, c.Have.Name)
			continue
		}
		p.wrote("Listeners", 1)
	}
	for _, group := range sameCall(todo.Create) {
		p.createListeners(ctx, session, lb, group, fail)
	}
	remove(todo.Delete)
	return failed
}

// createListeners makes listeners with one call; when the call is refused, one by
// one, so that a bad one doesn't keep the others from being made.
func (p *pass) createListeners(ctx context.Context, session *clb.Session, lb string, group []model.WantedListener, fail func(error, ...string)) {
	if p.over(ctx) {
		return
	}
	_, err := session.CreateListeners(ctx, lb, group)
	if err == nil {
		p.wrote("Listeners", len(group))
		return
	}
	retry := fault.Is(err, fault.Conflict) || fault.Is(err, fault.Permanent) || fault.Is(err, fault.Invalid)
	if len(group) > 1 && retry && clb.Code(err) != "" {
		for _, w := range group {
			p.createListeners(ctx, session, lb, []model.WantedListener{w}, fail)
		}
		return
	}
	var names []string
	for _, w := range group {
		names = append(names, w.Name)
	}
	fail(err, names...)
}

// over tells whether the pass hands over instead of starting another write.
func (p *pass) over(ctx context.Context) bool {
	if p.spent(ctx) {
		p.reply.Continue = true
		return true
	}
	return false
}

// sameCall groups listeners that one call can make.
func sameCall(wanted []model.WantedListener) [][]model.WantedListener {
	var groups [][]model.WantedListener
next:
	for _, w := range wanted {
		for i, g := range groups {
			if len(g) < maxListeners && clb.SameCall(g[0], w) {
				groups[i] = append(g, w)
				continue next
			}
		}
		groups = append(groups, []model.WantedListener{w})
	}
	return slices.Clip(groups)
}

// recordTaken writes on the Services, before listeners of others become theirs, what
// these were called: without that nobody could give them back.
func (p *pass) recordTaken(ctx context.Context, wards []*ward, take []plan.ListenerChange) error {
	for _, w := range wards {
		names := map[string]string{}
		maps.Copy(names, desired.TakenOf(w.Front))
		had := len(names)
		var told []string
		for _, c := range take {
			if o, _ := desired.OwnerOf(c.Want.Name); o.UID == w.UID {
				names[desired.PortKey(o.Protocol, o.Port)] = c.Have.Name
				told = append(told, fmt.Sprintf("%q at port %d", c.Have.Name, o.Port))
			}
		}
		if len(told) == 0 {
			continue
		}
		if err := p.patch(ctx, w.Front, map[string]any{desired.Taken: desired.TakenValue(names)}, nil); err != nil {
			return err
		}
		if len(names) > had {
			p.note(ctx, kube.Note{Kind: string(w.Kind), Ref: w.Ref(), UID: w.UID, Reason: "ListenersTaken",
				Message: fmt.Sprintf("load balancer %s: taking over listener %s", w.lb.ID, strings.Join(told, ", "))})
		}
	}
	return nil
}

// giveBack gives listeners that an object took over the names that they had, and leaves
// them with all that is bound: whoever had them goes on from there. It returns the rest.
func (p *pass) giveBack(ctx context.Context, session *clb.Session, s *subject, lb string, listeners []model.Listener) ([]model.Listener, error) {
	taken := desired.TakenOf(s.Front)
	var rest []model.Listener
	for _, l := range listeners {
		o, _ := desired.OwnerOf(l.Name)
		name, ok := taken[desired.PortKey(o.Protocol, o.Port)]
		if !ok || s.Deleting || o.UID != s.UID {
			rest = append(rest, l)
			continue
		}
		back := l
		back.Name = name
		if err := session.ModifyListener(ctx, lb, l, back); err != nil {
			return nil, err
		}
		p.wrote("Listeners", 1)
		p.note(ctx, kube.Note{Kind: string(s.Kind), Ref: s.Ref(), UID: s.UID, Reason: "ListenersGivenBack",
			Message: fmt.Sprintf("load balancer %s: listener %q at port %d is left as it is, with its targets", lb, name, l.Port)})
	}
	return rest, nil
}
