package clb

import (
	"net/netip"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// The limits of a call (CLB API, the actions' own pages).
const (
	maxTargets      = 20
	maxBatch        = 500
	maxModifyList   = 100
	maxModifyOfRule = 50
)

// defaultWeight is that of a target registered without one.
const defaultWeight = 10

// at is where the single actions' targets are; Domain and Url are layer 7's.
func at(listener, location, domain, url *string) (backend.Where, error) {
	if err := unsupported(id("Domain", domain), id("Url", url)); err != nil {
		return backend.Where{}, err
	}
	return backend.Where{Listener: value(listener), Location: value(location)}, nil
}

// ask is a target as the four structs of the API that have one give it.
type ask struct {
	instance, ip, tag *string
	port, weight      *int64
}

func askOf(t *api.Target) ask {
	if t == nil {
		return ask{}
	}
	return ask{instance: t.InstanceId, ip: t.EniIp, tag: t.Tag, port: t.Port, weight: t.Weight}
}

// binding checks one target. Weight and tag are those given, or the fallbacks.
func (a ask) binding(where backend.Where, weight int64, tag string) (backend.Binding, error) {
	none := backend.Binding{}
	if (value(a.instance) == "") == (value(a.ip) == "") {
		return none, failure("InvalidParameter", "a target needs one of InstanceId and EniIp.")
	}
	if a.ip == nil {
		return none, failure("InvalidParameterValue", "the instance %s is not found: the emulator has none.", *a.instance)
	}
	err := firstError(
		required(need{"Targets.Port", a.port != nil}),
		within("Targets.Port", a.port, 1, 65535),
		within("Targets.Weight", a.weight, 0, 100),
		within("Weight", &weight, 0, 100),
	)
	if err != nil {
		return none, err
	}
	ip, err := netip.ParseAddr(*a.ip)
	if err != nil || !ip.Is4() {
		return none, failure("InvalidParameterValue", "EniIp %q is not an IPv4 address.", *a.ip)
	}
	if a.weight != nil {
		weight = *a.weight
	}
	if a.tag != nil {
		tag = *a.tag
	}
	return backend.Binding{Where: where, Addr: netip.AddrPortFrom(ip, uint16(*a.port)), Weight: int(weight), Tag: tag}, nil
}

func bindings(where backend.Where, targets []*api.Target, weight int64, tag string) ([]backend.Binding, error) {
	var all []backend.Binding
	for _, t := range targets {
		bind, err := askOf(t).binding(where, weight, tag)
		if err != nil {
			return nil, err
		}
		all = append(all, bind)
	}
	return all, nil
}

func (s *Server) registerTargets(op backend.Op, q *api.RegisterTargetsRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), list("Targets", q.Targets)),
		atMost("Targets", q.Targets, maxTargets),
	)
	if err != nil {
		return nil, err
	}
	where, err := at(q.ListenerId, q.LocationId, q.Domain, q.Url)
	if err != nil {
		return nil, err
	}
	all, err := bindings(where, q.Targets, defaultWeight, "")
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Register(op, *q.LoadBalancerId, all)
}

func (s *Server) deregisterTargets(op backend.Op, q *api.DeregisterTargetsRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), list("Targets", q.Targets)),
		atMost("Targets", q.Targets, maxTargets),
	)
	if err != nil {
		return nil, err
	}
	where, err := at(q.ListenerId, q.LocationId, q.Domain, q.Url)
	if err != nil {
		return nil, err
	}
	all, err := bindings(where, q.Targets, defaultWeight, "")
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Deregister(op, *q.LoadBalancerId, all)
}

func (s *Server) batchRegisterTargets(op backend.Op, q *api.BatchRegisterTargetsRequestParams) (*api.BatchRegisterTargetsResponseParams, error) {
	all, err := batch(q.LoadBalancerId, q.Targets)
	if err != nil {
		return nil, err
	}
	failed, err := s.backend.BatchRegister(op, *q.LoadBalancerId, all, s.opts.AsyncBatch)
	if err != nil {
		return nil, err
	}
	return &api.BatchRegisterTargetsResponseParams{FailListenerIdSet: common.StringPtrs(failed.IDs), Message: &failed.Message}, nil
}

