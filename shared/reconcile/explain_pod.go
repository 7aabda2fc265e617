package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// maxAsked bounds for how many pods Events are read: one request each.
const maxAsked = 20

// explainPods decides about each pod as a readiness pass would, and says why.
func (e *explainer) explainPods(ctx context.Context, pods []*model.Pod) error {
	// A load balancer that isn't there has nothing to say, and asking is an error.
	v, err := e.survey(ctx, pods)
	if err != nil {
		return err
	}
	asked := 0
	for _, pod := range pods {
		x := &inquiry{explainer: e, view: v, pod: pod, bindings: v.bindings(pod), backings: v.selected.Of(pod)}
		// Ready pods too are looked at as if they weren't: one may stay Ready and yet
		// get no traffic.
		x.decision = readiness.Decide(readiness.Observation{Pod: pod, Bindings: x.bindings, HealthRead: v.healthRead, Now: e.Now(), Live: true})
		if !x.decision.Status && asked < maxAsked {
			asked++
			if x.warnings, err = e.Kube.Warnings(ctx, pod.Namespace, pod.UID); err != nil {
				e.Log.Warn("explaining without Events", "pod", pod.Ref(), "error", err)
			}
		}
		e.out.Pods = append(e.out.Pods, x.explanation())
	}
	return nil
}

// survey looks at all places of the pods, on load balancers that are there.
func (e *explainer) survey(ctx context.Context, pods []*model.Pod) (*view, error) {
	scope := scope{thorough: true, without: map[string]bool{}}
	for front, f := range e.findings {
		if f.absent {
			scope.without[desired.LoadBalancerOf(front)] = true
		}
	}
	return e.look(ctx, e.session, e.claimed, pods, scope)
}

// inquiry is about one pod.
type inquiry struct {
	*explainer
	view *view
	pod  *model.Pod
	// bindings are the pod's, and backings the places that they are at, one to one.
	bindings []readiness.Binding
	backings []*desired.Backing
	decision readiness.Decision
	warnings []kube.Warning
}

func (x *inquiry) explanation() event.PodExplanation {
	pod := x.pod
	out := event.PodExplanation{Namespace: pod.Namespace, Name: pod.Name, IP: pod.IP, Gated: pod.Gated, Ready: pod.ContainersReady, Since: pod.Created}
	if pod.ContainersReady {
		out.Since = pod.ContainersReadySince
	}
	if pod.Gated && pod.Gate != nil {
		out.Since = pod.Gate.Since
	}
	if pod.Gated {
		out.Ready = pod.ContainersReady && pod.Gate != nil && pod.Gate.Status
	}
	if len(x.backings) > 0 && !pod.Terminal() && !pod.Deleting {
		out.Undrained = pod.Unhooked
	}
	for _, b := range x.bindings {
		out.Bindings = append(out.Bindings, explainBinding(b))
	}
	a := x.cause(out.Ready)
	out.Cause, out.Do = a.cause, a.do
	return out
}

func explainBinding(b readiness.Binding) event.BindingExplanation {
	x := event.BindingExplanation{Name: b.Name, State: b.State.String(), Detail: b.Detail, Weight: -1, Wanted: b.Weight, Health: string(b.Health)}
	if b.Address.IP != "" {
		x.Address = b.Address.String()
	}
	if b.Target != nil {
		x.Weight, x.Registered = b.Target.Weight, b.Target.Registered
	}
	return x
}

