package desired

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clb-direct/clb-direct/shared/model"
)

const (
	hostA = "a.example.com"
	hostB = "b.example.com"
)

// ingress is one with the given rules, each of an entry of its own in spec.rules.
func ingress(annotations map[string]string, rules ...model.IngressRule) *model.Ingress {
	ing := &model.Ingress{Front: model.Front{Kind: model.KindIngress, Namespace: "default", Name: "site", UID: uidA, Annotations: annotations}, Rules: rules}
	for i := range ing.Rules {
		ing.Rules[i].Field = fmt.Sprintf("spec.rules[%d].http.paths[0]", i)
	}
	return ing
}

// to is a rule to a port of a Service by number.
func to(service string, number int, host, path string) model.IngressRule {
	return model.IngressRule{Host: host, Path: path, PathType: "Prefix", Backend: model.IngressBackend{Service: service, PortNumber: number}}
}

func exact(r model.IngressRule) model.IngressRule {
	r.PathType = "Exact"
	return r
}

// tls are entries of spec.tls: a secret and its hosts.
func tls(entries ...[]string) (out []model.IngressTLS) {
	for _, e := range entries {
		out = append(out, model.IngressTLS{Secret: e[0], Hosts: e[1:]})
	}
	return out
}

// ingressSources are Services and secrets of every kind.
func ingressSources() Sources {
	backend := func(name string, ports ...model.ServicePort) *model.Service {
		return &model.Service{Front: model.Front{Kind: model.KindService, Namespace: "default", Name: name}, Type: "ClusterIP", Selector: map[string]string{"app": name}, Ports: ports}
	}
	tcp := func(name string, number, target int) model.ServicePort {
		return model.ServicePort{Name: name, Protocol: model.TCP, Port: number, TargetPort: target}
	}
	bare, external := backend("bare", tcp("http", 80, 80)), backend("external", tcp("http", 80, 80))
	bare.Selector, external.Type = nil, "ExternalName"
	services := map[string]*model.Service{}
	for _, s := range []*model.Service{
		backend("web", tcp("http", 80, 8080)), backend("api", tcp("http", 81, 9090), tcp("grpc", 82, 9091)), bare, external,
		backend("dns", model.ServicePort{Name: "udp", Protocol: model.UDP, Port: 53}, model.ServicePort{Name: "both-udp", Protocol: model.UDP, Port: 80}, tcp("both-tcp", 80, 5380)),
	} {
		services[s.Name] = s
	}
	id := func(kv ...string) map[string][]byte {
		m := map[string][]byte{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = []byte(kv[i+1])
		}
		return m
	}
	return Sources{Services: services, Secrets: map[string]map[string][]byte{
		"one": id("qcloud_cert_id", "cert-1"), "two": id("qcloud_cert_id", " cert-2\n"), "mutual": id("qcloud_cert_id", "cert-3", "qcloud_ca_cert_id", "ca-3\n"),
		"gone": nil, "keyless": id("tls.crt", "x"), "empty": id("qcloud_cert_id", " "),
	}}
}

// summary is Wants, for people.
type summary struct {
	// Listeners and rules by key; a rule with its backend, certificate, or where it
	// redirects to, "*" for the default domain.
	Listeners, Rules []string
	// Broken and Refused are keys.
	Broken  []string
	Refused map[string]string
	// Problems are code and field.
	Problems []string
}

func summarize(t testing.TB, w Wants) (out summary) {
	t.Helper()
	backings := map[model.Spot]Backing{}
	for _, b := range w.Backings {
		if _, twice := backings[b.Spot]; twice {
			t.Errorf("%s is there twice", b.Name)
		}
		backings[b.Spot] = b
		if b.Broken != "" {
			out.Broken = append(out.Broken, b.Key)
		}
	}
	for _, l := range w.Listeners {
		out.Listeners = append(out.Listeners, l.Key)
	}
	for _, r := range w.Rules {
		words := []string{r.Key}
		switch b := backings[r.Spot]; {
		case r.Redirect != nil:
			key, _ := SpotKey(r.Redirect.To)
			words = append(words, fmt.Sprintf("%d %s", r.Redirect.Code, key))
		default:
			words = append(words, fmt.Sprintf("%s:%d", b.Service.Name, b.Port.TargetPort))
		}
		if c := r.Certificate; c != nil {
			words = append(words, strings.TrimSpace(c.ID+" "+c.CA))
		}
		if r.DefaultServer {
			words = append(words, "*")
		}
		out.Rules = append(out.Rules, strings.Join(words, " | "))
	}
	out.Refused = w.Refused
	for _, p := range w.Problems {
		out.Problems = append(out.Problems, strings.TrimSpace(p.Code+" "+p.Field))
	}
	return out
}

