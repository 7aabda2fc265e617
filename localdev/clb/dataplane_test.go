package clb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// quickCheck has verdicts after two checks, three of the test's short seconds apart.
func quickCheck(q *api.CreateListenerRequest) {
	q.HealthCheck = &api.HealthCheck{IntervalTime: i64(3), TimeOut: i64(2), HealthNum: i64(2), UnHealthNum: i64(2)}
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

func TestForwardKeepsClientAddress(t *testing.T) {
	s := newStage(t, []int{10}, plain)
	for _, client := range []string{"127.88.0.1", "127.88.0.2"} {
		v := s.visit(client)
		if v.client != client {
			t.Errorf("a connection from %s reached its pod from %s", client, v.client)
		}
		v.echo(t)
	}
}

func TestForwardSNAT(t *testing.T) {
	s := newStage(t, []int{10}, func(q *api.CreateListenerRequest) { q.SnatEnable = flag(true) })
	if v := s.visit("127.88.0.1"); v.client != s.vip.Addr().String() {
		t.Errorf("with SNAT the pod saw %s, want the VIP", v.client)
	}
}

func TestWeights(t *testing.T) {
	s := newStage(t, []int{10, 30, 0}, plain)
	if diff := cmp.Diff([]int{5, 15, 0}, s.spread(20)); diff != "" {
		t.Errorf("round robin by weight: -want +got:\n%s", diff)
	}
	s.weigh(s.lb, s.l, target(s.pods[1].addr, 10), target(s.pods[2].addr, 20))
	if diff := cmp.Diff([]int{5, 5, 10}, s.spread(20)); diff != "" {
		t.Errorf("after a change of weights: -want +got:\n%s", diff)
	}
}

func TestLeastConn(t *testing.T) {
	s := newStage(t, []int{10, 10}, func(q *api.CreateListenerRequest) { q.Scheduler = str("LEAST_CONN") })
	held := []*visit{s.visit("127.88.0.1"), s.visit("127.88.0.1")}
	if held[0].pod == held[1].pod {
		t.Error("the second connection should go where there is none")
	}
	held[0].Close()
	await(t, "the closed connection to count no longer", func() bool { return s.visit("127.88.0.1").pod == held[0].pod })
}

func TestIPHash(t *testing.T) {
	s := newStage(t, []int{10, 10, 10}, plain)
	q := api.NewModifyListenerRequest()
	q.LoadBalancerId, q.ListenerId, q.Scheduler = &s.lb, &s.l, str("IP_HASH")
	s.done(must[*api.ModifyListenerResponse](t)(s.client.ModifyListener(q)).Response.RequestId)
	reached := map[string]bool{}
	for i := range 20 {
		client := fmt.Sprintf("127.88.1.%d", i+1)
		first, second := s.visit(client), s.visit(client)
		if first.pod != second.pod {
			t.Errorf("%s reached %s and %s", client, first.pod, second.pod)
		}
		reached[first.pod] = true
	}
	if len(reached) != 3 {
		t.Errorf("20 clients reached %d pods, want 3", len(reached))
	}
}

func TestSessionPersistence(t *testing.T) {
	// 3600 short seconds are 36 s: longer than the test.
	s := newStage(t, []int{10, 10}, func(q *api.CreateListenerRequest) { q.SessionExpireTime = i64(3600) })
	first := s.visit("127.88.0.1").pod
	other := s.visit("127.88.0.2").pod
	if first == other {
		t.Error("another client should get the next pod")
	}
	for range 3 {
		if got := s.visit("127.88.0.1").pod; got != first {
			t.Errorf("the client moved from %s to %s", first, got)
		}
	}
	s.weigh(s.lb, s.l, target(addr(first), 0))
	if got := s.visit("127.88.0.1").pod; got != other {
		t.Errorf("at weight 0 a pod gets no new connections, persistence or not: %s", got)
	}
}

func TestSessionExpires(t *testing.T) {
	s := newStage(t, []int{10, 10}, func(q *api.CreateListenerRequest) { q.SessionExpireTime = i64(30) },
		func(o *Options) { o.Second = time.Millisecond })
	first := s.visit("127.88.0.1").pod
	await(t, "the session to expire", func() bool {
		// Longer than the 30 ms that persistence lasts without a new connection.
		time.Sleep(40 * time.Millisecond)
		return s.visit("127.88.0.1").pod != first
	})
}

func TestDrainAtWeightZero(t *testing.T) {
	s := newStage(t, []int{10, 10}, plain)
	v := s.visit("127.88.0.1")
	s.weigh(s.lb, s.l, target(addr(v.pod), 0))
	for i, n := range s.spread(10) {
		if drained := s.pods[i].addr.String() == v.pod; drained != (n == 0) {
			t.Errorf("pod %d got %d of 10 new connections", i, n)
		}
	}
	v.echo(t)
}

func TestUnbindEndsConnections(t *testing.T) {
	cases := map[string]struct {
		reason string
		rst    bool
		keep   bool
		want   error
	}{
		"Close": {reason: "connections of an unbound target are closed", want: nil},
		"Reset": {reason: "with RST where the listener says so", rst: true, want: syscall.ECONNRESET},
		"Keep":  {reason: "or kept, by option", keep: true, want: nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, []int{10, 10}, func(q *api.CreateListenerRequest) { q.DeregisterTargetRst = &tc.rst },
				func(o *Options) { o.KeepUnbound = tc.keep })
			v, w := s.visit("127.88.0.1"), s.visit("127.88.0.1")
			s.unbind(s.lb, batchTarget(s.l, addr(v.pod), 0))
			w.echo(t)
			if tc.keep {
				v.echo(t)
				return
			}
			if err := v.end(); !errors.Is(err, tc.want) {
				t.Errorf("%s: the connection ended with %v, want %v", tc.reason, err, tc.want)
			}
		})
	}
}

