package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// applier takes the steps of a plan for targets.
type applier struct {
	*pass
	session *clb.Session
	lb      string
	scene   *scene

	// failed are targets whose step failed: later steps leave them alone, all
	// others go on.
	failed map[model.Key]bool
	// parked are targets that the CLB refused, each by itself, and why.
	parked []refusal
	// changed are targets that were written to.
	changed []model.Target
	// doubted: a write of somebody before may have taken effect after targets were read.
	doubted bool
	// stopped: no more writes in this pass.
	stopped bool
}

type refusal struct {
	target model.Target
	err    error
}

// run takes the steps in order. When a Bind is refused, what is to be unbound goes
// first and the Bind is taken again: with a quota short that may be all it needs,
// and a CLB over quota doesn't always say so (it fails by listener).
func (a *applier) run(ctx context.Context, steps []plan.Step) {
	for i, step := range steps {
		before := len(a.parked)
		a.step(ctx, step)
		refused := a.parked[before:]
		last := steps[len(steps)-1]
		if step.Kind != plan.Bind || len(refused) == 0 || last.Kind != plan.Unbind || i == len(steps)-1 {
			continue
		}
		var again []model.Target
		for _, r := range refused {
			delete(a.failed, r.target.Key())
			again = append(again, r.target)
		}
		a.parked = a.parked[:before]
		a.step(ctx, last)
		steps[len(steps)-1].Targets = nil
		a.step(ctx, plan.Step{Kind: plan.Bind, Targets: again})
	}
}

// step takes one step, in batches.
func (a *applier) step(ctx context.Context, step plan.Step) {
	targets := slices.DeleteFunc(slices.Clone(step.Targets), func(t model.Target) bool { return a.failed[t.Key()] })
	for _, batch := range plan.Batches(targets, clb.MaxBatch) {
		if a.stopped {
			return
		}
		if a.spent(ctx) {
			a.stopped, a.reply.Continue = true, true
			return
		}
		switch step.Kind {
		case plan.Bind:
			a.isolate(ctx, batch, func(ts []model.Target) error { return a.session.Bind(ctx, a.lb, ts) }, true)
		case plan.Unbind, plan.Evict:
			a.isolate(ctx, batch, func(ts []model.Target) error { return a.session.Unbind(ctx, a.lb, ts) }, false)
		case plan.Lower, plan.Raise:
			a.isolate(ctx, batch, func(ts []model.Target) error { return a.session.SetWeights(ctx, a.lb, ts) }, true)
		case plan.Adopt:
			a.isolate(ctx, batch, func(ts []model.Target) error { return a.session.SetTags(ctx, a.lb, ts) }, true)
		}
		a.wrote(string(step.Kind), len(batch))
	}
}

// maxRefusals bounds how many single refusals a pass looks for: with a quota used
// up everything is refused, and asking one by one would only spend the API budget.
const maxRefusals = 8

// isolate writes targets with as few calls as it can so that one bad target never
// holds up the others: what fails is looked at again and halved, down to one,
// which is parked. present says whether a target should be there afterwards.
func (a *applier) isolate(ctx context.Context, targets []model.Target, write func([]model.Target) error, present bool) {
	if len(targets) == 0 || a.stopped {
		return
	}
	err := write(targets)
	if err == nil {
		a.changed = append(a.changed, targets...)
		return
	}
	var part *clb.Partial
	isPart := errors.As(err, &part)
	if !isPart && !separable(err) {
		a.stop(ctx, targets, err)
		return
	}
	if len(targets) == 1 || len(a.parked) >= maxRefusals {
		a.park(targets, err)
		return
	}
	if isPart {
		// Some listeners took theirs. What a refusing one did with its own isn't
		// documented, so look.
		rest := slices.DeleteFunc(slices.Clone(targets), func(t model.Target) bool { return !part.Listeners[t.Listener] })
		a.changed = append(a.changed, slices.DeleteFunc(slices.Clone(targets), func(t model.Target) bool { return part.Listeners[t.Listener] })...)
		left, err := a.left(ctx, rest, present)
		if err != nil {
			a.stop(ctx, rest, err)
			return
		}
		if len(left) < len(targets) {
			for _, group := range byListener(left) {
				if a.giveWay(ctx) {
					return
				}
				a.isolate(ctx, group, write, present)
			}
			return
		}
	}
	if a.giveWay(ctx) {
		return
	}
	half := (len(targets) + 1) / 2
	a.isolate(ctx, targets[:half], write, present)
	a.isolate(ctx, targets[half:], write, present)
}

// giveWay stops the search for what was refused when a drain waits: it may take tens of
// calls. What it has got done stays, what is left is planned anew.
func (a *applier) giveWay(ctx context.Context) bool {
	if !a.stopped && a.awaited(ctx) {
		a.stopped, a.reply.Continue = true, true
	}
	return a.stopped
}

// separable tells whether an error may be about one target among many, rather than
// about the call, the CLB or the account.
func separable(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Conflict:
		return clb.Code(err) != "" && clb.Code(err) != clb.CodeLBGone
	case fault.Permanent:
		return clb.IsQuota(err)
	}
	return false
}

// left looks which of the targets are still not as they should be: not there, or
// still there.
func (a *applier) left(ctx context.Context, targets []model.Target, present bool) ([]model.Target, error) {
	var listeners, ips []string
	for _, t := range targets {
		if !slices.Contains(listeners, t.Listener) {
			listeners = append(listeners, t.Listener)
		}
		if !slices.Contains(ips, t.IP) {
			ips = append(ips, t.IP)
		}
	}
	now, err := a.session.Targets(ctx, a.lb, listeners, clb.TargetFilter{IPs: ips})
	if err != nil {
		return nil, err
	}
	there := map[model.Key]bool{}
	for _, t := range now {
		there[t.Key()] = true
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t model.Target) bool { return there[t.Key()] == present }), nil
}

