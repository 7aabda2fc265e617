package dataplane

import (
	"crypto/tls"
	"crypto/x509"
)

// handshake is the TLS settings of a listener's names: of each domain by its name, and
// of whoever asks for none of them.
type handshake struct {
	table *table
	sites map[*site]*tls.Config
	other *tls.Config
}

func newHandshake(h *HTTP, t *table) *handshake {
	out := &handshake{table: t, sites: map[*site]*tls.Config{}, other: serverConfig(h.Certificate, h.ClientCAs, false)}
	for s := range t.all() {
		certificate, clients := s.domain.Certificate, s.domain.ClientCAs
		if certificate == nil {
			certificate, clients = h.Certificate, h.ClientCAs
		}
		out.sites[s] = serverConfig(certificate, clients, s.domain.HTTP2)
	}
	return out
}

// serverConfig serves one certificate; a handshake without any is refused with the
// alert unrecognized_name.
func serverConfig(certificate *tls.Certificate, clients *x509.CertPool, http2 bool) *tls.Config {
	config := &tls.Config{NextProtos: []string{"http/1.1"}}
	if http2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	if clients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	return config
}

// config is the settings for a server name, which may be empty. A name of no domain is
// the default domain's, as a request for it is.
func (h *handshake) config(name string) *tls.Config {
	if s := h.table.site(name); s != nil {
		return h.sites[s]
	}
	return h.other
}

// misdirected says whether a request for the site came over a connection on which the
// client did not show the certificate that the site wants: it was made for another
// name, or before the site wanted one (nginx answers the first kind 421 too).
func (h *handshake) misdirected(s *site, connection *tls.ConnectionState) bool {
	if connection == nil || s == nil {
		return false
	}
	want := h.sites[s].ClientCAs
	return want != nil && (len(connection.PeerCertificates) == 0 || !want.Equal(h.config(connection.ServerName).ClientCAs))
}
