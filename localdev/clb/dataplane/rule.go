package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// targetConnectTimeout is proxy_connect_timeout of CLB, "Layer-7 Custom Configuration".
const targetConnectTimeout = 4 * time.Second

// rule is one location at work: it lives from the Set that brings its ID to the one
// that no longer has it.
type rule struct {
	front *front
	pool  *pool
	// settings are never changed: a rule with others takes this one's place.
	settings *settings
}

// settings is what a rule does with a request.
type settings struct {
	redirect  *Redirect
	keep      persistence
	link      link
	transport *http.Transport
}

// link is how a rule speaks to its targets; another link needs another transport.
type link struct {
	// forwardType is HTTP, HTTPS, GRPC or GRPCS.
	forwardType string
	keepAlive   bool
}

func (l link) tls() bool { return l.forwardType == "HTTPS" || l.forwardType == "GRPCS" }

func (l link) http2() bool { return l.forwardType == "GRPC" || l.forwardType == "GRPCS" }

func (l link) scheme() string {
	if l.tls() {
		return "https"
	}
	return "http"
}

// forwards says whether requests go to targets.
func (r *rule) forwards() bool { return r.settings.redirect == nil }

// update takes over r's new settings and bindings. It returns a rule of the same pool,
// so that requests under way keep the settings that they began with.
func (r *rule) update(to Rule, keepAlive bool) *rule {
	check := to.Check
	if check.Kind == "GRPC" && to.ForwardType == "GRPCS" {
		check.Kind = "GRPCS"
	}
	if r.pool.update(policy{scheduler: to.Scheduler, check: check}, to.Targets) && r.settings != nil {
		// Connections to whoever is gone are among these; the others are soon made anew.
		r.settings.transport.CloseIdleConnections()
	}

	s := &settings{
		redirect: to.Redirect, keep: persistenceOf(to),
		link: link{forwardType: to.ForwardType, keepAlive: keepAlive},
	}
	if s.link.forwardType == "" {
		s.link.forwardType = "HTTP"
	}
	if r.settings != nil && r.settings.link == s.link {
		s.transport = r.settings.transport
	} else {
		if r.settings != nil {
			r.settings.transport.CloseIdleConnections()
		}
		s.transport = r.front.transport(s.link)
	}
	return &rule{front: r.front, pool: r.pool, settings: s}
}

// retire unbinds the targets of a rule that is gone.
func (r *rule) retire() {
	r.pool.update(policy{}, nil)
	r.settings.transport.CloseIdleConnections()
}

// transport makes the client side of a link. Each rule has its own, so that one rule's
// targets don't use up another's connections.
func (f *front) transport(l link) *http.Transport {
	t := &http.Transport{
		DialContext: f.dial,
		// Answers are passed on as they are.
		DisableCompression:  true,
		DisableKeepAlives:   !l.keepAlive,
		MaxIdleConnsPerHost: 64,
		// These come before the end of a silent connection: the one as an error of its
		// own kind, the other so that no connection is taken up again as it ends.
		ResponseHeaderTimeout: f.plane.opts.TargetTimeout,
		IdleConnTimeout:       f.plane.opts.TargetTimeout,
		Protocols:             &http.Protocols{},
	}
	if l.tls() {
		config := unverified("")
		if l.http2() {
			config = unverified("h2")
		}
		t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return f.dialTLS(ctx, addr, config)
		}
	}
	t.Protocols.SetHTTP1(!l.http2())
	t.Protocols.SetHTTP2(l.http2() && l.tls())
	t.Protocols.SetUnencryptedHTTP2(l.http2() && !l.tls())
	return t
}

// unsentError is an error from before anything of a request was sent.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// dial connects to a target.
func (f *front) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, unsentError{err}
	}
	source := f.vip.Addr()
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok && f.plane.opts.ClientSource && !x.rule.settings.link.keepAlive {
		source = x.client
	}
	ctx, cancel := context.WithTimeout(ctx, targetConnectTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", to, source, f.vip.Addr())
	if err != nil {
		return nil, unsentError{err}
	}
	return f.hold(conn)
}

func (f *front) dialTLS(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
	raw, err := f.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, targetConnectTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, unsentError{err}
	}
	if len(config.NextProtos) > 0 && conn.ConnectionState().NegotiatedProtocol != config.NextProtos[0] {
		_ = raw.Close()
		return nil, unsentError{errors.New("target doesn't speak HTTP/2")}
	}
	return conn, nil
}

// unverified is the client side of TLS to targets, whose certificates may be
// self-signed. Without a protocol it is HTTP/1.1.
func unverified(protocol string) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true}
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	return config
}
