package conformance

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// tcpSSL is a TCP_SSL listener with pods that are all Alive, and the certificate it shows.
func (c *cloud) tcpSSL(n int, set ...func(*api.CreateListenerRequest)) (*layer4, *x509.Certificate) {
	c.t.Helper()
	shown := c.certificate("cert-a", "a.example.com")
	s := &layer4{cloud: c, lb: c.balancer()}
	s.l = c.listener(s.lb, "TCP_SSL", 8443, append([]func(*api.CreateListenerRequest){quickly, showing("cert-a")}, set...)...)
	s.vip = net.JoinHostPort(c.vip(s.lb), "8443")
	for range n {
		s.pods = append(s.pods, c.greeter())
	}
	for _, p := range s.pods {
		c.bind(s.lb, s.l, "", p.addr)
		c.healthy(s.lb, p.addr, "Alive")
	}
	return s, shown
}

// showing has a listener show the certificate of an id.
func showing(id string) func(*api.CreateListenerRequest) {
	return func(q *api.CreateListenerRequest) {
		q.Certificate = &api.CertificateInput{SSLMode: new("UNIDIRECTIONAL"), CertId: &id}
	}
}

// securely is visit over TLS.
func (s *layer4) securely(trust *x509.Certificate) (*visit, error) {
	pool := x509.NewCertPool()
	pool.AddCert(trust)
	config := &tls.Config{RootCAs: pool, ServerName: trust.DNSNames[0]}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.88.0.1")}, Timeout: 5 * time.Second}
	conn, err := tls.DialWithDialer(&d, "tcp", s.vip, config)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	v := &visit{Conn: conn, in: bufio.NewReader(conn)}
	_, err = fmt.Fscanf(v.in, "%s %s\n", &v.pod, &v.client)
	return v, err
}

