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
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

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

// TestFlowsAreTold: who is behind a connection, by the tag of the binding, and who isn't.
func TestFlowsAreTold(t *testing.T) {
	told := make(chan Flow, 10)
	r := newRig(t, func(o *Options) { o.OnFlow = func(f Flow) { told <- f } })
	lb := r.instance()
	l := r.listener(lb, "TCP", 8080, quickCheck)
	vip := netip.AddrPortFrom(r.vip(lb), 8080)
	visit := func() Flow {
		t.Helper()
		v, err := connect("127.88.0.1", vip)
		if err == nil {
			defer v.Close()
		}
		return <-told
	}
	if f := visit(); f.Target.IsValid() || f.Listener != vip || f.Client.Addr().String() != "127.88.0.1" {
		t.Errorf("nothing is bound: got %+v", f)
	}
	p := newPod(r)
	bound := batchTarget(l, p.addr, 7)
	bound.Tag = common.StringPtr("uid-a")
	r.bind(lb, bound)
	r.awaitHealth(lb, p.addr, "Alive")
	if f := visit(); f.Target != p.addr || f.Label != "uid-a" || f.Weight != 7 || f.State.String() != "Alive" {
		t.Errorf("got %+v", f)
	}
}
