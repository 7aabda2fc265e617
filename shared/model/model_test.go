package model

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSelects(t *testing.T) {
	cases := map[string]struct {
		reason    string
		selector  map[string]string
		namespace string
		labels    map[string]string
		want      bool
	}{
		"Match":          {reason: "every pair is there, others don't matter", selector: map[string]string{"a": "1"}, namespace: "ns", labels: map[string]string{"a": "1", "b": "2"}, want: true},
		"OtherValue":     {reason: "another value", selector: map[string]string{"a": "1"}, namespace: "ns", labels: map[string]string{"a": "2"}},
		"Missing":        {reason: "a label that isn't there isn't the empty one", selector: map[string]string{"a": ""}, namespace: "ns"},
		"EmptyValue":     {reason: "an empty value can be asked for", selector: map[string]string{"a": ""}, namespace: "ns", labels: map[string]string{"a": ""}, want: true},
		"OtherNamespace": {reason: "a Service never reaches out of its namespace", selector: map[string]string{"a": "1"}, namespace: "other", labels: map[string]string{"a": "1"}},
		"NoSelector":     {reason: "selects nothing, as in Kubernetes", namespace: "ns", labels: map[string]string{"a": "1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &Service{Front: Front{Namespace: "ns"}, Selector: tc.selector}
			if got := s.Selects(tc.namespace, tc.labels); got != tc.want {
				t.Errorf("%s: want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestHealthCheckTimes(t *testing.T) {
	cases := map[string]struct {
		reason            string
		args              HealthCheck
		settle, unsettles time.Duration
	}{
		"Default": {reason: "three successes, two intervals apart; three failures", args: DefaultHealthCheck, settle: 10 * time.Second, unsettles: 15 * time.Second},
		"Quick":   {reason: "the quickest the API takes", args: HealthCheck{Interval: 2, HealthNum: 2, UnhealthNum: 2}, settle: 2 * time.Second, unsettles: 4 * time.Second},
		"Unknown": {reason: "never negative", args: HealthCheck{Interval: 5}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.args.Settle(); got != tc.settle {
				t.Errorf("%s: settles in %s, got %s", tc.reason, tc.settle, got)
			}
			if got := tc.args.Unsettle(); got != tc.unsettles {
				t.Errorf("%s: unsettles in %s, got %s", tc.reason, tc.unsettles, got)
			}
		})
	}
}

func TestSettingsApply(t *testing.T) {
	off, ten, sixty, codes, internal := false, 10, 60, 6, 1
	least, grpc, path, host, get := "LEAST_CONN", "GRPC", "/healthz", "a.example.com", "GET"
	have := Attributes{HealthCheck: DefaultHealthCheck, Scheduler: "WRR"}
	cases := map[string]struct {
		reason  string
		args    Settings
		want    Attributes
		changed bool
	}{
		"Nothing": {reason: "undeclared is untouched", want: have},
		"Same":    {reason: "declared as it is", args: Settings{Interval: &have.HealthCheck.Interval}, want: have},
		"All": {
			reason: "every attribute",
			args: Settings{
				HealthEnabled: &off, Interval: &ten, Timeout: &ten, HealthNum: &ten, UnhealthNum: &ten,
				CheckType: &grpc, CheckPath: &path, CheckDomain: &host, CheckMethod: &get, CheckCodes: &codes, CheckSource: &internal,
				SessionExpire: &sixty, Scheduler: &least, ForwardType: &grpc,
			},
			want: Attributes{
				HealthCheck: HealthCheck{
					Interval: 10, Timeout: 10, HealthNum: 10, UnhealthNum: 10,
					Type: grpc, Path: path, Domain: host, Method: get, Codes: codes, SourceIPType: internal,
				},
				SessionExpire: 60, Scheduler: least, ForwardType: grpc,
			},
			changed: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, changed := tc.args.Apply(have)
			if diff := cmp.Diff(tc.want, got); diff != "" || changed != tc.changed {
				t.Errorf("%s: changed %t, -want +got:\n%s", tc.reason, changed, diff)
			}
		})
	}
}

func TestSpots(t *testing.T) {
	listeners := []Listener{
		{ID: "lbl-4", Name: "four", Protocol: TCP, Port: 80},
		{ID: "lbl-7", Name: "seven", Protocol: HTTPS, Port: 443, Rules: []Rule{{ID: "loc-1", Path: "/"}, {ID: "loc-2", Domain: "a.example.com", Path: "/x"}}},
		{ID: "lbl-0", Name: "empty", Protocol: HTTP, Port: 80},
	}
	want := map[Spot]Place{
		{Listener: "four"}:               {Listener: "lbl-4"},
		{"seven", "", "/"}:               {"lbl-7", "loc-1"},
		{"seven", "a.example.com", "/x"}: {"lbl-7", "loc-2"},
	}
	if diff := cmp.Diff(want, Spots(listeners)); diff != "" {
		t.Errorf("a layer-4 listener is a place, a layer-7 one only has them: -want +got:\n%s", diff)
	}
}

func TestOrderAndNames(t *testing.T) {
	key := func(listener, location, ip string, port int) Key {
		return Key{Place{listener, location}, Address{ip, port}}
	}
	want := []Key{key("a", "", "10.0.0.1", 80), key("a", "", "10.0.0.1", 81), key("a", "", "10.0.0.2", 80), key("a", "loc", "10.0.0.1", 80), key("b", "", "10.0.0.1", 80)}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Key.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("by listener, location, IP, port: -want +got:\n%s", diff)
	}
	if s := want[3].String(); s != "a/loc 10.0.0.1:80" {
		t.Errorf("got %q", s)
	}
	if s := want[0].String(); s != "a 10.0.0.1:80" {
		t.Errorf("got %q", s)
	}
	if s := (Ref{KindIngress, "ns", "n"}).String(); s != "ns/n" {
		t.Errorf("got %q", s)
	}
	if s := (&Front{Kind: KindIngress, Namespace: "ns", Name: "n"}).String(); s != "Ingress ns/n" {
		t.Errorf("got %q", s)
	}
	for want, s := range map[string]Spot{"l": {Listener: "l"}, "a.example.com/x": {"l", "a.example.com", "/x"}, "/": {"l", "", "/"}} {
		if got := s.String(); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

func TestBefore(t *testing.T) {
	early := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	first, second, third := Front{Created: early, UID: "b"}, Front{Created: early.Add(time.Second), UID: "a"}, Front{Created: early.Add(time.Second), UID: "b"}
	for _, pair := range [][2]Front{{first, second}, {second, third}} {
		if pair[0].Before(&pair[1]) >= 0 || pair[1].Before(&pair[0]) <= 0 || pair[0].Before(&pair[0]) != 0 {
			t.Errorf("%+v must come before %+v", pair[0], pair[1])
		}
	}
}

func TestPortClash(t *testing.T) {
	for _, tc := range []struct {
		a, b Protocol
		want bool
	}{{TCP, TCP, true}, {TCP, "HTTP", true}, {TCP, "TCP_SSL", true}, {UDP, UDP, true}, {UDP, "QUIC", true}, {TCP, UDP, false}, {"HTTPS", "QUIC", false}} {
		if got := PortClash(tc.a, tc.b); got != tc.want {
			t.Errorf("%s and %s at one port: want a clash %t, got %t", tc.a, tc.b, tc.want, got)
		}
	}
}
