package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// release lets go of everything a Service holds, and of the Service last:
//
//  1. its listeners on the CLB, with what is bound there; the CLB too, if it was
//     made for it and carries nobody else's listener
//  2. the gates of its pods, decided without it: or they would wait for ever
//  3. annotations, status and finalizer, in that order
//
// Dying anywhere between leaves the finalizer, and so another try.
func (p *pass) release(ctx context.Context, svc *model.Service) {
	w := &ward{svc: svc}
	lbs, err := p.loadBalancersOf(ctx, svc)
	if err != nil {
		p.fail(err)
		return
	}
	for _, lb := range lbs {
		if done, err := p.vacate(ctx, w, &lb); err != nil || !done {
			if err != nil {
				p.fail(err)
				p.failedService(ctx, svc, err)
			}
			return
		}
	}
	if err := p.letGo(ctx, svc); err != nil {
		p.fail(err)
		return
	}
	if len(svc.Addresses) > 0 && svc.Type == "LoadBalancer" {
		cleared, err := p.Kube.PatchServiceStatus(ctx, w.svc, nil)
		if err != nil {
			p.fail(err)
			return
		}
		w.svc = &cleared
	}
	finalizers := slices.DeleteFunc(slices.Clone(w.svc.Finalizers), func(f string) bool { return f == desired.Finalizer })
	if finalizers == nil {
		finalizers = []string{}
	}
	if err := p.patch(ctx, w, map[string]any{desired.LoadBalancerID: nil, desired.ClientToken: nil, desired.Refused: nil}, finalizers); err != nil {
		p.fail(err)
		return
	}
	if !svc.Deleting {
		p.note(ctx, kube.Note{Kind: "Service", Ref: svc.Ref(), UID: svc.UID, Reason: "Released", Message: "direct access is off: everything on the load balancer was released"})
	}
}

// loadBalancersOf finds every CLB that svc may hold something on: the one it uses,
// and one made for it that it never learned the id of.
func (p *pass) loadBalancersOf(ctx context.Context, svc *model.Service) ([]model.LoadBalancer, error) {
	session := p.session(nil)
	out, err := session.LoadBalancersTagged(ctx, desired.OwnTags(svc, p.Policy))
	if err != nil {
		return nil, err
	}
	for _, id := range []string{svc.Annotations[desired.LoadBalancerID], svc.Annotations[desired.ExistingLB]} {
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

// vacate removes what svc holds on lb, and lb if it was made for svc. done is
// false when it takes another pass.
func (p *pass) vacate(ctx context.Context, w *ward, lb *model.LoadBalancer) (done bool, err error) {
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
	var ours []string
	others := 0
	for _, l := range listeners {
		if o, mine := desired.OwnerOf(l.Name); mine && o.Cluster == p.Policy.Cluster && o.UID == w.svc.UID {
			ours = append(ours, l.ID)
		} else {
			others++
		}
	}
	if len(ours) > 0 {
		if err := session.DeleteListeners(ctx, lb.ID, ours); err != nil {
			return false, err
		}
		p.wrote("Listeners", len(ours))
	}
	if !desired.Created(lb, w.svc, p.Policy) {
		return true, nil
	}
	if others > 0 {
		p.warnService(ctx, w.svc, "LoadBalancerKept", fmt.Sprintf("load balancer %s was made for this Service but carries %d listeners of others: it is left to them", lb.ID, others))
		return true, nil
	}
	if p.over(ctx) {
		return false, nil
	}
	return true, session.DeleteLoadBalancer(ctx, lb.ID)
}

// letGo decides the gates of the pods that svc selects, without it.
func (p *pass) letGo(ctx context.Context, svc *model.Service) error {
	pods, err := p.selectedPods(ctx, []*model.Service{svc})
	if err != nil {
		return err
	}
	pods = slices.DeleteFunc(pods, func(pod *model.Pod) bool {
		return !pod.Gated || pod.Terminal() || pod.Deleting || pod.Gate != nil && pod.Gate.Status
	})
	if len(pods) == 0 {
		return nil
	}
	services, err := p.claimedIn(ctx, []string{svc.Namespace})
	if err != nil {
		return err
	}
	services = slices.DeleteFunc(services, func(s *model.Service) bool { return s.UID == svc.UID })
	sub := p.begin(p.req)
	sub.decide(ctx, sub.session(nil), services, pods)
	p.sessions = append(p.sessions, sub.sessions...)
	if f := sub.reply.Failure; f != nil {
		return fmt.Errorf("deciding the gates of the pods it held: %s", f.Message)
	}
	// Those that still wait do so for other Services, or for their minute without
	// any: readiness looks after them from here.
	if len(sub.reply.PendingPods) > 0 {
		p.reply.Wake = append(p.reply.Wake, event.Wake{Function: event.Readiness, Sync: event.Sync{
			Cluster: p.Policy.Cluster, Namespaces: []string{svc.Namespace}, Pods: sub.reply.PendingPods}})
	}
	return nil
}

// leave lets go of a CLB that the Service used before it named another.
func (p *pass) leave(ctx context.Context, w *ward, id string) {
	found, err := p.session(nil).LoadBalancers(ctx, id)
	if err != nil {
		p.fail(err)
		return
	}
	for _, lb := range found {
		if done, err := p.vacate(ctx, w, &lb); err != nil || !done {
			if err != nil {
				p.fail(err)
			}
			return
		}
	}
	if err := p.patch(ctx, w, map[string]any{desired.LoadBalancerID: nil, desired.ClientToken: nil}, nil); err != nil {
		p.fail(err)
		return
	}
	p.reply.Continue = true
}
