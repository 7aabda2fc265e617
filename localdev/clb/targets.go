package clb

import (
	"math"
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

// ask is a target as the four structs of the API that have one give it.
type ask struct {
	instance, ip, tag *string
	port, weight      *int64
	// instances are the account's, by id.
	instances map[string]netip.Addr
}

func askOf(t *api.Target, instances map[string]netip.Addr) ask {
	if t == nil {
		return ask{}
	}
	return ask{instances: instances, instance: t.InstanceId, ip: t.EniIp, tag: t.Tag, port: t.Port, weight: t.Weight}
}

// binding checks one target. Weight and tag are those given, or the fallbacks.
func (a ask) binding(where backend.Where, weight int64, tag string) (backend.Binding, error) {
	none := backend.Binding{}
	if (value(a.instance) == "") == (value(a.ip) == "") {
		return none, failure("InvalidParameter", "a target needs one of InstanceId and EniIp.")
	}
	if a.ip == nil {
		at, ok := a.instances[*a.instance]
		if !ok {
			return none, failure("InvalidParameterValue", "the instance %s is not found.", *a.instance)
		}
		a.ip = common.StringPtr(at.String())
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

// part is targets of one place, with what those have that say nothing themselves.
type part struct {
	listener, location, domain, url *string
	targets                         []*api.Target
	weight                          *int64
	tag                             string
	instances                       map[string]netip.Addr
}

// bindings checks a part of a call; names are the parameters' in messages.
func (p part) bindings(prefix string) ([]backend.Binding, error) {
	err := required(id(prefix+"ListenerId", p.listener), list(prefix+"Targets", p.targets))
	if err != nil {
		return nil, err
	}
	where := backend.Where{Listener: *p.listener, Location: value(p.location)}
	if where.Location == "" {
		where.Domain, where.URL = value(p.domain), value(p.url)
	}
	weight := int64(defaultWeight)
	override(&weight, p.weight)
	all := make([]backend.Binding, len(p.targets))
	for i, t := range p.targets {
		if all[i], err = askOf(t, p.instances).binding(where, weight, p.tag); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// single checks what the actions on one listener or rule share.
func (s *Server) single(lb *string, p part, limit int) ([]backend.Binding, error) {
	err := firstError(required(id("LoadBalancerId", lb)), atMost("Targets", p.targets, limit))
	if err != nil {
		return nil, err
	}
	p.instances = s.instances()
	return p.bindings("")
}

func (s *Server) registerTargets(op backend.Op, q *api.RegisterTargetsRequestParams) (*empty, error) {
	all, err := s.single(q.LoadBalancerId, part{listener: q.ListenerId, location: q.LocationId, domain: q.Domain, url: q.Url, targets: q.Targets}, maxTargets)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Register(op, *q.LoadBalancerId, all)
}

func (s *Server) deregisterTargets(op backend.Op, q *api.DeregisterTargetsRequestParams) (*empty, error) {
	all, err := s.single(q.LoadBalancerId, part{listener: q.ListenerId, location: q.LocationId, domain: q.Domain, url: q.Url, targets: q.Targets}, maxTargets)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Deregister(op, *q.LoadBalancerId, all)
}

func (s *Server) batchRegisterTargets(op backend.Op, q *api.BatchRegisterTargetsRequestParams) (*api.BatchRegisterTargetsResponseParams, error) {
	all, err := s.batch(q.LoadBalancerId, q.Targets)
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
	all, err := s.batch(q.LoadBalancerId, q.Targets)
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
func (s *Server) batch(lb *string, targets []*api.BatchTarget) ([]backend.Binding, error) {
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
		a := ask{instances: s.instances(), instance: t.InstanceId, ip: t.EniIp, tag: t.Tag, port: t.Port, weight: t.Weight}
		bind, err := a.binding(backend.Where{Listener: *t.ListenerId, Location: value(t.LocationId)}, defaultWeight, "")
		if err != nil {
			return nil, err
		}
		all = append(all, bind)
	}
	return all, nil
}

// modifyTargetWeight: a target's weight beats the request's, which is 10 by default. A
// target without a port is an InternalError on the real thing too. How many targets it
// takes is not documented.
func (s *Server) modifyTargetWeight(op backend.Op, q *api.ModifyTargetWeightRequestParams) (*empty, error) {
	for _, t := range q.Targets {
		if t == nil || t.Port == nil {
			return nil, failure("InternalError", "An internal error has occurred. Retry your request.")
		}
	}
	all, err := s.single(q.LoadBalancerId, part{
		listener: q.ListenerId, location: q.LocationId, domain: q.Domain, url: q.Url, targets: q.Targets, weight: q.Weight,
	}, math.MaxInt)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Weigh(op, *q.LoadBalancerId, all)
}

func (s *Server) batchModifyTargetWeight(op backend.Op, q *api.BatchModifyTargetWeightRequestParams) (*empty, error) {
	if err := atMost("ModifyList", q.ModifyList, maxModifyList); err != nil {
		return nil, err
	}
	parts := make([]part, len(q.ModifyList))
	for i, rule := range q.ModifyList {
		if rule == nil {
			continue
		}
		if err := atMost("ModifyList.Targets", rule.Targets, maxModifyOfRule); err != nil {
			return nil, err
		}
		//lint:ignore SA1019 Domain and Url are deprecated, and taken
		parts[i] = part{listener: rule.ListenerId, location: rule.LocationId, domain: rule.Domain, url: rule.Url, targets: rule.Targets, weight: rule.Weight, instances: s.instances()}
	}
	all, err := modifications(q.LoadBalancerId, parts)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Weigh(op, *q.LoadBalancerId, all)
}

func (s *Server) batchModifyTargetTag(op backend.Op, q *api.BatchModifyTargetTagRequestParams) (*empty, error) {
	parts := make([]part, len(q.ModifyList))
	for i, rule := range q.ModifyList {
		if rule == nil {
			continue
		}
		parts[i] = part{listener: rule.ListenerId, location: rule.LocationId, targets: rule.Targets, tag: value(rule.Tag), instances: s.instances()}
	}
	all, err := modifications(q.LoadBalancerId, parts)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.Retag(op, *q.LoadBalancerId, all)
}

// modifications checks what the batch changes of bound targets share.
func modifications(lb *string, parts []part) ([]backend.Binding, error) {
	if err := required(id("LoadBalancerId", lb), list("ModifyList", parts)); err != nil {
		return nil, err
	}
	var all []backend.Binding
	for _, p := range parts {
		some, err := p.bindings("ModifyList.")
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, atMost("ModifyList.Targets", all, maxBatch)
}
