package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// queueing is a CKafka instance, a server of the Kafka protocol, with the topic pairs of
// two partitions.
type queueing struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kgo.Client
}

func newQueueing(t *testing.T) *queueing {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "pairs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &queueing{t, cluster, client}
}

// produce puts messages into a partition, the body being the key in capitals; an empty
// body has no key.
func (q *queueing) produce(partition int32, keys ...string) {
	q.t.Helper()
	for _, key := range keys {
		r := &kgo.Record{Topic: "pairs", Partition: partition, Value: []byte(strings.ToUpper(key))}
		if key != "" {
			r.Key = []byte(key)
		}
		r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}
		if err := q.client.ProduceSync(q.t.Context(), r).FirstErr(); err != nil {
			q.t.Fatal(err)
		}
	}
}

// of has an emulator read from it.
func (q *queueing) of(o *scf.Options) {
	o.Kafka = map[string][]string{"ckafka-1": q.cluster.ListenAddrs()}
}

// read awaits n messages in what a function was handed, and gives them by partition:
// offset, key and body of each, and a bar between batches.
func (p *platform) read(seen *payloads, n int) map[int]string {
	p.t.Helper()
	var got map[int]string
	p.await(fmt.Sprint(n, " messages"), func() bool {
		total := 0
		got = map[int]string{}
		for _, payload := range seen.get() {
			var event ckafkaRecords
			if err := json.Unmarshal([]byte(payload), &event); err != nil {
				p.t.Fatalf("%s: %v", payload, err)
			}
			var batch []string
			for _, r := range event.Records {
				batch = append(batch, fmt.Sprintf("%d=%s,%s", r.Ckafka.Offset, r.Ckafka.MsgKey, r.Ckafka.MsgBody))
				total++
			}
			at := event.Records[0].Ckafka.Partition
			if got[at] != "" {
				got[at] += " | "
			}
			got[at] += strings.Join(batch, " ")
		}
		return total >= n
	})
	return got
}

func TestSCFKafka(t *testing.T) {
	cases := []struct {
		name, source string
		check        func(t *testing.T, q *queueing)
	}{
		{"messages come in batches, in the order of their partition", "SCF, CKafka trigger, maxMsgNum", func(t *testing.T, q *queueing) {
			q.produce(0, "a", "b", "c")
			q.produce(1, "x")
			var seen payloads
			p := newPlatform(t, rig, q.of, seen.keep)
			if diff := cmp.Diff(map[int]string{0: "0=a,A 1=b,B | 2=c,C", 1: "0=x,X"}, p.read(&seen, 4)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{"a message without a key has the key None", "SCF, CKafka trigger", func(t *testing.T, q *queueing) {
			q.produce(0, "")
			var seen payloads
			p := newPlatform(t, rig, q.of, seen.keep)
			if diff := cmp.Diff(map[int]string{0: "0=None,"}, p.read(&seen, 1)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{"what comes later is read on from there", "SCF, CKafka trigger", func(t *testing.T, q *queueing) {
			var seen payloads
			p := newPlatform(t, rig, q.of, seen.keep)
			q.produce(0, "a")
			p.read(&seen, 1)
			q.produce(0, "b")
			if diff := cmp.Diff(map[int]string{0: "0=a,A | 1=b,B"}, p.read(&seen, 2)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{"a batch that failed is tried as often as its trigger says, and then the next", "SCF, CKafka trigger, retry", func(t *testing.T, q *queueing) {
			var seen payloads
			p := newPlatform(t, rig, q.of, seen.keep, clocked)
			var tries atomic.Int32
			defer p.emulator.Intercept(func(context.Context, scf.Invocation) *scf.Fault {
				if tries.Add(1) <= 2 {
					return &scf.Fault{Status: scf.StatusConcurrency}
				}
				return nil
			})()
			q.produce(0, "a")
			p.pass(time.Minute)
			p.await("the second try", func() bool { return tries.Load() == 2 })
			q.produce(0, "b")
			if diff := cmp.Diff(map[int]string{0: "1=b,B"}, p.read(&seen, 1)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{"what was handed over stays so for the next reader", "Kafka, consumer groups", func(t *testing.T, q *queueing) {
			q.produce(0, "a")
			var seen payloads
			p := newPlatform(t, rig, q.of, seen.keep)
			p.read(&seen, 1)
			p.await("it is done with", func() bool { return !p.emulator.Invocations()[0].End.IsZero() })
			if err := p.emulator.Close(); err != nil {
				t.Fatal(err)
			}
			var next payloads
			p.start(q.of, next.keep)
			q.produce(0, "b")
			if diff := cmp.Diff(map[int]string{0: "1=b,B"}, p.read(&next, 1)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
	}
	t.Run("SCF Kafka", func(t *testing.T) {
		for _, tc := range cases {
			plain(t, tc.name)
			t.Run(tc.name, func(t *testing.T) { tc.check(t, newQueueing(t)) })
		}
	})
}
