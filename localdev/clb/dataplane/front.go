package dataplane

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits towards clients (CLB, "Layer-7 Custom Configuration", their defaults).
const (
	clientHeaderTimeout = time.Minute
	clientIdle          = 75 * time.Second
	clientMaxBody       = 60 << 20
)

// front serves one listener of layer 7. The server, and with it every connection of a
// client, lives as long as the listener; what it does with a request is read anew for
// each from serving.
type front struct {
	plane  *Plane
	vip    netip.AddrPort
	server *http.Server
	proxy  *httputil.ReverseProxy
	held   held

	serving atomic.Pointer[serving]

	mu     sync.Mutex
	closed bool
	rules  map[string]*rule
}

// serving is what one Set has made of a listener.
type serving struct {
	table     *table
	handshake *handshake
}

func newFront(p *Plane) *front {
	f := &front{plane: p, rules: map[string]*rule{}}
	quiet := slog.NewLogLogger(p.opts.Log.Handler(), slog.LevelDebug)
	f.proxy = &httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      f,
		ModifyResponse: f.keep,
		ErrorHandler:   f.fail,
		FlushInterval:  -1,
		BufferPool:     bufferPool{},
		ErrorLog:       quiet,
	}
	f.server = &http.Server{
		Handler:           f,
		ReadHeaderTimeout: clientHeaderTimeout,
		IdleTimeout:       clientIdle,
		ConnState:         f.count,
		ErrorLog:          quiet,
		Protocols:         &http.Protocols{},
	}
	f.server.Protocols.SetHTTP1(true)
	return f
}

func (f *front) open(l Listener) error {
	sock, err := listen(l.Network, l.Addr)
	if err != nil {
		return err
	}
	f.vip = l.Addr
	f.serving.Store(f.serve(&HTTP{}, nil))
	ln := sock.(net.Listener)
	if !l.HTTP.TLS {
		f.plane.running.Go(func() { f.ended(f.server.Serve(ln)) })
		return nil
	}
	f.server.Protocols.SetHTTP2(true)
	f.server.TLSConfig = &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return f.serving.Load().handshake.config(hello.ServerName), nil
		},
	}
	f.plane.running.Go(func() { f.ended(f.server.ServeTLS(ln, "", "")) })
	return nil
}

// ended takes what the server ends with: closing it is no error.
func (f *front) ended(err error) {
	if err != http.ErrServerClosed {
		f.plane.opts.Log.Error("serving a listener", "listener", f.vip.String(), "error", err)
	}
}

// count makes Plane.Close wait for the clients' connections.
func (f *front) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		f.plane.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		f.plane.running.Done()
	}
}

// update takes over what l says. Rules that stay are not touched but for what changed
// about them.
func (f *front) update(l Listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	old := f.rules
	f.rules = make(map[string]*rule, len(old))
	for _, d := range l.HTTP.Domains {
		for _, want := range d.Rules {
			r, stays := old[want.ID]
			if stays {
				delete(old, want.ID)
			} else {
				r = &rule{front: f, pool: newPool(f.plane, "tcp", f.vip.Addr())}
			}
			f.rules[want.ID] = r.update(want, l.HTTP.KeepAlive)
		}
	}
	f.serving.Store(f.serve(l.HTTP, f.rules))
	// Only now that no request finds them.
	for _, r := range old {
		r.retire()
	}
}

func (f *front) serve(h *HTTP, rules map[string]*rule) *serving {
	t := newTable(h, rules)
	return &serving{table: t, handshake: newHandshake(h, t)}
}

func (f *front) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	// It closes the listening socket and every connection but the upgraded ones, which
	// are their pools' flows. Its error would be that of a socket closed before.
	_ = f.server.Close()
	for _, r := range f.rules {
		r.pool.close()
	}
	f.held.close()
}

// enter makes Plane.Close wait for a request.
func (f *front) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.plane.running.Add(1)
	return true
}

// ServeHTTP answers one request of a client.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !f.enter() {
		panic(http.ErrAbortHandler)
	}
	defer f.plane.running.Done()

	now := f.serving.Load()
	site := now.table.site(r.Host)
	if now.handshake.misdirected(site, r.TLS) {
		answer(w, http.StatusMisdirectedRequest)
		return
	}
	if site == nil {
		answer(w, http.StatusNotFound)
		return
	}
	rule, slash := site.rule(pathOf(r))
	switch {
	case slash:
		w.Header().Set("Location", slashLocation(r))
		answer(w, http.StatusMovedPermanently)
	case rule == nil:
		answer(w, http.StatusNotFound)
	case !rule.forwards():
		to := rule.settings.redirect
		w.Header().Set("Location", to.location(r))
		answer(w, to.Code)
	case r.ContentLength > clientMaxBody:
		answer(w, http.StatusRequestEntityTooLarge)
	default:
		f.forward(rule, w, r)
	}
}

func (f *front) forward(rule *rule, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	x := &exchange{rule: rule, client: clientOf(r), cancel: cancel}
	defer x.end()
	if r.ContentLength != 0 {
		r.Body = http.MaxBytesReader(w, r.Body, clientMaxBody)
	}
	f.proxy.ServeHTTP(w, r.WithContext(context.WithValue(ctx, exchangeKey{}, x)))
}

// clientOf is the client's address.
func clientOf(r *http.Request) netip.Addr {
	// The server has it from the socket: it is well formed.
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	return remote.Addr().Unmap()
}

// rewrite makes the request to targets. The load balancer adds to X-Forwarded-For and
// sets the other headers of its own (CLB, "Layer-7 Custom Configuration", headers that
// can't be set by users; their form is that of the example in SCF, "CLB Trigger").
func (f *front) rewrite(p *httputil.ProxyRequest) {
	// RoundTrip puts the target here.
	p.Out.URL.Scheme, p.Out.URL.Host = "http", "target"
	// The proxy drops what it can't parse; a load balancer doesn't look.
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	// Trailers arrive after the body, in the client's request.
	p.Out.Trailer = p.In.Trailer

	client := clientOf(p.In).String()
	h := p.Out.Header
	for _, name := range []string{"Forwarded", "X-Forwarded-Host"} {
		if v, found := p.In.Header[name]; found {
			h[name] = v
		}
	}
	h["X-Forwarded-For"] = []string{strings.Join(append(slices.Clip(p.In.Header["X-Forwarded-For"]), client), ", ")}
	h["X-Real-Ip"] = []string{client}
	h["X-Forwarded-Proto"] = []string{scheme(p.In)}
	h["X-Client-Proto"] = []string{scheme(p.In)}
	h["X-Client-Proto-Ver"] = []string{p.In.Proto}
	now := time.Now().UnixMilli()
	h["X-Stgw-Time"] = []string{strconv.FormatInt(now/1000, 10) + "." + strconv.FormatInt(now%1000+1000, 10)[1:]}
}

// keep puts the session's cookie on an answer.
func (f *front) keep(response *http.Response) error {
	x := response.Request.Context().Value(exchangeKey{}).(*exchange)
	x.rule.settings.keep.keep(response.Header, x.target)
	return nil
}

// fail answers for a target that couldn't.
func (f *front) fail(w http.ResponseWriter, r *http.Request, err error) {
	f.plane.opts.Log.Debug("forwarding a request", "listener", f.vip.String(), "host", r.Host, "error", err)
	answer(w, statusOf(err))
}

// bufferPool lends layer 4's buffers to the proxy.
type bufferPool struct{}

// Get lends a buffer.
func (bufferPool) Get() []byte { return *buffers.Get().(*[]byte) }

// Put takes it back.
func (bufferPool) Put(b []byte) { buffers.Put(&b) }
