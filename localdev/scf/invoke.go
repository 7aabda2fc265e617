package scf

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// outcome is one invocation as its caller sees it.
type outcome struct {
	Invocation
	memoryMB int
	payload  []byte   // the function's answer
	failure  *Failure // or why there is none
	log      string   // the end of what the instance wrote
}

// invoke runs one event to its end, however it comes. A caller that goes away doesn't
// end it, as on the platform.
func (s *Server) invoke(f *function, via string, payload []byte) outcome {
	a := s.history.begin(Invocation{
		RequestID: tc3.NewRequestID(), Key: f.Key, Function: f.Name, Via: via, Start: time.Now(),
	})
	o := outcome{memoryMB: f.MemoryMB}
	r := result{failure: closing()}
	if s.enter() {
		r, o.log = s.attempt(f, a, payload)
		s.inflight.Done()
	}
	if r.failure != nil {
		r.failure.ErrorCode, r.failure.RequestID, r.payload = -1, a.RequestID, nil
	}
	o.Invocation = s.history.finish(a, r)
	o.payload, o.failure = r.payload, r.failure
	return o
}

func (s *Server) attempt(f *function, a *attempt, payload []byte) (result, string) {
	if failure := checkEvent(payload); failure != nil {
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
	now := time.Now()
	var r result
	if !s.history.handed(a, now) {
		r = in.handle(s.ctx, f.request(a.RequestID, payload, now))
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
func checkEvent(payload []byte) *Failure {
	if len(payload) > maxEvent {
		return &Failure{
			ErrorMessage: fmt.Sprintf("The event has %d bytes, at most %d are allowed", len(payload), maxEvent),
			StatusCode:   StatusRequestTooLarge,
		}
	}
	if !json.Valid(payload) {
		return &Failure{ErrorMessage: "The event is not JSON", StatusCode: StatusNotJSON}
	}
	return nil
}

// duration is the time the function had the event, in milliseconds.
func (o outcome) duration() float64 {
	if o.Handed.IsZero() {
		return 0
	}
	return float64(o.End.Sub(o.Handed)) / float64(time.Millisecond)
}

// tail is the log of the event as the platform frames it, at most its last 4 KB.
func (o outcome) tail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "START RequestId: %s\n", o.RequestID)
	b.WriteString(o.log)
	if o.log != "" && !strings.HasSuffix(o.log, "\n") {
		b.WriteByte('\n')
	}
	if o.failure != nil {
		fmt.Fprintf(&b, "ERROR RequestId: %s Result:%s\n", o.RequestID, o.failure.json())
	}
	fmt.Fprintf(&b, "END RequestId: %s\nReport RequestId: %s Duration:%.0fms Memory:%dMB MemUsage:%.6fMB\n",
		o.RequestID, o.RequestID, o.duration(), o.memoryMB, float64(o.Memory)/(1<<20))
	text := b.String()
	return text[max(0, len(text)-tailSize):]
}
