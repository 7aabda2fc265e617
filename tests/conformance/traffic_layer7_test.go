package conformance

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

func TestLayer7(t *testing.T) {
	const rules = "CLB, Layer-7 domain name forwarding and URL rules"
	fixed := func(r *api.RuleInput) {
		r.HealthCheck = quick()
		r.HealthCheck.HttpCheckDomain = new("check.example.com")
	}
	echo := func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Seen", q.Header.Get("X-Forwarded-For"))
		host, _, _ := net.SplitHostPort(q.RemoteAddr)
		fmt.Fprintf(w, "%s %s %s", q.Proto, q.Host, host)
	}
	hold(t, "Layer 7", []fact{
		{name: "a request goes by host", source: rules, needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.backing(lb, l, "a.example.com", "/", "a")
			c.backing(lb, l, "b.example.com", "/", "b")
			c.reads(lb, 80, "http://a.example.com/", "a")
			c.reads(lb, 80, "http://b.example.com/", "b")
		}},
		{name: "by the longest path", source: rules, needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.backing(lb, l, "example.com", "/", "root")
			c.backing(lb, l, "example.com", "/x", "short")
			c.backing(lb, l, "example.com", "/x/y", "long")
			c.reads(lb, 80, "http://example.com/z", "root")
			c.reads(lb, 80, "http://example.com/x/z", "short")
			c.reads(lb, 80, "http://example.com/x/y/z", "long")
		}},
		{name: "by an exact path before any other", source: rules + ", =", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.backing(lb, l, "example.com", "/x", "prefix")
			c.backing(lb, l, "example.com", "=/x", "exact")
			c.reads(lb, 80, "http://example.com/x", "exact")
			c.reads(lb, 80, "http://example.com/x/y", "prefix")
		}},
		{name: "to a wildcard after exact hosts", source: rules, needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.backing(lb, l, "*.example.com", "/", "wild", fixed)
			c.backing(lb, l, "a.example.com", "/", "exact")
			c.reads(lb, 80, "http://a.example.com/", "exact")
			c.reads(lb, 80, "http://b.example.com/", "wild")
		}},
		{name: "to the default domain where none matches", source: rules + ", default domain name", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.backing(lb, l, "a.example.com", "/", "default")
			c.backing(lb, l, "b.example.com", "/", "b")
			c.reads(lb, 80, "http://elsewhere.test/", "default")
		}},
		{name: "a path that no rule has is 404", source: rules, needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.backing(lb, l, "example.com", "/x", "x")
			if p, err := c.get(lb, 80, "http://example.com/y"); err != nil || p.StatusCode != http.StatusNotFound {
				t.Errorf("got %+v, %v", p.Response, err)
			}
		}},
		{name: "targets share by weight", source: "CLB, Load balancing algorithms, WRR", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			r := c.rule(lb, l, "example.com", "/", quickRule)
			a, b := c.answering("a"), c.answering("b")
			q := api.NewBatchRegisterTargetsRequest()
			some := append(batch(l, append(c.unused(0), a)), batch(l, append(c.unused(0), b))...)
			some[0].LocationId, some[1].LocationId, some[1].Weight = &r, &r, new(int64(30))
			q.LoadBalancerId, q.Targets = &lb, some
			do(c, c.BatchRegisterTargets, q)
			c.healthy(lb, a, "Alive")
			c.healthy(lb, b, "Alive")
			got := map[string]int{}
			for range 20 {
				p, err := c.get(lb, 80, "http://example.com/")
				if err != nil {
					t.Fatal(err)
				}
				got[p.text]++
			}
			if got["a"] != 5 || got["b"] != 15 {
				t.Errorf("got %v", got)
			}
		}},
		{name: "a rule without targets is 502", source: "seen, as of nginx", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			c.rule(lb, l, "example.com", "/")
			if p, err := c.get(lb, 80, "http://example.com/"); err != nil || p.StatusCode != http.StatusBadGateway {
				t.Errorf("got %+v, %v", p.Response, err)
			}
		}},
		{name: "a target that can't be reached gives way to the next", source: "CLB, Health check overview: if forwarding fails it tries others", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			slow := func(r *api.RuleInput) {
				r.HealthCheck = quick()
				r.HealthCheck.UnHealthNum = new(int64(10))
				r.HealthCheck.IntervalTime = new(int64(300))
			}
			r := c.rule(lb, l, "example.com", "/", slow)
			first := c.handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "first") })
			second := c.answering("second")
			c.bind(lb, l, r, first.addr, second)
			q := api.NewModifyRuleRequest()
			q.LoadBalancerId, q.ListenerId, q.LocationId, q.HealthCheck = &lb, &l, &r, &api.HealthCheck{HealthSwitch: new(int64(0))}
			do(c, c.ModifyRule, q)
			first.stop()
			for range 2 {
				c.reads(lb, 80, "http://example.com/", "second")
			}
		}},
		{name: "X-Forwarded-For has the client", source: "CLB, Obtaining real client IPs", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			p := c.handler(echo)
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			a, err := c.get(lb, 80, "http://example.com/")
			if err != nil || !strings.Contains(a.Header.Get("X-Seen"), "127.0.0.1") {
				t.Errorf("got %q, %v", a.Header.Get("X-Seen"), err)
			}
		}},
		{name: "after what the client claims", source: "CLB, Obtaining real client IPs", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			p := c.handler(echo)
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			a, err := c.get(lb, 80, "http://example.com/", "X-Forwarded-For", "192.0.2.1")
			if err != nil || a.Header.Get("X-Seen") != "192.0.2.1, 127.0.0.1" {
				t.Errorf("got %q, %v", a.Header.Get("X-Seen"), err)
			}
		}},
		{name: "the host is passed on", source: rules, needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			p := c.handler(echo)
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			c.reads(lb, 80, "http://example.com/", "HTTP/1.1 example.com ")
		}},
		{name: "persistence is by a cookie", source: "CLB, Session persistence", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			r := c.rule(lb, l, "example.com", "/", quickRule, func(r *api.RuleInput) { r.SessionExpireTime = new(int64(3600)) })
			a, b := c.answering("a"), c.answering("b")
			c.bind(lb, l, r, a, b)
			c.healthy(lb, a, "Alive")
			c.healthy(lb, b, "Alive")
			first, err := c.get(lb, 80, "http://example.com/")
			if err != nil || len(first.Cookies()) == 0 {
				t.Fatalf("got %v, %v", first.Header, err)
			}
			cookie := first.Cookies()[0]
			for range 4 {
				p, err := c.get(lb, 80, "http://example.com/", "Cookie", cookie.Name+"="+cookie.Value)
				if err != nil || p.text != first.text {
					t.Errorf("it moved from %s to %s, %v", first.text, p.text, err)
				}
			}
		}},
		{name: "a redirect names the other rule's address", source: "CLB API ManualRewrite", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			a, b := c.rule(lb, l, "old.example.com", "/"), c.rule(lb, l, "new.example.com", "/")
			if err := c.redirect(lb, l, a, l, b, func(q *api.ManualRewriteRequest) {
				i := q.RewriteInfos[0]
				i.RewriteCode, i.TakeUrl, i.SourceDomain = new(int64(302)), new(true), new("old.example.com")
			}); err != nil {
				t.Fatal(err)
			}
			p, err := c.get(lb, 80, "http://old.example.com/p?q=1")
			if err != nil || p.StatusCode != 302 || p.Header.Get("Location") != "http://new.example.com/p?q=1" {
				t.Errorf("got %d to %q, %v", p.StatusCode, p.Header.Get("Location"), err)
			}
		}},
		{name: "HTTPS ends at the load balancer", source: "CLB, HTTPS listeners", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.secure()
			p := c.handler(echo)
			c.bind(lb, l, c.rule(lb, l, "a.example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			c.reads(lb, 443, "https://a.example.com/", "HTTP/1.1 a.example.com")
		}},
		{name: "a domain has its own certificate", source: "CLB, SNI support", needs: rig, check: func(t *testing.T, c *cloud) {
			c.certificate("cert-b", "b.example.com")
			c.certificate("cert-c", "c.example.com")
			lb := c.balancer()
			l := c.listener(lb, "HTTPS", 443, func(q *api.CreateListenerRequest) { q.SniSwitch = new(int64(1)) })
			for _, n := range []string{"b", "c"} {
				c.backing(lb, l, n+".example.com", "/", n, func(r *api.RuleInput) {
					r.Certificate = &api.CertificateInput{SSLMode: new("UNIDIRECTIONAL"), CertId: new("cert-" + n)}
				})
			}
			for _, n := range []string{"b", "c"} {
				p := c.reads(lb, 443, "https://"+n+".example.com/", n)
				if got := p.TLS.PeerCertificates[0].DNSNames[0]; got != n+".example.com" {
					t.Errorf("%s has the certificate of %s", n, got)
				}
			}
		}},
		{name: "HTTP 2 is spoken where the domain says so", source: "CLB API CreateRule, Http2", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.secure()
			c.backing(lb, l, "a.example.com", "/", "a", func(r *api.RuleInput) { r.Http2 = new(true) })
			if p := c.reads(lb, 443, "https://a.example.com/", "a"); p.ProtoMajor != 2 {
				t.Errorf("got %s", p.Proto)
			}
		}},
		{name: "and not elsewhere", source: "CLB API CreateRule, Http2", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.secure()
			c.backing(lb, l, "a.example.com", "/", "a", func(r *api.RuleInput) { r.Http2 = new(false) })
			if p := c.reads(lb, 443, "https://a.example.com/", "a"); p.ProtoMajor != 1 {
				t.Errorf("got %s", p.Proto)
			}
		}},
		{name: "a connection may be upgraded to a WebSocket", source: "CLB, WebSocket support", needs: rig, check: func(t *testing.T, c *cloud) {
			lb, l := c.layer7()
			p := c.handler(func(w http.ResponseWriter, q *http.Request) {
				if q.Header.Get("Upgrade") == "" {
					return
				}
				conn, in, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(conn, in)
			})
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			conn, err := net.Dial("tcp", net.JoinHostPort(c.vip(lb), "80"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			in := bufio.NewReader(conn)
			a, err := http.ReadResponse(in, nil)
			if err != nil || a.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("got %+v, %v", a, err)
			}
			fmt.Fprint(conn, "hello\n")
			if line, err := in.ReadString('\n'); line != "hello\n" {
				t.Errorf("got %q, %v", line, err)
			}
		}},
		{name: "mutual TLS asks for a certificate", source: "CLB API CreateListener, SSLMode MUTUAL", needs: rig, check: func(t *testing.T, c *cloud) {
			leaf := c.certificate("cert-a", "a.example.com")
			if err := c.emulator.AddCA("ca", pemOf(leaf)); err != nil {
				t.Fatal(err)
			}
			lb := c.balancer()
			l := c.listener(lb, "HTTPS", 443, func(q *api.CreateListenerRequest) {
				q.Certificate = &api.CertificateInput{SSLMode: new("MUTUAL"), CertId: new("cert-a"), CertCaId: new("ca")}
			})
			c.rule(lb, l, "a.example.com", "/")
			conn, err := tls.Dial("tcp", net.JoinHostPort(c.vip(lb), "443"), &tls.Config{InsecureSkipVerify: true, ServerName: "a.example.com"})
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n")
			if got, err := io.ReadAll(conn); err == nil {
				t.Errorf("a client without one was answered %q", got)
			}
		}},
	})
	settle(t, "Layer 7 disputes", []dispute{
		{name: "whom a target sees", source: "CLB, Obtaining real client IPs; TKE's direct connection says the client", profiles: []string{"client-source"}, needs: rig, observe: func(t *testing.T, c *cloud) string {
			lb, l := c.layer7()
			p := c.handler(echo)
			c.bind(lb, l, c.rule(lb, l, "example.com", "/", quickRule), p.addr)
			c.healthy(lb, p.addr, "Alive")
			a := c.reads(lb, 80, "http://example.com/", "example.com")
			if strings.HasSuffix(a.text, " "+c.vip(lb)) {
				return ""
			}
			return "client-source"
		}},
	})
}
