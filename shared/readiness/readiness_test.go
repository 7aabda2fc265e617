package readiness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

const (
	uid   = "aaaaaaaa-0000-4000-8000-000000000001"
	other = "bbbbbbbb-0000-4000-8000-000000000002"
)

// started is when the pod of the tables started; it was bound 10 s later, its
// containers became ready after 20 s, and health was read after a minute.
var started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return started.Add(d) }

func pod(set ...func(*model.Pod)) *model.Pod {
	p := &model.Pod{
		Namespace: "default", Name: "nginx-1", UID: uid, IP: "10.0.0.1", Phase: "Running", Gated: true,
		Created: started, Started: started, ContainersReady: true, ContainersReadySince: after(20 * time.Second),
	}
	for _, f := range set {
		f(p)
	}
	return p
}

func gate(status bool, reason, message string) func(*model.Pod) {
	return func(p *model.Pod) {
		p.Gate = &model.Condition{Status: status, Reason: reason, Message: message, Since: after(time.Minute)}
	}
}

var address = model.Address{IP: "10.0.0.1", Port: 80}

// binding is met; set makes it not so.
func binding(set ...func(*Binding)) Binding {
	b := Binding{
		Name: "Service default/nginx port TCP/80", State: Listening, Weight: 10, Address: address,
		Target: &model.Target{Address: address, Weight: 10, Tag: uid, Registered: after(10 * time.Second)},
		Health: model.Alive, Check: model.DefaultHealthCheck,
	}
	for _, f := range set {
		f(&b)
	}
	return b
}

func health(h model.Health) func(*Binding)     { return func(b *Binding) { b.Health = h } }
func registeredAt(at time.Time) func(*Binding) { return func(b *Binding) { b.Target.Registered = at } }
func unchecked(b *Binding)                     { b.Check.Enabled = false }
func unconfirmed(b *Binding)                   { b.Unconfirmed = true }
func named(name string) func(*Binding)         { return func(b *Binding) { b.Name = name } }
func weightless(b *Binding)                    { b.Weight, b.Target.Weight = 0, 0 }
func state(s State, detail string) func(*Binding) {
	return func(b *Binding) { b.State, b.Detail, b.Target, b.Health = s, detail, nil, "" }
}

const name = "Service default/nginx port TCP/80: "

func notReady(message string, recheck time.Duration) Decision {
	return Decision{Reason: ReasonNotReady, Message: message, Write: true, Recheck: recheck}
}

var ready = Decision{Status: true, Reason: ReasonReady, Message: MessageReady, Write: true}

