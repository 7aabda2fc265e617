package desired

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

// entryOf is an entry of http-rules or https-rules.
func entryOf(host, path, service, port string) string {
	return fmt.Sprintf(`{"host":%q,"path":%q,"backend":{"serviceName":%q,"servicePort":%q}}`, host, path, service, port)
}

// rewriteOf is a redirect among them.
func rewriteOf(host, path string, port int, toHost, toPath string) string {
	return fmt.Sprintf(`{"host":%q,"path":%q,"rewrite":{"port":%d,"host":%q,"path":%q}}`, host, path, port, toHost, toPath)
}

// mixed are annotations with rule-mix, http-rules and https-rules, and more by pairs.
func mixed(plain, secure []string, more ...string) map[string]string {
	m := map[string]string{RuleMix: "true"}
	if plain != nil {
		m[HTTPRules] = "[" + strings.Join(plain, ",") + "]"
	}
	if secure != nil {
		m[HTTPSRules] = "[" + strings.Join(secure, ",") + "]"
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func TestIngressMix(t *testing.T) {
	one := tls([]string{"one"})
	rules := func(annotations map[string]string) *model.Ingress {
		return ingress(annotations, to("web", 80, hostA, "/"), to("api", 81, hostA, "/x"))
	}
	const (
		plainWeb, secureWeb = "HTTP/80 a.example.com/ | web:8080", "HTTPS/443 a.example.com/ | web:8080 | cert-1"
		plainAPI, secureAPI = "HTTP/80 a.example.com/x | api:9090", "HTTPS/443 a.example.com/x | api:9090 | cert-1"
	)
	web, api := entryOf(hostA, "/", "web", "80"), entryOf(hostA, "/x", "api", "81")
	both := []string{"HTTP/80", "HTTPS/443"}
	checkIngresses(t, map[string]ingressCase{
		"Split":     {reason: "each where it is named", ing: rules(mixed([]string{web}, []string{api})), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureAPI}}},
		"Both":      {reason: "named twice is at both", ing: rules(mixed([]string{web}, []string{web, api})), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureWeb, secureAPI}}},
		"Unmatched": {reason: "what is named nowhere is at HTTPS", ing: rules(mixed([]string{web}, nil)), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureAPI}}},
		"Null":      {reason: "null is none", ing: rules(map[string]string{RuleMix: "true", HTTPRules: "null", HTTPSRules: "null"}), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb, secureAPI}}},
		"NoTLS":     {reason: "without TLS what is named nowhere is at HTTP", ing: rules(mixed(nil, nil)), want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{plainWeb, plainAPI}}},
		"NoTLSNamed": {
			reason: "named for HTTPS it stays there, though it has no certificate", ing: rules(mixed(nil, []string{web})),
			want: summary{Listeners: both, Rules: nil, Refused: map[string]string{"HTTPS/443 a.example.com/": "E4040", "HTTPS/443 a.example.com/x": "E4040"}, Problems: []string{"E4040 spec.rules[0].host", "E4040 spec.rules[1].host"}},
		},
		"Off":           {reason: "without rule-mix the lists say nothing", ing: rules(map[string]string{HTTPRules: "[" + web + "]"}), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb, secureAPI}}},
		"NumberAndCase": {reason: "ports without quotes, hosts in capitals", ing: rules(mixed([]string{`{"host":"A.EXAMPLE.com","path":"/","backend":{"serviceName":"web","servicePort":80}}`}, nil)), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureAPI}}},
		"Defaults":      {reason: "no host is the CLB's address, no path is all", ing: ingress(mixed([]string{`{"backend":{"serviceName":"web","servicePort":"80"}}`}, nil), to("web", 80, "", "")), tls: one, want: summary{Listeners: both, Rules: []string{"HTTP/80 / | web:8080 | *"}}},
		"ByName": {
			reason: "a port by name is named by its name", ing: ingress(mixed([]string{entryOf(hostA, "/", "api", "grpc")}, nil), model.IngressRule{Host: hostA, Path: "/", Backend: model.IngressBackend{Service: "api", PortName: "grpc"}}), tls: one,
			want: summary{Listeners: both, Rules: []string{"HTTP/80 a.example.com/ | api:9091"}},
		},
		"NamesNothing": {
			reason: "another host, path, Service or port is another rule; the others stay",
			ing: rules(mixed([]string{web, entryOf(hostB, "/", "web", "80"), entryOf(hostA, "/y", "web", "80"), entryOf(hostA, "/", "api", "80")},
				[]string{entryOf(hostA, "/", "web", "81")})), tls: one,
			want: summary{Listeners: both, Rules: []string{plainWeb, secureAPI}, Problems: []string{"E4022 " + HTTPRules + "[1]", "E4022 " + HTTPRules + "[2]", "E4022 " + HTTPRules + "[3]", "E4023 " + HTTPSRules + "[0]"}},
		},
		"NoJSON":  {reason: "what can't be read names nothing", ing: rules(map[string]string{RuleMix: "true", HTTPRules: "{", HTTPSRules: `"x"`}), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb, secureAPI}, Problems: []string{"E4022 " + HTTPRules, "E4023 " + HTTPSRules}}},
		"OneBad":  {reason: "an entry that can't be read keeps no other out", ing: rules(mixed([]string{`7`, web, `{"backend":{"servicePort":1.5}}`}, nil)), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureAPI}, Problems: []string{"E4022 " + HTTPRules + "[0]", "E4022 " + HTTPRules + "[2]"}}},
		"NoBool":  {reason: "said unclearly is not said", ing: rules(map[string]string{RuleMix: "1"}), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb, secureAPI}, Problems: []string{"E4037 " + RuleMix}}},
		"Default": {reason: "the default backend is a rule like any other", ing: ingress(mixed([]string{entryOf("", "", "web", "80")}, nil), to("api", 81, hostA, "/x")), fallback: &model.IngressBackend{Service: "web", PortNumber: 80}, tls: one, want: summary{Listeners: both, Rules: []string{secureAPI, "HTTP/80 / | web:8080 | *"}}},
		"Listed": {
			reason: "named for HTTP it is at every HTTP port listed", ing: rules(mixed([]string{web}, nil, ListenPorts, `[{"HTTP":80},{"HTTP":81},{"HTTPS":443}]`)), tls: one,
			want: summary{Listeners: []string{"HTTP/80", "HTTP/81", "HTTPS/443"}, Rules: []string{plainWeb, "HTTP/81 a.example.com/ | web:8080", secureAPI}},
		},
		"ListedNone": {
			reason: "what is meant for HTTPS is never served in the clear instead", ing: rules(mixed(nil, []string{web}, ListenPorts, `[{"HTTP":80}]`)), tls: one,
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{plainAPI}, Problems: []string{"E4023 " + HTTPSRules}},
		},
		"RuleMixBoth":       {reason: "every rule on both", ing: rules(map[string]string{RuleMixBoth: "true"}), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureWeb, plainAPI, secureAPI}}},
		"RuleMixBothAndMix": {reason: "rule-mix says more", ing: rules(mixed([]string{web}, nil, RuleMixBoth, "true")), tls: one, want: summary{Listeners: both, Rules: []string{plainWeb, secureAPI}, Problems: []string{RuleMixBoth}}},
		"RuleMixBothRewrite": {
			reason: "a rule and a redirect can't share a place", ing: rules(map[string]string{RuleMixBoth: "true", RewriteSupport: "true"}), tls: one,
			want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb, secureAPI}, Problems: []string{RuleMixBoth}},
		},
	})
}

