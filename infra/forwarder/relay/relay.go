// Package relay is the way of one look from the queue to its function and back: it
// is filled in from the index, wrapped as a CloudEvent with an attempt id and a
// grant of API calls, sent, and the reply's wishes go where they belong.
package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/clb-direct/clb-direct/infra/forwarder/budget"
	"github.com/clb-direct/clb-direct/infra/forwarder/index"
	"github.com/clb-direct/clb-direct/infra/forwarder/queue"
	"github.com/clb-direct/clb-direct/infra/forwarder/transport"
	"github.com/clb-direct/clb-direct/infra/forwarder/work"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

// Options of a Relay.
type Options struct {
	Index     *index.Index
	Transport transport.Transport
	// Timeout bounds every send. It should outlast the functions' own limit: what
	// the platform ends is known to be over, what we gave up on is not.
	Timeout time.Duration
	Queue   queue.Options
	Log     *slog.Logger
	Meter   Meter
	// Refused, if set, is told of events that the platform will never take, with the
	// objects that they are about. It must not block.
	Refused func(f event.Function, objects []event.Ref, why error)
}

// Meter is told of every send.
type Meter interface {
	// Sent reports a send's result ("ok", a failure kind or a code) and duration.
	Sent(f event.Function, result string, took time.Duration)
	// Dropped reports a change that no event can be made of.
	Dropped()
}

// Relay sends while it leads, and drains always. Make one with New.
type Relay struct {
	o      Options
	budget budget.Budget
	// drains is for what somebody waits for while another replica leads, or a pass over the
	// same CLB is under way.
	drains *queue.Queue

	mu       sync.Mutex
	queue    *queue.Queue
	sequence int64
	// led is since when it leads, heard how it fared with each partition of readiness since.
	led   time.Time
	heard map[work.Key]hearing
}

// hearing is how sends of a partition have fared.
type hearing struct {
	// answered is when there was last an answer.
	answered time.Time
	// silent: the last send had none.
	silent bool
}

// New makes a relay that doesn't send yet.
func New(o Options) *Relay {
	if o.Queue.Now == nil {
		o.Queue.Now = time.Now
	}
	r := &Relay{o: o, heard: map[work.Key]hearing{}}
	r.drains = queue.New(r.queueOptions())
	return r
}

func (r *Relay) queueOptions() queue.Options {
	o := r.o.Queue
	o.Pressing, o.Send = r.o.Index.Pressing, r.send
	return o
}

// Drain takes in marks that must be sent whether this replica leads or not. While it
// does, they go with everything else that is about their CLB, so that no two passes of
// ours wait for each other; but not behind a pass that is under way: that can only be
// told by another attempt that a drain waits, and gives way.
func (r *Relay) Drain(marks []work.Mark) {
	r.mu.Lock()
	q := r.queue
	r.mu.Unlock()
	for _, m := range marks {
		if q == nil || q.Busy(m.Key) {
			r.drains.Add(m)
			continue
		}
		q.Add(m)
	}
}

// RunDrains sends what Drain took in and the leader's queue has no place for, until ctx
// ends.
func (r *Relay) RunDrains(ctx context.Context) { r.drains.Run(ctx) }

// Offer takes in marks. They are dropped unless Lead runs, which begins with
// everything there is.
func (r *Relay) Offer(marks []work.Mark) {
	r.mu.Lock()
	q := r.queue
	r.mu.Unlock()
	if q != nil {
		q.Add(marks...)
	}
}

// Lead sends every partition once and then all that is marked, until ctx ends.
func (r *Relay) Lead(ctx context.Context) {
	q := queue.New(r.queueOptions())
	r.mu.Lock()
	r.queue, r.led = q, r.o.Queue.Now()
	clear(r.heard)
	r.mu.Unlock()
	q.Add(r.o.Index.Everything()...)
	q.Run(ctx)
	r.mu.Lock()
	if r.queue == q {
		r.queue = nil
	}
	r.mu.Unlock()
}

