// Package link is a network path that can go silent: what is sent over it then arrives
// nowhere, and neither end is told, as behind a firewall that has forgotten the
// connection.
package link

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/inetaf/tcpproxy"
)

// Link is a port of loopback that leads somewhere else.
type Link struct {
	proxy tcpproxy.Proxy
	addr  string

	mu     sync.Mutex
	silent bool
	far    map[*conn]bool
	near   map[net.Conn]bool
}

// Start makes a way to target, host:port. The caller must Close it.
func Start(target string) (*Link, error) {
	l := &Link{far: map[*conn]bool{}, near: map[net.Conn]bool{}}
	l.proxy.ListenFunc = func(network, address string) (net.Listener, error) {
		ln, err := net.Listen(network, address)
		if err == nil {
			l.addr = ln.Addr().String()
		}
		return ln, err
	}
	to := tcpproxy.To(target)
	to.DialContext = l.dial
	to.OnDialError = func(src net.Conn, _ error) { _ = src.Close() } // who dials sees it
	l.proxy.AddRoute("127.0.0.1:0", &tracked{l, to})
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("opening a way to %s: %w", target, err)
	}
	return l, nil
}

// Addr is where it begins.
func (l *Link) Addr() string { return l.addr }

// Silence begins or ends a silence. Connections that were open when it began stay dead
// for good; those that are opened during it are accepted and dead too.
func (l *Link) Silence(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = on
	if on {
		for c := range l.far {
			c.mute()
		}
	}
}

// Silent tells whether a silence has begun and not ended.
func (l *Link) Silent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

// Close breaks off every connection and takes no more.
func (l *Link) Close() error {
	err := l.proxy.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.near {
		_ = c.Close()
	}
	for c := range l.far {
		c.end()
		_ = c.Conn.Close()
	}
	return err
}

// tracked remembers the near halves of connections, for Close.
type tracked struct {
	link *Link
	to   tcpproxy.Target
}

func (t *tracked) HandleConn(c net.Conn) {
	t.link.mu.Lock()
	t.link.near[c] = true
	t.link.mu.Unlock()
	t.to.HandleConn(c)
	t.link.mu.Lock()
	delete(t.link.near, c)
	t.link.mu.Unlock()
}

func (l *Link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	inner, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, link: l, muted: make(chan struct{}), closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.far[c] = true
	if l.silent {
		c.mute()
	}
	return c, nil
}

// conn is the far half of a connection. Once muted it swallows what is written, and
// reading it never ends until it is closed.
type conn struct {
	net.Conn
	link              *Link
	muteOnce, endOnce sync.Once
	muted, closed     chan struct{}
}

func (c *conn) mute() { c.muteOnce.Do(func() { close(c.muted) }) }
func (c *conn) end()  { c.endOnce.Do(func() { close(c.closed) }) }

func (c *conn) isMuted() bool {
	select {
	case <-c.muted:
		return true
	default:
		return false
	}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.isMuted() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.isMuted() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// CloseWrite says that the near end sends no more. That of a silent connection has
// given up.
func (c *conn) CloseWrite() error {
	if c.isMuted() {
		c.end()
		return c.Conn.Close()
	}
	return c.Conn.(*net.TCPConn).CloseWrite()
}

// Close is the near end's: it is through, or has given up.
func (c *conn) Close() error {
	c.link.mu.Lock()
	delete(c.link.far, c)
	c.link.mu.Unlock()
	c.end()
	return c.Conn.Close()
}
