package transport

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/scf"
	"github.com/clb-direct/clb-direct/localdev/tc3"
	"github.com/clb-direct/clb-direct/shared/event"
)

const manifest = `
component: multi-scf
name: demo
app: app
stage: dev
inputs:
  region: ap-guangzhou
  runtime: Go1
  memorySize: 128
  timeout: 1
  initTimeout: 3
  environments: [{key: EVENT_SECRET, value: ` + secret + `}]
  functions:
    frontend: {}
    backends: {}
    readiness: {}
  triggers:
    - {type: http, function: frontend, parameters: &u {name: u, qualifier: $DEFAULT, netConfig: {enableIntranet: true}}}
    - {type: http, function: backends, parameters: *u}
    - {type: http, function: readiness, parameters: *u}
`

// pack builds and zips the test's function as the platform wants it.
func pack(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "main"), "./testdata/function")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the function: %v\n%s", err, out)
	}
	code, err := os.ReadFile(filepath.Join(dir, "main"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "package.zip")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z := zip.NewWriter(file)
	header := &zip.FileHeader{Name: "main", Method: zip.Store}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(code); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTransportsAgreeOnThePlatform runs a packaged function on the SCF emulator and
// sends it the same events both ways: what the queue sees must not depend on the way.
func TestTransportsAgreeOnThePlatform(t *testing.T) {
	yml := filepath.Join(t.TempDir(), "serverless.yml")
	if err := os.WriteFile(yml, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	store := &tc3.Store{}
	store.Add(tc3.Credential{SecretID: "AKIDforwarder", SecretKey: "key", Principal: "forwarder"})
	platform, err := scf.Start(t.Context(), scf.Options{Package: pack(t), Manifest: yml, Store: store, ColdStart: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := platform.Close(); err != nil {
			t.Error(err)
		}
	}()
	urls, names := map[event.Function]string{}, map[event.Function]string{}
	for _, f := range event.Functions {
		urls[f], names[f] = platform.URL(string(f)), platform.Function(string(f))
	}
	newURL := func(secret string) Transport {
		u, err := NewURL(urls, secret, 4)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.Close)
		return u
	}
	invoke, err := NewInvoke(InvokeOptions{Functions: names, Region: "ap-guangzhou", Endpoint: platform.Endpoint(), Scheme: "HTTP",
		Credential: common.NewCredential("AKIDforwarder", "key"), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	both := map[string]Transport{"URL": newURL(secret), "Invoke": invoke}
	cases := map[string]struct {
		reason    string
		partition string
		only      map[string]Transport
		want      outcome
	}{
		"Reply":    {reason: "the function has answered", partition: "lb-1", want: outcome{"ok", false}},
		"Exit":     {reason: "its process has ended", partition: "exit", want: outcome{"439", true}},
		"Hang":     {reason: "its time was up", partition: "hang", want: outcome{"433", true}},
		"Error":    {reason: "it returned an error", partition: "error", want: outcome{"430", true}},
		"Panic":    {reason: "it panicked", partition: "panic", want: outcome{"430", true}},
		"Nonsense": {reason: "it answered something else", partition: "nonsense", want: outcome{"malformed", true}},
		"Stranger": {reason: "a wrong secret is refused", partition: "lb-1", only: map[string]Transport{"URL": newURL("wrong")}, want: outcome{"401", true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.only == nil {
				tc.only = both
			}
			for way, tr := range tc.only {
				e, err := event.Request{ID: "1", Function: event.Backends, Source: "/clusters/cls-1", Partition: tc.partition, Sequence: "1",
					Sync: event.Sync{Cluster: "cls-1", Attempt: "a", LoadBalancers: []string{"lb-1"}}}.Encode(time.Now())
				if err != nil {
					t.Fatal(err)
				}
				raw, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				reply, err := tr.Send(t.Context(), event.Backends, raw)
				if diff := cmp.Diff(tc.want, of(err)); diff != "" {
					t.Errorf("%s by %s (%v): -want +got\n%s", tc.reason, way, err, diff)
				}
				if err == nil && reply.Pending != 1 {
					t.Errorf("%s by %s: reply %+v", tc.reason, way, reply)
				}
				if f := (&Failure{}); err != nil && (!errors.As(err, &f) || f.RequestID == "") {
					t.Errorf("%s by %s: %v doesn't name the platform's request", tc.reason, way, err)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%s by %s: the error shows the secret: %v", tc.reason, way, err)
				}
			}
		})
	}
}
