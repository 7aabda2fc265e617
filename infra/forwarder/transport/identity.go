package transport

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	"golang.org/x/sync/singleflight"
)

const (
	// DefaultSTS is where STS is unless told otherwise.
	DefaultSTS = "sts.tencentcloudapi.com"
	// lifetime is for how long keys are asked, the API's default; a role may give them
	// for less.
	lifetime = 2 * time.Hour
	// patience is how long STS may take: some other replica, or the next send, asks again.
	patience = 10 * time.Second
	// respite is how long STS is left alone after it gave nothing: it takes 20 calls a
	// second, and everything that is to be sent asks.
	respite = time.Second
)

// PodIdentityOptions say who a pod is, and where that is changed for keys.
type PodIdentityOptions struct {
	// Env looks variables up: TKE_REGION, TKE_PROVIDER_ID, TKE_ROLE_ARN and
	// TKE_WEB_IDENTITY_TOKEN_FILE, which TKE's add-on or the chart sets in the pod.
	Env func(string) string
	// Endpoint is the host of STS, DefaultSTS unless set; Scheme HTTPS unless set.
	Endpoint, Scheme string
	// Now is the clock, the system's unless set.
	Now func() time.Time
	Log *slog.Logger
}

// PodIdentity is TKE's credential of a pod (OIDC): the pod's own token is changed for
// temporary keys of a role, by STS's AssumeRoleWithWebIdentity.
//
// The SDK has a provider for that, which is not used: it tells nobody when keys end,
// holds up every call for as long as STS is silent although the old keys are good for
// another while, knows no region but ap-guangzhou and writes what goes wrong to a log
// that isn't ours.
type PodIdentity struct {
	o      PodIdentityOptions
	flight singleflight.Group

	mu   sync.Mutex
	held keys
	// from is when keys are asked for next at the earliest, why is what went wrong last.
	from time.Time
	why  error
}

// keys are temporary ones: not to be used from ends on, to be renewed from renew on.
type keys struct {
	id, key, token string
	renew, ends    time.Time
}

// NewPodIdentity makes one. It fails where a variable is missing or there is no token;
// without STS it begins all the same: whatever is sent waits, and comes again.
func NewPodIdentity(o PodIdentityOptions) (*PodIdentity, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, name := range []string{"TKE_REGION", "TKE_PROVIDER_ID", "TKE_ROLE_ARN", "TKE_WEB_IDENTITY_TOKEN_FILE"} {
		if o.Env(name) == "" {
			return nil, fmt.Errorf("reading the pod's identity: %s is not set: the ServiceAccount has no role, or TKE's add-on pod-identity-webhook was not there when the pod was made", name)
		}
	}
	p := &PodIdentity{o: o}
	if _, err := p.proof(); err != nil {
		return nil, err
	}
	return p, nil
}

