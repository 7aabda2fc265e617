package event

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/fault"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestDecodeTriggers: samples as the platform's pages show them.
func TestDecodeTriggers(t *testing.T) {
	whole := func(id string) Request {
		return Request{ID: id, Function: Resync, Source: Source("cls-1"), Partition: "everything", Sync: Sync{Cluster: "cls-1", All: true, Attempt: id}}
	}
	dry := whole("timer/resync/2026-11-23T12:00:00Z")
	dry.Sync.DryRun = true
	narrow := func(id string, lbs ...string) Request {
		r := whole(id)
		r.Sync.LoadBalancers = lbs
		return r
	}
	cases := map[string]struct {
		reason   string
		envelope Envelope
		batch    bool
		want     []Request
	}{
		"timer.json":             {"a timer names nothing: everything", Timer, false, []Request{whole("timer/resync/2026-11-23T12:00:00Z")}},
		"timer_dryrun.json":      {"its argument asks what would be done", Timer, false, []Request{dry}},
		"ckafka.json":            {"an event in each record's value", CKafka, true, []Request{good(), good()}},
		"eventbridge_audit.json": {"the CLB that somebody changed", EventBridge, false, []Request{narrow("", "lb-1a2b3c4d")}},
		"eventbridge_list.json":  {"a list is one look, at the CLBs of all", EventBridge, true, []Request{narrow("", "lb-1a2b3c4d", "lb-5e6f7a8b")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := Decode(sample(t, name), Receiver{Function: Resync, Cluster: "cls-1", Secret: secret}, now)
			if err != nil {
				t.Fatal(err)
			}
			if d.Envelope != tc.envelope || d.Batch != tc.batch {
				t.Errorf("%s: envelope %d, batch %t", tc.reason, d.Envelope, d.Batch)
			}
			for i := range d.Requests {
				if strings.HasPrefix(d.Requests[i].ID, "eventbridge/") && i < len(tc.want) { // the rest is a digest
					tc.want[i].ID, tc.want[i].Sync.Attempt = d.Requests[i].ID, d.Requests[i].ID
				}
			}
			if diff := cmp.Diff(tc.want, d.Requests); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTriggersToOthers: what names nothing has the others look at everything of theirs,
// and is no question.
func TestTriggersToOthers(t *testing.T) {
	for _, name := range []string{"timer.json", "eventbridge_audit.json"} {
		for _, f := range Functions {
			d, err := Decode(sample(t, name), Receiver{Function: f, Cluster: "cls-1"}, now)
			if err != nil || len(d.Requests) != 1 || d.Requests[0].Function != f || !d.Requests[0].Sync.Everything() {
				t.Errorf("%s to %s: %+v, %v", name, f, d, err)
			}
		}
		if _, err := Decode(sample(t, name), Receiver{Function: Explain, Cluster: "cls-1"}, now); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), Type(Explain)) {
			t.Errorf("%s to explain: %v, want Invalid and what to send", name, err)
		}
	}
}

func TestTriggersNameTheFieldAtFault(t *testing.T) {
	record := func(body string) string {
		raw, err := json.Marshal(map[string]any{"Records": []any{map[string]any{"Ckafka": map[string]any{"topic": "t", "msgBody": body}}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	cases := map[string]struct {
		reason, payload, field string
	}{
		"NamelessTimer": {"no trigger of the platform's", `{"Type":"Timer"}`, "TriggerName"},
		"OddArgument":   {"an argument nobody knows", `{"Type":"Timer","TriggerName":"t","Message":"faster"}`, "Message"},
		"COS":           {"records of another product", string(sample(t, "cos.json")), "Records[0].Ckafka"},
		"NoRecords":     {"a batch of nothing", `{"Records":[]}`, "Records"},
		"BinaryInKafka": {"a value without its attributes", record(`{"cluster":"cls-1"}`), "specversion"},
		"TextInKafka":   {"a value that is no JSON", record("hello"), "payload"},
		"CLS":           {"logs are nothing for us", string(sample(t, "cls.json")), "specversion"},
		"Hello":         {"the console's template", string(sample(t, "console_hello.json")), "specversion"},
		"NoEvents":      {"a list of nothing", `{"EventList":[]}`, "EventList"},
		"SourcelessBus": {"events of nobody", `{"EventList":[{"id":"1","type":"t"}]}`, "EventList[0]"},
		"NumberInList":  {"no event", `{"EventList":[4]}`, "EventList[0]"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(tc.payload), Receiver{Function: Resync, Cluster: "cls-1"}, now)
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Invalid || e.Field != tc.field {
				t.Errorf("%s: got %v, want Invalid in %s", tc.reason, err, tc.field)
			}
		})
	}
}

// TestManyCLBsAreEverything: so is an event that names none.
func TestManyCLBsAreEverything(t *testing.T) {
	var list []any
	for i := range maxBridged + 1 {
		list = append(list, map[string]any{"type": "t", "source": "clb", "subject": "lb-0000000" + string(rune('a'+i))})
	}
	for reason, events := range map[string][]any{"too many": list, "none in one of them": {list[0], map[string]any{"type": "t", "source": "cvm"}}} {
		raw, err := json.Marshal(map[string]any{"EventList": events})
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(raw, Receiver{Function: Resync, Cluster: "cls-1"}, now)
		if err != nil || !d.Requests[0].Sync.Everything() {
			t.Errorf("%s: got %+v, %v, want everything", reason, d, err)
		}
	}
}

// fuzzEnvelope: whatever is changed of a sample, it is taken or refused as Invalid.
func fuzzEnvelope(f *testing.F, names ...string) {
	for _, name := range names {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, function := range every {
			d, err := Decode(payload, Receiver{Function: function, Cluster: "cls-1", Secret: secret}, now)
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v is not Invalid", payload, err)
			}
			if err == nil && len(d.Requests) == 0 {
				t.Fatalf("%q: neither a request nor an error", payload)
			}
		}
	})
}

func FuzzTimer(f *testing.F)  { fuzzEnvelope(f, "timer.json", "timer_dryrun.json") }
func FuzzCKafka(f *testing.F) { fuzzEnvelope(f, "ckafka.json", "cos.json") }
func FuzzEventBridge(f *testing.F) {
	fuzzEnvelope(f, "eventbridge_audit.json", "eventbridge_list.json")
}
