package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// datagrams sends each from a port of its own.
func datagrams(ctx context.Context, t Target, from *ports, rate float64, report func(Sample)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	every(ctx, rate, func() {
		conn, s := open(Datagram, t, t.Single, from)
		if conn == nil {
			report(s)
			return
		}
		wg.Go(func() {
			defer conn.Close()
			echo(conn, &s)
			report(s)
		})
	})
}

// open makes a socket for datagrams; without one the sample is a failure.
func open(kind Kind, t Target, to netip.AddrPort, from *ports) (*net.UDPConn, Sample) {
	s := Sample{Kind: kind, Site: t.Site, To: to, Sent: time.Now()}
	conn, at, err := from.dialUDP(to)
	s.From, s.Err = at, err
	s.Opened, s.Ended = s.Sent, time.Now()
	return conn, s
}

// steady sends all from one port.
func steady(ctx context.Context, t Target, from *ports, rate float64, report func(Sample)) {
	conn, s := open(Flow, t, t.Steady, from)
	if conn == nil {
		report(s)
		return
	}
	defer conn.Close()
	every(ctx, rate, func() {
		s := s
		echo(conn, &s)
		report(s)
	})
}

// echo sends a datagram and waits for its answer.
func echo(conn *net.UDPConn, s *Sample) {
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
