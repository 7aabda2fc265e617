package readiness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

func drawSeconds(t *rapid.T, lo, hi int, label string) time.Duration {
	return time.Duration(rapid.IntRange(lo, hi).Draw(t, label)) * time.Second
}

func drawBinding(t *rapid.T, i int) Binding {
	b := binding(named(fmt.Sprintf("binding %d", i)))
	b.State = rapid.SampledFrom([]State{Unreachable, NoPort, Refused, Making, Listening, Listening, Listening}).Draw(t, "state")
	b.Detail = "why"
	b.Weight = rapid.SampledFrom([]int{0, 10, 10, 10}).Draw(t, "weight")
	b.Health = rapid.SampledFrom([]model.Health{model.Alive, model.Alive, model.Alive, model.Dead, model.Unknown, model.Close, ""}).Draw(t, "health")
	b.Check.Enabled = rapid.Bool().Draw(t, "checked")
	b.Check.Interval = rapid.SampledFrom([]int{2, 5}).Draw(t, "interval")
	b.Unconfirmed = rapid.IntRange(0, 4).Draw(t, "unconfirmed") == 0
	b.Unseen = rapid.IntRange(0, 4).Draw(t, "unseen") == 0
	b.OpenAfter = rapid.SampledFrom([]time.Duration{0, 30 * time.Second, 2 * time.Minute}).Draw(t, "open after")
	b.Target.Tag = rapid.SampledFrom([]string{uid, uid, uid, other, ""}).Draw(t, "tag")
	b.Target.Weight = rapid.SampledFrom([]int{b.Weight, b.Weight, 0, 10}).Draw(t, "target's weight")
	switch rapid.SampledFrom([]string{"normal", "normal", "adopted", "unknown", "none"}).Draw(t, "registration") {
	case "normal":
		b.Target.Registered = after(drawSeconds(t, 0, 40, "registered"))
	case "adopted":
		b.Target.Registered = after(-drawSeconds(t, 6, 100, "registered"))
	case "unknown":
		b.Target.Registered = time.Time{}
	case "none":
		b.Target = nil
	}
	return b
}

func drawObservation(t *rapid.T) Observation {
	p := pod()
	p.ContainersReady = rapid.IntRange(0, 3).Draw(t, "containers") > 0
	p.ContainersReadySince = after(drawSeconds(t, 0, 30, "containers ready"))
	if rapid.Bool().Draw(t, "sandbox known") {
		p.SandboxSince = after(drawSeconds(t, 0, 120, "sandbox"))
	}
	if rapid.Bool().Draw(t, "has gate") {
		p.Gate = &model.Condition{
			Status: rapid.Bool().Draw(t, "gate"), Reason: rapid.SampledFrom([]string{ReasonReady, ReasonNotReady, ReasonOpened}).Draw(t, "gate's reason"),
			Message: rapid.SampledFrom([]string{MessageReady, "it" + fails}).Draw(t, "gate's message"), Since: after(drawSeconds(t, 0, 120, "gate since")),
		}
	}
	o := Observation{Pod: p, Now: after(drawSeconds(t, 0, 200, "now")), Live: rapid.Bool().Draw(t, "live")}
	o.HealthRead = o.Now
	for i := range rapid.IntRange(0, 3).Draw(t, "bindings") {
		o.Bindings = append(o.Bindings, drawBinding(t, i))
	}
	return o
}

// sticks tells by the design's words whether a gate that is True stays so unasked.
func sticks(o Observation) bool {
	g := o.Pod.Gate
	return g != nil && g.Status && g.Reason != ReasonOpened && !o.Live && !o.Pod.SandboxSince.After(g.Since)
}