func TestTCPSSL(t *testing.T) {
	const source = "CLB, Configuring a TCP SSL listener"
	hold(t, "TCP_SSL", []fact{
		{name: "TLS ends at the load balancer", source: source, needs: rig, check: func(t *testing.T, c *cloud) {
			s, shown := c.tcpSSL(1)
			v, err := s.securely(shown)
			if err != nil {
				t.Fatal(err)
			}
			if v.pod != s.pods[0].addr.String() || !v.echoes() {
				t.Errorf("reached %q", v.pod)
			}
			if got := v.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0]; !got.Equal(shown) {
				t.Errorf("it showed %s", got.Subject)
			}
		}},
		{name: "half a connection may close", source: "RFC 8446, 6.1", needs: rig, check: func(t *testing.T, c *cloud) {
			s, shown := c.tcpSSL(1)
			v, err := s.securely(shown)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(v, "last words"); err != nil {
				t.Fatal(err)
			}
			if err := v.Conn.(*tls.Conn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(v.in); string(got) != "last words" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}},
		{name: "a client that speaks no TLS is sent away", source: source, needs: rig, check: func(t *testing.T, c *cloud) {
			s, _ := c.tcpSSL(1)
			conn, err := net.Dial("tcp", s.vip)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if got, err := io.ReadAll(conn); len(got) > 30 { // an alert is short
				t.Errorf("got %q, %v", got, err)
			} else if errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, io.ErrNoProgress) {
				t.Error(err)
			}
		}},
		{name: "mutual authentication wants the client's", source: "CLB API CertificateInput, SSLMode", needs: rig, check: func(t *testing.T, c *cloud) {
			ca := c.certificate("client", "client.example.com")
			if err := c.emulator.AddCA("ca", pemOf(ca)); err != nil {
				t.Fatal(err)
			}
			s, shown := c.tcpSSL(1, func(q *api.CreateListenerRequest) {
				q.Certificate.SSLMode, q.Certificate.CertCaId = new("MUTUAL"), new("ca")
			})
			if _, err := s.securely(shown); err == nil {
				t.Error("a client without one got through")
			}
		}},
		{name: "a changed certificate is shown from then on", source: "CLB API ModifyListener, Certificate", needs: rig, check: func(t *testing.T, c *cloud) {
			s, old := c.tcpSSL(1)
			next := c.certificate("cert-b", "b.example.com")
			err := c.changing(s.lb, s.l, func(q *api.ModifyListenerRequest) {
				q.Certificate = &api.CertificateInput{SSLMode: new("UNIDIRECTIONAL"), CertId: new("cert-b")}
			})
			if err != nil {
				t.Fatal(err)
			}
			c.await("it is shown", func() bool {
				_, err := s.securely(next)
				return err == nil
			})
			if _, err := s.securely(old); err == nil {
				t.Error("the old one is still shown")
			}
		}},
		{name: "it has to have a certificate", source: "CLB API CreateListener, Certificate", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			refused(t, c.listening(lb, "TCP_SSL", 8443), "MissingParameter")
		}},
		{name: "one that exists", source: "CLB API CreateListener, Certificate", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			refused(t, c.listening(lb, "TCP_SSL", 8443, showing("none")), "InvalidParameterValue")
		}},
		{name: "TCP has none", source: "CLB API CreateListener, Certificate", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			refused(t, c.listening(lb, "TCP", 80, showing("none")), "InvalidParameter")
		}},
		{name: "it is described with its certificate", source: "CLB API DescribeListeners", needs: rig, check: func(t *testing.T, c *cloud) {
			s, _ := c.tcpSSL(0)
			l := c.listeners(s.lb)[0]
			if *l.Protocol != "TCP_SSL" || l.Certificate == nil || *l.Certificate.CertId != "cert-a" {
				t.Errorf("got %s with %v", *l.Protocol, l.Certificate)
			}
		}},
		{name: "its port is taken for TCP", source: "CLB API CreateListener, Ports", needs: rig, check: func(t *testing.T, c *cloud) {
			s, _ := c.tcpSSL(0)
			refused(t, c.listening(s.lb, "TCP", 8443), "InvalidParameter.PortCheckFailed")
		}},
		{name: "no rescheduling, no reset on unbinding", source: "CLB API CreateListener, DeregisterTargetRst: TCP and UDP listeners only", needs: rig, check: func(t *testing.T, c *cloud) {
			s, _ := c.tcpSSL(0)
			for _, set := range []func(*api.ModifyListenerRequest){
				func(q *api.ModifyListenerRequest) { q.DeregisterTargetRst = new(true) },
				func(q *api.ModifyListenerRequest) { q.RescheduleTargetZeroWeight = new(true) },
			} {
				refused(t, c.changing(s.lb, s.l, set), "InvalidParameter")
			}
		}},
		{name: "checks are TCP or HTTP", source: "CLB API HealthCheck, CheckType", needs: rig, check: func(t *testing.T, c *cloud) {
			s, _ := c.tcpSSL(0)
			err := c.changing(s.lb, s.l, func(q *api.ModifyListenerRequest) { q.HealthCheck = &api.HealthCheck{CheckType: new("CUSTOM")} })
			refused(t, err, "InvalidParameterValue")
		}},
		{name: "HTTP checks work on it", source: "CLB API HealthCheck, CheckType", needs: rig, check: func(t *testing.T, c *cloud) {
			s, _ := c.tcpSSL(0, checking(func(h *api.HealthCheck) {
				h.CheckType, h.HttpCheckDomain, h.HttpVersion, h.HttpCheckPath = new("HTTP"), new("a.example.com"), new("HTTP/1.1"), new("/")
				h.HttpCode = new(int64(2)) // 2xx
			}))
			good := c.answering("good")
			bad := c.handler(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }).addr
			c.bind(s.lb, s.l, "", good, bad)
			c.healthy(s.lb, good, "Alive")
			c.healthy(s.lb, bad, "Dead")
		}},
		{name: "three failures to forward take a target out", source: "CLB, Health check overview, passive check", needs: rig, options: []func(*clb.Options){func(o *clb.Options) { o.Second = time.Second }}, check: func(t *testing.T, c *cloud) {
			s, shown := c.tcpSSL(0, func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{HealthSwitch: new(int64(0))} })
			good, bad := c.greeter(), c.greeter()
			c.bind(s.lb, s.l, "", good.addr, bad.addr)
			bad.stop()
			failed := 0
			for range 20 {
				if _, err := s.securely(shown); err != nil {
					failed++
				}
			}
			if failed != 3 {
				t.Errorf("%d of 20 failed, want 3", failed)
			}
		}},
	})
}
