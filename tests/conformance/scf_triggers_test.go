package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	scfapi "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestSCFAsynchronous(t *testing.T) {
	const types = "SCF, Invocation types (583/41138)"
	holdSCF(t, "SCF asynchronous", []scfFact{
		{name: "an event is accepted with its request id and nothing else", source: "SCF API Invoke, InvocationType", check: func(t *testing.T, p *platform) {
			q := scfapi.NewInvokeRequest()
			q.FunctionName, q.ClientContext, q.InvocationType = &p.name, new(`{"a":1}`), new("Event")
			a, err := p.Invoke(q)
			if err != nil {
				t.Fatal(err)
			}
			if r := a.Response.Result; *r.FunctionRequestId == "" || *r.RetMsg+*r.ErrMsg != "" {
				t.Errorf("got %+v", r)
			}
		}},
		{name: "Invoke waits for the answer by RequestResponse", source: "SCF API Invoke, InvocationType", check: func(t *testing.T, p *platform) {
			q := scfapi.NewInvokeRequest()
			q.FunctionName, q.ClientContext, q.InvocationType = &p.name, new(`{"a":1}`), new("RequestResponse")
			a, err := p.Invoke(q)
			if err != nil || *a.Response.Result.RetMsg != `{"a":1}` {
				t.Errorf("got %+v, %v", a, err)
			}
		}},
		{name: "there are no other ways to invoke", source: "SCF API Invoke, InvocationType", check: func(t *testing.T, p *platform) {
			q := scfapi.NewInvokeRequest()
			q.FunctionName, q.InvocationType = &p.name, new("Sometimes")
			_, err := p.Invoke(q)
			refused(t, err, "InvalidParameterValue")
		}},
		{name: "an event above 128 KB is refused", source: "SCF, Quotas and limits (583/11637)", check: func(t *testing.T, p *platform) {
			_, err := p.queue(`"` + strings.Repeat("a", 128<<10) + `"`)
			refused(t, err, "InvalidParameterValue.Param")
		}},
		{name: "an event just below 128 KB is taken", source: "SCF, Quotas and limits (583/11637)", check: func(t *testing.T, p *platform) {
			if _, err := p.queue(`"` + strings.Repeat("a", 128<<10-2) + `"`); err != nil {
				t.Error(err)
			}
		}},
		{name: "GetRequestStatus says of one that runs 1", source: "SCF API GetRequestStatus, RetCode", check: func(t *testing.T, p *platform) {
			id, err := p.queue(`{"do":"sleep","ms":1500}`)
			if err != nil {
				t.Fatal(err)
			}
			p.retcode(id, 1)
		}},
		{name: "and of one that is through 0, with its answer", source: "SCF API GetRequestStatus, RetCode and RetMsg", check: func(t *testing.T, p *platform) {
			id, err := p.queue(`{"a":1}`)
			if err != nil {
				t.Fatal(err)
			}
			if s := p.retcode(id, 0); *s.RetMsg != `{"a":1}` || *s.RetryNum != 0 || *s.FunctionName != p.name {
				t.Errorf("got %+v", s)
			}
		}},
		{name: "and of one that failed -1, with its error", source: "SCF API GetRequestStatus, RetCode and RetMsg", check: func(t *testing.T, p *platform) {
			id, err := p.queue(`{"do":"error","text":"no"}`)
			if err != nil {
				t.Fatal(err)
			}
			if s := p.retcode(id, -1); !strings.Contains(*s.RetMsg, "no") {
				t.Errorf("got %+v", s)
			}
		}},
		{name: "and of one there isn't nothing", source: "SCF API GetRequestStatus, Data", check: func(t *testing.T, p *platform) {
			if s := p.status("no-such-request"); s != nil {
				t.Errorf("got %+v", s)
			}
		}},
		{name: "and refuses times of another form", source: "SCF API GetRequestStatus, error codes", check: func(t *testing.T, p *platform) {
			q := scfapi.NewGetRequestStatusRequest()
			q.FunctionName, q.FunctionRequestId, q.StartTime, q.EndTime = &p.name, new("x"), new("yesterday"), new("today")
			_, err := p.GetRequestStatus(q)
			refused(t, err, "InvalidParameterValue.DateTime")
		}},
		{name: "what failed is tried twice more, a minute apart", source: types, needs: rig, options: []func(*scf.Options){clocked}, check: func(t *testing.T, p *platform) {
			id, err := p.queue(`{"do":"error","text":"no"}`)
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= 2; n++ {
				p.await("a try", func() bool { return len(p.tries(id)) == n })
				p.pass(59 * time.Second)
				if got := len(p.tries(id)); got != n {
					t.Fatalf("%d tries before the minute was over, want %d", got, n)
				}
				p.pass(time.Second)
			}
			p.await("the last try", func() bool { return len(p.tries(id)) == 3 })
			p.await("it to be given up", func() bool { return !p.clock.HasWaiters() || len(p.tries(id)) > 3 })
			if s := p.status(id); *s.RetryNum != 2 {
				t.Errorf("want 2 retries, got %+v", s)
			}
		}},
		{name: "what finds no instance is tried for longer than that", source: types, needs: rig, options: []func(*scf.Options){clocked, one}, check: func(t *testing.T, p *platform) {
			release := p.occupy()
			id, err := p.queue(`{}`)
			if err != nil {
				t.Fatal(err)
			}
			p.await("a try", func() bool { return len(p.tries(id)) == 1 })
			if got := p.tries(id)[0].Status; got != scf.StatusConcurrency {
				t.Fatalf("want the first try to end with %d, got %d", scf.StatusConcurrency, got)
			}
			release()
			p.pass(time.Minute)
			p.await("the next try", func() bool { return len(p.tries(id)) == 2 })
			if got := p.tries(id)[1].Status; got != scf.StatusOK {
				t.Errorf("want the second to end well, got %d", got)
			}
		}},
		{name: "but for no longer than six hours", source: types, needs: rig, options: []func(*scf.Options){clocked, func(o *scf.Options) { o.Concurrency = 1 }, stuck}, check: func(t *testing.T, p *platform) {
			go func() { _, _ = p.try(`{}`) }()
			p.await("the instance to be busy", func() bool {
				all := p.emulator.Invocations()
				return len(all) == 1 && all[0].PID != 0
			})
			id, err := p.queue(`{}`)
			if err != nil {
				t.Fatal(err)
			}
			p.await("a try", func() bool { return len(p.tries(id)) == 1 })
			p.pass(6 * time.Hour)
			p.await("the last try", func() bool { return len(p.tries(id)) == 2 })
			p.await("it to be given up", func() bool { return !p.clock.HasWaiters() })
		}},
	})
}

