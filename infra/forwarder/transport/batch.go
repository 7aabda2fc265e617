package transport

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/clb-direct/clb-direct/shared/event"
)

// maxBatch bounds a batch, in bytes: SCF takes 6 MB in one event (583/11637), in which
// the body is a string of JSON, so that every quote of it takes a byte more.
const maxBatch = 3 << 20

// Batch sends by function URL in batched mode (CloudEvents 1.0, HTTP binding 3.3) what
// would else wait for a connection: while there are fewer requests under way than Width,
// every event goes at once and alone. A function takes a batch's events one after the
// other and answers them together, so that a batch saves requests and costs time.
type Batch struct {
	URL *URL
	// Width is how many requests to a function may be under way, Most how many events
	// one may carry.
	Width, Most int

	mu    sync.Mutex
	lanes map[event.Function]*lane
}

// lane is one function's.
type lane struct {
	waiting []*parcel
	busy    int
}

type urgent struct{}

// Urgent is a context for an event that goes before others where they wait.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgent{}, true) }

// parcel is an event on its way.
type parcel struct {
	ctx     context.Context
	urgent  bool
	payload []byte
	reply   event.Reply
	err     error
	done    chan struct{}
}

// Send posts the event, with others if need be.
func (b *Batch) Send(ctx context.Context, f event.Function, payload []byte) (event.Reply, error) {
	p := &parcel{ctx: ctx, urgent: ctx.Value(urgent{}) != nil, payload: payload, done: make(chan struct{})}
	b.mu.Lock()
	if b.lanes == nil {
		b.lanes = map[event.Function]*lane{}
	}
	l := b.lanes[f]
	if l == nil {
		l = &lane{}
		b.lanes[f] = l
	}
	l.put(p)
	if l.busy < b.Width {
		l.busy++
		go b.carry(f, l)
	}
	b.mu.Unlock()
	select {
	case <-p.done:
		return p.reply, p.err
	case <-ctx.Done():
		return event.Reply{}, fmt.Errorf("posting event: %w", ctx.Err())
	}
}

// put has a parcel wait behind those that came before it, an urgent one behind such alone.
func (l *lane) put(p *parcel) {
	at := len(l.waiting)
	if p.urgent {
		if i := slices.IndexFunc(l.waiting, func(o *parcel) bool { return !o.urgent }); i >= 0 {
			at = i
		}
	}
	l.waiting = slices.Insert(l.waiting, at, p)
}

// Close lets go of idle connections.
func (b *Batch) Close() { b.URL.Close() }

// carry takes what waits, until nothing does.
func (b *Batch) carry(f event.Function, l *lane) {
	for {
		load := b.load(l)
		if load == nil {
			return
		}
		b.deliver(f, load)
	}
}

// load takes as many parcels as go into one request, the first first, nil for none: then
// the lane has one carrier less.
func (b *Batch) load(l *lane) []*parcel {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy--
		return nil
	}
	n, size := 0, 0
	for n < len(l.waiting) && n < b.Most && (n == 0 || size+len(l.waiting[n].payload) < maxBatch) {
		size += len(l.waiting[n].payload) + 1
		n++
	}
	load := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return load
}

// deliver sends a load and hands out the replies. Whoever has given up in the meantime
// is not sent; the request ends when everybody has.
func (b *Batch) deliver(f event.Function, load []*parcel) {
	var live []*parcel
	for _, p := range load {
		if p.err = p.ctx.Err(); p.err != nil {
			close(p.done)
			continue
		}
		live = append(live, p)
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(live[0].ctx))
	defer cancel()
	var left atomic.Int64
	left.Store(int64(len(live)))
	for _, p := range live {
		defer context.AfterFunc(p.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})()
	}
	replies, err := b.post(ctx, f, live)
	for i, p := range live {
		if p.err = err; err == nil {
			p.reply = replies[i]
		} else if own := p.ctx.Err(); own != nil {
			p.err = own
		}
		close(p.done)
	}
}

func (b *Batch) post(ctx context.Context, f event.Function, live []*parcel) ([]event.Reply, error) {
	if len(live) == 1 {
		return b.URL.post(ctx, f, event.ContentType, live[0].payload, 1)
	}
	body := []byte{'['}
	for i, p := range live {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, bytes.TrimSpace(p.payload)...)
	}
	return b.URL.post(ctx, f, event.BatchContentType, append(body, ']'), len(live))
}
