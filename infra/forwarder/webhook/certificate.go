package webhook

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// How long certificates are good, and how long before their end they are renewed.
// The new authority is trusted beside the old one well before anything of the old
// one ends.
const (
	authorityLife  = 10 * 365 * 24 * time.Hour
	authorityRenew = 2 * 365 * 24 * time.Hour
	servingLife    = 365 * 24 * time.Hour
	servingRenew   = 120 * 24 * time.Hour
	// backdate forgives clocks that are behind.
	backdate = time.Hour
)

// Material is what the Secret holds, all PEM. Authority may hold several
// certificates: the one that signs first, then those still trusted.
type Material struct {
	Authority, AuthorityKey []byte
	Serving, ServingKey     []byte
}

// Renew gives the material that is good at now for hosts, and whether it differs
// from m. What is missing or unreadable is made anew.
func (m Material) Renew(hosts []string, now time.Time) (Material, bool, error) {
	authority, key, err := m.authority()
	changed := false
	if err != nil || now.Add(authorityRenew).After(authority.NotAfter) {
		var fresh []byte
		if authority, key, fresh, m.AuthorityKey, err = newAuthority(now); err != nil {
			return m, false, err
		}
		m.Authority = append(fresh, stillGood(m.Authority, now)...)
		changed = true
	}
	if !changed && m.serves(authority, hosts, now) {
		return m, false, nil
	}
	m.Serving, m.ServingKey, err = newServing(authority, key, hosts, now)
	return m, true, err
}

// Certificate is the key pair to serve with.
func (m Material) Certificate() (tls.Certificate, error) {
	c, err := tls.X509KeyPair(m.Serving, m.ServingKey)
	if err != nil {
		return c, fmt.Errorf("reading the serving certificate: %w", err)
	}
	return c, nil
}

func (m Material) authority() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	pair, err := tls.X509KeyPair(m.Authority, m.AuthorityKey)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, errors.New("reading the authority: not an ECDSA key")
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	return cert, key, err
}

// serves tells whether the serving certificate is by authority, for hosts, and far
// from its end.
func (m Material) serves(authority *x509.Certificate, hosts []string, now time.Time) bool {
	pair, err := tls.X509KeyPair(m.Serving, m.ServingKey)
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || cert.CheckSignatureFrom(authority) != nil || now.Add(servingRenew).After(cert.NotAfter) || now.Before(cert.NotBefore) {
		return false
	}
	return !slices.ContainsFunc(hosts, func(h string) bool { return cert.VerifyHostname(h) != nil })
}

func newAuthority(now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "clb-direct webhook authority"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, nil, nil, err
	}
	cert, certPEM, err := sign(template, template, key, key)
	return cert, key, certPEM, keyPEM, err
}

func newServing(authority *x509.Certificate, by *ecdsa.PrivateKey, hosts []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hosts[0]},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(servingLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	_, certPEM, err = sign(template, authority, key, by)
	return certPEM, keyPEM, err
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func sign(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, []byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		return nil, nil, fmt.Errorf("signing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// stillGood keeps the certificates of bundle that have not ended.
func stillGood(bundle []byte, now time.Time) []byte {
	var out bytes.Buffer
	for {
		block, rest := pem.Decode(bundle)
		if block == nil {
			return out.Bytes()
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(cert.NotAfter) {
			out.Write(pem.EncodeToMemory(block))
		}
		bundle = rest
	}
}