// cause says why the pod is as it is; empty for a pod with which all is well.
func (x *inquiry) cause(ready bool) answer {
	pod := x.pod
	switch {
	case pod.Terminal():
		return answer{fmt.Sprintf("it has ended (%s) and is unbound", pod.Phase), "nothing"}
	case pod.Deleting:
		return answer{"it is being deleted: it is drained and then unbound", "nothing"}
	case pod.IP == "":
		return x.warned(answer{"it has no address yet: it isn't scheduled, or its network isn't made", "kubectl describe pod says what it waits for"})
	case !pod.Gated && len(x.backings) > 0:
		a := answer{"it has no readiness gate, so it is Ready without the load balancer having found it healthy: it was created before the object was ours, or while the webhook was away",
			"replace it (kubectl rollout restart): a pod that is there can't be given a gate"}
		if held := x.waiting(); pod.ContainersReady && held.cause != "" {
			a.cause += "; besides, " + held.cause
		}
		return a
	case !pod.ContainersReady:
		return x.warned(answer{"its containers are not ready: one is starting, or a readiness probe fails", "look at its probes and logs: kubectl describe pod, kubectl logs"})
	case len(x.backings) == 0 && !pod.Gated:
		return answer{"nothing of ours selects it, and it has no gate", "compare its labels with the Service's selector if something should"}
	case len(x.backings) == 0:
		return answer{"nothing of ours selects it: its labels match no selector of a claimed Service, nor of one behind a claimed Ingress",
			"compare its labels with the Service's selector; a minute after its containers were ready the gate opens all the same"}
	}
	a := x.waiting()
	switch {
	case a.cause != "" && ready:
		a.cause = "it stays ready once it was, but " + a.cause
	case a.cause == "" && !ready:
		a = answer{"everything is met, and the condition is not written yet",
			"wait some seconds; if it stays so the function readiness isn't called: see its log and the forwarder's, and make it so now by calling resync"}
	}
	return a
}

// waiting is what the pod waits for at the load balancers, empty for nothing.
func (x *inquiry) waiting() answer {
	var held, released []int
	for i, b := range x.bindings {
		if b.State <= readiness.Refused {
			released = append(released, i)
		} else {
			held = append(held, i)
		}
	}
	if len(held) == 0 {
		return x.released(released)
	}
	if x.decision.Status {
		return answer{}
	}
	for _, i := range held {
		if strings.HasPrefix(x.decision.Message, x.bindings[i].Name+": ") {
			a := x.held(i)
			a.cause = x.bindings[i].Name + ": " + a.cause
			return a
		}
	}
	return answer{x.decision.Message, "wait"}
}

// released is the answer for a pod that no place holds.
func (x *inquiry) released(which []int) answer {
	var all answer
	for _, i := range which {
		a := x.unheld(i)
		line := x.bindings[i].Name + ": " + a.cause
		if all.cause == "" {
			all = answer{line, a.do}
		} else {
			all.cause += "; " + line
		}
	}
	all.cause = "no load balancer serves it: " + all.cause
	if !x.decision.Status {
		all.do += "; a minute after its containers were ready the gate opens all the same"
	}
	return all
}

// unheld says why a place doesn't hold the gate.
func (x *inquiry) unheld(i int) answer {
	b, at := x.bindings[i], x.backings[i]
	f := x.findings[at.Front]
	switch {
	case b.State == readiness.Unreachable && x.pod.HostNetwork:
		return answer{b.Detail + ", so it has no address of its own", "let it run without hostNetwork, or turn direct access off"}
	case b.State == readiness.Unreachable:
		return answer{b.Detail, "replace it by one with an ENI, or turn direct access off"}
	case b.State == readiness.NoPort:
		return answer{b.Detail, fmt.Sprintf("name a container's port %q, or correct the targetPort of Service %s", at.Port.TargetName, at.Service.Ref())}
	case at.Broken != "":
		broken, _, _ := strings.Cut(at.Broken, ", see the ")
		return answer{broken, fmt.Sprintf("correct the %s: its problems name the field", at.Front.Kind)}
	case f != nil && f.stop.cause != "":
		return f.stop
	}
	if f != nil {
		listener, _, _ := strings.Cut(at.Key, " ")
		for _, key := range []string{at.Key, listener} {
			if a, ok := f.refused[key]; ok {
				return a
			}
		}
	}
	return answer{b.Detail, fmt.Sprintf("see the %s's Events", at.Front.Kind)}
}

