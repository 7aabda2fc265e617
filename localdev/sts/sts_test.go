package sts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tcerrors "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/errors"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

const (
	issuer   = "https://issuer.example"
	audience = "sts.cloud.tencent.com"
	subject  = "system:serviceaccount:clb-direct-system:forwarder"
)

// token is one that says so of itself.
func token(t *testing.T, c claims) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"iss": c.Issuer, "sub": c.Subject, "aud": c.Audience})
	if err != nil {
		t.Fatal(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln"
}

// fixture is the emulator, with a cluster that believes every token of the subject but one.
type fixture struct {
	*Server
	store *tc3.Store
	bad   string
}

func start(t *testing.T) *fixture {
	t.Helper()
	trust, err := cam.ParseTrust([]byte(`{"version": "2.0", "statement": [{"effect": "allow", "action": "name/sts:AssumeRoleWithWebIdentity",
		"principal": {"federated": "` + cam.Provider("cls-1") + `"}, "condition": {"string_equal": {"oidc:sub": "` + subject + `"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: &tc3.Store{}}
	f.Server, err = Start(Options{Store: f.store, Roles: map[string]Role{"forwarder": {Trust: trust}}, Providers: map[string]Provider{
		"cls-1": {Issuer: issuer, ClientIDs: []string{audience}, Review: func(_ context.Context, token string, _ []string) (string, error) {
			if token == f.bad {
				return "", errors.New("its signature or its time is not good")
			}
			c, err := read(token)
			return c.Subject, err
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// secure has the SDK, which speaks to nothing but TLS, speak to the emulator; it gives the
// endpoint.
func (f *fixture) secure(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(f.Server)
	t.Cleanup(s.Close)
	had := common.DefaultHttpClient
	common.DefaultHttpClient = s.Client()
	t.Cleanup(func() { common.DefaultHttpClient = had })
	return s.Listener.Addr().String()
}

// The SDK's own provider gets keys, which the store has, and renews them.
func TestSDKGetsKeys(t *testing.T) {
	f := start(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token(t, claims{issuer, subject, []string{audience}})), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{
		"TKE_REGION": "ap-guangzhou", "TKE_PROVIDER_ID": "cls-1", "TKE_ROLE_ARN": cam.Role("forwarder"), "TKE_WEB_IDENTITY_TOKEN_FILE": file,
	} {
		t.Setenv(name, v)
	}
	provider, err := common.DefaultTkeOIDCRoleArnProvider()
	if err != nil {
		t.Fatal(err)
	}
	provider.Endpoint = f.secure(t)
	held, err := provider.GetCredential()
	if err != nil {
		t.Fatal(err)
	}
	id, key, tok := held.GetCredential()
	got, ok := f.store.Lookup(id)
	if !ok {
		t.Fatalf("the store doesn't have %s", id)
	}
	if diff := cmp.Diff([2]string{key, tok}, [2]string{got.SecretKey, got.Token}); diff != "" {
		t.Errorf("-SDK +store:\n%s", diff)
	}
	if left := time.Until(got.Expires); left < 119*time.Minute || left > 2*time.Hour {
		t.Errorf("asked for two hours the keys are good for %v", left)
	}
	if got.Policies == nil {
		t.Error("a role without a policy may do everything")
	}
	// The SDK renews when a tenth of what it asked for is left: at once, then.
	f.SetLifetime(12 * time.Minute)
	if held, err = provider.GetCredential(); err != nil {
		t.Fatal(err)
	}
	first := held.GetSecretId()
	if second := held.GetSecretId(); first == second {
		t.Error("keys that are about to end are not renewed")
	}
}

func TestWhoGetsNone(t *testing.T) {
	f := start(t)
	endpoint := f.secure(t)
	good := claims{issuer, subject, []string{audience}}
	f.bad = token(t, claims{issuer, subject, []string{audience, "forged"}})
	for name, tc := range map[string]struct {
		reason, provider, role, token, session string
		seconds                                int64
		away                                   *tc3.Error
		want                                   string // code, "" for keys
	}{
		"Good":     {reason: "who is trusted gets keys"},
		"Provider": {reason: "the cluster must be known", provider: "cls-2", want: "InvalidParameter.ParamError"},
		"Role":     {reason: "so must the role", role: cam.Role("other"), want: "InternalError.GetRoleError"},
		"Arn":      {reason: "which has a name of six parts", role: "forwarder2", want: "InternalError.GetRoleError"},
		"NoToken":  {reason: "a text that is no token", token: "token", want: "InvalidParameter.WebIdentityTokenError"},
		"Issuer":   {reason: "a token of another cluster", token: token(t, claims{"https://other.example", subject, []string{audience}}), want: "InvalidParameter.WebIdentityTokenError"},
		"Audience": {reason: "a token for the API server", token: token(t, claims{issuer, subject, []string{issuer}}), want: "InvalidParameter.WebIdentityTokenError"},
		"Forged":   {reason: "a token that its cluster doesn't know", token: f.bad, want: "InvalidParameter.WebIdentityTokenError"},
		"Subject":  {reason: "another ServiceAccount isn't trusted", token: token(t, claims{issuer, "system:serviceaccount:default:default", []string{audience}}), want: "UnauthorizedOperation"},
		"Session":  {reason: "a name that isn't one", session: "a b", want: "InvalidParameter.ParamError"},
		"Long":     {reason: "half a day at most", seconds: 43200, want: ""},
		"Away":     {reason: "told to be away it gives nothing", away: &tc3.Error{Code: "InternalError.SystemError", Message: "m"}, want: "InternalError.SystemError"},
	} {
		t.Run(name, func(t *testing.T) {
			or := func(v, otherwise string) string {
				if v == "" {
					return otherwise
				}
				return v
			}
			f.SetAway(tc.away)
			p := common.NewOIDCRoleArnProvider("ap-guangzhou", or(tc.provider, "cls-1"), or(tc.token, token(t, good)), or(tc.role, cam.Role("forwarder")), or(tc.session, "s1"), max(tc.seconds, 60))
			p.Endpoint = endpoint
			_, err := p.GetCredential()
			code := ""
			if e := (*tcerrors.TencentCloudSDKError)(nil); errors.As(err, &e) {
				code = e.Code
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, code); diff != "" {
				t.Errorf("%s (%v): -want +got\n%s", tc.reason, err, diff)
			}
			calls := f.Calls()
			if last := calls[len(calls)-1]; last.Code != tc.want || (last.SecretID == "") != (tc.want != "") {
				t.Errorf("%s: it says of itself %+v", tc.reason, last)
			}
		})
	}
}
