package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// Readiness decides the gates of the pods that wait at up to 30 CLBs, or of a
// namespace's pods that nothing selects. It takes no lock: it writes only to pods,
// each under its own UID and version.
//
//   - read the Services, the Ingresses and the pods that wait
//   - ask all CLBs for health, once; while nothing is Alive that is all
//   - then read the targets: health counts only under our UID
//   - decide, write what differs, say who still waits
func (w *World) Readiness(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	if err := p.Kube.Check(ctx); err != nil {
		p.fail(err)
		return p.finish()
	}
	namespaces := namespacesOf(req.Sync)
	if req.Sync.Everything() {
		namespaces = []string{""}
	}
	subjects, err := p.claimedIn(ctx, namespaces)
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	pods, err := p.waiting(ctx, subjects)
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	p.decide(ctx, p.session(nil), subjects, pods)
	return p.finish()
}

// namespacesOf are the namespaces that an event is about.
func namespacesOf(s event.Sync) []string {
	out := slices.Clone(s.Namespaces)
	for _, ref := range s.Objects {
		out = append(out, ref.Namespace)
	}
	for _, pod := range s.Pods {
		out = append(out, pod.Namespace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// waiting reads the pods that the event is about and keeps those whose gate can
// still change.
func (p *pass) waiting(ctx context.Context, subjects []*subject) ([]*model.Pod, error) {
	selected := desired.NewSelected(backingsOf(subjects))
	var pods []*model.Pod
	var err error
	switch {
	case len(p.req.Sync.Pods) > 0 && !p.req.Sync.All:
		pods, err = p.namedPods(ctx, p.req.Sync.Pods)
	case len(p.req.Sync.Namespaces) > 0:
		for _, namespace := range p.req.Sync.Namespaces {
			var list []*model.Pod
			if list, err = p.Kube.Pods(ctx, kube.PodQuery{Namespace: namespace, ResourceVersion: p.req.Sync.ResourceVersion}); err != nil {
				break
			}
			pods = append(pods, list...)
		}
	default:
		pods, err = p.selectedPods(ctx, selected.Services())
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pods, func(pod *model.Pod) bool {
		if !pod.Gated || pod.Terminal() || pod.Deleting || !p.ours(pod, selected.Of(pod)) {
			return true
		}
		return pod.GateMet() && pod.SandboxSince.Before(pod.Gate.Since) && !live(selected.Of(pod))
	}), nil
}

// ours tells whether the pod's gate is ours to decide. Beside TKE's own controller,
// which waits for a gate of the same type, it is only where a claimed object selects
// the pod, our webhook marked it, or we have already said that nothing binds it.
func (p *pass) ours(pod *model.Pod, selecting []*desired.Backing) bool {
	return p.Policy.Claim != desired.ByClass || len(selecting) > 0 || pod.Annotations[model.GateMark] != "" ||
		pod.Gate != nil && pod.Gate.Reason == readiness.ReasonNoBinding
}

// live tells whether one of the objects that select a pod asks for a gate that follows
// health.
func live(selecting []*desired.Backing) bool {
	return slices.ContainsFunc(selecting, func(b *desired.Backing) bool {
		yes, _ := desired.Live(b.Front)
		return yes
	})
}

// decide is the readiness pass over given pods, with all the objects that there
// are in their namespaces. An object that lets go of its pods has it taken, too.
func (p *pass) decide(ctx context.Context, session *clb.Session, subjects []*subject, pods []*model.Pod) {
	view, err := p.view(ctx, session, subjects, pods)
	if err != nil {
		p.fail(err)
		view = p.blind(subjects)
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, pod := range pods {
		d := readiness.Decide(readiness.Observation{
			Pod:        pod,
			Bindings:   view.bindings(pod),
			HealthRead: view.healthRead,
			Now:        p.Now(),
			Live:       live(view.selected.Of(pod)),
		})
		if view.unseen && !d.Opened {
			continue // nothing is known, so nothing else can be said
		}
		g.Go(func() error {
			// Thousands of gates may take longer than the function has.
			late := d.Write && p.late(gctx, patchReserve)
			var err error
			if !late {
				err = p.write(gctx, pod, d)
			}
			mu.Lock()
			defer mu.Unlock()
			p.reply.Continue = p.reply.Continue || late
			if err != nil && !fault.Is(err, fault.NotFound) {
				p.fail(err) // another pod's gate doesn't wait for this one's
			}
			if d.Pending() || late || err != nil {
				p.reply.Pending++
			}
			if d.Recheck > 0 || err != nil {
				p.reply.RequeueAfter(max(d.Recheck, 200*time.Millisecond))
				p.reply.PendingPods = append(p.reply.PendingPods, event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, IP: pod.IP})
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return nothing but nil
	if len(p.reply.PendingPods) > event.MaxPods {
		p.reply.PendingPods = nil
	}
}

// write patches a condition that differs.
func (p *pass) write(ctx context.Context, pod *model.Pod, d readiness.Decision) error {
	if !d.Write {
		return nil
	}
	err := p.Kube.PatchCondition(ctx, pod, model.Condition{Status: d.Status, Reason: d.Reason, Message: d.Message}, d.Anew, p.Now())
	if err != nil {
		return err
	}
	p.wrote("Conditions", 1)
	switch {
	case d.Opened && d.Reason == readiness.ReasonOpened:
		p.wrote("GatesOpened", 1)
		p.note(ctx, kube.OpenedByPolicy(pod, d.Message))
	case d.Opened:
		p.note(ctx, kube.Note{Kind: "Pod", Ref: pod.Ref(), UID: pod.UID, Warning: true, Reason: "ReadinessGateOpened",
			Message: "the pod has a readiness gate but no load balancer binds it: " + d.Message})
	}
	return nil
}
