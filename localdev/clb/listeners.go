package clb

import (
	"slices"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// The protocols of listeners (CLB API, CreateListener).
var protocols = []string{"TCP", "UDP", "HTTP", "HTTPS", "TCP_SSL", "QUIC"}

func (s *Server) createListener(op backend.Op, q *api.CreateListenerRequestParams) (*api.CreateListenerResponseParams, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), list("Ports", q.Ports), id("Protocol", q.Protocol)),
		among("Protocol", q.Protocol, protocols...),
	)
	if err != nil {
		return nil, err
	}
	protocol := *q.Protocol
	// The documentation allows 50; the message below is what 50 get.
	if len(q.Ports) >= 50 {
		return nil, failure("InvalidParameterValue.Length", "Length of `.Ports` should be less than 50, it is %d.", len(q.Ports))
	}
	if len(q.ListenerNames) > 0 && len(q.ListenerNames) != len(q.Ports) {
		return nil, failure("InvalidParameterValue.Length", "Length of `.ListenerNames` should be that of `.Ports`, %d, it is %d.", len(q.Ports), len(q.ListenerNames))
	}
	err = unsupported(
		need{"Protocol: " + protocol, protocol == "QUIC"},
		need{"TargetType", q.TargetType != nil && *q.TargetType != "NODE"},
		need{"SessionType", q.SessionType != nil && *q.SessionType != "NORMAL"},
		need{"EndPort", value(q.EndPort) != 0}, list("FullEndPorts", q.FullEndPorts),
		need{"ProxyProtocol", value(q.ProxyProtocol)}, need{"H2cSwitch", value(q.H2cSwitch)},
	)
	if err != nil {
		return nil, err
	}
	settings, err := s.newSettings(protocol, q)
	if err != nil {
		return nil, err
	}

	var wants []backend.NewListener
	for i, port := range q.Ports {
		if err := firstError(required(need{"Ports", port != nil}), within("Ports", port, 1, 65535)); err != nil {
			return nil, err
		}
		want := backend.NewListener{Protocol: protocol, Port: int(*port), Settings: settings}
		if len(q.ListenerNames) > 0 {
			if err := checkName("ListenerNames", q.ListenerNames[i]); err != nil {
				return nil, err
			}
			want.Settings.Name = value(q.ListenerNames[i])
		}
		wants = append(wants, want)
	}
	ids, err := s.backend.CreateListeners(op, *q.LoadBalancerId, wants)
	if err != nil {
		return nil, err
	}
	return &api.CreateListenerResponseParams{ListenerIds: common.StringPtrs(ids)}, nil
}

// newSettings are those that a new listener asks for.
func (s *Server) newSettings(protocol string, q *api.CreateListenerRequestParams) (backend.Settings, error) {
	certificate, err := s.certificate(q.Certificate, q.MultiCertInfo)
	if err != nil {
		return backend.Settings{}, err
	}
	c := change{
		session: q.SessionExpireTime, health: q.HealthCheck, scheduler: q.Scheduler,
		schedulers: []string{"WRR", "LEAST_CONN"},
		rst:        q.DeregisterTargetRst, snat: q.SnatEnable, idle: q.IdleConnectTimeout, maxConn: q.MaxConn, maxCps: q.MaxCps,
		certificate: certificate, others: others4(q.SniSwitch, q.KeepaliveEnable),
		reschedule: reschedule{q.RescheduleTargetZeroWeight, q.RescheduleUnhealthy, q.RescheduleExpandTarget, q.RescheduleStartTime, q.RescheduleInterval},
	}
	if protocol == "TCP_SSL" {
		if err := required(need{"Certificate", certificate != nil}); err != nil {
			return backend.Settings{}, err
		}
	}
	if !layer7(protocol) {
		return c.apply(protocol, defaultSettings(protocol))
	}
	return create7(protocol, change7{sni: q.SniSwitch, keepAlive: q.KeepaliveEnable, certificate: certificate, others: others7(c)})
}

// others4 are the parameters of layer-7 listeners alone.
func others4(sni, keepAlive *int64) []need {
	return []need{{"SniSwitch", value(sni) != 0}, {"KeepaliveEnable", value(keepAlive) != 0}}
}

