package conformance

import (
	"archive/zip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	scfapi "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// scfFact is one documented fact about SCF.
type scfFact struct {
	name, source string
	options      []func(*scf.Options)
	needs        need
	check        func(t *testing.T, p *platform)
}

// holdSCF runs a section of facts, each on an emulator of its own or at the function
// that was named.
func holdSCF(t *testing.T, section string, facts []scfFact) {
	t.Run(section, func(t *testing.T) {
		for _, f := range facts {
			t.Run(f.name, func(t *testing.T) {
				f.check(t, newPlatform(t, max(f.needs, function), f.options...))
			})
		}
	})
}

// limits of the function: it is deployed with a timeout of 2 s and 128 MB.
const (
	timeLimit = 2 * time.Second
	memoryMB  = 128
)

// platform is where a case about SCF runs.
type platform struct {
	t *testing.T
	*scfapi.Client
	// name is the function's, url where it answers HTTP.
	name, url string
	// emulator and clock are nil on the cloud: only cases that need a rig use them.
	emulator *scf.Server
	clock    *clocktesting.FakeClock
	store    *tc3.Store
}

const scfManifest = `
component: multi-scf
name: conformance
app: app
stage: dev
inputs:
  runtime: Go1
  memorySize: 128
  timeout: 2
  initTimeout: 3
  environments:
    - key: GREETING
      value: hello
  functions:
    probe: {}
    other: {}
    crash:
      environments: [{key: CRASH, value: init}]
    hang:
      environments: [{key: CRASH, value: hang}]
  triggers:
    - type: http
      function: probe
      parameters: {name: url, qualifier: $DEFAULT, netConfig: {enableIntranet: true}}
    - type: http
      function: other
      parameters: {name: url, qualifier: $DEFAULT, authType: CAM, netConfig: {enableIntranet: true}}
    - type: timer
      function: probe
      parameters: {name: often, qualifier: $DEFAULT, cronExpression: '*/20 * * * * * *', argument: a word, enable: true}
    - type: timer
      function: other
      parameters: {name: yearly, qualifier: $DEFAULT, cronExpression: '0 0 0 1 1 * 2027', enable: true}
    - type: timer
      function: other
      parameters: {name: stopped, qualifier: $DEFAULT, cronExpression: '* * * * * * *', enable: false}
    - type: ckafka
      function: probe
      parameters: {name: ckafka-1, topic: pairs, qualifier: $DEFAULT, maxMsgNum: 2, retry: 1, offset: earliest}
`

// probeDir is where probePackage puts it, made and removed by TestMain.
var probeDir string

// probePackage zips the function that does what its event says, once.
var probePackage = sync.OnceValues(func() (string, error) {
	dir := probeDir
	program, path := filepath.Join(dir, "main"), filepath.Join(dir, "probe.zip")
	build := exec.Command("go", "build", "-o", program, "../../localdev/scf/testdata/function")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return "", err
	}
	code, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	z := zip.NewWriter(file)
	header := &zip.FileHeader{Name: "main", Method: zip.Store}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err == nil {
		_, err = w.Write(code)
	}
	if err == nil {
		err = z.Close()
	}
	return path, err
})

// clocked has the emulator's timers and waits go by the test's clock.
func clocked(o *scf.Options) {
	o.Clock = clocktesting.NewFakeClock(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))
}

// one instance is all that the function may have.
func one(o *scf.Options) { o.Concurrency = 1 }

func newPlatform(t *testing.T, n need, set ...func(*scf.Options)) *platform {
	t.Helper()
	if why := place.lacks(n); why != "" {
		t.Skip(why)
	}
	p := &platform{t: t, name: place.function, url: place.url}
	if place.cloud() {
		p.Client = p.client(place.secretID, place.secretKey, place.token, "")
		return p
	}
	t.Parallel()
	p.store = &tc3.Store{}
	p.store.Add(tc3.Credential{SecretID: "id", SecretKey: "key", Principal: "tester"})
	p.start(set...)
	p.name, p.url = p.emulator.Function("probe"), p.emulator.URL("probe")
	p.Client = p.client("id", "key", "", p.emulator.Endpoint())
	return p
}

// start starts the emulator of a platform.
func (p *platform) start(set ...func(*scf.Options)) {
	p.t.Helper()
	archive, err := probePackage()
	if err != nil {
		p.t.Fatalf("building the function: %v", err)
	}
	manifest := filepath.Join(p.t.TempDir(), "serverless.yml")
	if err := os.WriteFile(manifest, []byte(scfManifest), 0o644); err != nil {
		p.t.Fatal(err)
	}
	o := scf.Options{Package: archive, Manifest: manifest, Store: p.store, ColdStart: -1}
	for _, f := range set {
		f(&o)
	}
	p.clock, _ = o.Clock.(*clocktesting.FakeClock)
	if p.emulator, err = scf.Start(context.Background(), o); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := p.emulator.Close(); err != nil {
			p.t.Error(err)
		}
	})
}

func (p *platform) client(id, key, token, endpoint string) *scfapi.Client {
	p.t.Helper()
	c := profile.NewClientProfile()
	region := place.region
	if endpoint != "" {
		c.HttpProfile.Endpoint, c.HttpProfile.Scheme, region = endpoint, "HTTP", scf.DefaultRegion
	}
	client, err := scfapi.NewClient(common.NewTokenCredential(id, key, token), region, c)
	if err != nil {
		p.t.Fatal(err)
	}
	return client
}

