package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// Explain answers for a Service, Ingress or pod why each pod is or is not Ready. It only
// reads: the same as a readiness pass, and decides without writing.
func (w *World) Explain(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	if err := p.explain(ctx, req.Sync.Objects[0].Object()); err != nil {
		p.fail(err)
	}
	return p.finish()
}

func (p *pass) explain(ctx context.Context, ref model.Ref) error {
	if err := p.Kube.Check(ctx); err != nil {
		return err
	}
	claimed, err := p.claimedIn(ctx, []string{ref.Namespace})
	if err != nil {
		return err
	}
	out := &event.Explanation{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
	p.reply.Explanation = out
	var pods []*model.Pod
	if ref.Kind == model.KindPod {
		pod, err := p.Kube.Pod(ctx, ref)
		if fault.Is(err, fault.NotFound) {
			out.Summary = "there is no such pod"
			return nil
		}
		if err != nil {
			return err
		}
		pods = []*model.Pod{&pod}
	} else {
		subject, err := p.explainObject(ctx, ref, claimed, out)
		if err != nil || subject == nil {
			return err
		}
		if pods, err = p.selectedPods(ctx, desired.NewSelected(subject.wants.Backings).Services()); err != nil {
			return err
		}
	}
	slices.SortFunc(pods, func(a, b *model.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return p.explainPods(ctx, claimed, pods, out)
}

// explainObject says what there is to say of the object itself; nil is an object that
// isn't ours, and nothing more to say.
func (p *pass) explainObject(ctx context.Context, ref model.Ref, claimed []*subject, out *event.Explanation) (*subject, error) {
	for _, s := range claimed {
		if s.Ref() == ref {
			return s, p.explainOurs(ctx, s, out)
		}
	}
	found, err := p.subjects(ctx, []event.Ref{event.Ref(ref)})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		out.Summary = fmt.Sprintf("there is no such %s", ref.Kind)
		return nil, nil
	}
	s := found[0]
	_, problem := desired.Claimed(s.Object, p.Policy)
	switch {
	case s.Deleting:
		out.Summary = "it is being deleted; what it holds on its load balancer is being released"
	case problem != nil:
		out.Summary = "it can't be told whether it is ours, so everything stays as it is"
		out.Problems = []string{problem.String()}
	default:
		out.Summary = "it is not ours: " + desired.WhyNotClaimed(s.Object, p.Policy)
	}
	return nil, nil
}

// explainOurs says what is wrong with an object of ours.
func (p *pass) explainOurs(ctx context.Context, s *subject, out *event.Explanation) error {
	k := desired.KeysOf(s.Kind)
	out.LoadBalancer, out.Addresses = desired.LoadBalancerOf(s.Front), s.Addresses
	for _, problem := range s.wants.Problems {
		out.Problems = append(out.Problems, problem.String())
	}
	for key, code := range desired.RefusedOf(s.Front) {
		if key == desired.RefusedAll {
			key = "everything"
		}
		out.Problems = append(out.Problems, fmt.Sprintf("%s was refused with %s, see the %s's Events", key, code, s.Kind))
	}
	slices.Sort(out.Problems)
	if out.LoadBalancer == "" {
		out.Summary = "its load balancer is being created"
		return nil
	}
	found, err := p.session(nil).LoadBalancers(ctx, out.LoadBalancer)
	if err != nil {
		return err
	}
	switch {
	case len(found) == 0:
		out.Problems = append(out.Problems, fmt.Sprintf("load balancer %s is not there: it was deleted, or %s names one of another region", out.LoadBalancer, k.ExistingLB))
	case !found[0].Ready:
		out.Problems = append(out.Problems, fmt.Sprintf("load balancer %s is still being created", out.LoadBalancer))
	}
	return nil
}

// explainPods decides about each pod as a readiness pass would, and says why.
func (p *pass) explainPods(ctx context.Context, claimed []*subject, pods []*model.Pod, out *event.Explanation) error {
	v, err := p.view(ctx, p.session(nil), claimed, pods)
	if err != nil {
		return err
	}
	notReady := 0
	for _, pod := range pods {
		e := p.explainPod(v, pod)
		if !e.Ready {
			notReady++
		}
		out.Pods = append(out.Pods, e)
	}
	if out.Summary != "" {
		return nil
	}
	switch {
	case out.Kind == model.KindPod && notReady == 0:
		out.Summary = "it is ready"
	case out.Kind == model.KindPod:
		out.Summary = "it is not ready: " + out.Pods[0].Cause
	case len(pods) == 0:
		out.Summary = "it selects no pods"
	case notReady == 0:
		out.Summary = fmt.Sprintf("all %d pods are ready", len(pods))
	default:
		out.Summary = fmt.Sprintf("%d of %d pods are not ready", notReady, len(pods))
	}
	return nil
}

func (p *pass) explainPod(v *view, pod *model.Pod) event.PodExplanation {
	e := event.PodExplanation{Namespace: pod.Namespace, Name: pod.Name, IP: pod.IP, Gated: pod.Gated}
	bindings := v.bindings(pod)
	selecting := v.selected.Of(pod)
	d := readiness.Decide(readiness.Observation{Pod: pod, Bindings: bindings, HealthRead: v.healthRead, Now: p.Now(), Live: live(selecting)})
	for _, b := range bindings {
		x := event.BindingExplanation{Name: b.Name, State: b.State.String(), Detail: b.Detail, Weight: -1, Wanted: b.Weight, Health: string(b.Health)}
		if b.Address.IP != "" {
			x.Address = b.Address.String()
		}
		if b.Target != nil {
			x.Weight, x.Registered = b.Target.Weight, b.Target.Registered
		}
		e.Bindings = append(e.Bindings, x)
	}
	switch {
	case pod.Terminal():
		e.Cause, e.Do = "the pod has ended ("+pod.Phase+")", "nothing: it is unbound"
		return e
	case pod.Deleting:
		e.Cause, e.Do = "the pod is being deleted: it is drained and then unbound", "nothing"
		return e
	case !pod.Gated && len(selecting) > 0:
		e.Ready, e.Since = pod.ContainersReady, pod.ContainersReadySince
		e.Cause = "it has no readiness gate, so it counts as Ready before the load balancer has found it healthy: it was created before the object was ours, or while the webhook was away"
		e.Do = "replace the pod (kubectl rollout restart); a gate can't be added to one that is there"
		return e
	case !pod.Gated:
		e.Ready, e.Since = pod.ContainersReady, pod.ContainersReadySince
		e.Cause, e.Do = "nothing of ours selects it, and it has no gate", "compare its labels with the Service's selector"
		return e
	}
	if pod.Gate != nil {
		e.Since = pod.Gate.Since
	}
	e.Ready = pod.ContainersReady && pod.Gate != nil && pod.Gate.Status
	switch {
	case e.Ready:
	case !pod.ContainersReady:
		e.Cause, e.Do = "its containers are not ready", "look at its probes and logs: kubectl describe pod, kubectl logs"
	case d.Status:
		e.Cause, e.Do = "everything is met, the condition is about to be written", "wait a second; if it stays so the function readiness is not being called: see its log and the forwarder's"
	default:
		e.Cause = d.Message
		e.Do = advice(bindings, selecting, d)
	}
	return e
}

// advice is what a person can do about what a pod waits for.
func advice(bindings []readiness.Binding, selecting []*desired.Backing, d readiness.Decision) string {
	if len(selecting) == 0 {
		return "nothing of ours selects it: compare its labels with the Service's selector, or give it a minute, after which the gate opens"
	}
	held := slices.DeleteFunc(slices.Clone(bindings), func(b readiness.Binding) bool { return b.State <= readiness.Refused })
	if len(held) == 0 {
		return "see why no place holds it, below; a minute after its containers were ready the gate opens all the same"
	}
	for _, b := range held {
		if !strings.HasPrefix(d.Message, b.Name+":") {
			continue
		}
		switch {
		case b.State == readiness.Making:
			return "wait; if it takes more than a minute see the object's Events and the log of the function frontend"
		case b.Target == nil:
			return "wait; if it takes more than a minute see the pod's Events (quota, refused address) and the log of the function backends"
		case b.Health == model.Dead:
			return fmt.Sprintf("does %s answer from another pod? Then let the load balancer in: its security groups, and those of the pod's network interface, must allow it; else mend the pod or the health check (TkeServiceConfig)", b.Address)
		case b.Health == model.Close:
			return "switch the listener on again, or its health check off"
		}
		return "wait for the load balancer's health check: its interval times its number of successes"
	}
	return "wait"
}
