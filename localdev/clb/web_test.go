package clb

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
)

// webPod is an HTTP server that answers its name.
func (r *rig) webPod(name string) netip.AddrPort {
	r.t.Helper()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(r.podAddr(), 0).String())
	if err != nil {
		r.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
	server.Listener.Close()
	server.Listener = ln
	server.Start()
	r.t.Cleanup(server.Close)
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// quick is the health check of quickCheck at a rule.
func quick(in *api.RuleInput) {
	in.HealthCheck = &api.HealthCheck{IntervalTime: i64(3), TimeOut: i64(2), HealthNum: i64(2), UnHealthNum: i64(5)}
}

// answer is what a client sees.
type answer struct {
	Status         int
	Body, Location string
	// Name is what the server's certificate is for.
	Name string
}

// get asks vip:port for a URL without following redirects.
func (r *rig) get(vip netip.Addr, port uint16, url string) (answer, error) {
	r.t.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", netip.AddrPortFrom(vip, port).String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(url)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	out := answer{Status: response.StatusCode, Location: response.Header.Get("Location")}
	if response.StatusCode == http.StatusOK {
		out.Body = string(body)
	}
	if response.TLS != nil {
		out.Name = response.TLS.PeerCertificates[0].DNSNames[0]
	}
	return out, err
}

// TestWeb goes through the API and the data plane.
func TestWeb(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b"} {
		if err := r.AddCertificate(name, issueEC(t, name+".example.com")); err != nil {
			t.Fatal(err)
		}
	}
	lb := r.instance()
	vip := r.vip(lb)
	web, tls := r.listener(lb, "HTTP", 80), r.https(lb, 443, sni)
	cert := func(name string) func(*api.RuleInput) {
		return func(in *api.RuleInput) { in.Certificate = &api.CertificateInput{CertId: &name} }
	}
	host := func(in *api.RuleInput) { in.HealthCheck.HttpCheckDomain = str("check.example.com") }
	plainIDs := r.rules(lb, web, ruleInput("a.example.com", "/", quick), ruleInput("a.example.com", "/x", quick),
		ruleInput("*.example.com", "/", quick, host), ruleInput("", "= /only", quick), ruleInput("old.example.com", "/", quick))
	tlsIDs := r.rules(lb, tls, ruleInput("a.example.com", "/", quick, cert("a")), ruleInput("b.example.com", "/", quick, cert("b")))

	names := []string{"root", "x", "wild", "vip", "tls-a", "tls-b"}
	places := []*api.BatchTarget{}
	for i, location := range append(append([]string{}, plainIDs[:4]...), tlsIDs...) {
		listener := web
		if i >= 4 {
			listener = tls
		}
		places = append(places, at(batchTarget(listener, r.webPod(names[i]), 10), location))
	}
	r.bind(lb, places...)
	for _, p := range places {
		r.awaitHealth(lb, netip.AddrPortFrom(netip.MustParseAddr(*p.EniIp), uint16(*p.Port)), "Alive")
	}
	if got := r.manual(lb, web, tls, coded(plainIDs[4], tlsIDs[1], 302, true, "old.example.com")); got != "" {
		t.Fatal(got)
	}

	cases := map[string]struct {
		reason string
		port   uint16
		url    string
		want   answer
	}{
		"Root":      {"host and path", 80, "http://a.example.com/y", answer{Status: 200, Body: "root"}},
		"Longest":   {"the longest prefix", 80, "http://a.example.com/x/y", answer{Status: 200, Body: "x"}},
		"Wildcard":  {"after exact hosts", 80, "http://c.example.com/", answer{Status: 200, Body: "wild"}},
		"VIP":       {"no domain is the virtual address", 80, "http://" + vip.String() + "/only", answer{Status: 200, Body: "vip"}},
		"Exact":     {"= is the whole path", 80, "http://" + vip.String() + "/only/x", answer{Status: 404}},
		"Default":   {"the default domain serves unknown hosts", 80, "http://elsewhere.test/x", answer{Status: 200, Body: "x"}},
		"SNI":       {"a domain's own certificate", 443, "https://b.example.com/", answer{Status: 200, Body: "tls-b", Name: "b.example.com"}},
		"SNIOther":  {"another's", 443, "https://a.example.com/", answer{Status: 200, Body: "tls-a", Name: "a.example.com"}},
		"SNIUnkown": {"the default domain's for unknown names", 443, "https://elsewhere.test/", answer{Status: 200, Body: "tls-a", Name: "a.example.com"}},
		"Redirect":  {"scheme, host and the URL taken along", 80, "http://old.example.com/p?q=1", answer{Status: 302, Location: "https://b.example.com/p?q=1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := r.get(vip, tc.port, tc.url)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}

	// Changes reach the data plane, those of a redirect's target too.
	rename := api.NewModifyDomainRequest()
	rename.LoadBalancerId, rename.ListenerId, rename.Domain, rename.NewDomain = &lb, &tls, str("b.example.com"), str("new.example.com")
	r.done(must[*api.ModifyDomainResponse](t)(r.client.ModifyDomain(rename)).Response.RequestId)
	if got := r.modifyRule(lb, web, plainIDs[1], func(q *api.ModifyRuleRequest) { q.Url = str("/z") }); got != "" {
		t.Fatal(got)
	}
	after := map[string]answer{
		"http://old.example.com/": {Status: 302, Location: "https://new.example.com/"},
		"http://a.example.com/z":  {Status: 200, Body: "x"},
		"http://a.example.com/x":  {Status: 200, Body: "root"},
	}
	for url, want := range after {
		got, err := r.get(vip, 80, url)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, changed: -want +got:\n%s", url, diff)
		}
	}
	if got := r.deleteRule(lb, web, func(q *api.DeleteRuleRequest) { q.Domain = str("*.example.com") }); got != "" {
		t.Fatal(got)
	}
	if got, err := r.get(vip, 80, "http://c.example.com/z"); err != nil || got.Body != "x" {
		t.Errorf("a deleted domain's hosts go to the default one: %+v %v", got, err)
	}
}

// TestMutual asks clients for certificates.
func TestMutual(t *testing.T) {
	r := newRig(t)
	r.withCertificates()
	client := issueEC(t, "client")
	if err := r.AddCA("clients", pemOf(client)); err != nil {
		t.Fatal(err)
	}
	lb := r.instance()
	l := r.https(lb, 8443, func(q *api.CreateListenerRequest) {
		q.Certificate = &api.CertificateInput{SSLMode: str("MUTUAL"), CertId: str("ec"), CertCaId: str("clients")}
	})
	r.rules(lb, l, ruleInput("a.example.com", "/"))
	for name, tc := range map[string]struct {
		certificates []tls.Certificate
		want         bool
	}{"With": {[]tls.Certificate{client}, true}, "Without": {nil, false}} {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", netip.AddrPortFrom(r.vip(lb), 8443).String(), &tls.Config{
				InsecureSkipVerify: true, ServerName: "a.example.com", Certificates: tc.certificates,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// The server judges after the client's side of the handshake is done.
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n"); err != nil && tc.want {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(conn); (err == nil) != tc.want {
				t.Errorf("a client %s certificate is answered: %v", name, err)
			}
		})
	}
}

