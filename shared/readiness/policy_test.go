package readiness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func openAfter(d time.Duration) func(*Binding) { return func(b *Binding) { b.OpenAfter = d } }

func unseen(b *Binding) { b.Unseen, b.Target, b.Health = true, nil, "" }

// opened is the decision to open by policy, for what was being waited for.
func opened(message string) Decision {
	return Decision{Status: true, Reason: ReasonOpened, Message: name + message + " (opened by the readiness policy)", Write: true, Recheck: openPoll, Opened: true}
}

// TestPolicy: containers were ready 20 s after the pod's start.
func TestPolicy(t *testing.T) {
	const cantAsk = "the CLB can't be asked about 10.0.0.1:80"
	notBound, minute := state(Listening, ""), openAfter(time.Minute)
	cases := map[string]struct {
		reason string
		pod    *model.Pod
		live   bool
		args   []Binding
		// at is when it is decided, after the pod's start; two minutes by default.
		at   time.Duration
		want Decision
	}{
		"Closed":   {reason: "by default nothing opens", args: []Binding{binding(unseen)}, want: notReady(name+cantAsk, Poll)},
		"Early":    {reason: "it isn't time", args: []Binding{binding(unseen, minute)}, at: 79 * time.Second, want: notReady(name+cantAsk, Poll)},
		"Away":     {reason: "the CLB API is away for long", args: []Binding{binding(unseen, minute)}, at: 80 * time.Second, want: opened(cantAsk)},
		"NotBound": {reason: "so is backends, or a quota is used up", args: []Binding{binding(notBound, minute)}, want: opened("waiting for the CLB to bind 10.0.0.1:80")},
		"Making":   {reason: "so is frontend", args: []Binding{binding(state(Making, "waiting for the load balancer to be created"), minute)}, want: opened("waiting for the load balancer to be created")},
		"Stranger": {reason: "nobody unbinds who was there before", args: []Binding{binding(func(b *Binding) { b.Target.Tag = other }, minute)},
			want: opened("10.0.0.1:80 is still bound for another pod")},
		"Weight": {reason: "nobody raises its weight", args: []Binding{binding(func(b *Binding) { b.Target.Weight = 0 }, minute)},
			want: opened("waiting for the CLB to give 10.0.0.1:80 weight 10")},
		"Unconfirmed": {reason: "targets can't be read", args: []Binding{binding(unconfirmed, minute)}, want: opened("waiting for the CLB's health check of 10.0.0.1:80")},
		"NoVerdict":   {reason: "the CLB has none", args: []Binding{binding(health(model.Unknown), minute)}, want: opened("waiting for the CLB's health check of 10.0.0.1:80")},
		"Dead": {reason: "known to be bad is no outage", args: []Binding{binding(health(model.Dead), minute)},
			want: notReady(name+"the CLB's health check of 10.0.0.1:80"+fails, Poll)},
		"DeadAtNoWeight": {reason: "whatever else is amiss", args: []Binding{binding(health(model.Dead), func(b *Binding) { b.Target.Weight = 0 }, minute)},
			want: notReady(name+"waiting for the CLB to give 10.0.0.1:80 weight 10", Poll)},
		"DeadBefore": {reason: "that is what the CLB said last", pod: pod(gate(false, ReasonNotReady, name+"the CLB's health check of 10.0.0.1:80"+fails)),
			args: []Binding{binding(unseen, minute)}, want: Decision{Reason: ReasonNotReady, Message: name + "the CLB's health check of 10.0.0.1:80" + fails, Recheck: Poll}},
		"Unchecked": {reason: "somebody has stopped the listener", args: []Binding{binding(health(model.Close), minute)},
			want: notReady(name+"the CLB does not check 10.0.0.1:80 although its health check is on: is the listener stopped?", Poll)},
		"Settling": {reason: "Alive, and soon to be believed", args: []Binding{binding(registeredAt(after(119*time.Second)), minute)},
			want: notReady(name+"waiting for the CLB's health check of 10.0.0.1:80", 9*time.Second)},
		"OneOfTwo": {reason: "all objects that hold it must have it open", args: []Binding{binding(notBound, minute), binding(notBound, named("Service default/other"))},
			want: notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll)},
		"Longest": {reason: "and none sooner than it says", args: []Binding{binding(notBound, minute), binding(notBound, openAfter(time.Hour), named("Service default/other"))},
			want: notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll)},
		"OtherMet": {reason: "what is met holds nothing", args: []Binding{binding(notBound, minute), binding(named("Service default/other"))}, want: opened("waiting for the CLB to bind 10.0.0.1:80")},
		"Containers": {reason: "its own probes say no", pod: pod(func(p *model.Pod) { p.ContainersReady = false }), args: []Binding{binding(unseen, minute)},
			want: notReady("waiting for the containers to be ready", 0)},
		"Stays": {reason: "open by policy, in the same words", pod: pod(gate(true, ReasonOpened, "so")), args: []Binding{binding(notBound, minute)},
			want: Decision{Status: true, Reason: ReasonOpened, Message: "so", Recheck: openPoll}},
		"StaysOnTheWayBack": {reason: "all would close for a moment", pod: pod(gate(true, ReasonOpened, "so")), args: []Binding{binding(registeredAt(after(119*time.Second)), minute)},
			want: Decision{Status: true, Reason: ReasonOpened, Message: "so", Recheck: openPoll}},
		"MetAtLast": {reason: "and decided as ever", pod: pod(gate(true, ReasonOpened, "so")), args: []Binding{binding(minute)}, want: ready},
		"FoundDead": {reason: "or found to be bad", pod: pod(gate(true, ReasonOpened, "so")), args: []Binding{binding(health(model.Dead), minute)},
			want: notReady(name+"the CLB's health check of 10.0.0.1:80"+fails, Poll)},
		"PolicyTakenBack": {reason: "nobody wants it open any more", pod: pod(gate(true, ReasonOpened, "so")), args: []Binding{binding(notBound)},
			want: notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll)},
		"Live": {reason: "met before, and then unbound by somebody: first it closes", live: true, pod: pod(gate(true, ReasonReady, MessageReady)), args: []Binding{binding(notBound, minute)},
			want: notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll)},
		"LiveAgain": {reason: "and counts from then", live: true, pod: pod(gate(false, ReasonNotReady, "")), args: []Binding{binding(notBound, minute)}, at: 119 * time.Second,
			want: notReady(name+"waiting for the CLB to bind 10.0.0.1:80", Poll)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.pod == nil {
				tc.pod = pod()
			}
			if tc.at == 0 {
				tc.at = 2 * time.Minute
			}
			got := Decide(Observation{Pod: tc.pod, Bindings: tc.args, HealthRead: after(tc.at), Now: after(tc.at), Live: tc.live})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
