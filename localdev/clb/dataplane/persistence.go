package dataplane

import (
	"encoding/hex"
	"hash/fnv"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// routeOf is the value of session cookies that stands for a target: the same in every
// rule and after a restart, and not the address itself.
func routeOf(addr netip.AddrPort) string {
	h := fnv.New128a()
	// Writing to a hash never fails.
	_, _ = h.Write([]byte(addr.String()))
	return hex.EncodeToString(h.Sum(nil))
}

// pickRoute is pick for requests: where the cookie names a fit target it goes there.
func (p *pool) pickRoute(client netip.Addr, cookie string, tried []*target, now time.Time) *target {
	p.mu.Lock()
	defer p.mu.Unlock()
	fit := p.fit(now, tried)
	if len(fit) == 0 {
		return nil
	}
	if cookie != "" {
		if at := slices.IndexFunc(fit, func(t *target) bool { return t.cookie == cookie }); at >= 0 {
			return fit[at]
		}
	}
	return p.schedule(fit, client)
}

// persistence is how a rule keeps clients with their target; the zero value doesn't.
type persistence struct {
	name   string
	expire time.Duration
}

// persistenceOf is r's session persistence. Only weighted round robin has cookies (CLB,
// "Session Persistence", layer 7).
func persistenceOf(r Rule) persistence {
	if r.Sticky <= 0 || r.Scheduler == LeastConn || r.Scheduler == IPHash {
		return persistence{}
	}
	if r.CookieName == "" {
		r.CookieName = DefaultCookieName
	}
	return persistence{name: r.CookieName, expire: r.Sticky}
}

// route is the target that the request's cookie names.
func (s persistence) route(r *http.Request) string {
	if s.name == "" {
		return ""
	}
	cookie, err := r.Cookie(s.name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// keep has the client come back to t. The cookie is given again with each answer, so
// that a session ends when no request came for that long.
//
// UNCONFIRMED: the documentation names neither the attributes nor when it is renewed.
func (s persistence) keep(h http.Header, t *target) {
	if s.name == "" {
		return
	}
	cookie := http.Cookie{
		Name: s.name, Value: t.cookie, Path: "/", HttpOnly: true,
		MaxAge: max(1, int(s.expire/time.Second)),
	}
	h.Add("Set-Cookie", cookie.String())
}
