package desired

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestIngressTLS(t *testing.T) {
	site := func() *model.Ingress { return ingress(nil, to("web", 80, hostA, "/"), to("api", 81, hostB, "/")) }
	const (
		keyA, keyB       = "HTTPS/443 a.example.com/", "HTTPS/443 b.example.com/"
		servesA, servesB = keyA + " | web:8080 | ", keyB + " | api:9090 | "
	)
	both := func(a, b string, problems ...string) summary {
		return summary{Listeners: []string{"HTTPS/443"}, Rules: []string{servesA + a, servesB + b}, Problems: problems}
	}
	onlyB := func(code, problem string) summary {
		return summary{Listeners: []string{"HTTPS/443"}, Rules: []string{servesB + "cert-2"}, Refused: map[string]string{keyA: code}, Problems: []string{problem}}
	}
	checkIngresses(t, map[string]ingressCase{
		"All":            {reason: "an entry without hosts is for all", ing: site(), tls: tls([]string{"one"}), want: both("cert-1", "cert-1")},
		"Each":           {reason: "each host its own; ids are trimmed", ing: site(), tls: tls([]string{"one", "A.example.com"}, []string{"two", hostB}), want: both("cert-1", "cert-2")},
		"Rest":           {reason: "what no entry names has the one for all", ing: site(), tls: tls([]string{"two"}, []string{"one", hostA}), want: both("cert-1", "cert-2")},
		"Mutual":         {reason: "an authority for the clients' certificates", ing: site(), tls: tls([]string{"mutual"}), want: both("cert-3 ca-3", "cert-3 ca-3")},
		"Wildcard":       {reason: "a wildcard covers one label", ing: site(), tls: tls([]string{"one", "*.example.com"}), want: both("cert-1", "cert-1")},
		"WildcardOwn":    {reason: "a host's own comes first", ing: site(), tls: tls([]string{"one", "*.example.com"}, []string{"two", hostB}), want: both("cert-1", "cert-2")},
		"WildcardOther":  {reason: "a wildcard covers no two labels", ing: ingress(nil, to("web", 80, "x."+hostA, "/")), tls: tls([]string{"one", "*.example.com"}), want: summary{Listeners: []string{"HTTPS/443"}, Refused: map[string]string{"HTTPS/443 x.a.example.com/": "E4040"}, Problems: []string{"E4040 spec.rules[0].host"}}},
		"Missing":        {reason: "no secret; the other host stays", ing: site(), tls: tls([]string{"gone", hostA}, []string{"two", hostB}), want: onlyB("E4009", "E4009 spec.tls[0].secretName")},
		"Unnamed":        {reason: "no secret named", ing: site(), tls: tls([]string{"", hostA}, []string{"two", hostB}), want: onlyB("E4009", "E4009 spec.tls[0].secretName")},
		"Keyless":        {reason: "no id in it", ing: site(), tls: tls([]string{"keyless", hostA}, []string{"two", hostB}), want: onlyB("E4010", "E4010 spec.tls[0].secretName")},
		"Empty":          {reason: "an empty id", ing: site(), tls: tls([]string{"empty", hostA}, []string{"two", hostB}), want: onlyB("E4011", "E4011 spec.tls[0].secretName")},
		"NoneForHost":    {reason: "a host that nothing is for", ing: site(), tls: tls([]string{"two", hostB}), want: onlyB("E4040", "E4040 spec.rules[0].host")},
		"TwoForHost":     {reason: "the first counts", ing: site(), tls: tls([]string{"one", hostA, hostB}, []string{"two", hostB}), want: both("cert-1", "cert-1", "E4049 spec.tls[1].hosts[0]")},
		"SameForHost":    {reason: "said twice is no contradiction", ing: site(), tls: tls([]string{"one", hostA, hostB}, []string{"one", hostB}), want: both("cert-1", "cert-1")},
		"TwoForAll":      {reason: "the first counts", ing: site(), tls: tls([]string{"one"}, []string{"two"}), want: both("cert-1", "cert-1", "E4048 spec.tls[1]")},
		"SameForAll":     {reason: "said twice is no contradiction", ing: site(), tls: tls([]string{"one"}, []string{"one"}), want: both("cert-1", "cert-1")},
		"BrokenForAll":   {reason: "a host's own is not touched by what is wrong with the rest's", ing: site(), tls: tls([]string{"gone"}, []string{"two", hostB}), want: onlyB("E4009", "E4009 spec.tls[0].secretName")},
		"PathsOfOneHost": {reason: "said once for a host", ing: ingress(nil, to("web", 80, hostA, "/"), to("web", 80, hostA, "/x")), tls: tls([]string{"empty"}), want: summary{Listeners: []string{"HTTPS/443"}, Refused: map[string]string{keyA: "E4011", keyA + "x": "E4011"}, Problems: []string{"E4011 spec.tls[0].secretName"}}},
	})

	ing := site()
	ing.TLS = tls([]string{"gone", hostA}, []string{"one", hostB})
	src := ingressSources()
	src.Secrets = nil
	w := WantsOf(IngressObject(ing), src, Policy{Cluster: "cls-1"})
	if len(w.Rules) != 2 || w.Rules[0].Certificate != nil || w.Rules[1].Certificate != nil || len(w.Problems)+len(w.Refused) != 0 {
		t.Errorf("secrets that nobody looked at leave certificates as they are: %+v", w)
	}
}