// sound tells by the design's words whether a binding may be called met.
func sound(b Binding, o Observation) bool {
	t := b.Target
	if b.State != Listening || t == nil || t.Tag != o.Pod.UID || b.Unconfirmed || b.Unseen {
		return false
	}
	if b.Weight == 0 {
		return true
	}
	if t.Weight != b.Weight {
		return false
	}
	if b.Health == model.Close {
		return !b.Check.Enabled
	}
	settle := time.Duration(b.Check.HealthNum-1) * time.Duration(b.Check.Interval) * time.Second
	// Nobody answered at the address for this pod before it, or its present
	// sandbox, began; and health before the registration is another's.
	for _, since := range []time.Time{t.Registered, o.Pod.Started, o.Pod.SandboxSince} {
		if o.HealthRead.Sub(since) < settle {
			return false
		}
	}
	return b.Health == model.Alive
}

// surely tells whether a binding must be called met: it has been sound for longer than an
// old verdict is ever doubted.
func surely(b Binding, o Observation) bool {
	o.HealthRead = o.HealthRead.Add(-b.Check.Settle() - b.Check.Unsettle() - time.Second)
	return sound(b, o) && !o.HealthRead.Before(o.Pod.ContainersReadySince)
}

func holding(o Observation) []Binding {
	return slices.DeleteFunc(slices.Clone(o.Bindings), func(b Binding) bool { return b.State <= Refused })
}

func decisionLaws(t *rapid.T) {
	o := drawObservation(t)
	d := Decide(o)
	held := holding(o)

	switch {
	case sticks(o):
		if !d.Status || d.Write || d.Recheck != 0 {
			t.Fatalf("a gate that was met did not stay: %+v", d)
		}
		return
	case d.Status && d.Reason == ReasonOpened:
		checkOpened(t, o, d)
	case d.Status && len(held) > 0:
		if !o.Pod.ContainersReady {
			t.Fatalf("True before the containers are ready")
		}
		for _, b := range held {
			if !sound(b, o) {
				t.Fatalf("True, but %+v (target %+v) is not met", b, b.Target)
			}
		}
	case d.Status:
		if !o.Pod.ContainersReady || o.Now.Sub(o.Pod.ContainersReadySince) < NoBindingGrace || !d.Opened || d.Reason != ReasonNoBinding {
			t.Fatalf("opened without a binding: %+v, %s after ContainersReady", d, o.Now.Sub(o.Pod.ContainersReadySince))
		}
	case o.Pod.ContainersReady && d.Recheck <= 0:
		t.Fatalf("it waits for the CLB or for time, and nobody looks again: %+v", d)
	}
	if !d.Status && d.Message == "" {
		t.Fatal("False without a word why")
	}
	checkWrite(t, o, d)
	checkOrder(t, o, d)
	checkTime(t, o, d)
}

// checkOpened: a gate is open by policy only if every object whose place isn't sound has
// it so, none of them knows the pod to be Dead, and it is time, or was before.
func checkOpened(t *rapid.T, o Observation, d Decision) {
	g := o.Pod.Gate
	was := g != nil && g.Status && g.Reason == ReasonOpened && !o.Pod.SandboxSince.After(g.Since)
	if !o.Pod.ContainersReady || d.Recheck <= 0 || d.Opened == was {
		t.Fatalf("opened by policy: %+v, open before %t", d, was)
	}
	met := true
	for _, b := range holding(o) {
		met = met && surely(b, o)
		if sound(b, o) {
			continue
		}
		if b.OpenAfter == 0 || b.Target != nil && !b.Unseen && b.State == Listening && b.Health == model.Dead {
			t.Fatalf("opened in spite of %+v", b)
		}
		if !was && o.Now.Sub(o.Pod.ContainersReadySince) < b.OpenAfter {
			t.Fatalf("opened %s after ContainersReady, want %s", o.Now.Sub(o.Pod.ContainersReadySince), b.OpenAfter)
		}
	}
	if met {
		t.Fatalf("opened by policy, and everything is met: %+v", d)
	}
	if o.Live && g != nil && g.Status && g.Reason != ReasonOpened && !o.Pod.SandboxSince.After(g.Since) {
		t.Fatal("a live gate was opened by policy that nobody had seen closed")
	}
}

