package dataplane

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// serveTCP accepts until the listener is closed.
func (f *forwarder) serveTCP(ln *net.TCPListener) {
	for {
		conn, err := ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: it passes, and spinning doesn't help.
			f.plane.opts.Log.Error("accepting a connection", "listener", ln.Addr().String(), "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		f.plane.running.Go(func() { f.carry(conn) })
	}
}

// carry forwards one connection. A client that can't be served is reset, as a packet
// forwarder would have its SYN answered.
func (f *forwarder) carry(client *net.TCPConn) {
	// The listener's sockets are IPv4 or IPv6 as its address is, so Unmap only undoes
	// the mapped form that dual-stack systems report.
	remote := client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if !f.admit() {
		reset(client)
		return
	}
	defer f.release()
	near, ok := f.accept(client)
	if !ok {
		return
	}
	t := f.pool.pick(remote, time.Now())
	f.tell(client.RemoteAddr().(*net.TCPAddr).AddrPort(), t)
	if t == nil {
		reset(client)
		return
	}
	source := remote
	if f.snat() {
		source = f.vip.Addr()
	}
	c := &connection{client: near}
	// It is booked before the target answers: scheduling by connections counts it, and
	// unbinding ends it.
	if !f.pool.track(t, c) {
		reset(client)
		return
	}
	defer f.pool.untrack(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	server, err := dial(ctx, "tcp", t.addr, source, f.vip.Addr())
	cancel()
	if err != nil {
		f.found(t, false)
		reset(client)
		return
	}
	f.found(t, true)
	c.join(server.(*net.TCPConn))
	c.copyBoth(f.idle)
}

// handshakeTimeout is how long a client may take for its TLS handshake (nginx,
// ssl_handshake_timeout; CLB's own isn't documented).
const handshakeTimeout = time.Minute

// accept ends TLS where the listener does. A client whose handshake fails is gone.
func (f *forwarder) accept(client *net.TCPConn) (stream, bool) {
	config := f.terminates()
	if config == nil {
		return client, true
	}
	near := tls.Server(client, config)
	// Nothing ends a handshake but its client, its time, and the listener's end.
	early := &connection{client: near}
	if !f.pool.hold(early) {
		reset(client)
		return nil, false
	}
	defer f.pool.let(early)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := near.HandshakeContext(ctx); err != nil {
		_ = client.Close() // after the alert, which says why
		return nil, false
	}
	return near, true
}

// found books what forwarding to t came to, for the passive check that listeners have
// where TLS ends (CLB, "Health Check Overview").
func (f *forwarder) found(t *target, reached bool) {
	switch {
	case f.terminates() == nil:
	case reached:
		f.pool.served(t)
	default:
		f.pool.failed(t, time.Now())
	}
}

// stream is a connection of which one direction can end before the other.
type stream interface {
	net.Conn
	CloseWrite() error
}

// connection is a client and a target joined. A library's proxy would do but for two
// things that clients of a load balancer rely on: a reset on one side must arrive as a
// reset on the other (an end of file would make a cut answer look whole), and a
// connection idle for IdleConnectTimeout ends.
type connection struct {
	client stream

	mu      sync.Mutex
	server  stream
	aborted bool
	reset   bool

	// active is when bytes last moved, in either direction, as Unix nanoseconds.
	active atomic.Int64
}

// join adds the target's side; if the connection was aborted meanwhile it is closed.
func (c *connection) join(server stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = server
	if c.aborted {
		c.end(server)
	}
}

func (c *connection) abort(withReset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		return
	}
	c.aborted, c.reset = true, withReset
	c.end(c.client)
	if c.server != nil {
		c.end(c.server)
	}
}

func (c *connection) leave() { c.abort(true) }

func (c *connection) end(conn stream) {
	if c.reset {
		reset(conn)
		return
	}
	_ = conn.Close()
}

// copyBoth copies until both directions have ended or the connection was aborted.
func (c *connection) copyBoth(idle func() time.Duration) {
	c.active.Store(time.Now().UnixNano())
	var back sync.WaitGroup
	back.Go(func() { c.copyOne(c.client, c.server, idle) })
	c.copyOne(c.server, c.client, idle)
	back.Wait()
	c.abort(false)
}

// copyOne copies one direction and passes its end on: a half close as a half close,
// anything else as a reset.
func (c *connection) copyOne(dst, src stream, idle func() time.Duration) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		limit := idle()
		if limit > 0 {
			_ = src.SetReadDeadline(time.Unix(0, c.active.Load()).Add(limit))
		}
		n, err := src.Read(*buf)
		if n > 0 {
			c.active.Store(time.Now().UnixNano())
			if _, werr := dst.Write((*buf)[:n]); werr != nil {
				c.abort(true)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			// The latter is a TLS client that closes without saying so in TLS.
			_ = dst.CloseWrite()
			return
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().UnixNano() < c.active.Load()+int64(limit):
			// The other direction has moved since.
		default:
			c.abort(true)
			return
		}
	}
}

// buffers are shared by all connections: most are short.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
