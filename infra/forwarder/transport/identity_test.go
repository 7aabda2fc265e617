package transport

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/sts"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// identity is a pod's, before an STS that can be told what to do.
type identity struct {
	*PodIdentity
	sts   *sts.Server
	store *tc3.Store
	file  string
	env   map[string]string

	mu  sync.Mutex
	now time.Time
}

func (i *identity) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

func (i *identity) pass(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

// prove writes what the pod proves itself by.
func (i *identity) prove(t *testing.T, audience string) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"iss": "i", "sub": "s", "aud": []string{audience}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.file, []byte("e30."+base64.RawURLEncoding.EncodeToString(raw)+".c2ln\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newIdentity(t *testing.T) *identity {
	t.Helper()
	trust, err := cam.ParseTrust([]byte(`{"version": "2.0", "statement": [{"effect": "allow", "action": "name/sts:AssumeRoleWithWebIdentity", "principal": {"federated": "` + cam.Provider("cls-1") + `"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	i := &identity{store: &tc3.Store{}, file: filepath.Join(t.TempDir(), "token"), now: time.Now()}
	i.sts, err = sts.Start(sts.Options{Store: i.store, Now: i.clock, Roles: map[string]sts.Role{"r": {Trust: trust}}, Providers: map[string]sts.Provider{
		"cls-1": {Issuer: "i", ClientIDs: []string{"sts.cloud.tencent.com"}, Review: func(context.Context, string, []string) (string, error) { return "s", nil }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.sts.Close(); err != nil {
			t.Error(err)
		}
	})
	i.prove(t, "sts.cloud.tencent.com")
	i.env = map[string]string{"TKE_REGION": "ap-guangzhou", "TKE_PROVIDER_ID": "cls-1", "TKE_ROLE_ARN": cam.Role("r"), "TKE_WEB_IDENTITY_TOKEN_FILE": i.file}
	if i.PodIdentity, err = NewPodIdentity(i.options(i.sts.Endpoint())); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *identity) options(endpoint string) PodIdentityOptions {
	return PodIdentityOptions{Env: func(k string) string { return i.env[k] }, Endpoint: endpoint, Scheme: "HTTP", Now: i.clock, Log: slog.New(slog.DiscardHandler)}
}

// ready is Ready with what it then gives, which the store must have.
func (i *identity) ready(t *testing.T) string {
	t.Helper()
	if err := i.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, key, token := i.GetCredential()
	c, _ := i.store.Lookup(id)
	if diff := cmp.Diff([2]string{c.SecretKey, c.Token}, [2]string{key, token}); diff != "" || id == "" {
		t.Fatalf("keys %q that STS has not given: -want +got\n%s", id, diff)
	}
	return id
}

// await waits until there are other keys than those.
func (i *identity) await(t *testing.T, old string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); i.GetSecretId() == old; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the keys are not renewed")
		}
	}
	return i.GetSecretId()
}

func TestPodIdentityRenewsBeforeKeysEnd(t *testing.T) {
	i := newIdentity(t)
	first := i.ready(t)
	i.pass(lifetime * 8 / 10)
	if again := i.ready(t); again != first || len(i.sts.Calls()) != 1 {
		t.Errorf("keys that are good for long are asked for again: %+v", i.sts.Calls())
	}
	i.pass(lifetime * 11 / 100)
	i.ready(t) // nobody waits
	second := i.await(t, first)
	i.pass(lifetime) // nobody asked in the meantime
	if third := i.ready(t); third == second {
		t.Error("keys that have ended are used on")
	}
}

func TestPodIdentityLivesThroughAnAbsenceOfSTS(t *testing.T) {
	i := newIdentity(t)
	i.sts.SetAway(&tc3.Error{Code: "InternalError.SystemError", Message: "STS is away"})
	for range 2 {
		if err := i.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "STS is away") || !strings.Contains(err.Error(), cam.Role("r")) {
			t.Errorf("want what STS has said, and of which role: %v", err)
		}
	}
	if calls := len(i.sts.Calls()); calls != 1 {
		t.Errorf("STS is asked %d times at once", calls)
	}
	i.sts.SetAway(nil)
	i.pass(respite)
	first := i.ready(t)
	i.sts.SetAway(&tc3.Error{Code: "InternalError.SystemError", Message: "STS is away"})
	i.pass(lifetime * 95 / 100)
	for range 3 {
		if got := i.ready(t); got != first {
			t.Error("keys that are still good are not used while STS is away")
		}
		i.pass(2 * respite)
	}
	i.pass(lifetime)
	if err := i.Ready(t.Context()); err == nil {
		t.Error("keys that have ended are said to be ready")
	}
}

// A wrong token is told from an absence, and a right one is taken up without a restart.
func TestPodIdentityTellsAWrongToken(t *testing.T) {
	i := newIdentity(t)
	i.prove(t, "kubernetes")
	if err := i.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "WebIdentityTokenError") {
		t.Errorf("want STS's code: %v", err)
	}
	i.prove(t, "sts.cloud.tencent.com")
	i.pass(respite)
	i.ready(t)
	for name := range i.env {
		had := i.env[name]
		i.env[name] = ""
		if _, err := NewPodIdentity(i.options("")); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error that names %s: %v", name, err)
		}
		i.env[name] = had
	}
	if err := os.Truncate(i.file, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewPodIdentity(i.options("")); err == nil {
		t.Error("an empty file is a token")
	}
}

// Keys that the API takes no longer are dropped, once.
func TestPodIdentityDropsRejectedKeys(t *testing.T) {
	i := newIdentity(t)
	first := i.ready(t)
	i.Reject("another")
	if got := i.ready(t); got != first {
		t.Error("keys are dropped for what was said of others")
	}
	i.Reject(first)
	if err := i.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), first) {
		t.Errorf("want an error that names them: %v", err)
	}
	i.pass(respite)
	second := i.ready(t)
	i.Reject(first) // said late
	if got := i.ready(t); got != second {
		t.Error("new keys are dropped for what was said of the old")
	}
}

// An STS that takes calls and says nothing holds nobody up who has keys, and who has none
// only for as long as they care to wait.
func TestPodIdentityWaitsForNobodyWithKeys(t *testing.T) {
	i := newIdentity(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	first := i.ready(t)
	i.o.Endpoint = silent.Addr().String()
	i.pass(lifetime * 95 / 100)
	if got := i.ready(t); got != first {
		t.Error("other keys out of nowhere")
	}
	i.pass(lifetime)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it waits on: %v", err)
	}
	// The call under way ends with its connection.
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		i.PodIdentity.mu.Lock()
		over := i.why != nil
		i.PodIdentity.mu.Unlock()
		if over {
			return
		}
	}
	t.Error("a connection that ended goes unnoticed")
}
