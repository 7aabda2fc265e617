// Package sts is as much of Tencent Cloud's Security Token Service (STS) as a pod needs
// that proves by its own token who it is: the action AssumeRoleWithWebIdentity of API v3.
//
// The token is looked at by whoever issued it, the role's trust policy says whose are good
// for it, and the keys go into a credential store, which other emulators share: they take
// them, with the token that belongs to them, until they end.
package sts

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

const (
	version = "2018-08-13"
	action  = "AssumeRoleWithWebIdentity"
	// Lifetimes in seconds, and calls a second (STS, "AssumeRoleWithWebIdentity").
	defaultSeconds, maxSeconds = 7200, 43200
	perSecond                  = 20
)

// Options configure Start.
type Options struct {
	// Store takes the keys that are given.
	Store *tc3.Store
	// Providers are the account's identity providers by name.
	Providers map[string]Provider
	// Roles are the account's roles by name.
	Roles map[string]Role
	// Now is the clock, the system's unless set.
	Now func() time.Time
}

// Role is one of the account's.
type Role struct {
	Trust    cam.Trust
	Policies []cam.Policy
}

// Server is the emulator. Its zero value is of no use: Start makes one.
type Server struct {
	o        Options
	limiter  *rate.Limiter
	server   *http.Server
	listener net.Listener
	done     chan error

	mu       sync.Mutex
	calls    []Call
	away     *tc3.Error
	lifetime time.Duration
}

// Call is one that was answered: the error's code, or "" with the keys' id.
type Call struct{ Code, SecretID, Subject string }

// Start serves on a free port of loopback, by plain HTTP, until Close.
func Start(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening STS: %w", err)
	}
	s := &Server{o: o, limiter: rate.NewLimiter(perSecond, perSecond), listener: l, done: make(chan error, 1)}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.done <- s.server.Serve(l) }()
	return s, nil
}

// Endpoint is its host and port.
func (s *Server) Endpoint() string { return s.listener.Addr().String() }

// Close ends it.
func (s *Server) Close() error {
	err := s.server.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Calls are those that were answered so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// SetAway has every call fail with an error of the API, nil for none any more.
func (s *Server) SetAway(e *tc3.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = e
}

// SetLifetime has keys end sooner than was asked for, 0 for no longer. Whether a role's
// session duration does so, or has the API refuse, is UNCONFIRMED.
func (s *Server) SetLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifetime = d
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := tc3.NewRequestID()
	answer, call, err := s.answer(r)
	if err != nil {
		call.Code = err.Code
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	if err != nil {
		tc3.WriteError(w, id, err)
		return
	}
	tc3.WriteResult(w, id, answer)
}

// parameters of the action. The documents' example writes the duration as a text.
type parameters struct {
	ProviderId, WebIdentityToken, RoleArn, RoleSessionName string
	DurationSeconds                                        json.RawMessage
}

// answer of the action (data type Credentials).
type answer struct {
	Credentials credentials
	ExpiredTime int64
	Expiration  string
}

type credentials struct{ Token, TmpSecretId, TmpSecretKey string }

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,128}$`)

func refuse(code, format string, args ...any) *tc3.Error {
	return &tc3.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (s *Server) answer(r *http.Request) (answer, Call, *tc3.Error) {
	body, err := tc3.ReadBody(r)
	if err == nil {
		err = s.admit(r)
	}
	if err != nil {
		return answer{}, Call{}, err
	}
	p, seconds, err := decode(body)
	if err != nil {
		return answer{}, Call{}, err
	}
	return s.assume(r.Context(), p, time.Duration(seconds)*time.Second)
}

// admit checks what every call has.
func (s *Server) admit(r *http.Request) *tc3.Error {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away != nil {
		return away
	}
	if got := r.Header.Get("X-TC-Version"); got != version {
		return refuse("NoSuchVersion", "The API version %q does not exist.", got)
	}
	if got := r.Header.Get("X-TC-Action"); got != action {
		return refuse("InvalidAction", "The action %q does not exist or is not emulated.", got)
	}
	// The call proves itself by the web identity token ("Authorization should be SKIP").
	if got := r.Header.Get("Authorization"); got != "SKIP" {
		return refuse("AuthFailure.InvalidAuthorization", "The request header Authorization is not SKIP.")
	}
	if r.Header.Get("X-TC-Region") == "" {
		return refuse("MissingParameter", "The request header X-TC-Region is missing.")
	}
	if _, err := strconv.ParseInt(r.Header.Get("X-TC-Timestamp"), 10, 64); err != nil {
		return refuse("MissingParameter", "The request header X-TC-Timestamp is missing or is not a Unix time in seconds.")
	}
	if !s.limiter.Allow() {
		return refuse("RequestLimitExceeded", "The calls of %s exceed %d a second.", action, perSecond)
	}
	return nil
}

func decode(body []byte) (p parameters, seconds int64, failure *tc3.Error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, 0, refuse("InvalidParameter", "Reading the parameters: %v.", err)
	}
	for name, v := range map[string]string{"ProviderId": p.ProviderId, "WebIdentityToken": p.WebIdentityToken, "RoleArn": p.RoleArn, "RoleSessionName": p.RoleSessionName} {
		if v == "" {
			return p, 0, refuse("MissingParameter", "The parameter %s is missing.", name)
		}
	}
	if !sessionName.MatchString(p.RoleSessionName) {
		return p, 0, refuse("InvalidParameter.ParamError", "RoleSessionName: 2 to 128 letters, digits and +=,.@-.")
	}
	seconds = defaultSeconds
	if p.DurationSeconds != nil {
		var err error
		if seconds, err = strconv.ParseInt(strings.Trim(string(p.DurationSeconds), `"`), 10, 64); err != nil || seconds < 1 || seconds > maxSeconds {
			return p, 0, refuse("InvalidParameter.ParamError", "DurationSeconds: 1 to %d.", maxSeconds)
		}
	}
	return p, seconds, nil
}