func TestIngressAutoRewrite(t *testing.T) {
	one := tls([]string{"one"})
	auto := func(more ...string) map[string]string {
		m := map[string]string{RewriteSupport: "true", AutoRewrite: "true"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	web := to("web", 80, hostA, "/")
	const (
		secureWeb = "HTTPS/443 a.example.com/ | web:8080 | cert-1"
		twinWeb   = "HTTP/80 a.example.com/ | 301 HTTPS/443 a.example.com/"
	)
	usual := []string{"HTTPS/443", "HTTP/80"}
	checkIngresses(t, map[string]ingressCase{
		"Twins": {
			reason: "every HTTPS rule has one, exact ones exactly; the HTTP listener comes along", ing: ingress(auto(), web, exact(to("api", 81, hostA, "/x")), to("web", 80, "", "/")), tls: one,
			want: summary{Listeners: usual, Rules: []string{
				secureWeb, "HTTPS/443 a.example.com= /x | api:9090 | cert-1", "HTTPS/443 / | web:8080 | cert-1 | *",
				twinWeb, "HTTP/80 a.example.com= /x | 301 HTTPS/443 a.example.com= /x", "HTTP/80 / | 301 HTTPS/443 / | *",
			}},
		},
		"Default": {
			reason: "the default backend's places too", ing: ingress(auto(), to("api", 81, hostA, "/x")), fallback: &model.IngressBackend{Service: "web", PortNumber: 80}, tls: one,
			want: summary{Listeners: usual, Rules: []string{
				"HTTPS/443 a.example.com/x | api:9090 | cert-1", "HTTPS/443 / | web:8080 | cert-1 | *", secureWeb,
				"HTTP/80 a.example.com/x | 301 HTTPS/443 a.example.com/x", "HTTP/80 / | 301 HTTPS/443 / | *", twinWeb,
			}},
		},
		"Unsupported": {reason: "needs rewrite-support", ing: ingress(map[string]string{AutoRewrite: "true"}, web), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb}, Problems: []string{AutoRewrite}}},
		"Off":         {reason: "switched off", ing: ingress(map[string]string{RewriteSupport: "true", AutoRewrite: "false"}, web), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb}}},
		"NoTLS":       {reason: "needs something to redirect to", ing: ingress(auto(), web), want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080"}, Problems: []string{AutoRewrite}}},
		"Listed": {
			reason: "a rule that goes everywhere is served at HTTPS, and at HTTP redirected there", ing: ingress(auto(ListenPorts, `[{"HTTP":80},{"HTTPS":443}]`), web), tls: one,
			want: summary{Listeners: []string{"HTTP/80", "HTTPS/443"}, Rules: []string{secureWeb, twinWeb}},
		},
		"ListedOther": {
			reason: "from the first HTTP port, to the first HTTPS port, where the usual ones are not listed",
			ing:    ingress(auto(ListenPorts, `[{"HTTP":8081},{"HTTP":8082},{"HTTPS":8443},{"HTTPS":8444}]`), web), tls: one,
			want: summary{Listeners: []string{"HTTP/8081", "HTTP/8082", "HTTPS/8443", "HTTPS/8444"}, Rules: []string{
				"HTTP/8082 a.example.com/ | web:8080", "HTTPS/8443 a.example.com/ | web:8080 | cert-1", "HTTPS/8444 a.example.com/ | web:8080 | cert-1",
				"HTTP/8081 a.example.com/ | 301 HTTPS/8443 a.example.com/",
			}},
		},
		"ListedUsual": {
			reason: "from and to the usual ports, wherever they are listed", ing: ingress(auto(ListenPorts, `[{"HTTP":8081},{"HTTP":80},{"HTTPS":8443},{"HTTPS":443}]`), web), tls: one,
			want: summary{Listeners: []string{"HTTP/8081", "HTTP/80", "HTTPS/8443", "HTTPS/443"}, Rules: []string{
				"HTTP/8081 a.example.com/ | web:8080", "HTTPS/8443 a.example.com/ | web:8080 | cert-1", secureWeb, twinWeb,
			}},
		},
		"PortTaken": {
			reason: "HTTPS at 80 leaves no place to redirect from", ing: ingress(auto(ListenPorts, `[{"HTTPS":80}]`), web), tls: one,
			want: summary{Listeners: []string{"HTTPS/80"}, Rules: []string{"HTTPS/80 a.example.com/ | web:8080 | cert-1"}, Problems: []string{ListenPorts}},
		},
		"OwnRule": {
			reason: "a rule that the user put at HTTP stays", ing: ingress(auto(RuleMix, "true", HTTPRules, "["+entryOf(hostA, "/", "api", "81")+"]"), web, to("api", 81, hostA, "/"), to("web", 80, hostA, "/y")), tls: one,
			want: summary{
				Listeners: []string{"HTTP/80", "HTTPS/443"},
				Rules:     []string{secureWeb, "HTTP/80 a.example.com/ | api:9090", "HTTPS/443 a.example.com/y | web:8080 | cert-1", "HTTP/80 a.example.com/y | 301 HTTPS/443 a.example.com/y"},
				Problems:  []string{"E4068 " + AutoRewrite},
			},
		},
		"Broken": {
			reason: "nothing redirects to what isn't there", ing: ingress(auto(), to("away", 80, hostA, "/x"), web), tls: one,
			want: summary{
				Listeners: usual, Rules: []string{secureWeb, twinWeb}, Broken: []string{"HTTPS/443 a.example.com/x", "HTTP/80 a.example.com/x"},
				Problems: []string{"W1000 spec.rules[0].http.paths[0].backend.service.name"},
			},
		},
		"NoCertificate": {
			reason: "nor to what can't be had without a certificate", ing: ingress(auto(), web, to("api", 81, hostB, "/")), tls: tls([]string{"one", hostA}),
			want: summary{
				Listeners: usual, Rules: []string{secureWeb, twinWeb}, Refused: map[string]string{"HTTPS/443 b.example.com/": "E4040", "HTTP/80 b.example.com/": "E4040"},
				Problems: []string{"E4040 spec.rules[1].host"},
			},
		},
		"OfRedirect": {
			reason: "a redirect at HTTPS has none: that would be a chain", ing: ingress(auto(HTTPSRules, "["+rewriteOf(hostA, "/old", 443, hostA, "/")+"]"), web), tls: one,
			want: summary{Listeners: usual, Rules: []string{secureWeb, "HTTPS/443 a.example.com/old | 301 HTTPS/443 a.example.com/ | cert-1", twinWeb}},
		},
		"ByHand": {
			reason: "one by hand says more", ing: ingress(auto(HTTPRules, "["+rewriteOf(hostA, "/", 443, hostB, "/")+"]"), web, to("api", 81, hostB, "/")), tls: one,
			want: summary{Listeners: usual, Rules: []string{
				secureWeb, "HTTPS/443 b.example.com/ | api:9090 | cert-1", "HTTP/80 a.example.com/ | 301 HTTPS/443 b.example.com/", "HTTP/80 b.example.com/ | 301 HTTPS/443 b.example.com/",
			}},
		},
	})
}

