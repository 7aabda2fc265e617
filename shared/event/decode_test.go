package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	cloudevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/fault"
)

const secret = "s3cret"

var me = Receiver{Function: Backends, Cluster: "cls-1", Secret: secret}

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// good is a request that decodes.
func good() Request {
	return Request{
		ID: "lb-1/1/backends", Function: Backends, Source: Source("cls-1"), Partition: "lb-1", Sequence: "00000000000000000001",
		Sync: Sync{
			Cluster: "cls-1", LoadBalancers: []string{"lb-1"}, Objects: []Ref{{"Service", "default", "web"}, {"Ingress", "default", "web"}},
			Pods:            []Pod{{Namespace: "default", Name: "a", UID: "u", IP: "10.0.0.1", ResourceVersion: "7"}},
			ResourceVersion: "9", Grant: map[string]float64{"*": 8}, Attempt: "attempt-1", Ended: []string{"attempt-0"},
		},
	}
}

// text is the structured-mode JSON of a request, its top level changed by edit.
func text(t testing.TB, r Request, edit func(map[string]any)) string {
	t.Helper()
	e, err := r.Encode(now)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if edit == nil {
		return string(raw)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// viaURL is a function URL request around a body, signed at a time.
func viaURL(t testing.TB, body string, at time.Time, headers map[string]string, edit func(map[string]any)) string {
	t.Helper()
	all := map[string]string{"host": "example"}
	for _, m := range []map[string]string{Sign(secret, body, at), headers} {
		for k, v := range m {
			all[k] = v
		}
	}
	m := map[string]any{"httpMethod": "POST", "path": "/", "headers": all, "body": body, "queryString": map[string]string{}}
	if edit != nil {
		edit(m)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var structured = map[string]string{"content-type": ContentType}

func TestDecodeTakesEveryEnvelope(t *testing.T) {
	one := text(t, good(), nil)
	data, err := json.Marshal(good().Sync)
	if err != nil {
		t.Fatal(err)
	}
	binary := map[string]string{
		"content-type": "application/json", "ce-specversion": "1.0", "ce-id": "lb-1%2F1%2Fbackends", "ce-type": Type(Backends),
		"ce-source": "/clusters/cls-1", "ce-partitionkey": "lb-1", "ce-sequence": "00000000000000000001",
	}
	cases := map[string]struct {
		reason   string
		payload  string
		envelope Envelope
		batch    bool
		requests int
	}{
		"Bare":          {"InvokeFunction passes the event as it is", one, Bare, false, 1},
		"BareBatch":     {"or several", "[" + one + "," + one + "]", Bare, true, 2},
		"Padded":        {"white space says nothing", "\n " + one + " \n", Bare, false, 1},
		"URL":           {"structured mode", viaURL(t, one, now, structured, nil), FunctionURL, false, 1},
		"URLBatch":      {"batched mode", viaURL(t, "["+one+"]", now, map[string]string{"content-type": BatchContentType}, nil), FunctionURL, true, 1},
		"URLParameters": {"a media type may have parameters", viaURL(t, one, now, map[string]string{"content-type": ContentType + "; charset=utf-8"}, nil), FunctionURL, false, 1},
		"URLBinary":     {"binary mode", viaURL(t, string(data), now, binary, nil), FunctionURL, false, 1},
		"URLAged":       {"a clock may be off by minutes", viaURL(t, one, now.Add(-4*time.Minute), structured, nil), FunctionURL, false, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := Decode([]byte(tc.payload), me, now)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if d.Envelope != tc.envelope || d.Batch != tc.batch || len(d.Requests) != tc.requests {
				t.Fatalf("%s: envelope %d, batch %v, %d requests", tc.reason, d.Envelope, d.Batch, len(d.Requests))
			}
			for _, r := range d.Requests {
				if diff := cmp.Diff(good(), r); diff != "" {
					t.Errorf("%s: -want +got\n%s", tc.reason, diff)
				}
			}
		})
	}
}

func TestDecodeNamesTheFieldAtFault(t *testing.T) {
	sync := func(edit func(*Sync)) string {
		r := good()
		edit(&r.Sync)
		return text(t, r, nil)
	}
	top := func(k string, v any) string {
		return text(t, good(), func(m map[string]any) {
			if m[k] = v; v == nil {
				delete(m, k)
			}
		})
	}
	one := text(t, good(), nil)
	many := make([]string, MaxReadinessCLBs+1)
	cases := map[string]struct {
		reason  string
		payload string
		field   string
	}{
		"Empty":         {"nothing", "", "payload"},
		"Blank":         {"nothing", " \n", "payload"},
		"Text":          {"not JSON", "hello", "payload"},
		"Number":        {"JSON, but no event", "42", "payload"},
		"EmptyArray":    {"a batch of nothing", "[]", "payload"},
		"Truncated":     {"half an event", one[:len(one)/2], "payload"},
		"TestEvent":     {"the console's test event", `{"key1":"test value 1","key2":"test value 2"}`, "specversion"},
		"NoSource":      {"events of nobody", top("source", nil), "payload"},
		"UnknownType":   {"for no function of ours", top("type", "io.clb-direct.coffee.sync"), "type"},
		"OldVersion":    {"a version that isn't spoken is no EventBridge's", top("specversion", "0.3"), "specversion"},
		"ComingVersion": {"nor is what only we send", top("specversion", "1.1"), "specversion"},
		"Reply":         {"an answer is no request", top("type", TypeReply), "type"},
		"NoData":        {"it says nothing", top("data", nil), "data"},
		"OddData":       {"it says something else", top("data", "text"), "data"},
		"OtherSource":   {"two clusters in one event", top("source", "/clusters/other"), "source"},
		"NoCluster":     {"", sync(func(s *Sync) { s.Cluster = "" }), "data.cluster"},
		"NoAttempt":     {"nobody could hold the Lease", sync(func(s *Sync) { s.Attempt = "" }), "data.attempt"},
		"NoCLB":         {"backends needs one", sync(func(s *Sync) { s.LoadBalancers = nil }), "data.loadBalancers"},
		"TwoCLBs":       {"a pass holds one Lease", sync(func(s *Sync) { s.LoadBalancers = []string{"a", "b"} }), "data.loadBalancers"},
		"OtherKind":     {"", sync(func(s *Sync) { s.Objects = append(s.Objects, Ref{"Gateway", "default", "x"}) }), "data.objects[2].kind"},
		"NamelessRef":   {"", sync(func(s *Sync) { s.Objects = append(s.Objects, Ref{"", "default", ""}) }), "data.objects[2]"},
		"PodWithoutUID": {"a name may be a successor's", sync(func(s *Sync) { s.Pods[0].UID = "" }), "data.pods[0]"},
		"Grant":         {"nothing could be called", sync(func(s *Sync) { s.Grant["*"] = 0 }), "data.grant.*"},
		"Greed":         {"more than there is", sync(func(s *Sync) { s.Grant["*"] = 21 }), "data.grant.*"},
		"ManyCLBs": {"more than one call takes", func() string {
			r := good()
			r.Function, r.Sync.LoadBalancers = Readiness, many
			return text(t, r, nil)
		}(), "data.loadBalancers"},
		"Unsigned":    {"anybody could have sent it", viaURL(t, one, now, map[string]string{"content-type": ContentType, SignatureHeader: ""}, nil), SignatureHeader},
		"OtherBody":   {"the signature is another body's", viaURL(t, one, now, structured, func(m map[string]any) { m["body"] = one + " " }), SignatureHeader},
		"NoTime":      {"a signature without age never ends", viaURL(t, one, now, map[string]string{TimestampHeader: ""}, nil), TimestampHeader},
		"Old":         {"captured and replayed", viaURL(t, one, now.Add(-6*time.Minute), structured, nil), TimestampHeader},
		"Future":      {"good for too long", viaURL(t, one, now.Add(6*time.Minute), structured, nil), TimestampHeader},
		"NoBody":      {"", viaURL(t, "", now, structured, func(m map[string]any) { delete(m, "body") }), "payload"},
		"GET":         {"a look into the URL", viaURL(t, one, now, structured, func(m map[string]any) { m["httpMethod"] = "GET" }), "httpMethod"},
		"PlainJSON":   {"neither structured nor binary", viaURL(t, one, now, map[string]string{"content-type": "application/json"}, nil), "headers"},
		"BinaryOther": {"another version of CloudEvents", viaURL(t, "{}", now, map[string]string{"ce-specversion": "0.3"}, nil), "ce-specversion"},
		"BinaryText":  {"data that is no JSON", viaURL(t, "hello", now, map[string]string{"ce-specversion": "1.0"}, nil), "body"},
		"BinaryBad":   {"broken escape", viaURL(t, "{}", now, map[string]string{"ce-specversion": "1.0", "ce-id": "%zz"}, nil), "ce-id"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(tc.payload), me, now)
			var e *fault.Error
			if !errors.As(err, &e) || e.Kind != fault.Invalid || e.Field != tc.field {
				t.Errorf("%s: got %v, want Invalid in %s", tc.reason, err, tc.field)
			}
		})
	}
}

func TestBatchSaysWhichEvent(t *testing.T) {
	bad := good()
	bad.Sync.Attempt = ""
	_, err := Decode([]byte("["+text(t, good(), nil)+","+text(t, bad, nil)+"]"), me, now)
	if err == nil || !strings.Contains(err.Error(), "event 1") || !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestNoSecretTakesNobody(t *testing.T) {
	body := text(t, good(), nil)
	headers := Sign("", body, now)
	headers["content-type"] = ContentType
	if _, err := Decode([]byte(viaURL(t, body, now, headers, nil)), Receiver{Function: Backends, Cluster: "cls-1"}, now); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty secret signs nothing, got %v", err)
	}
}

func TestReplyComesBackAsItWent(t *testing.T) {
	want := Reply{Continue: true, RequeueAfterMillis: 200, Pending: 2, PendingPods: good().Sync.Pods,
		Wake:    []Wake{{Function: Readiness, Sync: good().Sync}},
		Failure: &Failure{Kind: fault.Permanent, Field: "f", Code: "c", Message: "m"}, Calls: map[string]int{"a": 1}, Writes: map[string]int{"b": 2}}
	e, err := want.Encode("id", Source("cls-1"), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Delivery{{}, {Batch: true}} {
		body, err := d.Answer([]cloudevent.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseReplies(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Reply{want}, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	if _, err := ParseReplies([]byte(text(t, good(), nil))); !fault.Is(err, fault.Invalid) {
		t.Errorf("a request was taken for a reply: %v", err)
	}
}

func TestRequeueAfterKeepsTheSoonest(t *testing.T) {
	var r Reply
	for _, d := range []time.Duration{time.Second, 200 * time.Millisecond, time.Minute} {
		r.RequeueAfter(d)
	}
	if r.RequeueAfterMillis != 200 {
		t.Errorf("got %d ms, want 200", r.RequeueAfterMillis)
	}
	r = Reply{}
	r.RequeueAfter(time.Microsecond)
	if r.RequeueAfterMillis != 1 {
		t.Errorf("got %d ms; 0 would mean never", r.RequeueAfterMillis)
	}
}

// FuzzDecode: whatever comes, Decode doesn't panic, what it refuses is Invalid, and
// what it takes can be encoded and decoded again to the same.
func FuzzDecode(f *testing.F) {
	one := text(f, good(), nil)
	for _, seed := range []string{"", "[]", "{}", "null", "[null]", `{"httpMethod":"POST","headers":{}}`, one, "[" + one + "]",
		viaURL(f, one, now, structured, nil), viaURL(f, "{}", now, map[string]string{"ce-specversion": "1.0"}, nil),
		`{"specversion":"1.0","id":"1","source":"/clusters/c","type":"io.clb-direct.readiness.sync","data":{"cluster":"c","attempt":"a"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		d, err := Decode(payload, me, now)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v is not Invalid", payload, err)
			}
			return
		}
		if len(d.Requests) == 0 {
			t.Fatalf("%q: neither a request nor an error", payload)
		}
		for _, r := range d.Requests {
			again, err := Decode([]byte(text(t, r, nil)), me, now)
			if err != nil {
				t.Fatalf("%q: taken, but not when encoded again: %v", payload, err)
			}
			if diff := cmp.Diff(fmt.Sprintf("%+v", r), fmt.Sprintf("%+v", again.Requests[0])); diff != "" {
				t.Fatalf("%q: -first +again\n%s", payload, diff)
			}
		}
	})
}