// proof reads the pod's token, which the kubelet renews.
func (p *PodIdentity) proof() (string, error) {
	raw, err := os.ReadFile(p.o.Env("TKE_WEB_IDENTITY_TOKEN_FILE"))
	if err != nil {
		return "", fmt.Errorf("reading the pod's token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" {
		return "", errors.New("reading the pod's token: the file is empty")
	}
	return token, nil
}

// Ready returns when there are keys, which it asks for if there are none. Keys that will
// end soon are renewed besides: nobody waits for that. It fails, with what STS has said,
// where none are to be had now.
func (p *PodIdentity) Ready(ctx context.Context) error {
	now := p.o.Now()
	p.mu.Lock()
	held, from, why := p.held, p.from, p.why
	p.mu.Unlock()
	usable, pausing := now.Before(held.ends), now.Before(from)
	switch {
	case usable && (now.Before(held.renew) || pausing):
		return nil
	case pausing:
		return why
	}
	renewal := p.flight.DoChan("", func() (any, error) { return nil, p.renew(context.WithoutCancel(ctx)) })
	if usable {
		return nil
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting for keys of the pod's role: %w", ctx.Err())
	case r := <-renewal:
		return r.Err
	}
}

// renew asks for keys and keeps them, or why there are none.
func (p *PodIdentity) renew(ctx context.Context) error {
	got, err := p.assume(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.from, p.why = p.o.Now().Add(respite), fmt.Errorf("getting keys of the pod's role %s: %w", p.o.Env("TKE_ROLE_ARN"), err)
		p.o.Log.Warn("the pod's role gives no keys", "error", p.why, "held until", p.held.ends)
		return p.why
	}
	p.held, p.from, p.why = got, time.Time{}, nil
	p.o.Log.Info("the pod's role has given keys", "until", got.ends)
	return nil
}

// assumed is what STS answers (API 3.0, sts 2018-08-13, AssumeRoleWithWebIdentity).
type assumed struct {
	Response struct {
		Credentials struct{ Token, TmpSecretId, TmpSecretKey string }
		ExpiredTime int64
		RequestId   string
	}
}

// assume changes the pod's token for keys. The call is not signed: the token proves
// who asks.
func (p *PodIdentity) assume(ctx context.Context) (keys, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	token, err := p.proof()
	if err != nil {
		return keys{}, err
	}
	prof := profile.NewClientProfile()
	prof.HttpProfile.Endpoint = cmp.Or(p.o.Endpoint, DefaultSTS)
	prof.HttpProfile.Scheme = cmp.Or(p.o.Scheme, "HTTPS")
	client := common.NewCommonClient(nil, p.o.Env("TKE_REGION"), prof)
	req := tchttp.NewCommonRequest("sts", "2018-08-13", "AssumeRoleWithWebIdentity")
	req.SetSkipSign(true)
	req.SetContext(ctx)
	asked := p.o.Now()
	if err := req.SetActionParameters(map[string]any{
		"ProviderId": p.o.Env("TKE_PROVIDER_ID"), "WebIdentityToken": token, "RoleArn": p.o.Env("TKE_ROLE_ARN"),
		"RoleSessionName": fmt.Sprintf("clb-direct-%d", asked.Unix()), "DurationSeconds": int64(lifetime / time.Second),
	}); err != nil {
		return keys{}, fmt.Errorf("asking STS: %w", err)
	}
	resp := tchttp.NewCommonResponse()
	if err := client.Send(req, resp); err != nil {
		return keys{}, fmt.Errorf("asking STS: %w", err)
	}
	var a assumed
	if err := json.Unmarshal(resp.GetBody(), &a); err != nil {
		return keys{}, fmt.Errorf("reading STS's answer: %w", err)
	}
	c, ends := a.Response.Credentials, time.Unix(a.Response.ExpiredTime, 0)
	if c.TmpSecretId == "" || c.TmpSecretKey == "" || c.Token == "" || !ends.After(asked) {
		return keys{}, fmt.Errorf("reading STS's answer: it has no keys that are good for a while (request %s)", a.Response.RequestId)
	}
	// The last tenth is for trying: STS may be away.
	return keys{id: c.TmpSecretId, key: c.TmpSecretKey, token: c.Token, renew: ends.Add(-ends.Sub(asked) / 10), ends: ends}, nil
}

// Reject drops the keys with that id: they have ended before their time, or clocks differ.
func (p *PodIdentity) Reject(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.id == id && id != "" {
		p.held, p.from = keys{}, p.o.Now().Add(respite)
		p.why = fmt.Errorf("getting keys of the pod's role: the cloud no longer takes those of id %s", id)
	}
}

// GetCredential gives id, key and token, nothing where Ready has found none.
func (p *PodIdentity) GetCredential() (id, key, token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held.id, p.held.key, p.held.token
}

// GetSecretId gives the id.
func (p *PodIdentity) GetSecretId() string { id, _, _ := p.GetCredential(); return id }

// GetSecretKey gives the key.
func (p *PodIdentity) GetSecretKey() string { _, key, _ := p.GetCredential(); return key }

// GetToken gives the token.
func (p *PodIdentity) GetToken() string { _, _, token := p.GetCredential(); return token }