// checkWrite: what differs is written, and so is what was true of another sandbox;
// written once, it is not written again.
func checkWrite(t *rapid.T, o Observation, d Decision) {
	g := o.Pod.Gate
	differs := g == nil || g.Status != d.Status || g.Reason != d.Reason || g.Message != d.Message
	anew := g != nil && g.Status && d.Status && o.Pod.SandboxSince.After(g.Since)
	if d.Write != (differs || anew) || d.Anew != anew {
		t.Fatalf("write is %t of %+v over %+v", d.Write, d, g)
	}
	p := *o.Pod
	p.Gate = &model.Condition{Status: d.Status, Reason: d.Reason, Message: d.Message, Since: later(o.Now, p.SandboxSince)}
	o.Pod = &p
	if again := Decide(o); again.Write || again.Status != d.Status {
		t.Fatalf("deciding again: %+v after %+v", again, d)
	}
}

// checkOrder: the order of bindings means nothing.
func checkOrder(t *rapid.T, o Observation, d Decision) {
	o.Bindings = rapid.Permutation(o.Bindings).Draw(t, "order")
	if diff := cmp.Diff(d, Decide(o)); diff != "" {
		t.Fatalf("the order of the bindings matters: -want +got:\n%s", diff)
	}
}

// checkTime: time alone never closes a gate and, of a single binding, never
// lengthens the wait and changes no word of the message; and when the wait is over there is something new to say,
// or the CLB is to be asked again.
func checkTime(t *rapid.T, o Observation, d Decision) {
	pass := func(by time.Duration) Decision {
		later := o
		later.Now, later.HealthRead = o.Now.Add(by), o.HealthRead.Add(by)
		return Decide(later)
	}
	n := pass(drawSeconds(t, 0, 300, "later"))
	if d.Status && !n.Status {
		t.Fatalf("time closed the gate: %+v then %+v", d, n)
	}
	if len(holding(o)) > 1 {
		return // when one of them settles another is named and waited for
	}
	if !n.Status && !d.Status && (n.Message != d.Message || n.Reason != d.Reason) {
		t.Fatalf("time changed the words: %q then %q", d.Message, n.Message)
	}
	if !n.Status && n.Recheck > max(d.Recheck, Poll) {
		t.Fatalf("the wait got longer: %s then %s", d.Recheck, n.Recheck)
	}
	if d.Recheck > Poll && !d.Status {
		if then := pass(d.Recheck); !then.Status && then.Recheck >= d.Recheck {
			t.Fatalf("waited %s for nothing: %+v", d.Recheck, then)
		}
	}
}

func TestDecisionLaws(t *testing.T) { rapid.Check(t, decisionLaws) }

func FuzzDecisionLaws(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("0123456789abcdef0123456789abcdef0123456789abcdef"))
	f.Fuzz(rapid.MakeFuzz(decisionLaws))
}

// TestOpensAtLast: with everything as wanted for long enough the gate opens; the
// rules above must not be kept by never opening.
func TestOpensAtLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawObservation(t)
		o.Pod.ContainersReady = true
		o.Now = after(time.Hour)
		o.HealthRead = o.Now
		for i := range o.Bindings {
			b := &o.Bindings[i]
			if b.State == Making || b.Target == nil {
				*b = binding(named(b.Name))
			}
			b.Target.Tag, b.Target.Weight, b.Unconfirmed, b.Unseen, b.Health = uid, b.Weight, false, false, model.Alive
		}
		d := Decide(o)
		if !d.Status || d.Reason == ReasonOpened {
			t.Fatalf("everything is as wanted, and yet: %+v", d)
		}
		if strings.Contains(d.Message, "2026") {
			t.Fatalf("the message tells the time: %s", d.Message)
		}
	})
}
