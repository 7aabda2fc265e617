package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// The ports that requests come from, one after the other. The kernel's choice could come to
// one again that a load balancer still remembers, and who fails to connect is not told what
// it was.
const firstPort, lastPort = 10_000, 60_000

// ports are those of a client's address, of one protocol.
type ports struct {
	from netip.Addr

	mu   sync.Mutex
	last uint16
}

func (p *ports) next() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last++; p.last < firstPort || p.last >= lastPort {
		p.last = firstPort
	}
	return netip.AddrPortFrom(p.from, p.last)
}

// dial connects from the next port that is free, and says which even where it fails.
func (p *ports) dial(ctx context.Context, to netip.AddrPort) (conn net.Conn, from netip.AddrPort, err error) {
	for range lastPort - firstPort {
		from = p.next()
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}
		conn, err = dialer.DialContext(ctx, "tcp4", to.String())
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return conn, from, err
}

// dialUDP is dial for datagrams.
func (p *ports) dialUDP(to netip.AddrPort) (conn *net.UDPConn, from netip.AddrPort, err error) {
	for range lastPort - firstPort {
		from = p.next()
		conn, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return conn, from, err
}
