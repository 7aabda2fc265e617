package dataplane

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// connectTimeout is how long a target's SYN queue may keep a client waiting.
const connectTimeout = 5 * time.Second

// dial connects to a target from source, any port. If source is not an address of this
// machine it falls back on vip: the target then sees the load balancer.
func dial(ctx context.Context, network string, to netip.AddrPort, source, vip netip.Addr) (net.Conn, error) {
	conn, err := dialFrom(ctx, network, to, source)
	if errors.Is(err, syscall.EADDRNOTAVAIL) && source != vip {
		return dialFrom(ctx, network, to, vip)
	}
	return conn, err
}

func dialFrom(ctx context.Context, network string, to netip.AddrPort, source netip.Addr) (net.Conn, error) {
	d := net.Dialer{
		// Checks of thousands of targets don't want a keep-alive timer each.
		KeepAlive: -1,
		Control:   bindLate,
	}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	} else {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d.DialContext(ctx, network, to.String())
}

// reset closes a TCP connection, or one of TLS over TCP, with RST.
func reset(conn net.Conn) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Either it is linger 0 or the connection is gone already.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
