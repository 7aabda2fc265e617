package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// The ports that datagrams come from, one after the other: the kernel's choice could come
// to one again that a load balancer still remembers.
const firstPort, lastPort = 10_000, 60_000

// datagrams sends each from a port of its own.
func datagrams(ctx context.Context, t Target, rate float64, report func(Sample)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	port := uint16(firstPort)
	every(ctx, rate, func() {
		s := Sample{Kind: Datagram, Site: t.Site, To: t.Single}
		var conn *net.UDPConn
		for conn == nil {
			if port++; port >= lastPort {
				port = firstPort
			}
			var err error
			if conn, err = dialUDP(netip.AddrPortFrom(t.From, port), t.Single); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
				s.Sent, s.Opened, s.Ended, s.Err = time.Now(), time.Now(), time.Now(), err
				report(s)
				return
			}
		}
		wg.Go(func() {
			defer conn.Close()
			echo(conn, &s)
			report(s)
		})
	})
}

// steady sends all from one port.
func steady(ctx context.Context, t Target, rate float64, report func(Sample)) {
	conn, err := dialUDP(netip.AddrPortFrom(t.From, 0), t.Steady)
	if err != nil {
		now := time.Now()
		report(Sample{Kind: Flow, Site: t.Site, To: t.Steady, Sent: now, Opened: now, Ended: now, Err: err})
		return
	}
	defer conn.Close()
	every(ctx, rate, func() {
		s := Sample{Kind: Flow, Site: t.Site, To: t.Steady}
		echo(conn, &s)
		report(s)
	})
}

func dialUDP(from, to netip.AddrPort) (*net.UDPConn, error) {
	return net.DialUDP("udp4", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
}

// echo sends a datagram and waits for its answer.
func echo(conn *net.UDPConn, s *Sample) {
	s.From = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s.Sent = time.Now()
	s.Opened = s.Sent
	s.Err = func() error {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		var buf [4096]byte
		_ = conn.SetReadDeadline(s.Sent.Add(patience))
		n, err := conn.Read(buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("no answer in time")
		}
		if err != nil {
			return err
		}
		s.Answer, err = read(buf[:n])
		return err
	}()
	s.Ended = time.Now()
}