func TestDecide(t *testing.T) {
	cases := map[string]struct {
		reason string
		pod    *model.Pod
		live   bool
		args   []Binding
		// read is when health was asked for, after the pod's start; a minute by default.
		read time.Duration
		want Decision
	}{
		"Met": {
			reason: "our UID, Alive, its weight, settled",
			args:   []Binding{binding()}, want: ready,
		},
		"EveryBinding": {
			reason: "one that waits is enough to wait; it is named",
			args:   []Binding{binding(named("Service default/a port TCP/80")), binding(health(model.Unknown))},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", Poll),
		},
		"ContainersNotReady": {
			reason: "first the pod itself must be ready; the kubelet's news come as an event",
			pod:    pod(func(p *model.Pod) { p.ContainersReady = false }),
			args:   []Binding{binding()},
			want:   notReady("waiting for the containers to be ready", 0),
		},
		"Making": {
			reason: "a load balancer in the making holds the gate",
			args:   []Binding{binding(state(Making, "waiting for the load balancer to be created"))},
			want:   notReady(name+"waiting for the load balancer to be created", Poll),
		},
		"NotBound": {
			reason: "the listener is there, the target isn't",
			args:   []Binding{binding(state(Listening, ""))},
			want:   notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll),
		},
		"OtherUID": {
			reason: "somebody else's health counts for nothing",
			args:   []Binding{binding(func(b *Binding) { b.Target.Tag = other })},
			want:   notReady(name+"10.0.0.1:80 is still bound for another pod", Poll),
		},
		"NoTag": {
			reason: "a target without a UID hasn't been adopted yet",
			args:   []Binding{binding(func(b *Binding) { b.Target.Tag = "" })},
			want:   notReady(name+"10.0.0.1:80 is still bound for another pod", Poll),
		},
		"WrongWeight": {
			reason: "Alive at weight 0 gets no traffic",
			args:   []Binding{binding(func(b *Binding) { b.Target.Weight = 0 })},
			want:   notReady(name+"waiting for the CLB to give 10.0.0.1:80 weight 10", Poll),
		},
		"WeightZero": {
			reason: "by the pod's own wish it never gets traffic: being registered is enough, Dead or not",
			args:   []Binding{binding(weightless, health(model.Dead))}, want: ready,
		},
		"WeightZeroOtherUID": {
			reason: "but it must be registered under its own UID",
			args:   []Binding{binding(weightless, func(b *Binding) { b.Target.Tag = other })},
			want:   notReady(name+"10.0.0.1:80 is still bound for another pod", Poll),
		},
		"WeightZeroUnconfirmed": {
			reason: "and that must have been seen",
			args:   []Binding{binding(weightless, unconfirmed)},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", Poll),
		},
		"Unconfirmed": {
			reason: "health alone doesn't say whose it is",
			args:   []Binding{binding(unconfirmed)},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", Poll),
		},
		"UnconfirmedBesideDead": {
			reason: "the one that was not looked at to the end waits for the other, not the pod for it",
			args:   []Binding{binding(named("Service default/a port TCP/80"), unconfirmed), binding(health(model.Dead), unconfirmed)},
			want:   notReady(name+"the CLB's health check of 10.0.0.1:80 fails: does the pod answer there, and do its security groups let the CLB in?", Poll),
		},
		"Dead": {
			reason: "the message says what a person can look at",
			args:   []Binding{binding(health(model.Dead))},
			want:   notReady(name+"the CLB's health check of 10.0.0.1:80 fails: does the pod answer there, and do its security groups let the CLB in?", Poll),
		},
		"Unknown": {
			reason: "not probed yet is not healthy",
			args:   []Binding{binding(health(model.Unknown))},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", Poll),
		},
		"Missing": {
			reason: "nor is what the answer doesn't mention",
			args:   []Binding{binding(health(""))},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", Poll),
		},
		"CloseWithCheckOff": {
			reason: "there is no health check to wait for, and that was observed",
			args:   []Binding{binding(health(model.Close), unchecked)}, want: ready,
		},
		"CloseWithCheckOn": {
			reason: "a stopped listener isn't a healthy one",
			args:   []Binding{binding(health(model.Close))},
			want:   notReady(name+"the CLB does not check 10.0.0.1:80 although its health check is on: is the listener stopped?", Poll),
		},
		"CloseUnconfirmed": {
			reason: "while the switch wasn't seen nothing follows from Close",
			args:   []Binding{binding(health(model.Close), unchecked, unconfirmed)},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", Poll),
		},
		"NotSettled": {
			reason: "Alive within two intervals of the registration may be about the address's last pod",
			args:   []Binding{binding(registeredAt(after(57 * time.Second)))},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", 7*time.Second),
		},
		"JustSettled": {
			reason: "two intervals are what three successes take",
			args:   []Binding{binding(registeredAt(after(50 * time.Second)))}, want: ready,
		},
		"SettlesFromTheStart": {
			reason: "registered a little before the pod's start: by other clocks, or for another pod, whose verdict must have had the time to fall",
			args:   []Binding{binding(registeredAt(after(-5 * time.Second)))},
			read:   9 * time.Second,
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", 7*time.Second),
		},
		"AdoptedNotSettled": {
			reason: "registered well before the pod's start: the old verdict lives until three checks failed",
			args:   []Binding{binding(registeredAt(after(-time.Hour)))},
			read:   14 * time.Second,
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", 2*time.Second),
		},
		"AdoptedSettled": {
			reason: "three intervals and the second that its start may be off later it is this pod's",
			args:   []Binding{binding(registeredAt(after(-time.Hour)))},
			read:   16 * time.Second, want: ready,
		},
		"RegistrationUnknown": {
			reason: "both the old verdict's end and the new one's making, from when the containers became ready",
			args:   []Binding{binding(registeredAt(time.Time{}))},
			read:   44 * time.Second,
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", time.Second),
		},
		"RegistrationUnknownSettled": {
			reason: "25 s after that there is no doubt left",
			args:   []Binding{binding(registeredAt(time.Time{}))},
			read:   45 * time.Second, want: ready,
		},
		"NewSandbox": {
			reason: "the verdict is about the sandbox before",
			pod:    pod(gate(true, ReasonReady, MessageReady), func(p *model.Pod) { p.SandboxSince = after(10 * time.Minute) }),
			args:   []Binding{binding()},
			read:   10*time.Minute + 14*time.Second,
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", 2*time.Second),
		},
		"Sticky": {
			reason: "once True it stays, as TKE has it",
			pod:    pod(gate(true, ReasonReady, MessageReady)),
			args:   []Binding{binding(health(model.Dead))},
			want:   Decision{Status: true, Reason: ReasonReady, Message: MessageReady},
		},
		"StickySameSandbox": {
			reason: "a sandbox older than the gate is the one it was met for",
			pod:    pod(gate(true, ReasonReady, MessageReady), func(p *model.Pod) { p.SandboxSince = after(5 * time.Second) }),
			args:   []Binding{binding(health(model.Dead))},
			want:   Decision{Status: true, Reason: ReasonReady, Message: MessageReady},
		},
		"StickyKeepsOthersWords": {
			reason: "a gate that another controller opened is not rewritten",
			pod:    pod(gate(true, "Theirs", "their message")),
			want:   Decision{Status: true, Reason: "Theirs", Message: "their message"},
		},
		"Live": {
			reason: "asked to follow health, it closes again",
			pod:    pod(gate(true, ReasonReady, MessageReady)), live: true,
			args: []Binding{binding(health(model.Dead))},
			want: notReady(name+"the CLB's health check of 10.0.0.1:80 fails: does the pod answer there, and do its security groups let the CLB in?", Poll),
		},
		"LiveMet": {
			reason: "and while it is met it looks again",
			pod:    pod(gate(true, ReasonReady, MessageReady)), live: true,
			args: []Binding{binding()},
			want: Decision{Status: true, Reason: ReasonReady, Message: MessageReady, Recheck: 5 * Poll},
		},
		"NoDifference": {
			reason: "what is there already is not written again",
			pod:    pod(gate(false, ReasonNotReady, name+"waiting for the CLB to bind 10.0.0.1:80")),
			args:   []Binding{binding(state(Listening, ""))},
			want:   Decision{Reason: ReasonNotReady, Message: name + "waiting for the CLB to bind 10.0.0.1:80", Recheck: Poll},
		},
		"OtherMessage": {
			reason: "another message is a difference",
			pod:    pod(gate(false, ReasonNotReady, "waiting for the containers to be ready")),
			args:   []Binding{binding(state(Listening, ""))},
			want:   notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll),
		},
		"NoBinding": {
			reason: "what selects it may come a little later",
			want:   Decision{Reason: ReasonNoBinding, Message: "no load balancer binds this pod", Write: true, Recheck: 20 * time.Second},
		},
		"NoBindingContainersNotReady": {
			reason: "the minute begins with ContainersReady",
			pod:    pod(func(p *model.Pod) { p.ContainersReady = false }),
			want:   Decision{Reason: ReasonNoBinding, Message: "no load balancer binds this pod", Write: true},
		},
		"NoBindingForAMinute": {
			reason: "then it opens, with a reason of its own, worth an Event",
			read:   80 * time.Second,
			want:   Decision{Status: true, Reason: ReasonNoBinding, Message: "no load balancer binds this pod", Write: true, Opened: true},
		},
		"Released": {
			reason: "bindings that don't hold are named, in order",
			args: []Binding{
				binding(named("c"), state(Refused, "refused with E4016")),
				binding(named("a"), state(Unreachable, "it uses the host's network")),
				binding(named("b"), state(NoPort, `no container declares a TCP port named "web"`)),
			},
			read: 80 * time.Second,
			want: Decision{Status: true, Reason: ReasonNoBinding, Write: true, Opened: true,
				Message: `no load balancer binds this pod (not held by a: it uses the host's network; b: no container declares a TCP port named "web"; c: refused with E4016)`},
		},
		"ReleasedBesideMet": {
			reason: "they don't keep a pod from being ready",
			args:   []Binding{binding(), binding(named("b"), state(Refused, "refused with E4016"))}, want: ready,
		},
		"ReleasedBesideWaiting": {
			reason: "and are named while it waits for others",
			args:   []Binding{binding(health(model.Unknown)), binding(named("b"), state(Refused, "refused with E4016"))},
			want:   notReady(name+"waiting for the CLB's health check of 10.0.0.1:80 (not held by b: refused with E4016)", Poll),
		},
		"SoonestRecheck": {
			reason: "the binding that can change soonest sets the pace",
			args:   []Binding{binding(named("a"), registeredAt(after(57*time.Second))), binding(named("b"), registeredAt(after(53*time.Second)))},
			want:   notReady("a: waiting for the CLB's health check of 10.0.0.1:80", 3*time.Second),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.pod == nil {
				tc.pod = pod()
			}
			if tc.read == 0 {
				tc.read = time.Minute
			}
			got := Decide(Observation{Pod: tc.pod, Bindings: tc.args, HealthRead: after(tc.read), Now: after(tc.read), Live: tc.live})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if got.Pending() == got.Status {
				t.Errorf("%s: Pending is %t of status %t", tc.reason, got.Pending(), got.Status)
			}
		})
	}
}

func TestPromising(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   Binding
		want   bool
	}{
		"Alive":      {reason: "only the target is still to be read", args: binding(unconfirmed), want: true},
		"Close":      {reason: "if the check turns out to be off", args: binding(unconfirmed, health(model.Close)), want: true},
		"Weightless": {reason: "whatever its health", args: binding(unconfirmed, weightless, health(model.Dead)), want: true},
		"Refused":    {reason: "it doesn't hold", args: binding(state(Refused, "")), want: true},
		"Dead":       {reason: "no use in reading more", args: binding(unconfirmed, health(model.Dead))},
		"Unbound":    {reason: "nothing is bound", args: binding(state(Listening, ""))},
		"Making":     {reason: "nothing is there", args: binding(state(Making, ""))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.args.Promising(); got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}
