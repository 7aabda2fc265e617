package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// types are the CloudEvents types of requests.
func types() []string {
	out := make([]string, 0, len(every))
	for _, f := range every {
		out = append(out, Type(f))
	}
	return out
}

// timer is what a Timer trigger sends (583/9708): Message is the argument that the
// trigger was given.
type timer struct {
	TriggerName, Time, Message string
}

// decodeTimer: it is time to look at everything. The argument may ask for a dry run.
func decodeTimer(payload []byte, to Receiver) ([]Request, error) {
	var t timer
	if err := json.Unmarshal(payload, &t); err != nil {
		return nil, fault.Invalidf("payload", "%w", err)
	}
	if t.TriggerName == "" {
		return nil, fault.Invalidf("TriggerName", "is missing")
	}
	r, err := to.everything("timer/" + t.TriggerName + "/" + t.Time)
	if err != nil {
		return nil, err
	}
	switch strings.TrimSpace(t.Message) {
	case "", "None", "null": // what the platform says for no argument isn't documented
	case dryRun:
		r.Sync.DryRun = true
	default:
		return nil, fault.Invalidf("Message", "is %q, must be empty or %q", t.Message, dryRun)
	}
	return []Request{r}, nil
}

// dryRun is the argument of a Timer that only wants to know.
const dryRun = "dry-run"

// everything is a request that names nothing.
func (to Receiver) everything(id string) (Request, error) {
	if to.Function == Explain {
		return Request{}, fault.Invalidf("payload", "asks nothing: %s answers a CloudEvent of type %q that names one object", Explain, Type(Explain))
	}
	return Request{
		ID: id, Function: to.Function, Source: Source(to.Cluster), Partition: "everything",
		Sync: Sync{Cluster: to.Cluster, All: true, Attempt: id},
	}, nil
}

// decodeRecords reads the CloudEvents in the records of a CKafka trigger. Headers are
// not delivered, so each value must be a structured-mode event (583/17530).
func decodeRecords(records []json.RawMessage) ([]event.Event, error) {
	if len(records) == 0 {
		return nil, fault.Invalidf("Records", "is empty; %s", accepted)
	}
	var out []event.Event
	for i, raw := range records {
		field := fmt.Sprintf("Records[%d].Ckafka", i)
		var record struct {
			Ckafka *struct {
				Body string `json:"msgBody"`
			} `json:"Ckafka"`
		}
		if err := json.Unmarshal(raw, &record); err != nil {
			return nil, fault.Invalidf(field, "%w", err)
		}
		if record.Ckafka == nil {
			return nil, fault.Invalidf(field, "is missing; %s", accepted)
		}
		e, err := parseEvent([]byte(record.Ckafka.Body))
		if err != nil {
			return nil, fmt.Errorf("%s.msgBody: %w", field, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// bridged is an EventBridge event. Its envelope looks like CNCF's and isn't: the version
// is 1.0.2 or 0, the time milliseconds (248/87558).
type bridged struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Source  string          `json:"source"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`
}

// balancerID is a CLB's id wherever it stands in an audit or health event.
var balancerID = regexp.MustCompile(`\blb-[0-9a-z]{8}\b`)

// maxBridged bounds the CLBs that a list of events is narrowed to; with more, or with
// none, the look is at everything.
const maxBridged = 20

// decodeBridge finds out which CLBs a list of events (or one) is about. What happened to
// them is not believed but looked at; many events make one request.
func decodeBridge(payload []byte, list []json.RawMessage, to Receiver) ([]Request, error) {
	if list == nil {
		list = []json.RawMessage{payload}
	}
	if len(list) == 0 {
		return nil, fault.Invalidf("EventList", "is empty; %s", accepted)
	}
	sum := sha256.New()
	var lbs []string
	blind := false
	for i, raw := range list {
		var e bridged
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fault.Invalidf(fmt.Sprintf("EventList[%d]", i), "%w", err)
		}
		if e.Type == "" || e.Source == "" {
			return nil, fault.Invalidf(fmt.Sprintf("EventList[%d]", i), "has no type or source; %s", accepted)
		}
		fmt.Fprintln(sum, e.ID)
		found := balancerID.FindAllString(e.Subject+" "+string(bytes.TrimSpace(e.Data)), -1)
		lbs = append(lbs, found...)
		blind = blind || len(found) == 0
	}
	r, err := to.everything("eventbridge/" + hex.EncodeToString(sum.Sum(nil))[:16])
	if err != nil {
		return nil, err
	}
	slices.Sort(lbs)
	if lbs = slices.Compact(lbs); !blind && len(lbs) <= maxBridged && to.Function == Resync {
		r.Sync.LoadBalancers = lbs
	}
	return []Request{r}, nil
}
