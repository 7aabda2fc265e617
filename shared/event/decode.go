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
const accepted = "accepted are: a CloudEvent 1.0 (JSON object), a batch of them (JSON array), a function URL request around either, a CKafka trigger's records of them, a Timer event, and an EventBridge event or list"

// Envelope is the shape a payload came in; it decides the shape of the answer.
type Envelope int

// The shapes.
const (
	// Bare is the event itself, by InvokeFunction or as the console's test event. The
	// platform (CAM) has already checked who sent it.
	Bare Envelope = iota
	// FunctionURL is an HTTP request wrapped by SCF (583/96099). Anybody may
	// have sent it: it must be signed.
	FunctionURL
	// CKafka are records of a topic that the account's own trigger reads.
	CKafka
	// Timer is the platform's clock.
	Timer
	// EventBridge is an event of the account's own event bus.
	EventBridge
)

// Delivery is a decoded payload: its requests, in order, and how to answer them.
type Delivery struct {
	Envelope Envelope
	Batch    bool
	Requests []Request
}

// Receiver is whom a payload was handed to. What the platform sends by itself names
// neither function nor cluster.
type Receiver struct {
	Function Function
	Cluster  string
	// Secret is the shared key that function URL requests must be signed with.
	Secret string
}

// urlRequest is what an event function gets for a function URL request: header
// keys are lower-cased, the body is a string (583/96099).
type urlRequest struct {
	HTTPMethod string            `json:"httpMethod"`
	Path       string            `json:"path"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body"`
}

// shape is what tells one envelope from another.
type shape struct {
	urlRequest
	SpecVersion string            `json:"specversion"`
	Type        string            `json:"Type"`
	Lower       string            `json:"type"`
	Records     []json.RawMessage `json:"Records"`
	EventList   []json.RawMessage `json:"EventList"`
}

// bridged tells an EventBridge event, which looks like CNCF's but has a version of its
// own (1.0.2 or 0), from a CloudEvent, be it of a version that isn't spoken here.
func (s shape) bridged() bool {
	switch s.SpecVersion {
	case "", event.CloudEventsVersionV1, event.CloudEventsVersionV03, "0.2", "0.1":
		return false
	}
	return s.Lower != "" && !strings.HasPrefix(s.Lower, typePrefix)
}

// Decode reads a payload handed to a receiver; now is used for the age of signatures.
// Errors are Invalid and name the field at fault.
func Decode(payload []byte, to Receiver, now time.Time) (d Delivery, err error) {
	trimmed := bytes.TrimSpace(payload)
	if len(trimmed) == 0 {
		return d, fault.Invalidf("payload", "is empty; %s", accepted)
	}
	var s shape
	if trimmed[0] == '{' {
		// What doesn't fit is told by whoever it is for.
		_ = json.Unmarshal(trimmed, &s)
	}
	var events []event.Event
	switch {
	case s.HTTPMethod != "" && s.Headers != nil:
		d.Envelope = FunctionURL
		events, d.Batch, err = decodeURL(s.urlRequest, to.Secret, now)
	case s.Type == "Timer":
		d.Envelope = Timer
		d.Requests, err = decodeTimer(trimmed, to)
		return d, err
	case s.Records != nil:
		d.Envelope, d.Batch = CKafka, true
		events, err = decodeRecords(s.Records)
	case s.EventList != nil || s.bridged():
		d.Envelope, d.Batch = EventBridge, s.EventList != nil
		d.Requests, err = decodeBridge(trimmed, s.EventList, to)
		return d, err
	default:
		d.Batch = trimmed[0] == '['
		events, err = parseEvents(trimmed)
	}
	if err != nil {
		return d, err
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
		return event.Event{}, fault.Invalidf("payload", "%w; %s", err, accepted)
	}
	if probe.SpecVersion != event.CloudEventsVersionV1 {
		return event.Event{}, fault.Invalidf("specversion", "is %q, must be %q; %s", probe.SpecVersion, event.CloudEventsVersionV1, accepted)
	}
	var e event.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return event.Event{}, fault.Invalidf("payload", "%w; %s", err, accepted)
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
		return Request{}, fault.Invalidf("type", "is %q, must be one of %s", e.Type(), strings.Join(types(), ", "))
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
	if n := len(s.LoadBalancers); r.Function != Readiness && r.Function != Resync && n > 1 {
		return fault.Invalidf("data.loadBalancers", "names %d, %s takes one", n, r.Function)
	} else if n > MaxReadinessCLBs {
		return fault.Invalidf("data.loadBalancers", "names %d, at most %d", n, MaxReadinessCLBs)
	}
	if r.Function == Backends && len(s.LoadBalancers) == 0 && !s.Everything() {
		return fault.Invalidf("data.loadBalancers", "is missing")
	}
	for i, ref := range s.Objects {
		if ref.Namespace == "" || ref.Name == "" {
			return fault.Invalidf(fmt.Sprintf("data.objects[%d]", i), "needs namespace and name")
		}
		if k := ref.Object().Kind; k != model.KindService && k != model.KindIngress && (r.Function != Explain || k != model.KindPod) {
			return fault.Invalidf(fmt.Sprintf("data.objects[%d].kind", i), "is %q, must be %s or %s", k, model.KindService, model.KindIngress)
		}
	}
	if r.Function == Explain && len(s.Objects) != 1 {
		return fault.Invalidf("data.objects", "names %d, must name the one object that is asked about: kind (Service, Ingress or Pod), namespace and name", len(s.Objects))
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
