// Package event is the door of every function: whatever the platform hands over
// becomes a Request, and what a pass has to say becomes a Reply, both CloudEvents
// 1.0. Below this package nobody sees raw JSON.
//
// An event only says where to look. The receiver reads the truth from Kubernetes
// and the CLB; a field here may let it skip useless work, never decide anything.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Function names one of the functions.
type Function string

// The functions an event can be for.
const (
	Frontend  Function = "frontend"
	Backends  Function = "backends"
	Readiness Function = "readiness"
	// Resync puts right whatever was missed, and Explain answers why a pod is not
	// ready. Nobody has to send them anything for the others to work.
	Resync  Function = "resync"
	Explain Function = "explain"
)

// Functions are those that the forwarder feeds, in the order in which they act on a new
// object.
var Functions = []Function{Frontend, Backends, Readiness}

// every is all of them.
var every = []Function{Frontend, Backends, Readiness, Resync, Explain}

const (
	typePrefix = "io.clb-direct."
	syncSuffix = ".sync"
	// TypeReply is the CloudEvents type of every answer.
	TypeReply = "io.clb-direct.reply"
	// ContentType is the media type of one structured-mode CloudEvent.
	ContentType = "application/cloudevents+json"
	// BatchContentType is the media type of a batch of them.
	BatchContentType = "application/cloudevents-batch+json"
	// MaxBytes is the largest event we send: intermediaries must forward 64 KiB
	// (CloudEvents 1.0, size limits).
	MaxBytes = 64 << 10
	// MaxPods is how many pods one event may name; with more the sender says All.
	MaxPods = 100
	// MaxObjects is how many Services and Ingresses one event may name.
	MaxObjects = 300
	// MaxReadinessCLBs is how many CLBs one readiness event may name: what one
	// DescribeTargetHealth call takes (CLB API, DescribeTargetHealth).
	MaxReadinessCLBs = 30
)

// Type is the CloudEvents type of a request for f.
func Type(f Function) string { return typePrefix + string(f) + syncSuffix }

// Source is the CloudEvents source of everything a cluster sends.
func Source(cluster string) string { return "/clusters/" + cluster }

// Ref names an object; without a kind it is a Service.
type Ref struct {
	Kind      model.Kind `json:"kind,omitempty"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
}

// Object is what r names. Refs differ only in what they are called on the wire, so
// event.Ref(object) is the way back.
func (r Ref) Object() model.Ref {
	if r.Kind == "" {
		r.Kind = model.KindService
	}
	return model.Ref(r)
}

// String writes namespace/name.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// Pod names a pod that changed, with what lets a pass find the targets of one
// that is already gone.
type Pod struct {
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	UID             string `json:"uid"`
	IP              string `json:"ip,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Draining is a container of the pod that is about to end, as name=id; "" for none.
	Draining string `json:"draining,omitempty"`
}

// Sync is the data of a request: look here.
type Sync struct {
	// Cluster is the sender's cluster id; a function serves exactly one.
	Cluster string `json:"cluster"`
	// LoadBalancers are the CLB ids of the partition: one (or none yet) for
	// frontend and backends, up to MaxReadinessCLBs for readiness.
	LoadBalancers []string `json:"loadBalancers,omitempty"`
	// Objects are the Services and Ingresses whose CLB the partition is about.
	Objects []Ref `json:"objects,omitempty"`
	// Namespaces asks readiness for the gated pods of these namespaces that
	// nothing selects.
	Namespaces []string `json:"namespaces,omitempty"`
	// Pods are the pods that changed. With All they are not a limit.
	Pods []Pod `json:"pods,omitempty"`
	// All asks for a pass over everything the objects select; where nothing is named,
	// over everything of ours.
	All bool `json:"all,omitempty"`
	// DryRun has resync say what it would do, and do nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// ResourceVersion is the newest version the sender has seen: a list must be
	// at least that new.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Grant is how many CLB API calls a second this event's pass may make, by
	// action; "*" stands for every action not named.
	Grant map[string]float64 `json:"grant,omitempty"`
	// Attempt identifies this delivery; it is what holds a CLB's Lease.
	Attempt string `json:"attempt"`
	// Ended are earlier attempts which the platform says are over (timeout, out
	// of memory, exit): their Lease may be taken at once.
	Ended []string `json:"ended,omitempty"`
}

// Everything tells that s is about all that is ours, not about anything named.
func (s Sync) Everything() bool {
	return s.All && len(s.LoadBalancers)+len(s.Objects)+len(s.Namespaces)+len(s.Pods) == 0
}

// Drains tells that somebody waits for pods to be drained.
func (s Sync) Drains() bool {
	return slices.ContainsFunc(s.Pods, func(p Pod) bool { return p.Draining != "" })
}

// Request is one decoded event for a function.
type Request struct {
	ID        string
	Function  Function
	Source    string
	Partition string
	Sequence  string
	Sync      Sync
}

