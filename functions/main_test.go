package main

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tencentyun/scf-go-lib/functioncontext"

	"github.com/clb-direct/clb-direct/functions/backends"
	"github.com/clb-direct/clb-direct/functions/explain"
	"github.com/clb-direct/clb-direct/functions/frontend"
	"github.com/clb-direct/clb-direct/functions/readiness"
	"github.com/clb-direct/clb-direct/functions/resync"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
)

func TestConsoleTestEventsDecode(t *testing.T) {
	events := map[event.Function][]byte{
		event.Frontend: frontend.TestEvent, event.Backends: backends.TestEvent, event.Readiness: readiness.TestEvent,
		event.Resync: resync.TestEvent, event.Explain: explain.TestEvent,
	}
	for function := range handlers {
		if events[function] == nil {
			t.Errorf("function %s has no console test event", function)
		}
	}
	for function, raw := range events {
		t.Run(string(function), func(t *testing.T) {
			d, err := event.Decode(raw, event.Receiver{}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Requests) != 1 || d.Requests[0].Function != function {
				t.Errorf("the test event of %s decodes to %+v", function, d.Requests)
			}
		})
	}
}

func TestEveryFunctionHasAHandler(t *testing.T) {
	for _, f := range append([]event.Function{event.Resync, event.Explain}, event.Functions...) {
		if handlers[f] == nil {
			t.Errorf("function %s has no handler", f)
		}
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	cases := map[string]struct {
		reason, name, field string
	}{
		"Name":          {reason: "the name says which function it is", name: "clb-direct-dev-clb-direct-nobody", field: "function name"},
		"Configuration": {reason: "nothing is configured", name: "clb-direct-dev-clb-direct-frontend"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			i := &instance{log: slog.New(slog.DiscardHandler)}
			ctx := functioncontext.NewContext(t.Context(), &functioncontext.FunctionContext{FunctionName: c.name})
			_, err := i.Invoke(ctx, []byte("{}"))
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Field != c.field {
				t.Errorf("%s: got %v, want an Invalid fault about %q", c.reason, err, c.field)
			}
		})
	}
}
