package conformance

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

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// echo is a UDP pod that answers its own and its client's address.
func (c *cloud) echo() pod {
	c.t.Helper()
	c.pods++
	conn, err := net.ListenPacket("udp", net.JoinHostPort(podHost(c.pods), "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(fmt.Appendf(nil, "%s %s", conn.LocalAddr(), from.(*net.UDPAddr).IP), from)
		}
	}()
	return pod{conn.LocalAddr().(*net.UDPAddr).AddrPort(), func() { conn.Close() }}
}

// asks sends one datagram and tells which pod answered, and whom it saw.
func asks(conn net.Conn) (pod, client string, err error) {
	if _, err := conn.Write([]byte("x")); err != nil {
		return "", "", err
	}
	buf := make([]byte, 100)
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := conn.Read(buf)
	if err == nil {
		_, err = fmt.Sscan(string(buf[:n]), &pod, &client)
	}
	return pod, client, err
}

// cut requires that a connection ends by a reset.
func (v *visit) cut(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, v.in); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ended with %v, want a reset", err)
	}
}

func TestRescheduling(t *testing.T) {
	const source = "CLB API CreateListener, Reschedule"
	hold(t, "Rescheduling", []fact{
		{name: "weight 0 moves connections where the listener says so", source: source + "TargetZeroWeight", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2, func(q *api.CreateListenerRequest) { q.RescheduleTargetZeroWeight = new(true) })
			a, b := s.visit("127.88.0.1"), s.visit("127.88.0.1")
			s.weigh(s.lb, s.l, netip.MustParseAddrPort(a.pod), 0)
			a.cut(t)
			if !b.echoes() {
				t.Error("the other target's was cut too")
			}
			if again := s.visit("127.88.0.1"); again.pod != b.pod {
				t.Error("it came back to where it was")
			}
		}},
		{name: "another weight doesn't", source: source + "TargetZeroWeight", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.RescheduleTargetZeroWeight = new(true) })
			v := s.visit("127.88.0.1")
			s.weigh(s.lb, s.l, s.pods[0].addr, 1)
			if !v.echoes() {
				t.Error("it was cut")
			}
		}},
		{name: "weight 0 moves UDP sessions too", source: source + "TargetZeroWeight", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "UDP", 8053, quickly, func(q *api.CreateListenerRequest) { q.RescheduleTargetZeroWeight = new(true) })
			for range 2 {
				p := c.echo()
				c.bind(lb, l, "", p.addr)
				c.healthy(lb, p.addr, "Alive")
			}
			conn, err := net.Dial("udp", net.JoinHostPort(c.vip(lb), "8053"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			first, _, err := asks(conn)
			if err != nil {
				t.Fatal(err)
			}
			c.weigh(lb, l, netip.MustParseAddrPort(first), 0)
			c.await("its datagrams go to the other", func() bool {
				now, _, err := asks(conn)
				return err == nil && now != first
			})
		}},
		{name: "a target found dead loses its connections where the listener says so", source: source + "Unhealthy", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.RescheduleUnhealthy = new(true) })
			v := s.visit("127.88.0.1")
			s.pods[0].stop() // what it has accepted goes on
			v.cut(t)
		}},
		{name: "and keeps them otherwise", source: source + "Unhealthy", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			v := s.visit("127.88.0.1")
			s.pods[0].stop()
			c.healthy(s.lb, s.pods[0].addr, "Dead")
			if !v.echoes() {
				t.Error("it was cut")
			}
		}},
		{name: "a target more spreads connections anew where the listener says so", source: source + "ExpandTarget", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.RescheduleExpandTarget = new(true) })
			v := s.visit("127.88.0.1")
			c.bind(s.lb, s.l, "", c.greeter().addr)
			v.cut(t)
		}},
		{name: "it begins after the start time, and takes the interval", source: source + "StartTime, RescheduleInterval", needs: rig, options: []func(*clb.Options){func(o *clb.Options) { o.Second = 200 * time.Millisecond }}, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) {
				q.RescheduleTargetZeroWeight, q.RescheduleStartTime, q.RescheduleInterval = new(true), new(int64(2)), new(int64(4))
			})
			began := time.Now()
			var ends []time.Duration
			visits := []*visit{s.visit("127.88.0.1"), s.visit("127.88.0.1")}
			s.weigh(s.lb, s.l, s.pods[0].addr, 0)
			done := make(chan time.Duration)
			for _, v := range visits {
				go func() {
					v.cut(t)
					done <- time.Since(began)
				}()
			}
			ends = append(ends, <-done, <-done)
			if ends[0] < 400*time.Millisecond || ends[1] < 800*time.Millisecond {
				t.Errorf("they were cut after %v, want 2 and 4 seconds of 200 ms at the least", ends)
			}
		}},
		{name: "it is described", source: "CLB API DescribeListeners, RescheduleInterval", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 8080, func(q *api.CreateListenerRequest) {
				q.RescheduleTargetZeroWeight, q.RescheduleStartTime, q.RescheduleInterval = new(true), new(int64(2)), new(int64(4))
			})
			l := c.listeners(lb)[0]
			if *l.RescheduleStartTime != 2 || *l.RescheduleInterval != 4 {
				t.Errorf("got %d and %d", *l.RescheduleStartTime, *l.RescheduleInterval)
			}
		}},
		{name: "times are 0 to 3600", source: source + "StartTime", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 8080)
			for _, set := range []func(*api.ModifyListenerRequest){
				func(q *api.ModifyListenerRequest) { q.RescheduleStartTime = new(int64(3601)) },
				func(q *api.ModifyListenerRequest) { q.RescheduleInterval = new(int64(-1)) },
			} {
				refused(t, c.changing(lb, l, set), "InvalidParameterValue")
			}
		}},
		{name: "layer 7 has none", source: source + "TargetZeroWeight: TCP and UDP listeners only", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "HTTP", 80)
			refused(t, c.changing(lb, l, func(q *api.ModifyListenerRequest) { q.RescheduleUnhealthy = new(true) }), "InvalidParameter")
		}},
		{name: "connections above MaxConn are refused", source: "CLB API CreateListener, MaxConn", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.MaxConn = new(int64(2)) })
			a := s.visit("127.88.0.1")
			s.visit("127.88.0.1")
			if _, err := connect("127.88.0.1", s.vip); err == nil {
				t.Error("a third got through")
			}
			a.Close()
			c.await("one that has gone makes room", func() bool {
				v, err := connect("127.88.0.1", s.vip)
				if err == nil {
					v.Close()
				}
				return err == nil
			})
		}},
		{name: "new connections above MaxCps are refused", source: "CLB API CreateListener, MaxCps", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.MaxCps = new(int64(1)) })
			got := map[bool]int{}
			for range 5 {
				v, err := connect("127.88.0.1", s.vip)
				got[err == nil]++
				if err == nil {
					v.Close()
				}
			}
			if got[true] == 0 || got[false] == 0 {
				t.Errorf("of five at once, %d got through", got[true])
			}
		}},
	})
}