// stuck keeps every event from its instance until the emulator closes.
func stuck(o *scf.Options) {
	o.OnInvoke = func(ctx context.Context, _ scf.Invocation) { <-ctx.Done() }
}

// payloads keeps what functions are handed.
type payloads struct {
	mu  sync.Mutex
	all []string
}

func (s *payloads) keep(o *scf.Options) {
	o.OnInvoke = func(_ context.Context, i scf.Invocation) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, string(i.Payload))
	}
}

func (s *payloads) get() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.all...)
}

// handed fires a trigger and gives what the function, which echoes, was handed.
func (p *platform) handed(pending *scf.Pending, err error) (string, scf.Outcome) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	o, err := pending.Wait(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(o.Answer), o
}

// messages are n of a partition, with keys and bodies by number.
func messages(partition, n int) (out []scf.Message) {
	for i := range n {
		out = append(out, scf.Message{Partition: partition, Key: fmt.Sprint("k", i), Body: fmt.Sprint(i)})
	}
	return out
}

// ckafkaRecords is what a CKafka event has.
type ckafkaRecords struct {
	Records []struct {
		Ckafka struct {
			Topic     string
			Partition int
			Offset    int64
			MsgKey    string
			MsgBody   string
		}
	}
}

func TestSCFTriggers(t *testing.T) {
	const timer, ckafka = "SCF, Timer trigger (583/9708)", "SCF, CKafka trigger"
	seen := &payloads{}
	holdSCF(t, "SCF triggers", []scfFact{
		{name: "a timer hands over its name, time and argument", source: timer, needs: rig, options: []func(*scf.Options){clocked}, check: func(t *testing.T, p *platform) {
			got, _ := p.handed(p.emulator.FireTimer("probe", "often"))
			if want := `{"Type":"Timer","TriggerName":"often","Time":"2026-11-01T12:00:00Z","Message":"a word"}`; got != want {
				t.Errorf("want %s, got %s", want, got)
			}
		}},
		{name: "a timer's event is asynchronous", source: timer, needs: rig, check: func(t *testing.T, p *platform) {
			if _, o := p.handed(p.emulator.FireTimer("probe", "often")); !o.Async {
				t.Errorf("got %+v", o.Invocation)
			}
		}},
		{name: "an enabled timer fires by its seven fields, the first of which is the second", source: timer, needs: rig, options: []func(*scf.Options){clocked, func(o *scf.Options) { o.Timers = true }, seen.keep}, check: func(t *testing.T, p *platform) {
			p.tick(19 * time.Second)
			if got := seen.get(); len(got) > 0 {
				t.Fatalf("fired before its time: %v", got)
			}
			p.tick(time.Second)
			p.await("it to fire", func() bool { return len(seen.get()) > 0 })
			if got := seen.get(); len(got) != 1 || !strings.Contains(got[0], `"2026-11-01T12:00:20Z"`) || !strings.Contains(got[0], `"often"`) {
				t.Errorf("got %v", got)
			}
		}},
		{name: "the last field is the year", source: timer, needs: rig, options: []func(*scf.Options){clocked, func(o *scf.Options) { o.Timers = true }}, check: func(t *testing.T, p *platform) {
			// 2027-01-01T00:00 at UTC+8, in which timers go.
			p.tick(time.Date(2026, 12, 31, 16, 0, 0, 0, time.UTC).Sub(p.clock.Now()))
			p.await("it to fire", func() bool {
				for _, i := range p.emulator.Invocations() {
					if i.Key == "other" {
						return true
					}
				}
				return false
			})
		}},
		{name: "CKafka hands over records with topic, partition, offset, key and body", source: ckafka, needs: rig, check: func(t *testing.T, p *platform) {
			all, err := p.emulator.FireCKafka(t.Context(), "probe", "pairs", messages(3, 2)...)
			if err != nil || len(all) != 1 {
				t.Fatalf("want one batch, got %d, %v", len(all), err)
			}
			want := `{"Records":[{"Ckafka":{"topic":"pairs","partition":3,"offset":0,"msgKey":"k0","msgBody":"0"}},{"Ckafka":{"topic":"pairs","partition":3,"offset":1,"msgKey":"k1","msgBody":"1"}}]}`
			if got := string(all[0].Answer); got != want {
				t.Errorf("want %s\ngot  %s", want, got)
			}
		}},
		{name: "a message without a key has the key None", source: ckafka, needs: rig, check: func(t *testing.T, p *platform) {
			all, err := p.emulator.FireCKafka(t.Context(), "probe", "pairs", scf.Message{Body: "x"})
			if err != nil {
				t.Fatal(err)
			}
			var got ckafkaRecords
			if err := json.Unmarshal(all[0].Answer, &got); err != nil || got.Records[0].Ckafka.MsgKey != "None" {
				t.Errorf("got %s, %v", all[0].Answer, err)
			}
		}},
		{name: "a batch has no more messages than its trigger says", source: ckafka + ", maxMsgNum", needs: rig, check: func(t *testing.T, p *platform) {
			all, err := p.emulator.FireCKafka(t.Context(), "probe", "pairs", messages(0, 5)...)
			if err != nil {
				t.Fatal(err)
			}
			var sizes []int
			for _, o := range all {
				var got ckafkaRecords
				if err := json.Unmarshal(o.Answer, &got); err != nil {
					t.Fatal(err)
				}
				sizes = append(sizes, len(got.Records))
			}
			if diff := cmp.Diff([]int{2, 2, 1}, sizes); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{name: "the batches of a partition come one after the other", source: ckafka, needs: rig, check: func(t *testing.T, p *platform) {
			all, err := p.emulator.FireCKafka(t.Context(), "probe", "pairs", messages(0, 6)...)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(all); i++ {
				if all[i].Start.Before(all[i-1].End) {
					t.Errorf("batch %d began at %s, before the one before it ended at %s", i, all[i].Start, all[i-1].End)
				}
			}
		}},
		{name: "a batch that failed is tried again, a minute later and as often as its trigger says", source: ckafka + ", retry", needs: rig, options: []func(*scf.Options){clocked, func(o *scf.Options) { o.Concurrency = 1 }}, check: func(t *testing.T, p *platform) {
			release := p.occupy()
			type result struct {
				all []scf.Outcome
				err error
			}
			done := make(chan result, 1)
			go func() {
				all, err := p.emulator.FireCKafka(t.Context(), "probe", "pairs", messages(0, 1)...)
				done <- result{all, err}
			}()
			p.await("the first try", p.clock.HasWaiters)
			release()
			p.pass(time.Minute)
			if r := <-done; r.err != nil || len(r.all) != 1 || r.all[0].Retry != 1 || r.all[0].Failure != nil {
				t.Errorf("want the batch through at the first retry, got %+v, %v", r.all, r.err)
			}
		}},
		{name: "EventBridge hands over one event as it is", source: "SCF, EventBridge trigger (583/59100)", needs: rig, check: func(t *testing.T, p *platform) {
			got, o := p.handed(p.emulator.FireEventBridge("probe", json.RawMessage(`{"specversion":"1.0.2","id":"1"}`)))
			if got != `{"specversion":"1.0.2","id":"1"}` || !o.Async {
				t.Errorf("got %s by %+v", got, o.Invocation)
			}
		}},
		{name: "and several in a list", source: "SCF, EventBridge trigger (583/59100)", needs: rig, check: func(t *testing.T, p *platform) {
			got, _ := p.handed(p.emulator.FireEventBridgeList("probe", json.RawMessage(`{"id":"1"}`), json.RawMessage(`{"id":"2"}`)))
			if got != `{"EventList":[{"id":"1"},{"id":"2"}]}` {
				t.Errorf("got %s", got)
			}
		}},
		{name: "the console's test is a synchronous invocation", source: "SCF, console", needs: rig, check: func(t *testing.T, p *platform) {
			o, err := p.emulator.Test("probe", []byte(`{"key1":"test value 1"}`))
			if err != nil || string(o.Answer) != `{"key1":"test value 1"}` || o.Async {
				t.Errorf("got %s by %+v, %v", o.Answer, o.Invocation, err)
			}
		}},
	})
}
