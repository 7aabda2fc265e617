package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/event"
)

const secret = "s3cret"

// reply is a well-formed answer.
func reply(t *testing.T) string {
	t.Helper()
	e, err := event.Reply{Continue: true, Pending: 3}.Encode("id", "/clusters/cls-1", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// payload is an event that Decode takes.
func payload(t *testing.T) []byte {
	t.Helper()
	e, err := event.Request{ID: "1", Function: event.Backends, Source: "/clusters/cls-1", Partition: "lb-1", Sequence: "1",
		Sync: event.Sync{Cluster: "cls-1", Attempt: "a", LoadBalancers: []string{"lb-1"}}}.Encode(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// platform is SCF's failure body.
func platform(status int) string {
	return fmt.Sprintf(`{"errorCode":-1,"errorMessage":"what happened","requestId":"rid","statusCode":%d}`, status)
}

func functions(base string) map[event.Function]string {
	out := map[event.Function]string{}
	for _, f := range event.Functions {
		out[f] = base + "/" + string(f)
	}
	return out
}

// outcome is what the queue sees of an error.
type outcome struct {
	Code  string
	Ended bool
}

func of(err error) outcome { return outcome{CodeOf(err), EndedBy(err)} }

func TestURLOutcomes(t *testing.T) {
	cases := map[string]struct {
		reason string
		status int
		scf    string
		body   string
		want   outcome
	}{
		"Reply":          {"the function has answered", 200, "200", reply(t), outcome{"ok", false}},
		"ReplyWith400":   {"an answer is an answer, whatever its status", 400, "200", reply(t), outcome{"ok", false}},
		"Timeout":        {"the platform ended it", 433, "433", platform(433), outcome{"433", true}},
		"TimeoutNoHead":  {"the body says so, too", 500, "", platform(433), outcome{"433", true}},
		"OutOfMemory":    {"the platform ended it", 434, "434", platform(434), outcome{"434", true}},
		"ProcessExit":    {"the platform ended it", 439, "439", platform(439), outcome{"439", true}},
		"Concurrency":    {"it never began", 432, "432", platform(432), outcome{"432", false}},
		"Internal":       {"nobody knows whether it still runs", 500, "500", platform(500), outcome{"500", false}},
		"Refused":        {"the function itself refused, and has ended", 401, "200", `{"failure":{"kind":"Invalid"}}`, outcome{"401", true}},
		"Proxy":          {"something in between failed", 502, "", "<html>", outcome{"502", false}},
		"ProxyOK":        {"200 by somebody who is not the function", 200, "", "<html>", outcome{"malformed", false}},
		"TwoReplies":     {"one event has one answer", 200, "200", "[" + reply(t) + "," + reply(t) + "]", outcome{"malformed", true}},
		"EmptyFromScf":   {"the function ended without a word", 200, "200", "", outcome{"malformed", true}},
		"Redirect":       {"the signed body goes nowhere else", 302, "", "", outcome{"302", false}},
		"NumericErrCode": {"errorCode counts where there is no statusCode", 500, "", `{"errorCode":434,"errorMessage":"m"}`, outcome{"434", true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.scf != "" {
					w.Header().Set("X-Scf-Status", tc.scf)
				}
				if tc.status == 302 {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			defer s.Close()
			u, err := NewURL(functions(s.URL), secret, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			got, err := u.Send(t.Context(), event.Backends, payload(t))
			if diff := cmp.Diff(tc.want, of(err)); diff != "" {
				t.Errorf("%s (%v): -want +got\n%s", tc.reason, err, diff)
			}
			if err == nil && (!got.Continue || got.Pending != 3) {
				t.Errorf("%s: reply %+v", tc.reason, got)
			}
		})
	}
}

// TestURLRequestIsWhatTheDoorTakes has the functions' own decoder read what was
// sent, in the envelope that SCF makes of it.
func TestURLRequestIsWhatTheDoorTakes(t *testing.T) {
	var got event.Delivery
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		headers := map[string]string{}
		for k, v := range r.Header {
			headers[strings.ToLower(k)] = strings.Join(v, ",")
		}
		raw, err := json.Marshal(map[string]any{"httpMethod": r.Method, "path": r.URL.Path, "headers": headers, "body": string(body)})
		if err != nil {
			t.Error(err)
		}
		if got, err = event.Decode(raw, event.Receiver{Secret: secret}, time.Now()); err != nil {
			t.Errorf("decoding what was sent: %v", err)
		}
		_, _ = io.WriteString(w, reply(t))
	}))
	defer s.Close()
	u, err := NewURL(functions(s.URL), secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.Send(t.Context(), event.Backends, payload(t)); err != nil {
		t.Fatal(err)
	}
	if len(got.Requests) != 1 || got.Requests[0].Function != event.Backends || got.Requests[0].Partition != "lb-1" {
		t.Errorf("the door read %+v", got)
	}
}

func TestOurOwnDeadlineIsNoEnd(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	byURL, err := NewURL(functions(s.URL), secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer byURL.Close()
	byInvoke, err := NewInvoke(InvokeOptions{Functions: functions(""), Region: "ap-guangzhou", Endpoint: strings.TrimPrefix(s.URL, "http://"), Scheme: "HTTP",
		Credential: common.NewCredential("id", "key"), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for name, tr := range map[string]Transport{"URL": byURL, "Invoke": byInvoke} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := tr.Send(ctx, event.Backends, payload(t))
			if !errors.Is(err, context.DeadlineExceeded) || EndedBy(err) || CodeOf(err) != "timeout" {
				t.Errorf("got %v (%s, ended %v): the function may still hold a Lease", err, CodeOf(err), EndedBy(err))
			}
		})
	}
}

func TestInvokeOutcomes(t *testing.T) {
	result := func(fields map[string]any) string {
		fields["FunctionRequestId"] = "rid"
		raw, err := json.Marshal(map[string]any{"Response": map[string]any{"RequestId": "api", "Result": fields}})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	cases := map[string]struct {
		reason string
		answer string
		want   outcome
	}{
		"Reply":           {"the function has answered", result(map[string]any{"RetMsg": reply(t), "ErrMsg": "", "InvokeResult": 0}), outcome{"ok", false}},
		"Timeout":         {"the platform ended it", result(map[string]any{"RetMsg": "", "ErrMsg": platform(433), "InvokeResult": 433}), outcome{"433", true}},
		"ResultCodeAlone": {"the text may say nothing", result(map[string]any{"ErrMsg": "boom", "InvokeResult": 439}), outcome{"439", true}},
		"UserError":       {"the function returned an error", result(map[string]any{"ErrMsg": platform(430), "InvokeResult": 430}), outcome{"430", true}},
		"NoQuota":         {"it never began", result(map[string]any{"ErrMsg": platform(432), "InvokeResult": 432}), outcome{"432", false}},
		"Malformed":       {"it answered something else", result(map[string]any{"RetMsg": `"hello"`}), outcome{"malformed", true}},
		"NoResult":        {"nothing is known", `{"Response":{"RequestId":"api"}}`, outcome{"malformed", false}},
		"APIError": {"the call was refused", `{"Response":{"RequestId":"api","Error":{"Code":"ResourceNotFound.Function","Message":"no such function"}}}`,
			outcome{"ResourceNotFound.Function", false}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			store := &tc3.Store{}
			store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "forwarder"})
			var sent struct{ FunctionName, Qualifier, Event, Namespace string }
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				if _, refused := tc3.Verify(r, body, "scf", time.Now(), store); refused != nil {
					t.Errorf("signature: %v", refused)
				}
				if err := json.Unmarshal(body, &sent); err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, tc.answer)
			}))
			defer s.Close()
			i, err := NewInvoke(InvokeOptions{Functions: map[event.Function]string{event.Frontend: "f", event.Backends: "b", event.Readiness: "r"},
				Namespace: "ns", Region: "ap-guangzhou", Endpoint: strings.TrimPrefix(s.URL, "http://"), Scheme: "HTTP",
				Credential: common.NewCredential("id", "key"), Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			event := payload(t)
			_, err = i.Send(t.Context(), "backends", event)
			if diff := cmp.Diff(tc.want, of(err)); diff != "" {
				t.Errorf("%s (%v): -want +got\n%s", tc.reason, err, diff)
			}
			if sent.FunctionName != "b" || sent.Qualifier != "$DEFAULT" || sent.Namespace != "ns" || sent.Event != string(event) {
				t.Errorf("sent %+v", sent)
			}
		})
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := functions("http://127.0.0.1:1")
	bad := functions("http://127.0.0.1:1")
	bad[event.Readiness] = "127.0.0.1:1"
	if _, err := NewURL(bad, secret, 1); err == nil || !strings.Contains(err.Error(), "readiness") {
		t.Errorf("got %v, want an error that names the function", err)
	}
	if _, err := NewURL(good, "", 1); err == nil {
		t.Error("an empty secret was taken")
	}
	if _, err := NewInvoke(InvokeOptions{Functions: map[event.Function]string{event.Frontend: "f"}}); err == nil || !strings.Contains(err.Error(), "backends") {
		t.Errorf("got %v, want an error that names the function", err)
	}
}
