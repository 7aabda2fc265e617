package conformance

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

func TestHealth(t *testing.T) {
	const overview, check, status = "CLB, Health check overview (214/6097)", "CLB API, HealthCheck", "CLB API, TargetHealth.HealthStatusDetail"
	answers := func(status *atomic.Int64) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }
	}
	web := func(h *api.HealthCheck) {
		h.CheckType, h.HttpCheckDomain, h.HttpVersion = new("HTTP"), new("check.example.com"), new("HTTP/1.1")
	}
	hold(t, "Health", []fact{
		{name: "a target that answers becomes Alive", source: status, needs: rig, check: func(t *testing.T, c *cloud) {
			c.tcp(1)
		}},
		{name: "one that doesn't becomes Dead", source: status, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a := c.unused(1)
			c.bind(lb, c.listener(lb, "TCP", 80, quickly), "", a...)
			c.healthy(lb, a[0], "Dead")
		}},
		{name: "one that was just bound is Unknown", source: status, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			p := c.greeter()
			l := c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) { h.IntervalTime = new(int64(300)) }))
			c.bind(lb, l, "", p.addr)
			if got := c.health(lb)[p.addr.String()]; got != "Unknown" {
				t.Errorf("got %s", got)
			}
		}},
		{name: "without a check it is Close", source: status, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			p := c.greeter()
			c.bind(lb, c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) { h.HealthSwitch = new(int64(0)) })), "", p.addr)
			c.healthy(lb, p.addr, "Close")
		}},
		{name: "and gets traffic", source: overview, needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			p := c.greeter()
			c.bind(lb, c.listener(lb, "TCP", 8080, checking(func(h *api.HealthCheck) { h.HealthSwitch = new(int64(0)) })), "", p.addr)
			c.await("it is reached", func() bool {
				v, err := connect("127.88.0.1", net.JoinHostPort(c.vip(lb), "8080"))
				if err == nil {
					v.Close()
				}
				return err == nil
			})
		}},
		{name: "one that stops answering becomes Dead and gets nothing", source: overview, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(2)
			s.pods[0].stop()
			s.healthy(s.lb, s.pods[0].addr, "Dead")
			if got := s.spread(6); got[0] != 0 || got[1] != 6 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "and Alive again once it answers", source: overview, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			s.pods[0].stop()
			s.healthy(s.lb, s.pods[0].addr, "Dead")
			l, err := net.Listen("tcp", s.pods[0].addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s.healthy(s.lb, s.pods[0].addr, "Alive")
		}},
		{name: "it takes HealthNum checks in a row, an interval apart", source: check + ".HealthNum and IntervalTime", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			p := c.greeter()
			l := c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) { h.IntervalTime, h.HealthNum = new(int64(10)), new(int64(4)) }))
			began := time.Now()
			c.bind(lb, l, "", p.addr)
			c.healthy(lb, p.addr, "Alive")
			if took, least := time.Since(began), 3*10*c.second; took < least {
				t.Errorf("it was Alive after %s, want no less than %s", took, least)
			}
		}},
		{name: "and UnHealthNum to be Dead", source: check + ".UnHealthNum and IntervalTime", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a := c.unused(1)
			l := c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) { h.IntervalTime, h.UnHealthNum = new(int64(10)), new(int64(4)) }))
			began := time.Now()
			c.bind(lb, l, "", a[0])
			c.healthy(lb, a[0], "Dead")
			if took, least := time.Since(began), 3*10*c.second; took < least {
				t.Errorf("it was Dead after %s, want no less than %s", took, least)
			}
		}},
		{name: "the check may look at another port", source: check + ".CheckPort", needs: rig, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			p := c.greeter()
			c.bind(lb, c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) { h.CheckPort = new(int64(1)) })), "", p.addr)
			c.healthy(lb, p.addr, "Dead")
		}},
		{name: "an HTTP check goes by the codes", source: check + ".HttpCode", needs: rig, check: func(t *testing.T, c *cloud) {
			var status atomic.Int64
			status.Store(404)
			lb := c.balancer()
			p := c.handler(answers(&status))
			l := c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) { web(h); h.HttpCode = new(int64(2)) }))
			c.bind(lb, l, "", p.addr)
			c.healthy(lb, p.addr, "Dead")
			status.Store(204)
			c.healthy(lb, p.addr, "Alive")
			status.Store(500)
			c.healthy(lb, p.addr, "Dead")
		}},
		{name: "it asks for path, host and method", source: check + ".HttpCheckPath, HttpCheckDomain and HttpCheckMethod", needs: rig, check: func(t *testing.T, c *cloud) {
			var seen atomic.Pointer[http.Request]
			lb := c.balancer()
			p := c.handler(func(_ http.ResponseWriter, q *http.Request) { seen.Store(q) })
			l := c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) {
				web(h)
				h.HttpCheckPath, h.HttpCheckMethod = new("/ready"), new("GET")
			}))
			c.bind(lb, l, "", p.addr)
			c.healthy(lb, p.addr, "Alive")
			if q := seen.Load(); q.Method != "GET" || q.URL.Path != "/ready" || q.Host != "check.example.com" {
				t.Errorf("got %s %s of %s", q.Method, q.URL.Path, q.Host)
			}
		}},
		{name: "by HEAD unless told otherwise", source: check + ".HttpCheckMethod", needs: rig, check: func(t *testing.T, c *cloud) {
			var seen atomic.Pointer[http.Request]
			lb, l := c.layer7()
			p := c.handler(func(_ http.ResponseWriter, q *http.Request) { seen.Store(q) })
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			if q := seen.Load(); q.Method != "HEAD" || q.Host != "example.com" {
				t.Errorf("got %s of %s", q.Method, q.Host)
			}
		}},
		{name: "a check comes from the virtual address", source: check + ".SourceIpType", needs: rig, check: func(t *testing.T, c *cloud) {
			var from atomic.Pointer[string]
			lb, l := c.layer7()
			p := c.handler(func(_ http.ResponseWriter, q *http.Request) { from.Store(&q.RemoteAddr) })
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			if host, _, _ := net.SplitHostPort(*from.Load()); host != c.vip(lb) {
				t.Errorf("it came from %s", host)
			}
		}},
		{name: "a custom check goes by what comes back", source: check + ".SendContext and RecvContext", needs: rig, check: func(t *testing.T, c *cloud) {
			pong := func(answer string) pod {
				return c.serve(func(conn net.Conn) {
					ping := make([]byte, 4)
					if _, err := io.ReadFull(conn, ping); err == nil && string(ping) == "PING" {
						_, _ = io.WriteString(conn, answer)
					}
				})
			}
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80, checking(func(h *api.HealthCheck) {
				h.CheckType, h.ContextType, h.SendContext, h.RecvContext = new("CUSTOM"), new("TEXT"), new("PING"), new("PONG")
			}))
			good, bad := pong("PONG"), pong("PANG")
			c.bind(lb, l, "", good.addr, bad.addr)
			c.healthy(lb, good.addr, "Alive")
			c.healthy(lb, bad.addr, "Dead")
		}},
		{name: "a change of settings keeps what was found", source: "seen: health goes on", needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			if err := c.changing(s.lb, s.l, func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{IntervalTime: new(int64(300))} }); err != nil {
				t.Fatal(err)
			}
			if got := s.health(s.lb)[s.pods[0].addr.String()]; got != "Alive" {
				t.Errorf("got %s", got)
			}
		}},
		{name: "a target that is bound again begins anew", source: status, needs: rig, check: func(t *testing.T, c *cloud) {
			s := c.tcp(1)
			if err := c.changing(s.lb, s.l, func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{IntervalTime: new(int64(300))} }); err != nil {
				t.Fatal(err)
			}
			if _, err := c.unbind(s.lb, batch(s.l, append(c.unused(0), s.pods[0].addr))...); err != nil {
				t.Fatal(err)
			}
			c.bind(s.lb, s.l, "", s.pods[0].addr)
			if got := s.health(s.lb)[s.pods[0].addr.String()]; got != "Unknown" {
				t.Errorf("got %s", got)
			}
		}},
		{name: "a rule's targets are checked by the rule", source: "CLB API, RuleHealth", needs: rig, check: func(t *testing.T, c *cloud) {
			var fine, broken atomic.Int64
			fine.Store(200)
			broken.Store(500)
			lb, l := c.layer7()
			strict := func(r *api.RuleInput) { r.HealthCheck = quick(); r.HealthCheck.HttpCode = new(int64(2)) }
			p, q := c.handler(answers(&fine)), c.handler(answers(&broken))
			c.bind(lb, l, c.rule(lb, l, "example.com", "/a", strict), p.addr)
			c.bind(lb, l, c.rule(lb, l, "example.com", "/b", strict), q.addr)
			c.healthy(lb, p.addr, "Alive")
			c.healthy(lb, q.addr, "Dead")
		}},
		{name: "silence over UDP is health, an unreachable port isn't", source: overview + ", UDP", needs: rig, check: func(t *testing.T, c *cloud) {
			mute, err := net.ListenPacket("udp", podHost(250)+":0")
			if err != nil {
				t.Fatal(err)
			}
			defer mute.Close()
			lb := c.balancer()
			l := c.listener(lb, "UDP", 53, quickly)
			a, none := mute.LocalAddr().(*net.UDPAddr).AddrPort(), c.unused(1)[0]
			c.bind(lb, l, "", a, none)
			c.healthy(lb, a, "Alive")
			c.healthy(lb, none, "Dead")
		}},
	})
	settle(t, "Health disputes", []dispute{
		{name: "a target of weight 0", source: "CLB documents checks of all targets; users have seen none", profiles: []string{"skip-weight-zero"}, needs: rig, observe: func(t *testing.T, c *cloud) string {
			lb := c.balancer()
			l := c.listener(lb, "TCP", 80, quickly)
			zero, other := c.greeter(), c.greeter()
			c.bind(lb, l, "", zero.addr)
			c.weigh(lb, l, zero.addr, 0)
			if _, err := c.unbind(lb, batch(l, append(c.unused(0), zero.addr))...); err != nil {
				t.Fatal(err)
			}
			q := api.NewBatchRegisterTargetsRequest()
			some := batch(l, append(c.unused(0), zero.addr))
			some[0].Weight = new(int64(0))
			q.LoadBalancerId, q.Targets = &lb, some
			do(c, c.BatchRegisterTargets, q)
			// By the time that a target bound later was found twice, this one would be.
			for range 2 {
				c.bind(lb, l, "", other.addr)
				c.healthy(lb, other.addr, "Alive")
				if _, err := c.unbind(lb, batch(l, append(c.unused(0), other.addr))...); err != nil {
					t.Fatal(err)
				}
			}
			if c.health(lb)[zero.addr.String()] == "Unknown" {
				return "skip-weight-zero"
			}
			return ""
		}},
		{name: "connections when all targets are dead", source: "CLB, Health check overview: forwarded to all; users have seen them refused", profiles: []string{"refuse-dead"}, needs: rig, observe: func(t *testing.T, c *cloud) string {
			lb := c.balancer()
			p := c.greeter()
			c.bind(lb, c.listener(lb, "TCP", 8080, checking(func(h *api.HealthCheck) { h.CheckPort = new(int64(1)) })), "", p.addr)
			c.healthy(lb, p.addr, "Dead")
			v, err := connect("127.88.0.1", net.JoinHostPort(c.vip(lb), "8080"))
			if err != nil {
				return "refuse-dead"
			}
			v.Close()
			return ""
		}},
	})
}
