package dataplane

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// exchange is one request on its way to a target. It is the request's flow: aborting it
// cancels the request's context, which cuts the answer or the upgraded connection.
type exchange struct {
	rule   *rule
	client netip.Addr
	cancel context.CancelCauseFunc
	// target is the one that the request went to last.
	target *target
}

// exchangeKey finds the exchange in a request's context.
type exchangeKey struct{}

// Reasons for an exchange to end without an answer.
var (
	errNoTarget = errors.New("no target to forward to")
	errUnbound  = errors.New("target was unbound")
)

func (x *exchange) abort(bool) { x.cancel(errUnbound) }

func (x *exchange) leave() { x.abort(true) }

func (x *exchange) end() {
	if x.target != nil {
		x.rule.pool.untrack(x.target, x)
	}
	x.cancel(nil)
}

// RoundTrip sends the request to a target that the rule picks. A target that can't be
// connected to gives way to the next, each once; after something was sent the request
// goes to no other target. (CLB, "Health Check Overview": if forwarding fails it tries
// other real servers. nginx, proxy_next_upstream, goes further and repeats what is
// idempotent; here net/http does, to the same target, where a connection that was kept
// alive turns out to be closed.)
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	x := r.Context().Value(exchangeKey{}).(*exchange)
	if r.Body != nil && r.Body != http.NoBody {
		// A transport that fails closes the body, which the next attempt still needs. The
		// proxy closes it in the end.
		to := *r
		to.Body = io.NopCloser(r.Body)
		r = &to
	}
	var tried []*target
	failure := errNoTarget
	cookie := x.rule.settings.keep.route(r)
	for {
		t := x.rule.pool.pickRoute(x.client, cookie, tried, time.Now())
		if t == nil {
			return nil, failure
		}
		if !x.moveTo(t) {
			// Unbound since it was picked: it won't be picked again.
			tried = append(tried, t)
			continue
		}
		response, err := x.send(r)
		if err == nil {
			return response, nil
		}
		if unsent := (unsentError{}); !errors.As(err, &unsent) || r.Context().Err() != nil {
			return nil, err
		}
		tried, failure = append(tried, t), err
	}
}

// moveTo books the request to t.
func (x *exchange) moveTo(t *target) bool {
	if x.target != nil {
		x.rule.pool.untrack(x.target, x)
		x.target = nil
	}
	if !x.rule.pool.track(t, x) {
		return false
	}
	x.target = t
	return true
}

// send tries the request's target and books how that went.
func (x *exchange) send(r *http.Request) (*http.Response, error) {
	to, url := *r, *r.URL
	to.URL = &url
	to.URL.Scheme, to.URL.Host = x.rule.settings.link.scheme(), x.target.host
	response, err := x.rule.settings.transport.RoundTrip(&to)
	if err == nil {
		x.rule.pool.served(x.target)
		return response, nil
	}
	if r.Context().Err() == nil && !clientsFault(err) {
		x.rule.pool.failed(x.target, time.Now())
	}
	return nil, err
}

// clientsFault says whether a forwarding failed for what the client sent.
func clientsFault(err error) bool {
	var large *http.MaxBytesError
	return errors.As(err, &large)
}

// statusOf is what the client is answered when forwarding failed.
//
// UNCONFIRMED: 502 for a rule without usable targets, as nginx has it.
func statusOf(err error) int {
	var timeout net.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout
	default:
		return http.StatusBadGateway
	}
}
