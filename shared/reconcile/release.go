package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// release lets go of everything an object holds, and of the object last:
//
//  1. its listeners and rules on the CLB, with what is bound there; the CLB too, if it
//     was made for it and carries nobody else's listener
//  2. the gates of its pods, decided without it: or they would wait for ever
//  3. annotations, status and finalizer, in that order
//
// Dying anywhere between leaves the finalizer, and so another try.
func (p *pass) release(ctx context.Context, s *subject) {
	k := desired.KeysOf(s.Kind)
	lbs, err := p.loadBalancersOf(ctx, s.Front)
	if err != nil {
		p.fail(err)
		return
	}
	for _, lb := range lbs {
		if done, err := p.vacate(ctx, s, &lb); err != nil || !done {
			if err != nil {
				p.fail(err)
				p.failed(ctx, s.Front, err)
			}
			return
		}
	}
	if err := p.letGo(ctx, s); err != nil {
		p.fail(err)
		return
	}
	if len(s.Addresses) > 0 && (s.Ingress != nil || s.Service.Type == "LoadBalancer") {
		if err := p.Kube.PatchFrontStatus(ctx, s.Front, nil); err != nil {
			p.fail(err)
			return
		}
	}
	finalizers := slices.DeleteFunc(slices.Clone(s.Finalizers), func(f string) bool { return f == k.Finalizer })
	if finalizers == nil {
		finalizers = []string{}
	}
	if err := p.patch(ctx, s.Front, map[string]any{k.LoadBalancerID: nil, k.ClientToken: nil, desired.Refused: nil, desired.Rules: nil, desired.Taken: nil}, finalizers); err != nil {
		p.fail(err)
		return
	}
	if !s.Deleting {
		p.note(ctx, kube.Note{Kind: string(s.Kind), Ref: s.Ref(), UID: s.UID, Reason: "Released", Message: "direct access is off: everything on the load balancer was released"})
	}
}

// loadBalancersOf finds every CLB that f may hold something on: the one it uses, and
// one made for it that it never learned the id of.
func (p *pass) loadBalancersOf(ctx context.Context, f *model.Front) ([]model.LoadBalancer, error) {
	k := desired.KeysOf(f.Kind)
	session := p.session(nil)
	out, err := session.LoadBalancersTagged(ctx, desired.OwnTags(f, p.Policy))
	if err != nil {
		return nil, err
	}
	for _, id := range []string{f.Annotations[k.LoadBalancerID], f.Annotations[k.ExistingLB]} {
		if id == "" || slices.ContainsFunc(out, func(lb model.LoadBalancer) bool { return lb.ID == id }) {
			continue
		}
		found, err := session.LoadBalancers(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// vacate removes what an object holds on lb, and lb if it was made for it. done is
// false when it takes another pass.
func (p *pass) vacate(ctx context.Context, s *subject, lb *model.LoadBalancer) (done bool, err error) {
	if !lb.Ready {
		p.reply.RequeueAfter(creating)
		return false, nil
	}
	session, release, ok := p.lock(ctx, lb.ID)
	if !ok {
		return false, nil
	}
	defer release()
	listeners, err := session.Listeners(ctx, lb.ID)
	if err != nil {
		return false, err
	}
	c := claims{policy: p.Policy, lb: lb.ID, wards: []*ward{{subject: s, lb: *lb}}}
	if listeners, err = p.giveBack(ctx, session, s, lb.ID, listeners); err != nil {
		return false, err
	}
	var going []string
	var shared []model.Listener
	for _, l := range listeners {
		switch {
		case c.owns(l.Name) && !c.keeps(l):
			going = append(going, l.ID)
		case c.owns(l.Name):
			shared = append(shared, l)
		}
	}
	others := len(listeners) - len(going)
	if len(going) > 0 {
		if err := session.DeleteListeners(ctx, lb.ID, going); err != nil {
			return false, err
		}
		p.wrote("Listeners", len(going))
	}
	if len(shared) > 0 {
		todo := plan.Rules{Listeners: shared, Owner: c.owner}.Plan()
		a := ruleApplier{pass: p, session: session, lb: lb, places: model.Spots(shared), broken: map[model.Spot]error{}}
		if a.run(ctx, todo); a.stopped {
			return false, nil
		}
	}
	if !desired.Created(lb, s.Front, p.Policy) {
		return true, nil
	}
	if others > 0 {
		p.warn(ctx, s.Front, "LoadBalancerKept", fmt.Sprintf("load balancer %s was made for this %s but carries %d listeners of others: it is left to them", lb.ID, s.Kind, others))
		return true, nil
	}
	if p.over(ctx) {
		return false, nil
	}
	return true, session.DeleteLoadBalancer(ctx, lb.ID)
}

// letGo decides the gates of the pods that an object selects, without it.
func (p *pass) letGo(ctx context.Context, s *subject) error {
	wants, err := p.wantsStill(ctx, s)
	if err != nil {
		return err
	}
	selected := desired.NewSelected(wants.Backings)
	pods, err := p.selectedPods(ctx, selected.Services())
	if err != nil {
		return err
	}
	pods = slices.DeleteFunc(pods, func(pod *model.Pod) bool {
		return !pod.Gated || pod.Terminal() || pod.Deleting || pod.Gate != nil && pod.Gate.Status
	})
	if len(pods) == 0 {
		return nil
	}
	subjects, err := p.claimedIn(ctx, []string{s.Namespace})
	if err != nil {
		return err
	}
	subjects = slices.DeleteFunc(subjects, func(other *subject) bool { return other.UID == s.UID })
	sub := p.begin(p.req)
	sub.decide(ctx, sub.session(nil), subjects, pods)
	p.sessions = append(p.sessions, sub.sessions...)
	if f := sub.reply.Failure; f != nil {
		return fmt.Errorf("deciding the gates of the pods it held: %s", f.Message)
	}
	// Those that still wait do so for other objects, or for their minute without
	// any: readiness looks after them from here.
	if len(sub.reply.PendingPods) > 0 {
		p.reply.Wake = append(p.reply.Wake, event.Wake{Function: event.Readiness, Sync: event.Sync{
			Cluster: p.Policy.Cluster, Namespaces: []string{s.Namespace}, Pods: sub.reply.PendingPods}})
	}
	return nil
}

// wantsStill is what an object that isn't ours any more would want: whose pods it had.
func (p *pass) wantsStill(ctx context.Context, s *subject) (desired.Wants, error) {
	if s.Ingress != nil {
		s.Services = map[string]*model.Service{}
		for _, name := range desired.ServicesOf(s.Object) {
			svc, err := p.Kube.Service(ctx, model.Ref{Namespace: s.Namespace, Name: name})
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return desired.Wants{}, err
			}
			s.Services[name] = &svc
		}
	}
	return desired.WantsOf(s.Object, s.Sources, p.Policy), nil
}

// leave lets go of a CLB that the object used before it named another.
func (p *pass) leave(ctx context.Context, w *ward, id string) {
	k := desired.KeysOf(w.Kind)
	found, err := p.session(nil).LoadBalancers(ctx, id)
	if err != nil {
		p.fail(err)
		return
	}
	for _, lb := range found {
		if done, err := p.vacate(ctx, w.subject, &lb); err != nil || !done {
			if err != nil {
				p.fail(err)
			}
			return
		}
	}
	if err := p.patch(ctx, w.Front, map[string]any{k.LoadBalancerID: nil, k.ClientToken: nil, desired.Rules: nil}, nil); err != nil {
		p.fail(err)
		return
	}
	p.reply.Continue = true
}
