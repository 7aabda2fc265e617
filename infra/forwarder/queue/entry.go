package queue

import (
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
)

// kind says why something is to be looked at later.
type kind int

const (
	none kind = iota
	// asked: the function wants to be called again.
	asked
	// failed: it comes again after the backoff.
	failed
	// parked: it comes again when the partition changes, or after a long while.
	parked
)

// entry is one partition of one function.
type entry struct {
	key work.Key
	// ready is what changed and is to be sent from readyAt on.
	ready   work.Look
	readyAt time.Time
	// later is what is to be looked at again.
	later struct {
		look work.Look
		due  time.Time
		kind kind
	}
	// blocked: the last send failed, nothing is sent before then. blockedFrom is
	// when it failed.
	blocked, blockedFrom time.Time
	failures, answered   int

	// unanswered: the last send got no answer.
	unanswered bool

	inFlight bool
	sending  work.Look
	// began is when the last send began, took how long the last one was; touched when
	// there was last anything to do.
	began, touched time.Time
	took           time.Duration

	// ended are attempts to tell of, told how many of them the send under way names.
	ended []string
	told  int
	// version is the newest one ever sent: a look from before must not be answered
	// from a cache that is older than that.
	version string

	// at is when it is due, index its place in the order, -1 for none.
	at    time.Time
	index int
}

// mark takes in that something changed.
func (e *entry) mark(l work.Look, now time.Time, o Options) {
	first := e.ready.Empty()
	e.ready.Absorb(l)
	if first {
		e.readyAt = now.Add(e.gather(now, o.MaxWindow))
	}
	if l.Urgent {
		e.readyAt = time.Time{} // before everybody else's
	}
	// A change is news: what keeps failing is tried again soon.
	if limit := e.blockedFrom.Add(o.PressingCap); e.blocked.After(limit) {
		e.blocked = limit
	}
}

// gather is how long to wait for more marks: not at all in an idle partition, and in a
// busy one a part of what a send takes. What comes while one is under way is gathered in
// any case; where sends are quick there is nothing to be had by waiting.
func (e *entry) gather(now time.Time, limit time.Duration) time.Duration {
	if e.began.IsZero() || now.Sub(e.began) > time.Second || e.took < quick {
		return 0
	}
	return min(e.took/4, limit)
}

// quick is a send that costs little.
const quick = 20 * time.Millisecond

// next tells when the entry is due, if it is.
func (e *entry) next() (at time.Time, due bool) {
	if e.inFlight {
		return time.Time{}, false
	}
	switch {
	case !e.ready.Empty() && e.later.kind != none && e.later.due.Before(e.readyAt):
		at = e.later.due
	case !e.ready.Empty():
		at = e.readyAt
	case e.later.kind != none:
		at = e.later.due
	default:
		return time.Time{}, false
	}
	if e.blocked.After(at) {
		at = e.blocked
	}
	return at, true
}

// take starts a send of everything that is due. What the function asked to be
// called for later stays until then: it would make a pass over one pod a pass
// over all.
func (e *entry) take(now time.Time) Sending {
	e.sending = e.ready
	if e.later.kind == failed || e.later.kind == parked || e.later.kind == asked && !e.later.due.After(now) {
		e.sending = e.sending.Merge(e.later.look)
		e.clearLater()
	}
	e.version = kube.LatestResourceVersion(e.version, e.sending.Version)
	e.sending.Version = e.version
	e.ready = work.Look{}
	e.inFlight, e.began, e.touched = true, now, now
	e.told = len(e.ended)
	return Sending{Key: e.key, Look: e.sending, Ended: slices.Clone(e.ended), Failures: e.failures, Answered: e.answered}
}

// forget ends a send that had no object.
func (e *entry) forget() {
	e.land()
	e.ended, e.failures = nil, 0
	e.blocked = time.Time{}
}

// fail ends a send that got no answer, or a failure that passes.
func (e *entry) fail(now time.Time, backoff time.Duration) {
	look := e.land()
	e.failures++
	e.blockedFrom, e.blocked = now, now.Add(backoff)
	e.postpone(look, e.blocked, failed)
}

// park ends a send that will never get an answer.
func (e *entry) park(now time.Time, o Options) {
	look := e.land()
	e.failures++
	e.postpone(look, now.Add(parking(o)), parked)
}

// parking is how long what failed for good waits.
func parking(o Options) time.Duration {
	return time.Duration((0.5 + o.Random()) * float64(o.Park))
}

// settle ends a send that was answered.
func (e *entry) settle(r event.Reply, now time.Time, o Options, backoff func() time.Duration) {
	e.answered++
	e.ended = e.ended[min(e.told, len(e.ended)):]
	asks := time.Duration(r.RequeueAfterMillis) * time.Millisecond
	if f := r.Failure; f != nil && f.Kind != fault.Invalid && f.Kind != fault.Permanent {
		if asks > 0 { // the function knows better how long
			e.fail(now, asks)
			return
		}
		e.fail(now, backoff())
		return
	}
	look := e.land()
	e.failures, e.blocked = 0, time.Time{}
	if !r.Continue { // somebody has seen it: nobody waits for the acknowledgement
		look.Since, look.Urgent = time.Time{}, false
	}
	switch {
	case r.Failure != nil && asks > 0:
		e.postpone(look, now.Add(asks), parked)
	case r.Failure != nil:
		e.postpone(look, now.Add(parking(o)), parked)
	case r.Continue:
		e.ready = e.ready.Merge(look)
		e.readyAt = now
	case asks > 0:
		if len(r.PendingPods) > 0 {
			look = look.Only(r.PendingPods)
		}
		e.postpone(look, now.Add(asks), asked)
	}
}

// land takes back what was being sent.
func (e *entry) land() work.Look {
	look := e.sending
	e.inFlight, e.sending, e.told = false, work.Look{}, 0
	return look
}

// postpone keeps a look for later, with what is already kept; the sooner time holds.
func (e *entry) postpone(l work.Look, due time.Time, k kind) {
	if e.later.kind != none && e.later.due.Before(due) && k != failed {
		due = e.later.due
	}
	e.later.look = e.later.look.Merge(l)
	e.later.due, e.later.kind = due, max(e.later.kind, k)
	if e.later.look.Empty() { // an event without objects is still an event
		e.later.look.All = true
	}
}

func (e *entry) clearLater() {
	e.later.look, e.later.due, e.later.kind = work.Look{}, time.Time{}, none
}

// idle tells that there is nothing to do.
func (e *entry) idle() bool {
	return !e.inFlight && e.ready.Empty() && e.later.kind == none
}

// oldest is since when the oldest change waits for its acknowledgement.
func (e *entry) oldest() time.Time {
	var out time.Time
	for _, l := range []work.Look{e.ready, e.sending, e.later.look} {
		if !l.Since.IsZero() && (out.IsZero() || l.Since.Before(out)) {
			out = l.Since
		}
	}
	return out
}