// call invokes the function and wants the call to succeed, whatever its result.
func (p *platform) call(event string) *scfapi.Result {
	p.t.Helper()
	r, err := p.try(event)
	if err != nil {
		p.t.Fatalf("invoking with %.80s: %v", event, err)
	}
	return r
}

func (p *platform) try(event string, set ...func(*scfapi.InvokeFunctionRequest)) (*scfapi.Result, error) {
	q := scfapi.NewInvokeFunctionRequest()
	q.FunctionName, q.Event = &p.name, &event
	for _, f := range set {
		f(q)
	}
	a, err := p.InvokeFunctionWithContext(context.WithoutCancel(p.t.Context()), q)
	if err != nil {
		return nil, err
	}
	return a.Response.Result, nil
}

// log is the tail of an event's.
func (p *platform) log(event string) string {
	p.t.Helper()
	r, err := p.try(event, func(q *scfapi.InvokeFunctionRequest) { q.LogType = new("Tail") })
	if err != nil {
		p.t.Fatal(err)
	}
	return *r.Log
}

// answer is the function's own, decoded.
func (p *platform) answer(event string, into any) *scfapi.Result {
	p.t.Helper()
	r := p.call(event)
	if *r.ErrMsg != "" {
		p.t.Fatalf("invoking with %.80s: %s", event, *r.ErrMsg)
	}
	if err := json.Unmarshal([]byte(*r.RetMsg), into); err != nil {
		p.t.Fatalf("answer %q: %v", *r.RetMsg, err)
	}
	return r
}

// told is what the function knows about itself.
type told struct {
	PID         int               `json:"pid"`
	Environment map[string]string `json:"environment"`
	RemainingMs int               `json:"remainingMs"`
	Context     struct {
		RequestID, FunctionName, FunctionVersion, Namespace, TencentcloudRegion string
		MemoryLimitInMb, TimeLimitInMs                                          int
	} `json:"context"`
}

func (p *platform) tell() told {
	p.t.Helper()
	var out told
	p.answer(`{"do":"context"}`, &out)
	return out
}

// failed invokes and gives how that failed.
func (p *platform) failed(event string) (status int64, f scf.Failure) {
	p.t.Helper()
	r := p.call(event)
	if err := json.Unmarshal([]byte(*r.ErrMsg), &f); err != nil {
		p.t.Fatalf("ErrMsg %q of %.80s: %v", *r.ErrMsg, event, err)
	}
	return *r.InvokeResult, f
}

// queue invokes asynchronously.
func (p *platform) queue(event string) (string, error) {
	q := scfapi.NewInvokeRequest()
	q.FunctionName, q.ClientContext, q.InvocationType = &p.name, &event, new("Event")
	a, err := p.Invoke(q)
	if err != nil {
		return "", err
	}
	return *a.Response.Result.FunctionRequestId, nil
}

// status is what GetRequestStatus says of a request, nil for nothing.
func (p *platform) status(id string) *scfapi.RequestStatus {
	p.t.Helper()
	q := scfapi.NewGetRequestStatusRequest()
	q.FunctionName, q.FunctionRequestId = &p.name, &id
	a, err := p.GetRequestStatus(q)
	for code(err) == "RequestLimitExceeded" {
		time.Sleep(50 * time.Millisecond) // what it takes for one more
		a, err = p.GetRequestStatus(q)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if len(a.Response.Data) == 0 {
		return nil
	}
	return a.Response.Data[0]
}

// await polls a condition.
func (p *platform) await(what string, done func() bool) {
	p.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for limit := time.Now().Add(30 * time.Second); !done(); <-poll.C {
		if time.Now().After(limit) {
			p.t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// retcode awaits that a request has the code.
func (p *platform) retcode(id string, code int64) *scfapi.RequestStatus {
	p.t.Helper()
	var s *scfapi.RequestStatus
	p.await("the request's status", func() bool {
		s = p.status(id)
		return s != nil && *s.RetCode == code
	})
	return s
}

// pass lets the emulator's clock pass, once it waits for that.
func (p *platform) pass(d time.Duration) {
	p.t.Helper()
	p.await("the emulator to wait", p.clock.HasWaiters)
	p.clock.Step(d)
}

// tick is pass once both of the manifest's enabled timers wait: one that began to wait
// later would miss its time.
func (p *platform) tick(d time.Duration) {
	p.t.Helper()
	p.await("the timers to wait", func() bool { return p.clock.Waiters() >= 2 })
	p.pass(d)
}

// tries are those of a request that have ended.
func (p *platform) tries(id string) (out []scf.Invocation) {
	for _, i := range p.emulator.Invocations() {
		if i.RequestID == id && !i.End.IsZero() {
			out = append(out, i)
		}
	}
	return out
}

// occupy keeps an instance busy until the returned function is called.
func (p *platform) occupy() (release func()) {
	p.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = p.try(`{"do":"sleep","ms":1900}`)
	}()
	p.await("the instance to be busy", func() bool {
		for _, i := range p.emulator.Invocations() {
			if i.Key == "probe" && !i.Handed.IsZero() && i.End.IsZero() {
				return true
			}
		}
		return false
	})
	return func() {
		p.emulator.Kill("probe")
		<-done
	}
}

// reply is what a function URL answered.
type reply struct {
	*http.Response
	text string
}

// post sends a request to the function URL.
func (p *platform) post(path, body string, headers ...string) reply {
	p.t.Helper()
	q, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, strings.TrimSuffix(p.url, "/")+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply{a, string(text)}
}
