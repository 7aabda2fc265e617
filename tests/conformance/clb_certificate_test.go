package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// certificate puts a self-signed one for the names where the emulator finds it by id.
func (c *cloud) certificate(id string, names ...string) *x509.Certificate {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		c.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.emulator.AddCertificate(id, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}); err != nil {
		c.t.Fatal(err)
	}
	return leaf
}

// secure is a load balancer with an HTTPS listener for a.example.com.
func (c *cloud) secure(set ...func(*api.CreateListenerRequest)) (lb, listener string) {
	c.t.Helper()
	c.certificate("cert-a", "a.example.com")
	lb = c.balancer()
	listener = c.listener(lb, "HTTPS", 443, append(set, func(q *api.CreateListenerRequest) {
		q.Certificate = &api.CertificateInput{SSLMode: new("UNIDIRECTIONAL"), CertId: new("cert-a")}
	})...)
	return lb, listener
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
