package scf_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// epoch is a full minute.
var epoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// startClocked starts an emulator that goes by a clock of the test's.
func startClocked(t *testing.T, change func(*scf.Options)) (*emulator, *clocktesting.FakeClock) {
	t.Helper()
	clk := clocktesting.NewFakeClock(epoch)
	return start(t, func(o *scf.Options) {
		o.Clock = clk
		if change != nil {
			change(o)
		}
	}), clk
}

// step lets a wait of the emulator's be over.
func step(t *testing.T, clk *clocktesting.FakeClock, d time.Duration) {
	t.Helper()
	await(t, "the emulator to wait", clk.HasWaiters)
	clk.Step(d)
}

// invokeEvent calls Invoke, asynchronously.
func (e *emulator) invokeEvent(key, event string) (string, error) {
	request := api.NewInvokeRequest()
	name := e.Function(key)
	request.FunctionName, request.ClientContext = &name, &event
	request.InvocationType = common.StringPtr("Event")
	response, err := e.client.Invoke(request)
	if err != nil {
		return "", err
	}
	r := response.Response
	if got, want := *r.Result.FunctionRequestId, *r.RequestId; got != want || *r.Result.RetMsg+*r.Result.ErrMsg+*r.Result.Log != "" {
		e.t.Errorf("accepted as %s by request %s with %+v, want the same id and nothing else", got, want, r.Result)
	}
	return *r.Result.FunctionRequestId, nil
}

// tries lists the tries of a request that have ended.
func (e *emulator) tries(id string) []scf.Invocation {
	var found []scf.Invocation
	for _, i := range e.Invocations() {
		if i.RequestID == id && !i.End.IsZero() {
			found = append(found, i)
		}
	}
	return found
}

// status asks for an asynchronous request by API.
func (e *emulator) status(key, id string) []*api.RequestStatus {
	e.t.Helper()
	request := api.NewGetRequestStatusRequest()
	name := e.Function(key)
	request.FunctionName, request.FunctionRequestId = &name, &id
	response, err := e.client.GetRequestStatus(request)
	if err != nil {
		e.t.Fatal(err)
	}
	if n := int(*response.Response.TotalCount); n != len(response.Response.Data) {
		e.t.Errorf("TotalCount %d of %d", n, len(response.Response.Data))
	}
	return response.Response.Data
}

func TestAsynchronousInvoke(t *testing.T) {
	e, _ := startClocked(t, nil)
	id, err := e.invokeEvent("plain", `{"do":"sleep","ms":60000}`)
	if err != nil {
		t.Fatal(err)
	}
	running := e.running("plain", 1)[0]
	if running.RequestID != id || !running.Async || running.Via != "Invoke" {
		t.Errorf("running %+v, want %s by Invoke, asynchronous", running, id)
	}
	if got := e.status("plain", id); len(got) != 1 || *got[0].RetCode != 1 {
		t.Errorf("status of one that runs: %+v, want RetCode 1", got)
	}

	id, err = e.invokeEvent("plain", `{"a":1}`)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the event to be through", func() bool { return len(e.tries(id)) == 1 })
	got := e.status("plain", id)
	if len(got) != 1 || *got[0].RetCode != 0 || *got[0].RetMsg != `{"a":1}` || *got[0].RetryNum != 0 {
		t.Errorf("status of one that is through: %+v, want RetCode 0 and its answer", got)
	}
	if got := e.status("plain", "no-such-request"); len(got) != 0 {
		t.Errorf("status of one there isn't: %+v", got)
	}
	if got := e.status("url", id); len(got) != 0 {
		t.Errorf("status at another function: %+v", got)
	}
}

// TestAsynchronousWaitsForAPlace: what the platform can't run it keeps, for six hours.
func TestAsynchronousWaitsForAPlace(t *testing.T) {
	e, clk := startClocked(t, func(o *scf.Options) { o.Concurrency = 1 })
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		_, _ = e.tryInvoke("plain", `{"do":"sleep","ms":60000}`)
	}()
	e.running("plain", 1)
	kept, err := e.invokeEvent("plain", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	const more = 5 // than a function's own failures would get
	for n := 1; n <= more; n++ {
		await(t, "a try", func() bool { return len(e.tries(kept)) == n })
		if got := e.tries(kept)[n-1].Status; got != scf.StatusConcurrency {
			t.Fatalf("ended with %d, want %d", got, scf.StatusConcurrency)
		}
		if n < more {
			step(t, clk, time.Minute)
		}
	}
	e.Kill("plain")
	<-busy
	step(t, clk, time.Minute)
	await(t, "it to be through", func() bool { return len(e.tries(kept)) == more+1 && e.last().Status == scf.StatusOK })
}

