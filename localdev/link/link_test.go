package link_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/localdev/link"
)

// echo serves lines back, and counts the connections that it has.
func echo(t *testing.T) (addr string, gone <-chan bool) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	ended := make(chan bool, 16)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					fmt.Fprintln(c, lines.Text())
				}
				_ = c.Close()
				ended <- true
			}()
		}
	}()
	return ln.Addr().String(), ended
}

func open(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// heard is what comes back within a moment, "" for nothing at all.
func heard(t *testing.T, c net.Conn, line string, within time.Duration) string {
	t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		t.Fatalf("nobody says that it is dead: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nobody says that it is dead: %v", err)
	}
	return strings.TrimSpace(got)
}

func TestSilence(t *testing.T) {
	addr, gone := echo(t)
	l, err := link.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	before := open(t, l.Addr())
	if got := heard(t, before, "a", 10*time.Second); got != "a" {
		t.Fatalf("got %q", got)
	}

	l.Silence(true)
	during := open(t, l.Addr())
	for name, c := range map[string]net.Conn{"open before": before, "opened during": during} {
		if got := heard(t, c, "b", 50*time.Millisecond); got != "" {
			t.Errorf("%s: heard %q in a silence", name, got)
		}
	}

	l.Silence(false)
	after := open(t, l.Addr())
	if got := heard(t, after, "c", 10*time.Second); got != "c" {
		t.Errorf("opened after it: got %q", got)
	}
	for name, c := range map[string]net.Conn{"open before": before, "opened during": during} {
		if got := heard(t, c, "d", 50*time.Millisecond); got != "" {
			t.Errorf("%s: came back to life with %q", name, got)
		}
	}

	// The far end hears of a near end that gives up, so that nothing is left over.
	_ = before.Close()
	<-gone
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		<-gone
	}
	if c, err := net.Dial("tcp", l.Addr()); err == nil {
		_ = c.Close()
		t.Error("it takes connections after Close")
	}
}

func TestHalfClosed(t *testing.T) {
	addr, _ := echo(t)
	l, err := link.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := open(t, l.Addr()).(*net.TCPConn)
	fmt.Fprintln(c, "last words")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || strings.TrimSpace(got) != "last words" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := link.Start("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := open(t, l.Addr())
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("want the connection closed")
	}
}