// Silent tells since when a partition of readiness has been sent to in vain, if its last send got no
// answer, or one that it failed: since the last that didn't, or since this replica leads.
func (r *Relay) Silent(k work.Key) (since time.Time, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.heard[k]
	if h.answered.Before(r.led) {
		h.answered = r.led
	}
	return h.answered, h.silent
}

func (r *Relay) hear(k work.Key, answered bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.heard[k]
	h.silent = !answered
	if answered {
		h.answered = now
	}
	r.heard[k] = h
}

// Stats are the queue's, nil while not leading.
func (r *Relay) Stats() map[event.Function]queue.Stats {
	r.mu.Lock()
	q := r.queue
	r.mu.Unlock()
	if q == nil {
		return nil
	}
	return q.Stats()
}

// next is the next sequence: it grows with time, so that it also grows from one
// leader to the next, and its text sorts as it does (CloudEvents extension
// "sequence").
func (r *Relay) next(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sequence = max(r.sequence+1, now.UnixNano())
	return fmt.Sprintf("%020d", r.sequence)
}

// send carries out one send of the queue.
func (r *Relay) send(ctx context.Context, s queue.Sending) queue.Outcome {
	data, verdict, moved := r.o.Index.Fill(s.Key, s.Look)
	switch verdict {
	case index.Gone:
		return queue.Outcome{Gone: true}
	case index.Moved:
		return queue.Outcome{Moved: &moved}
	}
	rate, release := r.budget.Take(s.Function)
	defer release()
	data.Cluster = r.o.Index.Policy().Cluster
	data.Attempt = uuid.NewString()
	data.Ended = s.Ended
	data.Grant = map[string]float64{"*": rate}
	began := r.o.Queue.Now()
	payload, err := r.encode(s, data, began)
	if err != nil {
		r.o.Log.Error("encoding", "function", s.Function, "partition", s.Partition, "error", err)
		if r.o.Meter != nil {
			r.o.Meter.Dropped()
		}
		return queue.Outcome{Err: err, Refused: true}
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	if data.Drains() {
		ctx = transport.Urgent(ctx)
	}
	reply, err := r.o.Transport.Send(ctx, s.Function, payload)
	// Where ctx was cancelled it was us who gave up; and nobody asks about other functions,
	// whose partitions come and go with load balancers.
	if s.Function == event.Readiness && (ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		// One that can't do its work, as it doesn't reach Kubernetes, say, is no better.
		r.hear(s.Key, err == nil && reply.Failure == nil, r.o.Queue.Now())
	}
	out := queue.Outcome{Reply: reply, Err: err}
	if f := transport.FailureOf(err); f != nil {
		out.Refused, out.Throttled, out.RetryAfter = f.Refused, f.Throttled, f.RetryAfter
		if f.Ended {
			out.Ended = data.Attempt
		}
		if f.Refused && r.o.Refused != nil {
			r.o.Refused(s.Function, data.Objects, f)
		}
	}
	r.report(s, data, reply, err, r.o.Queue.Now().Sub(began))
	wakes := reply.Wake
	if s.Function == event.Frontend && s.Failures > 0 && err == nil && !again(reply.Failure) {
		wakes = append(wakes, unheard(data)...)
	}
	for _, w := range wakes {
		r.Offer(r.o.Index.Route(w))
	}
	return out
}

// again tells that an attempt failed so that another follows soon, which will tell. Above
// all it is no time to wake anybody when it was only told to wait for the Lease: the
// backends would take that once more before the frontend comes again, time after time.
func again(f *event.Failure) bool {
	return f != nil && f.Kind != fault.Invalid && f.Kind != fault.Permanent
}

// unheard is what attempts of frontend may have asked for whose answer was lost: they
// had made listeners or rules, which the one that follows finds made, and asks for nothing.
func unheard(data event.Sync) []event.Wake {
	look := event.Sync{Cluster: data.Cluster, LoadBalancers: data.LoadBalancers, Objects: data.Objects, All: true}
	return []event.Wake{{Function: event.Backends, Sync: look}, {Function: event.Readiness, Sync: look}}
}

// encode wraps the data. An event stays within what every intermediary must
// forward: too many names become "all", which finds them all the same.
func (r *Relay) encode(s queue.Sending, data event.Sync, now time.Time) ([]byte, error) {
	k := s.Key
	sequence := r.next(now)
	req := event.Request{
		ID:        identify(s, data),
		Function:  k.Function,
		Source:    event.Source(data.Cluster),
		Partition: k.Partition,
		Sequence:  sequence,
		Sync:      data,
	}
	for {
		e, err := req.Encode(now)
		if err != nil {
			return nil, err
		}
		payload, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encoding event: %w", err)
		}
		switch {
		case len(payload) <= event.MaxBytes:
			return payload, nil
		case len(req.Sync.Pods) > 0 && !req.Sync.All:
			req.Sync.All = true
			req.Sync.Pods = slices.DeleteFunc(slices.Clone(req.Sync.Pods), func(p event.Pod) bool { return p.Draining == "" })
		case len(req.Sync.Pods) > 0: // whoever holds the others asks again
			req.Sync.Pods = req.Sync.Pods[:len(req.Sync.Pods)/2]
		case len(req.Sync.Objects) > 1:
			req.Sync.Objects = req.Sync.Objects[:len(req.Sync.Objects)/2]
		default:
			return nil, fmt.Errorf("encoding event: %d bytes, at most %d", len(payload), event.MaxBytes)
		}
	}
}

