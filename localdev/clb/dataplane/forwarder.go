package dataplane

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// forwarder serves one listener of layer 4.
type forwarder struct {
	plane *Plane
	vip   netip.AddrPort
	sock  io.Closer
	pool  *pool

	mu sync.Mutex
	// idleAfter and fromVIP are Idle and SNAT of the listener.
	idleAfter time.Duration
	fromVIP   bool
	// sessions are the UDP flows by client.
	sessions map[netip.AddrPort]*session
}

func (f *forwarder) open(l Listener) error {
	sock, err := listen(l.Network, l.Addr)
	if err != nil {
		return err
	}
	f.vip, f.sock = l.Addr, sock
	f.pool = newPool(f.plane, l.Network, l.Addr.Addr())
	switch sock := sock.(type) {
	case *net.UDPConn:
		f.sessions = map[netip.AddrPort]*session{}
		f.plane.running.Go(func() { f.serveUDP(sock) })
	case *net.TCPListener:
		f.plane.running.Go(func() { f.serveTCP(sock) })
	}
	return nil
}

func listen(network string, addr netip.AddrPort) (io.Closer, error) {
	if network == "udp" {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	}
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
}

// update takes over new settings and bindings.
func (f *forwarder) update(l Listener) {
	f.mu.Lock()
	f.idleAfter, f.fromVIP = l.Idle, l.SNAT
	f.mu.Unlock()
	f.pool.update(policy{
		scheduler: l.Scheduler, sticky: l.Sticky, resetOnUnbind: l.ResetOnUnbind, check: l.Check,
	}, l.Targets)
}

func (f *forwarder) close() {
	_ = f.sock.Close()
	f.pool.close()
}

// idle and snat read settings that may change while connections are open.
func (f *forwarder) idle() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.idleAfter
}

func (f *forwarder) snat() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fromVIP
}

// Listenable says why an address can't be listened on, or nil.
func Listenable(network string, addr netip.AddrPort) error {
	sock, err := listen(network, addr)
	if err != nil {
		return err
	}
	return sock.Close()
}
