package clb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emulator "github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// certificates adds server certificates, and one authority for them and for clients.
func (r *rig) certificates(authority string, ids ...string) {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range ids {
		if err := r.server.AddCertificate(id, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.server.AddCA(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		r.t.Fatal(err)
	}
}

// layer7 makes a CLB with one listener of a protocol, named "l".
func (r *rig) layer7(p model.Protocol, port int) (*model.LoadBalancer, string) {
	r.t.Helper()
	id := r.loadBalancer("t", nil)
	found, err := r.LoadBalancers(r.t.Context(), id)
	if err != nil || len(found) != 1 {
		r.t.Fatal(found, err)
	}
	return &found[0], r.listener(id, p, port)
}

// listener makes one named "l".
func (r *rig) listener(lb string, p model.Protocol, port int) string {
	r.t.Helper()
	ids, err := r.CreateListeners(r.t.Context(), lb, []model.WantedListener{{Name: "l", Protocol: p, Port: port}})
	if err != nil || len(ids) != 1 {
		r.t.Fatal(ids, err)
	}
	return ids[0]
}

func wantedRule(domain, path string, set ...func(*model.WantedRule)) model.WantedRule {
	w := model.WantedRule{Spot: model.Spot{Listener: "l", Domain: domain, Path: path}}
	for _, f := range set {
		f(&w)
	}
	return w
}

// make7 creates rules and returns their locations.
func (r *rig) make7(lb *model.LoadBalancer, listener string, rules ...model.WantedRule) []string {
	r.t.Helper()
	ids, err := r.CreateRules(r.t.Context(), lb, listener, rules)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(ids) != len(rules) {
		r.t.Fatalf("want a location for each of %d rules, got %v", len(rules), ids)
	}
	return ids
}

// rules are those of a listener, by location.
func (r *rig) rules(lb *model.LoadBalancer, listener string) map[string]model.Rule {
	r.t.Helper()
	found, err := r.Listeners(r.t.Context(), lb.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]model.Rule{}
	for _, l := range found {
		if l.ID == listener {
			for _, rule := range l.Rules {
				out[rule.ID] = rule
			}
		}
	}
	return out
}

// plainRule is a rule of an HTTP listener of which nothing was said.
func plainRule(id, domain, path, checked string) model.Rule {
	return model.Rule{ID: id, Domain: domain, Path: path, Attributes: model.Attributes{HealthCheck: checkOfRule("HTTP", checked), Scheduler: "WRR", ForwardType: "HTTP"}}
}

func TestListenersOfLayer7(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	lb := r.loadBalancer("t", nil)
	on, five := true, 5
	wanted := []model.WantedListener{
		// Settings of layer 4 have no place here, and would be refused.
		{Name: "plain", Protocol: model.HTTP, Port: 80, Settings: model.Settings{HealthEnabled: &on, Interval: &five, Scheduler: ptr("WRR")}},
		{Name: "kept", Protocol: model.HTTP, Port: 8080, KeepAlive: &on},
		{Name: "tls", Protocol: model.HTTPS, Port: 443, KeepAlive: &on},
		// And keepalive none at layer 4.
		{Name: "tcp", Protocol: model.TCP, Port: 81, KeepAlive: &on},
	}
	var ids []string
	for _, w := range wanted {
		made, err := r.CreateListeners(ctx, lb, []model.WantedListener{w})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, made...)
	}
	read := func() []model.Listener {
		t.Helper()
		got, err := r.Listeners(ctx, lb)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b model.Listener) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
		return got
	}
	want := []model.Listener{
		{ID: ids[0], Name: "plain", Protocol: model.HTTP, Port: 80},
		{ID: ids[1], Name: "kept", Protocol: model.HTTP, Port: 8080, KeepAlive: true},
		{ID: ids[2], Name: "tls", Protocol: model.HTTPS, Port: 443, KeepAlive: true, SNI: true},
		{ID: ids[3], Name: "tcp", Protocol: model.TCP, Port: 81, Attributes: model.Attributes{HealthCheck: checkBy("TCP"), Scheduler: "WRR"}},
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Fatalf("created: -want +got:\n%s", diff)
	}
	for i, keep := range map[int]bool{0: true, 2: false} {
		changed := want[i]
		changed.KeepAlive = keep
		if err := r.ModifyListener(ctx, lb, want[i], changed); err != nil {
			t.Errorf("%s: %v", want[i].Name, err)
		}
		want[i] = changed
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("changed: -want +got:\n%s", diff)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lb, at := r.layer7(model.HTTP, 80)
	on, off, ten, nine, hour := true, false, 10, 9, 3600
	path, domain, get, codes, source, least := "/healthz", "check.example.com", "GET", 2, 1, "LEAST_CONN"
	ids := r.make7(lb, at,
		wantedRule("a.example.com", "/"),
		wantedRule("", "= /exact", func(w *model.WantedRule) { w.DefaultServer = true }),
		wantedRule("*.example.com", "/"),
		wantedRule("a.example.com", "/tuned", func(w *model.WantedRule) {
			w.Settings = model.Settings{
				HealthEnabled: &on, Interval: &ten, Timeout: &nine, CheckPath: &path, CheckDomain: &domain, CheckMethod: &get, CheckCodes: &codes, CheckSource: &source,
				SessionExpire: &hour, Scheduler: &least,
			}
		}),
		wantedRule("a.example.com", "/unchecked", func(w *model.WantedRule) { w.Settings = model.Settings{HealthEnabled: &off, Interval: &ten} }),
	)
	own := plainRule(ids[1], "", "= /exact", lb.VIPs[0])
	own.DefaultServer = true
	tuned := model.Rule{ID: ids[3], Domain: "a.example.com", Path: "/tuned", Attributes: model.Attributes{
		HealthCheck: model.HealthCheck{
			Enabled: true, Interval: 10, Timeout: 9, HealthNum: 3, UnhealthNum: 3, Type: "HTTP",
			Path: path, Domain: domain, Method: get, Codes: 2, SourceIPType: 1,
		},
		SessionExpire: 3600, Scheduler: least, ForwardType: "HTTP",
	}}
	unchecked := plainRule(ids[4], "a.example.com", "/unchecked", "a.example.com")
	unchecked.HealthCheck.Enabled = false
	want := map[string]model.Rule{
		ids[0]: plainRule(ids[0], "a.example.com", "/", "a.example.com"),
		ids[1]: own,
		// A pattern is no domain to ask for.
		ids[2]: plainRule(ids[2], "*.example.com", "/", "example.com"),
		ids[3]: tuned,
		ids[4]: unchecked,
	}
	if diff := cmp.Diff(want, r.rules(lb, at)); diff != "" {
		t.Fatalf("created: -want +got:\n%s", diff)
	}

	// Each change must be seen afterwards as it was wanted, or it would be wanted
	// for ever.
	place := model.Place{Listener: at, Location: ids[0]}
	for i, s := range []model.Settings{
		{Interval: &ten, Timeout: &nine},
		{CheckPath: &path, CheckDomain: &domain, CheckMethod: &get, CheckCodes: &codes, CheckSource: &source},
		{HealthEnabled: &off},
		{HealthEnabled: &on, CheckSource: ptr(0), CheckType: ptr("GRPC")},
		{SessionExpire: &hour},
		{SessionExpire: ptr(0), Scheduler: ptr("IP_HASH")},
	} {
		have := r.rules(lb, at)[ids[0]].Attributes
		changed, _ := s.Apply(have)
		if err := r.ModifyRule(t.Context(), lb.ID, place, have, changed); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
		if again, still := s.Apply(r.rules(lb, at)[ids[0]].Attributes); still {
			t.Errorf("change %d: want %+v, got %+v", i, again, r.rules(lb, at)[ids[0]])
		}
	}
	got := r.rules(lb, at)
	delete(got, ids[0])
	delete(want, ids[0])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the other rules are as they were: -want +got:\n%s", diff)
	}
	before := r.server.CallCounts()["ModifyRule"]
	if err := r.ModifyRule(t.Context(), lb.ID, place, tuned.Attributes, tuned.Attributes); err != nil || r.server.CallCounts()["ModifyRule"] != before {
		t.Errorf("without a change nothing is sent: %v", err)
	}
	if err := r.ModifyRule(t.Context(), lb.ID, model.Place{Listener: at, Location: "loc-00000000"}, tuned.Attributes, own.Attributes); !fault.Is(err, fault.NotFound) || Code(err) != CodeLocationGone {
		t.Errorf("a rule that is gone is NotFound, got %v", err)
	}
}