func TestNoTargetResets(t *testing.T) {
	s := newStage(t, nil, plain)
	if _, err := connect("127.88.0.1", s.vip); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("without a target a connection is reset, got %v", err)
	}
}

func TestHalfClose(t *testing.T) {
	s := newStage(t, []int{10}, plain)
	v := s.visit("127.88.0.1")
	if _, err := io.WriteString(v, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := v.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(v.r)
	if string(got) != "last words" || err != nil {
		t.Errorf("after a half close the other direction goes on: %q, %v", got, err)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck)
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go serve(ln, func(conn net.Conn) {
		fmt.Fprintln(conn, "a b")
		conn.Read(make([]byte, 1))
		conn.(*net.TCPConn).SetLinger(0)
	})
	pod := ln.Addr().(*net.TCPAddr).AddrPort()
	r.bind(lb, batchTarget(l, pod, 10))
	r.awaitHealth(lb, pod, "Alive")
	v, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := v.end(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a pod's reset should reach the client as one, got %v", err)
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	s := newStage(t, []int{10}, func(q *api.CreateListenerRequest) { q.IdleConnectTimeout = i64(10) })
	v := s.visit("127.88.0.1")
	if err := v.end(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an idle connection is reset, got %v", err)
	}
}

func TestTrafficInOneDirectionIsNotIdle(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) { q.IdleConnectTimeout = i64(10) })
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go serve(ln, func(conn net.Conn) {
		fmt.Fprintln(conn, "a b")
		// 300 ms of a limit of 100 ms.
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 15 {
			<-tick.C
			io.WriteString(conn, ".")
		}
	})
	pod := ln.Addr().(*net.TCPAddr).AddrPort()
	r.bind(lb, batchTarget(l, pod, 10))
	r.awaitHealth(lb, pod, "Alive")
	v, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, err := io.ReadAll(v.r); len(got) != 15 || err != nil {
		t.Errorf("a client that only reads got %d of 15 bytes: %v", len(got), err)
	}
}

func TestHealthThresholds(t *testing.T) {
	s := newStage(t, []int{10, 10}, plain)
	down := s.pods[0]
	down.stop()
	s.awaitHealth(s.lb, down.addr, "Dead")
	if diff := cmp.Diff([]int{0, 6}, s.spread(6)); diff != "" {
		t.Errorf("a dead pod gets nothing: -want +got:\n%s", diff)
	}
	ln, err := net.Listen("tcp", down.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s.awaitHealth(s.lb, down.addr, "Alive")
}

func TestRebornTargetIsUnknown(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{HealthSwitch: i64(0)} })
	p := newPod(r)
	r.bind(lb, batchTarget(l, p.addr, 10))
	if got := r.health(lb)[p.addr.String()]; got != "Close" {
		t.Fatalf("with the switch off a target is %s, want Close", got)
	}
	if v, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080)); err != nil {
		t.Errorf("and gets traffic: %v", err)
	} else {
		v.Close()
	}

	modify := func(hc api.HealthCheck) {
		q := api.NewModifyListenerRequest()
		q.LoadBalancerId, q.ListenerId, q.HealthCheck = &lb, &l, &hc
		r.done(must[*api.ModifyListenerResponse](t)(r.client.ModifyListener(q)).Response.RequestId)
	}
	modify(api.HealthCheck{HealthSwitch: i64(1), IntervalTime: i64(3), HealthNum: i64(2)})
	r.awaitHealth(lb, p.addr, "Alive")
	// 300 of the test's short seconds are 3 s: no second check comes before the end.
	modify(api.HealthCheck{IntervalTime: i64(300)})
	if got := r.health(lb)[p.addr.String()]; got != "Alive" {
		t.Errorf("a change of settings keeps the verdict, it is %s", got)
	}
	r.unbind(lb, batchTarget(l, p.addr, 10))
	r.bind(lb, batchTarget(l, p.addr, 10))
	if got := r.health(lb)[p.addr.String()]; got != "Unknown" {
		t.Errorf("a target bound again is %s, want Unknown", got)
	}
	if _, err := connect("127.88.0.1", netip.AddrPortFrom(r.vip(lb), 8080)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a target being detected gets no traffic, got %v", err)
	}
}

