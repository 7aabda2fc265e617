// Package queue is the retry engine: latest wins, one send at a time per function
// and partition, many partitions side by side, and nothing is ever dropped. What
// is marked while a send of its partition is under way is sent after it; what a
// failed send carried stays until a send succeeds.
//
//	answer                       what was sent
//	done                         is forgotten
//	continue                     is ready again at once
//	requeue after d              is looked at again after d, the pods pending alone
//	failure Invalid, Permanent   is parked: until its partition changes, or about 60 s
//	any other failure, no answer comes again after a growing, jittered delay
//	no answer, refused for good  is parked like a permanent failure
//	too much                     slows the whole function down: nothing is sent to it for a
//	                             while, and then to fewer partitions at a time
package queue

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
)

// Options of a Queue; zero fields get the defaults.
type Options struct {
	// Parallel is how many sends may be under way; default 32.
	Parallel int
	// MinBackoff is the first delay after a failure, default 200 ms; it doubles with
	// each more, and a random part of it is waited.
	MinBackoff time.Duration
	// PressingCap bounds it while a pod of the partition waits for its gate, or
	// something has changed since: default 5 s. AwayCap bounds it while the function
	// answers nobody, 10 s, and IdleCap otherwise: 60 s.
	PressingCap, AwayCap, IdleCap time.Duration
	// Park is about how long what failed for good waits for a change; default 60 s.
	Park time.Duration
	// MaxWindow is how long marks may be gathered before a send of a busy partition;
	// an idle one sends at once. Default 100 ms.
	MaxWindow time.Duration
	// Now and Random (in [0,1)) are the clock and the dice.
	Now    func() time.Time
	Random func() float64
	// Pressing tells whether a pod of the partition waits for its gate.
	Pressing func(work.Key) bool
	// Send carries out one send. It must end when its context does.
	Send func(context.Context, Sending) Outcome
}

// Sending is what is to be sent.
type Sending struct {
	work.Key
	Look work.Look
	// Ended are attempts which the platform says are over.
	Ended []string
	// Failures counts the sends of this partition that have failed since the last
	// that didn't.
	Failures int
	// Answered counts the sends of this partition that have been answered, while it is
	// remembered.
	Answered int
}

// Outcome says how a send went. Exactly one of Reply, Err, Gone and Moved counts,
// in the order Gone, Moved, Err, Reply.
type Outcome struct {
	// Reply is the function's answer.
	Reply event.Reply
	// Err is set when there was none.
	Err error
	// Refused: the platform will not take this event, however often it is sent.
	Refused bool
	// Throttled: the platform takes no more for now, of no partition; RetryAfter is how
	// long it says that lasts, 0 if it doesn't say.
	Throttled  bool
	RetryAfter time.Duration
	// Ended is the attempt, when the platform says that it is over without an answer.
	Ended string
	// Gone: there was nothing to send, and nobody left to send it for.
	Gone bool
	// Moved: nothing was sent, the partition has another key now.
	Moved *work.Key
}

// Queue holds the partitions. Make one with New.
type Queue struct {
	o Options

	mu      sync.Mutex
	entries map[work.Key]*entry
	sinks   map[event.Function]*sink
	running int
	swept   time.Time
	wake    chan struct{}
	// ctx is Run's, nil while it doesn't run; sends are those under way.
	ctx   context.Context
	sends sync.WaitGroup
}