// TestRulesAllOrNone: one bad rule, and none is made.
func TestRulesAllOrNone(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *emulator.Options) { q := emulator.DefaultQuotas(); q.Rules = 3; o.Quotas = &q })
	lb, at := r.layer7(model.HTTP, 80)
	r.make7(lb, at, wantedRule("a.example.com", "/"))
	good := wantedRule("a.example.com", "/good")
	cases := map[string]struct {
		reason string
		rules  []model.WantedRule
		want   fault.Kind
		quota  bool
	}{
		"Taken": {reason: "domain and path are", rules: []model.WantedRule{good, wantedRule("a.example.com", "/")}, want: fault.Invalid},
		"Quota": {reason: "there is room for two", rules: []model.WantedRule{good, wantedRule("a.example.com", "/2"), wantedRule("a.example.com", "/3")}, want: fault.Permanent, quota: true},
		"HTTP2": {reason: "HTTP has no HTTP/2", rules: []model.WantedRule{good, wantedRule("b.example.com", "/", func(w *model.WantedRule) { w.HTTP2 = ptr(true) })}, want: fault.Invalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ids, err := r.CreateRules(t.Context(), lb, at, tc.rules)
			if !fault.Is(err, tc.want) || Code(err) == "" || IsQuota(err) != tc.quota || len(ids) != 0 {
				t.Errorf("%s: want %s, got %v, %v", tc.reason, tc.want, ids, err)
			}
			if got := r.rules(lb, at); len(got) != 1 {
				t.Errorf("%s: none is made, got %v", tc.reason, got)
			}
		})
	}
	// Two defaults in one call: the first has it.
	standard := func(w *model.WantedRule) { w.DefaultServer = true }
	ids := r.make7(lb, at, wantedRule("b.example.com", "/", standard), wantedRule("c.example.com", "/", standard))
	if got := r.rules(lb, at); !got[ids[0]].DefaultServer || got[ids[1]].DefaultServer {
		t.Errorf("want the first the default, got %+v", got)
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.certificates("ca-1", "cert-1", "cert-2")
	lb, at := r.layer7(model.HTTPS, 443)
	grpc := "GRPC"
	ids := r.make7(lb, at,
		wantedRule("a.example.com", "/", func(w *model.WantedRule) { w.Certificate, w.HTTP2 = &model.Certificate{ID: "cert-1"}, ptr(true) }),
		wantedRule("a.example.com", "/rpc", func(w *model.WantedRule) {
			w.Certificate, w.HTTP2, w.Settings.ForwardType = &model.Certificate{ID: "cert-1"}, ptr(true), &grpc
		}),
		wantedRule("b.example.com", "/", func(w *model.WantedRule) { w.Certificate = &model.Certificate{ID: "cert-2", CA: "ca-1"} }),
		wantedRule("", "/", func(w *model.WantedRule) { w.Certificate = &model.Certificate{ID: "cert-1"} }),
	)
	domains := func() map[string]model.DomainAttributes {
		t.Helper()
		out := map[string]model.DomainAttributes{}
		for _, rule := range r.rules(lb, at) {
			if before, seen := out[rule.Domain]; seen && before != rule.DomainAttributes {
				t.Errorf("the rules of %s differ: %+v and %+v", rule.Domain, before, rule.DomainAttributes)
			}
			out[rule.Domain] = rule.DomainAttributes
		}
		return out
	}
	want := map[string]model.DomainAttributes{
		"a.example.com": {Certificate: model.Certificate{ID: "cert-1"}, HTTP2: true, DefaultServer: true},
		"b.example.com": {Certificate: model.Certificate{ID: "cert-2", CA: "ca-1"}},
		"":              {Certificate: model.Certificate{ID: "cert-1"}},
	}
	if diff := cmp.Diff(want, domains()); diff != "" {
		t.Fatalf("created: -want +got:\n%s", diff)
	}
	if got := r.rules(lb, at)[ids[1]]; got.ForwardType != grpc || got.HealthCheck.Type != grpc {
		t.Errorf("forwarded and so checked by GRPC, got %+v", got)
	}

	cases := []struct {
		reason, domain string
		want           model.DomainAttributes
	}{
		{"mutual", "a.example.com", model.DomainAttributes{Certificate: model.Certificate{ID: "cert-1", CA: "ca-1"}, HTTP2: true, DefaultServer: true}},
		{"one-way again, with another certificate", "b.example.com", model.DomainAttributes{Certificate: model.Certificate{ID: "cert-1"}}},
		{"all at once, of the CLB's own address", "", model.DomainAttributes{Certificate: model.Certificate{ID: "cert-2"}, HTTP2: true, DefaultServer: true}},
		{"HTTP/2 off", "", model.DomainAttributes{Certificate: model.Certificate{ID: "cert-2"}, DefaultServer: true}},
	}
	for _, tc := range cases {
		if err := r.ModifyDomain(ctx, lb, at, tc.domain, want[tc.domain], tc.want); err != nil {
			t.Fatalf("%s: %v", tc.reason, err)
		}
		if tc.want.DefaultServer { // which ends another's being it
			for domain, a := range want {
				a.DefaultServer = false
				want[domain] = a
			}
		}
		want[tc.domain] = tc.want
		if diff := cmp.Diff(want, domains()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
		}
	}

	counts := r.server.CallCounts()["ModifyDomainAttributes"]
	if err := r.ModifyDomain(ctx, lb, at, "", want[""], want[""]); err != nil || r.server.CallCounts()["ModifyDomainAttributes"] != counts {
		t.Errorf("without a change nothing is sent: %v", err)
	}
	if err := r.ModifyDomain(ctx, lb, at, "b.example.com", want["b.example.com"], model.DomainAttributes{Certificate: model.Certificate{ID: "cert-9"}}); err == nil || Code(err) == "" {
		t.Error("an unknown certificate is refused")
	}
	if err := r.ModifyDomain(ctx, lb, at, "z.example.com", model.DomainAttributes{}, model.DomainAttributes{HTTP2: true}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a domain without rules is NotFound, got %v", err)
	}
}