// ingressCase says what an Ingress comes to.
type ingressCase struct {
	reason string
	ing    *model.Ingress
	// fallback is spec.defaultBackend, tls spec.tls.
	fallback *model.IngressBackend
	tls      []model.IngressTLS
	want     summary
}

func checkIngresses(t *testing.T, cases map[string]ingressCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.ing.Default, tc.ing.TLS = tc.fallback, tc.tls
			got := summarize(t, WantsOf(IngressObject(tc.ing), ingressSources(), Policy{Cluster: "cls-1"}))
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestIngressClaimed(t *testing.T) {
	direct := map[string]string{IngressDirectAccess: "true"}
	cases := map[string]struct {
		reason      string
		mode        ClaimMode
		class       string
		annotations map[string]string
		deleting    bool
		want        bool
		field       string
	}{
		"ByClass":             {reason: "our class and direct access", mode: ByClass, class: IngressClass, annotations: direct, want: true},
		"ByClassQcloud":       {reason: "TKE's class is TKE's", mode: ByClass, class: QcloudClass, annotations: direct},
		"ByClassNone":         {reason: "so is none at all", mode: ByClass, annotations: direct},
		"ByAnnotation":        {reason: "where TKE's controller is off its class is ours", mode: ByAnnotation, class: QcloudClass, annotations: direct, want: true},
		"ByAnnotationNone":    {reason: "and none at all", mode: ByAnnotation, annotations: direct, want: true},
		"ByAnnotationOurs":    {reason: "our class doesn't hurt", mode: ByAnnotation, class: IngressClass, annotations: direct, want: true},
		"ByAnnotationForeign": {reason: "another class is another's in any mode", mode: ByAnnotation, class: "nginx", annotations: direct},
		"NotDirect":           {reason: "the class alone doesn't ask for direct access", mode: ByAnnotation, class: QcloudClass},
		"OfServices":          {reason: "a Service's annotation says nothing here", mode: ByAnnotation, annotations: map[string]string{DirectAccess: "true"}},
		"NotABoolean":         {reason: "is complained about and claims nothing", mode: ByAnnotation, annotations: map[string]string{IngressDirectAccess: "on"}, field: IngressDirectAccess},
		"Deleting":            {reason: "what is going is to be released", mode: ByAnnotation, annotations: direct, deleting: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ing := ingress(tc.annotations)
			ing.Class, ing.Deleting = tc.class, tc.deleting
			got, problem := Claimed(IngressObject(ing), Policy{Cluster: "cls-1", Claim: tc.mode})
			field := ""
			if problem != nil {
				field = problem.Field
			}
			if got != tc.want || field != tc.field {
				t.Errorf("%s: want %t and a problem of %q, got %t and %v", tc.reason, tc.want, tc.field, got, problem)
			}
		})
	}
}

func TestIngressKeys(t *testing.T) {
	f := func(kv ...string) *model.Front {
		f := &ingress(map[string]string{}).Front
		for i := 0; i < len(kv); i += 2 {
			f.Annotations[kv[i]] = kv[i+1]
		}
		return f
	}
	for _, tc := range []struct{ reason, want, got string }{
		{"what we wrote", "lb-1", LoadBalancerOf(f(IngressLoadBalancerID, "lb-1", LoadBalancerID, "lb-3"))},
		{"the user's choice beats it", "lb-2", LoadBalancerOf(f(IngressLoadBalancerID, "lb-1", IngressExistingLB, "lb-2"))},
		{"a TkeServiceConfig by name", "mine", ConfigNameOf(f(IngressConfig, "mine"))},
		{"one made for it", "site-auto-ingress-config", ConfigNameOf(f(IngressConfigAuto, "true"))},
		{"a Service's says nothing", "", ConfigNameOf(f(ServiceConfig, "mine", ServiceConfigAuto, "true"))},
		{"TKE's code of a CLB that isn't usable", "E4019", Usable(&model.LoadBalancer{Tags: map[string]string{"tke-createdBy-flag": "yes"}}, f(), Policy{}).Code},
		{"and of another cluster's", "E4020", Usable(&model.LoadBalancer{Tags: map[string]string{TagCluster: "cls-2"}}, f(), Policy{Cluster: "cls-1"}).Code},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: want %q, got %q", tc.reason, tc.want, tc.got)
		}
	}
}

