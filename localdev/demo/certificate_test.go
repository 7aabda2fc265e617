package demo

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestCertificateIsForItsHosts(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cert, roots, err := newCertificate(now, shopHost, apiHost)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason, host string
		roots        *x509.CertPool
		at           time.Time
		want         bool
	}{
		"First":     {"it is for the first host", shopHost, roots, now, true},
		"Second":    {"it is for the second host", apiHost, roots, now, true},
		"Other":     {"it is for no other host", "other.example.com", roots, now, false},
		"Stranger":  {"only its own authority vouches for it", shopHost, x509.NewCertPool(), now, false},
		"DayLater":  {"it is for a short time", shopHost, roots, now.Add(24 * time.Hour), false},
		"DayBefore": {"it is for a short time", shopHost, roots, now.Add(-24 * time.Hour), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := leaf.Verify(x509.VerifyOptions{DNSName: tc.host, Roots: tc.roots, CurrentTime: tc.at})
			if got := err == nil; got != tc.want {
				t.Errorf("%s: believed %v, want %v (%v)", tc.reason, got, tc.want, err)
			}
		})
	}
}