// TestRuleTasks: rules come and go by tasks, one write at a time, and a task that fails
// has changed nothing.
func TestRuleTasks(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Latencies = &Latencies{Task: Range{Min: 50 * time.Millisecond}} })
	lb := r.instance()
	l := r.listener(lb, "HTTP", 8080)
	q := api.NewCreateRuleRequest()
	q.LoadBalancerId, q.ListenerId, q.Rules = &lb, &l, []*api.RuleInput{ruleInput("a", "/")}
	first := must[*api.CreateRuleResponse](t)(r.client.CreateRule(q)).Response
	if _, err := r.client.CreateRule(q); code(err) != "FailedOperation.ResourceInOperating" {
		t.Errorf("a second write at once: %v", err)
	}
	if got := r.paths(lb, l); len(got) != 0 {
		t.Errorf("a rule is there before its task is done: %v", got)
	}
	r.done(first.RequestId)
	want := []path{{*first.LocationIds[0], "a", "/", true}}
	if diff := cmp.Diff(want, r.paths(lb, l)); diff != "" {
		t.Errorf("then it is there: -want +got:\n%s", diff)
	}
	remove := r.Intercept(func(_ context.Context, call Call) *Fault {
		if call.Write {
			return &Fault{FailTask: "no"}
		}
		return nil
	})
	defer remove()
	if got := r.deleteRule(lb, l, func(q *api.DeleteRuleRequest) { q.Domain = str("a") }); got != "task: no" {
		t.Errorf("a task that fails: %q", got)
	}
	if diff := cmp.Diff(want, r.paths(lb, l)); diff != "" {
		t.Errorf("and has changed nothing: -want +got:\n%s", diff)
	}
}
