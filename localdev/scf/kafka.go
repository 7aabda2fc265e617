package scf

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/clb-direct/clb-direct/localdev/scf/manifest"
)

// commitTimeout is how long a broker may take to note what was done with.
const commitTimeout = 5 * time.Second

// startKafka reads the topics of enabled triggers whose instances have brokers, each with
// a consumer group of its own.
func (s *Server) startKafka() error {
	for _, f := range s.functions {
		for _, t := range f.Topics {
			brokers := s.opts.Kafka[t.Instance]
			if !t.Enabled || len(brokers) == 0 {
				continue
			}
			from, err := offset(t.Offset)
			if err != nil {
				return fmt.Errorf("the trigger of %s for topic %s: %w", f.Key, t.Name, err)
			}
			client, err := kgo.NewClient(
				kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(t.Name), kgo.ConsumerGroup("scf-"+f.Name),
				kgo.ConsumeResetOffset(from), kgo.DisableAutoCommit(),
				// A partition that was busy is asked for again when the request without it ends.
				kgo.FetchMaxWait(200*time.Millisecond),
			)
			if err != nil {
				return fmt.Errorf("reading topic %s for %s: %w", t.Name, f.Key, err)
			}
			if !s.enter() {
				client.Close()
				return nil
			}
			go func() {
				defer s.inflight.Done()
				defer client.Close()
				s.read(client, f, t)
			}()
		}
	}
	return nil
}

// offset is where a trigger begins that has read nothing yet: latest, earliest, or a time
// in Unix seconds ("CKafka trigger").
func offset(from string) (kgo.Offset, error) {
	switch from {
	case "", "latest":
		return kgo.NewOffset().AtEnd(), nil
	case "earliest":
		return kgo.NewOffset().AtStart(), nil
	}
	seconds, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return kgo.Offset{}, fmt.Errorf("offset: %q, want latest, earliest or a time", from)
	}
	return kgo.NewOffset().AfterMilli(time.Unix(seconds, 0).UnixMilli()), nil
}

// read hands over what comes on a topic until the server closes: partitions side by
// side, of each only what is done with is read on. Batches go out as soon as there is
// something; the trigger's timeout is how long the platform may wait for more at most.
func (s *Server) read(client *kgo.Client, f *function, t manifest.Topic) {
	var handing sync.WaitGroup
	defer handing.Wait() // what is done with is committed yet
	for s.ctx.Err() == nil {
		got := client.PollFetches(s.ctx)
		got.EachError(func(_ string, partition int32, err error) {
			if s.ctx.Err() == nil {
				s.output.line("ckafka "+t.Name+" ", fmt.Appendf(nil, "partition %d: %v", partition, err))
			}
		})
		got.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			here := map[string][]int32{t.Name: {p.Partition}}
			client.PauseFetchPartitions(here)
			handing.Go(func() {
				if s.handOn(client, f, t, p.Records) {
					client.ResumeFetchPartitions(here)
				}
			})
		})
	}
}

// handOn hands over records of one partition, and says whether it came to their end. What
// a batch came to is committed with it: after a crash it comes again.
func (s *Server) handOn(client *kgo.Client, f *function, t manifest.Topic, records []*kgo.Record) bool {
	entries := make([]entry, len(records))
	for i, r := range records {
		entries[i] = entry{Message{Partition: int(r.Partition), Key: string(r.Key), Body: string(r.Value)}, r.Offset}
	}
	done := 0
	for _, b := range batches(t, entries) {
		if _, err := s.handOver(s.ctx, f, t, b.payload); err != nil {
			return false
		}
		done += b.size
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), commitTimeout)
		err := client.CommitRecords(ctx, records[done-1])
		cancel()
		if err != nil {
			s.output.line("ckafka "+t.Name+" ", fmt.Appendf(nil, "committing offset %d: %v", records[done-1].Offset, err))
		}
	}
	return true
}