// identify gives an event its id: that of the pod in its version, where it is about one
// alone, else the partition's with a hash of what is named. The same content sent again
// because nobody answered has the same id, so that a receiver can tell a repetition; asked
// for again by the function it has another.
func identify(s queue.Sending, data event.Sync) string {
	subject, version := "", data.ResourceVersion
	if len(data.Pods) == 1 && !data.All && data.Pods[0].Draining == "" {
		subject, version = data.Pods[0].UID, cmp.Or(data.Pods[0].ResourceVersion, version)
	} else {
		h := fnv.New32a()
		fmt.Fprint(h, data.All, data.Objects)
		for _, p := range data.Pods {
			fmt.Fprint(h, p.UID, " ", p.IP, " ", p.ResourceVersion, " ", p.Draining, ";")
		}
		subject = fmt.Sprintf("%s#%08x", s.Partition, h.Sum32())
	}
	id := fmt.Sprintf("%s/%s/%s", subject, version, event.Type(s.Function))
	if s.Answered > 0 {
		id += fmt.Sprintf("/%d", s.Answered)
	}
	return id
}

// report logs and counts a send.
func (r *Relay) report(s queue.Sending, data event.Sync, reply event.Reply, err error, took time.Duration) {
	result := transport.CodeOf(err)
	level := slog.LevelInfo
	attrs := []any{
		"function", s.Function, "partition", s.Partition, "attempt", data.Attempt,
		"objects", len(data.Objects), "pods", len(data.Pods), "all", data.All, "ms", took.Milliseconds(),
	}
	switch {
	case err != nil:
		level = slog.LevelWarn
		attrs = append(attrs, "error", err.Error(), "failures", s.Failures+1)
	case reply.Failure != nil:
		level, result = slog.LevelWarn, string(reply.Failure.Kind)
		attrs = append(attrs, "failure", reply.Failure.Kind, "field", reply.Failure.Field, "code", reply.Failure.Code, "message", reply.Failure.Message)
	}
	if err == nil {
		attrs = append(attrs, "continue", reply.Continue, "requeueMillis", reply.RequeueAfterMillis, "pending", reply.Pending, "wake", len(reply.Wake))
	}
	r.o.Log.Log(context.Background(), level, "sent", attrs...)
	if r.o.Meter != nil {
		r.o.Meter.Sent(s.Function, result, took)
	}
}
