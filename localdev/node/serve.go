package node

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// longestLine bounds what a plain TCP client may send without a line's end.
const longestLine = 64 << 10

// methods begin an HTTP/1 request; anything else is plain TCP.
var methods = [][]byte{
	[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("PATCH "),
	[]byte("DELETE "), []byte("OPTIONS "), []byte("CONNECT "), []byte("TRACE "),
}

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
	if speaksHTTP(in) {
		a.forget(conn)
		a.conns.give(&peeked{Conn: conn, in: in})
		return
	}
	defer conn.Close()
	defer a.forget(conn)
	client := conn.RemoteAddr().String()
	for {
		line, err := readLine(in)
		if len(line) > 0 {
			a.onServe()
			answer, ok := a.say(context.Background(), client, port)
			if !ok {
				return
			}
			if _, err := conn.Write(answer); err != nil {
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

// speaksHTTP looks at no more bytes than it needs to decide.
func speaksHTTP(in *bufio.Reader) bool {
	for n := 1; ; n++ {
		head, err := in.Peek(n)
		if err != nil {
			return false
		}
		possible := false
		for _, m := range methods {
			if len(head) >= len(m) && bytes.HasPrefix(head, m) {
				return true
			}
			possible = possible || bytes.HasPrefix(m, head)
		}
		if !possible {
			return false
		}
	}
}

// readLine returns a line with its end, or what there is at the end of input.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull || len(line) > longestLine {
			return line, err
		}
	}
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
			if answer, ok := a.say(context.Background(), client.String(), port); ok {
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

// peeked is a connection whose first bytes have been looked at.
type peeked struct {
	net.Conn
	in *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.in.Read(b) }

// WriteTo keeps the looked-at bytes when the connection is copied from.
func (p *peeked) WriteTo(w io.Writer) (int64, error) { return p.in.WriteTo(w) }

// handover is a listener that is given its connections by others.
type handover struct {
	addr  net.Addr
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHandover(addr netip.Addr) *handover {
	return &handover{
		addr:  net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)),
		queue: make(chan net.Conn),
		done:  make(chan struct{}),
	}
}

func (h *handover) give(c net.Conn) {
	select {
	case h.queue <- c:
	case <-h.done:
		c.Close()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.queue:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }

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
