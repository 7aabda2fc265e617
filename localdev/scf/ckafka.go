package scf

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
)

// Message is one message of a CKafka topic. The platform doesn't deliver headers.
type Message struct {
	Partition int
	Key, Body string
}

// undeclared is what a topic without a trigger in the manifest is read with, as if by a
// trigger added in the console.
var undeclared = manifest.Topic{MaxMessages: 1000, Enabled: true}

// The waits after a failure of the platform itself, which are exponential ("CKafka
// trigger"); their figures are not documented.
const (
	firstBackoff = time.Second
	lastBackoff  = time.Minute
)

// record is what the function gets of a message ("CKafka trigger").
type record struct {
	Ckafka struct {
		Topic     string `json:"topic"`
		Partition int    `json:"partition"`
		Offset    int64  `json:"offset"`
		MsgKey    string `json:"msgKey"`
		MsgBody   string `json:"msgBody"`
	} `json:"Ckafka"`
}

// consumers are the platform's readers, one per partition.
type consumers struct {
	mu  sync.Mutex
	all map[consumerID]*consumer
}

type consumerID struct {
	function, topic string
	partition       int
}

// consumer hands over one batch at a time. Whoever has the token of turn has the rest.
type consumer struct {
	turn   chan struct{}
	offset int64
}

func (c *consumers) get(id consumerID) *consumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[consumerID]*consumer{}
	}
	if c.all[id] == nil {
		c.all[id] = &consumer{turn: make(chan struct{}, 1)}
	}
	return c.all[id]
}

// FireCKafka hands the function messages of a topic as a CKafka trigger does: in
// batches, those of one partition in order and each only after the one before is done
// with, partitions side by side. A batch that failed is tried again once a minute as
// often as the manifest's trigger says, and without a trigger there not at all; it holds
// up its partition for as long. The outcomes are those of the last try of each batch, by
// partition and in order. It is an error if there is no such function, if its trigger is
// not enabled, or if ctx or the server ends before all is done.
func (s *Server) FireCKafka(ctx context.Context, key, topic string, messages ...Message) ([]Outcome, error) {
	f, err := s.function(key)
	if err != nil {
		return nil, err
	}
	trigger := undeclared
	if i := slices.IndexFunc(f.Topics, func(t manifest.Topic) bool { return t.Name == topic }); i >= 0 {
		trigger = f.Topics[i]
	}
	trigger.Name = topic
	if !trigger.Enabled {
		return nil, fmt.Errorf("the trigger of %s for topic %s is not enabled", key, topic)
	}

	ordered := slices.Clone(messages)
	slices.SortStableFunc(ordered, func(a, b Message) int { return cmp.Compare(a.Partition, b.Partition) })
	var outcomes [][]Outcome
	g, ctx := errgroup.WithContext(ctx)
	for len(ordered) > 0 {
		n := 1
		for n < len(ordered) && ordered[n].Partition == ordered[0].Partition {
			n++
		}
		part, i := ordered[:n], len(outcomes)
		ordered, outcomes = ordered[n:], append(outcomes, nil)
		g.Go(func() (err error) {
			done, err := s.consume(ctx, f, trigger, part)
			outcomes[i] = done
			return err
		})
	}
	err = g.Wait()
	return slices.Concat(outcomes...), err
}

// consume hands over the messages of one partition.
func (s *Server) consume(ctx context.Context, f *function, trigger manifest.Topic, messages []Message) ([]Outcome, error) {
	c := s.consumers.get(consumerID{f.Key, trigger.Name, messages[0].Partition})
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	entries := make([]entry, len(messages))
	for i, m := range messages {
		entries[i] = entry{m, c.offset}
		c.offset++
	}
	var done []Outcome
	for _, b := range batches(trigger, entries) {
		o, err := s.handOver(ctx, f, trigger, b.payload)
		if err != nil {
			return done, err
		}
		done = append(done, o)
	}
	return done, nil
}

// entry is a message at its place in its partition.
type entry struct {
	Message
	offset int64
}

// batch is the event of so many messages.
type batch struct {
	payload []byte
	size    int
}

// batches packs messages into as few events as their number and size allow.
func batches(trigger manifest.Topic, messages []entry) []batch {
	const frame = len(`{"Records":[]}`)
	var all []batch
	var records []json.RawMessage
	size := frame
	flush := func() {
		// What is marshalled already marshals again.
		payload, _ := json.Marshal(struct{ Records []json.RawMessage }{records})
		all, records, size = append(all, batch{payload, len(records)}), nil, frame
	}
	for _, m := range messages {
		var r record
		r.Ckafka.Topic, r.Ckafka.Partition, r.Ckafka.Offset = trigger.Name, m.Partition, m.offset
		r.Ckafka.MsgKey, r.Ckafka.MsgBody = orElse(m.Key, "None"), m.Body
		raw, _ := json.Marshal(r) // strings and numbers
		if len(records) == trigger.MaxMessages || len(records) > 0 && size+len(raw)+1 > maxEvent {
			flush()
		}
		records, size = append(records, raw), size+len(raw)+1
	}
	flush()
	return all
}

// handOver tries one batch until it is done with.
func (s *Server) handOver(ctx context.Context, f *function, trigger manifest.Topic, payload []byte) (Outcome, error) {
	backoff := firstBackoff
	failures := 0
	for retry := 0; ; retry++ {
		o := s.run(f, delivery{via: "ckafka", requestID: newRequestID(), payload: payload, retry: retry})
		if o.Failure == nil {
			return o, nil
		}
		wait := retryInterval
		if o.Status == StatusInternal {
			wait, backoff = backoff, min(2*backoff, lastBackoff)
		} else {
			if failures == trigger.Retries {
				return o, nil
			}
			failures++
		}
		if !s.pause(ctx, wait) {
			return o, errors.Join(errEnded, ctx.Err())
		}
	}
}

var errEnded = errors.New("the batch was not done with")
