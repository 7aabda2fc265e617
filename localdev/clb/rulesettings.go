package clb

import (
	"regexp"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// defaultRuleSettings are those of a rule created without any (CLB API, RuleInput and
// HealthCheck). An HTTPS rule is checked by the protocol it forwards with. The checked
// domain is the rule's, where that is a name and not a pattern.
func defaultRuleSettings(protocol, domain, forward string) backend.RuleSettings {
	set := backend.RuleSettings{
		Scheduler: "WRR", ForwardType: "HTTP",
		HealthCheck: backend.HealthCheck{
			On: true, Kind: "HTTP", Timeout: 2, Interval: 5, HealthNum: 3, UnHealthNum: 3,
			Method: "HEAD", Path: "/", Codes: 31, Version: "HTTP/1.1", ExtendedCode: "12",
		},
	}
	if fixedDomain(domain) {
		set.HealthCheck.Domain = domain
	}
	if protocol == "HTTPS" {
		switch forward {
		case "HTTPS":
			set.HealthCheck.Kind = "HTTPS"
		case "GRPC", "GRPCS":
			set.HealthCheck.Kind = "GRPC"
		}
	}
	return set
}

// ruleChange is what CreateRule and ModifyRule say about a rule's settings; nil is no
// change.
type ruleChange struct {
	session                    *int64
	health                     *api.HealthCheck
	scheduler, forward, cookie *string
}

// apply makes the change to settings, checking ranges.
func (c ruleChange) apply(protocol string, set backend.RuleSettings) (backend.RuleSettings, error) {
	forwards, kinds := []string{"HTTP"}, []string{"HTTP", "GRPC"}
	if protocol == "HTTPS" {
		// "Takes effect for HTTPS listeners only" (CLB API, ModifyRule.ForwardType).
		forwards, kinds = []string{"HTTP", "HTTPS", "GRPC", "GRPCS"}, []string{"HTTP", "HTTPS", "GRPC"}
	}
	err := firstError(
		among("Scheduler", c.scheduler, "WRR", "LEAST_CONN", "IP_HASH"),
		among("ForwardType", c.forward, forwards...),
	)
	if err != nil {
		return set, err
	}
	if s := value(c.session); s != 0 && (s < 30 || s > 86400) {
		return set, failure("InvalidParameterValue", "The value of `SessionExpireTime` should be 0 or in the range [30, 86400], it is %d.", s)
	}
	override(&set.SessionExpireTime, c.session)
	override(&set.Scheduler, c.scheduler)
	override(&set.ForwardType, c.forward)
	override(&set.CookieName, c.cookie)
	if c.health != nil {
		if c.health.CheckPort != nil && *c.health.CheckPort != -1 {
			return set, failure("InvalidParameter", "Parameter `HealthCheck.CheckPort` applies to TCP and UDP listeners only.")
		}
		if set.HealthCheck, err = changeHealthCheck(kinds, set.HealthCheck, c.health); err != nil {
			return set, err
		}
	}
	return set, checkRuleHealth(set.HealthCheck)
}

// extendedCode is how gRPC status codes are given: "20", "20,25" or "0-99" (CLB API,
// HealthCheck.ExtendedCode).
var extendedCode = regexp.MustCompile(`^\d{1,2}(-\d{1,2})?(,\d{1,2}(-\d{1,2})?)*$`)

// checkRuleHealth checks what is requested of targets (CLB, "Layer-7 Domain Name
// Forwarding and URL Rules", health check): a pattern is no domain to ask for.
func checkRuleHealth(hc backend.HealthCheck) error {
	if !hc.On {
		return nil
	}
	if !extendedCode.MatchString(hc.ExtendedCode) {
		return failure("InvalidParameterValue", "`HealthCheck.ExtendedCode` %q should be numbers or ranges of them from 0 to 99, by comma.", hc.ExtendedCode)
	}
	err := firstError(
		required(need{"HealthCheck.HttpCheckDomain", hc.Domain != ""}),
		checkLength("HealthCheck.HttpCheckDomain", hc.Domain, 80),
		checkLength("HealthCheck.HttpCheckPath", hc.Path, 200),
	)
	switch {
	case err != nil:
		return err
	case !fixedDomain(hc.Domain):
		return failure("InvalidParameter.FormatError", "`HealthCheck.HttpCheckDomain` %q should be a domain name without wildcards.", hc.Domain)
	case !urlPath.MatchString(hc.Path):
		return failure("InvalidParameter.FormatError", "`HealthCheck.HttpCheckPath` %q should begin with '/'.", hc.Path)
	}
	return nil
}
