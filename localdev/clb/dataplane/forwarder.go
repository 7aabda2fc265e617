package dataplane

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
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
	// maxConn is MaxConn, limit MaxCPS, nil without one; busy is how many there are.
	maxConn, busy int64
	maxCPS        int64
	limit         *rate.Limiter
	// tls is nil where none ends here, and as shown says.
	tls   *tls.Config
	shown *TLS
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
	f.idleAfter, f.fromVIP, f.maxConn = l.Idle, l.SNAT, l.MaxConn
	if l.MaxCPS != f.maxCPS {
		f.maxCPS, f.limit = l.MaxCPS, nil
		if l.MaxCPS > 0 {
			f.limit = rate.NewLimiter(rate.Limit(l.MaxCPS), int(l.MaxCPS))
		}
	}
	if l.TLS != nil && (f.shown == nil || *l.TLS != *f.shown) {
		f.shown, f.tls = l.TLS, serverConfig(l.TLS.Certificate, l.TLS.ClientCAs, false)
		f.tls.NextProtos = nil // whatever is inside is the target's
	}
	f.mu.Unlock()
	f.pool.update(policy{
		scheduler: l.Scheduler, sticky: l.Sticky, resetOnUnbind: l.ResetOnUnbind, reschedule: l.Reschedule, check: l.Check,
	}, l.Targets)
}

// tell passes on what a client's flow has come to; t is nil for no target.
func (f *forwarder) tell(client netip.AddrPort, t *target) {
	on := f.plane.opts.OnFlow
	if on == nil {
		return
	}
	flow := Flow{At: time.Now(), Listener: f.vip, Client: netip.AddrPortFrom(client.Addr().Unmap(), client.Port())}
	if t != nil {
		f.pool.mu.Lock()
		flow.Target, flow.Label, flow.Weight, flow.State = t.addr, t.label, t.weight, t.verdict.State()
		f.pool.mu.Unlock()
	}
	on(flow)
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

// admit books a new connection or session, which release ends, unless there are too many.
func (f *forwarder) admit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.maxConn > 0 && f.busy >= f.maxConn || f.limit != nil && !f.limit.Allow() {
		return false
	}
	f.busy++
	return true
}

func (f *forwarder) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
}

// terminates is the settings of TLS that ends here, nil if none does.
func (f *forwarder) terminates() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tls
}

// Listenable says why an address can't be listened on, or nil.
func Listenable(network string, addr netip.AddrPort) error {
	sock, err := listen(network, addr)
	if err != nil {
		return err
	}
	return sock.Close()
}
