package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// finding is what is to say of an object, apart from its pods.
type finding struct {
	*subject
	// stop is why none of its places can be had at present, empty if they can.
	stop answer
	// absent: its load balancer isn't there, or not yet.
	absent bool
	// refused are the words for places that were refused, by their keys.
	refused  map[string]answer
	problems []string
}

// examine looks at an object of ours, once.
func (e *explainer) examine(ctx context.Context, s *subject) (*finding, error) {
	if f := e.findings[s.Front]; f != nil {
		return f, nil
	}
	f := &finding{subject: s, refused: map[string]answer{}}
	e.findings[s.Front] = f
	var err error
	if s.Secrets, err = e.secrets(ctx, s.Object); err != nil {
		return nil, err
	}
	// With the secrets there is more to say; the places stay the same.
	problems := desired.WantsOf(s.Object, s.Sources, e.Policy).Problems
	for _, problem := range problems {
		f.problems = append(f.problems, problem.String())
	}
	lb, err := e.balancer(ctx, f)
	if err != nil {
		return nil, err
	}
	refused := desired.RefusedOf(s.Front)
	for _, key := range slices.Sorted(maps.Keys(refused)) {
		if key == desired.RefusedAll {
			if f.stop.cause == "" {
				f.stop = answer{fmt.Sprintf("its load balancer was refused with %s, though nothing speaks against it now", refused[key]), "wait; if it takes more than a minute see the log of the function frontend"}
			}
			continue
		}
		a, known, err := e.refusal(ctx, f, lb, key, refused[key], problems)
		if err != nil {
			return nil, err
		}
		f.refused[key] = a
		if !known {
			f.problems = append(f.problems, a.cause)
		}
	}
	return f, nil
}

// balancer reads the object's load balancer, nil if there is none to work on, and says
// what is wrong with it.
func (e *explainer) balancer(ctx context.Context, f *finding) (*model.LoadBalancer, error) {
	k := desired.KeysOf(f.Kind)
	id := desired.LoadBalancerOf(f.Front)
	if id == "" {
		f.absent = true
		f.stop = answer{"its load balancer is being created", "wait; if it takes more than a minute see its Events and the log of the function frontend"}
		if !desired.Held(f.Front) {
			f.stop = answer{"the function frontend has not taken it up yet", "wait; if it takes more than some seconds see the logs of the forwarder and of the function frontend"}
		}
		return nil, nil
	}
	found, err := e.session.LoadBalancers(ctx, id)
	if err != nil {
		return nil, err
	}
	existing := f.Annotations[k.ExistingLB] != ""
	switch {
	case len(found) == 0 && existing:
		f.absent = true
		f.stop = answer{fmt.Sprintf("%s: there is no load balancer %s in this region", k.NoLoadBalancer, id), fmt.Sprintf("name one that is there in the annotation %s, or remove the annotation to get a new one", k.ExistingLB)}
		return nil, nil
	case len(found) == 0:
		f.absent = true
		f.stop = answer{fmt.Sprintf("its load balancer %s is gone: somebody deleted it", id), "wait, another is made; if it takes more than a minute see its Events and the log of the function frontend"}
		return nil, nil
	case !found[0].Ready:
		f.absent = true
		f.stop = answer{fmt.Sprintf("its load balancer %s is still being created", id), "wait; if it takes more than some minutes look at it in the CLB console"}
		return nil, nil
	}
	if !existing {
		return &found[0], nil
	}
	if problem := desired.Usable(&found[0], f.Front, e.Policy); problem != nil {
		f.stop = answer{problem.String(), fmt.Sprintf("name another load balancer in the annotation %s", k.ExistingLB)}
	}
	return &found[0], nil
}

// refusal is what to say of a place that was refused with a code. known tells that it is
// among the object's own problems.
func (e *explainer) refusal(ctx context.Context, f *finding, lb *model.LoadBalancer, key, code string, problems []desired.Problem) (a answer, known bool, err error) {
	if code == desired.KeysOf(f.Kind).Conflict && lb != nil {
		a, err = e.conflict(ctx, f, lb, key, code)
		return a, false, err
	}
	if code == desired.CodeSharedBackend {
		return answer{fmt.Sprintf("%s: %s: the CLB takes a backend only for one listener, and another port has it", code, key), "use another targetPort, or a load balancer of its own"}, false, nil
	}
	var words []string
	for _, problem := range problems {
		if problem.Code == code {
			words = append(words, problem.String())
		}
	}
	if len(words) > 0 {
		return answer{strings.Join(words, "; "), fmt.Sprintf("correct what is named; the %s is then looked at anew", f.Kind)}, true, nil
	}
	return answer{fmt.Sprintf("%s was refused with %s", key, code), fmt.Sprintf("see the %s's Events", f.Kind)}, false, nil
}

// conflict says who has what an object wants.
func (e *explainer) conflict(ctx context.Context, f *finding, lb *model.LoadBalancer, key, code string) (answer, error) {
	listener, rule, isRule := strings.Cut(key, " ")
	if isRule {
		return answer{fmt.Sprintf("%s: rule %s of %s %s has somebody else: an older Ingress, or a person", code, rule, lb.ID, listener), "change host or path, or delete the other rule"}, nil
	}
	listeners, err := e.session.Listeners(ctx, lb.ID)
	if err != nil {
		return answer{}, err
	}
	at := slices.IndexFunc(f.wants.Listeners, func(w model.WantedListener) bool { return w.Key == key })
	for _, l := range listeners {
		if at < 0 || l.Port != f.wants.Listeners[at].Port || l.Name == f.wants.Listeners[at].Name || !model.PortClash(l.Protocol, f.wants.Listeners[at].Protocol) {
			continue
		}
		holder, err := e.holder(ctx, l.Name)
		if err != nil {
			return answer{}, err
		}
		return answer{fmt.Sprintf("%s: %s of %s has %s (listener %s %s)", code, key, lb.ID, holder, l.ID, l.Name), "use another port, another load balancer, or delete the other listener: who was first keeps it"}, nil
	}
	return answer{fmt.Sprintf("%s: %s of %s had somebody else, who is gone", code, key, lb.ID), "wait; if it takes more than a minute see the log of the function frontend"}, nil
}

// holder names whose listener of a name is, for people.
func (e *explainer) holder(ctx context.Context, name string) (string, error) {
	o, ours := desired.OwnerOf(name)
	switch {
	case !ours:
		return "somebody else", nil
	case o.Cluster != e.Policy.Cluster:
		return "cluster " + o.Cluster, nil
	}
	all, err := e.everybody(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		if s.UID == o.UID {
			return s.String(), nil
		}
	}
	return "an object that is gone (" + o.UID + ")", nil
}