// held says what a place waits for that holds the gate.
func (x *inquiry) held(i int) answer {
	b, at := x.bindings[i], x.backings[i]
	if f := x.findings[at.Front]; f != nil && f.stop.cause != "" {
		return f.stop
	}
	_, there := x.view.spots[at.Spot]
	lb := desired.LoadBalancerOf(at.Front)
	switch t := b.Target; {
	case !x.view.confirmed[lb] && !x.view.narrowed:
		return answer{fmt.Sprintf("what is bound at %s could not be read in time", lb), "ask again in some seconds"}
	case !there || !x.view.holds(at):
		return answer{"the load balancer has no such listener or rule yet", fmt.Sprintf("wait; if it takes more than some seconds see the %s's Events and the log of the function frontend", at.Front.Kind)}
	case t == nil:
		return x.unbound(b)
	case t.Tag != x.pod.UID && t.Tag == "":
		return answer{fmt.Sprintf("%s is bound without a tag that says for which pod", b.Address), "wait, it is adopted or replaced; if it takes more than some seconds see the log of the function backends"}
	case t.Tag != x.pod.UID:
		return answer{fmt.Sprintf("%s is still bound for another pod (tag %s), whose health counts for nothing", b.Address, t.Tag),
			"wait, it is unbound unless it is the last healthy one of its listener; if it takes more than some seconds see the log of the function backends, or unbind it in the CLB console"}
	case t.Weight != b.Weight:
		return answer{fmt.Sprintf("the CLB gives %s weight %d, not yet %d", b.Address, t.Weight, b.Weight), "wait; if it takes more than some seconds see the log of the function backends"}
	case b.Health == model.Close:
		return answer{fmt.Sprintf("the CLB does not check %s although its health check is on: the listener is stopped", b.Address), "start the listener again in the CLB console, or switch its health check off (TkeServiceConfig)"}
	case b.Health == model.Dead:
		return answer{fmt.Sprintf("the CLB's health check of %s fails", b.Address),
			fmt.Sprintf("does %s answer %s from another pod? Then let the load balancer in: its security groups, and those of the pod's network interface, must allow it; else mend the pod or the health check (TkeServiceConfig)", b.Address, checkOf(b.Check))}
	case b.Health == model.Alive:
		return answer{fmt.Sprintf("the CLB calls %s Alive, but has not checked it for long enough for that to be about this pod", b.Address), settling(b.Check)}
	}
	return answer{fmt.Sprintf("the CLB has not finished its first health check of %s", b.Address), settling(b.Check)}
}

// unbound is the answer for a place where the pod isn't bound: with what the CLB said.
func (x *inquiry) unbound(b readiness.Binding) answer {
	prefix := bindFailed(b.Address, b.Name)
	for _, w := range x.warnings {
		if said, ok := strings.CutPrefix(w.Message, prefix); ok && w.Reason == reasonBindFailed {
			do := "mend what it says; it is tried again every 30 s"
			if strings.Contains(said, clb.CodeQuota) || strings.Contains(said, "quota") { // of a batch it is only in words
				do = "raise the quota of targets, or remove what nobody needs; it is tried again every 30 s"
			}
			_, said, _ = strings.Cut(said, ": ")
			return answer{fmt.Sprintf("the CLB refuses to bind %s: %s", b.Address, said), do}
		}
	}
	return answer{fmt.Sprintf("%s is not bound yet", b.Address), "wait; if it takes more than some seconds see the pod's Events and the log of the function backends"}
}

// warned adds the newest warning of somebody else, the kubelet above all.
func (x *inquiry) warned(a answer) answer {
	i := slices.IndexFunc(x.warnings, func(w kube.Warning) bool { return w.By != kube.Component })
	if i >= 0 {
		a.cause += fmt.Sprintf(" (%s: %s)", x.warnings[i].Reason, strings.TrimSpace(x.warnings[i].Message))
	}
	return a
}

// checkOf says what a health check asks for.
func checkOf(h model.HealthCheck) string {
	if h.Type == "" || h.Type == "TCP" {
		return "connections"
	}
	if h.Path == "" {
		return h.Type
	}
	return fmt.Sprintf("%s %s", h.Type, h.Path)
}

// settling says how long a health check takes.
func settling(h model.HealthCheck) string {
	return fmt.Sprintf("wait: the check must succeed %d times, %d s apart", h.HealthNum, h.Interval)
}
