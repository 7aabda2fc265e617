package scf

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// Outcome is one invocation as its caller sees it.
type Outcome struct {
	Invocation
	// Answer is the function's, Failure why there is none.
	Answer  []byte
	Failure *Failure
	// Log is the end of what the instance wrote meanwhile, at most 4 KB.
	Log string
	// Lost tells that a Fault has kept the event from its function: nobody is to hear
	// anything.
	Lost bool

	memoryMB int
}

// delivery is one try to hand an event to a function.
type delivery struct {
	via, requestID string
	payload        []byte
	retry          int
	async          bool
}

func newRequestID() string { return tc3.NewRequestID() }

// invoke runs one event to its end, for a caller who waits. One that goes away doesn't
// end it, as on the platform.
func (s *Server) invoke(f *function, via string, payload []byte) Outcome {
	return s.run(f, delivery{via: via, requestID: newRequestID(), payload: payload})
}

// run is one try, with what goes wrong with it.
func (s *Server) run(f *function, d delivery) Outcome {
	seen := Invocation{
		RequestID: d.requestID, Key: f.Key, Function: f.Name, Via: d.via, Async: d.async, Retry: d.retry, Payload: d.payload, Start: time.Now(),
	}
	fault := s.fault(seen)
	if fault.Lose {
		seen.Payload = nil
		return Outcome{Invocation: seen, Lost: true}
	}
	o := s.carryOut(f, d, fault)
	if fault.Double {
		s.again(f, d)
	}
	return o
}

func (s *Server) carryOut(f *function, d delivery, fault *Fault) Outcome {
	a := s.history.begin(Invocation{
		RequestID: d.requestID, Key: f.Key, Function: f.Name, Via: d.via, Async: d.async, Retry: d.retry, Start: time.Now(),
	})
	o := Outcome{memoryMB: f.MemoryMB}
	r := result{failure: closing()}
	if s.enter() {
		r, o.Log = s.attempt(f, a, d.payload, fault)
		s.inflight.Done()
	}
	if r.failure != nil {
		r.failure.ErrorCode, r.failure.RequestID, r.payload = -1, a.RequestID, nil
	}
	o.Invocation = s.history.finish(a, r)
	o.Answer, o.Failure = r.payload, r.failure
	return o
}

func (s *Server) attempt(f *function, a *attempt, payload []byte, fault *Fault) (result, string) {
	if fault.Status != 0 {
		return result{failure: &Failure{ErrorMessage: fault.Status.String(), StatusCode: fault.Status}}, ""
	}
	if failure := checkEvent(payload, maxEvent); failure != nil {
		return result{failure: failure}, ""
	}
	in, cold, failure := f.acquire(s.ctx)
	if failure != nil {
		return result{failure: failure}, ""
	}

	inv := s.history.attach(a, in, cold)
	if s.opts.OnInvoke != nil {
		inv.Payload = payload
		s.opts.OnInvoke(s.ctx, inv)
	}
	in.log.begin()
	switch fault.Kill {
	case BeforeEvent:
		s.history.kill(a.RequestID)
	case DuringEvent:
		timer := time.AfterFunc(fault.In, func() { s.history.kill(a.RequestID) })
		defer timer.Stop()
	}
	now := time.Now()
	var r result
	if !s.history.handed(a, now) {
		r = in.handle(s.ctx, f.request(a.RequestID, payload, now))
	}
	if fault.Kill == AfterEvent {
		s.history.kill(a.RequestID)
	}
	if s.history.detach(a) {
		r.failure = &Failure{ErrorMessage: StatusProcessExit.String(), StatusCode: StatusProcessExit}
		r.recycle = true
	}
	log := in.log.text()
	f.release(in, r.recycle)

	if len(r.payload) > maxEvent {
		r.failure = &Failure{ErrorMessage: StatusResponseTooLarge.String(), StatusCode: StatusResponseTooLarge}
	}
	return r, log
}

// checkEvent refuses what never reaches a function.
func checkEvent(payload []byte, limit int) *Failure {
	if len(payload) > limit {
		return &Failure{
			ErrorMessage: fmt.Sprintf("The event has %d bytes, at most %d are allowed", len(payload), limit),
			StatusCode:   StatusRequestTooLarge,
		}
	}
	if !json.Valid(payload) {
		return &Failure{ErrorMessage: "The event is not JSON", StatusCode: StatusNotJSON}
	}
	return nil
}

// duration is the time the function had the event, in milliseconds.
func (o Outcome) duration() float64 {
	if o.Handed.IsZero() {
		return 0
	}
	return float64(o.End.Sub(o.Handed)) / float64(time.Millisecond)
}

// tail is the log of the event as the platform frames it, at most its last 4 KB.
func (o Outcome) tail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "START RequestId: %s\n", o.RequestID)
	b.WriteString(o.Log)
	if o.Log != "" && !strings.HasSuffix(o.Log, "\n") {
		b.WriteByte('\n')
	}
	if o.Failure != nil {
		fmt.Fprintf(&b, "ERROR RequestId: %s Result:%s\n", o.RequestID, o.Failure.json())
	}
	fmt.Fprintf(&b, "END RequestId: %s\nReport RequestId: %s Duration:%.0fms Memory:%dMB MemUsage:%.6fMB\n",
		o.RequestID, o.RequestID, o.duration(), o.memoryMB, float64(o.Memory)/(1<<20))
	text := b.String()
	return text[max(0, len(text)-tailSize):]
}
