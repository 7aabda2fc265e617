package dataplane

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// HTTP is what a listener of layer 7 (protocol HTTP or HTTPS) adds to its address. All
// of it may change from one Set to the next, but for TLS.
type HTTP struct {
	// TLS is an HTTPS listener.
	TLS bool
	// Certificate is the listener's own. Where it is nil, handshakes are refused that no
	// domain's certificate serves; the default domain's serves names of no domain.
	Certificate *tls.Certificate
	// ClientCAs asks clients for a certificate that one of these has signed (SSLMode
	// MUTUAL); nil is one-way.
	ClientCAs *x509.CertPool
	// KeepAlive reuses connections to targets (KeepaliveEnable); otherwise each request
	// has its own.
	KeepAlive bool
	// DefaultDomain is the domain whose rules serve a host that no domain matches
	// (DefaultServer); without one such requests are answered 404.
	DefaultDomain string
	Domains       []Domain
}

// Domain is a host name of a listener and the rules under it.
type Domain struct {
	// Name is exact ("a.example.com"), a wildcard at either end ("*.example.com",
	// "www.example.*"), or an address (the virtual one, for rules without a host).
	Name string
	// HTTP2 offers HTTP/2 to clients that ask for this name in the TLS handshake.
	HTTP2 bool
	// Certificate and ClientCAs serve handshakes for this name (SniSwitch); where the
	// certificate is nil the listener's two apply.
	Certificate *tls.Certificate
	ClientCAs   *x509.CertPool
	Rules       []Rule
}

// Rule is one location: a path of a domain, with targets or a redirect.
type Rule struct {
	// ID is the location's, stable from one Set to the next: it is how a rule keeps its
	// targets' health, connections and turns.
	ID string
	// Path is the Url: "/x" matches as a prefix, "= /x" exactly. Regular expressions
	// ("~ x") match nothing.
	Path string

	// Scheduler is WRR, LeastConn or IPHash.
	Scheduler Scheduler
	// Sticky keeps a client with its target by a cookie that the load balancer inserts,
	// for that long (SessionExpireTime); zero is off. With LeastConn and IPHash it has
	// no effect (CLB, "Session Persistence").
	Sticky time.Duration
	// CookieName is the name of that cookie; DefaultCookieName if empty.
	CookieName string
	// ForwardType is the protocol towards targets: HTTP, HTTPS, GRPC or GRPCS; HTTP if
	// empty.
	ForwardType string

	Check   Check
	Targets []Target

	// Redirect answers every request with a redirect; targets don't matter then.
	Redirect *Redirect
}

// Redirect sends clients somewhere else (AutoRewrite, ManualRewrite).
type Redirect struct {
	// Code is 301, 302 or 307.
	Code int
	// Scheme, Host and Port make the new address. An empty host is the request's own;
	// zero, or the scheme's usual port, is left out.
	Scheme, Host string
	Port         int
	// Path is that of the target rule. With TakeURL the request's own path and query
	// take its place (TakeUrls, "whether to carry the URL").
	Path    string
	TakeURL bool
}

// DefaultCookieName is the name of the session cookie where a rule names none.
//
// UNCONFIRMED: the documentation says only that the load balancer inserts a cookie. It
// is a name that sites behind CLB are seen to set, with 32 hexadecimal digits.
const DefaultCookieName = "tgw_l7_route"
