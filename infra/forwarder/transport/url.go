package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/clb-direct/clb-direct/shared/event"
)

// maxReply bounds what is read of an answer: SCF's own limit (583/11637).
const maxReply = 6 << 20

// URL sends by function URL: a POST of one structured-mode CloudEvent, signed with
// a shared secret.
type URL struct {
	// URLs are the functions' addresses.
	URLs map[event.Function]string
	// Secret is what the functions know as EVENT_SECRET.
	Secret string
	// Client does the requests. It must not follow redirects: the signed body is
	// for the function alone.
	Client *http.Client
	Now    func() time.Time
}

// NewURL makes the transport for URLs, checking them. parallel is how many
// connections to a function are kept.
func NewURL(urls map[event.Function]string, secret string, parallel int) (*URL, error) {
	for _, f := range event.Functions {
		u, err := url.Parse(urls[f])
		if err != nil {
			return nil, fmt.Errorf("reading the URL of %s: %w", f, err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("reading the URL of %s: %q is not an http(s) address", f, urls[f])
		}
	}
	if secret == "" {
		return nil, errors.New("reading the event secret: it is empty")
	}
	// No proxy from the environment: a forwarder's way to its functions is configured.
	client := &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: parallel,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &URL{URLs: urls, Secret: secret, Client: client, Now: time.Now}, nil
}

// Send posts the event.
func (u *URL) Send(ctx context.Context, f event.Function, payload []byte) (event.Reply, error) {
	replies, err := u.post(ctx, f, event.ContentType, payload, 1)
	if err != nil {
		return event.Reply{}, err
	}
	return replies[0], nil
}

// post sends a body of n events and gives their replies.
func (u *URL) post(ctx context.Context, f event.Function, contentType string, payload []byte, n int) ([]event.Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.URLs[f], bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("posting event: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	for k, v := range event.Sign(u.Secret, string(payload), u.Now()) {
		req.Header.Set(k, v)
	}
	resp, err := u.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("posting event: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("reading answer: %w", err)
	}
	replies, err := parseReplies(body, n)
	if err == nil {
		return replies, nil // also with a status of its own: the function has answered
	}
	return nil, urlFailure(resp, body, err, u.Now())
}

// Close lets go of idle connections.
func (u *URL) Close() { u.Client.CloseIdleConnections() }

// urlFailure says what came in place of a reply. X-Scf-Status 200 means that the
// function itself ended in its own way, whatever it then said.
func urlFailure(resp *http.Response, body []byte, cause error, now time.Time) *Failure {
	status := resp.StatusCode
	scf, err := strconv.Atoi(resp.Header.Get("X-Scf-Status"))
	if err == nil && scf != http.StatusOK {
		status = scf
	}
	f := parseFailure(body, status)
	if id := resp.Header.Get("X-Scf-Request-Id"); id != "" {
		f.RequestID = id
	}
	if err == nil && scf == http.StatusOK {
		f.Code, f.Ended = strconv.Itoa(resp.StatusCode), true
		f.Refused = resp.StatusCode >= 400 && resp.StatusCode < 500 && !tooMuch[resp.StatusCode]
	}
	f.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	f.Throttled = f.Throttled || f.RetryAfter > 0
	if resp.StatusCode == http.StatusOK {
		f.Code, f.Err = "malformed", cause
	}
	return f
}

// longestRetryAfter bounds what anybody in between may ask for.
const longestRetryAfter = time.Minute

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, 10.2.3). What
// makes no sense says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return min(max(time.Duration(seconds), 0), longestRetryAfter/time.Second) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), longestRetryAfter)
	}
	return 0
}
