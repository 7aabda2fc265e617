package dataplane

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxDatagram is more than any UDP payload over IPv4.
const maxDatagram = 64 << 10

// session is what one client address and port is to a UDP listener: a target, and a
// socket towards it.
type session struct {
	client netip.AddrPort
	target *target
	server net.Conn
	active atomic.Int64

	mu sync.Mutex
	// left: the client's next datagram goes elsewhere; closed: nothing comes back either.
	left, closed bool
}

// lastWord is how long the answers to what was sent may still come back to a client that
// was moved. UNCONFIRMED: nothing documents what becomes of them; a datagram that was
// forwarded is on its way whatever becomes of the session.
const lastWord = time.Second

func (s *session) abort(bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	if !s.closed {
		s.closed = true
		_ = s.server.Close()
	}
}

func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.left {
		s.left = true
		_ = s.server.SetReadDeadline(time.Now().Add(lastWord))
	}
}

func (s *session) hasLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// allow has the next answer waited for until the session has been idle for limit.
func (s *session) allow(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && !s.left {
		_ = s.server.SetReadDeadline(time.Unix(0, s.active.Load()).Add(limit))
	}
}

// serveUDP reads datagrams until the socket is closed.
func (f *forwarder) serveUDP(conn *net.UDPConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// An ICMP error about a client that went away.
			continue
		}
		client := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		s := f.session(conn, client)
		if s == nil {
			continue
		}
		s.active.Store(time.Now().UnixNano())
		// UDP promises nothing; a target that is down is found out by its checks.
		_, _ = s.server.Write(buf[:n])
	}
}

// session finds the client's session or opens one; nil if there is no target.
func (f *forwarder) session(conn *net.UDPConn, client netip.AddrPort) *session {
	f.mu.Lock()
	s := f.sessions[client]
	snat := f.fromVIP
	f.mu.Unlock()
	if s != nil && !s.hasLeft() {
		return s
	}

	t := f.pool.pick(client.Addr(), time.Now())
	f.tell(client, t)
	if t == nil || !f.admit() {
		return nil
	}
	source := client.Addr()
	if snat {
		source = f.vip.Addr()
	}
	server, err := dial(context.Background(), "udp", t.addr, source, f.vip.Addr())
	if err != nil {
		f.release()
		return nil
	}
	s = &session{client: client, target: t, server: server}
	s.active.Store(time.Now().UnixNano())
	if !f.pool.track(t, s) {
		s.abort(false)
		f.release()
		return nil
	}
	f.mu.Lock()
	f.sessions[client] = s
	f.mu.Unlock()
	f.plane.running.Go(func() { f.answer(conn, s) })
	return s
}

// answer carries the target's datagrams back until the session is idle or ended.
func (f *forwarder) answer(conn *net.UDPConn, s *session) {
	defer func() {
		s.abort(false)
		f.mu.Lock()
		// The client may have a new session already.
		if f.sessions[s.client] == s {
			delete(f.sessions, s.client)
		}
		f.mu.Unlock()
		f.pool.untrack(s.target, s)
		f.release()
	}()
	buf := make([]byte, maxDatagram)
	for {
		limit := f.idle()
		s.allow(limit)
		n, err := s.server.Read(buf)
		switch {
		case err == nil:
			s.active.Store(time.Now().UnixNano())
			_, _ = conn.WriteToUDPAddrPort(buf[:n], s.client)
		case errors.Is(err, syscall.ECONNREFUSED):
			// Port unreachable: the session stays with its target, as it would behind a
			// packet forwarder.
		case errors.Is(err, os.ErrDeadlineExceeded) && !s.hasLeft() && time.Now().UnixNano() < s.active.Load()+int64(limit):
		default:
			return
		}
	}
}
