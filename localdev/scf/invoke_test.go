package scf_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestInvokeFunction(t *testing.T) {
	e := start(t, nil)
	cases := map[string]struct {
		reason string
		key    string
		event  string
		answer string
		want   scf.Failure
		// again tells whether the next event finds the same process.
		again bool
	}{
		"Echo": {
			reason: "The event arrives unchanged, and the answer too.",
			key:    "plain",
			event:  `{"a": [1, "é"]}`,
			answer: `{"a": [1, "é"]}`,
			again:  true,
		},
		"NoEvent": {
			reason: "An event is optional and then an empty object.",
			key:    "plain",
			answer: `{}`,
			again:  true,
		},
		"Error": {
			reason: "An error of the function is its message; the instance stays.",
			key:    "plain",
			event:  `{"do":"error","text":"no such thing"}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "no such thing", StatusCode: scf.StatusUserCode},
			again:  true,
		},
		"Panic": {
			reason: "After a panic the instance is not used again.",
			key:    "plain",
			event:  `{"do":"panic","text":"at the disco"}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "at the disco", StatusCode: scf.StatusUserCode},
		},
		"Exit": {
			reason: "A process that exits loses its event.",
			key:    "plain",
			event:  `{"do":"exit"}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "User process exit when running", StatusCode: scf.StatusProcessExit},
		},
		"Timeout": {
			reason: "The time limit ends the process, whatever it does.",
			key:    "short",
			event:  `{"do":"sleep","ms":60000}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "Invoking task timed out after 1 seconds", StatusCode: scf.StatusTimeout},
		},
		"Memory": {
			reason: "So does the memory limit.",
			key:    "plain",
			event:  `{"do":"allocate","mb":200}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "Task memory exceeded 128 MB", StatusCode: scf.StatusMemory},
		},
		"WithinMemory": {
			reason: "Below it nothing happens.",
			key:    "plain",
			event:  `{"do":"allocate","mb":64}`,
			answer: fmt.Sprint(64 << 20),
			again:  true,
		},
		"LargeAnswer": {
			reason: "An answer above 6 MB is thrown away.",
			key:    "url",
			event:  `{"do":"large","mb":6}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "The size of response exceeds the upper limit (6MB)", StatusCode: scf.StatusResponseTooLarge},
			again:  true,
		},
		"CrashAtStart": {
			reason: "A process that can't start is told apart, with what it wrote.",
			key:    "crash",
			event:  `{}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "The process exited before it was ready: no such luck", StatusCode: scf.StatusContainerExited},
		},
		"HangAtStart": {
			reason: "And one that doesn't listen in time.",
			key:    "hang",
			event:  `{}`,
			want:   scf.Failure{ErrorCode: -1, ErrorMessage: "The process was not ready after 3 seconds", StatusCode: scf.StatusInitTimeout},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			result := e.invoke(tc.key, tc.event)
			invocation := e.last()

			var failure scf.Failure
			if *result.ErrMsg != "" {
				if err := json.Unmarshal([]byte(*result.ErrMsg), &failure); err != nil {
					t.Fatalf("%s: ErrMsg %q: %v", tc.reason, *result.ErrMsg, err)
				}
				if failure.RequestID != *result.FunctionRequestId {
					t.Errorf("%s: ErrMsg of request %s, result of %s", tc.reason, failure.RequestID, *result.FunctionRequestId)
				}
			}
			ignore := cmpopts.IgnoreFields(scf.Failure{}, "RequestID", "StackTrace")
			if diff := cmp.Diff(tc.want, failure, ignore); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.answer, *result.RetMsg); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
			if got := *result.InvokeResult; got != int64(tc.want.StatusCode) {
				t.Errorf("%s: InvokeResult %d, want %d", tc.reason, got, tc.want.StatusCode)
			}
			if invocation.RequestID != *result.FunctionRequestId || invocation.Via != "InvokeFunction" {
				t.Errorf("%s: logged as %s by %s, want %s by InvokeFunction", tc.reason, invocation.RequestID, invocation.Via, *result.FunctionRequestId)
			}
			want := tc.want.StatusCode
			if want == 0 {
				want = scf.StatusOK
			}
			if invocation.Status != want || invocation.End.IsZero() {
				t.Errorf("%s: logged %+v, want status %d", tc.reason, invocation, want)
			}

			if invocation.PID == 0 {
				return
			}
			e.invoke(tc.key, `{}`)
			if got := e.last().PID == invocation.PID; got != tc.again {
				t.Errorf("%s: next event on the same process: %v, want %v", tc.reason, got, tc.again)
			}
			if !tc.again && processState(invocation.PID) != "" {
				t.Errorf("%s: process %d is still there", tc.reason, invocation.PID)
			}
		})
	}
}

func TestInvokeRefusals(t *testing.T) {
	e := start(t, nil)
	name := e.Function("plain")
	cases := map[string]struct {
		reason string
		change func(*api.InvokeFunctionRequest)
		region string
		want   string
	}{
		"UnknownFunction": {
			reason: "There is no such function.",
			change: func(r *api.InvokeFunctionRequest) { r.FunctionName = common.StringPtr("plain") },
			want:   "ResourceNotFound.Function",
		},
		"OtherNamespace": {
			reason: "Not in that namespace.",
			change: func(r *api.InvokeFunctionRequest) { r.Namespace = common.StringPtr("other") },
			want:   "ResourceNotFound.Function",
		},
		"OtherQualifier": {
			reason: "Nothing is published.",
			change: func(r *api.InvokeFunctionRequest) { r.Qualifier = common.StringPtr("7") },
			want:   "ResourceNotFound.Qualifier",
		},
		"NoName": {
			reason: "The name is required.",
			change: func(r *api.InvokeFunctionRequest) { r.FunctionName = nil },
			want:   "MissingParameter",
		},
		"NotJSON": {
			reason: "An event that isn't JSON never reaches the function.",
			change: func(r *api.InvokeFunctionRequest) { r.Event = common.StringPtr("{") },
			want:   "InvalidParameterValue.Param",
		},
		"TooLarge": {
			reason: "Nor one above 6 MB.",
			change: func(r *api.InvokeFunctionRequest) {
				r.Event = common.StringPtr(`"` + strings.Repeat("a", 6<<20) + `"`)
			},
			want: "InvalidParameter.RequestTooLarge",
		},
		"OtherRegion": {
			reason: "Functions live in a region.",
			region: "ap-tokyo",
			want:   "UnsupportedRegion",
		},
	}
	for caseName, tc := range cases {
		t.Run(caseName, func(t *testing.T) {
			request := api.NewInvokeFunctionRequest()
			request.FunctionName = &name
			if tc.change != nil {
				tc.change(request)
			}
			region := scf.DefaultRegion
			if tc.region != "" {
				region = tc.region
			}
			_, err := newRegionClient(t, e.Endpoint(), region).InvokeFunction(request)
			if got := code(err); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
	for _, i := range e.Invocations() {
		if i.PID != 0 {
			t.Errorf("a refused event started a process: %+v", i)
		}
	}
}

func TestUnsignedAndUnknownActions(t *testing.T) {
	e := start(t, nil)
	stranger := newClient(t, e.Endpoint())
	stranger.WithSecretId("AKIDstranger", "secret")
	if _, err := stranger.InvokeFunction(api.NewInvokeFunctionRequest()); code(err) != "AuthFailure.SecretIdNotFound" {
		t.Errorf("a stranger: got %v, want AuthFailure.SecretIdNotFound", err)
	}
	if _, err := e.client.ListFunctions(api.NewListFunctionsRequest()); code(err) != "InvalidAction" {
		t.Errorf("an action that is not emulated: got %v, want InvalidAction", err)
	}
}

func TestResultFigures(t *testing.T) {
	e := start(t, nil)
	result := e.invoke("plain", `{"do":"allocate","mb":64}`)
	const allocated = 64 << 20
	if *result.MemUsage < allocated {
		t.Errorf("MemUsage %d after %d bytes were touched", *result.MemUsage, allocated)
	}
	if got := e.PeakMemory("plain"); got != *result.MemUsage {
		t.Errorf("PeakMemory %d, MemUsage %d", got, *result.MemUsage)
	}
	if got := e.PeakMemory("short"); got != 0 {
		t.Errorf("PeakMemory of a function that never ran: %d", got)
	}
	slow := e.invoke("plain", `{"do":"sleep","ms":100}`)
	if *slow.Duration < 100 || *slow.BillDuration < 100 {
		t.Errorf("Duration %v, BillDuration %d of an event that took 100 ms", *slow.Duration, *slow.BillDuration)
	}
}

// described is what the test function tells of itself.
type described struct {
	PID         int               `json:"pid"`
	WD          string            `json:"wd"`
	Environment map[string]string `json:"environment"`
	RemainingMs int               `json:"remainingMs"`
	Context     struct {
		RequestID, FunctionName, FunctionVersion, Namespace, InvokedFunctionUnique string
		TencentcloudRegion, TencentcloudAppID, TencentcloudUin                     string
		MemoryLimitInMb, TimeLimitInMs                                             int
		Environment                                                                map[string]string
	} `json:"context"`
}

func TestProcessSeesWhatThePlatformGives(t *testing.T) {
	t.Setenv("LEAK", "this process's own")
	e := start(t, nil)
	var d described
	e.mustAnswer("plain", `{"do":"context"}`, &d)

	var names []string
	for name := range d.Environment {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"GREETING", "HOME", "PATH", "PWD", "SCF_FUNCTIONNAME", "SCF_FUNCTIONVERSION", "SCF_NAMESPACE", "TENCENTCLOUD_APPID",
		"TENCENTCLOUD_REGION", "TENCENTCLOUD_RUNENV", "TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY",
		"TENCENTCLOUD_SESSIONTOKEN", "TENCENTCLOUD_UIN", "TMPDIR", "TZ", "USER_CODE_ROOT", "_LAMBDA_SERVER_PORT", "_SCF_SERVER_PORT",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("environment, -want +got:\n%s", diff)
	}

	invocation := e.last()
	got := []any{
		d.Context.RequestID, d.Context.FunctionName, d.Context.FunctionVersion, d.Context.Namespace,
		d.Context.TencentcloudRegion, d.Context.MemoryLimitInMb, d.Context.TimeLimitInMs,
		d.PID, d.WD + "/", d.Environment["GREETING"], d.Environment["SCF_FUNCTIONNAME"],
	}
	wanted := []any{
		invocation.RequestID, "demo-dev-app-plain", "$LATEST", "default",
		scf.DefaultRegion, 128, 10000,
		invocation.PID, d.Environment["USER_CODE_ROOT"], "hello", "demo-dev-app-plain",
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if d.RemainingMs <= 0 || d.RemainingMs > 10000 {
		t.Errorf("%d ms to the deadline, want it within the timeout of 10000", d.RemainingMs)
	}
}

func TestContextEndsWithTheTimeLimit(t *testing.T) {
	e := start(t, nil)
	// The function may answer at its deadline or be ended there; never before.
	result := e.invoke("short", `{"do":"wait"}`)
	answered := *result.RetMsg == `"context deadline exceeded"`
	timedOut := strings.Contains(*result.ErrMsg, "timed out after 1 seconds")
	if !answered && !timedOut {
		t.Errorf("RetMsg %s, ErrMsg %s", *result.RetMsg, *result.ErrMsg)
	}
	if *result.Duration < 900 {
		t.Errorf("the context ended after %v ms, want 1000", *result.Duration)
	}
}

func TestCredentialsAreRenewedPerEvent(t *testing.T) {
	e := start(t, nil)
	var first, second described
	e.mustAnswer("plain", `{"do":"context"}`, &first)
	e.mustAnswer("plain", `{"do":"context"}`, &second)
	if first.PID != second.PID {
		t.Fatalf("two processes, %d and %d: nothing was renewed", first.PID, second.PID)
	}
	for _, name := range []string{"TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN"} {
		if first.Environment[name] == second.Environment[name] {
			t.Errorf("%s is the same in both events", name)
		}
	}
	for _, d := range []described{first, second} {
		got, ok := e.store.Lookup(d.Environment["TENCENTCLOUD_SECRETID"])
		if !ok {
			t.Fatal("the store doesn't know a credential that was issued")
		}
		got.Expires = got.Expires.UTC()
		if got.SecretKey != d.Environment["TENCENTCLOUD_SECRETKEY"] || got.Token != d.Environment["TENCENTCLOUD_SESSIONTOKEN"] {
			t.Error("the store has another key or token")
		}
		if want := "demo-dev-app-plain/" + d.Context.RequestID; got.Principal != want {
			t.Errorf("principal %q, want %q", got.Principal, want)
		}
		if got.Expires.IsZero() {
			t.Error("the credential never expires")
		}
	}
}
