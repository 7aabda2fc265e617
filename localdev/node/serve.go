package node

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// serveTCP accepts the connections of one port until its listener closes.
func (a *app) serveTCP(l net.Listener, port int32) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		if a.exited || a.stopping {
			a.mu.Unlock()
			conn.Close()
			return
		}
		a.raw[conn] = struct{}{}
		a.wg.Go(func() { a.serveConn(conn, port) })
		a.mu.Unlock()
	}
}

// serveConn finds out what a client speaks by its first bytes. HTTP goes to the
// HTTP server, the rest is answered here, line by line.
func (a *app) serveConn(conn net.Conn, port int32) {
	in := bufio.NewReaderSize(conn, 512)
	if application.SpeaksHTTP(in) {
		a.forget(conn)
		a.conns.Give(conn, in)
		return
	}
	defer conn.Close()
	defer a.forget(conn)
	client := conn.RemoteAddr().String()
	for {
		line, err := application.ReadLine(in)
		if len(line) > 0 {
			a.onServe()
			answer, last, ok := a.say(context.Background(), client, port)
			if !ok {
				return
			}
			if _, err := conn.Write(answer); err != nil || last {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (a *app) forget(conn net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.raw, conn)
}

// serveUDP answers the datagrams of one port until its socket closes.
func (a *app) serveUDP(conn *net.UDPConn, port int32) {
	var wg sync.WaitGroup
	defer wg.Wait()
	buf := make([]byte, 64<<10)
	for {
		_, client, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		a.onServe()
		reply := func() {
			if answer, _, ok := a.say(context.Background(), client.String(), port); ok {
				_, _ = conn.WriteToUDPAddrPort(answer, client)
			}
		}
		a.mu.Lock()
		delayed := a.behave.responseDelay > 0
		a.mu.Unlock()
		if delayed {
			wg.Go(reply)
		} else {
			reply()
		}
	}
}

// dialer opens connections from one address. Many of them end in TIME_WAIT; the
// source port is chosen at connect, so that one can be used towards many
// addresses at once.
func dialer(from netip.Addr, timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:   timeout,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		Control:   bindAddressNoPort,
	}
}