func (s *Server) modifyListener(op backend.Op, q *api.ModifyListenerRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId)),
		unsupported(
			need{"TargetType", q.TargetType != nil && *q.TargetType != "NODE"},
			need{"SessionType", q.SessionType != nil && *q.SessionType != "NORMAL"},
			need{"ProxyProtocol", value(q.ProxyProtocol)},
		),
	)
	if err != nil {
		return nil, err
	}
	certificate, err := s.certificate(q.Certificate, q.MultiCertInfo)
	if err != nil {
		return nil, err
	}
	c := change{
		name: q.ListenerName, session: q.SessionExpireTime, health: q.HealthCheck, scheduler: q.Scheduler,
		schedulers: []string{"WRR", "LEAST_CONN", "IP_HASH"},
		rst:        q.DeregisterTargetRst, snat: q.SnatEnable, idle: q.IdleConnectTimeout, maxConn: q.MaxConn, maxCps: q.MaxCps,
		certificate: certificate, others: others4(q.SniSwitch, q.KeepaliveEnable),
		reschedule: reschedule{q.RescheduleTargetZeroWeight, q.RescheduleUnhealthy, q.RescheduleExpandTarget, q.RescheduleStartTime, q.RescheduleInterval},
	}
	c7 := change7{name: q.ListenerName, sni: q.SniSwitch, keepAlive: q.KeepaliveEnable, certificate: certificate, others: others7(c)}
	return &empty{}, s.backend.ModifyListener(op, *q.LoadBalancerId, *q.ListenerId, func(protocol string, set backend.Settings) (backend.Settings, error) {
		if layer7(protocol) {
			return c7.apply(protocol, set)
		}
		return c.apply(protocol, set)
	})
}

func (s *Server) deleteListener(op backend.Op, q *api.DeleteListenerRequestParams) (*empty, error) {
	if err := required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId)); err != nil {
		return nil, err
	}
	return &empty{}, s.backend.DeleteListeners(op, *q.LoadBalancerId, []string{*q.ListenerId})
}

// deleteListeners deletes all listeners if none is named, as documented.
func (s *Server) deleteListeners(op backend.Op, q *api.DeleteLoadBalancerListenersRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId)),
		atMost("ListenerIds", q.ListenerIds, 20),
	)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.DeleteListeners(op, *q.LoadBalancerId, deref(q.ListenerIds))
}

func (s *Server) describeListeners(q *api.DescribeListenersRequestParams) (*api.DescribeListenersResponseParams, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId)),
		atMost("ListenerIds", q.ListenerIds, 100),
		among("Protocol", q.Protocol, protocols...),
	)
	if err != nil {
		return nil, err
	}
	found, err := s.backend.Listeners(*q.LoadBalancerId, false, listenerFilter(q.ListenerIds, q.Protocol, q.Port))
	if err != nil {
		return nil, err
	}
	answer := &api.DescribeListenersResponseParams{TotalCount: common.Uint64Ptr(uint64(len(found)))}
	for _, l := range found {
		answer.Listeners = append(answer.Listeners, s.listener(l))
	}
	return answer, nil
}

// listenerFilter judges the parameters that several descriptions share.
func listenerFilter(ids []*string, protocol *string, port *int64) func(backend.Listener) bool {
	names := deref(ids)
	return func(l backend.Listener) bool {
		return (len(names) == 0 || slices.Contains(names, l.ID)) &&
			(protocol == nil || *protocol == l.Protocol) &&
			(port == nil || *port == int64(l.Port))
	}
}

func (s *Server) listener(l backend.Listener) *api.Listener {
	if layer7(l.Protocol) {
		return s.listener7(l)
	}
	set := l.Settings
	out := &api.Listener{
		ListenerId: &l.ID, ListenerName: &set.Name, Protocol: &l.Protocol, Port: common.Int64Ptr(int64(l.Port)),
		CreateTime: s.time(l.Created), HealthCheck: describeHealthCheck(set.HealthCheck),
		Scheduler: &set.Scheduler, SessionExpireTime: &set.SessionExpireTime, SessionType: common.StringPtr("NORMAL"),
		TargetType: common.StringPtr("NODE"), EndPort: common.Int64Ptr(0), SniSwitch: common.Int64Ptr(0),
		DeregisterTargetRst: &set.DeregisterTargetRst, IdleConnectTimeout: &set.IdleConnectTimeout,
		MaxConn: &set.MaxConn, MaxCps: &set.MaxCps, AttrFlags: attributes(set),
		RescheduleStartTime: &set.Reschedule.StartTime, RescheduleInterval: common.Uint64Ptr(uint64(set.Reschedule.Interval)),
	}
	if l.Protocol == "TCP_SSL" {
		out.Certificate = describeCertificate(set.Certificate)
	}
	return out
}

// attributes are the switches that have no field of their own in a description. How those
// of rescheduling are called there is UNCONFIRMED.
func attributes(set backend.Settings) []*string {
	var on []string
	for _, flag := range []need{
		{"SnatEnable", set.SnatEnable}, {"RescheduleTargetZeroWeight", set.Reschedule.ZeroWeight},
		{"RescheduleUnhealthy", set.Reschedule.Unhealthy}, {"RescheduleExpandTarget", set.Reschedule.Expand},
	} {
		if flag.present {
			on = append(on, flag.name)
		}
	}
	if on == nil {
		return nil
	}
	return common.StringPtrs(on)
}