func TestInterfaces(t *testing.T) {
	const source = "CLB API Target, EniIp: an elastic network interface must be bound to a CVM first"
	own := func(o *clb.Options) { o.Interfaces = []netip.Prefix{netip.MustParsePrefix("127.79.0.0/24")} }
	foreign := netip.MustParseAddrPort("127.79.9.1:80")
	hold(t, "Network interfaces", []fact{
		{name: "a batch with an address of none fails for its listener", source: source, needs: rig, options: []func(*clb.Options){own}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l, other := c.listener(lb, "TCP", 80), c.listener(lb, "TCP", 81)
			q := api.NewBatchRegisterTargetsRequest()
			q.LoadBalancerId = &lb
			q.Targets = append(batch(l, []netip.AddrPort{foreign}), batch(other, c.unused(1))...)
			a := do(c, c.BatchRegisterTargets, q)
			failed := a.Response.FailListenerIdSet
			if len(failed) != 1 || *failed[0] != l || *a.Response.Message == "" {
				t.Errorf("got %v", failed)
			}
			want := map[string]int64{c.unused(1)[0].String(): 10}
			if diff := cmp.Diff(want, c.weights(lb)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{name: "a single call fails whole", source: source, needs: rig, options: []func(*clb.Options){own}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80)
			q := api.NewRegisterTargetsRequest()
			q.LoadBalancerId, q.ListenerId = &lb, &l
			q.Targets = []*api.Target{eni(foreign), eni(c.unused(1)[0])}
			a, err := try(c, c.RegisterTargets, q)
			if err == nil {
				if status, _ := c.ended(*a.Response.RequestId); status == taskDone {
					err = fmt.Errorf("its task went well")
				}
			}
			if got := c.weights(lb); len(got) > 0 {
				t.Errorf("bound %v, %v", got, err)
			}
		}},
	})
}
