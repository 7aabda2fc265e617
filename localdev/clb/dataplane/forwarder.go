package dataplane

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// flow is one connection or UDP session that a forwarder carries.
type flow interface {
	// abort ends it at once, with RST if asked and if its protocol has one.
	abort(reset bool)
}

// forwarder serves one listener.
type forwarder struct {
	plane *Plane
	vip   netip.AddrPort
	sock  io.Closer

	mu      sync.Mutex
	closed  bool
	l       Listener
	targets []*target
	byAddr  map[netip.AddrPort]*target
	sticky  map[netip.Addr]*keeping
	flows   map[flow]struct{}

	// sessions are the UDP flows by client.
	sessions map[netip.AddrPort]*session
}

// target is one binding at work.
type target struct {
	addr    netip.AddrPort
	weight  int
	verdict *Verdict
	checker *checker
	gone    bool

	// current is the running score of smooth weighted round robin.
	current int
	flows   map[flow]struct{}
}

// keeping is where a client's address is kept, and until when.
type keeping struct {
	t     *target
	until time.Time
}

func (f *forwarder) open(l Listener) error {
	sock, err := listen(l.Network, l.Addr)
	if err != nil {
		return err
	}
	f.vip, f.sock = l.Addr, sock
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

// update takes over new settings and bindings. Bindings that stay keep their health,
// their connections and their place in the round.
func (f *forwarder) update(l Listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	old := f.byAddr
	checkChanged := l.Check != f.l.Check
	f.l = l
	f.l.Targets = nil
	f.byAddr = make(map[netip.AddrPort]*target, len(l.Targets))
	f.targets = make([]*target, 0, len(l.Targets))

	for _, want := range l.Targets {
		t, stays := old[want.Addr]
		if stays = stays && t.verdict == want.Verdict; stays {
			delete(old, want.Addr)
		} else {
			t = &target{addr: want.Addr, verdict: want.Verdict, flows: map[flow]struct{}{}}
			t.checker = &checker{plane: f.plane, source: f.vip.Addr(), network: l.Network, target: want.Addr, verdict: want.Verdict}
		}
		t.weight = want.Weight
		f.byAddr[want.Addr] = t
		f.targets = append(f.targets, t)
		if on := l.Check.On && (t.weight > 0 || !f.plane.opts.SkipWeightZero); !stays || checkChanged || on != t.checker.running() {
			t.checker.apply(l.Check, on)
		}
	}
	for _, t := range old {
		f.unbind(t)
	}
	for client, k := range f.sticky {
		if k.t.gone {
			delete(f.sticky, client)
		}
	}
}

// unbind ends a binding; f.mu is held.
func (f *forwarder) unbind(t *target) {
	t.gone = true
	t.checker.stop()
	if f.plane.opts.KeepUnbound {
		return
	}
	for fl := range t.flows {
		fl.abort(f.l.ResetOnUnbind)
	}
}

func (f *forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	_ = f.sock.Close()
	for _, t := range f.targets {
		t.gone = true
		t.checker.stop()
	}
	for fl := range f.flows {
		fl.abort(true)
	}
}

// track books fl to t. It fails if t was unbound since it was picked, or the listener
// closed: the caller then drops the connection.
func (f *forwarder) track(t *target, fl flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || t.gone {
		return false
	}
	f.flows[fl] = struct{}{}
	t.flows[fl] = struct{}{}
	return true
}

func (f *forwarder) untrack(t *target, fl flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flows, fl)
	delete(t.flows, fl)
}

// idle and snat read settings that may change while connections are open.
func (f *forwarder) idle() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.l.Idle
}

func (f *forwarder) snat() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.l.SNAT
}

// Listenable says why an address can't be listened on, or nil.
func Listenable(network string, addr netip.AddrPort) error {
	sock, err := listen(network, addr)
	if err != nil {
		return err
	}
	return sock.Close()
}
