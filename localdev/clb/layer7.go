package clb

import (
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// layer7 says whether listeners of a protocol have rules.
func layer7(protocol string) bool { return protocol == "HTTP" || protocol == "HTTPS" }

// change7 is what CreateListener and ModifyListener say about a layer-7 listener; nil is
// no change.
type change7 struct {
	name           *string
	sni, keepAlive *int64
	certificate    *backend.Certificate
	// others are parameters that layer 7 has in its rules, or not at all.
	others []need
}

// others7 are the parameters of layer-4 listeners (CLB API, CreateListener: "applies to
// TCP/UDP/TCP_SSL/QUIC listeners only").
func others7(c change) []need {
	return append(c.reschedule.given(), []need{
		{"HealthCheck", c.health != nil}, {"Scheduler", c.scheduler != nil}, {"SessionExpireTime", value(c.session) != 0},
		{"IdleConnectTimeout", c.idle != nil}, {"MaxConn", c.maxConn != nil}, {"MaxCps", c.maxCps != nil},
		{"DeregisterTargetRst", value(c.rst)}, {"SnatEnable", value(c.snat)},
	}...)
}

// apply makes the change to settings.
func (c change7) apply(protocol string, set backend.Settings) (backend.Settings, error) {
	err := firstError(
		checkName("ListenerName", c.name),
		within("SniSwitch", c.sni, 0, 1),
		within("KeepaliveEnable", c.keepAlive, 0, 1),
		notFor(protocol, c.others...),
	)
	if err == nil && protocol == "HTTP" {
		err = notFor(protocol, need{"Certificate", c.certificate != nil}, need{"SniSwitch", value(c.sni) != 0})
	}
	if err != nil {
		return set, err
	}
	if c.sni != nil && *c.sni == 0 && set.SNI {
		return set, failure("InvalidParameter", "SniSwitch can't be turned off once it is on.")
	}
	if (set.SNI || value(c.sni) == 1) && c.certificate != nil {
		return set, failure("InvalidParameter", "with SniSwitch on certificates belong to domains, not to the listener.")
	}
	override(&set.Name, c.name)
	set.SNI = set.SNI || value(c.sni) == 1
	if c.keepAlive != nil {
		set.KeepAlive = *c.keepAlive == 1
	}
	override(&set.Certificate, c.certificate)
	return set, nil
}

// notFor fails for parameters that a protocol doesn't have.
func notFor(protocol string, given ...need) error {
	for _, g := range given {
		if g.present {
			return failure("InvalidParameter", "Parameter `%s` does not apply to %s listeners.", g.name, protocol)
		}
	}
	return nil
}

// create7 checks what a new listener must have: HTTPS without SNI a certificate.
func create7(protocol string, c change7) (backend.Settings, error) {
	set, err := c.apply(protocol, backend.Settings{})
	if err != nil {
		return set, err
	}
	if protocol == "HTTPS" && !set.SNI {
		err = required(need{"Certificate", c.certificate != nil})
	}
	return set, err
}

func (s *Server) listener7(l backend.Listener) *api.Listener {
	set := l.Settings
	out := &api.Listener{
		ListenerId: &l.ID, ListenerName: &set.Name, Protocol: &l.Protocol, Port: common.Int64Ptr(int64(l.Port)),
		CreateTime: s.time(l.Created), EndPort: common.Int64Ptr(0), TargetType: common.StringPtr("NODE"),
		SniSwitch: number(set.SNI), KeepaliveEnable: number(set.KeepAlive), Certificate: describeCertificate(set.Certificate),
		Rules: []*api.RuleOutput{},
	}
	for _, p := range l.Places {
		out.Rules = append(out.Rules, s.rule(l, p))
	}
	return out
}

// number is a switch as the API has it where it has no boolean.
func number(on bool) *int64 {
	if on {
		return common.Int64Ptr(1)
	}
	return common.Int64Ptr(0)
}
