package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// accepted is what an unknown payload is told.
const accepted = "accepted are: a CloudEvent 1.0 (JSON object), a batch of them (JSON array), and a function URL request around either"

// Envelope is the shape a payload came in; it decides the shape of the answer.
type Envelope int

// The shapes.
const (
	// Bare is the event itself, by InvokeFunction. The platform (CAM) has
	// already checked who sent it.
	Bare Envelope = iota
	// FunctionURL is an HTTP request wrapped by SCF (583/96099). Anybody may
	// have sent it: it must be signed.
	FunctionURL
)

// Delivery is a decoded payload: its requests, in order, and how to answer them.
type Delivery struct {
	Envelope Envelope
	Batch    bool
	Requests []Request
}

// urlRequest is what an event function gets for a function URL request: header
// keys are lower-cased, the body is a string (583/96099).
type urlRequest struct {
	HTTPMethod string            `json:"httpMethod"`
	Path       string            `json:"path"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body"`
}

// Decode reads a payload. Secret is the shared key that function URL requests
// must be signed with; now is used for their age. Errors are Invalid and name the
// field at fault.
func Decode(payload []byte, secret string, now time.Time) (Delivery, error) {
	trimmed := bytes.TrimSpace(payload)
	if len(trimmed) == 0 {
		return Delivery{}, fault.Invalidf("payload", "is empty; %s", accepted)
	}
	var d Delivery
	var events []event.Event
	var err error
	if trimmed[0] == '{' {
		var probe urlRequest
		if json.Unmarshal(trimmed, &probe) == nil && probe.HTTPMethod != "" && probe.Headers != nil {
			d.Envelope = FunctionURL
			events, d.Batch, err = decodeURL(probe, secret, now)
			if err != nil {
				return d, err
			}
		}
	}
	if d.Envelope == Bare {
		d.Batch = trimmed[0] == '['
		if events, err = parseEvents(trimmed); err != nil {
			return d, err
		}
	}
	for i, e := range events {
		r, err := request(e)
		if err != nil {
			if d.Batch {
				err = fmt.Errorf("event %d: %w", i, err)
			}
			return d, err
		}
		d.Requests = append(d.Requests, r)
	}
	return d, nil
}

// decodeURL checks the signature and reads the CloudEvents of an HTTP request in
// binary, structured or batched mode (CloudEvents HTTP binding, section 3).
func decodeURL(r urlRequest, secret string, now time.Time) (events []event.Event, batch bool, err error) {
	body := ""
	if r.Body != nil {
		body = *r.Body
	}
	if err := Verify(secret, r.Headers, body, now); err != nil {
		return nil, false, err
	}
	if !strings.EqualFold(r.HTTPMethod, "POST") {
		return nil, false, fault.Invalidf("httpMethod", "is %q, must be POST", r.HTTPMethod)
	}
	mediaType, _, _ := strings.Cut(r.Headers["content-type"], ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case ContentType:
		events, err = parseEvents([]byte(body))
		return events, false, err
	case BatchContentType:
		events, err = parseEvents([]byte(body))
		return events, true, err
	default:
		e, err := binaryEvent(r.Headers, body)
		return []event.Event{e}, false, err
	}
}

// binaryEvent reads a binary-mode event: attributes in ce-* headers, percent-encoded.
func binaryEvent(headers map[string]string, body string) (event.Event, error) {
	if headers["ce-specversion"] == "" {
		return event.Event{}, fault.Invalidf("headers", "neither ce-specversion nor content-type %s or %s is there; %s", ContentType, BatchContentType, accepted)
	}
	if v := headers["ce-specversion"]; v != event.CloudEventsVersionV1 {
		return event.Event{}, fault.Invalidf("ce-specversion", "is %q, must be %q", v, event.CloudEventsVersionV1)
	}
	attributes := map[string]any{}
	for k, v := range headers {
		name, ok := strings.CutPrefix(strings.ToLower(k), "ce-")
		if !ok {
			continue
		}
		plain, err := url.PathUnescape(v)
		if err != nil {
			return event.Event{}, fault.Invalidf(k, "%w", err)
		}
		attributes[name] = plain
	}
	attributes["datacontenttype"] = event.ApplicationJSON
	if !json.Valid([]byte(body)) {
		return event.Event{}, fault.Invalidf("body", "is not JSON")
	}
	attributes["data"] = json.RawMessage(body)
	raw, err := json.Marshal(attributes)
	if err != nil {
		return event.Event{}, fault.Invalidf("headers", "%w", err)
	}
	events, err := parseEvents(raw)
	if err != nil {
		return event.Event{}, err
	}
	return events[0], nil
}

