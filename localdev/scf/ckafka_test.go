package scf_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// offsets writes partition/offset of what a function was given, a batch a string.
func offsets(t *testing.T, outcomes []scf.Outcome) []string {
	t.Helper()
	var all []string
	for _, o := range outcomes {
		var event struct {
			Records []struct {
				Ckafka struct{ Partition, Offset int }
			}
		}
		if err := json.Unmarshal(o.Answer, &event); err != nil {
			t.Fatalf("answer %s: %v", o.Answer, err)
		}
		var batch []string
		for _, r := range event.Records {
			batch = append(batch, fmt.Sprintf("%d/%d", r.Ckafka.Partition, r.Ckafka.Offset))
		}
		all = append(all, strings.Join(batch, " "))
	}
	return all
}

func TestFireCKafka(t *testing.T) {
	e := start(t, nil)
	messages := []scf.Message{{1, "", "a"}, {0, "k", "b"}, {1, "", "c"}, {1, "", "d"}}
	got, err := e.FireCKafka(t.Context(), "topics", "small", messages...)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Records":[{"Ckafka":{"topic":"small","partition":0,"offset":0,"msgKey":"k","msgBody":"b"}}]}`
	if diff := cmp.Diff(want, string(got[0].Answer)); diff != "" {
		t.Errorf("the event, -want +got:\n%s", diff)
	}
	want = `{"Records":[{"Ckafka":{"topic":"small","partition":1,"offset":2,"msgKey":"None","msgBody":"d"}}]}`
	if diff := cmp.Diff(want, string(got[2].Answer)); diff != "" {
		t.Errorf("without a key, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0/0", "1/0 1/1", "1/2"}, offsets(t, got)); diff != "" {
		t.Errorf("batches of the trigger's two at most, by partition, -want +got:\n%s", diff)
	}
	if o := got[1]; o.Via != "ckafka" || o.Async || !got[2].Handed.After(o.End) {
		t.Errorf("the second batch of a partition was handed over at %v, the first was done with at %v", got[2].Handed, o.End)
	}

	got, err = e.FireCKafka(t.Context(), "topics", "small", scf.Message{Partition: 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1/3"}, offsets(t, got)); diff != "" {
		t.Errorf("offsets go on, -want +got:\n%s", diff)
	}

	if _, err := e.FireCKafka(t.Context(), "topics", "shut", messages...); err == nil {
		t.Error("a trigger that isn't enabled fired")
	}
	large := strings.Repeat("x", 4<<20)
	got, err = e.FireCKafka(t.Context(), "plain", "undeclared", scf.Message{Body: large}, scf.Message{Body: large}, scf.Message{Body: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0/0", "0/1 0/2"}, offsets(t, got)); diff != "" {
		t.Errorf("batches of 6 MB at most, -want +got:\n%s", diff)
	}
}

// TestCKafkaRetries: a batch that fails holds up its partition and no other.
func TestCKafkaRetries(t *testing.T) {
	const small = "small"
	e, clk := startClocked(t, func(o *scf.Options) { o.Concurrency = 1 })
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		_, _ = e.tryInvoke("topics", `{"do":"sleep","ms":60000}`)
	}()
	e.running("topics", 1)
	done := make(chan []scf.Outcome, 1)
	go func() {
		got, err := e.FireCKafka(t.Context(), "topics", small, scf.Message{Body: "a"})
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	await(t, "the first try", clk.HasWaiters)
	later := make(chan []scf.Outcome, 1)
	go func() {
		got, err := e.FireCKafka(t.Context(), "topics", small, scf.Message{Body: "b"})
		if err != nil {
			t.Error(err)
		}
		later <- got
	}()
	e.Kill("topics")
	<-busy
	select {
	case got := <-later:
		t.Fatalf("overtaken by %+v", got)
	default:
	}
	step(t, clk, time.Minute)
	first, second := <-done, <-later
	if first[0].Status != scf.StatusOK || first[0].Retry != 1 {
		t.Errorf("ended as %+v, want it through at the second try", first[0].Invocation)
	}
	if diff := cmp.Diff([]string{"0/0", "0/1"}, offsets(t, append(first, second...))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCKafkaGivesUp(t *testing.T) {
	e, clk := startClocked(t, nil)
	cases := map[string]struct {
		reason, topic string
		retries       int
	}{
		"Declared":   {"The trigger says how often.", "small", 1},
		"Undeclared": {"Without one there is a single try.", "other", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			done := make(chan []scf.Outcome, 1)
			go func() {
				got, err := e.FireCKafka(t.Context(), "crash", tc.topic, scf.Message{Body: "x"})
				if err != nil {
					t.Error(err)
				}
				done <- got
			}()
			for range tc.retries {
				step(t, clk, time.Minute)
			}
			got := <-done
			if len(got) != 1 || got[0].Failure == nil || got[0].Retry != tc.retries {
				t.Errorf("%s\ngot %+v, want a failure after %d retries", tc.reason, got, tc.retries)
			}
		})
	}
}

func TestCKafkaEndsWithItsCaller(t *testing.T) {
	e, clk := startClocked(t, func(o *scf.Options) { o.Concurrency = 1 })
	go func() { _, _ = e.tryInvoke("topics", `{"do":"sleep","ms":60000}`) }()
	e.running("topics", 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := e.FireCKafka(ctx, "topics", "small", scf.Message{})
		ended <- err
	}()
	await(t, "a try", clk.HasWaiters)
	cancel()
	if err := <-ended; err == nil {
		t.Error("done with, though it never got through")
	}
}
