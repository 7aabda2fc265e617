package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clb-direct/clb-direct/localdev/node"
)

// authority signs certificates: a test makes its own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "authority of " + t.Name()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template, nil)
	return a
}

// sign makes a certificate; without a parent it signs itself.
func (a *authority) sign(template *x509.Certificate, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// leaf makes a certificate for hosts, or for a client without any.
func (a *authority) leaf(name string, hosts ...string) tls.Certificate {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: hosts, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// uploaded makes a certificate for hosts and keeps it where the CLB finds it.
func (s *space) uploaded(a *authority, hosts ...string) (id string) {
	s.t.Helper()
	id = certificateID(s.t)
	s.must(s.CLB.AddCertificate(id, a.leaf(id, hosts...)))
	return id
}

// uploadedCA keeps the authority's own certificate where the CLB finds it.
func (s *space) uploadedCA(a *authority) (id string) {
	s.t.Helper()
	id = certificateID(s.t)
	s.must(s.CLB.AddCA(id, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
	return id
}

func certificateID(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 4)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

// secret writes a secret, new or changed, with keys and values by turns.
func (s *space) secret(name string, pairs ...string) {
	s.t.Helper()
	data := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = pairs[i+1]
	}
	secrets := s.client.CoreV1().Secrets(s.name)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
	if _, err := secrets.Update(s.t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		_, err := secrets.Create(s.t.Context(), secret, metav1.CreateOptions{})
		s.must(err)
	}
}

// certIDKey and caIDKey are the keys of a TLS secret (TKE, "Ingress Certificate
// Configuration").
const (
	certIDKey = "qcloud_cert_id"
	caIDKey   = "qcloud_ca_cert_id"
)

// browser is a client of a load balancer: every host name leads there.
type browser struct {
	*http.Client
	transport *http.Transport
}

// browse makes one that trusts the authorities. It follows no redirect unless told to.
func (s *space) browse(vip string, trusted ...*authority) *browser {
	s.t.Helper()
	pool := x509.NewCertPool()
	for _, a := range trusted {
		pool.AddCert(a.cert)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return dialer("127.0.9.9").DialContext(ctx, network, net.JoinHostPort(vip, port))
		},
		TLSClientConfig: &tls.Config{RootCAs: pool},
		Protocols:       &http.Protocols{},
	}
	transport.Protocols.SetHTTP1(true)
	s.t.Cleanup(transport.CloseIdleConnections)
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{&http.Client{Transport: transport, CheckRedirect: stay, Timeout: 10 * time.Second}, transport}
}

// following has it follow redirects, as people's do.
func (b *browser) following() *browser { b.CheckRedirect = nil; return b }

// http2 has it speak HTTP/2 where the server offers it.
func (b *browser) http2() *browser { b.transport.Protocols.SetHTTP2(true); return b }

// keepingCookies has it send back cookies that it was given.
func (b *browser) keepingCookies(s *space) *browser {
	jar, err := cookiejar.New(nil)
	s.must(err)
	b.Jar = jar
	return b
}

// page is what a load balancer answered, and the pod behind it if one did.
type page struct {
	*http.Response
	node.Answer
}

// get asks for an address once.
func (b *browser) get(ctx context.Context, url string) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return page{}, err
	}
	res, err := b.Do(req)
	if err != nil {
		return page{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return page{}, err
	}
	out := page{Response: res}
	if res.StatusCode == http.StatusOK {
		err = json.Unmarshal(body, &out.Answer)
	}
	return out, err
}

// visit asks for an address and requires an answer, of whatever status.
func (s *space) visit(b *browser, url string) page {
	s.t.Helper()
	out, err := b.get(s.t.Context(), url)
	s.must(err)
	return out
}

// awaitVisits waits until each address is answered by the pod named, or with a status,
// "404" or "301 https://...": what is written to the CLB takes effect a little later.
func (s *space) awaitVisits(b *browser, want map[string]string) {
	s.t.Helper()
	s.await(fmt.Sprintf("requests are answered as in %v", want), func() (bool, string) {
		for url, answer := range want {
			p, err := b.get(s.t.Context(), url)
			if err != nil {
				return false, err.Error()
			}
			got := p.Pod
			if p.StatusCode != http.StatusOK {
				got = strings.TrimSpace(fmt.Sprintf("%d %s", p.StatusCode, p.Header.Get("Location")))
			}
			if got != answer {
				return false, url + ": " + got
			}
		}
		return true, ""
	})
}
