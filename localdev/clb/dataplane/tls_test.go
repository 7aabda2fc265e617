package dataplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	made := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	})
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

func (a *authority) sign(template *x509.Certificate) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// named is a certificate for servers and clients of these names.
func (a *authority) named(names ...string) *tls.Certificate {
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// tlsClient trusts the authority and shows the certificate, if any.
func (s *stage) tlsClient(a *authority, shows *tls.Certificate) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.l.Addr.String())
		},
		TLSClientConfig:   &tls.Config{RootCAs: a.pool()},
		ForceAttemptHTTP2: true,
	}
	if shows != nil {
		tr.TLSClientConfig.Certificates = []tls.Certificate{*shows}
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// shake does a handshake and gives the server certificate's name and the protocol.
func (s *stage) shake(name string, config *tls.Config) (string, error) {
	conn, err := net.Dial("tcp", s.l.Addr.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	config.ServerName, config.InsecureSkipVerify = name, true
	config.NextProtos = []string{"h2", "http/1.1"}
	c := tls.Client(conn, config)
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if err := c.Handshake(); err != nil {
		return "", err
	}
	state := c.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName + " " + state.NegotiatedProtocol, nil
}

func TestCertificateByServerName(t *testing.T) {
	a := newAuthority(t)
	domains := []Domain{
		{Name: "a.test", Certificate: a.named("a.test"), HTTP2: true},
		{Name: "*.b.test", Certificate: a.named("*.b.test")},
		{Name: "plain.test", HTTP2: true},
	}
	cases := map[string]struct {
		reason            string
		own, defaultsTo   string
		name, want, alert string
	}{
		"Exact":       {reason: "the domain's own, HTTP/2 on", own: "own", name: "a.test", want: "a.test h2"},
		"Wildcard":    {reason: "by wildcard, HTTP/2 off", own: "own", name: "x.b.test", want: "*.b.test http/1.1"},
		"Listener's":  {reason: "a domain without one has the listener's", own: "own", name: "plain.test", want: "own h2"},
		"Other":       {reason: "a name of no domain has the listener's", own: "own", name: "c.test", want: "own http/1.1"},
		"NoName":      {reason: "so has no name", own: "own", want: "own http/1.1"},
		"Default":     {reason: "but for a default domain, whose rules it will meet", own: "own", defaultsTo: "a.test", name: "c.test", want: "a.test h2"},
		"Nothing":     {reason: "no certificate at all is a refusal", name: "c.test", alert: "unrecognized name"},
		"NothingOwn":  {reason: "also for a domain that has none", name: "plain.test", alert: "unrecognized name"},
		"WithoutOwn":  {reason: "a domain's own doesn't want the listener's", name: "a.test", want: "a.test h2"},
		"DefaultBare": {reason: "a default domain without one has the listener's", own: "own", defaultsTo: "plain.test", name: "c.test", want: "own h2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{})
			s.l.HTTP = &HTTP{TLS: true, DefaultDomain: tc.defaultsTo}
			if tc.own != "" {
				s.l.HTTP.Certificate = a.named(tc.own)
			}
			s.set(domains...)
			got, err := s.shake(tc.name, &tls.Config{})
			if tc.alert != "" {
				if err == nil || !strings.Contains(err.Error(), tc.alert) {
					t.Errorf("%s: got %q and error %v, want alert %s", tc.reason, got, err, tc.alert)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestServesHTTPS(t *testing.T) {
	a := newAuthority(t)
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, Options{})
			s.l.HTTP = &HTTP{TLS: true, Certificate: a.named("a.test")}
			seen := make(chan http.Header, 1)
			p := s.pod(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				r.Header.Set("Spoken", r.Proto)
				r.Header.Set("Host", r.Host)
				seen <- r.Header
			}))
			s.set(Domain{Name: "a.test", HTTP2: http2, Rules: []Rule{{ID: "1", Path: "/", Targets: bound(p)}}})
			response, err := s.tlsClient(a, nil).Get("https://a.test:8080/")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.Proto != name {
				t.Errorf("the client spoke %s", response.Proto)
			}
			got, want := map[string]string{}, map[string]string{
				"Spoken": "HTTP/1.1", "Host": "a.test:8080", "X-Forwarded-Proto": "https",
				"X-Client-Proto": "https", "X-Client-Proto-Ver": name, "X-Real-Ip": "127.0.0.1",
			}
			h := <-seen
			for k := range want {
				got[k] = h.Get(k)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what the pod sees: -want +got:\n%s", diff)
			}
		})
	}
}

func TestMutualTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	s := newStage(t, Options{})
	s.l.HTTP = &HTTP{TLS: true, Certificate: a.named("open.test", "shut.test"), DefaultDomain: "open.test"}
	p := s.named("a")
	rules := func(id string) []Rule { return []Rule{{ID: id, Path: "/", Targets: bound(p)}} }
	s.set(
		Domain{Name: "open.test", Rules: rules("1")},
		Domain{Name: "shut.test", Rules: rules("2"), Certificate: a.named("shut.test"), ClientCAs: a.pool()},
	)
	get := func(c *http.Client, host, header string) (int, error) {
		r, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = header
		response, err := c.Do(r)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		// Read to the end, the connection is used again.
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	}
	if status, err := get(s.tlsClient(a, a.named("me")), "shut.test", ""); status != http.StatusOK {
		t.Errorf("a signed certificate: status %d, %v", status, err)
	}
	var alert *net.OpError
	for name, shows := range map[string]*tls.Certificate{"none": nil, "a stranger's": other.named("me")} {
		if status, err := get(s.tlsClient(a, shows), "shut.test", ""); !errors.As(err, &alert) {
			t.Errorf("%s certificate: status %d, %v, want an alert", name, status, err)
		}
	}
	if status, err := get(s.tlsClient(a, nil), "open.test", ""); status != http.StatusOK {
		t.Errorf("the other domain wants none: status %d, %v", status, err)
	}
	if status, err := get(s.tlsClient(a, nil), "open.test", "shut.test"); status != http.StatusMisdirectedRequest {
		t.Errorf("a request that evades the check by another name: status %d, %v", status, err)
	}

	early := s.tlsClient(a, nil)
	if status, err := get(early, "open.test", ""); status != http.StatusOK {
		t.Fatalf("status %d, %v", status, err)
	}
	s.l.HTTP.ClientCAs = a.pool()
	s.set(Domain{Name: "open.test", Rules: rules("1")})
	if status, err := get(early, "open.test", ""); status != http.StatusMisdirectedRequest {
		t.Errorf("a connection from before the check: status %d, %v", status, err)
	}
}

// TestNewCertificateKeepsConnections changes the certificate under a client.
func TestNewCertificateKeepsConnections(t *testing.T) {
	a := newAuthority(t)
	s := newStage(t, Options{})
	s.l.HTTP = &HTTP{TLS: true, Certificate: a.named("a.test")}
	p := s.named("a")
	d := Domain{Name: "a.test", Rules: []Rule{{ID: "1", Path: "/", Targets: bound(p)}}}
	s.set(d)
	c := s.tlsClient(a, nil)
	serial := func() *x509.Certificate {
		response, err := c.Get("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := response.Body.Read(make([]byte, 2)); err == nil {
			t.Fatal("more than one byte")
		}
		return response.TLS.PeerCertificates[0]
	}
	before := serial()
	s.l.HTTP.Certificate = a.named("a.test")
	s.set(d)
	if !before.Equal(serial()) {
		t.Error("the client had to connect anew")
	}
	c.CloseIdleConnections()
	if before.Equal(serial()) {
		t.Error("a new connection has the certificate of before")
	}
}
