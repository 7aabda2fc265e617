// Package fault makes things go wrong, on demand: by the Go API for tests, by HTTP and by
// `localdev fault` for people. The emulators carry the faults out themselves, where they
// would happen on the real thing; production code never knows.
package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/cluster"
	"github.com/clb-direct/clb-direct/localdev/link"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Any as an action or function stands for all of them.
const Any = "*"

// Rule says what goes wrong, with what, and how often. It is about calls of the CLB API or
// about events of functions, never both.
type Rule struct {
	// ID is given by Set.
	ID string `json:"id,omitempty"`
	// Call is an action of the CLB API, Event a function's key, or Any.
	Call  string `json:"call,omitempty"`
	Event string `json:"event,omitempty"`
	// LoadBalancer limits a rule about calls to those that name it first.
	LoadBalancer string `json:"loadBalancer,omitempty"`
	// Skip lets so many pass first; Times is how many then have it, 0 for all from then on.
	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`

	// BeforeMillis holds a call or event before it is looked at, AfterMillis a call before it
	// is answered.
	BeforeMillis int `json:"beforeMillis,omitempty"`
	AfterMillis  int `json:"afterMillis,omitempty"`
	// Code refuses a call with an API error, Message is what it says.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Drop carries a call out and breaks the connection off instead of answering.
	Drop bool `json:"drop,omitempty"`
	// FailTask has the task that a call starts fail with that message.
	FailTask string `json:"failTask,omitempty"`

	// Lose, Double, Status and Kill with InMillis are those of scf.Fault.
	Lose     bool       `json:"lose,omitempty"`
	Double   bool       `json:"double,omitempty"`
	Status   scf.Status `json:"status,omitempty"`
	Kill     scf.Moment `json:"kill,omitempty"`
	InMillis int        `json:"inMillis,omitempty"`

	// Met is how many calls or events have had it.
	Met int `json:"met,omitempty"`
	// seen counts those that matched.
	seen int
}

// Faults holds the rules and switches. Make one with New.
type Faults struct {
	mu   sync.Mutex
	next int
	all  []*Rule
	undo []func()

	parts     Parts
	switching sync.Mutex // for changes, one at a time
	switches  Switches
}

// Parts are what things go wrong in. Any may be missing; then nothing does there.
type Parts struct {
	CLB     *clb.Server
	SCF     *scf.Server
	Store   *tc3.Store
	Nodes   *node.Fleet
	Cluster *cluster.Cluster
	// Link is the forwarder's way to the API server.
	Link *link.Link
}

// New has the emulators ask for faults, none at first.
func New(p Parts) *Faults {
	f := &Faults{parts: p}
	if p.CLB != nil {
		f.undo = append(f.undo, p.CLB.Intercept(f.call))
	}
	if p.SCF != nil {
		f.undo = append(f.undo, p.SCF.Intercept(f.event))
	}
	return f
}

// Close takes all faults away for good, and switches everything off.
func (f *Faults) Close() {
	_ = f.set(Switches{}) // off never fails
	for _, undo := range f.undo {
		undo()
	}
}

// Set adds a rule and gives its id. Of several rules about a call or event the earliest
// that still has times left decides.
func (f *Faults) Set(r Rule) (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	r.ID, r.Met = strconv.Itoa(f.next), 0
	f.all = append(f.all, &r)
	return r.ID, nil
}

// Clear takes a rule away, all of them where id is Any.
func (f *Faults) Clear(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.all)
	f.all = slices.DeleteFunc(f.all, func(r *Rule) bool { return id == Any || r.ID == id })
	if id != Any && len(f.all) == before {
		return fmt.Errorf("there is no fault %s", id)
	}
	return nil
}

// List is the rules, oldest first.
func (f *Faults) List() []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Rule, 0, len(f.all))
	for _, r := range f.all {
		out = append(out, *r)
	}
	return out
}

// check refuses a rule that could do nothing, or not what it says, naming the field.
func (r Rule) check() error {
	calls := r.AfterMillis != 0 || r.Code != "" || r.Message != "" || r.Drop || r.FailTask != "" || r.LoadBalancer != ""
	events := r.Lose || r.Double || r.Status != 0 || r.Kill != "" || r.InMillis != 0
	switch {
	case (r.Call == "") == (r.Event == ""):
		return errors.New("call, event: want one of them: an action of the CLB API, a function, or " + Any)
	case r.Skip < 0 || r.Times < 0 || r.BeforeMillis < 0 || r.AfterMillis < 0 || r.InMillis < 0:
		return errors.New("skip, times, beforeMillis, afterMillis, inMillis: want no number below 0")
	case r.Event != "" && calls:
		return errors.New("event: afterMillis, code, message, drop, failTask and loadBalancer are for calls")
	case r.Call != "" && events:
		return errors.New("call: lose, double, status, kill and inMillis are for events")
	case !calls && !events && r.BeforeMillis == 0:
		return errors.New("nothing would go wrong: want one of beforeMillis, afterMillis, code, drop, failTask, lose, double, status and kill")
	case r.Message != "" && r.Code == "":
		return errors.New("message: want a code with it")
	case r.Kill != "" && r.Kill != scf.BeforeEvent && r.Kill != scf.DuringEvent && r.Kill != scf.AfterEvent:
		return fmt.Errorf("kill: is %q, want %s, %s or %s", r.Kill, scf.BeforeEvent, scf.DuringEvent, scf.AfterEvent)
	}
	return nil
}

// take finds the rule that decides, and counts.
func (f *Faults) take(about func(*Rule) bool) (Rule, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.all {
		if !about(r) || r.Times > 0 && r.Met >= r.Times {
			continue
		}
		if r.seen++; r.seen <= r.Skip {
			continue
		}
		r.Met++
		return *r, true
	}
	return Rule{}, false
}

func (f *Faults) call(_ context.Context, c clb.Call) *clb.Fault {
	r, found := f.take(func(r *Rule) bool {
		return (r.Call == c.Action || r.Call == Any) && (r.LoadBalancer == "" || r.LoadBalancer == c.LoadBalancerID)
	})
	if !found {
		return nil
	}
	out := &clb.Fault{Before: millis(r.BeforeMillis), After: millis(r.AfterMillis), Drop: r.Drop, FailTask: r.FailTask}
	if r.Code != "" {
		message := r.Message
		if message == "" {
			message = "made to fail"
		}
		out.Error = &tc3.Error{Code: r.Code, Message: message}
	}
	return out
}

func (f *Faults) event(_ context.Context, i scf.Invocation) *scf.Fault {
	r, found := f.take(func(r *Rule) bool { return r.Event == i.Key || r.Event == Any })
	if !found {
		return nil
	}
	return &scf.Fault{Before: millis(r.BeforeMillis), Lose: r.Lose, Double: r.Double, Status: r.Status, Kill: r.Kill, In: millis(r.InMillis)}
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }
