package dataplane

import (
	"net"
	"sync"
	"time"
)

// held is the connections of a listener to targets. A transport has no way to end those
// that it has given up on or will pool later; closing the listener does.
type held struct {
	mu     sync.Mutex
	closed bool
	conns  map[*impatient]struct{}
}

// hold makes conn one of the listener's.
func (f *front) hold(conn net.Conn) (net.Conn, error) {
	limit := f.plane.opts.TargetTimeout
	c := &impatient{Conn: conn, limit: limit + limit/10, held: &f.held}
	f.held.mu.Lock()
	defer f.held.mu.Unlock()
	if f.held.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if f.held.conns == nil {
		f.held.conns = map[*impatient]struct{}{}
	}
	f.held.conns[c] = struct{}{}
	return c, nil
}

// close ends all connections and those to come.
func (h *held) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.conns {
		_ = c.Conn.Close()
	}
	h.conns = nil
}

// impatient is a connection that ends when nothing moves on it for limit, be it in use
// or pooled.
type impatient struct {
	net.Conn
	limit time.Duration
	held  *held
}

// Read waits no longer than the limit.
func (c *impatient) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write waits no longer than the limit, and gives a Read that waits already its time
// anew.
func (c *impatient) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Close ends the connection.
func (c *impatient) Close() error {
	c.held.mu.Lock()
	delete(c.held.conns, c)
	c.held.mu.Unlock()
	return c.Conn.Close()
}
