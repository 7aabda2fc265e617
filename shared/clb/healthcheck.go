package clb

import (
	"cmp"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/model"
)

// What CLB documents for health checks by request that say nothing (CLB API,
// HealthCheck).
const (
	defaultCodes  = 31
	defaultMethod = "HEAD"
)

// customCheck sends and awaits bytes that package model has no room for: it can be
// seen, never asked for.
const customCheck = "CUSTOM"

// impliedCheck is the CheckType of a listener, or of a rule that forwards by the
// protocol named, that says nothing of it (CLB API, HealthCheck.CheckType).
func impliedCheck(p model.Protocol, forward string) string {
	switch p {
	case model.UDP:
		return "PING"
	case model.HTTP:
		return "HTTP"
	case model.HTTPS:
		if forward == "GRPCS" {
			return "GRPC" // there is no check by the other name
		}
		return cmp.Or(forward, "HTTP")
	}
	return "TCP"
}

// healthCheckOf reads the health check of a listener, or of a rule. What the answer
// leaves out is as documented: above all, a check is off only where its switch says so.
func healthCheckOf(h *sdk.HealthCheck, p model.Protocol, forward string) model.HealthCheck {
	out := model.DefaultHealthCheck
	out.Type = impliedCheck(p, forward)
	if h == nil {
		h = &sdk.HealthCheck{}
	}
	if h.HealthSwitch != nil {
		out.Enabled = *h.HealthSwitch != 0
	}
	for to, from := range map[*int]*int64{&out.Interval: h.IntervalTime, &out.Timeout: h.TimeOut, &out.HealthNum: h.HealthNum, &out.UnhealthNum: h.UnHealthNum} {
		if value(from) != 0 {
			*to = int(*from)
		}
	}
	out.SourceIPType = int(value(h.SourceIpType))
	out.Type = cmp.Or(value(h.CheckType), out.Type)
	if byRequest(p, out.Type) {
		out.Path, out.Domain = value(h.HttpCheckPath), value(h.HttpCheckDomain)
		out.Method = cmp.Or(value(h.HttpCheckMethod), defaultMethod)
		out.Codes = cmp.Or(int(value(h.HttpCode)), defaultCodes)
	}
	return out
}

// byRequest tells whether a check of the type has a path, a domain, a method and codes:
// all of rules, and HTTP at a TCP listener.
func byRequest(p model.Protocol, kind string) bool { return p.Layer7() || kind == "HTTP" }

// healthCheck is what is said of the health check when a listener or rule is made, nil
// for nothing. Of one that is off nothing else can matter.
func healthCheck(s model.Settings, p model.Protocol) *sdk.HealthCheck {
	if s.HealthEnabled != nil && !*s.HealthEnabled {
		return &sdk.HealthCheck{HealthSwitch: flag(false)}
	}
	out := sdk.HealthCheck{
		IntervalTime: int64s(s.Interval), TimeOut: int64s(s.Timeout), HealthNum: int64s(s.HealthNum), UnHealthNum: int64s(s.UnhealthNum),
		CheckType: s.CheckType, HttpCheckPath: s.CheckPath, HttpCheckDomain: s.CheckDomain, HttpCheckMethod: s.CheckMethod,
		HttpCode: int64s(s.CheckCodes), SourceIpType: int64s(s.CheckSource),
	}
	if s.HealthEnabled != nil {
		out.HealthSwitch = flag(true)
	}
	if out == (sdk.HealthCheck{}) {
		return nil
	}
	out.HttpVersion = httpVersion(p, value(s.CheckType))
	return &out
}

// healthCheckChange is what is said of a health check that changes, nil for no change.
// All of it is sent, as nothing tells whether the API takes what is missing for
// unchanged or for the default, and so that what is checked together comes together;
// of one that is switched off only that.
func healthCheckChange(have, want model.HealthCheck, p model.Protocol) *sdk.HealthCheck {
	if want == have {
		return nil
	}
	out := &sdk.HealthCheck{HealthSwitch: flag(want.Enabled)}
	if !want.Enabled {
		return out
	}
	out.IntervalTime, out.TimeOut = ptr(int64(want.Interval)), ptr(int64(want.Timeout))
	out.HealthNum, out.UnHealthNum = ptr(int64(want.HealthNum)), ptr(int64(want.UnhealthNum))
	if want.Type != "" && want.Type != customCheck {
		out.CheckType = &want.Type
	}
	if byRequest(p, want.Type) {
		out.HttpCheckPath, out.HttpCheckDomain, out.HttpCheckMethod = nonempty(want.Path), nonempty(want.Domain), nonempty(want.Method)
		if want.Codes != 0 {
			out.HttpCode = ptr(int64(want.Codes))
		}
	}
	// Not every kind of CLB has both, so the usual one is only said where it is new.
	if want.SourceIPType != 0 || have.SourceIPType != 0 {
		out.SourceIpType = ptr(int64(want.SourceIPType))
	}
	out.HttpVersion = httpVersion(p, want.Type)
	return out
}

// httpVersion must be given for a check by HTTP at a TCP listener, and only there (CLB
// API, HealthCheck.HttpVersion).
func httpVersion(p model.Protocol, kind string) *string {
	if p.Layer7() || kind != "HTTP" {
		return nil
	}
	return ptr("HTTP/1.1")
}