// byListener groups targets; the first listener is that of the first target, which the
// plan prefers where not all can be had.
func byListener(targets []model.Target) [][]model.Target {
	var out [][]model.Target
	at := map[string]int{}
	for _, t := range targets {
		i, ok := at[t.Listener]
		if !ok {
			i = len(out)
			at[t.Listener] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], t)
	}
	return out
}

// park gives up on targets for this pass.
func (a *applier) park(targets []model.Target, err error) {
	for _, t := range targets {
		a.failed[t.Key()] = true
		a.parked = append(a.parked, refusal{t, err})
	}
}

// stop gives up a batch, and all writes of the pass when the Lease is lost or its
// time is up. What was planned is planned anew next time.
func (a *applier) stop(ctx context.Context, targets []model.Target, err error) {
	for _, t := range targets {
		a.failed[t.Key()] = true
	}
	a.fail(err)
	// An error of one call may not concern another: only these end all.
	if fault.Is(err, fault.Conflict) || ctx.Err() != nil {
		a.stopped = true
	}
}

// report answers for what was done and what was not.
func (a *applier) report(ctx context.Context) {
	seen := map[string]bool{}
	named := a.scene.named()
	pend := func(t model.Target) {
		if pod, ok := named[t.Tag]; ok && !seen[pod.UID] {
			seen[pod.UID] = true
			a.reply.PendingPods = append(a.reply.PendingPods, pod)
		}
	}
	for _, t := range a.changed {
		pend(t)
	}
	if len(a.changed) > 0 {
		a.reply.RequeueAfter(verifyAfter)
	}
	for _, r := range a.parked {
		pend(r.target)
	}
	if len(a.parked) > 0 {
		a.reply.RequeueAfter(parkedAfter)
		a.explain(ctx, named)
	}
	// A pass over everything is asked for again as it was, not pod by pod.
	if a.scene.only == nil || len(a.reply.PendingPods) > event.MaxPods {
		a.reply.PendingPods = nil
	}
	a.recordShared(ctx)
}

// reasonBindFailed is the reason of the Event about a refused target, and bindFailed how
// its message begins: by these a person's question finds what the CLB said.
const reasonBindFailed = "BindFailed"

func bindFailed(address model.Address, name string) string {
	return fmt.Sprintf("binding %s for %s", address, name)
}

// explain writes an Event on each refused pod and its object.
func (a *applier) explain(ctx context.Context, named map[string]event.Pod) {
	backings := a.scene.backingsAt()
	told := map[*model.Front]bool{}
	for _, r := range a.parked {
		b := backings[r.target.Place]
		if b == nil {
			continue
		}
		message := fmt.Sprintf("%s on %s: %v", bindFailed(r.target.Address, b.Name), a.lb, r.err)
		if pod, ok := named[r.target.Tag]; ok {
			a.note(ctx, kube.Note{Kind: "Pod", Ref: model.Ref{Namespace: pod.Namespace, Name: pod.Name}, UID: pod.UID, Warning: true, Reason: reasonBindFailed, Message: message})
		}
		if !told[b.Front] {
			told[b.Front] = true
			a.warn(ctx, b.Front, reasonBindFailed, message)
		}
	}
}

// backingsAt tells what each place is.
func (s *scene) backingsAt() map[model.Place]*desired.Backing {
	out := map[model.Place]*desired.Backing{}
	for _, subject := range s.subjects {
		for i, b := range subject.wants.Backings {
			if place, ok := s.places[b.Spot]; ok && holds(b) {
				out[place] = &subject.wants.Backings[i]
			}
		}
	}
	return out
}

// recordShared keeps on each object which of its layer-4 ports the CLB refused because
// another layer-4 listener has the same backends (E4036). Such a port doesn't hold
// gates, and only the refusal itself can tell: whether a CLB allows it is disputed. A
// record goes when a target is bound after all.
func (a *applier) recordShared(ctx context.Context) {
	shared := map[model.Place]bool{}
	for _, r := range a.parked {
		// Not done, or for another reason, and so the gate waits for it.
		if part := (*clb.Partial)(nil); errors.As(r.err, &part) && part.Task || clb.IsQuota(r.err) {
			continue
		}
		for _, o := range append(slices.Clone(a.scene.observed), a.changed...) {
			if o.Address == r.target.Address && o.Place != r.target.Place && o.Location == "" && r.target.Location == "" {
				shared[r.target.Place] = true
			}
		}
	}
	bound := map[model.Place]bool{}
	for _, t := range append(slices.Clone(a.scene.observed), a.changed...) {
		bound[t.Place] = bound[t.Place] || !a.failed[t.Key()]
	}
	for _, subject := range a.scene.subjects {
		have := desired.RefusedOf(subject.Front)
		want := maps.Clone(have)
		for _, b := range subject.wants.Backings {
			place, ok := a.scene.places[b.Spot]
			if !ok {
				continue
			}
			switch {
			case shared[place]:
				if want == nil {
					want = map[string]string{}
				}
				want[b.Key] = desired.CodeSharedBackend
				a.warn(ctx, subject.Front, "SharedBackend", fmt.Sprintf("%s: port %d: the CLB takes a backend only for one listener, and another port has it", desired.CodeSharedBackend, b.Port.Port))
			case bound[place] && want[b.Key] == desired.CodeSharedBackend:
				delete(want, b.Key)
			}
		}
		if desired.SameRefused(have, want) {
			continue
		}
		if err := a.patch(ctx, subject.Front, map[string]any{desired.Refused: desired.RefusedValue(want)}, nil); err != nil {
			a.fail(err)
		}
	}
}
