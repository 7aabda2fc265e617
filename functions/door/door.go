// Package door takes what the platform hands to a function through the decoder, the
// checks and the pass, and gives the answer the shape that the caller expects.
package door

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	cloudevent "github.com/cloudevents/sdk-go/v2/event"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

// Door is one function's.
type Door struct {
	Function event.Function
	Cluster  string
	// Secret that function URL requests are signed with.
	Secret string
	Handle func(context.Context, event.Request) event.Reply
	Now    func() time.Time
	Log    *slog.Logger

	rejected atomic.Int64
}

// Rejected counts the payloads that were refused since the process began.
func (d *Door) Rejected() int64 { return d.rejected.Load() }

// Invoke is the platform's entry. A payload that makes no sense is a permanent
// error that says what is wrong with which field: an HTTP 4xx for a function URL, a
// function error for everybody else.
func (d *Door) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	delivery, err := event.Decode(payload, event.Receiver{Function: d.Function, Cluster: d.Cluster, Secret: d.Secret}, d.Now())
	for i, r := range delivery.Requests {
		if err == nil {
			if err = d.check(r); err != nil && delivery.Batch {
				err = fmt.Errorf("event %d: %w", i, err)
			}
		}
	}
	if err != nil {
		d.Log.Error("rejected", "function", d.Function, "error", err.Error(), "rejected", d.rejected.Add(1))
		if delivery.Envelope == event.FunctionURL {
			return event.RejectURL(err)
		}
		return nil, err
	}
	answers := make([]cloudevent.Event, 0, len(delivery.Requests))
	for _, r := range delivery.Requests {
		start := d.Now()
		reply := d.Handle(ctx, r)
		d.summary(r, reply, d.Now().Sub(start))
		answer, err := reply.Encode(r.ID, r.Source+"/functions/"+string(d.Function), d.Now())
		if err != nil {
			return nil, fmt.Errorf("encoding the reply: %w", err)
		}
		answers = append(answers, answer)
	}
	return delivery.Answer(answers)
}

// check refuses what was meant for somebody else.
func (d *Door) check(r event.Request) error {
	if r.Function != d.Function {
		return fault.Invalidf("type", "is %q, this function takes %q", event.Type(r.Function), event.Type(d.Function))
	}
	if r.Sync.Cluster != d.Cluster {
		return fault.Invalidf("data.cluster", "is %q, this function serves %q", r.Sync.Cluster, d.Cluster)
	}
	return nil
}

// summary is the one line per event that a log keeps.
func (d *Door) summary(r event.Request, reply event.Reply, took time.Duration) {
	level := slog.LevelInfo
	attrs := []any{"function", d.Function, "partition", r.Partition, "event", r.ID, "attempt", r.Sync.Attempt, "seconds", took.Seconds(),
		"calls", reply.Calls, "writes", reply.Writes, "pending", reply.Pending, "requeueAfterMillis", reply.RequeueAfterMillis, "continue", reply.Continue}
	if f := reply.Failure; f != nil {
		level = slog.LevelWarn
		raw, _ := json.Marshal(f) // plain strings
		attrs = append(attrs, "failure", json.RawMessage(raw))
	}
	d.Log.Log(context.Background(), level, "pass", attrs...)
}