func TestIngressListeners(t *testing.T) {
	web := func() model.IngressRule { return to("web", 80, hostA, "/") }
	listen := func(v string) *model.Ingress { return ingress(map[string]string{ListenPorts: v}, web()) }
	plain := summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080"}}
	with := func(s summary, problems ...string) summary {
		s.Problems = problems
		return s
	}
	checkIngresses(t, map[string]ingressCase{
		"Plain":  {reason: "without TLS, HTTP at 80", ing: ingress(nil, web()), want: plain},
		"Secure": {reason: "with TLS, HTTPS at 443 and nothing else", ing: ingress(nil, web()), tls: tls([]string{"one"}), want: summary{Listeners: []string{"HTTPS/443"}, Rules: []string{"HTTPS/443 a.example.com/ | web:8080 | cert-1"}}},
		"Listed": {
			reason: "every rule goes to every listed port", ing: listen(`[{"HTTP":80},{"HTTPS":443},{"HTTP":8080}]`), tls: tls([]string{"one"}),
			want: summary{
				Listeners: []string{"HTTP/80", "HTTPS/443", "HTTP/8080"},
				Rules:     []string{"HTTP/80 a.example.com/ | web:8080", "HTTPS/443 a.example.com/ | web:8080 | cert-1", "HTTP/8080 a.example.com/ | web:8080"},
			},
		},
		"ListedOther":   {reason: "the listed ports replace the usual ones", ing: listen(`[{"http":81}]`), want: summary{Listeners: []string{"HTTP/81"}, Rules: []string{"HTTP/81 a.example.com/ | web:8080"}}},
		"OneObject":     {reason: "two in one entry are two", ing: listen(`[{"HTTPS":443,"HTTP":80}]`), tls: tls([]string{"one"}), want: summary{Listeners: []string{"HTTP/80", "HTTPS/443"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080", "HTTPS/443 a.example.com/ | web:8080 | cert-1"}}},
		"NoJSON":        {reason: "what can't be read leaves the usual ports", ing: listen(`80`), want: with(plain, ListenPorts)},
		"Empty":         {reason: "none listed is as if nothing was said", ing: listen(`[]`), want: plain},
		"Protocol":      {reason: "of layer 7 only; the others stay", ing: listen(`[{"TCP":81},{"HTTP":80}]`), want: with(plain, ListenPorts+"[0]")},
		"Range":         {reason: "must be a port", ing: listen(`[{"HTTP":80},{"HTTP":0},{"HTTP":65536}]`), want: with(plain, ListenPorts+"[1]", ListenPorts+"[2]")},
		"NoNumber":      {reason: "must be a number", ing: listen(`[{"HTTP":"81"},{"HTTP":80},{}]`), want: with(plain, ListenPorts+"[0]", ListenPorts+"[2]")},
		"Twice":         {reason: "both run over TCP", ing: listen(`[{"HTTP":80},{"HTTPS":80}]`), want: with(plain, ListenPorts+"[1]")},
		"SecureWithout": {reason: "an HTTPS listener needs spec.tls", ing: listen(`[{"HTTP":80},{"HTTPS":443}]`), want: summary{Listeners: []string{"HTTP/80", "HTTPS/443"}, Rules: plain.Rules, Refused: map[string]string{"HTTPS/443 a.example.com/": "E4040"}, Problems: []string{"E4040 spec.rules[0].host"}}},
	})
}

func TestIngressNames(t *testing.T) {
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		want        string
		problems    []string
	}{
		"Own":          {reason: "an Ingress has listeners of its own", annotations: map[string]string{IngressExistingLB: "lb-1234abcd"}, want: uidA},
		"Group":        {reason: "a group shares them: they carry the CLB's id", annotations: map[string]string{EnableGroup: "true", IngressExistingLB: "lb-1234abcd"}, want: "lb-1234abcd"},
		"GroupWithout": {reason: "a group needs a CLB to meet at", annotations: map[string]string{EnableGroup: "true"}, want: uidA, problems: []string{EnableGroup}},
		"GroupNoBool":  {reason: "said unclearly is not said", annotations: map[string]string{EnableGroup: "yes", IngressExistingLB: "lb-1234abcd"}, want: uidA, problems: []string{EnableGroup}},
		"GroupNoID":    {reason: "what can't stand in a name is no id", annotations: map[string]string{EnableGroup: "true", IngressExistingLB: "lb_1"}, want: uidA, problems: []string{IngressExistingLB}},
		"GroupLongID":  {reason: "the name would be too long", annotations: map[string]string{EnableGroup: "true", IngressExistingLB: strings.Repeat("a", 37)}, want: uidA, problems: []string{IngressExistingLB}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cluster := strings.Repeat("c", MaxClusterID)
			w := WantsOf(IngressObject(ingress(tc.annotations, to("web", 80, "", ""))), ingressSources(), Policy{Cluster: cluster})
			if len(w.Listeners) != 1 || !allowedName.MatchString(w.Listeners[0].Name) {
				t.Fatalf("%s: no name of a listener: %+v", tc.reason, w.Listeners)
			}
			got, ok := OwnerOf(w.Listeners[0].Name)
			if diff := cmp.Diff(Ownership{Cluster: cluster, UID: tc.want, Protocol: model.HTTP, Port: 80}, got); !ok || diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.problems, fieldsOf(w.Problems)); diff != "" {
				t.Errorf("%s: fields -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestIngressRules(t *testing.T) {
	long := strings.Repeat("a", 119)
	checkIngresses(t, map[string]ingressCase{
		"None": {reason: "an Ingress without rules has none", ing: ingress(nil), want: summary{Listeners: []string{"HTTP/80"}}},
		"Seed": {
			reason: "no host is the CLB's address, no path is all, and no path type is CLB's own way", ing: ingress(nil, model.IngressRule{Backend: model.IngressBackend{Service: "web", PortNumber: 80}}),
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 / | web:8080 | *"}},
		},
		"Hosts": {
			reason: "hosts, a wildcard, and any host, which serves what no other does", ing: ingress(nil, to("web", 80, "A.Example.com", "/"), to("api", 81, "*.example.com", "/"), to("web", 80, "", "/")),
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080", "HTTP/80 *.example.com/ | api:9090", "HTTP/80 / | web:8080 | *"}},
		},
		"HostBad": {
			reason: "TKE's rules of hosts; the others stay",
			ing: ingress(nil, to("web", 80, "localhost", "/"), to("web", 80, "a_b.example.com", "/"), to("web", 80, "www.*", "/"), to("web", 80, "1.2.3.4", "/"),
				to("web", 80, strings.Repeat("a.", 40)+"b", "/"), to("web", 80, hostA, "/")),
			want: summary{
				Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | web:8080"},
				Broken:   []string{"HTTP/80 localhost/", "HTTP/80 a_b.example.com/", "HTTP/80 www.*/", "HTTP/80 1.2.3.4/", "HTTP/80 " + strings.Repeat("a.", 40) + "b/"},
				Problems: []string{"E4052 spec.rules[0].host", "E4052 spec.rules[1].host", "E4052 spec.rules[2].host", "E4052 spec.rules[3].host", "E4052 spec.rules[4].host"},
			},
		},
		"PathBad": {
			reason: "TKE's rules of paths; the others stay",
			ing:    ingress(nil, to("web", 80, "", "x"), to("web", 80, "", "/a b"), to("web", 80, "", "~ ^/a"), to("web", 80, "", "/"+long+"a"), to("web", 80, "", "/"+long)),
			want: summary{
				Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 /" + long + " | web:8080 | *"},
				Broken:   []string{"HTTP/80 x", "HTTP/80 /a b", "HTTP/80 ~ ^/a", "HTTP/80 /" + long + "a"},
				Problems: []string{"E4031 spec.rules[0].http.paths[0].path", "E4031 spec.rules[1].http.paths[0].path", "E4031 spec.rules[2].http.paths[0].path", "E4031 spec.rules[3].http.paths[0].path"},
			},
		},
		"PathType": {
			reason: "no other than Kubernetes has", ing: ingress(nil, model.IngressRule{Path: "/", PathType: "Regex", Backend: model.IngressBackend{Service: "web", PortNumber: 80}}),
			want: summary{Listeners: []string{"HTTP/80"}, Broken: []string{"HTTP/80 /"}, Problems: []string{"spec.rules[0].http.paths[0].pathType"}},
		},
		"ExactBesidePrefix": {
			reason: "an exact path and a prefix can stand side by side", ing: ingress(nil, exact(to("api", 81, hostA, "/x")), to("web", 80, hostA, "/x")),
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com= /x | api:9090", "HTTP/80 a.example.com/x | web:8080"}},
		},
		"TrailingSlash": {
			reason: "stays as written, CLB sends /x on to /x/", ing: ingress(nil, to("web", 80, hostA, "/x/"), to("api", 81, hostA, "/x")),
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/x/ | web:8080", "HTTP/80 a.example.com/x | api:9090"}},
		},
		"Duplicate": {
			reason: "the first has host and path, even if its Service is away", ing: ingress(nil, to("away", 80, hostA, "/x"), to("web", 80, "A.example.com", "/x"), to("web", 80, hostA, "/y")),
			want: summary{
				Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/y | web:8080"}, Broken: []string{"HTTP/80 a.example.com/x"},
				Problems: []string{"W1000 spec.rules[0].http.paths[0].backend.service.name", "spec.rules[1].http.paths[0]"},
			},
		},
		"BadTakesNothing": {
			reason: "a path that only looks like an exact one keeps none from its place", ing: ingress(nil, to("web", 80, hostA, "= /x"), exact(to("api", 81, hostA, "/x"))),
			want: summary{
				Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com= /x | api:9090"},
				Problems: []string{"E4031 spec.rules[0].http.paths[0].path"},
			},
		},
	})
}

func TestIngressBackends(t *testing.T) {
	const field = "spec.rules[0].http.paths[0].backend."
	lone := func(b model.IngressBackend) *model.Ingress {
		return ingress(nil, model.IngressRule{Host: hostA, Path: "/", PathType: "Prefix", Backend: b})
	}
	served := func(by string) summary {
		return summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/ | " + by}}
	}
	broken := func(problem string) summary {
		return summary{Listeners: []string{"HTTP/80"}, Broken: []string{"HTTP/80 a.example.com/"}, Problems: []string{problem}}
	}
	named := func(service, port string) *model.Ingress {
		return lone(model.IngressBackend{Service: service, PortName: port})
	}
	numbered := func(service string, port int) *model.Ingress {
		return lone(model.IngressBackend{Service: service, PortNumber: port})
	}
	checkIngresses(t, map[string]ingressCase{
		"ByName":       {reason: "a port by name", ing: named("api", "grpc"), want: served("api:9091")},
		"ByNumber":     {reason: "a port by number", ing: numbered("api", 82), want: served("api:9091")},
		"TCPOfTwo":     {reason: "of TCP and UDP at one number the one that HTTP can run over", ing: numbered("dns", 80), want: served("dns:5380")},
		"UDP":          {reason: "HTTP doesn't run over UDP", ing: numbered("dns", 53), want: broken(field + "service.port")},
		"UDPByName":    {reason: "by name neither", ing: named("dns", "udp"), want: broken(field + "service.port")},
		"NoService":    {reason: "not there", ing: numbered("away", 80), want: broken("W1000 " + field + "service.name")},
		"NoPort":       {reason: "there without the port", ing: numbered("web", 81), want: broken(field + "service.port")},
		"NoPortName":   {reason: "there without the port", ing: named("web", "grpc"), want: broken(field + "service.port")},
		"TargetPort":   {reason: "the Service's port, not the pods'", ing: numbered("web", 8080), want: broken(field + "service.port")},
		"NoSelector":   {reason: "no pods to bind", ing: numbered("bare", 80), want: broken("E4082 " + field + "service.name")},
		"ExternalName": {reason: "a selector says nothing there", ing: numbered("external", 80), want: broken("E4082 " + field + "service.name")},
		"Resource":     {reason: "no Service at all", ing: lone(model.IngressBackend{Resource: true}), want: broken(field + "resource")},
	})
	backing := func(ing *model.Ingress) Backing {
		return WantsOf(IngressObject(ing), ingressSources(), Policy{}).Backings[0]
	}
	if b := backing(numbered("away", 80)); b.Service != nil || b.Front.Kind != model.KindIngress {
		t.Errorf("the place of a Service that isn't there is nobody's pods': %+v", b)
	}
	if b := backing(numbered("web", 81)); b.Service == nil || b.Service.Name != "web" || b.Port != (model.ServicePort{}) {
		t.Errorf("the place says whose pods it would be for: %+v", b)
	}
	if got, want := backing(numbered("web", 80)).Name, "Ingress default/site rule HTTP/80 a.example.com/"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestIngressDefaultBackend(t *testing.T) {
	web := &model.IngressBackend{Service: "web", PortName: "http"}
	checkIngresses(t, map[string]ingressCase{
		"Alone": {reason: "an Ingress may have nothing else", ing: ingress(nil), fallback: web, want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 / | web:8080 | *"}}},
		"Hosts": {
			reason: "serves what is left of every host, unless a rule serves all of it",
			ing:    ingress(nil, to("api", 81, hostA, "/x"), to("api", 81, hostB, "/x"), to("api", 81, hostB, "/"), exact(to("api", 81, "c.example.com", "/"))), fallback: web,
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{
				"HTTP/80 a.example.com/x | api:9090", "HTTP/80 b.example.com/x | api:9090", "HTTP/80 b.example.com/ | api:9090", "HTTP/80 c.example.com= / | api:9090",
				"HTTP/80 / | web:8080 | *", "HTTP/80 a.example.com/ | web:8080", "HTTP/80 c.example.com/ | web:8080",
			}},
		},
		"Shadowed": {reason: "a rule for everything leaves it nothing, which is no mistake", ing: ingress(nil, to("api", 81, "", "/")), fallback: web, want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 / | api:9090 | *"}}},
		"Broken": {
			reason: "all its places are broken, the rules stay", ing: ingress(nil, to("api", 81, hostA, "/x")), fallback: &model.IngressBackend{Service: "away", PortNumber: 80},
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 a.example.com/x | api:9090"}, Broken: []string{"HTTP/80 /", "HTTP/80 a.example.com/"}, Problems: []string{"W1000 spec.defaultBackend.service.name"}},
		},
		"BehindBroken": {
			reason: "a host whose Service is away still has the default", ing: ingress(nil, to("away", 80, hostA, "/x")), fallback: web,
			want: summary{Listeners: []string{"HTTP/80"}, Rules: []string{"HTTP/80 / | web:8080 | *", "HTTP/80 a.example.com/ | web:8080"}, Broken: []string{"HTTP/80 a.example.com/x"}, Problems: []string{"W1000 spec.rules[0].http.paths[0].backend.service.name"}},
		},
	})
}

func TestIngressRefersTo(t *testing.T) {
	ing := ingress(nil, to("web", 80, "", "/"), to("api", 81, "", "/a"), to("web", 80, "", "/b"), model.IngressRule{Backend: model.IngressBackend{Resource: true}})
	ing.Default = &model.IngressBackend{Service: "dns"}
	ing.TLS = tls([]string{"two"}, []string{"one", hostA}, []string{"two", hostB}, []string{""})
	if diff := cmp.Diff([]string{"api", "dns", "web"}, ServicesOf(IngressObject(ing))); diff != "" {
		t.Errorf("Services of rules and default, each once: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"one", "two"}, SecretsOf(IngressObject(ing))); diff != "" {
		t.Errorf("secrets, each once: -want +got:\n%s", diff)
	}
	if got := slices.Concat(ServicesOf(IngressObject(ingress(nil))), SecretsOf(IngressObject(ingress(nil)))); len(got) != 0 {
		t.Errorf("an empty one refers to nothing, got %v", got)
	}
}