func (s *Server) assume(ctx context.Context, p parameters, d time.Duration) (answer, Call, *tc3.Error) {
	provider, ok := s.o.Providers[p.ProviderId]
	if !ok {
		return answer{}, Call{}, refuse("InvalidParameter.ParamError", "The identity provider %q does not exist.", p.ProviderId)
	}
	name, _ := strings.CutPrefix(p.RoleArn, cam.Role(""))
	role, ok := s.o.Roles[name]
	if !ok {
		return answer{}, Call{}, refuse("InternalError.GetRoleError", "The role %q does not exist.", p.RoleArn)
	}
	claims, err := provider.check(ctx, p.WebIdentityToken)
	if err != nil {
		return answer{}, Call{}, refuse("InvalidParameter.WebIdentityTokenError", "The web identity token is not accepted: %v.", err)
	}
	call := Call{Subject: claims["oidc:sub"][0]}
	if !role.Trust.Admits(p.ProviderId, claims) {
		return answer{}, call, refuse("UnauthorizedOperation", "The role %q does not trust %s.", p.RoleArn, call.Subject)
	}
	s.mu.Lock()
	if s.lifetime > 0 {
		d = min(d, s.lifetime)
	}
	s.mu.Unlock()
	ends := s.o.Now().Add(d).Truncate(time.Second)
	policies := role.Policies
	if policies == nil { // a role without a policy may do nothing
		policies = []cam.Policy{}
	}
	c := tc3.Credential{
		SecretID: "AKID" + secret(), SecretKey: secret(), Token: secret() + secret(), Expires: ends,
		Principal: "role/" + name + "/" + p.RoleSessionName, Policies: policies,
	}
	s.o.Store.Prune(s.o.Now().Add(-time.Hour)) // those that ended lately say so
	s.o.Store.Add(c)
	call.SecretID = c.SecretID
	return answer{
		Credentials: credentials{Token: c.Token, TmpSecretId: c.SecretID, TmpSecretKey: c.SecretKey},
		ExpiredTime: ends.Unix(), Expiration: ends.UTC().Format(time.RFC3339),
	}, call, nil
}

func secret() string {
	raw := make([]byte, 20)
	rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}
