package webhook

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"
)

var hosts = []string{"hook.ns.svc", "hook.ns.svc.cluster.local", "127.0.0.9"}

// trusts tells whether somebody who trusts bundle accepts m for every host at now.
func trusts(t *testing.T, bundle []byte, m Material, now time.Time) bool {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	pair, err := m.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: h, Roots: pool, CurrentTime: now}); err != nil {
			return false
		}
	}
	return true
}

func renew(t *testing.T, m Material, hosts []string, now time.Time) (Material, bool) {
	t.Helper()
	out, changed, err := m.Renew(hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	return out, changed
}

func TestMaterialIsRenewedInTime(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first, changed := renew(t, Material{}, hosts, start)
	if !changed || !trusts(t, first.Authority, first, start) {
		t.Fatal("nothing was made, or nothing that can be trusted")
	}
	cases := map[string]struct {
		reason         string
		material       Material
		hosts          []string
		at             time.Duration
		changed        bool
		keepsAuthority bool
	}{
		"Fresh":             {"what is good is kept", first, hosts, time.Hour, false, true},
		"ServingEnds":       {"a new certificate by the same authority", first, hosts, servingLife - servingRenew + time.Minute, true, true},
		"OtherHost":         {"the webhook is reached elsewhere now", first, append([]string{"127.0.0.10"}, hosts...), time.Hour, true, true},
		"AuthorityEnds":     {"a new authority, the old one trusted beside it", first, hosts, authorityLife - authorityRenew + time.Minute, true, false},
		"ServingUnreadable": {"what somebody broke is mended", Material{first.Authority, first.AuthorityKey, []byte("x"), nil}, hosts, time.Hour, true, true},
		"KeyOfAnother":      {"a key that does not fit is no key", Material{first.Authority, first.ServingKey, first.Serving, first.ServingKey}, hosts, time.Hour, true, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			now := start.Add(tc.at)
			got, changed := renew(t, tc.material, tc.hosts, now)
			if changed != tc.changed {
				t.Errorf("%s: changed %v, want %v", tc.reason, changed, tc.changed)
			}
			if bytes.Equal(got.Authority, tc.material.Authority) != tc.keepsAuthority {
				t.Errorf("%s: authority kept %v, want %v", tc.reason, !tc.keepsAuthority, tc.keepsAuthority)
			}
			if !trusts(t, got.Authority, got, now) {
				t.Errorf("%s: the result isn't trusted", tc.reason)
			}
			if !tc.keepsAuthority && !trusts(t, got.Authority, first, start.Add(time.Hour)) {
				t.Errorf("%s: a replica that still serves the old certificate is no longer trusted", tc.reason)
			}
			if _, again := renew(t, got, tc.hosts, now); again {
				t.Errorf("%s: renewing again changes it again", tc.reason)
			}
		})
	}
}
