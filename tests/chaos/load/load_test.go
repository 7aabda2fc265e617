package load

import (
	"bufio"
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/localdev/node/application"
)

// pod answers as applications do, as long as say gives an answer: over HTTP with one
// request for each connection that isn't kept, line by line, and by datagrams.
type pod struct {
	tcp net.Listener
	udp [2]*net.UDPConn

	mu    sync.Mutex
	lines int
	// say is what the nth line is answered with; false cuts the connection instead.
	say func(n int) (application.Answer, bool)
}

func newPod(t *testing.T, say func(int) (application.Answer, bool)) (*pod, Target) {
	t.Helper()
	p := &pod{say: say}
	var err error
	if p.tcp, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.tcp.Close() })
	at := Target{Site: "web", From: netip.MustParseAddr("127.0.0.77"), Web: p.tcp.Addr().(*net.TCPAddr).AddrPort()}
	for i, addr := range []*netip.AddrPort{&at.Single, &at.Steady} {
		if p.udp[i], err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.udp[i].Close() })
		*addr = p.udp[i].LocalAddr().(*net.UDPAddr).AddrPort()
		go p.echo(p.udp[i])
	}
	go func() {
		for {
			conn, err := p.tcp.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p, at
}

func (p *pod) next() (application.Answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines++
	return p.say(p.lines)
}

func (p *pod) echo(conn *net.UDPConn) {
	buf := make([]byte, 100)
	for {
		_, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if a, ok := p.next(); ok {
			raw, _ := json.Marshal(a)
			_, _ = conn.WriteToUDPAddrPort(raw, from)
		}
	}
}

func (p *pod) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		web := line != "hello\n"
		for web && line != "\r\n" { // the header
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
		}
		a, ok := p.next()
		if !ok {
			return
		}
		raw, _ := json.Marshal(a)
		raw = append(raw, '\n')
		if web {
			raw = append([]byte("HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(raw))+"\r\n\r\n"), raw...)
		}
		if _, err := conn.Write(raw); err != nil || a.State == application.StateTerminating {
			return
		}
	}
}

// press asks with one kind alone until so many samples have come.
func press(t *testing.T, at Target, kind Kind, n int) []Sample {
	t.Helper()
	var mu sync.Mutex
	var out []Sample
	enough := make(chan struct{})
	stop := Press(at, Rates{kind: 50}, func(s Sample) {
		mu.Lock()
		defer mu.Unlock()
		if out = append(out, s); len(out) == n {
			close(enough)
		}
	})
	select {
	case <-enough:
	case <-time.After(30 * time.Second):
		t.Error("too few samples")
	}
	stop()
	return out
}

func well(int) (application.Answer, bool) {
	return application.Answer{UID: "a", State: application.StateReady, Ready: true}, true
}

// TestKinds: every kind asks at its address, from the client's own, and keeps or doesn't
// keep what it asks from.
func TestKinds(t *testing.T) {
	kept := map[Kind]bool{Kept: true, Long: true, Flow: true}
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			_, at := newPod(t, well)
			to := map[Kind]netip.AddrPort{Short: at.Web, Kept: at.Web, Long: at.Web, Datagram: at.Single, Flow: at.Steady}[kind]
			ports := map[netip.AddrPort]bool{}
			samples := press(t, at, kind, 10)
			for _, s := range samples {
				if s.Err != nil || s.Kind != kind || s.Site != "web" || s.Answer.UID != "a" || s.To != to || s.From.Addr() != at.From || s.Ended.Before(s.Sent) || s.Opened.After(s.Ended) {
					t.Errorf("got %+v", s)
				}
				ports[s.From] = true
			}
			if few := len(ports) <= 2; few != kept[kind] {
				t.Errorf("%d requests came from %d ports", len(samples), len(ports))
			}
		})
	}
}

// TestLostAnswersAreFailures, whatever the way of asking.
func TestLostAnswersAreFailures(t *testing.T) {
	for _, kind := range []Kind{Short, Long} {
		t.Run(string(kind), func(t *testing.T) {
			_, at := newPod(t, func(n int) (application.Answer, bool) {
				a, _ := well(n)
				return a, n%3 != 0
			})
			failed := 0
			samples := press(t, at, kind, 9)
			for _, s := range samples {
				if s.Err != nil {
					failed++
					if !s.From.IsValid() {
						t.Errorf("nobody can tell which connection it was: %+v", s)
					}
				}
			}
			if failed == 0 || failed > len(samples)/2 {
				t.Errorf("%d of %d failed, one in three had no answer", failed, len(samples))
			}
		})
	}
}

// TestRefusedConnectionsAreTraced: who isn't let in knows from where it came.
func TestRefusedConnectionsAreTraced(t *testing.T) {
	for _, kind := range []Kind{Short, Kept, Long} {
		t.Run(string(kind), func(t *testing.T) {
			p, at := newPod(t, well)
			p.tcp.Close()
			for _, s := range press(t, at, kind, 3) {
				if s.Err == nil || s.From.Addr() != at.From || s.From.Port() < firstPort {
					t.Errorf("got %+v", s)
				}
			}
		})
	}
}

// TestGoodbyeIsNoFailure: an application that goes says so in its last answer on a plain
// connection, and an HTTP connection that ends is asked for again.
func TestGoodbyeIsNoFailure(t *testing.T) {
	for _, kind := range []Kind{Long, Kept} {
		t.Run(string(kind), func(t *testing.T) {
			_, at := newPod(t, func(n int) (application.Answer, bool) {
				a, _ := well(n)
				if n%3 == 0 {
					a.State = application.StateTerminating
				}
				return a, true
			})
			ports := map[netip.AddrPort]bool{}
			for _, s := range press(t, at, kind, 12) {
				if s.Err != nil {
					t.Errorf("got %v", s.Err)
				}
				ports[s.From] = true
			}
			if len(ports) < 3 {
				t.Errorf("all came from %d ports", len(ports))
			}
		})
	}
}
