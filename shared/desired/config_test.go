package desired

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func specOf(t *testing.T, l4 string) ConfigSpec {
	t.Helper()
	var spec ConfigSpec
	if err := json.Unmarshal([]byte(`{"loadBalancer":{"l4Listeners":[`+l4+`]}}`), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// specOf7 has the entries of l7Listeners, which must be JSON.
func specOf7(t *testing.T, l7 string) ConfigSpec {
	t.Helper()
	var spec ConfigSpec
	if err := json.Unmarshal([]byte(`{"loadBalancer":{"l7Listeners":[`+l7+`]}}`), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func ptr[T any](v T) *T { return &v }

func TestParseConfig(t *testing.T) {
	tcp80 := ListenerKey{model.TCP, 80}
	const field = "spec.loadBalancer.l4Listeners[0]."
	cases := map[string]struct {
		reason, l4 string
		want       map[ListenerKey]model.Settings
		fields     []string
	}{
		"Empty":   {reason: "no entry, nothing wanted"},
		"Nothing": {reason: "an entry that declares nothing leaves everything", l4: `{"protocol":"TCP","port":80}`, want: map[ListenerKey]model.Settings{tcp80: {}}},
		"Full": {
			reason: "the documented reference",
			l4:     `{"protocol":"TCP","port":80,"session":{"enable":true,"sessionExpireTime":100},"healthCheck":{"enable":true,"intervalTime":10,"healthNum":2,"unHealthNum":3,"timeout":9},"scheduler":"LEAST_CONN"}`,
			want: map[ListenerKey]model.Settings{tcp80: {
				SessionExpire: ptr(100), HealthEnabled: ptr(true), Interval: ptr(10), HealthNum: ptr(2), UnhealthNum: ptr(3), Timeout: ptr(9), Scheduler: ptr("LEAST_CONN"),
			}},
		},
		"LowerCase":      {reason: "tcp is TCP", l4: `{"protocol":"tcp","port":80}`, want: map[ListenerKey]model.Settings{tcp80: {}}},
		"SessionDefault": {reason: "on without a time is 30 s", l4: `{"protocol":"TCP","port":80,"session":{"enable":true}}`, want: map[ListenerKey]model.Settings{tcp80: {SessionExpire: ptr(30)}}},
		"SessionOff":     {reason: "off is 0, whatever the time", l4: `{"protocol":"TCP","port":80,"session":{"enable":false,"sessionExpireTime":100}}`, want: map[ListenerKey]model.Settings{tcp80: {SessionExpire: ptr(0)}}},
		"CheckOff":       {reason: "of a check that is off nothing else is wanted", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":false,"intervalTime":10}}`, want: map[ListenerKey]model.Settings{tcp80: {HealthEnabled: ptr(false)}}},
		"CheckOffWrong":  {reason: "but it must be in range", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":false,"healthNum":1}}`, fields: []string{field + "healthCheck.healthNum"}},
		"Edges":          {reason: "the smallest and largest values", l4: `{"protocol":"UDP","port":65535,"session":{"enable":true,"sessionExpireTime":3600},"healthCheck":{"enable":true,"intervalTime":300,"healthNum":10,"unHealthNum":2,"timeout":60}}`, want: map[ListenerKey]model.Settings{{model.UDP, 65535}: {SessionExpire: ptr(3600), HealthEnabled: ptr(true), Interval: ptr(300), HealthNum: ptr(10), UnhealthNum: ptr(2), Timeout: ptr(60)}}},
		"Protocol":       {reason: "layer 7 has its own list", l4: `{"protocol":"HTTP","port":80}`, fields: []string{field + "protocol"}},
		"Port":           {reason: "must be a port", l4: `{"protocol":"TCP","port":0}`, fields: []string{field + "port"}},
		"Session":        {reason: "30 to 3600", l4: `{"protocol":"TCP","port":80,"session":{"enable":true,"sessionExpireTime":29}}`, fields: []string{field + "session.sessionExpireTime"}},
		"Interval":       {reason: "2 to 300", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"intervalTime":301}}`, fields: []string{field + "healthCheck.intervalTime"}},
		"HealthNum":      {reason: "2 to 10", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"healthNum":11}}`, fields: []string{field + "healthCheck.healthNum"}},
		"UnHealthNum":    {reason: "2 to 10", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"unHealthNum":1}}`, fields: []string{field + "healthCheck.unHealthNum"}},
		"Timeout":        {reason: "2 to 60", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"intervalTime":100,"timeout":61}}`, fields: []string{field + "healthCheck.timeout"}},
		"TimeoutLong":    {reason: "below the interval", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"intervalTime":10,"timeout":10}}`, fields: []string{field + "healthCheck.timeout"}},
		"TimeoutDefault": {reason: "below the interval's default of 5", l4: `{"protocol":"TCP","port":80,"healthCheck":{"enable":true,"timeout":5}}`, fields: []string{field + "healthCheck.timeout"}},
		"Scheduler":      {reason: "WRR or LEAST_CONN", l4: `{"protocol":"TCP","port":80,"scheduler":"IP_HASH"}`, fields: []string{field + "scheduler"}},
		"Several":        {reason: "every field at fault is named", l4: `{"protocol":"SCTP","port":70000,"scheduler":"RANDOM"}`, fields: []string{field + "protocol", field + "port", field + "scheduler"}},
		"OneBadOneGood":  {reason: "a bad entry is left out whole and keeps no other out", l4: `{"protocol":"TCP","port":0},{"protocol":"TCP","port":80}`, want: map[ListenerKey]model.Settings{tcp80: {}}, fields: []string{field + "port"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.want == nil {
				tc.want = map[ListenerKey]model.Settings{}
			}
			got, problems := ParseConfig(specOf(t, tc.l4))
			if diff := cmp.Diff(tc.want, got.Listeners); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.fields, fieldsOf(problems)); diff != "" {
				t.Errorf("%s: fields -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// FuzzParseConfig: whatever is written, only values in the API's ranges come out,
// and every entry comes out or is complained about.
func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"loadBalancer":{"l4Listeners":[{}]}}`,
		`{"loadBalancer":{"l4Listeners":[{"protocol":"TCP","port":80,"session":{"enable":true,"sessionExpireTime":100},"healthCheck":{"enable":true,"intervalTime":10,"healthNum":2,"unHealthNum":3,"timeout":9},"scheduler":"WRR"}]}}`,
		`{"loadBalancer":{"l4Listeners":[{"protocol":"UDP","port":-1,"healthCheck":{"enable":true,"intervalTime":2}}]}}`,
		`{"loadBalancer":{"l7Listeners":[{"protocol":"HTTP","port":80,"keepaliveEnable":1,"defaultServer":"a.b","domains":[{"domain":"a.b","http2":true,"rules":[{}]}]}]}}`,
		`{"loadBalancer":{"l7Listeners":[{"protocol":"HTTPS","port":443,"domains":[{"domain":"","rules":[{"url":"= /","forwardType":"GRPC","session":{"enable":true},"healthCheck":{"enable":true,"httpCode":32,"httpCheckPath":"x"}}]}]}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var spec ConfigSpec
		if json.Unmarshal(raw, &spec) != nil {
			return
		}
		cfg, problems := ParseConfig(spec)
		within := func(name string, v *int, lo, hi int) {
			if v != nil && (*v < lo || *v > hi) {
				t.Errorf("%s is %d, outside %d to %d", name, *v, lo, hi)
			}
		}
		common := func(s model.Settings, longest int) {
			within("interval", s.Interval, 2, 300)
			within("timeout", s.Timeout, 2, 60)
			within("healthNum", s.HealthNum, 2, 10)
			within("unHealthNum", s.UnhealthNum, 2, 10)
			if s.SessionExpire != nil && *s.SessionExpire != 0 {
				within("session", s.SessionExpire, 30, longest)
			}
		}
		for k, s := range cfg.Listeners {
			within("port", &k.Port, 1, 65535)
			common(s, 3600)
		}
		for k, l := range cfg.Layer7 {
			within("port", &k.Port, 1, 65535)
			for domain, d := range l.Domains {
				if p := hostProblem("", domain); p != (Problem{}) {
					t.Error(p)
				}
				for url, s := range d.Rules {
					if !strings.HasPrefix(strings.TrimPrefix(url, exactly), "/") {
						t.Errorf("%q is no path", url)
					}
					common(s, 86400)
					within("codes", s.CheckCodes, 1, 31)
					within("source", s.CheckSource, 0, 1)
				}
			}
		}
		lb := spec.LoadBalancer
		if len(problems) == 0 && (len(lb.L4Listeners) > 0 && len(cfg.Listeners) == 0 || len(lb.L7Listeners) > 0 && len(cfg.Layer7) == 0) {
			t.Error("entries vanished without a word")
		}
		for _, p := range problems {
			if !strings.HasPrefix(p.Field, "spec.loadBalancer.l") || p.Code != "" || p.Message == "" {
				t.Errorf("a problem must name its field: %+v", p)
			}
		}
	})
}

func TestAutoConfig(t *testing.T) {
	svc := service(nil, func(s *model.Service) {
		s.Ports = []model.ServicePort{{Protocol: model.TCP, Port: 80}, {Protocol: model.UDP, Port: 53}, {Protocol: "SCTP", Port: 1}}
	})
	wants := WantsOf(ServiceObject(svc), Sources{}, Policy{Cluster: "cls-1"})
	made := AutoConfig(wants, ConfigSpec{})
	cfg, problems := ParseConfig(made)
	if len(problems) > 0 {
		t.Fatalf("what is made must be right: %v", problems)
	}
	d := model.DefaultHealthCheck
	defaults := model.Settings{
		SessionExpire: ptr(0), HealthEnabled: ptr(true), Interval: &d.Interval, Timeout: &d.Timeout,
		HealthNum: &d.HealthNum, UnhealthNum: &d.UnhealthNum, Scheduler: ptr("WRR"),
	}
	want := map[ListenerKey]model.Settings{{model.TCP, 80}: defaults, {model.UDP, 53}: defaults}
	if diff := cmp.Diff(want, cfg.Listeners); diff != "" {
		t.Errorf("an entry with CLB's defaults for every listener: -want +got:\n%s", diff)
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

	edited := specOf(t, `{"protocol":"tcp","port":80,"scheduler":"LEAST_CONN"},{"protocol":"TCP","port":81}`)
	got := AutoConfig(wants, edited).LoadBalancer.L4Listeners
	if diff := cmp.Diff(edited.LoadBalancer.L4Listeners[0], got[0]); diff != "" {
		t.Errorf("an edited entry is kept: -want +got:\n%s", diff)
	}
	if len(got) != 2 || got[1].Protocol != "UDP" {
		t.Errorf("an entry without a listener is dropped, one for each listener is there: got %+v", got)
	}
}
