package scf_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tcerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/scf/v20180416"

	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// helperVariable makes the test binary the emulator that TestParentDeath kills; its
// value is the package's path.
const helperVariable = "SCF_TEST_HELPER"

// executable is the built test function, made once.
var executable string

func TestMain(m *testing.M) {
	if archive := os.Getenv(helperVariable); archive != "" {
		helper(archive)
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scf-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	executable = filepath.Join(dir, "main")
	build := exec.Command("go", "build", "-o", executable, "./testdata/function")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the test function: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// manifest has two functions of the same code: small ends fast, and url has one.
const manifest = `
component: multi-scf
name: demo
app: app
stage: dev
inputs:
  runtime: Go1
  memorySize: 128
  timeout: 10
  initTimeout: 3
  environments:
    - key: GREETING
      value: hello
  functions:
    plain: {}
    short:
      timeout: 1
    url: {}
    crash:
      environments: [{key: CRASH, value: init}]
    hang:
      environments: [{key: CRASH, value: hang}]
    timed: {}
    topics: {}
  triggers:
    - type: timer
      function: timed
      parameters: {name: often, qualifier: $DEFAULT, cronExpression: '*/20 * * * * * *', argument: a word, enable: true}
    - type: timer
      function: timed
      parameters: {name: never, qualifier: $DEFAULT, cronExpression: '* * * * * * *', enable: false}
    - type: ckafka
      function: topics
      parameters: &small {name: ckafka-1, topic: small, qualifier: $DEFAULT, maxMsgNum: 2, retry: 1}
    - type: ckafka
      function: crash
      parameters: *small
    - type: ckafka
      function: topics
      parameters: {name: ckafka-1, topic: shut, qualifier: $DEFAULT, enable: false}
    - type: http
      function: url
      parameters: {name: u, qualifier: $DEFAULT, netConfig: {enableIntranet: true}}
`

// pack zips the test function as `make package` would.
func pack(t testing.TB, mode fs.FileMode, names ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package.zip")
	if err := writePackage(path, mode, names...); err != nil {
		t.Fatal(err)
	}
	return path
}

func writePackage(path string, mode fs.FileMode, names ...string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	code, err := os.ReadFile(executable)
	if err != nil {
		return err
	}
	z := zip.NewWriter(file)
	for _, name := range names {
		header := &zip.FileHeader{Name: name, Method: zip.Store}
		header.SetMode(mode)
		w, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := w.Write(code); err != nil {
			return err
		}
	}
	return z.Close()
}

// emulator is a server with a client of its API.
type emulator struct {
	*scf.Server
	t      testing.TB
	client *api.Client
	store  *tc3.Store
}

func start(t testing.TB, change func(*scf.Options)) *emulator {
	t.Helper()
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "AKIDcaller", SecretKey: "secret", Principal: "caller"})
	opts := scf.Options{
		Package:   pack(t, 0o755, "main"),
		Manifest:  write(t, "serverless.yml", manifest),
		Store:     store,
		ColdStart: -1,
	}
	if change != nil {
		change(&opts)
	}
	server, err := scf.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return &emulator{Server: server, t: t, client: newClient(t, server.Endpoint()), store: opts.Store}
}

func newClient(t testing.TB, endpoint string) *api.Client {
	t.Helper()
	return newRegionClient(t, endpoint, scf.DefaultRegion)
}

func newRegionClient(t testing.TB, endpoint, region string) *api.Client {
	t.Helper()
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme = "HTTP"
	p.HttpProfile.Endpoint = endpoint
	client, err := api.NewClient(common.NewCredential("AKIDcaller", "secret"), region, p)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// invoke calls InvokeFunction and wants the call to succeed, whatever its result.
func (e *emulator) invoke(key, event string) *api.Result {
	e.t.Helper()
	result, err := e.tryInvoke(key, event)
	if err != nil {
		e.t.Fatalf("invoking %s with %.80s: %v", key, event, err)
	}
	return result
}

func (e *emulator) tryInvoke(key, event string) (*api.Result, error) {
	request := api.NewInvokeFunctionRequest()
	name := e.Function(key)
	request.FunctionName, request.Event = &name, &event
	response, err := e.client.InvokeFunctionWithContext(context.Background(), request)
	if err != nil {
		return nil, err
	}
	return response.Response.Result, nil
}

// mustAnswer invokes and decodes the function's answer.
func (e *emulator) mustAnswer(key, event string, into any) {
	e.t.Helper()
	result := e.invoke(key, event)
	if *result.ErrMsg != "" {
		e.t.Fatalf("invoking %s with %.80s: %s", key, event, *result.ErrMsg)
	}
	if err := json.Unmarshal([]byte(*result.RetMsg), into); err != nil {
		e.t.Fatalf("answer %q: %v", *result.RetMsg, err)
	}
}

func (e *emulator) post(key, body string) (*http.Response, string) {
	e.t.Helper()
	response, err := http.Post(e.URL(key)+"path?a=1&b=2&b=3", "application/json", strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return response, string(text)
}

// running waits until n events of the function have been handed to their processes.
func (e *emulator) running(key string, n int) []scf.Invocation {
	e.t.Helper()
	var found []scf.Invocation
	await(e.t, fmt.Sprintf("%d events of %s running", n, key), func() bool {
		found = nil
		for _, i := range e.Invocations() {
			if i.Key == key && !i.Handed.IsZero() && i.End.IsZero() {
				found = append(found, i)
			}
		}
		return len(found) == n
	})
	return found
}

func (e *emulator) last() scf.Invocation {
	e.t.Helper()
	all := e.Invocations()
	if len(all) == 0 {
		e.t.Fatal("nothing was invoked")
	}
	return all[len(all)-1]
}

// await polls a condition of another process or goroutine.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-limit:
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

// processState is the letter in /proc: T stopped, Z not reaped, empty for none.
func processState(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

func ended(pid int) bool {
	state := processState(pid)
	return state == "" || state == "Z"
}

func code(err error) string {
	var e *tcerrors.TencentCloudSDKError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