func TestAllDead(t *testing.T) {
	for name, refuse := range map[string]bool{"AllAlive": false, "Refuse": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.RefuseDead = refuse })
			lb := r.instance()
			// The check looks at a port where nothing is.
			l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) { q.HealthCheck.CheckPort = i64(1) })
			serving, drained := newPod(r), newPod(r)
			r.bind(lb, batchTarget(l, serving.addr, 10), batchTarget(l, drained.addr, 0))
			vip := netip.AddrPortFrom(r.vip(lb), 8080)
			r.awaitHealth(lb, serving.addr, "Dead")
			r.awaitHealth(lb, drained.addr, "Dead")
			for range 2 {
				v, err := connect("127.88.0.1", vip)
				if refused := errors.Is(err, syscall.ECONNRESET); refused != refuse {
					t.Errorf("with all targets dead a connection was refused: %v (%v), want %v", refused, err, refuse)
				}
				if err != nil {
					continue
				}
				if v.pod != serving.addr.String() {
					t.Errorf("all dead is all alive, but not at weight 0: reached %s", v.pod)
				}
				v.Close()
			}
		})
	}
}

func TestWeightZeroIsChecked(t *testing.T) {
	t.Run("Documented", func(t *testing.T) {
		s := newStage(t, []int{0}, plain)
		if _, err := connect("127.88.0.1", s.vip); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("alive at weight 0 gets no traffic, got %v", err)
		}
	})
	t.Run("Skipped", func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.SkipWeightZero = true })
		lb := r.instance()
		l := r.listener(lb, "TCP", 8080, quickCheck)
		zero, one := newPod(r), newPod(r)
		r.bind(lb, batchTarget(l, zero.addr, 0), batchTarget(l, one.addr, 1))
		r.awaitHealth(lb, one.addr, "Alive")
		r.unbind(lb, batchTarget(l, one.addr, 1))
		r.bind(lb, batchTarget(l, one.addr, 1))
		r.awaitHealth(lb, one.addr, "Alive")
		if got := r.health(lb)[zero.addr.String()]; got != "Unknown" {
			t.Errorf("unchecked at weight 0 is %s, want Unknown", got)
		}
		r.weigh(lb, l, target(zero.addr, 1))
		r.awaitHealth(lb, zero.addr, "Alive")
	})
}

func TestHTTPCheck(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	var seen atomic.Pointer[http.Request]
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) {
		q.HealthCheck.CheckType, q.HealthCheck.HttpCheckDomain, q.HealthCheck.HttpVersion = str("HTTP"), str("a.example"), str("HTTP/1.1")
		q.HealthCheck.HttpCheckPath, q.HealthCheck.HttpCheckMethod, q.HealthCheck.HttpCode = str("/ready"), str("GET"), i64(2+8)
	})
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		seen.Store(q)
		w.WriteHeader(int(status.Load()))
	})}
	go server.Serve(ln)
	defer server.Close()
	pod := ln.Addr().(*net.TCPAddr).AddrPort()
	r.bind(lb, batchTarget(l, pod, 10))

	r.awaitHealth(lb, pod, "Dead")
	status.Store(http.StatusNoContent)
	r.awaitHealth(lb, pod, "Alive")
	status.Store(http.StatusFound)
	r.awaitHealth(lb, pod, "Dead")
	status.Store(http.StatusNotFound)
	r.awaitHealth(lb, pod, "Alive")

	q := seen.Load()
	from, _, _ := net.SplitHostPort(q.RemoteAddr)
	got := []string{q.Method, q.URL.Path, q.Host, from}
	if diff := cmp.Diff([]string{"GET", "/ready", "a.example", r.vip(lb).String()}, got); diff != "" {
		t.Errorf("the request of a check: -want +got:\n%s", diff)
	}
}

