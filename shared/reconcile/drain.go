package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Reasons of the condition DrainedType.
const (
	reasonDraining = "Draining"
	reasonDrained  = "Drained"
	reasonServing  = "Serving"
)

// zeroAt begins the condition's message: which CLBs have taken the pod's weights to 0.
const zeroAt = "weight 0 at "

// mark notes on the pods of the event which of their containers are about to end, before
// anything is done about it: a pass that dies after its first write leaves a pod that
// the next one drains. A container that is no longer the one the event speaks of has
// ended already, and its successor must not be drained in its place.
func (s *scene) mark(ctx context.Context) error {
	for _, named := range s.req.Sync.Pods {
		name, id, draining := strings.Cut(named.Draining, "=")
		if !draining {
			continue
		}
		for _, pod := range s.pods {
			if pod.UID != named.UID || pod.Containers[name] != id || pod.Marked(name, id) {
				continue
			}
			if err := s.markOne(ctx, pod, name, id); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
	}
	return nil
}

func (s *scene) markOne(ctx context.Context, pod *model.Pod, name, id string) error {
	drains := map[string]model.Drain{}
	drained := model.Condition{Reason: reasonDraining}
	if pod.Draining { // then the weights are 0 for its sake, or will be
		maps.Copy(drains, pod.Drains)
		if pod.Drained != nil {
			drained = *pod.Drained
		}
	}
	drains[name] = model.Drain{ID: id, At: s.Now().Truncate(time.Millisecond)}
	s.wrote("Marks", 1)
	return s.Kube.PatchDrain(ctx, pod, drains, drained, s.Now())
}

// drained says on pods with a mark in force that this CLB has taken their weights to 0,
// and when all CLBs that serve them have: whoever holds their containers waits for that.
// A pod that serves again is no longer drained.
func (a *applier) drained(ctx context.Context) {
	for _, pod := range a.scene.pods {
		var err error
		switch {
		case pod.Draining && !a.open(pod):
			err = a.zeroed(ctx, pod)
		case !pod.Draining && !pod.Deleting && len(pod.Drains) > 0:
			err = a.serving(ctx, pod)
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			a.fail(err)
		}
		if until := pod.DrainedUntil(a.Now()); !until.IsZero() && !pod.Deleting {
			a.reply.RequeueAfter(until.Sub(a.Now()) + time.Second)
			a.reply.PendingPods = append(a.reply.PendingPods, event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, IP: pod.IP})
		}
	}
}

// open tells whether the CLB may still send the pod anything new.
func (a *applier) open(pod *model.Pod) bool {
	return slices.ContainsFunc(a.scene.observed, func(t model.Target) bool {
		return t.Weight > 0 && (t.Tag == pod.UID || t.IP == pod.IP) &&
			!slices.ContainsFunc(a.changed, func(c model.Target) bool { return c.Key() == t.Key() })
	})
}

// zeroed adds this CLB to those of the pod's condition. Of several passes that do so at
// a time one writes first, and the others read again.
func (a *applier) zeroed(ctx context.Context, pod *model.Pod) error {
	if pod.Drained != nil && pod.Drained.Status {
		return nil
	}
	needed, err := a.balancersOf(ctx, pod)
	if err != nil {
		return err
	}
	for {
		at := zeroedAt(pod)
		if !slices.Contains(at, a.lb) {
			at = append(at, a.lb)
			slices.Sort(at)
		}
		all := !slices.ContainsFunc(needed, func(lb string) bool { return !slices.Contains(at, lb) })
		next := model.Condition{Status: all, Reason: reasonDraining, Message: zeroAt + strings.Join(at, ", ")}
		if all {
			next.Reason = reasonDrained
		}
		if have := pod.Drained; have != nil && have.Status == next.Status && have.Message == next.Message {
			return nil
		}
		err := a.Kube.PatchDrain(ctx, pod, pod.Drains, next, a.Now())
		if err == nil {
			a.wrote("Drained", 1)
			return nil
		}
		if !fault.Is(err, fault.Conflict) {
			return err
		}
		now, err := a.Kube.Pod(ctx, pod.Ref())
		if err != nil {
			return err
		}
		if now.UID != pod.UID || !now.Draining {
			return nil
		}
		*pod = now
	}
}

// serving takes the condition back. Where the container that was to end is still there,
// people are told: somebody has asked for a drain that nothing followed.
func (a *applier) serving(ctx context.Context, pod *model.Pod) error {
	for _, name := range slices.Sorted(maps.Keys(pod.Drains)) {
		if d := pod.Drains[name]; pod.Marked(name, pod.Containers[name]) {
			a.note(ctx, kube.Note{Kind: "Pod", Ref: pod.Ref(), UID: pod.UID, Warning: true, Reason: "DrainExpired",
				Message: fmt.Sprintf("container %s was drained at %s and has not ended since: the pod serves again", name, d.At.Format(time.RFC3339))})
		}
	}
	return a.Kube.PatchDrain(ctx, pod, nil, model.Condition{Reason: reasonServing}, a.Now())
}

// zeroedAt are the CLBs that the pod's condition names.
func zeroedAt(pod *model.Pod) []string {
	if pod.Drained == nil {
		return nil
	}
	list, ok := strings.CutPrefix(pod.Drained.Message, zeroAt)
	if !ok {
		return nil
	}
	return strings.Split(list, ", ")
}

// balancersOf are the CLBs of everything claimed that selects the pod.
func (a *applier) balancersOf(ctx context.Context, pod *model.Pod) ([]string, error) {
	subjects, err := a.claimedIn(ctx, []string{pod.Namespace})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range desired.NewSelected(backingsOf(subjects)).Of(pod) {
		if lb := desired.LoadBalancerOf(b.Front); lb != "" && !slices.Contains(out, lb) {
			out = append(out, lb)
		}
	}
	return out, nil
}
