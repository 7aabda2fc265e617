package application

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
)

// longestLine bounds what a plain TCP client may send without a line's end.
const longestLine = 64 << 10

// methods begin an HTTP/1 request; anything else is plain TCP.
var methods = [][]byte{
	[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("PATCH "),
	[]byte("DELETE "), []byte("OPTIONS "), []byte("CONNECT "), []byte("TRACE "),
}

// SpeaksHTTP looks at no more bytes than it needs to decide.
func SpeaksHTTP(in *bufio.Reader) bool {
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

// ReadLine returns a line with its end, or what there is at the end of input.
func ReadLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if err != bufio.ErrBufferFull || len(line) > longestLine {
			return line, err
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

// Handover is a listener that is given its connections by others.
type Handover struct {
	addr  net.Addr
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// NewHandover returns one that calls itself by an address.
func NewHandover(addr net.Addr) *Handover {
	return &Handover{
		addr:  addr,
		queue: make(chan net.Conn),
		done:  make(chan struct{}),
	}
}

// Give hands on a connection whose first bytes have been looked at.
func (h *Handover) Give(conn net.Conn, in *bufio.Reader) {
	c := &peeked{Conn: conn, in: in}
	select {
	case h.queue <- c:
	case <-h.done:
		c.Close()
	}
}

// Accept is net.Listener's.
func (h *Handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.queue:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's: what was not accepted is closed.
func (h *Handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr is net.Listener's.
func (h *Handover) Addr() net.Addr { return h.addr }