func TestIngressConfigured(t *testing.T) {
	cfg, problems := ParseConfig(specOf7(t, `
		{"protocol":"HTTP","port":80,"keepaliveEnable":1,"defaultServer":"b.example.com","domains":[
			{"domain":"","rules":[{"url":"/","scheduler":"IP_HASH"}]},
			{"domain":"a.example.com","rules":[{"url":"/x","forwardType":"GRPC"},{"url":"/y","forwardType":"HTTPS"},{"url":"= /y","forwardType":"HTTP"}]}]},
		{"protocol":"HTTPS","port":443,"keepaliveEnable":0,"defaultServer":"nobody.example.com","domains":[
			{"domain":"a.example.com","http2":true,"rules":[{"url":"/x","scheduler":"WRR"}]}]}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ing := ingress(map[string]string{ListenPorts: `[{"HTTP":80},{"HTTPS":443}]`},
		to("web", 80, "", "/"), exact(to("web", 80, hostA, "/x")), to("web", 80, hostA, "/y"), exact(to("web", 80, hostA, "/y")), to("web", 80, hostB, "/"))
	ing.TLS = tls([]string{"one"})
	src := ingressSources()
	src.Config = &cfg
	w := WantsOf(IngressObject(ing), src, Policy{Cluster: "cls-1"})
	type said struct {
		Settings model.Settings
		HTTP2    *bool
		Default  bool
	}
	want := map[string]said{
		"HTTP/80 /":                     {Settings: model.Settings{Scheduler: ptr("IP_HASH")}},
		"HTTP/80 a.example.com= /x":     {Settings: model.Settings{ForwardType: ptr("GRPC")}}, // found by its path alone
		"HTTP/80 a.example.com/y":       {Settings: model.Settings{ForwardType: ptr("HTTPS")}},
		"HTTP/80 a.example.com= /y":     {Settings: model.Settings{ForwardType: ptr("HTTP")}},
		"HTTP/80 b.example.com/":        {Default: true},
		"HTTPS/443 /":                   {Default: true}, // the domain named isn't this Ingress's
		"HTTPS/443 a.example.com= /x":   {Settings: model.Settings{Scheduler: ptr("WRR")}, HTTP2: ptr(true)},
		"HTTPS/443 a.example.com/y":     {HTTP2: ptr(true)},
		"HTTPS/443 a.example.com= /y":   {HTTP2: ptr(true)},
		"HTTPS/443 b.example.com/":      {},
		"listener HTTP/80 keeps alive":  {},
		"listener HTTPS/443 closes":     {},
		"listener settings are nowhere": {},
	}
	got := map[string]said{}
	for _, r := range w.Rules {
		got[r.Key] = said{r.Settings, r.HTTP2, r.DefaultServer}
	}
	for _, l := range w.Listeners {
		switch {
		case l.KeepAlive == nil:
			got["listener "+l.Key+" says nothing"] = said{}
		case *l.KeepAlive:
			got["listener "+l.Key+" keeps alive"] = said{}
		default:
			got["listener "+l.Key+" closes"] = said{}
		}
		if l.Settings == (model.Settings{}) {
			got["listener settings are nowhere"] = said{}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("each listener, domain and rule has what is said of it: -want +got:\n%s", diff)
	}

	redirected := ingress(map[string]string{RewriteSupport: "true", AutoRewrite: "true"}, to("web", 80, hostA, "/x"))
	redirected.TLS = ing.TLS
	for _, r := range WantsOf(IngressObject(redirected), src, Policy{Cluster: "cls-1"}).Rules {
		if r.Redirect != nil && r.Settings != (model.Settings{}) {
			t.Errorf("a redirect has no backends to set anything of: %+v", r)
		}
	}
}
