package clb

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

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
	// Ten seconds are a second: far more than a busy machine holds up a tick.
	r := newRig(t, func(o *Options) { o.Second = 100 * time.Millisecond })
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck, func(q *api.CreateListenerRequest) { q.IdleConnectTimeout = i64(10) })
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go serve(ln, func(conn net.Conn) {
		fmt.Fprintln(conn, "a b")
		// 1.5 s of a limit of 1 s.
		tick := time.NewTicker(100 * time.Millisecond)
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
