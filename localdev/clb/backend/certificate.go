package backend

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Certificate names the certificates of a listener or a domain; the zero value is none.
type Certificate struct {
	// IDs are those of server certificates; of several, each has an algorithm of its
	// own, and the data plane serves the first.
	IDs []string
	// Mutual asks clients for a certificate that CA has signed.
	Mutual bool
	CA     string
}

// certificates are those that the account has, as the SSL product would keep them.
type certificates struct {
	servers map[string]*tls.Certificate
	cas     map[string]*x509.CertPool
}

func newCertificates() certificates {
	return certificates{servers: map[string]*tls.Certificate{}, cas: map[string]*x509.CertPool{}}
}

// AddCertificate keeps a server certificate by id, in place of the one that had it: which
// the listeners that use it learn with their next change.
func (b *Backend) AddCertificate(id string, cert tls.Certificate) error {
	if cert.Leaf == nil {
		if len(cert.Certificate) == 0 {
			return fmt.Errorf("adding certificate %s: it is empty", id)
		}
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return fmt.Errorf("adding certificate %s: %w", id, err)
		}
		cert.Leaf = leaf
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.certificates.servers[id] = &cert
	return nil
}

// AddCA keeps the certificates of pem, by id, as those that sign clients'.
func (b *Backend) AddCA(id string, pem []byte) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("adding CA %s: no certificate in PEM", id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.certificates.cas[id] = pool
	return nil
}

// Certificate says what is known by an id: a server's certificate, or a CA.
func (b *Backend) Certificate(id string) (server *x509.Certificate, ca bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cert := b.certificates.servers[id]; cert != nil {
		server = cert.Leaf
	}
	return server, b.certificates.cas[id] != nil
}

// usable fails for certificates that are unknown or expired.
func (c certificates) usable(want Certificate, now time.Time) error {
	for _, id := range want.IDs {
		cert := c.servers[id]
		if cert == nil {
			return failure("InvalidParameterValue", "certificate %s does not exist.", id)
		}
		if now.After(cert.Leaf.NotAfter) {
			return failure("InvalidParameterValue", "certificate %s has expired.", id)
		}
	}
	if want.Mutual && c.cas[want.CA] == nil {
		return failure("InvalidParameterValue", "CA certificate %q does not exist.", want.CA)
	}
	return nil
}

// find gives what want names to the data plane; nil where it names nothing.
func (c certificates) find(want Certificate) (*tls.Certificate, *x509.CertPool) {
	if len(want.IDs) == 0 {
		return nil, nil
	}
	var pool *x509.CertPool
	if want.Mutual {
		pool = c.cas[want.CA]
	}
	return c.servers[want.IDs[0]], pool
}
