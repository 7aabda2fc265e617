package clb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
)

// issue makes a certificate that signs itself.
func issue(t *testing.T, public, private any, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// issueEC is one that holds, of the cheap kind.
func issueEC(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issue(t, key.Public(), key, time.Now().Add(24*time.Hour), names...)
}

func pemOf(cert tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
}

// https creates an HTTPS listener with a certificate, "cert-ec".
func (r *rig) https(lb string, port int, set ...func(*api.CreateListenerRequest)) string {
	r.t.Helper()
	if err := r.AddCertificate("cert-ec", issueEC(r.t, "a.example.com")); err != nil {
		r.t.Fatal(err)
	}
	with := func(q *api.CreateListenerRequest) { q.Certificate = &api.CertificateInput{CertId: str("cert-ec")} }
	return r.listener(lb, "HTTPS", port, append([]func(*api.CreateListenerRequest){with}, set...)...)
}

func sni(q *api.CreateListenerRequest) { q.Certificate, q.SniSwitch = nil, i64(1) }

// withCertificates adds "rsa", "ec", "ec2", "old" (expired) and the CA "ca".
func (r *rig) withCertificates() {
	r.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		r.t.Fatal(err)
	}
	old, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	for id, cert := range map[string]tls.Certificate{
		"rsa": issue(r.t, key.Public(), key, time.Now().Add(time.Hour)),
		"ec":  issueEC(r.t), "ec2": issueEC(r.t),
		"old": issue(r.t, old.Public(), old, time.Now().Add(-time.Hour)),
	} {
		if err := r.AddCertificate(id, cert); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.AddCA("ca", pemOf(issueEC(r.t))); err != nil {
		r.t.Fatal(err)
	}
}

func many7(mode string, ids ...string) *api.MultiCertInfo {
	info := &api.MultiCertInfo{SSLMode: &mode}
	for _, id := range ids {
		info.CertList = append(info.CertList, &api.CertInfo{CertId: &id})
	}
	return info
}

// TestCreateLayer7: CLB API, CreateListener, CertificateInput and MultiCertInfo.
func TestCreateLayer7(t *testing.T) {
	r := newRig(t)
	r.withCertificates()
	lb := r.instance()
	r.listener(lb, "TCP", 9001)
	input := func(in api.CertificateInput) func(*api.CreateListenerRequest) {
		return func(q *api.CreateListenerRequest) { q.Certificate = &in }
	}
	multi := func(info *api.MultiCertInfo) func(*api.CreateListenerRequest) {
		return func(q *api.CreateListenerRequest) { q.Certificate, q.MultiCertInfo = nil, info }
	}
	cases := map[string]struct {
		reason, protocol string
		set              func(*api.CreateListenerRequest)
		want             string
		certificate      *api.CertificateOutput
	}{
		"HTTP":             {"needs nothing", "HTTP", func(q *api.CreateListenerRequest) { q.Certificate = nil }, "", nil},
		"HTTPCertificate":  {"has no certificate", "HTTP", plain, "InvalidParameter", nil},
		"HTTPSNI":          {"nor SNI", "HTTP", sni, "InvalidParameter", nil},
		"OneWay":           {"by default", "HTTPS", plain, "", &api.CertificateOutput{SSLMode: str("UNIDIRECTIONAL"), CertId: str("ec")}},
		"NoCertificate":    {"HTTPS without SNI needs one", "HTTPS", func(q *api.CreateListenerRequest) { q.Certificate = nil }, "MissingParameter", nil},
		"SNI":              {"needs none", "HTTPS", sni, "", nil},
		"SNICertificate":   {"and takes none", "HTTPS", func(q *api.CreateListenerRequest) { q.SniSwitch = i64(1) }, "InvalidParameter", nil},
		"Both":             {"one way to name them", "HTTPS", func(q *api.CreateListenerRequest) { q.MultiCertInfo = many7("UNIDIRECTIONAL", "ec") }, "InvalidParameter", nil},
		"Unknown":          {"it must exist", "HTTPS", input(api.CertificateInput{CertId: str("none")}), "InvalidParameterValue", nil},
		"Expired":          {"and hold", "HTTPS", input(api.CertificateInput{CertId: str("old")}), "InvalidParameterValue", nil},
		"NoID":             {"or be uploaded, which isn't emulated", "HTTPS", input(api.CertificateInput{CertContent: str("x")}), "UnsupportedOperation", nil},
		"Nothing":          {"an id is needed", "HTTPS", input(api.CertificateInput{}), "MissingParameter", nil},
		"Mode":             {"two modes", "HTTPS", input(api.CertificateInput{SSLMode: str("mutual"), CertId: str("ec")}), "InvalidParameterValue", nil},
		"MutualNoCA":       {"mutual needs a CA", "HTTPS", input(api.CertificateInput{SSLMode: str("MUTUAL"), CertId: str("ec")}), "MissingParameter", nil},
		"MutualUnknownCA":  {"that exists", "HTTPS", input(api.CertificateInput{SSLMode: str("MUTUAL"), CertId: str("ec"), CertCaId: str("ec")}), "InvalidParameterValue", nil},
		"Mutual":           {"both", "HTTPS", input(api.CertificateInput{SSLMode: str("MUTUAL"), CertId: str("ec"), CertCaId: str("ca")}), "", &api.CertificateOutput{SSLMode: str("MUTUAL"), SSLVerifyClient: str("ON"), CertId: str("ec"), CertCaId: str("ca")}},
		"MutualOptional":   {"not emulated", "HTTPS", input(api.CertificateInput{SSLMode: str("MUTUAL"), SSLVerifyClient: str("OPTIONAL"), CertId: str("ec"), CertCaId: str("ca")}), "UnsupportedOperation", nil},
		"Multi":            {"of several algorithms", "HTTPS", multi(many7("UNIDIRECTIONAL", "rsa", "ec")), "", &api.CertificateOutput{SSLMode: str("UNIDIRECTIONAL"), CertId: str("rsa"), ExtCertIds: []*string{str("ec")}}},
		"MultiMutual":      {"with a CA", "HTTPS", multi(many7("MUTUAL", "ca", "ec")), "", &api.CertificateOutput{SSLMode: str("MUTUAL"), SSLVerifyClient: str("ON"), CertId: str("ec"), CertCaId: str("ca")}},
		"MultiNoCA":        {"which mutual needs", "HTTPS", multi(many7("MUTUAL", "ec")), "MissingParameter", nil},
		"MultiSame":        {"two of one algorithm", "HTTPS", multi(many7("UNIDIRECTIONAL", "ec", "ec2")), "InvalidParameterValue", nil},
		"MultiUnknown":     {"they must exist", "HTTPS", multi(many7("UNIDIRECTIONAL", "none")), "InvalidParameterValue", nil},
		"MultiNone":        {"required", "HTTPS", multi(many7("UNIDIRECTIONAL")), "MissingParameter", nil},
		"Scheduler":        {"is the rules'", "HTTPS", func(q *api.CreateListenerRequest) { q.Scheduler = str("WRR") }, "InvalidParameter", nil},
		"HealthCheck":      {"is the rules'", "HTTPS", func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{} }, "InvalidParameter", nil},
		"Session":          {"is the rules'", "HTTPS", func(q *api.CreateListenerRequest) { q.SessionExpireTime = i64(30) }, "InvalidParameter", nil},
		"Rst":              {"is layer 4's", "HTTPS", func(q *api.CreateListenerRequest) { q.DeregisterTargetRst = flag(true) }, "InvalidParameter", nil},
		"KeepaliveInvalid": {"0 or 1", "HTTPS", func(q *api.CreateListenerRequest) { q.KeepaliveEnable = i64(2) }, "InvalidParameterValue", nil},
		"PortOfTCP":        {"a port is one for all of TCP", "HTTPS", func(q *api.CreateListenerRequest) { q.Ports = []*int64{i64(9001)} }, "InvalidParameter.PortCheckFailed", nil},
		"Layer4SNI":        {"is layer 7's", "TCP", sni, "InvalidParameter", nil},
		"Layer4Keepalive":  {"is layer 7's", "TCP", func(q *api.CreateListenerRequest) { q.Certificate, q.KeepaliveEnable = nil, i64(1) }, "InvalidParameter", nil},
		"Layer4":           {"has no certificate", "TCP", plain, "InvalidParameter", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports = &lb, &tc.protocol, []*int64{i64(9000)}
			q.Certificate = &api.CertificateInput{CertId: str("ec")}
			tc.set(q)
			answer, err := r.client.CreateListener(q)
			if diff := cmp.Diff(tc.want, code(err)); diff != "" {
				t.Fatalf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if err != nil {
				return
			}
			r.done(answer.Response.RequestId)
			got := r.listeners(lb, func(q *api.DescribeListenersRequest) { q.ListenerIds = answer.Response.ListenerIds })[0]
			if diff := cmp.Diff(tc.certificate, got.Certificate); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if got.HealthCheck != nil || got.Scheduler != nil || *got.SniSwitch != value(q.SniSwitch) || *got.KeepaliveEnable != 0 {
				t.Errorf("what layer 7 has at the listener: %+v", got)
			}
			del := api.NewDeleteListenerRequest()
			del.LoadBalancerId, del.ListenerId = &lb, answer.Response.ListenerIds[0]
			r.done(must[*api.DeleteListenerResponse](t)(r.client.DeleteListener(del)).Response.RequestId)
		})
	}
}

