package clb

import (
	"cmp"
	"regexp"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// defaultSettings are those of a listener created without any (CLB API, CreateListener
// and HealthCheck).
func defaultSettings(protocol string) backend.Settings {
	set := backend.Settings{
		Scheduler: "WRR", IdleConnectTimeout: 900, MaxConn: -1, MaxCps: -1,
		HealthCheck: backend.HealthCheck{
			On: true, Kind: "TCP", Timeout: 2, Interval: 5, HealthNum: 3, UnHealthNum: 3,
			Method: "HEAD", Path: "/", Codes: 31,
		},
	}
	if protocol == "UDP" {
		set.IdleConnectTimeout = 300
		set.HealthCheck.Kind = "PING"
	}
	return set
}

// change is what CreateListener and ModifyListener say about settings; nil is no change.
type change struct {
	name, scheduler *string
	schedulers      []string
	session, idle   *int64
	maxConn, maxCps *int64
	rst, snat       *bool
	health          *api.HealthCheck
	reschedule      reschedule
	certificate     *backend.Certificate
	// others are parameters that layer 4 doesn't have.
	others []need
}

// reschedule is what they say about moving connections, which TCP and UDP listeners can.
type reschedule struct {
	zeroWeight, unhealthy, expand *bool
	start, interval               *int64
}

// given are those that would change something.
func (r reschedule) given() []need {
	return []need{
		{"RescheduleTargetZeroWeight", value(r.zeroWeight)}, {"RescheduleUnhealthy", value(r.unhealthy)},
		{"RescheduleExpandTarget", value(r.expand)},
		{"RescheduleStartTime", value(r.start) != 0}, {"RescheduleInterval", value(r.interval) != 0},
	}
}

// apply makes the change to settings, checking ranges.
func (c change) apply(protocol string, set backend.Settings) (backend.Settings, error) {
	err := firstError(
		checkName("ListenerName", c.name),
		among("Scheduler", c.scheduler, c.schedulers...),
		within("IdleConnectTimeout", c.idle, 10, 1980),
		within("RescheduleStartTime", c.reschedule.start, 0, 3600),
		within("RescheduleInterval", c.reschedule.interval, 0, 3600),
		notFor(protocol, c.others...),
	)
	if err == nil && protocol == "TCP_SSL" {
		err = notFor(protocol, append(c.reschedule.given(), need{"DeregisterTargetRst", value(c.rst)})...)
	} else if err == nil {
		err = notFor(protocol, need{"Certificate", c.certificate != nil})
	}
	if err != nil {
		return set, err
	}
	if s := value(c.session); s != 0 && (s < 30 || s > 3600) {
		return set, failure("InvalidParameterValue", "The value of `SessionExpireTime` should be 0 or in the range [30, 3600], it is %d.", s)
	}
	override(&set.Name, c.name)
	override(&set.Scheduler, c.scheduler)
	override(&set.SessionExpireTime, c.session)
	override(&set.IdleConnectTimeout, c.idle)
	override(&set.MaxConn, c.maxConn)
	override(&set.MaxCps, c.maxCps)
	override(&set.DeregisterTargetRst, c.rst)
	override(&set.SnatEnable, c.snat)
	override(&set.Certificate, c.certificate)
	override(&set.Reschedule.ZeroWeight, c.reschedule.zeroWeight)
	override(&set.Reschedule.Unhealthy, c.reschedule.unhealthy)
	override(&set.Reschedule.Expand, c.reschedule.expand)
	override(&set.Reschedule.StartTime, c.reschedule.start)
	override(&set.Reschedule.Interval, c.reschedule.interval)
	// "Session persistence can be enabled for WRR scheduling but not WLC scheduling"
	// (CLB, "Configuring a TCP Listener").
	if set.SessionExpireTime > 0 && set.Scheduler != "WRR" {
		return set, failure("InvalidParameterValue", "SessionExpireTime needs the scheduler WRR, it is %s.", set.Scheduler)
	}
	if c.health == nil {
		return set, nil
	}
	set.HealthCheck, err = changeHealthCheck(kindsOfCheck(protocol), set.HealthCheck, c.health)
	return set, err
}

func override[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// kindsOfCheck are those of a layer-4 listener (CLB API, HealthCheck.CheckType).
func kindsOfCheck(protocol string) []string {
	switch protocol {
	case "UDP":
		return []string{"PING", "CUSTOM"}
	case "TCP_SSL":
		return []string{"TCP", "HTTP"}
	}
	return []string{"TCP", "HTTP", "CUSTOM"}
}

// changeHealthCheck makes the change to a health check of one of the kinds, checking
// ranges.
func changeHealthCheck(kinds []string, hc backend.HealthCheck, in *api.HealthCheck) (backend.HealthCheck, error) {
	err := firstError(
		within("HealthSwitch", in.HealthSwitch, 0, 1),
		within("TimeOut", in.TimeOut, 2, 60),
		within("IntervalTime", in.IntervalTime, 2, 300),
		within("HealthNum", in.HealthNum, 2, 10),
		within("UnHealthNum", in.UnHealthNum, 2, 10),
		within("HttpCode", in.HttpCode, 1, 31),
		within("CheckPort", in.CheckPort, -1, 65535),
		within("SourceIpType", in.SourceIpType, 0, 1),
		among("CheckType", in.CheckType, kinds...),
		among("HttpCheckMethod", in.HttpCheckMethod, "HEAD", "GET"),
		among("HttpVersion", in.HttpVersion, "HTTP/1.0", "HTTP/1.1"),
		among("ContextType", in.ContextType, "HEX", "TEXT"),
	)
	if err != nil {
		return hc, err
	}
	if in.HealthSwitch != nil {
		hc.On = *in.HealthSwitch == 1
	}
	override(&hc.Timeout, in.TimeOut)
	override(&hc.Interval, in.IntervalTime)
	override(&hc.HealthNum, in.HealthNum)
	override(&hc.UnHealthNum, in.UnHealthNum)
	override(&hc.Kind, in.CheckType)
	override(&hc.Codes, in.HttpCode)
	override(&hc.Path, in.HttpCheckPath)
	override(&hc.Domain, in.HttpCheckDomain)
	override(&hc.Method, in.HttpCheckMethod)
	override(&hc.Version, in.HttpVersion)
	override(&hc.Port, in.CheckPort)
	override(&hc.ContextType, in.ContextType)
	override(&hc.SendContext, in.SendContext)
	override(&hc.RecvContext, in.RecvContext)
	override(&hc.SourceIPType, in.SourceIpType)
	override(&hc.ExtendedCode, in.ExtendedCode)
	hc.Port = max(hc.Port, 0)
	// "TimeOut ... less than IntervalTime", yet 2 is documented as the least of both: taken
	// together the two leave no interval of 2 unless these very two pass.
	if hc.Timeout >= hc.Interval && (hc.Timeout != 2 || hc.Interval != 2) {
		return hc, failure("InvalidParameterValue", "TimeOut %d should be less than IntervalTime %d.", hc.Timeout, hc.Interval)
	}
	return hc, checkKind(hc)
}

// The characters of a custom check (CLB API, HealthCheck.SendContext).
var (
	hexContext  = regexp.MustCompile(`^([0-9A-F]{2})+$`)
	textContext = regexp.MustCompile(`^[ -~]+$`)
)

// checkKind checks what the kind of check requires.
func checkKind(hc backend.HealthCheck) error {
	switch hc.Kind {
	case "HTTP":
		return required(need{"HealthCheck.HttpCheckDomain", hc.Domain != ""}, need{"HealthCheck.HttpVersion", hc.Version != ""})
	case "CUSTOM":
		allowed := textContext
		if hc.ContextType == "HEX" {
			allowed = hexContext
		}
		for name, context := range map[string]string{"SendContext": hc.SendContext, "RecvContext": hc.RecvContext} {
			if len(context) > 500 || context != "" && !allowed.MatchString(context) {
				return failure("InvalidParameterValue", "HealthCheck.%s should be at most 500 characters of the kind %s.", name, cmp.Or(hc.ContextType, "TEXT"))
			}
		}
		return required(need{"HealthCheck.ContextType", hc.ContextType != ""},
			need{"HealthCheck.SendContext", hc.SendContext != ""}, need{"HealthCheck.RecvContext", hc.RecvContext != ""})
	}
	return nil
}

func describeHealthCheck(hc backend.HealthCheck) *api.HealthCheck {
	out := &api.HealthCheck{
		HealthSwitch: number(hc.On), TimeOut: &hc.Timeout, IntervalTime: &hc.Interval,
		HealthNum: &hc.HealthNum, UnHealthNum: &hc.UnHealthNum, CheckType: &hc.Kind, SourceIpType: &hc.SourceIPType,
	}
	if hc.Port != 0 {
		out.CheckPort = &hc.Port
	}
	switch hc.Kind {
	case "HTTP", "HTTPS", "GRPC":
		out.HttpCode, out.HttpCheckPath, out.HttpCheckDomain = &hc.Codes, &hc.Path, &hc.Domain
		out.HttpCheckMethod, out.HttpVersion = &hc.Method, &hc.Version
		if hc.Kind == "GRPC" {
			out.ExtendedCode = &hc.ExtendedCode
		}
	case "CUSTOM":
		out.ContextType, out.SendContext, out.RecvContext = &hc.ContextType, &hc.SendContext, &hc.RecvContext
	}
	return out
}
