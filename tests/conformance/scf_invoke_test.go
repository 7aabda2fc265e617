package conformance

import (
	"strings"
	"testing"

	scfapi "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

// fails is a fact about how an event fails: its documented status.
func fails(name, source, event string, status scf.Status, message string) scfFact {
	return scfFact{name: name, source: source, check: func(t *testing.T, p *platform) {
		got, f := p.failed(event)
		if got != int64(status) || f.StatusCode != status || !strings.Contains(f.ErrorMessage, message) {
			t.Errorf("want status %d and %q, got %d and %+v", status, message, got, f)
		}
	}}
}

// refuses is a fact about an event that the API itself refuses.
func refuses(name, source, event, want string, set ...func(*scfapi.InvokeFunctionRequest)) scfFact {
	return scfFact{name: name, source: source, check: func(t *testing.T, p *platform) {
		_, err := p.try(event, set...)
		refused(t, err, want)
	}}
}

// instance is a fact about which instance gets the next event.
func instance(name, source, event string, same bool) scfFact {
	return scfFact{name: name, source: source, check: func(t *testing.T, p *platform) {
		before := p.tell()
		p.call(event)
		if after := p.tell(); (before.PID == after.PID) != same {
			t.Errorf("process %d, then %d: the same one is %v, want %v", before.PID, after.PID, !same, same)
		}
	}}
}

const codes = "SCF, Function status codes (583/42611)"

func TestSCFInvoke(t *testing.T) {
	holdSCF(t, "SCF invocation", []scfFact{
		{name: "the event arrives and the answer returns unchanged", source: "SCF API InvokeFunction, Event and RetMsg", check: func(t *testing.T, p *platform) {
			const event = `{"a": [1, "é"]}`
			if r := p.call(event); *r.RetMsg != event || *r.ErrMsg != "" {
				t.Errorf("want %s, got %s and error %q", event, *r.RetMsg, *r.ErrMsg)
			}
		}},
		{name: "an event may be left out", source: "SCF API InvokeFunction, Event is not required", check: func(t *testing.T, p *platform) {
			r, err := p.try("", func(q *scfapi.InvokeFunctionRequest) { q.Event = nil })
			if err != nil || *r.RetMsg != "{}" {
				t.Errorf("want an empty object, got %+v, %v", r, err)
			}
		}},
		{name: "a success has InvokeResult 0", source: "SCF API Result, InvokeResult", check: func(t *testing.T, p *platform) {
			if r := p.call(`{}`); *r.InvokeResult != 0 {
				t.Errorf("want 0, got %d", *r.InvokeResult)
			}
		}},
		fails("an error of the function is in the result, as 430", codes, `{"do":"error","text":"no such thing"}`, scf.StatusUserCode, "no such thing"),
		fails("a panic is 430 with its message", codes, `{"do":"panic","text":"at the disco"}`, scf.StatusUserCode, "at the disco"),
		fails("a process that exits is 439", codes, `{"do":"exit"}`, scf.StatusProcessExit, "exit"),
		fails("the time limit is 433", codes, `{"do":"sleep","ms":60000}`, scf.StatusTimeout, "timed out after 2 seconds"),
		fails("the memory limit is 434", codes, `{"do":"allocate","mb":200}`, scf.StatusMemory, "128 MB"),
		fails("an answer above 6 MB is 407", codes, `{"do":"large","mb":6}`, scf.StatusResponseTooLarge, "6MB"),
		{name: "an error names its request", source: "seen in answers of SCF", check: func(t *testing.T, p *platform) {
			r := p.call(`{"do":"error","text":"x"}`)
			if !strings.Contains(*r.ErrMsg, *r.FunctionRequestId) {
				t.Errorf("request %s: %s", *r.FunctionRequestId, *r.ErrMsg)
			}
		}},
		{name: "a panic comes with its stack", source: "scf-go-lib, cloudfunction/function.go", check: func(t *testing.T, p *platform) {
			if _, f := p.failed(`{"do":"panic","text":"x"}`); !strings.Contains(f.StackTrace, "main.go:") {
				t.Errorf("want a frame of main.go, got %q", f.StackTrace)
			}
		}},
		refuses("an event that isn't JSON is refused", "SCF API InvokeFunction, error codes", "{", "InvalidParameterValue.Param"),
		refuses("an event above 6 MB is refused", "SCF, Quotas and limits (583/11637)", `"`+strings.Repeat("a", 6<<20)+`"`, "InvalidParameter.RequestTooLarge"),
		{name: "an event just below 6 MB is taken", source: "SCF, Quotas and limits (583/11637)", check: func(t *testing.T, p *platform) {
			event := `{"do":"echo","text":"` + strings.Repeat("a", 6<<20-64) + `"}`
			if r := p.call(event); *r.ErrMsg != "" || len(*r.RetMsg) != len(event) {
				t.Errorf("want its %d bytes back, got %d and %q", len(event), len(*r.RetMsg), *r.ErrMsg)
			}
		}},
		refuses("a function there isn't is refused", "SCF API InvokeFunction, error codes", `{}`, "ResourceNotFound.Function",
			func(q *scfapi.InvokeFunctionRequest) { q.FunctionName = new("no-such-function") }),
		refuses("a namespace there isn't is refused", "SCF API InvokeFunction, error codes", `{}`, "ResourceNotFound.Function",
			func(q *scfapi.InvokeFunctionRequest) { q.Namespace = new("nowhere") }),
		refuses("a qualifier there isn't is refused", "SCF API InvokeFunction, error codes", `{}`, "ResourceNotFound.Qualifier",
			func(q *scfapi.InvokeFunctionRequest) { q.Qualifier = new("7") }),
		refuses("the name is required", "SCF API InvokeFunction, FunctionName", `{}`, "MissingParameter",
			func(q *scfapi.InvokeFunctionRequest) { q.FunctionName = nil }),
		{name: "LogType Tail gives the log of the event", source: "SCF API InvokeFunction, LogType", check: func(t *testing.T, p *platform) {
			// What is written may take a moment longer than the answer.
			p.await("the log to have it all", func() bool {
				log := p.log(`{"do":"print","text":"to the log"}`)
				return strings.Contains(log, "to the log") && strings.HasPrefix(log, "START RequestId: ") && strings.Contains(log, "\nReport RequestId: ")
			})
		}},
		{name: "the log is at most 4 KB", source: "SCF API InvokeFunction, LogType", check: func(t *testing.T, p *platform) {
			p.await("a log of some length", func() bool {
				log := p.log(`{"do":"print","text":"` + strings.Repeat("x", 10_000) + `"}`)
				if len(log) > 4<<10 {
					t.Fatalf("got %d bytes", len(log))
				}
				return len(log) > 2<<10
			})
		}},
		{name: "without LogType there is no log", source: "SCF API InvokeFunction, LogType", check: func(t *testing.T, p *platform) {
			if r := p.call(`{"do":"print","text":"x"}`); *r.Log != "" {
				t.Errorf("want none, got %q", *r.Log)
			}
		}},
		{name: "the duration is that of the event, billed by the millisecond", source: "SCF API Result, Duration and BillDuration", check: func(t *testing.T, p *platform) {
			r := p.call(`{"do":"sleep","ms":100}`)
			if *r.Duration < 100 || float64(*r.BillDuration) < *r.Duration {
				t.Errorf("want at least 100 ms and all of it billed, got %v and %d", *r.Duration, *r.BillDuration)
			}
		}},
		{name: "the memory is what was used", source: "SCF API Result, MemUsage", check: func(t *testing.T, p *platform) {
			if r := p.call(`{"do":"allocate","mb":64}`); *r.MemUsage < 64<<20 || *r.MemUsage > memoryMB<<20 {
				t.Errorf("want between 64 and %d MB, got %d bytes", memoryMB, *r.MemUsage)
			}
		}},
	})
}

func TestSCFInstances(t *testing.T) {
	const source = "SCF, Concurrency overview"
	holdSCF(t, "SCF instances", []scfFact{
		instance("a warm instance gets the next event", source, `{}`, true),
		instance("an error of the function keeps the instance", source, `{"do":"error","text":"x"}`, true),
		instance("memory within the limit keeps the instance", source, `{"do":"allocate","mb":32}`, true),
		instance("a panic ends the instance", "scf-go-lib, ShouldExit; "+source, `{"do":"panic","text":"x"}`, false),
		instance("a timeout ends the instance", source, `{"do":"sleep","ms":60000}`, false),
		instance("too much memory ends the instance", source, `{"do":"allocate","mb":200}`, false),
		instance("an exit ends the instance", source, `{"do":"exit"}`, false),
		{name: "an instance has one event at a time", source: source, check: func(t *testing.T, p *platform) {
			results := make(chan string, 2)
			for range 2 {
				go func() {
					r, err := p.try(`{"do":"who","ms":1500}`)
					if err != nil {
						results <- err.Error()
						return
					}
					results <- *r.RetMsg
				}()
			}
			if a, b := <-results, <-results; a == b {
				t.Errorf("process %s had both of two events at a time", a)
			}
		}},
		{name: "an instance is frozen between events", source: "SCF, Function runtime; cli docs, event functions", needs: rig, check: func(t *testing.T, p *platform) {
			var before, after, later int
			p.answer(`{"do":"ticks"}`, &before)
			other := scfapi.NewInvokeFunctionRequest()
			other.FunctionName, other.Event = new(p.emulator.Function("other")), new(`{"do":"sleep","ms":500}`)
			if _, err := p.InvokeFunction(other); err != nil {
				t.Fatal(err)
			}
			p.answer(`{"do":"ticks"}`, &after)
			p.answer(`{"do":"sleep","ms":500}`, new(string))
			p.answer(`{"do":"ticks"}`, &later)
			if idle, busy := after-before, later-after; idle*2 > busy {
				t.Errorf("%d ticks while it had no event and %d in an event as long", idle, busy)
			}
		}},
		{name: "a process that exits before it is ready is 405", source: codes, needs: rig, check: func(t *testing.T, p *platform) {
			p.name = p.emulator.Function("crash")
			if got, f := p.failed(`{}`); got != int64(scf.StatusContainerExited) || !strings.Contains(f.ErrorMessage, "no such luck") {
				t.Errorf("want %d with what it wrote, got %d and %+v", scf.StatusContainerExited, got, f)
			}
		}},
		{name: "a process that isn't ready in time is 450", source: codes + "; SDK, InitTimeout", needs: rig, check: func(t *testing.T, p *platform) {
			p.name = p.emulator.Function("hang")
			if got, f := p.failed(`{}`); got != int64(scf.StatusInitTimeout) || !strings.Contains(f.ErrorMessage, "3 seconds") {
				t.Errorf("want %d after 3 seconds, got %d and %+v", scf.StatusInitTimeout, got, f)
			}
		}},
		{name: "a reserved quota of one instance has events one at a time", source: "SCF API PutReservedConcurrencyConfig; SCF, Concurrency overview", needs: rig, check: func(t *testing.T, p *platform) {
			q := scfapi.NewPutReservedConcurrencyConfigRequest()
			q.FunctionName, q.ReservedConcurrencyMem = &p.name, new(uint64(memoryMB))
			if _, err := p.PutReservedConcurrencyConfig(q); err != nil {
				t.Fatal(err)
			}
			get := scfapi.NewGetReservedConcurrencyConfigRequest()
			get.FunctionName = &p.name
			if a, err := p.GetReservedConcurrencyConfig(get); err != nil || *a.Response.ReservedMem != memoryMB {
				t.Errorf("got %+v, %v", a, err)
			}
			release := p.occupy()
			if got, f := p.failed(`{}`); got != int64(scf.StatusConcurrency) || !strings.Contains(f.ErrorMessage, "reserved quota") {
				t.Errorf("want %d, got %d and %+v", scf.StatusConcurrency, got, f)
			}
			release()
			remove := scfapi.NewDeleteReservedConcurrencyConfigRequest()
			remove.FunctionName = &p.name
			if _, err := p.DeleteReservedConcurrencyConfig(remove); err != nil {
				t.Fatal(err)
			}
			release = p.occupy()
			defer release()
			if r := p.call(`{}`); *r.ErrMsg != "" {
				t.Errorf("without it: %s", *r.ErrMsg)
			}
		}},
		{name: "12,800 MB of a region can't be reserved", source: "SCF API PutReservedConcurrencyConfig, ReservedConcurrencyMem", needs: rig, check: func(t *testing.T, p *platform) {
			q := scfapi.NewPutReservedConcurrencyConfigRequest()
			q.FunctionName, q.ReservedConcurrencyMem = &p.name, new(uint64(128_000-12_800+128))
			_, err := p.PutReservedConcurrencyConfig(q)
			refused(t, err, "LimitExceeded.FunctionReservedConcurrencyMemory")
		}},
		{name: "Invoke takes 100 calls a second", source: "SCF API Invoke (583/17243)", needs: rig, check: func(t *testing.T, p *platform) {
			limited := 0
			for range 300 {
				// Refused for what it is, after it was counted.
				q := scfapi.NewInvokeRequest()
				q.FunctionName = new("no-such-function")
				if _, err := p.Invoke(q); code(err) == "RequestLimitExceeded" {
					limited++
				}
			}
			if limited == 0 {
				t.Error("300 calls at once were all taken")
			}
		}},
		{name: "InvokeFunction far more", source: "SCF API InvokeFunction (583/58400)", needs: rig, check: func(t *testing.T, p *platform) {
			for range 300 {
				_, err := p.try(`{}`, func(q *scfapi.InvokeFunctionRequest) { q.FunctionName = new("no-such-function") })
				refused(t, err, "ResourceNotFound.Function")
			}
		}},
		{name: "one event too many for the quota is 432", source: codes, needs: rig, options: []func(*scf.Options){one}, check: func(t *testing.T, p *platform) {
			release := p.occupy()
			defer release()
			if got, f := p.failed(`{}`); got != int64(scf.StatusConcurrency) || f.StatusCode != scf.StatusConcurrency {
				t.Errorf("want %d, got %d and %+v", scf.StatusConcurrency, got, f)
			}
		}},
	})
}

func TestSCFRuntime(t *testing.T) {
	holdSCF(t, "SCF runtime", []scfFact{
		{name: "the environment has the role's credentials", source: "SCF, Environment variables (583/14570)", check: func(t *testing.T, p *platform) {
			env := p.tell().Environment
			for _, name := range []string{"TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN"} {
				if env[name] == "" {
					t.Errorf("%s is missing", name)
				}
			}
		}},
		{name: "the credentials are made anew for each event", source: "scf-go-lib, InvokeRequest.Environment", needs: rig, check: func(t *testing.T, p *platform) {
			a, b := p.tell(), p.tell()
			if a.PID != b.PID || a.Environment["TENCENTCLOUD_SECRETID"] == b.Environment["TENCENTCLOUD_SECRETID"] {
				t.Errorf("processes %d and %d with %s and %s", a.PID, b.PID, a.Environment["TENCENTCLOUD_SECRETID"], b.Environment["TENCENTCLOUD_SECRETID"])
			}
		}},
		{name: "the environment says where the function runs", source: "SCF, Environment variables (583/14570)", check: func(t *testing.T, p *platform) {
			env := p.tell().Environment
			if env["TENCENTCLOUD_RUNENV"] != "SCF" || env["SCF_FUNCTIONNAME"] != p.name || env["TENCENTCLOUD_REGION"] == "" {
				t.Errorf("got %q in %q as %q", env["TENCENTCLOUD_RUNENV"], env["TENCENTCLOUD_REGION"], env["SCF_FUNCTIONNAME"])
			}
		}},
		{name: "the function's own variables are set", source: "SCF API CreateFunction, Environment", needs: rig, check: func(t *testing.T, p *platform) {
			if got := p.tell().Environment["GREETING"]; got != "hello" {
				t.Errorf("want hello, got %q", got)
			}
		}},
		{name: "variables of this machine don't reach it", source: "the environment is the platform's", needs: rig, check: func(t *testing.T, p *platform) {
			for name := range p.tell().Environment {
				if strings.HasPrefix(name, "GO") || name == "USER" || name == "SHELL" {
					t.Errorf("%s is set", name)
				}
			}
		}},
		{name: "the context has the request's id", source: "scf-go-lib, functioncontext", check: func(t *testing.T, p *platform) {
			var d told
			r := p.answer(`{"do":"context"}`, &d)
			if d.Context.RequestID != *r.FunctionRequestId {
				t.Errorf("want %s, got %s", *r.FunctionRequestId, d.Context.RequestID)
			}
		}},
		{name: "the context has the function and its limits", source: "scf-go-lib, functioncontext", check: func(t *testing.T, p *platform) {
			c := p.tell().Context
			if c.FunctionName != p.name || c.FunctionVersion != "$LATEST" || c.MemoryLimitInMb != memoryMB || c.TimeLimitInMs != int(timeLimit.Milliseconds()) {
				t.Errorf("got %+v", c)
			}
		}},
		{name: "the context's deadline is the time limit", source: "scf-go-lib, InvokeRequest.Deadline", check: func(t *testing.T, p *platform) {
			if ms := p.tell().RemainingMs; ms <= 0 || ms > int(timeLimit.Milliseconds()) {
				t.Errorf("want at most %s, got %d ms", timeLimit, ms)
			}
		}},
	})
}
