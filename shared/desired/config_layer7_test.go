package desired

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestParseConfigLayer7(t *testing.T) {
	http80, https443 := ListenerKey{model.HTTP, 80}, ListenerKey{model.HTTPS, 443}
	const (
		listener = "spec.loadBalancer.l7Listeners[0]."
		rule     = listener + "domains[0].rules[0]."
	)
	// secure is one rule at HTTPS:443, of a.example.com and "/".
	secure := func(s model.Settings) map[ListenerKey]Layer7 {
		return map[ListenerKey]Layer7{https443: {Domains: map[string]Domain{hostA: {Rules: map[string]model.Settings{"/": s}}}}}
	}
	none := map[ListenerKey]Layer7{https443: {Domains: map[string]Domain{hostA: {}}}}
	at := func(body string) string {
		return `{"protocol":"HTTPS","port":443,"domains":[{"domain":"a.example.com","rules":[{"url":"/"` + body + `}]}]}`
	}
	check := func(body string) string { return at(`,"healthCheck":{"enable":true,` + body + `}`) }
	cases := map[string]struct {
		reason, l7 string
		want       map[ListenerKey]Layer7
		fields     []string
	}{
		"Full": {
			reason: "the documented reference",
			l7: `{"protocol":"HTTPS","port":443,"defaultServer":"a.example.com","keepaliveEnable":0,"domains":[{"domain":"a.example.com","http2":true,"rules":[{"url":"/","forwardType":"HTTP",
				"session":{"enable":true,"sessionExpireTime":3600},"healthCheck":{"enable":true,"intervalTime":10,"timeout":5,"healthNum":3,"unHealthNum":2,"httpCode":31,"httpCheckPath":"/checkHealth",
				"httpCheckDomain":"a.example.com","httpCheckMethod":"HEAD","sourceIpType":0,"checkType":"HTTPS"},"scheduler":"WRR"}]}]}`,
			want: map[ListenerKey]Layer7{https443: {KeepAlive: ptr(false), DefaultServer: hostA, Domains: map[string]Domain{hostA: {HTTP2: ptr(true), Rules: map[string]model.Settings{"/": {
				HealthEnabled: ptr(true), Interval: ptr(10), Timeout: ptr(5), HealthNum: ptr(3), UnhealthNum: ptr(2), CheckType: ptr("HTTPS"), CheckPath: ptr("/checkHealth"), CheckDomain: ptr(hostA),
				CheckMethod: ptr("HEAD"), CheckCodes: ptr(31), CheckSource: ptr(0), SessionExpire: ptr(3600), Scheduler: ptr("WRR"), ForwardType: ptr("HTTP"),
			}}}}}},
		},
		"Nothing":       {reason: "an entry that declares nothing leaves everything", l7: `{"protocol":"http","port":80}`, want: map[ListenerKey]Layer7{http80: {}}},
		"NoDomain":      {reason: "no domain, and the CLB's address written out, are the same; no path is all", l7: `{"protocol":"HTTP","port":80,"defaultServer":"10.0.0.1","domains":[{"domain":"10.0.0.1","rules":[{}]}]}`, want: map[ListenerKey]Layer7{http80: {Domains: map[string]Domain{"": {Rules: map[string]model.Settings{"/": {}}}}}}},
		"Edges":         {reason: "the smallest and largest values", l7: at(`,"session":{"enable":true,"sessionExpireTime":86400},"scheduler":"IP_HASH","healthCheck":{"enable":true,"httpCode":1,"sourceIpType":1,"intervalTime":300,"timeout":60}`), want: secure(model.Settings{SessionExpire: ptr(86400), Scheduler: ptr("IP_HASH"), HealthEnabled: ptr(true), CheckCodes: ptr(1), CheckSource: ptr(1), Interval: ptr(300), Timeout: ptr(60)})},
		"CheckOff":      {reason: "of a check that is off nothing else is wanted", l7: at(`,"healthCheck":{"enable":false,"intervalTime":10,"httpCheckPath":"/x","httpCode":2}`), want: secure(model.Settings{HealthEnabled: ptr(false)})},
		"CheckOffWrong": {reason: "but it must be in range", l7: at(`,"healthCheck":{"enable":false,"httpCode":0}`), want: none, fields: []string{rule + "healthCheck.httpCode"}},
		"Protocol":      {reason: "layer 4 has its own list", l7: `{"protocol":"TCP","port":80}`, fields: []string{listener + "protocol"}},
		"Port":          {reason: "must be a port", l7: `{"protocol":"HTTP","port":65536}`, fields: []string{listener + "port"}},
		"KeepAlive":     {reason: "0 or 1; the rest of the listener stays", l7: `{"protocol":"HTTP","port":80,"keepaliveEnable":2,"defaultServer":"a.example.com"}`, want: map[ListenerKey]Layer7{http80: {DefaultServer: hostA}}, fields: []string{listener + "keepaliveEnable"}},
		"DefaultServer": {reason: "must be a domain; the rest of the listener stays", l7: `{"protocol":"HTTP","port":80,"keepaliveEnable":1,"defaultServer":"a b"}`, want: map[ListenerKey]Layer7{http80: {KeepAlive: ptr(true)}}, fields: []string{listener + "defaultServer"}},
		"Domain":        {reason: "must be a domain; the others stay", l7: `{"protocol":"HTTP","port":80,"domains":[{"domain":"localhost"},{"domain":"*.Example.com"}]}`, want: map[ListenerKey]Layer7{http80: {Domains: map[string]Domain{"*.example.com": {}}}}, fields: []string{listener + "domains[0].domain"}},
		"HTTP2":         {reason: "only at HTTPS; off is what it is anyway", l7: `{"protocol":"HTTP","port":80,"domains":[{"domain":"a.example.com","http2":true},{"domain":"b.example.com","http2":false}]}`, want: map[ListenerKey]Layer7{http80: {Domains: map[string]Domain{hostA: {}, hostB: {}}}}, fields: []string{listener + "domains[0].http2"}},
		"URL":           {reason: "begins with a slash, or is an exact one", l7: `{"protocol":"HTTP","port":80,"domains":[{"domain":"","rules":[{"url":"x"},{"url":"= /x"}]}]}`, want: map[ListenerKey]Layer7{http80: {Domains: map[string]Domain{"": {Rules: map[string]model.Settings{"= /x": {}}}}}}, fields: []string{rule + "url"}},
		"Forward":       {reason: "HTTP, HTTPS or GRPC", l7: at(`,"forwardType":"TRPC"`), want: none, fields: []string{rule + "forwardType"}},
		"Session":       {reason: "30 to 86400", l7: at(`,"session":{"enable":true,"sessionExpireTime":86401}`), want: none, fields: []string{rule + "session.sessionExpireTime"}},
		"Scheduler":     {reason: "WRR, LEAST_CONN or IP_HASH", l7: at(`,"scheduler":"RANDOM"`), want: none, fields: []string{rule + "scheduler"}},
		"Interval":      {reason: "as at layer 4", l7: check(`"intervalTime":1`), want: none, fields: []string{rule + "healthCheck.intervalTime"}},
		"Timeout":       {reason: "as at layer 4", l7: check(`"timeout":5`), want: none, fields: []string{rule + "healthCheck.timeout"}},
		"Code":          {reason: "1 to 31", l7: check(`"httpCode":32`), want: none, fields: []string{rule + "healthCheck.httpCode"}},
		"Path":          {reason: "begins with a slash", l7: check(`"httpCheckPath":"x"`), want: none, fields: []string{rule + "healthCheck.httpCheckPath"}},
		"PathLong":      {reason: "at most 120", l7: check(`"httpCheckPath":"/` + strings.Repeat("x", 120) + `"`), want: none, fields: []string{rule + "healthCheck.httpCheckPath"}},
		"CheckDomain":   {reason: "one host, no wildcard", l7: check(`"httpCheckDomain":"*.example.com"`), want: none, fields: []string{rule + "healthCheck.httpCheckDomain"}},
		"Method":        {reason: "HEAD or GET", l7: check(`"httpCheckMethod":"POST"`), want: none, fields: []string{rule + "healthCheck.httpCheckMethod"}},
		"Source":        {reason: "0 or 1", l7: check(`"sourceIpType":2`), want: none, fields: []string{rule + "healthCheck.sourceIpType"}},
		"Type":          {reason: "HTTP, HTTPS or GRPC", l7: check(`"checkType":"PING"`), want: none, fields: []string{rule + "healthCheck.checkType"}},
		"TypeAtHTTP":    {reason: "no HTTPS behind an HTTP listener's check", l7: `{"protocol":"HTTP","port":80,"domains":[{"domain":"","rules":[{"url":"/","healthCheck":{"enable":true,"checkType":"HTTPS"}}]}]}`, want: map[ListenerKey]Layer7{http80: {Domains: map[string]Domain{"": {}}}}, fields: []string{rule + "healthCheck.checkType"}},
		"Several":       {reason: "every field at fault is named", l7: at(`,"forwardType":"X","scheduler":"Y","healthCheck":{"enable":true,"httpCheckMethod":"Z"}`), want: none, fields: []string{rule + "scheduler", rule + "forwardType", rule + "healthCheck.httpCheckMethod"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, problems := ParseConfig(specOf7(t, tc.l7))
			if diff := cmp.Diff(tc.want, got.Layer7, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.fields, fieldsOf(problems)); diff != "" {
				t.Errorf("%s: fields -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAutoConfigLayer7(t *testing.T) {
	ing := ingress(map[string]string{RewriteSupport: "true", AutoRewrite: "true"},
		to("web", 80, hostA, "/"), exact(to("api", 81, hostA, "/x")), to("web", 80, "", "/"), to("away", 80, hostB, "/"), to("web", 80, "bad", "/"))
	ing.TLS = tls([]string{"one"})
	wants := WantsOf(IngressObject(ing), ingressSources(), Policy{Cluster: "cls-1"})
	made := AutoConfig(wants, ConfigSpec{})
	cfg, problems := ParseConfig(made)
	if len(problems) > 0 {
		t.Fatalf("what is made must be right: %v", problems)
	}
	d := model.DefaultHealthCheck
	defaults := model.Settings{
		SessionExpire: ptr(0), HealthEnabled: ptr(true), Interval: &d.Interval, Timeout: &d.Timeout, HealthNum: &d.HealthNum, UnhealthNum: &d.UnhealthNum,
		CheckPath: ptr("/"), CheckMethod: ptr("HEAD"), CheckCodes: ptr(31), Scheduler: ptr("WRR"), ForwardType: ptr("HTTP"),
	}
	want := map[ListenerKey]Layer7{
		{model.HTTPS, 443}: {KeepAlive: ptr(false), Domains: map[string]Domain{
			hostA: {Rules: map[string]model.Settings{"/": defaults, "= /x": defaults}},
			"":    {Rules: map[string]model.Settings{"/": defaults}},
		}},
		{model.HTTP, 80}: {KeepAlive: ptr(false)},
	}
	if diff := cmp.Diff(want, cfg.Layer7, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("CLB's defaults for every rule with backends, none for redirects: -want +got:\n%s", diff)
	}
	if !SameConfig(made, AutoConfig(wants, made)) {
		t.Error("made again it is the same")
	}
	raw, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var read ConfigSpec
	if err := json.Unmarshal(raw, &read); err != nil {
		t.Fatal(err)
	}
	if !SameConfig(made, read) {
		t.Error("read back it is the same, or it would be written at every pass")
	}

	edited := specOf7(t, `{"protocol":"HTTPS","port":443,"defaultServer":"a.example.com","keepaliveEnable":1,"domains":[
		{"domain":"a.example.com","http2":true,"rules":[{"url":"/","scheduler":"IP_HASH"},{"url":"/old"}]},
		{"domain":"b.example.com","rules":[{"url":"/"}]},{"domain":"old.example.com","rules":[{"url":"/"}]}]}, {"protocol":"HTTP","port":8080}`)
	got := AutoConfig(wants, edited).LoadBalancer.L7Listeners
	want7 := []L7Listener{
		{Protocol: "HTTPS", Port: 443, DefaultServer: hostA, KeepaliveEnable: ptr(1), Domains: []L7Domain{
			{Domain: hostA, HTTP2: ptr(true), Rules: []L7Rule{{URL: "/", Scheduler: "IP_HASH"}, defaultRule("= /x")}},
			{Rules: []L7Rule{defaultRule("/")}},
			{Domain: hostB, Rules: []L7Rule{{URL: "/"}}},
		}},
		{Protocol: "HTTP", Port: 80, KeepaliveEnable: ptr(0)},
	}
	if diff := cmp.Diff(want7, got); diff != "" {
		t.Errorf("edited entries stay, also of a rule whose Service is away; those of what is gone go: -want +got:\n%s", diff)
	}
}