func TestTimersFire(t *testing.T) {
	var got atomic.Value
	e, clk := startClocked(t, func(o *scf.Options) {
		o.Timers = true
		o.OnInvoke = func(_ context.Context, i scf.Invocation) { got.Store(string(i.Payload)) }
	})
	fired := func() int { return len(e.Invocations()) }
	step(t, clk, 19*time.Second)
	await(t, "the timer to wait on", clk.HasWaiters)
	if n := fired(); n != 0 {
		t.Fatalf("fired %d times before its time", n)
	}
	for n := 1; n <= 2; n++ {
		step(t, clk, 20*time.Second)
		await(t, "the event to be through", func() bool { return fired() == n && !e.last().End.IsZero() })
		want := fmt.Sprintf(`{"Type":"Timer","TriggerName":"often","Time":"2026-11-01T12:00:%d0Z","Message":"a word"}`, 2*n)
		if diff := cmp.Diff(want, got.Load()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if i := e.last(); i.Key != "timed" || i.Via != "timer" || !i.Async || i.Status != scf.StatusOK {
			t.Errorf("logged %+v", i)
		}
	}
	// What passed while the clock jumped is not made up for.
	step(t, clk, 10*time.Minute)
	await(t, "the event to be through", func() bool { return fired() == 3 && !e.last().End.IsZero() })
	await(t, "the timer to wait on", clk.HasWaiters)
	if n := fired(); n != 3 {
		t.Errorf("fired %d times, want 3", n)
	}
}

// TestTimersOverlap: a timer doesn't wait for what it fired before.
func TestTimersOverlap(t *testing.T) {
	release := make(chan struct{})
	e, clk := startClocked(t, func(o *scf.Options) {
		o.Timers = true
		o.OnInvoke = func(ctx context.Context, _ scf.Invocation) {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	})
	for n := 1; n <= 2; n++ {
		step(t, clk, 20*time.Second)
		await(t, "an instance", func() bool {
			all := e.Invocations()
			return len(all) == n && all[n-1].PID != 0
		})
	}
	all := e.Invocations()
	if all[0].PID == all[1].PID || all[0].RequestID == all[1].RequestID {
		t.Errorf("both in process %d, want one each", all[0].PID)
	}
	close(release)
}

func TestTimersAreOffUnlessAsked(t *testing.T) {
	e, clk := startClocked(t, nil)
	if clk.HasWaiters() {
		t.Error("a timer waits")
	}
	p, err := e.FireTimer("timed", "never")
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Type":"Timer","TriggerName":"never","Time":"2026-11-01T12:00:00Z","Message":""}`
	if diff := cmp.Diff(want, string(o.Answer)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for key, name := range map[string]string{"timed": "other", "nobody": "often"} {
		if _, err := e.FireTimer(key, name); err == nil {
			t.Errorf("timer %s of %s was fired", name, key)
		}
	}
}

func TestFireEventBridgeAndTest(t *testing.T) {
	e := start(t, nil)
	cases := map[string]struct {
		fire func() (*scf.Pending, error)
		want string
	}{
		"One":  {func() (*scf.Pending, error) { return e.FireEventBridge("plain", json.RawMessage(`{"id":"1"}`)) }, `{"id":"1"}`},
		"List": {func() (*scf.Pending, error) { return e.FireEventBridgeList("plain", json.RawMessage(`{"id":"1"}`)) }, `{"EventList":[{"id":"1"}]}`},
		"None": {func() (*scf.Pending, error) { return e.FireEventBridgeList("plain") }, `{"EventList":[]}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := tc.fire()
			if err != nil {
				t.Fatal(err)
			}
			o, err := p.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(o.Answer)); diff != "" || o.Via != "eventbridge" || !o.Async {
				t.Errorf("%+v, -want +got:\n%s", o.Invocation, diff)
			}
		})
	}
	o, err := e.Test("plain", []byte(`{"do":"error","text":"told"}`))
	if err != nil {
		t.Fatal(err)
	}
	if o.Failure == nil || o.Failure.ErrorMessage != "told" || o.Via != "console" || o.Async {
		t.Errorf("console: %+v %+v", o.Failure, o.Invocation)
	}
	if _, err := e.Test("nobody", nil); err == nil {
		t.Error("a function there isn't was tested")
	}
	if _, err := e.FireEventBridge("plain", json.RawMessage("{")); err == nil {
		t.Error("an event that isn't JSON was taken")
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	e, clk := startClocked(t, nil)
	id, err := e.invokeEvent("plain", `{"do":"error"}`)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "a try", func() bool { return len(e.tries(id)) == 1 && clk.HasWaiters() })
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.FireTimer("timed", "often"); err == nil {
		t.Error("a closed emulator took an event")
	}
}
