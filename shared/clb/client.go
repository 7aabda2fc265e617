// Package clb is the CLB API at the edge: it observes load balancers, listeners,
// targets and health as the nouns of package model, and applies single changes. It
// knows no policy and plans nothing.
//
// Every call goes through one middleware stack (stack.go) around
// tencentcloud-sdk-go, whose own retry stays off: it sleeps without regard to the
// context and repeats only what has a ClientToken.
package clb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	"golang.org/x/time/rate"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// WriteTimeout is the longest a single write may take; who holds a Lease starts a
// write only if the Lease outlasts it.
const WriteTimeout = 5 * time.Second

// readTimeout is the longest a single read may take. Ten thousand targets are a
// few megabytes.
const readTimeout = 15 * time.Second

// Options of a Client.
type Options struct {
	// Region like ap-guangzhou.
	Region string
	// Endpoint is the API's host, with http:// in front where it isn't TLS;
	// "" is Tencent's public one.
	Endpoint string
	// Credentials are asked for at every call: SCF renews them with each event.
	Credentials func() (secretID, secretKey, token string)
	// Transport replaces http.DefaultTransport.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// Client makes CLB API calls. It keeps connections, so one is kept for the life
// of a process; what belongs to one event is in a Session.
type Client struct {
	api *sdk.Client
	log *slog.Logger
	// inline: batches were seen to be done when they are answered.
	inline atomic.Bool
}

// Session makes the calls of one event: with its rates, under its Lease, counted.
type Session struct {
	*Client
	grant map[string]float64
	fence func(context.Context) error

	mu       sync.Mutex
	limiters map[string]*rate.Limiter
	calls    map[string]int
	// doubt: a write may still take effect.
	doubt bool
}

// New makes a client. Nothing is sent before the first call.
func New(o Options) (*Client, error) {
	p := profile.NewClientProfile()
	p.HttpProfile.ReqMethod = "POST"
	p.HttpProfile.ReqTimeout = int(readTimeout / time.Second)
	p.NetworkFailureMaxRetries = 0
	p.RateLimitExceededMaxRetries = 0
	if host, plain := strings.CutPrefix(o.Endpoint, "http://"); plain {
		p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", strings.TrimSuffix(host, "/")
	} else if o.Endpoint != "" {
		p.HttpProfile.Endpoint = strings.TrimSuffix(strings.TrimPrefix(o.Endpoint, "https://"), "/")
	}
	api, err := sdk.NewClient(credentials{o.Credentials}, o.Region, p)
	if err != nil {
		return nil, fmt.Errorf("making the CLB client: %w", err)
	}
	transport := o.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 16
		transport = t
	}
	api.WithHttpTransport(transport)
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Client{api: api, log: log}, nil
}

// Session begins the calls of one event. grant is calls a second by action, "*"
// for the others, empty for DefaultRate. fence is asked before every write; its
// error is the write's.
func (c *Client) Session(grant map[string]float64, fence func(context.Context) error) *Session {
	if fence == nil {
		fence = func(context.Context) error { return nil }
	}
	return &Session{Client: c, grant: grant, fence: fence, limiters: map[string]*rate.Limiter{}, calls: map[string]int{}}
}

// Doubt notes that a write whose end nobody has seen may still take effect. What is read
// meanwhile may be from before it.
func (s *Session) Doubt() { s.setDoubt(true) }

// Doubtful tells whether that may be so: after Doubt, or a write whose outcome isn't known.
// A CLB takes one write at a time, so one that was seen done ends it.
func (s *Session) Doubtful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubt
}

func (s *Session) setDoubt(doubt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubt = doubt
}

// wrote takes in how a write ended. What the API refused changes nothing.
func (s *Session) wrote(err error) {
	var failed *taskError
	switch {
	case err == nil || errors.As(err, &failed):
		s.setDoubt(false)
	case fault.Is(err, fault.Transient):
		s.setDoubt(true)
	}
}

// DefaultRate is how many calls a second per action an event makes that was
// granted nothing: a fraction of the 20 that all of the account share (CLB API,
// rate limits).
const DefaultRate = 4

// limiter of an action. The burst lets the first few calls of a pass go at once:
// a pass seldom has more.
func (s *Session) limiter(action string) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.limiters[action]
	if !ok {
		r, granted := s.grant[action]
		if !granted {
			if r, granted = s.grant["*"]; !granted {
				r = DefaultRate
			}
		}
		l = rate.NewLimiter(rate.Limit(r), 2)
		s.limiters[action] = l
	}
	return l
}

func (s *Session) count(action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[action]++
}

// Calls are the calls made so far, by action.
func (s *Session) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// credentials adapts a function to the SDK's interface; the SDK asks it anew for
// every request.
type credentials struct {
	get func() (id, key, token string)
}

func (c credentials) GetSecretId() string  { id, _, _ := c.get(); return id }
func (c credentials) GetSecretKey() string { _, key, _ := c.get(); return key }
func (c credentials) GetToken() string     { _, _, token := c.get(); return token }
func (c credentials) GetCredential() (string, string, string) {
	return c.get()
}
