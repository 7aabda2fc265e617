package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// responds is a fact about how a function's answer becomes a response.
func responds(name, body string, status int, text string, headers ...string) scfFact {
	return scfFact{name: name, source: "SCF, Function URL (583/96100)", check: func(t *testing.T, p *platform) {
		a := p.post("/", body)
		if a.StatusCode != status || !strings.Contains(a.text, text) || text == "" && a.text != "" {
			t.Errorf("want %d and %q, got %d and %.200q", status, text, a.StatusCode, a.text)
		}
		for i := 0; i < len(headers); i += 2 {
			if got := strings.Join(a.Header.Values(headers[i]), ","); got != headers[i+1] {
				t.Errorf("want %s: %s, got %q", headers[i], headers[i+1], got)
			}
		}
	}}
}

// requested is the event that a request becomes.
func (p *platform) requested(path, body string, headers ...string) map[string]any {
	p.t.Helper()
	a := p.post(path, body, headers...)
	var event map[string]any
	if err := json.Unmarshal([]byte(a.text), &event); err != nil {
		p.t.Fatalf("reading %.200q: %v", a.text, err)
	}
	return event
}

func TestSCFFunctionURL(t *testing.T) {
	const source = "SCF, Function URL (583/96100)"
	holdSCF(t, "SCF function URL", []scfFact{
		{name: "method, path and body arrive", source: source, check: func(t *testing.T, p *platform) {
			e := p.requested("/a/b", `{"do":"echo"}`)
			if e["httpMethod"] != "POST" || e["path"] != "/a/b" || e["body"] != `{"do":"echo"}` {
				t.Errorf("got %v", e)
			}
		}},
		{name: "the names of headers arrive in lower case", source: source, check: func(t *testing.T, p *platform) {
			headers, _ := p.requested("/", `{}`, "CE-Id", "x")["headers"].(map[string]any)
			if headers["ce-id"] != "x" || headers["content-type"] != "application/json" {
				t.Errorf("got %v", headers)
			}
			for name := range headers {
				if name != strings.ToLower(name) {
					t.Errorf("%s is not in lower case", name)
				}
			}
		}},
		{name: "the client's address arrives in a header", source: source, check: func(t *testing.T, p *platform) {
			headers, _ := p.requested("/", `{}`)["headers"].(map[string]any)
			if headers["x-scf-remote-addr"] == nil {
				t.Errorf("got %v", headers)
			}
		}},
		{name: "the query arrives by name", source: source, check: func(t *testing.T, p *platform) {
			got := p.requested("/?a=1&b=2", `{}`)["queryString"]
			if diff := cmp.Diff(map[string]any{"a": "1", "b": "2"}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{name: "what only API Gateway gave is not there", source: source, check: func(t *testing.T, p *platform) {
			e := p.requested("/", `{}`)
			for _, name := range []string{"headerParameters", "isBase64Encoded", "pathParameters", "queryStringParameters", "requestContext"} {
				if _, there := e[name]; there {
					t.Errorf("%s is there", name)
				}
			}
		}},
		responds("an answer with a statusCode is the response", `{"do":"answer","answer":{"statusCode":202,"headers":{"X-A":"1","Content-Type":"text/x"},"body":"hello"}}`,
			202, "hello", "X-A", "1", "Content-Type", "text/x"),
		responds("its body may be missing", `{"do":"answer","answer":{"statusCode":204}}`, 204, ""),
		responds("any other object is the body of a 200", `{"do":"answer","answer":{"a":1}}`, 200, `{"a":1}`, "Content-Type", "application/json"),
		responds("so is an array", `{"do":"answer","answer":[1]}`, 200, `[1]`, "Content-Type", "application/json"),
		responds("a header may have several values", `{"do":"answer","answer":{"statusCode":200,"headers":{"X-B":["2","3"]},"body":"x"}}`, 200, "x", "X-B", "2,3"),
		responds("the platform's own headers can't be set", `{"do":"answer","answer":{"statusCode":200,"headers":{"X-Scf-Status":"7"},"body":"x"}}`, 200, "x", "X-Scf-Status", "200"),
		responds("a statusCode that is none is 403", `{"do":"answer","answer":{"statusCode":"none"}}`, int(scf.StatusBadResponse), "Invalid scf response format"),
		responds("so is a body that isn't text", `{"do":"answer","answer":{"statusCode":200,"body":{}}}`, int(scf.StatusBadResponse), "Invalid scf response format"),
		responds("an error of the function is 430", `{"do":"error","text":"sorry"}`, int(scf.StatusUserCode), "sorry", "X-Scf-Status", "430"),
		responds("the function's death is 439", `{"do":"exit"}`, int(scf.StatusProcessExit), "exit"),
		responds("its time limit is 433", `{"do":"sleep","ms":60000}`, int(scf.StatusTimeout), "timed out"),
		responds("a body above 6 MB is 406", `"`+strings.Repeat("a", 6<<20)+`"`, int(scf.StatusRequestTooLarge), ""+"6291456"),
		{name: "the response names its request", source: source, check: func(t *testing.T, p *platform) {
			a := p.post("/", `{"do":"context"}`)
			var d told
			if err := json.Unmarshal([]byte(a.text), &d); err != nil {
				t.Fatal(err)
			}
			if id := a.Header.Get("X-Scf-Request-Id"); id == "" || id != d.Context.RequestID {
				t.Errorf("the header says %q, the function %q", id, d.Context.RequestID)
			}
		}},
		{name: "one request too many for the quota is 432", source: "SCF, Function status codes (583/42611)", needs: rig, options: []func(*scf.Options){one}, check: func(t *testing.T, p *platform) {
			release := p.occupy()
			defer release()
			if a := p.post("/", `{}`); a.StatusCode != int(scf.StatusConcurrency) {
				t.Errorf("want %d, got %d %s", scf.StatusConcurrency, a.StatusCode, a.text)
			}
		}},
		{name: "with CAM authentication a request must be signed", source: "SCF, Function URL (583/96099), authentication", needs: rig, check: func(t *testing.T, p *platform) {
			p.url = p.emulator.URL("other")
			if a := p.post("/", `{}`); a.StatusCode != int(scf.StatusUnauthorized) {
				t.Errorf("unsigned: got %d %s", a.StatusCode, a.text)
			}
			if a := p.signed(`{"a":1}`, "key"); a.StatusCode != http.StatusOK {
				t.Errorf("signed: got %d %s", a.StatusCode, a.text)
			}
			if a := p.signed(`{"a":1}`, "another"); a.StatusCode != int(scf.StatusUnauthorized) {
				t.Errorf("signed with another key: got %d %s", a.StatusCode, a.text)
			}
		}},
		{name: "and permitted by scf InvokeFunctionUrl", source: "SCF, Function URL (583/96099); CAM", needs: rig, check: func(t *testing.T, p *platform) {
			p.url = p.emulator.URL("other")
			for action, want := range map[string]int{"scf:InvokeFunctionUrl": http.StatusOK, "scf:InvokeFunction": int(scf.StatusUnauthorized)} {
				policy, err := cam.Parse(fmt.Appendf(nil, `{"version":"2.0","statement":[{"effect":"allow","action":%q,"resource":"*"}]}`, action))
				if err != nil {
					t.Fatal(err)
				}
				p.store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "tester", Policies: []cam.Policy{policy}})
				if a := p.signed(`{}`, "key"); a.StatusCode != want {
					t.Errorf("%s: want %d, got %d %s", action, want, a.StatusCode, a.text)
				}
			}
		}},
		{name: "a request that is broken off is carried out", source: "SCF, Invocation types: the platform ends no event for its caller", needs: rig, check: func(t *testing.T, p *platform) {
			q, err := http.NewRequest(http.MethodPost, p.url, strings.NewReader(`{"do":"sleep","ms":300}`))
			if err != nil {
				t.Fatal(err)
			}
			client := http.Client{Timeout: 100_000_000}
			if a, err := client.Do(q); err == nil {
				a.Body.Close()
				t.Fatal("want it broken off, it was answered")
			}
			p.await("the event to end well", func() bool {
				all := p.emulator.Invocations()
				return len(all) == 1 && all[0].Status == scf.StatusOK
			})
		}},
	})
}

// signed posts to a function URL with CAM authentication.
func (p *platform) signed(body, key string) reply {
	p.t.Helper()
	host := strings.TrimSuffix(strings.TrimPrefix(p.url, "http://"), "/")
	now := time.Now()
	stamp, date := strconv.FormatInt(now.Unix(), 10), now.UTC().Format(time.DateOnly)
	hex := func(b []byte) string { return fmt.Sprintf("%x", b) }
	hash := func(s string) string { b := sha256.Sum256([]byte(s)); return hex(b[:]) }
	mac := func(key []byte, s string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	const names = "content-type;host;x-scf-cam-uin"
	canonical := strings.Join([]string{"POST", "/", "", "content-type:application/json\nhost:" + host + "\nx-scf-cam-uin:100000000001\n", names, hash(body)}, "\n")
	scope := date + "/scf/tc3_request"
	k := mac(mac(mac([]byte("TC3"+key), date), "scf"), "tc3_request")
	sign := hex(mac(k, strings.Join([]string{"TC3-HMAC-SHA256", stamp, scope, hash(canonical)}, "\n")))
	return p.post("/", body, "X-Scf-Cam-Uin", "100000000001", "X-Scf-Cam-Timestamp", stamp,
		"Authorization", "TC3-HMAC-SHA256 Credential=id/"+scope+", SignedHeaders="+names+", Signature="+sign)
}
