package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Explain answers for a Service, Ingress or pod why each pod is or is not Ready. It only
// reads: the same as a readiness pass, though all of it, and decides without writing.
func (w *World) Explain(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	e := explainer{pass: p, session: p.session(nil), findings: map[*model.Front]*finding{}}
	if err := e.explain(ctx, req.Sync.Objects[0].Object()); err != nil {
		p.fail(err)
	}
	return p.finish()
}

// explainer is one answer on its way.
type explainer struct {
	*pass
	session *clb.Session
	// claimed are the objects of ours in the namespace.
	claimed  []*subject
	findings map[*model.Front]*finding
	out      *event.Explanation
}

// answer is a cause and what to do about it.
type answer struct{ cause, do string }

func (e *explainer) explain(ctx context.Context, ref model.Ref) (err error) {
	e.out = &event.Explanation{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
	if err := e.Kube.Check(ctx); err != nil {
		return err
	}
	if e.claimed, err = e.claimedIn(ctx, []string{ref.Namespace}); err != nil {
		return err
	}
	if ref.Kind == model.KindPod {
		err = e.explainPod(ctx, ref)
	} else {
		err = e.explainObject(ctx, ref)
	}
	if err == nil {
		e.reply.Explanation = e.out
	}
	return err
}

// explainPod answers for a pod: with what is wrong with the objects that select it.
func (e *explainer) explainPod(ctx context.Context, ref model.Ref) error {
	pod, err := e.Kube.Pod(ctx, ref)
	if fault.Is(err, fault.NotFound) {
		e.out.Summary = "there is no such pod"
		return nil
	}
	if err != nil {
		return err
	}
	fronts := frontsOf(desired.NewSelected(backingsOf(e.claimed)).Of(&pod))
	for _, s := range e.claimed {
		if !slices.Contains(fronts, s.Front) {
			continue
		}
		f, err := e.examine(ctx, s)
		if err != nil {
			return err
		}
		for _, problem := range f.problems {
			e.out.Problems = append(e.out.Problems, s.String()+": "+problem)
		}
	}
	if err := e.explainPods(ctx, []*model.Pod{&pod}); err != nil {
		return err
	}
	e.out.Summary = "it " + standing(e.out.Pods[0])
	return nil
}

// explainObject answers for a Service or Ingress.
func (e *explainer) explainObject(ctx context.Context, ref model.Ref) error {
	at := slices.IndexFunc(e.claimed, func(s *subject) bool { return s.Ref() == ref })
	if at < 0 {
		return e.explainForeign(ctx, ref)
	}
	s := e.claimed[at]
	f, err := e.examine(ctx, s)
	if err != nil {
		return err
	}
	e.out.LoadBalancer, e.out.Addresses, e.out.Problems = desired.LoadBalancerOf(s.Front), s.Addresses, f.problems
	services := desired.NewSelected(s.wants.Backings).Services()
	pods, err := e.selectedPods(ctx, services)
	if err != nil {
		return err
	}
	slices.SortFunc(pods, func(a, b *model.Pod) int { return cmp.Compare(a.Name, b.Name) })
	// Other objects may hold the same pods.
	selected := desired.NewSelected(backingsOf(e.claimed))
	for _, pod := range pods {
		for _, front := range frontsOf(selected.Of(pod)) {
			i := slices.IndexFunc(e.claimed, func(s *subject) bool { return s.Front == front })
			if _, err := e.examine(ctx, e.claimed[i]); err != nil {
				return err
			}
		}
	}
	if err := e.explainPods(ctx, pods); err != nil {
		return err
	}
	e.summarize(f, services)
	return nil
}

// explainForeign answers for an object that isn't ours.
func (e *explainer) explainForeign(ctx context.Context, ref model.Ref) error {
	found, err := e.subjects(ctx, []event.Ref{event.Ref(ref)})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		e.out.Summary = fmt.Sprintf("there is no such %s", ref.Kind)
		return nil
	}
	s := found[0]
	_, problem := desired.Claimed(s.Object, e.Policy)
	switch {
	case s.Deleting && desired.Held(s.Front):
		e.out.LoadBalancer = desired.LoadBalancerOf(s.Front)
		e.out.Summary = "it is being deleted; what it holds on its load balancer is being released"
		e.out.Do = "wait; if it takes more than a minute see its Events and the log of the function frontend"
	case problem != nil:
		e.out.Summary = "it can't be told whether it is ours, so everything stays as it is"
		e.out.Problems = []string{problem.String()}
		e.out.Do = fmt.Sprintf("correct the annotation %s", problem.Field)
	default:
		e.out.Summary = "it is not ours: " + desired.WhyNotClaimed(s.Object, e.Policy)
		e.out.Do = "change that if its pods are to be bound directly; until then nothing of it is touched"
	}
	return nil
}

// summarize says in a sentence how it stands with an object.
func (e *explainer) summarize(f *finding, services []*model.Service) {
	if len(e.out.Pods) == 0 {
		a := podless(f, services)
		e.out.Summary, e.out.Do = a.cause, a.do
	} else {
		e.out.Summary = summaryOf(e.out.Pods)
	}
	if f.stop.cause != "" {
		e.out.Summary, e.out.Do = f.stop.cause+"; "+e.out.Summary, f.stop.do
	}
}

// summaryOf counts pods; of a single one it says the cause.
func summaryOf(pods []event.PodExplanation) string {
	if len(pods) == 1 {
		return "its one pod " + standing(pods[0])
	}
	notReady, amiss := 0, 0
	for _, pod := range pods {
		switch {
		case !pod.Ready:
			notReady++
		case pod.Cause != "":
			amiss++
		}
	}
	switch {
	case notReady > 0:
		return fmt.Sprintf("%d of %d pods are not ready", notReady, len(pods))
	case amiss > 0:
		return fmt.Sprintf("all %d pods are ready, but there is something to say about %d of them", len(pods), amiss)
	}
	return fmt.Sprintf("all %d pods are ready", len(pods))
}

// standing says how it stands with a pod.
func standing(pod event.PodExplanation) string {
	switch {
	case !pod.Ready:
		return "is not ready: " + pod.Cause
	case pod.Cause != "":
		return "is ready, but: " + pod.Cause
	}
	return "is ready"
}

// podless is the answer for an object without pods.
func podless(f *finding, services []*model.Service) answer {
	var broken, selectors []string
	for _, b := range f.wants.Backings {
		if why, _, _ := strings.Cut(b.Broken, ", see the "); why != "" && !slices.Contains(broken, why) {
			broken = append(broken, why)
		}
	}
	for _, svc := range services {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(svc.Selector)) {
			labels = append(labels, key+"="+svc.Selector[key])
		}
		if len(labels) == 0 {
			labels = []string{"none"}
		}
		selectors = append(selectors, fmt.Sprintf("%s of Service %s", strings.Join(labels, ","), svc.Ref()))
	}
	slices.Sort(selectors)
	switch {
	case len(selectors) > 0:
		return answer{"no pod matches the selector " + strings.Join(selectors, ", nor "), "compare the selector with the pods' labels: kubectl get pods --show-labels"}
	case len(broken) > 0:
		return answer{"it has no backend that can be served: " + strings.Join(broken, "; "), fmt.Sprintf("correct the %s: its problems name the field", f.Kind)}
	}
	return answer{"it has no backends", fmt.Sprintf("give the %s some", f.Kind)}
}
