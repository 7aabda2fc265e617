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

// propagating has changes take that long to reach the data plane.
func propagating(d time.Duration) func(*clb.Options) {
	return func(o *clb.Options) { o.Latencies = &clb.Latencies{Propagation: clb.Range{Min: d, Max: d}} }
}

func TestLayer4(t *testing.T) {
	const algorithms, weight, persistence = "CLB, Load balancing algorithms", "CLB, Configuring the weight of a real server", "CLB, Session persistence"
	hold(t, "Layer 4", []fact{
		{name: "a target sees the client's address", source: "CLB, Obtaining real client IPs", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			for _, from := range []string{"127.88.0.1", "127.88.0.2"} {
				if v := s.visit(from); v.client != from {
					t.Errorf("%s was seen as %s", from, v.client)
				}
			}
		}},
		{name: "with SNAT it sees the virtual address", source: "CLB API CreateListener, SnatEnable", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.SnatEnable = new(true) })
			if v := s.visit("127.88.0.1"); v.client != c.vip(s.lb) {
				t.Errorf("it saw %s", v.client)
			}
		}},
		{name: "connections go round by weight", source: algorithms + ", WRR", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2)
			s.weigh(s.lb, s.l, s.pods[1].addr, 30)
			if diff := cmp.Diff([]int{5, 15}, s.spread(20)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{name: "weight 0 gets no new connection", source: weight, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2)
			s.weigh(s.lb, s.l, s.pods[0].addr, 0)
			if diff := cmp.Diff([]int{0, 6}, s.spread(6)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}},
		{name: "and keeps those that it has", source: weight, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			v := s.visit("127.88.0.1")
			s.weigh(s.lb, s.l, s.pods[0].addr, 0)
			if !v.echoes() {
				t.Error("the connection was cut")
			}
		}},
		{name: "LEAST_CONN goes where the fewest are", source: algorithms + ", LEAST_CONN", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2, func(q *api.CreateListenerRequest) { q.Scheduler = new("LEAST_CONN") })
			a, b := s.visit("127.88.0.1"), s.visit("127.88.0.1")
			if a.pod == b.pod {
				t.Error("both went to one")
			}
			a.Close()
			c.await("the closed one no longer counts", func() bool {
				v := s.visit("127.88.0.1")
				defer v.Close()
				return v.pod == a.pod
			})
		}},
		{name: "IP_HASH keeps a client with its target", source: "CLB API ModifyListener, Scheduler", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(3)
			if err := c.changing(s.lb, s.l, func(q *api.ModifyListenerRequest) { q.Scheduler = new("IP_HASH") }); err != nil {
				t.Fatal(err)
			}
			reached := map[string]bool{}
			for i := range 20 {
				from := fmt.Sprintf("127.88.1.%d", i+1)
				a, b := s.visit(from), s.visit(from)
				if a.pod != b.pod {
					t.Errorf("%s reached two", from)
				}
				reached[a.pod] = true
			}
			if len(reached) < 2 {
				t.Error("20 clients all reached one")
			}
		}},
		{name: "persistence keeps a client with its target", source: persistence, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2, func(q *api.CreateListenerRequest) { q.SessionExpireTime = new(int64(3600)) })
			first := s.visit("127.88.0.1").pod
			if other := s.visit("127.88.0.2").pod; other == first {
				t.Error("another client got the same")
			}
			for range 3 {
				if got := s.visit("127.88.0.1").pod; got != first {
					t.Errorf("it moved from %s to %s", first, got)
				}
			}
		}},
		{name: "but not at weight 0", source: weight, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2, func(q *api.CreateListenerRequest) { q.SessionExpireTime = new(int64(3600)) })
			first := s.visit("127.88.0.1").pod
			s.weigh(s.lb, s.l, netip.MustParseAddrPort(first), 0)
			if got := s.visit("127.88.0.1").pod; got == first {
				t.Error("it got there all the same")
			}
		}},
		{name: "persistence ends", source: persistence, needs: rig, options: []func(*clb.Options){func(o *clb.Options) { o.Second = time.Millisecond }}, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2, func(q *api.CreateListenerRequest) { q.SessionExpireTime = new(int64(30)) })
			first := s.visit("127.88.0.1").pod
			for s.visit("127.88.0.1").pod == first {
				time.Sleep(60 * time.Millisecond) // twice as long as it lasts; the client keeps it up otherwise
				if t.Context().Err() != nil {
					t.Fatal("it never moved")
				}
			}
		}},
		{name: "connections of an unbound target are reset where the listener says so", source: "CLB API CreateListener, DeregisterTargetRst", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.DeregisterTargetRst = new(true) })
			v := s.visit("127.88.0.1")
			if _, err := c.unbind(s.lb, batch(s.l, append(c.unused(0), s.pods[0].addr))...); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, v.in); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("it ended with %v", err)
			}
		}},
		{name: "without a target a connection is reset", source: "seen", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(0)
			if _, err := connect("127.88.0.1", s.vip); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v", err)
			}
		}},
		{name: "a deleted listener refuses connections", source: "CLB API DeleteListener", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			q := api.NewDeleteListenerRequest()
			q.LoadBalancerId, q.ListenerId = &s.lb, &s.l
			do(c, c.DeleteListener, q)
			c.await("they are refused", func() bool {
				_, err := connect("127.88.0.1", s.vip)
				return errors.Is(err, syscall.ECONNREFUSED)
			})
		}},
		{name: "an idle connection is reset", source: "CLB API CreateListener, IdleConnectTimeout", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1, func(q *api.CreateListenerRequest) { q.IdleConnectTimeout = new(int64(10)) })
			if _, err := io.Copy(io.Discard, s.visit("127.88.0.1").in); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("it ended with %v", err)
			}
		}},
		{name: "half a connection may close", source: "TCP", needs: rig, check: func(t *testing.T, c *cloud) {
			v := c.tcp(1).visit("127.88.0.1")
			if _, err := io.WriteString(v, "last words"); err != nil {
				t.Fatal(err)
			}
			if err := v.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(v.in); string(got) != "last words" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}},
		{name: "a weight takes effect after the API has answered", source: "seen: the data plane follows within a second", needs: rig, options: []func(*clb.Options){propagating(400 * time.Millisecond)}, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2)
			s.weigh(s.lb, s.l, s.pods[0].addr, 0)
			if got := s.spread(2); got[0] == 0 {
				t.Errorf("it had effect at once: %v", got)
			}
			c.await("it has effect", func() bool { return s.spread(4)[0] == 0 })
		}},
		{name: "UDP reaches targets, one for a client's port, who see its address", source: "CLB, UDP listeners", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			l := c.listener(lb, "UDP", 8053, quickly)
			for range 2 {
				p := c.echo()
				c.bind(lb, l, "", p.addr)
				c.healthy(lb, p.addr, "Alive")
			}
			reached := map[string]bool{}
			for range 4 {
				conn, err := net.Dial("udp", net.JoinHostPort(c.vip(lb), "8053"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				var last string
				for range 3 {
					own, client, err := asks(conn)
					if err != nil {
						t.Fatal(err)
					}
					if me := conn.LocalAddr().(*net.UDPAddr).IP.String(); client != me {
						t.Errorf("%s was seen as %s", me, client)
					}
					if last != "" && last != own {
						t.Errorf("one port reached %s and %s", last, own)
					}
					last = own
				}
				reached[last] = true
			}
			if len(reached) != 2 {
				t.Errorf("four ports reached %v", reached)
			}
		}},
	})
	settle(t, "Layer 4 disputes", []dispute{
		{name: "connections of an unbound target", source: "CLB, Unbinding real servers: cut; some have seen them go on", profiles: []string{"keep-unbound"}, needs: rig, observe: func(t *testing.T, c *cloud) string {
			s := c.tcp(1)
			v := s.visit("127.88.0.1")
			if _, err := c.unbind(s.lb, batch(s.l, append(c.unused(0), s.pods[0].addr))...); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.second) // a cut would come at once
			if v.echoes() {
				return "keep-unbound"
			}
			return ""
		}},
	})
}
