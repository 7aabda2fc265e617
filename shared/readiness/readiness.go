// Package readiness decides a pod's readiness gate: pod, bindings and the time in,
// condition out. Pure. Its one rule: what isn't known isn't healthy.
package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Reasons of the condition. ReasonReady and its message are TKE's own (observed on
// TKE pods); TKE's reason for False is not public, ours follows its pattern.
const (
	ReasonReady    = "LoadBalancerNetworkGroupReady"
	ReasonNotReady = "LoadBalancerNetworkGroupNotReady"
	// ReasonNoBinding: no load balancer has anything to say about the pod.
	ReasonNoBinding = "LoadBalancerNetworkGroupNoBinding"
	// ReasonOpened: what decides is away, and the objects that select the pod have it
	// open all the same after a time.
	ReasonOpened = model.GateOpened
	MessageReady = `Marking condition "` + model.GateType + `" to True.`
)

// NoBindingGrace is how long after ContainersReady a pod with a gate but without
// any binding is held, in case what selects it comes a little later.
const NoBindingGrace = 60 * time.Second

// Poll is when to look again at a pod whose binding can be met any moment.
const Poll = time.Second

// State is how far a binding has come, apart from its target.
type State int

// The states. Those up to Refused don't hold the gate.
const (
	// Unreachable: the pod can't be a backend by its own address.
	Unreachable State = iota
	// NoPort: the pod has no port of the name the Service asks for.
	NoPort
	// Refused for good, by us or by the CLB, and without a listener or target.
	Refused
	// Making: the load balancer or listener isn't there yet.
	Making
	// Listening: the listener is there.
	Listening
)

// String names the state as people see it.
func (s State) String() string {
	return [...]string{"Unreachable", "NoPort", "Refused", "Making", "Listening"}[s]
}

// Binding is one listener or rule of a claimed object that selects the pod.
type Binding struct {
	// Name says which, for people: "Service default/nginx port 80/TCP".
	Name  string
	State State
	// Detail says why, for states that don't hold, and what is awaited for Making.
	Detail string
	// Weight the target should have now that the pod serves.
	Weight  int
	Address model.Address
	// Target as observed after Health was, nil when there is none at Address.
	Target *model.Target
	Health model.Health
	// Check is the listener's own health check as observed.
	Check model.HealthCheck
	// Unconfirmed: only health was read, and Target is inferred from it. Enough to
	// say what is being waited for, never to be met.
	Unconfirmed bool
	// Unseen: the CLB couldn't be asked at all.
	Unseen bool
	// OpenAfter is how long after ContainersReady the object has the gate open although
	// what decides is away; 0 for never.
	OpenAfter time.Duration
}

// Promising tells whether the binding could be met by what is known so far.
func (b Binding) Promising() bool {
	return b.State <= Refused || b.State == Listening && b.Target != nil && (b.Weight == 0 || b.Health == model.Alive || b.Health == model.Close)
}

// Observation is what a decision rests on.
type Observation struct {
	Pod      *model.Pod
	Bindings []Binding
	// HealthRead is when the health in Bindings was asked for.
	HealthRead time.Time
	Now        time.Time
	// Live: the gate follows health after it was first met.
	Live bool
}

// Decision is the outcome.
type Decision struct {
	// Status, Reason and Message are the condition as it should be.
	Status          bool
	Reason, Message string
	// Write: it differs from what is there.
	Write bool
	// Anew: True again, but of another sandbox: a transition although the status is
	// the same.
	Anew bool
	// Recheck is when to decide again, 0 for not until something changes.
	Recheck time.Duration
	// Opened: True although nothing was found healthy; worth an Event.
	Opened bool
}

// Pending tells that the pod still waits.
func (d Decision) Pending() bool { return !d.Status }

// Decide computes the condition. Sticky unless Live, as TKE is: once True it stays
// for the same pod in the same sandbox.
func Decide(o Observation) Decision {
	p := o.Pod
	fresh := p.Gate != nil && p.Gate.Status && newSandbox(p)
	if p.GateMet() && !o.Live && !fresh {
		return Decision{Status: true, Reason: p.Gate.Reason, Message: p.Gate.Message}
	}
	d := decide(o)
	if d.Status && o.Live && len(o.Bindings) > 0 {
		d.Recheck = 5 * Poll
	}
	d.Anew = d.Status && fresh
	d.Write = d.Anew || p.Gate == nil || p.Gate.Status != d.Status || p.Gate.Reason != d.Reason || p.Gate.Message != d.Message
	return d
}

// newSandbox tells whether the pod got a new sandbox since its gate was met: then
// it has another address, and nothing that was true of the old one counts.
func newSandbox(p *model.Pod) bool {
	return !p.SandboxSince.IsZero() && p.SandboxSince.After(p.Gate.Since)
}