func TestDeleteRules(t *testing.T) {
	t.Parallel()
	// The stricter of two behaviours: the next default must be named.
	r := newRig(t, func(o *emulator.Options) {
		q := emulator.DefaultQuotas()
		q.Rules = 2 * MaxRules
		o.Quotas, o.NameDefault = &q, true
	})
	ctx := t.Context()
	lb, at := r.layer7(model.HTTP, 80)
	var many []model.WantedRule
	for i := range MaxRules + 5 {
		many = append(many, wantedRule("a.example.com", "/"+string(rune('A'+i%26))+string(rune('a'+i/26))))
	}
	var old []string
	for chunk := range slices.Chunk(many, MaxRules) {
		old = append(old, r.make7(lb, at, chunk...)...)
	}
	kept := r.make7(lb, at, wantedRule("", "/"), wantedRule("b.example.com", "/"))

	if err := r.DeleteRules(ctx, lb, at, old[:2], nil); err != nil {
		t.Fatal(err)
	}
	// The first two are gone, so every call that names one is refused as a whole.
	own := ""
	if err := r.DeleteRules(ctx, lb, at, old, &own); err != nil {
		t.Fatalf("what is gone already is no error: %v", err)
	}
	first := plainRule(kept[0], "", "/", lb.VIPs[0])
	first.DefaultServer = true
	want := map[string]model.Rule{kept[0]: first, kept[1]: plainRule(kept[1], "b.example.com", "/", "b.example.com")}
	if diff := cmp.Diff(want, r.rules(lb, at)); diff != "" {
		t.Errorf("the others go, and the CLB's own address is the default: -want +got:\n%s", diff)
	}
	next := "b.example.com"
	if err := r.DeleteRules(ctx, lb, at, kept[:1], &next); err != nil {
		t.Fatal(err)
	}
	if got := r.rules(lb, at); len(got) != 1 || !got[kept[1]].DefaultServer {
		t.Errorf("want only %s left, as the default, got %+v", next, got)
	}
	if err := r.DeleteRules(ctx, lb, at, kept[1:], nil); err != nil {
		t.Errorf("the last needs no next default: %v", err)
	}

	counts := r.server.CallCounts()["DeleteRule"]
	if err := r.DeleteRules(ctx, lb, at, nil, nil); err != nil || r.server.CallCounts()["DeleteRule"] != counts {
		t.Errorf("naming none is no call: %v", err)
	}
	if err := r.DeleteListeners(ctx, lb.ID, []string{at}); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteRules(ctx, lb, at, old[:9], nil); err != nil || r.server.CallCounts()["DeleteRule"] != counts+1 {
		t.Errorf("with the listener all are gone, which one call tells: %v", err)
	}
	r.spoil("DeleteRule", 1, refuse("FailedOperation"))
	if err := r.DeleteRules(ctx, lb, at, old[:9], nil); !fault.Is(err, fault.Transient) {
		t.Errorf("another refusal is an error, got %v", err)
	}
}
