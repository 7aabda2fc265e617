package clb

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/model"
)

// checkBy is what CLB documents of a check that nothing was said of.
func checkBy(kind string) model.HealthCheck {
	h := model.DefaultHealthCheck
	h.Type = kind
	return h
}

// checkOfRule is the same for the rule of a domain.
func checkOfRule(kind, domain string) model.HealthCheck {
	h := checkBy(kind)
	h.Path, h.Domain, h.Method, h.Codes = "/", domain, "HEAD", 31
	return h
}

func TestHealthCheckOf(t *testing.T) {
	rule := checkOfRule("HTTP", "")
	rule.Path = ""
	typed := func(kind string) model.HealthCheck { h := rule; h.Type = kind; return h }
	cases := map[string]struct {
		reason   string
		in       *sdk.HealthCheck
		protocol model.Protocol
		forward  string
		want     model.HealthCheck
	}{
		"Nothing":  {reason: "what the answer leaves out is as documented, never off", protocol: model.TCP, want: checkBy("TCP")},
		"UDP":      {reason: "UDP is pinged", protocol: model.UDP, want: checkBy("PING")},
		"Empty":    {reason: "an empty answer says as little", in: &sdk.HealthCheck{}, protocol: model.TCP, want: checkBy("TCP")},
		"HTTP":     {reason: "a rule is asked by HTTP", protocol: model.HTTP, forward: "HTTP", want: rule},
		"HTTPS":    {reason: "of an HTTPS listener by what it forwards with", protocol: model.HTTPS, forward: "HTTPS", want: typed("HTTPS")},
		"GRPCS":    {reason: "for which there may be no check of the same name", protocol: model.HTTPS, forward: "GRPCS", want: typed("GRPC")},
		"Silent":   {reason: "which is HTTP if it doesn't say", protocol: model.HTTPS, want: rule},
		"NotAsked": {reason: "a path means nothing to a check by TCP, and would never be as wanted", in: &sdk.HealthCheck{HttpCode: ptr(int64(31)), HttpCheckPath: ptr("/")}, protocol: model.TCP, want: checkBy("TCP")},
		"All": {
			reason: "what it says counts", protocol: model.HTTPS, forward: "HTTPS",
			in: &sdk.HealthCheck{
				HealthSwitch: flag(false), IntervalTime: ptr(int64(9)), TimeOut: ptr(int64(8)), HealthNum: ptr(int64(7)), UnHealthNum: ptr(int64(6)), CheckType: ptr("HTTP"),
				HttpCheckPath: ptr("/p"), HttpCheckDomain: ptr("d"), HttpCheckMethod: ptr("GET"), HttpCode: ptr(int64(2)), SourceIpType: ptr(int64(1)),
			},
			want: model.HealthCheck{Interval: 9, Timeout: 8, HealthNum: 7, UnhealthNum: 6, Type: "HTTP", Path: "/p", Domain: "d", Method: "GET", Codes: 2, SourceIPType: 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, healthCheckOf(tc.in, tc.protocol, tc.forward)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHealthCheckWritten(t *testing.T) {
	on, off, five, two, one, get, path, domain, kind := true, false, 5, 2, 1, "GET", "/p", "d", "HTTP"
	all := model.Settings{HealthEnabled: &on, Interval: &five, Timeout: &two, HealthNum: &two, UnhealthNum: &two, CheckType: &kind, CheckPath: &path, CheckDomain: &domain, CheckMethod: &get, CheckCodes: &two, CheckSource: &one}
	switched := all
	switched.HealthEnabled = &off
	whole := func(version *string) *sdk.HealthCheck {
		return &sdk.HealthCheck{
			HealthSwitch: flag(true), IntervalTime: ptr(int64(5)), TimeOut: ptr(int64(2)), HealthNum: ptr(int64(2)), UnHealthNum: ptr(int64(2)), CheckType: ptr("HTTP"),
			HttpCheckPath: ptr("/p"), HttpCheckDomain: ptr("d"), HttpCheckMethod: ptr("GET"), HttpCode: ptr(int64(2)), SourceIpType: ptr(int64(1)), HttpVersion: version,
		}
	}
	onlyOff := &sdk.HealthCheck{HealthSwitch: flag(false)}
	have := func(set model.Settings) model.HealthCheck {
		a, _ := set.Apply(model.Attributes{HealthCheck: model.DefaultHealthCheck})
		return a.HealthCheck
	}
	timed := func(kind string) *sdk.HealthCheck {
		return &sdk.HealthCheck{HealthSwitch: flag(true), IntervalTime: ptr(int64(5)), TimeOut: ptr(int64(2)), HealthNum: ptr(int64(2)), UnHealthNum: ptr(int64(3)), CheckType: nonempty(kind)}
	}
	tcp, custom := checkBy("TCP"), checkBy(customCheck)
	tcp.HealthNum, custom.HealthNum = 2, 2
	via := checkOfRule("HTTP", "d")
	via.SourceIPType = 1
	back := timed("HTTP")
	back.HealthNum, back.SourceIpType = ptr(int64(3)), ptr(int64(0))
	back.HttpCheckPath, back.HttpCheckDomain, back.HttpCheckMethod, back.HttpCode = ptr("/"), ptr("d"), ptr("HEAD"), ptr(int64(31))
	cases := map[string]struct {
		reason string
		got    *sdk.HealthCheck
		want   *sdk.HealthCheck
	}{
		"Nothing":     {reason: "what isn't said is CLB's to choose", got: healthCheck(model.Settings{}, model.TCP)},
		"Create":      {reason: "all that is said goes along", got: healthCheck(all, model.HTTP), want: whole(nil)},
		"CreateTCP":   {reason: "HTTP at a TCP listener needs its version", got: healthCheck(all, model.TCP), want: whole(ptr("HTTP/1.1"))},
		"CreateOff":   {reason: "of one that is off nothing else matters", got: healthCheck(switched, model.HTTP), want: onlyOff},
		"CreateSome":  {reason: "a part without the switch", got: healthCheck(model.Settings{CheckDomain: &domain}, model.HTTP), want: &sdk.HealthCheck{HttpCheckDomain: ptr("d")}},
		"Same":        {reason: "no change", got: healthCheckChange(have(all), have(all), model.HTTP)},
		"Change":      {reason: "all of it, as nobody knows what the API makes of a part", got: healthCheckChange(model.DefaultHealthCheck, have(all), model.HTTP), want: whole(nil)},
		"ChangeTCP":   {reason: "with the version at a TCP listener", got: healthCheckChange(model.DefaultHealthCheck, have(all), model.TCP), want: whole(ptr("HTTP/1.1"))},
		"ChangeOff":   {reason: "of one switched off only that", got: healthCheckChange(have(all), have(switched), model.HTTP), want: onlyOff},
		"ChangeTimes": {reason: "a check by TCP has no path, and the usual source isn't said", got: healthCheckChange(checkBy("TCP"), tcp, model.TCP), want: timed("TCP")},
		"Custom":      {reason: "what a custom check sends is not known, so it is left alone", got: healthCheckChange(checkBy(customCheck), custom, model.TCP), want: timed("")},
		"Source":      {reason: "but going back to the usual source is", got: healthCheckChange(via, checkOfRule("HTTP", "d"), model.HTTP), want: back},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
