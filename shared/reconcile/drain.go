package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/shared/clb"
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
// the next one drains. A pod that can't be marked keeps none of the others from it.
func (s *scene) mark(ctx context.Context) {
	ending := map[string]map[string]string{} // containers' names and ids, by the pod's UID
	for _, named := range s.req.Sync.Pods {
		if name, id, draining := strings.Cut(named.Draining, "="); draining {
			if ending[named.UID] == nil {
				ending[named.UID] = map[string]string{}
			}
			ending[named.UID][name] = id
		}
	}
	s.each(s.pods, func(pod *model.Pod) error { return s.markOne(ctx, pod, ending[pod.UID]) })
}

// each does something for every pod, several at a time, and notes what fails but for pods
// that are gone. Tens of Services may be rolled at once, and their containers are held
// meanwhile.
func (p *pass) each(pods []*model.Pod, do func(*model.Pod) error) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, pod := range pods {
		g.Go(func() error {
			if err := do(pod); err != nil && !fault.Is(err, fault.NotFound) {
				mu.Lock()
				defer mu.Unlock()
				p.fail(err)
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return nothing but nil
}

// markOne marks containers of a pod by name and id. One that is no longer that of the
// event has ended already, and its successor must not be drained in its place. Others
// write to a pod that goes, above all its kubelet, and then it is read again.
func (s *scene) markOne(ctx context.Context, pod *model.Pod, ending map[string]string) error {
	return s.untilWritten(ctx, pod, func() error {
		drains := map[string]model.Drain{}
		drained := model.Condition{Reason: reasonDraining}
		if pod.Draining { // then the weights are 0 for its sake, or will be
			maps.Copy(drains, pod.Drains)
			if pod.Drained != nil {
				drained = *pod.Drained
			}
		}
		n := 0
		for name, id := range ending {
			if pod.Containers[name] == id && !pod.Marked(name, id) {
				drains[name] = model.Drain{ID: id, At: s.Now().Truncate(time.Millisecond)}
				n++
			}
		}
		if n == 0 {
			return nil
		}
		err := s.Kube.PatchDrain(ctx, pod, drains, drained, s.Now())
		if err == nil {
			s.wrote("Marks", n)
		}
		return err
	})
}

// conflicts bounds how often a pod that others write to is read again.
const conflicts = 10

// untilWritten has write try again with the pod as it is now whenever somebody else has
// written first, unless another pod has its name by then.
func (p *pass) untilWritten(ctx context.Context, pod *model.Pod, write func() error) error {
	for n := 1; ; n++ {
		err := write()
		if !fault.Is(err, fault.Conflict) || n == conflicts {
			return err
		}
		now, err := p.Kube.Pod(ctx, pod.Ref())
		if err != nil {
			return err
		}
		if now.UID != pod.UID {
			return nil
		}
		*pod = now
	}
}

// drained says on pods with a mark in force that this CLB has taken their weights to 0,
// and when all CLBs that serve them have: whoever holds their containers waits for that.
// A pod that serves again is no longer drained.
func (a *applier) drained(ctx context.Context) {
	if err := a.assure(ctx); err != nil {
		a.fail(err)
		return
	}
	var zeroed, serving []*model.Pod
	for _, pod := range a.scene.pods {
		switch {
		case pod.Draining && !a.open(pod):
			if pod.Drained == nil || !pod.Drained.Status {
				zeroed = append(zeroed, pod)
			}
		case !pod.Draining && !pod.Deleting && len(pod.Drains) > 0:
			serving = append(serving, pod)
		}
	}
	a.zeroed(ctx, zeroed)
	a.each(serving, func(pod *model.Pod) error { return a.serving(ctx, pod) })
	for _, pod := range a.scene.pods {
		if until := pod.DrainedUntil(a.Now()); !until.IsZero() && !pod.Deleting {
			a.reply.RequeueAfter(until.Sub(a.Now()) + time.Second)
			a.reply.PendingPods = append(a.reply.PendingPods, event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, IP: pod.IP})
		}
	}
}

// assure makes sure that what was read of the draining pods' targets is so. Where a pass
// before this one has died, or lost the answer of a write:
//
//  1. its write, the raise of a pod that is drained now, is a task that goes on
//  2. this pass reads a weight of 0, and has nothing to write
//  3. SIGTERM would come with the raise
//
// A write of ours, even of what is there already, comes after it: the CLB takes one at a
// time.
func (a *applier) assure(ctx context.Context) error {
	if !a.doubted && !a.session.Doubtful() {
		return nil
	}
	var again []model.Target
	for _, pod := range a.scene.pods {
		if !pod.Draining || pod.Drained != nil && pod.Drained.Status {
			continue
		}
		for _, t := range a.scene.observed {
			if (t.Tag == pod.UID || t.IP == pod.IP) && t.Weight == 0 && len(again) < clb.MaxBatch {
				again = append(again, t)
			}
		}
	}
	if len(again) == 0 {
		return nil
	}
	return a.session.SetWeights(ctx, a.lb, again)
}

// open tells whether the CLB may still send the pod anything new.
func (a *applier) open(pod *model.Pod) bool {
	return slices.ContainsFunc(a.scene.observed, func(t model.Target) bool {
		return t.Weight > 0 && (t.Tag == pod.UID || t.IP == pod.IP) &&
			!slices.ContainsFunc(a.changed, func(c model.Target) bool { return c.Key() == t.Key() })
	})
}

// zeroed adds this CLB to those of the pods' conditions. Of several passes that do so at
// a time one writes first, and the others read again.
func (a *applier) zeroed(ctx context.Context, pods []*model.Pod) {
	if len(pods) == 0 {
		return
	}
	var namespaces []string
	for _, pod := range pods {
		if !slices.Contains(namespaces, pod.Namespace) {
			namespaces = append(namespaces, pod.Namespace)
		}
	}
	subjects, err := a.claimedIn(ctx, namespaces)
	if err != nil {
		a.fail(err)
		return
	}
	selected := desired.NewSelected(backingsOf(subjects))
	needed := map[string][]string{} // by the pod's UID
	for _, pod := range pods {
		needed[pod.UID] = balancersOf(selected, pod)
	}
	a.each(pods, func(pod *model.Pod) error { return a.zeroedOne(ctx, pod, needed[pod.UID]) })
}

// zeroedOne is zeroed for a pod that the needed CLBs serve.
func (a *applier) zeroedOne(ctx context.Context, pod *model.Pod, needed []string) error {
	return a.untilWritten(ctx, pod, func() error {
		if !pod.Draining {
			return nil
		}
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
		}
		return err
	})
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
func balancersOf(selected desired.Selected, pod *model.Pod) []string {
	var out []string
	for _, b := range selected.Of(pod) {
		if lb := desired.LoadBalancerOf(b.Front); lb != "" && !slices.Contains(out, lb) {
			out = append(out, lb)
		}
	}
	return out
}
