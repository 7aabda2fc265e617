package serverless

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tcerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/functions/backends"
	"github.com/clb-direct/clb-direct/functions/explain"
	"github.com/clb-direct/clb-direct/functions/frontend"
	"github.com/clb-direct/clb-direct/functions/readiness"
	"github.com/clb-direct/clb-direct/functions/resync"
	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/event"
)

const (
	region  = "ap-guangzhou"
	cluster = "cls-example" // as in the console test events
	secret  = "s3cret"
)

// testEvents are what the console is given, a ready one per function.
var testEvents = map[event.Function][]byte{
	event.Frontend: frontend.TestEvent, event.Backends: backends.TestEvent, event.Readiness: readiness.TestEvent,
	event.Resync: resync.TestEvent, event.Explain: explain.TestEvent,
}

// platform is serverless.yml deployed, and an account that calls its API.
type platform struct {
	*scf.Server
	t      *testing.T
	client *api.Client
}

// deploy starts what serverless.yml deploys, and gives those functions that have no URL
// or no timer in it one: nothing keeps a person from adding these in the console. The
// cluster's API server is never there: what a function would do with it is others' to
// test, what it says of it is ours.
func deploy(t *testing.T) *platform {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	gone := server.URL
	server.Close()

	var more strings.Builder
	for _, f := range all {
		if !slices.Contains(event.Functions, f) {
			more.WriteString("    - {type: http, function: " + string(f) + ", parameters: *url}\n")
		}
		if f != event.Resync {
			more.WriteString("    - {type: timer, function: " + string(f) + ", parameters: {name: resync, qualifier: $DEFAULT, cronExpression: '0 0 0 1 1 * *', enable: true}}\n")
		}
	}
	path := filepath.Join(t.TempDir(), "serverless.yml")
	if err := os.WriteFile(path, []byte(read(t, "serverless.yml")+more.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	env := exampleEnv(t)
	env["CLUSTER_ID"], env["REGION"], env["EVENT_SECRET"] = cluster, region, secret
	env["KUBE_SERVER"], env["KUBE_TOKEN"], env["KUBE_CA"] = gone, "token", base64.StdEncoding.EncodeToString(ca)
	env["CLB_ENDPOINT"] = "http" + strings.TrimPrefix(gone, "https")
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "AKIDaccount", SecretKey: "key", Principal: "account"})
	s, err := scf.Start(t.Context(), scf.Options{Package: bundle, Manifest: path, Env: env, Store: store, ColdStart: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", s.Endpoint()
	// All cases together ask more often than the API's twenty times a second.
	p.RateLimitExceededMaxRetries = 20
	p.RateLimitExceededRetryDuration = func(int) time.Duration { return 100 * time.Millisecond }
	client, err := api.NewClient(common.NewCredential("AKIDaccount", "key"), region, p)
	if err != nil {
		t.Fatal(err)
	}
	return &platform{Server: s, t: t, client: client}
}

// answer is what came of one event, however it was sent.
type answer struct {
	// status is the HTTP response's, of a function URL.
	status int
	// replies are what the function says, if it took the event.
	replies []event.Reply
	// refusal is why it didn't.
	refusal string
	// code is the error of the API, when the function never saw the event.
	code string
}

// body reads what a function returned.
func (p *platform) body(raw []byte) answer {
	p.t.Helper()
	var wrapped struct {
		StatusCode int    `json:"statusCode"`
		Body       string `json:"body"`
	}
	if json.Unmarshal(raw, &wrapped) == nil && wrapped.StatusCode != 0 {
		raw = []byte(wrapped.Body)
	}
	replies, err := event.ParseReplies(raw)
	if err != nil {
		p.t.Errorf("answered %s: %v", raw, err)
	}
	return answer{replies: replies}
}

// failure reads why there is no answer. A function may refuse an event, and nothing else
// may happen to it.
func (p *platform) failure(f *scf.Failure) answer {
	p.t.Helper()
	if f.StatusCode != scf.StatusUserCode || f.StackTrace != "" {
		p.t.Errorf("ended with %d %s\n%s", f.StatusCode, f.ErrorMessage, f.StackTrace)
	}
	return answer{refusal: f.ErrorMessage}
}

func (p *platform) outcome(o scf.Outcome) answer {
	p.t.Helper()
	if o.Failure != nil {
		return p.failure(o.Failure)
	}
	return p.body(o.Answer)
}

// pending waits for an event that can't be refused for good but by its function; one
// that is would come again in a minute, which isn't waited for.
func (p *platform) pending(pending *scf.Pending, err error) answer {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	return p.firstTry(pending.RequestID)
}

// firstTry is what GetRequestStatus tells of the first try of an asynchronous event.
func (p *platform) firstTry(id string) answer {
	p.t.Helper()
	var found scf.Invocation
	p.await("the event to be tried", func() bool {
		for _, i := range p.Invocations() {
			if i.RequestID == id && !i.End.IsZero() {
				found = i
				return true
			}
		}
		return false
	})
	request := api.NewGetRequestStatusRequest()
	request.FunctionName, request.FunctionRequestId = &found.Function, &id
	response, err := p.client.GetRequestStatus(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(response.Response.Data) != 1 {
		p.t.Fatalf("%d requests %s", len(response.Response.Data), id)
	}
	status := response.Response.Data[0]
	if *status.RetCode == 0 {
		return p.body([]byte(*status.RetMsg))
	}
	return p.failure(&scf.Failure{StatusCode: found.Status, ErrorMessage: *status.RetMsg})
}

// await polls a condition of the emulator's.
func (p *platform) await(what string, done func() bool) {
	p.t.Helper()
	limit := time.After(20 * time.Second)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-limit:
			p.t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// console sends an event as the console's test dialog does.
func (p *platform) console(f event.Function, payload []byte) answer {
	p.t.Helper()
	o, err := p.Test(string(f), payload)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.outcome(o)
}

// result reads what the API's two actions answer.
func (p *platform) result(r *api.Result, err error) answer {
	p.t.Helper()
	var refused *tcerrors.TencentCloudSDKError
	if errors.As(err, &refused) {
		return answer{code: refused.Code}
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if *r.ErrMsg == "" {
		return p.body([]byte(*r.RetMsg))
	}
	var f scf.Failure
	if err := json.Unmarshal([]byte(*r.ErrMsg), &f); err != nil {
		p.t.Fatalf("ErrMsg %s: %v", *r.ErrMsg, err)
	}
	return p.failure(&f)
}

func (p *platform) invokeFunction(f event.Function, payload []byte) answer {
	p.t.Helper()
	request := api.NewInvokeFunctionRequest()
	name, text := p.Function(string(f)), string(payload)
	request.FunctionName, request.Event = &name, &text
	response, err := p.client.InvokeFunction(request)
	if err != nil {
		return p.result(nil, err)
	}
	return p.result(response.Response.Result, nil)
}

func (p *platform) invoke(f event.Function, kind string, payload []byte) answer {
	p.t.Helper()
	request := api.NewInvokeRequest()
	name, text := p.Function(string(f)), string(payload)
	request.FunctionName, request.ClientContext, request.InvocationType = &name, &text, &kind
	response, err := p.client.Invoke(request)
	if err != nil {
		return p.result(nil, err)
	}
	if kind == "Event" {
		return p.firstTry(*response.Response.Result.FunctionRequestId)
	}
	return p.result(response.Response.Result, nil)
}

// request sends an HTTP request to the function's URL, signed with a secret.
func (p *platform) request(f event.Function, method, key string, headers map[string]string, body []byte) answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.URL(string(f)), strings.NewReader(string(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, set := range []map[string]string{event.Sign(key, string(body), time.Now()), headers} {
		for name, value := range set {
			r.Header.Set(name, value)
		}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		a := p.body(raw)
		a.status = response.StatusCode
		return a
	}
	return answer{status: response.StatusCode, refusal: string(raw)}
}
