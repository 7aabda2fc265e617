package setting

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// HTTP is the shortest answer that passes the health check of a rule.
const HTTP = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// Answers is what health checks find at every pod's address.
type Answers struct{ l net.Listener }

// AnswerEverywhere answers on PodPort of every loopback address, which is what all
// pods have, with text once it was asked something; at once and with nothing if text is
// empty. Bound to the loopback device, it is to be had from this machine only.
func AnswerEverywhere(ctx context.Context, text string) (*Answers, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "lo") }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := lc.Listen(ctx, "tcp4", fmt.Sprintf(":%d", PodPort))
	if err != nil {
		return nil, fmt.Errorf("answering for the pods: %w", err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			if text == "" {
				_ = conn.Close() // a health check asks for no more than to connect
				continue
			}
			go answer(conn, text)
		}
	}()
	return &Answers{l}, nil
}

// answer says text to whoever asks anything, which fits into one read.
func answer(conn net.Conn, text string) {
	defer conn.Close()
	var asked [1024]byte
	if _, err := conn.Read(asked[:]); err != nil {
		return
	}
	_, _ = io.WriteString(conn, text) // who asked may have gone
}

// Close ends it.
func (a *Answers) Close() error { return a.l.Close() }