// parseEvents reads one structured-mode event or an array of them.
func parseEvents(raw []byte) ([]event.Event, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, fault.Invalidf("payload", "is empty; %s", accepted)
	}
	var events []event.Event
	switch raw[0] {
	case '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, fault.Invalidf("payload", "%w", err)
		}
		if len(items) == 0 {
			return nil, fault.Invalidf("payload", "is an empty array; %s", accepted)
		}
		for i, item := range items {
			e, err := parseEvent(item)
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", i, err)
			}
			events = append(events, e)
		}
	case '{':
		e, err := parseEvent(raw)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	default:
		return nil, fault.Invalidf("payload", "is neither a JSON object nor an array; %s", accepted)
	}
	return events, nil
}

func parseEvent(raw []byte) (event.Event, error) {
	var probe struct {
		SpecVersion string `json:"specversion"`
	}
	if err := json.Unmarshal(raw, &probe); err != nil {
		return event.Event{}, fault.Invalidf("payload", "%w", err)
	}
	if probe.SpecVersion != event.CloudEventsVersionV1 {
		return event.Event{}, fault.Invalidf("specversion", "is %q, must be %q; %s", probe.SpecVersion, event.CloudEventsVersionV1, accepted)
	}
	var e event.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return event.Event{}, fault.Invalidf("payload", "%w", err)
	}
	if err := e.Validate(); err != nil { // a missing source is found only here
		return event.Event{}, fault.Invalidf("payload", "%w", err)
	}
	return e, nil
}

// request turns a CloudEvent into a Request, checking what can be checked
// without knowing who we are.
func request(e event.Event) (Request, error) {
	f, ok := functionOf(e.Type())
	if !ok {
		return Request{}, fault.Invalidf("type", "is %q, must be one of %s, %s, %s", e.Type(), Type(Frontend), Type(Backends), Type(Readiness))
	}
	r := Request{ID: e.ID(), Function: f, Source: e.Source()}
	r.Partition, _ = e.Extensions()["partitionkey"].(string)
	r.Sequence, _ = e.Extensions()["sequence"].(string)
	if len(e.Data()) == 0 {
		return Request{}, fault.Invalidf("data", "is missing")
	}
	dec := json.NewDecoder(bytes.NewReader(e.Data()))
	if err := dec.Decode(&r.Sync); err != nil {
		return Request{}, fault.Invalidf("data", "%w", err)
	}
	return r, r.validate()
}

func (r Request) validate() error {
	s := r.Sync
	if s.Cluster == "" {
		return fault.Invalidf("data.cluster", "is missing")
	}
	if r.Source != Source(s.Cluster) {
		return fault.Invalidf("source", "is %q, but data.cluster says %q", r.Source, s.Cluster)
	}
	if s.Attempt == "" {
		return fault.Invalidf("data.attempt", "is missing")
	}
	if n := len(s.LoadBalancers); r.Function != Readiness && n > 1 {
		return fault.Invalidf("data.loadBalancers", "names %d, %s takes one", n, r.Function)
	} else if n > MaxReadinessCLBs {
		return fault.Invalidf("data.loadBalancers", "names %d, at most %d", n, MaxReadinessCLBs)
	}
	if r.Function == Backends && len(s.LoadBalancers) == 0 {
		return fault.Invalidf("data.loadBalancers", "is missing")
	}
	for i, ref := range s.Objects {
		if ref.Namespace == "" || ref.Name == "" {
			return fault.Invalidf(fmt.Sprintf("data.objects[%d]", i), "needs namespace and name")
		}
		if k := ref.Object().Kind; k != model.KindService && k != model.KindIngress {
			return fault.Invalidf(fmt.Sprintf("data.objects[%d].kind", i), "is %q, must be %s or %s", k, model.KindService, model.KindIngress)
		}
	}
	for i, p := range s.Pods {
		if p.Namespace == "" || p.Name == "" || p.UID == "" {
			return fault.Invalidf(fmt.Sprintf("data.pods[%d]", i), "needs namespace, name and uid")
		}
	}
	for action, rate := range s.Grant {
		if rate <= 0 || rate > 20 {
			return fault.Invalidf("data.grant."+action, "is %g, must be above 0 and at most 20 calls a second", rate)
		}
	}
	return nil
}
