package readiness

import (
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

// policy is what the objects that select a pod have become of its gate while what decides
// it is away. It opens the gate if, of every binding that isn't met,
//
//   - the object says so, and its containers have been ready for as long as it says
//   - that is so because something is away, ours or the CLB API, and not because the CLB
//     has found the pod Dead, doesn't check it, or has yet to make up its mind
//
// A gate that it has opened is decided anew every time. It stays open until it is met,
// unless the pod is found Dead or the policy is another: everything that comes back would
// close it for a moment, at all pods at a time.
type policy struct {
	o Observation
	// opened: the gate is open by policy already.
	opened bool
	// refused: a binding that isn't met doesn't allow it. recalled: as the CLB, which can't be
	// asked now, had found it Dead.
	refused, recalled bool
	// after is the longest that one of them asks for.
	after time.Duration
}

func newPolicy(o Observation) *policy {
	g := o.Pod.Gate
	return &policy{o: o, opened: g != nil && g.Status && g.Reason == ReasonOpened && !newSandbox(o.Pod)}
}

// add takes in a binding that isn't met.
func (p *policy) add(b Binding) {
	away, recalled := p.away(b), b.Unseen && foundDead(p.o.Pod.Gate)
	p.recalled = p.recalled || recalled
	p.refused = p.refused || b.OpenAfter == 0 || b.dead() || recalled || !away && !p.opened
	p.after = max(p.after, b.OpenAfter)
}

// away tells whether the binding isn't met because something is away.
func (p *policy) away(b Binding) bool {
	switch t := b.Target; {
	case b.State == Making || b.Unseen || t == nil || t.Tag != p.o.Pod.UID:
		return true // nobody has bound it, or asked
	case b.Unconfirmed && b.Promising():
		return true // nobody has looked whose health it is
	case t.Weight != b.Weight && !b.Unconfirmed:
		return true // nobody has raised it
	}
	return b.Health != model.Alive && b.Health != model.Close
}

// dead tells whether the CLB has found the pod itself to be so.
func (b Binding) dead() bool {
	return b.State == Listening && !b.Unseen && b.Target != nil && b.Health == model.Dead
}

// foundDead tells whether that is what the CLB had said when it was last asked.
func foundDead(gate *model.Condition) bool {
	return gate != nil && !gate.Status && strings.Contains(gate.Message, fails)
}

// apply gives what the policy makes of a decision to keep the gate closed.
func (p *policy) apply(closed Decision) Decision {
	g := p.o.Pod.Gate
	switch {
	case p.recalled:
		closed.Message = g.Message // else the next look wouldn't know
		return closed
	case p.refused:
		return closed
	case p.opened:
		// In the same words: what is awaited changes on the way back.
		return Decision{Status: true, Reason: ReasonOpened, Message: g.Message, Recheck: openPoll}
	case g != nil && g.Status && !newSandbox(p.o.Pod):
		return closed // a live gate closes first: since when it isn't met nobody knows
	}
	since := p.o.Pod.ContainersReadySince
	if since.IsZero() {
		since = p.o.Pod.Created
	}
	if p.o.Live && g != nil && !g.Status {
		since = later(since, g.Since)
	}
	if p.o.Now.Sub(since) < p.after {
		return closed
	}
	return Decision{Status: true, Reason: ReasonOpened, Message: closed.Message + " (opened by the readiness policy)", Recheck: openPoll, Opened: true}
}

// openPoll is when to look again at a pod whose gate is open by policy.
const openPoll = 5 * Poll
