package scf_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// once is an interceptor for the first event that comes.
func once(f scf.Fault) scf.Interceptor {
	var met atomic.Bool
	return func(context.Context, scf.Invocation) *scf.Fault {
		if met.Swap(true) {
			return nil
		}
		return &f
	}
}

func TestFaults(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  scf.Fault
		event  string
		status scf.Status
		// runs is how often the function had the event.
		runs int
	}{
		"Status":     {"refused as the platform does", scf.Fault{Status: scf.StatusBurst}, `{}`, scf.StatusBurst, 0},
		"KillBefore": {"gone before it had the event", scf.Fault{Kill: scf.BeforeEvent}, `{}`, scf.StatusProcessExit, 0},
		"KillDuring": {"gone while it was at it", scf.Fault{Kill: scf.DuringEvent, In: 100 * time.Millisecond}, `{"do":"sleep","ms":60000}`, scf.StatusProcessExit, 1},
		"KillAfter":  {"gone with its answer", scf.Fault{Kill: scf.AfterEvent}, `{}`, scf.StatusProcessExit, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := start(t, nil)
			defer e.Intercept(once(tc.fault))()
			result := e.invoke("plain", tc.event)
			if got := scf.Status(*result.InvokeResult); got != tc.status {
				t.Errorf("%s: want status %d, got %d: %s", tc.reason, tc.status, got, *result.ErrMsg)
			}
			runs := 0
			if !e.last().Handed.IsZero() {
				runs++
			}
			if runs != tc.runs {
				t.Errorf("%s: the function had the event %d times, want %d", tc.reason, runs, tc.runs)
			}
			if result := e.invoke("plain", `{}`); *result.ErrMsg != "" {
				t.Errorf("%s: the next event failed too: %s", tc.reason, *result.ErrMsg)
			}
		})
	}
}

func TestLostEvents(t *testing.T) {
	e := start(t, nil)
	defer e.Intercept(func(context.Context, scf.Invocation) *scf.Fault { return &scf.Fault{Lose: true} })()
	if _, err := e.tryInvoke("plain", `{}`); code(err) != "ClientError.NetworkError" {
		t.Errorf("by API: want the connection broken off, got %v", err)
	}
	a, err := http.Post(e.URL("url"), "application/json", strings.NewReader(`{}`))
	if err == nil {
		a.Body.Close()
		t.Errorf("by URL: want the connection broken off, got %s", a.Status)
	}
	p, err := e.FireTimer("timed", "often")
	if err != nil {
		t.Fatal(err)
	}
	if o, err := p.Wait(t.Context()); err != nil || !o.Lost {
		t.Errorf("a timer's: want it lost, got %+v, %v", o, err)
	}
	if all := e.Invocations(); len(all) > 0 {
		t.Errorf("the functions had %d events", len(all))
	}
}

func TestDoubledEvents(t *testing.T) {
	e := start(t, nil)
	defer e.Intercept(once(scf.Fault{Double: true}))()
	result := e.invoke("plain", `{}`)
	await(t, "the second time", func() bool {
		all := e.Invocations()
		return len(all) == 2 && all[1].Status == scf.StatusOK
	})
	for _, i := range e.Invocations() {
		if i.RequestID != *result.FunctionRequestId {
			t.Errorf("want both of request %s, got %s", *result.FunctionRequestId, i.RequestID)
		}
	}
}

// TestDelayedEvents: what is held back is overtaken.
func TestDelayedEvents(t *testing.T) {
	e := start(t, nil)
	held := make(chan struct{})
	var first atomic.Bool
	defer e.Intercept(func(ctx context.Context, _ scf.Invocation) *scf.Fault {
		if !first.CompareAndSwap(false, true) {
			return nil
		}
		close(held)
		return &scf.Fault{Before: 300 * time.Millisecond}
	})()
	slow := make(chan error, 1)
	go func() {
		_, err := e.tryInvoke("plain", `{"first":true}`)
		slow <- err
	}()
	<-held
	e.invoke("plain", `{}`)
	if len(slow) > 0 {
		t.Fatal("the one that was held back came first")
	}
	if err := <-slow; err != nil {
		t.Error(err)
	}
	all := e.Invocations()
	if len(all) != 2 || !all[0].Handed.Before(all[1].Handed) {
		t.Errorf("got %+v", all)
	}
}