func TestCustomCheck(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) {
		q.HealthCheck.CheckType, q.HealthCheck.ContextType = str("CUSTOM"), str("HEX")
		q.HealthCheck.SendContext, q.HealthCheck.RecvContext = str("50494E47"), str("504F4E47")
	})
	var answers []netip.AddrPort
	for _, answer := range []string{"PONG", "PANG"} {
		ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go serve(ln, func(conn net.Conn) {
			buf := make([]byte, 4)
			if _, err := io.ReadFull(conn, buf); err == nil && string(buf) == "PING" {
				io.WriteString(conn, answer)
			}
		})
		answers = append(answers, ln.Addr().(*net.TCPAddr).AddrPort())
		r.bind(lb, batchTarget(l, answers[len(answers)-1], 10))
	}
	r.awaitHealth(lb, answers[0], "Alive")
	r.awaitHealth(lb, answers[1], "Dead")
}

// udpPod answers each datagram with its own and its client's address.
func udpPod(r *rig) netip.AddrPort {
	r.t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.podAddr(), 0)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	go func() {
		buf := make([]byte, 1500)
		for {
			_, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(fmt.Appendf(nil, "%s %s", own, from.Addr().Unmap()), from)
		}
	}()
	return own
}

func TestUDP(t *testing.T) {
	r := newRig(t)
	lb := r.instance()
	l := r.listener(lb, "UDP", 8053, quickCheck)
	a, b := udpPod(r), udpPod(r)
	none := netip.AddrPortFrom(a.Addr(), 1)
	mute, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.podAddr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	silent := mute.LocalAddr().(*net.UDPAddr).AddrPort()
	r.bind(lb, batchTarget(l, a, 10), batchTarget(l, b, 10), batchTarget(l, none, 10), batchTarget(l, silent, 0))
	r.awaitHealth(lb, a, "Alive")
	r.awaitHealth(lb, b, "Alive")
	r.awaitHealth(lb, none, "Dead")
	// Silence is health; only an unreachable port isn't.
	r.awaitHealth(lb, silent, "Alive")

	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.vip(lb), 8053))
	open := func() func() (string, error) {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.88.0.1")}, to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return func() (string, error) {
			buf := make([]byte, 1500)
			if _, err := conn.Write([]byte("hello")); err != nil {
				return "", err
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return "", err
			}
			n, err := conn.Read(buf)
			return string(buf[:n]), err
		}
	}
	reached := map[string]string{}
	for _, ask := range []func() (string, error){open(), open()} {
		first, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if second, err := ask(); second != first {
			t.Errorf("one client port reached %q and %q: %v", first, second, err)
		}
		var pod, client string
		if _, err := fmt.Sscan(first, &pod, &client); err != nil || client != "127.88.0.1" {
			t.Errorf("the pod saw %q: %v", first, err)
		}
		reached[pod] = client
	}
	if len(reached) != 2 {
		t.Errorf("two client ports reached %v, want both pods", reached)
	}

	ask := open()
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	r.unbind(lb, batchTarget(l, a, 0))
	for range 4 {
		if got, err := ask(); err != nil || got != fmt.Sprintf("%s 127.88.0.1", b) {
			t.Errorf("after unbinding the other the session goes to %s: %q, %v", b, got, err)
		}
	}
}

func TestPropagationInOrder(t *testing.T) {
	s := newStage(t, []int{10, 10}, plain, func(o *Options) {
		o.Latencies = &Latencies{Propagation: Range{Min: time.Millisecond, Max: 60 * time.Millisecond}}
	})
	// Whatever each change's own latency, the last one stands in the end.
	for i := range 10 {
		s.weigh(s.lb, s.l, target(s.pods[0].addr, i%2*10))
	}
	s.weigh(s.lb, s.l, target(s.pods[0].addr, 0))
	await(t, "the last weight to arrive", func() bool { return s.spread(4)[0] == 0 })
	marker := newPod(s.rig)
	s.bind(s.lb, batchTarget(s.l, marker.addr, 0))
	s.awaitHealth(s.lb, marker.addr, "Alive")
	if diff := cmp.Diff([]int{0, 4}, s.spread(4)); diff != "" {
		t.Errorf("an earlier weight came after a later one: -want +got:\n%s", diff)
	}
}

func TestDeletedListenerRefuses(t *testing.T) {
	s := newStage(t, []int{10}, plain)
	v := s.visit("127.88.0.1")
	q := api.NewDeleteListenerRequest()
	q.LoadBalancerId, q.ListenerId = &s.lb, &s.l
	s.done(must[*api.DeleteListenerResponse](t)(s.client.DeleteListener(q)).Response.RequestId)
	if err := v.end(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its connections are reset, got %v", err)
	}
	if _, err := connect("127.88.0.1", s.vip); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("and new ones refused, got %v", err)
	}
	again := s.listener(s.lb, "TCP", 8080)
	if again == s.l {
		t.Error("a new listener has a new id")
	}
}
