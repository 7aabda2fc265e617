package dataplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// stage is a data plane with one listener of layer 7.
type stage struct {
	t     *testing.T
	plane *Plane
	l     Listener
}

// vips gives each test an address of its own, and its process gives it a network, as the
// package may be tested twice at a time.
var vips atomic.Int32

func newStage(t *testing.T, opts Options) *stage {
	t.Helper()
	n := vips.Add(1)
	s := &stage{t: t, plane: New(opts), l: Listener{
		ID: "lbl-1", Network: "tcp", HTTP: &HTTP{},
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(100 + os.Getpid()%100), byte(n >> 8), byte(n)}), 8080),
	}}
	t.Cleanup(s.plane.Close)
	return s
}

// set serves the domains.
func (s *stage) set(domains ...Domain) {
	s.t.Helper()
	h := *s.l.HTTP
	h.Domains = domains
	s.l.HTTP = &h
	if err := s.plane.Set(s.l); err != nil {
		s.t.Fatal(err)
	}
}

// rules serves rules of one domain that is the default one.
func (s *stage) rules(rules ...Rule) {
	s.t.Helper()
	s.l.HTTP.DefaultDomain = "any.test"
	s.set(Domain{Name: "any.test", Rules: rules})
}

// url is the path at the listener.
func (s *stage) url(path string) string { return "http://" + s.l.Addr.String() + path }

// client is one with connections of its own, from a fixed address.
func (s *stage) client(from string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", s.l.Addr.String())
		},
		DisableCompression: true,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get asks for the path of host and gives status and body.
func (s *stage) get(host, path string) (int, string) {
	s.t.Helper()
	return s.ask(s.client("127.88.0.1"), host, path)
}

func (s *stage) ask(c *http.Client, host, path string) (int, string) {
	s.t.Helper()
	response := s.do(c, host, path)
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (s *stage) do(c *http.Client, host, path string, change ...func(*http.Request)) *http.Response {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	for _, each := range change {
		each(r)
	}
	response, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}

// pod is an HTTP server that says its name, or does what its handler does.
type pod struct {
	addr   netip.AddrPort
	server *http.Server
	// open counts the connections to it, without the upgraded ones.
	open atomic.Int32
}

func (s *stage) pod(handler http.Handler) *pod {
	s.t.Helper()
	return s.podOver(handler, nil)
}

// named is a pod that answers its name.
func (s *stage) named(name string) *pod {
	return s.pod(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
}

// podOver is a pod that speaks HTTP/1, and HTTP/2 in clear or over TLS too.
func (s *stage) podOver(handler http.Handler, config *tls.Config) *pod {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.79.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	p := &pod{addr: ln.Addr().(*net.TCPAddr).AddrPort(), server: &http.Server{
		Handler: handler, Protocols: &http.Protocols{}, TLSConfig: config,
		// Checks that end with their listener are no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}}
	p.server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			p.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			p.open.Add(-1)
		}
	}
	p.server.Protocols.SetHTTP1(true)
	p.server.Protocols.SetHTTP2(true)
	p.server.Protocols.SetUnencryptedHTTP2(true)
	if config == nil {
		go p.server.Serve(ln)
	} else {
		go p.server.ServeTLS(ln, "", "")
	}
	s.t.Cleanup(func() { p.server.Close() })
	return p
}

// closedPort is an address that refuses connections.
func (s *stage) closedPort() *pod {
	p := s.named("closed")
	p.server.Close()
	// Serve closes the socket when it has begun; either way nobody listens from here on.
	for {
		conn, err := net.Dial("tcp", p.addr.String())
		if err != nil {
			return p
		}
		conn.Close()
	}
}

// bound is targets without health checks, all of one weight.
func bound(pods ...*pod) []Target {
	var out []Target
	for _, p := range pods {
		out = append(out, p.weighing(10))
	}
	return out
}

// weighing is the pod bound with a weight.
func (p *pod) weighing(weight int) Target {
	v := &Verdict{}
	v.set(Closed)
	return Target{Addr: p.addr, Weight: weight, Verdict: v}
}

// spread counts the answers to n requests.
func (s *stage) spread(n int, c *http.Client) map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	for range n {
		status, body := s.ask(c, "", "/")
		if status != http.StatusOK {
			body = fmt.Sprint(status)
		}
		counts[strings.TrimSpace(body)]++
	}
	return counts
}

// await gives up after a while.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting: %s", what)
		}
	}
}

// target is what the plane knows of a binding.
func (s *stage) target(rule string, p *pod) *target {
	f := s.front()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rules[rule].pool.byAddr[p.addr]
}

// targetOf is the address that a cookie's value stands for.
func (s *stage) targetOf(rule, cookie string) netip.AddrPort {
	f := s.front()
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr, t := range f.rules[rule].pool.byAddr {
		if t.cookie == cookie {
			return addr
		}
	}
	return netip.AddrPort{}
}

func (s *stage) front() *front {
	s.plane.mu.Lock()
	defer s.plane.mu.Unlock()
	return s.plane.forwarders[s.l.ID].(*front)
}

// countDials counts the connections of a client.
func countDials(dial dialer, n *int) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		*n++
		return dial(ctx, network, addr)
	}
}

// dialer is what a transport connects with.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)