func decide(o Observation) Decision {
	bindings := slices.Clone(o.Bindings)
	slices.SortFunc(bindings, func(a, b Binding) int { return strings.Compare(a.Name, b.Name) })
	var holding []Binding
	var released []string
	for _, b := range bindings {
		if b.State <= Refused {
			released = append(released, b.Name+": "+b.Detail)
			continue
		}
		holding = append(holding, b)
	}
	if len(holding) == 0 {
		return unbound(o, released)
	}
	if !o.Pod.ContainersReady {
		return Decision{Reason: ReasonNotReady, Message: "waiting for the containers to be ready"}
	}
	recheck := time.Duration(0)
	var first string
	var inferred bool
	policy := newPolicy(o)
	for _, b := range holding {
		met, why, wait := b.met(o)
		if met {
			continue
		}
		policy.add(b)
		// What is known to be amiss says more than what only wasn't looked at to the
		// end, which is so because of the former.
		if guess := b.Unconfirmed && b.Promising(); first == "" || inferred && !guess {
			first, inferred = b.Name+": "+why, guess
		}
		if recheck == 0 || wait < recheck {
			recheck = wait
		}
	}
	if first != "" {
		closed := Decision{Reason: ReasonNotReady, Message: note(first, released), Recheck: recheck}
		return policy.apply(closed)
	}
	return Decision{Status: true, Reason: ReasonReady, Message: MessageReady}
}

// unbound is the decision for a pod that no binding holds.
func unbound(o Observation, released []string) Decision {
	d := Decision{Reason: ReasonNoBinding, Message: note("no load balancer binds this pod", released)}
	if !o.Pod.ContainersReady {
		return d
	}
	waited := o.Now.Sub(later(o.Pod.ContainersReadySince, o.Pod.Created))
	if waited < NoBindingGrace {
		d.Recheck = NoBindingGrace - waited
		return d
	}
	d.Status, d.Opened = true, true
	return d
}

// met tells whether the binding is met, and if not, why and when to look again.
func (b Binding) met(o Observation) (ok bool, why string, wait time.Duration) {
	t := b.Target
	switch {
	case b.State == Making:
		return false, b.Detail, Poll
	case b.Unseen:
		return false, fmt.Sprintf("the CLB can't be asked about %s", b.Address), Poll
	case t == nil:
		return false, fmt.Sprintf("waiting for the CLB to bind %s", b.Address), Poll
	case t.Tag != o.Pod.UID:
		return false, fmt.Sprintf("%s is still bound for another pod", b.Address), Poll
	case b.Unconfirmed && b.Promising():
		return false, fmt.Sprintf("waiting for the CLB's health check of %s", b.Address), Poll
	case b.Weight == 0:
		return true, "", 0 // it will never get traffic, so there is nothing to wait for
	case t.Weight != b.Weight:
		return false, fmt.Sprintf("waiting for the CLB to give %s weight %d", b.Address, b.Weight), Poll
	case b.Health == model.Close && !b.Check.Enabled:
		return true, "", 0
	case b.Health == model.Close:
		return false, fmt.Sprintf("the CLB does not check %s although its health check is on: is the listener stopped?", b.Address), Poll
	case b.Health == model.Dead:
		return false, fmt.Sprintf("the CLB's health check of %s"+fails, b.Address), Poll
	case b.Health != model.Alive:
		return false, fmt.Sprintf("waiting for the CLB's health check of %s", b.Address), Poll
	}
	if left := b.settled(o); left > 0 {
		return false, fmt.Sprintf("waiting for the CLB's health check of %s", b.Address), left
	}
	return true, "", 0
}

// fails is what the message says of a pod that the CLB has found Dead.
const fails = " fails: does the pod answer there, and do its security groups let the CLB in?"

// settled tells how long Alive must still be doubted: a verdict that could have
// been reached about whoever had the address before says nothing about this pod.
func (b Binding) settled(o Observation) time.Duration {
	registered := b.Target.Registered
	// A new sandbox is as good as a new pod: nobody answered between the two.
	began := later(o.Pod.Started, o.Pod.SandboxSince)
	var since time.Time
	var need time.Duration
	switch {
	case registered.IsZero():
		// The CLB doesn't say. The pod can't have been bound much later than its
		// containers became ready.
		since, need = later(began, o.Pod.ContainersReadySince), b.Check.Settle()+b.Check.Unsettle()
	case registered.Before(began):
		// An adopted target: its old verdict lives until enough checks have failed. Or one
		// of a CLB whose clock is behind the kubelet's; nobody can tell them apart. The
		// pod's start is told in whole seconds, and may be one later.
		since, need = began, max(b.Check.Settle(), b.Check.Unsettle()+time.Second)
	default:
		since, need = later(registered, began), b.Check.Settle()
	}
	return need - o.HealthRead.Sub(since)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func note(message string, released []string) string {
	if len(released) == 0 {
		return message
	}
	return message + " (not held by " + strings.Join(released, "; ") + ")"
}
