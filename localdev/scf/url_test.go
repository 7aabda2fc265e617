package scf_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestFunctionURLEvent(t *testing.T) {
	e := start(t, nil)
	request, err := http.NewRequest(http.MethodPost, e.URL("url")+"a/b?a=1&b=2&b=3", strings.NewReader(`{"do":"echo"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("CE-Id", "x")
	request.Header.Set("User-Agent", "test")
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()

	var got map[string]any
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"body": `{"do":"echo"}`,
		"headers": map[string]any{
			"content-type": "application/json", "ce-id": "x", "user-agent": "test", "accept-encoding": "identity",
			"content-length": "13", "host": request.Host, "x-scf-remote-addr": "127.0.0.1",
		},
		"httpMethod":  "POST",
		"path":        "/a/b",
		"queryString": map[string]any{"a": "1", "b": "2,3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if i := e.last(); i.Via != "url" || i.RequestID != response.Header.Get("X-Scf-Request-Id") {
		t.Errorf("logged %+v, the response says %s", i, response.Header.Get("X-Scf-Request-Id"))
	}
}

func TestFunctionURLResponse(t *testing.T) {
	e := start(t, nil)
	cases := map[string]struct {
		reason  string
		body    string
		status  int
		headers map[string][]string
		want    string // body; of a failure its message
	}{
		"Described": {
			reason:  "An answer with a statusCode is the response, but for the platform's own headers.",
			body:    `{"do":"answer","answer":{"statusCode":202,"headers":{"X-A":"1","X-B":["2","3"],"Content-Type":"text/x","X-Scf-Status":"7"},"body":"hello"}}`,
			status:  202,
			headers: map[string][]string{"X-A": {"1"}, "X-B": {"2", "3"}, "Content-Type": {"text/x"}, "X-Scf-Status": {"200"}},
			want:    "hello",
		},
		"NoBody": {
			reason: "Its body may be missing.",
			body:   `{"do":"answer","answer":{"statusCode":204}}`,
			status: 204,
		},
		"Object": {
			reason:  "Any other JSON is the body of a 200.",
			body:    `{"do":"answer","answer":{"a":1}}`,
			status:  200,
			headers: map[string][]string{"Content-Type": {"application/json"}},
			want:    `{"a":1}`,
		},
		"Array": {
			reason: "Arrays too.",
			body:   `{"do":"answer","answer":[1]}`,
			status: 200,
			want:   `[1]`,
		},
		"BadStatus": {
			reason:  "A statusCode that isn't one can't be followed.",
			body:    `{"do":"answer","answer":{"statusCode":"none"}}`,
			status:  403,
			headers: map[string][]string{"X-Scf-Status": {"403"}},
			want:    "Invalid scf response format",
		},
		"BadBody": {
			reason: "Nor a body that isn't text.",
			body:   `{"do":"answer","answer":{"statusCode":200,"body":{}}}`,
			status: 403,
			want:   "Invalid scf response format",
		},
		"Error": {
			reason:  "A failure of the function is 430 with the error as JSON.",
			body:    `{"do":"error","text":"sorry"}`,
			status:  430,
			headers: map[string][]string{"X-Scf-Status": {"430"}, "Content-Type": {"application/json"}},
			want:    "sorry",
		},
		"Exit": {
			reason: "Its death is 439.",
			body:   `{"do":"exit"}`,
			status: 439,
			want:   "User process exit when running",
		},
		"TooLarge": {
			reason: "A body above 6 MB is 406.",
			body:   `"` + strings.Repeat("a", 6<<20) + `"`,
			status: 406,
			want:   "bytes, at most 6291456 are allowed",
		},
		"Binary": {
			reason: "A body that isn't text can't be an event.",
			body:   "\xff\xfe",
			status: 400,
			want:   "The event is not JSON",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			response, body := e.post("url", tc.body)
			if response.StatusCode != tc.status {
				t.Errorf("%s: status %d, want %d", tc.reason, response.StatusCode, tc.status)
			}
			id := response.Header.Get("X-Scf-Request-Id")
			if id != e.last().RequestID {
				t.Errorf("%s: X-Scf-Request-Id %q, logged %q", tc.reason, id, e.last().RequestID)
			}
			for header, want := range tc.headers {
				if diff := cmp.Diff(want, response.Header.Values(header)); diff != "" {
					t.Errorf("%s: %s, -want +got:\n%s", tc.reason, header, diff)
				}
			}
			if tc.status < 400 {
				if diff := cmp.Diff(tc.want, body); diff != "" {
					t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
				}
				return
			}
			var failure scf.Failure
			if err := json.Unmarshal([]byte(body), &failure); err != nil {
				t.Fatalf("%s: %v in %s", tc.reason, err, body)
			}
			if !strings.Contains(failure.ErrorMessage, tc.want) || failure.RequestID != id || int(failure.StatusCode) != tc.status {
				t.Errorf("%s: got %+v, want message %q", tc.reason, failure, tc.want)
			}
		})
	}
}

func TestOnlyTriggersGiveURLs(t *testing.T) {
	e := start(t, nil)
	if e.URL("url") == "" || e.URL("plain") != "" {
		t.Errorf("URLs %q and %q, want one for the function with the trigger only", e.URL("url"), e.URL("plain"))
	}
	if got := e.Function("nobody"); got != "" {
		t.Errorf("an unknown key has the name %q", got)
	}
}