// TestModifyLayer7: CLB API, ModifyListener.
func TestModifyLayer7(t *testing.T) {
	r := newRig(t)
	r.withCertificates()
	lb := r.instance()
	l := r.https(lb, 8443)
	r.rules(lb, l, ruleInput("a.example.com", "/"))
	modify := func(set func(*api.ModifyListenerRequest)) string {
		q := api.NewModifyListenerRequest()
		q.LoadBalancerId, q.ListenerId = &lb, &l
		set(q)
		answer, err := r.client.ModifyListener(q)
		if err != nil {
			return code(err)
		}
		return r.settled(answer.Response.RequestId, nil)
	}
	type state struct {
		SNI, Keepalive       int64
		Listener, Rule, Name string
	}
	steps := []struct {
		reason string
		set    func(*api.ModifyListenerRequest)
		want   string
		left   state
	}{
		{"another certificate", func(q *api.ModifyListenerRequest) {
			q.Certificate = &api.CertificateInput{CertId: str("rsa")}
		}, "", state{Listener: "rsa"}},
		{"an expired one", func(q *api.ModifyListenerRequest) {
			q.Certificate = &api.CertificateInput{CertId: str("old")}
		}, "InvalidParameterValue", state{Listener: "rsa"}},
		{"name and keep-alive", func(q *api.ModifyListenerRequest) { q.ListenerName, q.KeepaliveEnable = str("web"), i64(1) }, "", state{Listener: "rsa", Name: "web", Keepalive: 1}},
		{"the scheduler is the rules'", func(q *api.ModifyListenerRequest) { q.Scheduler = str("WRR") }, "InvalidParameter", state{Listener: "rsa", Name: "web", Keepalive: 1}},
		{"SNI hands the certificate to the domains", func(q *api.ModifyListenerRequest) { q.SniSwitch = i64(1) }, "", state{SNI: 1, Rule: "rsa", Name: "web", Keepalive: 1}},
		{"and stays", func(q *api.ModifyListenerRequest) { q.SniSwitch = i64(0) }, "InvalidParameter", state{SNI: 1, Rule: "rsa", Name: "web", Keepalive: 1}},
		{"with it on, the listener has none", func(q *api.ModifyListenerRequest) {
			q.Certificate = &api.CertificateInput{CertId: str("ec")}
		}, "InvalidParameter", state{SNI: 1, Rule: "rsa", Name: "web", Keepalive: 1}},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, modify(step.set)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
		have := r.listeners(lb)[0]
		got := state{SNI: *have.SniSwitch, Keepalive: *have.KeepaliveEnable, Name: *have.ListenerName}
		if have.Certificate != nil {
			got.Listener = *have.Certificate.CertId
		}
		if c := have.Rules[0].Certificate; c != nil {
			got.Rule = *c.CertId
		}
		if diff := cmp.Diff(step.left, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
}

// TestModifyDomain: CLB API, ModifyDomain and ModifyDomainAttributes.
func TestModifyDomain(t *testing.T) {
	r := newRig(t)
	r.withCertificates()
	lb := r.instance()
	l, http := r.https(lb, 8443, sni), r.listener(lb, "HTTP", 8080)
	r.rules(lb, l, ruleInput("a", "/"), ruleInput("a", "/x"), ruleInput("b", "/", func(in *api.RuleInput) {
		in.Certificate, in.Http2 = &api.CertificateInput{CertId: str("ec")}, flag(true)
	}))
	r.rules(lb, http, ruleInput("a", "/"))
	rename := func(from, to string) string {
		q := api.NewModifyDomainRequest()
		q.LoadBalancerId, q.ListenerId, q.Domain, q.NewDomain = &lb, &l, &from, &to
		answer, err := r.client.ModifyDomain(q)
		if err != nil {
			return code(err)
		}
		return r.settled(answer.Response.RequestId, nil)
	}
	attributes := func(set func(*api.ModifyDomainAttributesRequest)) func() string {
		return func() string {
			q := api.NewModifyDomainAttributesRequest()
			q.LoadBalancerId, q.ListenerId, q.Domain = &lb, &l, str("a")
			set(q)
			answer, err := r.client.ModifyDomainAttributes(q)
			if err != nil {
				return code(err)
			}
			return r.settled(answer.Response.RequestId, nil)
		}
	}
	type state struct {
		Domain, Certificate string
		HTTP2, Default      bool
	}
	a, b := state{Domain: "a", Default: true}, state{Domain: "b", Certificate: "ec", HTTP2: true}
	next := state{Domain: "b", Certificate: "ec", HTTP2: true, Default: true}
	steps := []struct {
		reason string
		do     func() string
		want   string
		left   []state
	}{
		{"an unknown domain", func() string { return rename("c", "d") }, "InvalidParameter", []state{a, a, b}},
		{"to one that is there", func() string { return rename("a", "b") }, "InvalidParameterValue", []state{a, a, b}},
		{"to what is none", func() string { return rename("a", "_a") }, "InvalidParameter.FormatError", []state{a, a, b}},
		{"unknown here too", attributes(func(q *api.ModifyDomainAttributesRequest) { q.Domain = str("c") }), "InvalidParameter", []state{a, a, b}},
		{"the domain is required", attributes(func(q *api.ModifyDomainAttributesRequest) { q.Domain = nil }), "MissingParameter", []state{a, a, b}},
		{"a listener always has a default domain", attributes(func(q *api.ModifyDomainAttributesRequest) { q.DefaultServer = flag(false) }), "MissingParameter", []state{a, a, b}},
		{"the next must be there", attributes(func(q *api.ModifyDomainAttributesRequest) {
			q.DefaultServer, q.NewDefaultServerDomain = flag(false), str("c")
		}), "InvalidParameter", []state{a, a, b}},
		{"to the next", attributes(func(q *api.ModifyDomainAttributesRequest) {
			q.DefaultServer, q.NewDefaultServerDomain = flag(false), str("b")
		}), "", []state{{Domain: "a"}, {Domain: "a"}, next}},
		{"and back, by switching on", attributes(func(q *api.ModifyDomainAttributesRequest) { q.DefaultServer = flag(true) }), "", []state{a, a, b}},
		{"an unknown certificate", attributes(func(q *api.ModifyDomainAttributesRequest) {
			q.Certificate = &api.CertificateInput{CertId: str("none")}
		}), "InvalidParameterValue", []state{a, a, b}},
		{"HTTP/2 is HTTPS", attributes(func(q *api.ModifyDomainAttributesRequest) { q.ListenerId, q.Http2 = &http, flag(true) }), "InvalidParameter", []state{a, a, b}},
		{"several domains are not emulated", attributes(func(q *api.ModifyDomainAttributesRequest) { q.NewDomains = common.StringPtrs([]string{"c", "d"}) }), "UnsupportedOperation", []state{a, a, b}},
		{"certificate, HTTP/2 and name", attributes(func(q *api.ModifyDomainAttributesRequest) {
			q.Certificate, q.Http2, q.NewDomain = &api.CertificateInput{CertId: str("rsa")}, flag(true), str("*.a")
		}), "", []state{{"*.a", "rsa", true, true}, {"*.a", "rsa", true, true}, b}},
		{"back", func() string { return rename("*.a", "a") }, "", []state{{"a", "rsa", true, true}, {"a", "rsa", true, true}, b}},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
		var got []state
		for _, rule := range r.described(lb, l) {
			s := state{Domain: *rule.Domain, HTTP2: *rule.Http2, Default: *rule.DefaultServer}
			if rule.Certificate != nil {
				s.Certificate = *rule.Certificate.CertId
			}
			got = append(got, s)
		}
		if diff := cmp.Diff(step.left, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.reason, diff)
		}
	}
}
