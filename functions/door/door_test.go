package door

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// newDoor is a frontend's whose pass answers that one pod is pending, and counts.
func newDoor(passes *int) *Door {
	return &Door{
		Function: event.Frontend,
		Cluster:  "cls-a",
		Secret:   "s3cret",
		Handle: func(context.Context, event.Request) event.Reply {
			*passes++
			return event.Reply{Pending: 1}
		},
		Now: func() time.Time { return now },
		Log: slog.New(slog.DiscardHandler),
	}
}

func request(t *testing.T, change func(*event.Request)) []byte {
	t.Helper()
	r := event.Request{ID: "1", Function: event.Frontend, Source: event.Source("cls-a"), Partition: "lb-1",
		Sync: event.Sync{Cluster: "cls-a", Attempt: "a-1", Objects: []event.Ref{{Namespace: "default", Name: "web"}}}}
	if change != nil {
		change(&r)
	}
	e, err := r.Encode(now)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// viaURL wraps a body as SCF wraps a function URL request.
func viaURL(t *testing.T, contentType, body, secret string) []byte {
	t.Helper()
	headers := map[string]string{"content-type": contentType}
	maps.Copy(headers, event.Sign(secret, body, now))
	raw, err := json.Marshal(map[string]any{"httpMethod": "POST", "path": "/", "headers": headers, "body": body, "queryString": map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestInvokeAnswersInTheShapeItWasAsked(t *testing.T) {
	one := string(request(t, nil))
	batch := "[" + one + "," + one + "]"
	cases := map[string]struct {
		reason  string
		payload []byte
		passes  int
		status  float64
	}{
		"Bare":            {"InvokeFunction hands over the event itself", []byte(one), 1, 0},
		"BareBatch":       {"an array is answered by an array, in order", []byte(batch), 2, 0},
		"URL":             {"a function URL answers with an HTTP response", viaURL(t, event.ContentType, one, "s3cret"), 1, 200},
		"URLBatch":        {"batched mode too", viaURL(t, event.BatchContentType, batch, "s3cret"), 2, 200},
		"URLWithCharset":  {"parameters of the media type don't matter", viaURL(t, event.ContentType+"; charset=utf-8", one, "s3cret"), 1, 200},
		"URLWrongSecret":  {"a function answers nobody else", viaURL(t, event.ContentType, one, "other"), 0, 401},
		"URLNotAnEvent":   {"what makes no sense is the sender's mistake", viaURL(t, event.ContentType, `{"key1":"value1"}`, "s3cret"), 0, 400},
		"URLOtherCluster": {"a foreign cluster's event changes nothing here", viaURL(t, event.ContentType, string(request(t, func(r *event.Request) { r.Sync.Cluster, r.Source = "cls-b", event.Source("cls-b") })), "s3cret"), 0, 400},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			passes := 0
			d := newDoor(&passes)
			out, err := d.Invoke(t.Context(), c.payload)
			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}
			body := out
			if c.status != 0 {
				var response struct {
					StatusCode float64 `json:"statusCode"`
					Body       string  `json:"body"`
				}
				if err := json.Unmarshal(out, &response); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.status, response.StatusCode); diff != "" {
					t.Errorf("%s: status -want +got:\n%s", c.reason, diff)
				}
				body = []byte(response.Body)
			}
			if diff := cmp.Diff(c.passes, passes); diff != "" {
				t.Errorf("%s: passes -want +got:\n%s", c.reason, diff)
			}
			if c.passes == 0 {
				if d.Rejected() != 1 {
					t.Errorf("%s: %d rejections were counted, not 1", c.reason, d.Rejected())
				}
				return
			}
			replies, err := event.ParseReplies(body)
			if err != nil {
				t.Fatalf("%s: reading the answer: %v", c.reason, err)
			}
			if len(replies) != c.passes || replies[0].Pending != 1 {
				t.Errorf("%s: replies are %+v", c.reason, replies)
			}
		})
	}
}

func TestInvokeRefusesWithTheFieldAtFault(t *testing.T) {
	cases := map[string]struct {
		reason  string
		payload []byte
		field   string
	}{
		"Garbage":        {"the console's test dialog takes anything", []byte(`hello`), "payload"},
		"HelloWorld":     {"its template is an object we don't know", []byte(`{"key1":"test value 1"}`), "specversion"},
		"UnknownType":    {"a type of nobody's", []byte(`{"specversion":"1.0","type":"x","source":"/clusters/cls-a","id":"1","data":{}}`), "type"},
		"OtherFunction":  {"an event for another function", request(t, func(r *event.Request) { r.Function, r.Sync.LoadBalancers = event.Backends, []string{"lb-1"} }), "type"},
		"OtherCluster":   {"another cluster's event", request(t, func(r *event.Request) { r.Sync.Cluster, r.Source = "cls-b", event.Source("cls-b") }), "data.cluster"},
		"SourceDisagree": {"source and data must agree", request(t, func(r *event.Request) { r.Source = event.Source("cls-b") }), "source"},
		"NoAttempt":      {"an attempt holds the Lease", request(t, func(r *event.Request) { r.Sync.Attempt = "" }), "data.attempt"},
		"Greedy":         {"20 calls a second is all the account has", request(t, func(r *event.Request) { r.Sync.Grant = map[string]float64{"*": 21} }), "data.grant.*"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			passes := 0
			d := newDoor(&passes)
			_, err := d.Invoke(t.Context(), c.payload)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid {
				t.Fatalf("%s: got %v, want an Invalid fault", c.reason, err)
			}
			if diff := cmp.Diff(c.field, f.Field); diff != "" {
				t.Errorf("%s: field -want +got:\n%s", c.reason, diff)
			}
			if passes != 0 || d.Rejected() != 1 {
				t.Errorf("%s: %d passes and %d rejections", c.reason, passes, d.Rejected())
			}
		})
	}
}
