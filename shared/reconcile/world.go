// Package reconcile is the pass: load, plan, apply, answer. Each function has one
// pass here; all that decides is in the pure packages, all that calls out is in
// package kube and package clb.
//
// A pass may run twice, late, out of order, or die at any step. What must outlive
// it is written on a Kubernetes object before the effect it is about.
package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// World is what a pass reaches. It is made once per process; a pass keeps nothing
// in it.
type World struct {
	Kube           *kube.Client
	CLB            *clb.Client
	Policy         desired.Policy
	VPC            string
	LeaseNamespace string
	Now            func() time.Time
	Log            *slog.Logger
}

// Times of a pass.
const (
	// handOver is how long a pass goes on writing before it lets others at the
	// CLB, drains above all.
	handOver = 2 * time.Second
	// reserve is how much of the function's own time limit a pass leaves unused:
	// enough to finish a write and answer.
	reserve = 10 * time.Second
	// patchReserve is the same for a pass that only writes conditions: such a write
	// is over in milliseconds, and every hand-over reads all pods anew.
	patchReserve = 3 * time.Second
	// verifyAfter is when a pass that wrote looks again whether it took.
	verifyAfter = 3 * time.Second
	// parkedAfter is when what the CLB refused is tried again.
	parkedAfter = 30 * time.Second
	// creating is when to look again at a CLB that is being made.
	creating = time.Second
	// parallel bounds concurrent Kubernetes requests of one pass.
	parallel = 16
)

// pass is one run of a function.
type pass struct {
	*World
	req   event.Request
	reply event.Reply

	mu       sync.Mutex
	sessions []*clb.Session
	// writing is when the pass came to its first write.
	writing time.Time
	// lb is the CLB whose Lease it has, gaveWay that it handed that over to a drain.
	lb      string
	gaveWay bool
}

func (w *World) begin(req event.Request) *pass {
	return &pass{World: w, req: req}
}

// finish adds up what the pass did.
func (p *pass) finish() event.Reply {
	for _, s := range p.sessions {
		for action, n := range s.Calls() {
			p.called(action, n)
		}
	}
	return p.reply
}

// called counts CLB calls.
func (p *pass) called(action string, n int) {
	if p.reply.Calls == nil {
		p.reply.Calls = map[string]int{}
	}
	p.reply.Calls[action] += n
}

// session begins CLB calls under fence.
func (p *pass) session(fence func(context.Context) error) *clb.Session {
	s := p.CLB.Session(p.req.Sync.Grant, fence)
	p.sessions = append(p.sessions, s)
	return s
}

// wrote counts a change.
func (p *pass) wrote(what string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reply.Writes == nil {
		p.reply.Writes = map[string]int{}
	}
	p.reply.Writes[what] += n
}

// spent tells whether the pass should hand over before it starts another write: its time
// is up, or a drain waits. What it took to read isn't counted, and nobody waits so urgently
// that one write isn't made: a pass that reads for long would never write.
func (p *pass) spent(ctx context.Context) bool {
	p.mu.Lock()
	first := p.writing.IsZero()
	if first {
		p.writing = p.Now()
	}
	over := p.late(ctx, reserve) || p.Now().Sub(p.writing) >= handOver
	p.mu.Unlock()
	return over || !first && p.awaited(ctx)
}

// late tells whether the function's own time is nearly over.
func (p *pass) late(ctx context.Context, reserve time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && deadline.Sub(p.Now()) < reserve
}

// lock takes the CLB's Lease and gives a session that writes only under it. The
// caller calls release. A lock that can't be had is not a failure: the reply says
// when to come again.
func (p *pass) lock(ctx context.Context, lb string) (s *clb.Session, release func(), ok bool) {
	lease, err := p.acquire(ctx, lb)
	if err != nil {
		p.fail(err)
		return nil, nil, false
	}
	s = p.session(func(ctx context.Context) error { return lease.Hold(ctx, clb.WriteTimeout) })
	if lease.Doubtful {
		s.Doubt()
	}
	p.lb = lb
	return s, func() {
		// The pass's own time may be over; the Lease is better given back all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := lease.Release(ctx, s.Doubtful()); err != nil {
			p.Log.Warn("releasing the lease", "loadBalancer", lb, "error", err)
		}
		p.letPass(ctx)
	}, true
}

// fail records an error and makes sure that somebody comes again for it.
func (p *pass) fail(err error) {
	p.Log.Warn("pass", "function", p.req.Function, "partition", p.req.Partition, "error", err)
	p.reply.Fail(err)
	switch fault.KindOf(err) {
	case fault.Conflict:
		p.reply.RequeueAfter(max(fault.RetryAfter(err), 100*time.Millisecond))
	case fault.Throttled:
		p.reply.RequeueAfter(max(fault.RetryAfter(err), time.Second))
	}
}

// note writes an Event; that one can't be written never fails a pass.
func (p *pass) note(ctx context.Context, n kube.Note) {
	if err := p.Kube.Record(ctx, n, p.Now()); err != nil {
		p.Log.Warn("recording an event", "object", n.Ref, "reason", n.Reason, "error", err)
	}
}

// warn writes a warning on a Service or Ingress.
func (p *pass) warn(ctx context.Context, f *model.Front, reason, message string) {
	p.note(ctx, kube.Note{Kind: string(f.Kind), Ref: f.Ref(), UID: f.UID, Warning: true, Reason: reason, Message: message})
}