func (s *Server) batchDeregisterTargets(op backend.Op, q *api.BatchDeregisterTargetsRequestParams) (*api.BatchDeregisterTargetsResponseParams, error) {
	all, err := batch(q.LoadBalancerId, q.Targets)
	if err != nil {
		return nil, err
	}
	failed, err := s.backend.BatchDeregister(op, *q.LoadBalancerId, all, s.opts.AsyncBatch)
	if err != nil {
		return nil, err
	}
	return &api.BatchDeregisterTargetsResponseParams{FailListenerIdSet: common.StringPtrs(failed.IDs), Message: &failed.Message}, nil
}

// batch checks what both batch actions take.
func batch(lb *string, targets []*api.BatchTarget) ([]backend.Binding, error) {
	err := firstError(
		required(id("LoadBalancerId", lb), list("Targets", targets)),
		atMost("Targets", targets, maxBatch),
	)
	if err != nil {
		return nil, err
	}
	all := make([]backend.Binding, 0, len(targets))
	for _, t := range targets {
		if err := required(need{"Targets.ListenerId", t != nil && value(t.ListenerId) != ""}); err != nil {
			return nil, err
		}
		a := ask{instance: t.InstanceId, ip: t.EniIp, tag: t.Tag, port: t.Port, weight: t.Weight}
		bind, err := a.binding(backend.Where{Listener: *t.ListenerId, Location: value(t.LocationId)}, defaultWeight, "")
		if err != nil {
			return nil, err
		}
		all = append(all, bind)
	}
	return all, nil
}

// modifyTargetWeight: a target's weight beats the request's, which is 10 by default. A
// target without a port is an InternalError on the real thing too.
func (s *Server) modifyTargetWeight(op backend.Op, q *api.ModifyTargetWeightRequestParams) (*empty, error) {
	err := required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), list("Targets", q.Targets))
	if err != nil {
		return nil, err
	}
	where, err := at(q.ListenerId, q.LocationId, q.Domain, q.Url)
	if err != nil {
		return nil, err
	}
	for _, t := range q.Targets {
		if t == nil || t.Port == nil {
			return nil, failure("InternalError", "An internal error has occurred. Retry your request.")
		}
	}
	weight := int64(defaultWeight)
	override(&weight, q.Weight)
	all, err := bindings(where, q.Targets, weight, "")
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Weigh(op, *q.LoadBalancerId, all)
}

func (s *Server) batchModifyTargetWeight(op backend.Op, q *api.BatchModifyTargetWeightRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), list("ModifyList", q.ModifyList)),
		atMost("ModifyList", q.ModifyList, maxModifyList),
	)
	if err != nil {
		return nil, err
	}
	var all []backend.Binding
	for _, rule := range q.ModifyList {
		err := required(need{"ModifyList.ListenerId", rule != nil && value(rule.ListenerId) != ""}, need{"ModifyList.Targets", rule != nil && len(rule.Targets) > 0})
		if err != nil {
			return nil, err
		}
		if err := atMost("ModifyList.Targets", rule.Targets, maxModifyOfRule); err != nil {
			return nil, err
		}
		where := backend.Where{Listener: *rule.ListenerId, Location: value(rule.LocationId)}
		weight := int64(defaultWeight)
		override(&weight, rule.Weight)
		part, err := bindings(where, rule.Targets, weight, "")
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	if err := atMost("ModifyList.Targets", all, maxBatch); err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Weigh(op, *q.LoadBalancerId, all)
}

func (s *Server) batchModifyTargetTag(op backend.Op, q *api.BatchModifyTargetTagRequestParams) (*empty, error) {
	if err := required(id("LoadBalancerId", q.LoadBalancerId), list("ModifyList", q.ModifyList)); err != nil {
		return nil, err
	}
	var all []backend.Binding
	for _, rule := range q.ModifyList {
		err := required(need{"ModifyList.ListenerId", rule != nil && value(rule.ListenerId) != ""}, need{"ModifyList.Targets", rule != nil && len(rule.Targets) > 0})
		if err != nil {
			return nil, err
		}
		where := backend.Where{Listener: *rule.ListenerId, Location: value(rule.LocationId)}
		part, err := bindings(where, rule.Targets, defaultWeight, value(rule.Tag))
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	if err := atMost("ModifyList.Targets", all, maxBatch); err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Retag(op, *q.LoadBalancerId, all)
}