func TestIngressRewrite(t *testing.T) {
	one := tls([]string{"one"})
	support := func(plain, secure []string, more ...string) map[string]string {
		m := mixed(plain, secure, more...)
		delete(m, RuleMix)
		m[RewriteSupport] = "true"
		return m
	}
	web, usual := to("web", 80, hostA, "/"), []string{"HTTPS/443", "HTTP/80"}
	const secureWeb = "HTTPS/443 a.example.com/ | web:8080 | cert-1"
	checkIngresses(t, map[string]ingressCase{
		"Plain": {reason: "from HTTP to a rule of the Ingress", ing: ingress(support([]string{rewriteOf(hostB, "/old", 443, "A.example.com", "")}, nil), web), tls: one, want: summary{Listeners: usual, Rules: []string{secureWeb, "HTTP/80 b.example.com/old | 301 HTTPS/443 a.example.com/"}}},
		"Port":  {reason: "443 where no port is named", ing: ingress(support([]string{`{"host":"b.example.com","rewrite":{"host":"a.example.com"}}`}, nil), web), tls: one, want: summary{Listeners: usual, Rules: []string{secureWeb, "HTTP/80 b.example.com/ | 301 HTTPS/443 a.example.com/"}}},
		"Exact": {reason: "to an exact rule, where there is no prefix", ing: ingress(support([]string{rewriteOf(hostA, "/old", 443, hostA, "/new")}, nil), exact(to("web", 80, hostA, "/new"))), tls: one, want: summary{Listeners: usual, Rules: []string{"HTTPS/443 a.example.com= /new | web:8080 | cert-1", "HTTP/80 a.example.com/old | 301 HTTPS/443 a.example.com= /new"}}},
		"SamePort": {
			reason: "from HTTP to HTTP, no TLS anywhere", ing: ingress(support([]string{rewriteOf(hostA, "/old", 80, hostA, "/")}, nil), web),
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080", "HTTP/80 a.example.com/old | 301 HTTP/80 a.example.com/"}},
		},
		"Secure": {
			reason: "from HTTPS: such a rule needs a certificate too", ing: ingress(support(nil, []string{rewriteOf(hostA, "/old", 443, hostA, "/"), rewriteOf(hostB, "/", 443, hostA, "/")}), web), tls: tls([]string{"one", hostA}),
			want: summary{
				Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb, "HTTPS/443 a.example.com/old | 301 HTTPS/443 a.example.com/ | cert-1"},
				Refused: map[string]string{"HTTPS/443 b.example.com/": "E4040"}, Problems: []string{"E4040 " + HTTPSRules + "[1]"},
			},
		},
		"Mixed": {
			reason: "beside rules that go where they are named", ing: ingress(mixed([]string{rewriteOf(hostA, "/", 443, hostA, "/"), entryOf(hostA, "/x", "api", "81")}, nil, RewriteSupport, "true"), web, to("api", 81, hostA, "/x")), tls: one,
			want: summary{Listeners: []string{"HTTP/80", "HTTPS/443"}, Rules: []string{secureWeb, "HTTP/80 a.example.com/x | api:9090", "HTTP/80 a.example.com/ | 301 HTTPS/443 a.example.com/"}},
		},
		"Unsupported": {reason: "needs rewrite-support", ing: ingress(map[string]string{HTTPRules: "[" + rewriteOf(hostA, "/", 443, hostA, "/") + "]"}, web), tls: one, want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{secureWeb}, Problems: []string{"E4022 " + HTTPRules + "[0]"}}},
		"Chain": {
			reason: "to a redirect leads nowhere; the one it leads to stays", ing: ingress(support([]string{rewriteOf(hostA, "/1", 80, hostA, "/2"), rewriteOf(hostA, "/2", 80, hostA, "/")}, nil), web),
			want: summary{
				Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080", "HTTP/80 a.example.com/2 | 301 HTTP/80 a.example.com/"},
				Broken: []string{"HTTP/80 a.example.com/1"}, Problems: []string{"E4022 " + HTTPRules + "[0]"},
			},
		},
		"Itself": {reason: "to itself leads nowhere", ing: ingress(support([]string{rewriteOf(hostA, "/1", 80, hostA, "/1")}, nil)), want: summary{Listeners: []string{"HTTP/80"}, Broken: []string{"HTTP/80 a.example.com/1"}, Problems: []string{"E4022 " + HTTPRules + "[0]"}}},
		"Elsewhere": {
			reason: "the target must be a rule of this Ingress that can be had", ing: ingress(support([]string{rewriteOf(hostA, "/1", 443, hostA, "/"), rewriteOf(hostA, "/2", 80, hostB, "/"), rewriteOf(hostA, "/3", 80, hostA, "/away")}, nil), web, to("away", 80, hostA, "/away")),
			want: summary{
				Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080"}, Broken: []string{"HTTP/80 a.example.com/away", "HTTP/80 a.example.com/1", "HTTP/80 a.example.com/2", "HTTP/80 a.example.com/3"},
				Problems: []string{"W1000 spec.rules[1].http.paths[0].backend.service.name", "E4022 " + HTTPRules + "[0]", "E4022 " + HTTPRules + "[1]", "E4022 " + HTTPRules + "[2]"},
			},
		},
		"Taken": {reason: "where a rule is, it stays", ing: ingress(support([]string{rewriteOf(hostA, "/", 80, hostA, "/x")}, nil), web, to("api", 81, hostA, "/x")), want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080", "HTTP/80 a.example.com/x | api:9090"}, Problems: []string{"E4068 " + HTTPRules + "[0]"}}},
		"Twice": {reason: "of two redirects the first", ing: ingress(support([]string{rewriteOf(hostA, "/1", 80, hostA, "/"), rewriteOf(hostA, "/1", 80, hostA, "/x")}, nil), web, to("api", 81, hostA, "/x")), want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080", "HTTP/80 a.example.com/x | api:9090", "HTTP/80 a.example.com/1 | 301 HTTP/80 a.example.com/"}, Problems: []string{"E4022 " + HTTPRules + "[1]"}}},
		"BadSource": {
			reason: "TKE's rules of hosts and paths hold here too", ing: ingress(support([]string{rewriteOf("x", "/", 80, hostA, "/"), rewriteOf(hostA, "1", 80, hostA, "/")}, nil), web),
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080"}, Problems: []string{"E4052 " + HTTPRules + "[0].host", "E4031 " + HTTPRules + "[1].path"}},
		},
		"NoListener": {reason: "from HTTPS where there is none", ing: ingress(support(nil, []string{rewriteOf(hostA, "/1", 80, hostA, "/")}), web), want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080"}, Problems: []string{"E4023 " + HTTPSRules + "[0]"}}},
	})
	w := WantsOf(IngressObject(func() *model.Ingress {
		ing := ingress(support([]string{rewriteOf(hostA, "/", 443, hostA, "/")}, nil), web)
		ing.TLS = one
		return ing
	}()), ingressSources(), Policy{Cluster: "cls-1"})
	if b := w.Backings[len(w.Backings)-1]; b.Listener != w.Listeners[1].Name || b.Service != nil || b.Broken != "" {
		t.Errorf("nothing is to stay bound at a redirect: %+v", b)
	}
}

// FuzzAnnotations: whatever is written, ports are ports, each once, entries are complete,
// and what is left out is complained about.
func FuzzAnnotations(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", "{}", "[{}]", "[null]", `[{"HTTP":80},{"HTTPS":443},{"HTTP":8080}]`, `[{"HTTP":80,"HTTPS":80}]`, `[{"HTTP":1e9}]`,
		"[" + entryOf(hostA, "/", "web", "80") + "," + rewriteOf("", "", 0, "", "") + "]", `[{"backend":{"servicePort":80}}]`, `[{"rewrite":null,"path":7}]`,
		`["HTTP/80 /","HTTPS/443 a.example.com/x"]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var entries []json.RawMessage
		isList := json.Unmarshal([]byte(raw), &entries) == nil

		ports, problems := decodePorts(raw)
		seen := map[int]bool{}
		for _, p := range ports {
			if seen[p.number] || p.number < 1 || p.number > 65535 || !p.protocol.Layer7() {
				t.Errorf("%q listens at %s", raw, p.key())
			}
			seen[p.number] = true
		}
		if len(problems) == 0 && (!isList || len(ports) < len(entries)) {
			t.Errorf("%q: of %d ports %d are left, without a word", raw, len(entries), len(ports))
		}

		m, problems := decodeMix(raw, HTTPRules, codeHTTPRules)
		if blank := strings.TrimSpace(raw) == ""; !blank && len(m.entries)+len(problems) != max(len(entries), len(problems)) {
			t.Errorf("%q: of %d rules %d are left, with %v", raw, len(entries), len(m.entries), problems)
		}
		for _, e := range m.entries {
			if e.Path == "" || e.Rewrite != nil && (e.Rewrite.Path == "" || e.Rewrite.Port == 0) {
				t.Errorf("%q: %+v is not complete", raw, e)
			}
		}

		record := RecordOf(&model.Front{Annotations: map[string]string{Rules: raw}})
		var keys []string
		for k := range record {
			keys = append(keys, k)
		}
		value, _ := RecordValue(keys).(string)
		if again := RecordOf(&model.Front{Annotations: map[string]string{Rules: value}}); len(record) > 0 && !cmp.Equal(record, again) {
			t.Errorf("%q: %v, written and read again %v", raw, record, again)
		}
	})
}
