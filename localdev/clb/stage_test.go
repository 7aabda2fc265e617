package clb

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// pod is a TCP server that greets with its own and its client's address, and then
// echoes.
type pod struct {
	addr netip.AddrPort
	ln   net.Listener
}

func newPod(r *rig) *pod {
	r.t.Helper()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		r.t.Fatal(err)
	}
	p := &pod{ln: ln, addr: ln.Addr().(*net.TCPAddr).AddrPort()}
	r.t.Cleanup(p.stop)
	go serve(ln, func(conn net.Conn) {
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		fmt.Fprintf(conn, "%s %s\n", p.addr, host)
		io.Copy(conn, conn)
	})
	return p
}

func serve(ln net.Listener, each func(net.Conn)) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			each(conn)
		}()
	}
}

func (p *pod) stop() { p.ln.Close() }

// visit is a connection through a load balancer, greeted by a pod.
type visit struct {
	net.Conn
	r           *bufio.Reader
	pod, client string
}

func (v *visit) echo(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(v, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := v.r.ReadString('\n'); line != "hello\n" {
		t.Fatalf("the echo of hello is %q: %v", line, err)
	}
}

func connect(from string, to netip.AddrPort) (*visit, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	v := &visit{Conn: conn, r: bufio.NewReader(conn)}
	if _, err := fmt.Fscanf(v.r, "%s %s\n", &v.pod, &v.client); err != nil {
		conn.Close()
		return nil, err
	}
	return v, nil
}

// stage is a load balancer with one listener and n pods, all Alive.
type stage struct {
	*rig
	lb, l string
	vip   netip.AddrPort
	pods  []*pod
}

func newStage(t *testing.T, weights []int, listener func(*api.CreateListenerRequest), set ...func(*Options)) *stage {
	t.Helper()
	s := &stage{rig: newRig(t, set...)}
	s.lb = s.instance()
	s.l = s.listener(s.lb, "TCP", 8080, quickCheck, listener)
	s.vip = netip.AddrPortFrom(s.rig.vip(s.lb), 8080)
	for _, w := range weights {
		p := newPod(s.rig)
		s.pods = append(s.pods, p)
		s.bind(s.lb, batchTarget(s.l, p.addr, w))
	}
	for _, p := range s.pods {
		s.awaitHealth(s.lb, p.addr, "Alive")
	}
	return s
}

func plain(*api.CreateListenerRequest) {}

// quickCheck finds targets alive after two checks, three of the test's short seconds
// apart; it takes five to find them dead, as a busy machine may miss one.
func quickCheck(q *api.CreateListenerRequest) {
	q.HealthCheck = &api.HealthCheck{IntervalTime: i64(3), TimeOut: i64(2), HealthNum: i64(2), UnHealthNum: i64(5)}
}

func (s *stage) visit(from string) *visit {
	s.t.Helper()
	v, err := connect(from, s.vip)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { v.Close() })
	return v
}

// spread counts which pods n connections reach, closing each before the next.
func (s *stage) spread(n int) []int {
	s.t.Helper()
	counts := make([]int, len(s.pods))
	for range n {
		v := s.visit("127.88.0.1")
		for i, p := range s.pods {
			if p.addr.String() == v.pod {
				counts[i]++
			}
		}
		v.Close()
	}
	return counts
}

// end reads until the connection ends and says how.
func (v *visit) end() error {
	_, err := io.Copy(io.Discard, v.r)
	return err
}