// New makes a queue. Nothing is sent until Run.
func New(o Options) *Queue {
	if o.Parallel == 0 {
		o.Parallel = 32
	}
	setDefault(&o.MinBackoff, 200*time.Millisecond)
	setDefault(&o.PressingCap, 5*time.Second)
	setDefault(&o.AwayCap, 10*time.Second)
	setDefault(&o.IdleCap, time.Minute)
	setDefault(&o.Park, time.Minute)
	setDefault(&o.MaxWindow, 100*time.Millisecond)
	return &Queue{o: o, entries: map[work.Key]*entry{}, sinks: map[event.Function]*sink{}, wake: make(chan struct{}, 1)}
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Add takes in marks.
func (q *Queue) Add(marks ...work.Mark) {
	if len(marks) == 0 {
		return
	}
	q.mu.Lock()
	now := q.o.Now()
	for _, m := range marks {
		if m.Look.Since.IsZero() {
			m.Look.Since = now
		}
		e := q.entry(m.Key)
		e.mark(m.Look, now, q.o)
		q.fix(e)
	}
	q.start() // what is due at once need not wait for Run to wake up
	q.mu.Unlock()
	q.nudge()
}

// Run sends what is due until ctx ends, then waits for the sends under way.
func (q *Queue) Run(ctx context.Context) {
	q.mu.Lock()
	q.ctx = ctx
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.ctx = nil // nothing is begun any more
		q.mu.Unlock()
		q.sends.Wait()
	}()
	timer := time.NewTimer(forget)
	defer timer.Stop()
	for ctx.Err() == nil {
		q.mu.Lock()
		q.sweep(q.o.Now())
		next := q.start()
		q.mu.Unlock()
		timer.Reset(next)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// start begins every send that is due and finds a place, and tells how long it is
// until the next. Its caller holds the lock.
func (q *Queue) start() time.Duration {
	if q.ctx == nil || q.ctx.Err() != nil {
		return forget
	}
	ctx := q.ctx
	for q.running < q.o.Parallel {
		now := q.o.Now()
		to, at := q.first()
		if to == nil {
			break
		}
		if wait := at.Sub(now); wait > 0 {
			return min(wait, forget)
		}
		s := to.order[0].take(now)
		q.fix(q.entries[s.Key])
		q.running++
		to.running++
		q.sends.Go(func() {
			out := q.o.Send(ctx, s)
			q.finish(s.Key, out)
		})
	}
	return forget // a send's end, or a mark, comes first
}

// forget is how long a partition with nothing to do is remembered: how busy it was,
// and the attempts that ended.
const forget = time.Minute

// sweep lets go of what has had nothing to do for long.
func (q *Queue) sweep(now time.Time) {
	if now.Sub(q.swept) < forget {
		return
	}
	q.swept = now
	for k, e := range q.entries {
		if e.idle() && now.Sub(e.touched) >= forget {
			delete(q.entries, k)
		}
	}
}

// finish takes in how a send went.
func (q *Queue) finish(k work.Key, out Outcome) {
	pressing := q.o.Pressing != nil && (out.Err != nil || out.Reply.Failure != nil) && q.o.Pressing(k)
	q.mu.Lock()
	q.running--
	now := q.o.Now()
	e := q.entries[k]
	e.took = now.Sub(e.began)
	to := q.sink(k.Function)
	to.running--
	if out.Throttled {
		to.slow(now, out.RetryAfter, q.o)
	} else if out.Err == nil && !out.Gone && out.Moved == nil {
		to.quicken(q.o.Parallel)
	}
	e.unanswered = out.Err != nil
	recovered := false
	switch {
	case out.Gone || out.Moved != nil:
	case out.Err == nil:
		recovered = to.back()
	default:
		to.silence(k)
	}
	switch {
	case out.Gone:
		e.forget()
	case out.Moved != nil:
		to := q.entry(*out.Moved)
		to.mark(e.sending, now, q.o)
		to.ended = append(to.ended, e.ended...)
		q.fix(to)
		e.forget()
	case out.Err != nil && out.Refused:
		q.end(k, out.Ended, now)
		e.park(now, q.o)
	case out.Err != nil:
		q.end(k, out.Ended, now)
		d := q.backoff(e.failures, pressing)
		if to.silent >= away {
			d = min(d, q.probe())
		}
		e.fail(now, d)
	default:
		e.settle(out.Reply, now, q.o, func() time.Duration { return q.backoff(e.failures, pressing) })
	}
	q.fix(e)
	if recovered {
		q.recover(k.Function, now)
	}
	q.start()
	q.mu.Unlock()
	q.nudge()
}

// end notes an attempt that is over for every function that might wait for what it
// held: a CLB's Lease is taken by frontend and backends alike.
func (q *Queue) end(k work.Key, attempt string, now time.Time) {
	if attempt == "" || k.Function == event.Readiness { // readiness takes no Lease
		return
	}
	for _, f := range []event.Function{event.Frontend, event.Backends} {
		e := q.entry(work.Key{Function: f, Partition: k.Partition})
		e.touched = now
		e.ended = append(e.ended, attempt)
		e.ended = e.ended[max(0, len(e.ended)-maxEnded):]
	}
}

// maxEnded bounds the attempts an entry remembers; more than one at a time means
// that a function dies at every try.
const maxEnded = 10

// backoff is the delay after one more failure: full jitter, but never nothing.
func (q *Queue) backoff(failures int, pressing bool) time.Duration {
	limit := q.o.IdleCap
	if pressing {
		limit = q.o.PressingCap
	}
	d := limit
	if failures < 20 {
		d = min(limit, q.o.MinBackoff<<failures)
	}
	return max(time.Duration(q.o.Random()*float64(d)), q.o.MinBackoff/10)
}

// probe is the delay after a failure while the function answers nobody: one answer brings
// everybody back, so the more partitions there are, the seldomer each needs to try.
func (q *Queue) probe() time.Duration {
	limit := max(q.o.AwayCap, time.Duration(len(q.entries))*probeEvery)
	return max(time.Duration(q.o.Random()*float64(limit)), q.o.MinBackoff/10)
}

// probeEvery is how much time between two tries a partition adds: a function that
// answers nobody is tried about twenty times a second at most.
const probeEvery = 100 * time.Millisecond

func (q *Queue) entry(k work.Key) *entry {
	e := q.entries[k]
	if e == nil {
		e = &entry{key: k, index: -1}
		q.entries[k] = e
	}
	return e
}

// fix puts an entry where it belongs in the order.
func (q *Queue) fix(e *entry) {
	at, due := e.next()
	e.at = at
	to := q.sink(e.key.Function)
	switch {
	case !due && e.index >= 0:
		heap.Remove(&to.order, e.index)
	case due && e.index >= 0:
		heap.Fix(&to.order, e.index)
	case due:
		heap.Push(&to.order, e)
	}
}

func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Busy tells whether a send of the partition is under way that drains nothing.
func (q *Queue) Busy(k work.Key) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[k]
	return e != nil && e.inFlight && !e.sending.Drains()
}

// Stats is what a queue looks like now, by function.
type Stats struct {
	// Waiting counts partitions with something unsent, Sending those being sent,
	// Later those that a function asked to be called again for, Parked those that
	// failed for good.
	Waiting, Sending, Later, Parked int
	// Oldest is since when the oldest change has waited to be acknowledged, zero
	// when nothing does.
	Oldest time.Time
}

// Stats counts.
func (q *Queue) Stats() map[event.Function]Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[event.Function]Stats{}
	for k, e := range q.entries {
		s := out[k.Function]
		if !e.ready.Empty() || e.later.kind == failed {
			s.Waiting++
		}
		if e.inFlight {
			s.Sending++
		}
		switch e.later.kind {
		case asked:
			s.Later++
		case parked:
			s.Parked++
		}
		if since := e.oldest(); !since.IsZero() && (s.Oldest.IsZero() || since.Before(s.Oldest)) {
			s.Oldest = since
		}
		out[k.Function] = s
	}
	return out
}