// Wake asks the sender to send a partition of a function, with what is known.
type Wake struct {
	Function Function `json:"function"`
	Sync     Sync     `json:"sync"`
}

// Failure says why a pass did not do (all of) its work.
type Failure struct {
	Kind    fault.Kind `json:"kind"`
	Field   string     `json:"field,omitempty"`
	Code    string     `json:"code,omitempty"`
	Message string     `json:"message"`
}

// Reply is what a pass answers: what is left to do.
type Reply struct {
	// Continue asks for the same event again at once: the pass handed over
	// before it was through.
	Continue bool `json:"continue,omitempty"`
	// RequeueAfterMillis asks for the same event again after so many
	// milliseconds; 0 means that nothing is left to do.
	RequeueAfterMillis int64 `json:"requeueAfterMillis,omitempty"`
	// Pending is how many pods still wait for their gate.
	Pending int `json:"pending,omitempty"`
	// PendingPods are those of the pods named that wait; when asked again, only
	// they need a look.
	PendingPods []Pod `json:"pendingPods,omitempty"`
	// Wake are other partitions that now have something to do.
	Wake []Wake `json:"wake,omitempty"`
	// Failure is set when something failed. Invalid and Permanent ones are parked
	// by the sender until the object changes, all others come again.
	Failure *Failure `json:"failure,omitempty"`
	// Calls counts the CLB API calls made, by action.
	Calls map[string]int `json:"calls,omitempty"`
	// Writes counts what was changed: objects patched, targets bound and so on.
	Writes map[string]int `json:"writes,omitempty"`
	// Slipped counts the pods that a resync found without the readiness gate or the drain
	// hook that admission would have given them, once for each object that selects them.
	Slipped int `json:"slipped,omitempty"`
	// Plan is what a resync found to do, for people.
	Plan []string `json:"plan,omitempty"`
	// Explanation is what explain answers.
	Explanation *Explanation `json:"explanation,omitempty"`
}

// RequeueAfter asks to be called again no later than d from now; the soonest wins.
func (r *Reply) RequeueAfter(d time.Duration) {
	ms := max(d.Milliseconds(), 1)
	if r.RequeueAfterMillis == 0 || ms < r.RequeueAfterMillis {
		r.RequeueAfterMillis = ms
	}
}

// Fail records err as the reply's failure; the first one recorded is kept, as
// what comes after usually follows from it.
func (r *Reply) Fail(err error) {
	if err == nil || r.Failure != nil {
		return
	}
	f := &Failure{Kind: fault.KindOf(err), Message: err.Error()}
	var e *fault.Error
	if errors.As(err, &e) {
		f.Field, f.Code = e.Field, e.Code
	}
	r.Failure = f
	if d := fault.RetryAfter(err); d > 0 {
		r.RequeueAfter(d)
	}
}

// Encode makes the CloudEvent of a request. The id is deterministic in what the
// caller puts into it, so that a receiver can tell a repetition.
func (r Request) Encode(now time.Time) (event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(r.ID)
	e.SetType(Type(r.Function))
	e.SetSource(r.Source)
	e.SetTime(now)
	if r.Partition != "" {
		e.SetExtension("partitionkey", r.Partition)
	}
	if r.Sequence != "" {
		e.SetExtension("sequence", r.Sequence)
	}
	if err := e.SetData(event.ApplicationJSON, r.Sync); err != nil {
		return e, fmt.Errorf("encoding event data: %w", err)
	}
	return e, e.Validate()
}

// Encode makes the CloudEvent that answers the request with the given id.
func (r Reply) Encode(requestID, source string, now time.Time) (event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(requestID + "/reply")
	e.SetType(TypeReply)
	e.SetSource(source)
	e.SetTime(now)
	if err := e.SetData(event.ApplicationJSON, r); err != nil {
		return e, fmt.Errorf("encoding reply data: %w", err)
	}
	return e, e.Validate()
}

// ParseReplies reads what a function answered: one reply event or an array.
func ParseReplies(body []byte) ([]Reply, error) {
	events, err := parseEvents(body)
	if err != nil {
		return nil, err
	}
	out := make([]Reply, 0, len(events))
	for _, e := range events {
		if e.Type() != TypeReply {
			return nil, fault.Invalidf("type", "%q is not %q", e.Type(), TypeReply)
		}
		var r Reply
		if err := json.Unmarshal(e.Data(), &r); err != nil {
			return nil, fault.Invalidf("data", "%w", err)
		}
		out = append(out, r)
	}
	return out, nil
}

// functionOf reads the function out of a request's CloudEvents type.
func functionOf(t string) (Function, bool) {
	rest, ok := strings.CutPrefix(t, typePrefix)
	if !ok {
		return "", false
	}
	rest, ok = strings.CutSuffix(rest, syncSuffix)
	if !ok {
		return "", false
	}
	for _, f := range every {
		if string(f) == rest {
			return f, true
		}
	}
	return "", false
}
