package clb

import (
	"hash/fnv"
	"strconv"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// eni is a stable id for the network interface that an address would be on.
func eni(ip string) string {
	h := fnv.New32a()
	// Writing to a hash never fails.
	_, _ = h.Write([]byte(ip))
	return "eni-" + strconv.FormatUint(uint64(h.Sum32()), 36)
}

// describeTargets lists listeners and rules that match, each with the targets that
// match: one without is listed all the same.
func (s *Server) describeTargets(q *api.DescribeTargetsRequestParams) (*api.DescribeTargetsResponseParams, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId)),
		atMost("ListenerIds", q.ListenerIds, 20),
		among("Protocol", q.Protocol, protocols...),
	)
	if err != nil {
		return nil, err
	}
	filter, err := targetFilters(q.Filters)
	if err != nil {
		return nil, err
	}
	found, err := s.backend.Listeners(*q.LoadBalancerId, true, listenerFilter(q.ListenerIds, q.Protocol, q.Port))
	if err != nil {
		return nil, err
	}
	answer := &api.DescribeTargetsResponseParams{}
	for _, l := range found {
		out := &api.ListenerBackend{ListenerId: &l.ID, Protocol: &l.Protocol, Port: common.Int64Ptr(int64(l.Port)), EndPort: common.Int64Ptr(0)}
		for _, p := range l.Places {
			if filter.locations != nil && !filter.locations[p.Location] {
				continue
			}
			targets := s.targets(p.Targets, filter)
			if p.Rule == nil {
				out.Targets = targets
				continue
			}
			out.Rules = append(out.Rules, &api.RuleTargets{LocationId: &p.Location, Domain: &p.Rule.Domain, Url: &p.Rule.URL, Targets: targets})
		}
		answer.Listeners = append(answer.Listeners, out)
	}
	return answer, nil
}

// targetFilter is the filters of DescribeTargets; a nil set is none.
type targetFilter struct{ ips, tags, locations map[string]bool }

func (f targetFilter) match(t *backend.Target) bool {
	return (f.ips == nil || f.ips[t.Addr.Addr().String()]) && (f.tags == nil || f.tags[t.Tag])
}

func targetFilters(filters []*api.Filter) (targetFilter, error) {
	var out targetFilter
	sets := map[string]*map[string]bool{"private-ip-address": &out.ips, "tag": &out.tags, "location-id": &out.locations}
	for _, f := range filters {
		if f == nil || len(f.Values) == 0 || sets[value(f.Name)] == nil {
			return out, failure("InvalidParameterValue.InvalidFilter", "filters are private-ip-address, tag and location-id, with Values.")
		}
		set := map[string]bool{}
		for _, v := range f.Values {
			set[value(v)] = true
		}
		*sets[*f.Name] = set
	}
	return out, nil
}

func (s *Server) targets(targets []backend.Target, filter targetFilter) []*api.Backend {
	var out []*api.Backend
	for i := range targets {
		if t := &targets[i]; filter.match(t) {
			out = append(out, s.target(t))
		}
	}
	return out
}

func (s *Server) target(t *backend.Target) *api.Backend {
	ip := t.Addr.Addr().String()
	for id, at := range s.instances() {
		if at == t.Addr.Addr() {
			return &api.Backend{
				Type: common.StringPtr("CVM"), InstanceId: &id,
				Port: common.Int64Ptr(int64(t.Addr.Port())), Weight: common.Int64Ptr(int64(t.Weight)),
				PrivateIpAddresses: []*string{&ip}, RegisteredTime: s.time(t.Registered), Tag: &t.Tag,
			}
		}
	}
	return &api.Backend{
		Type: common.StringPtr("ENI"), EniId: common.StringPtr(eni(ip)),
		Port: common.Int64Ptr(int64(t.Addr.Port())), Weight: common.Int64Ptr(int64(t.Weight)),
		PrivateIpAddresses: []*string{&ip}, RegisteredTime: s.time(t.Registered), Tag: &t.Tag,
	}
}

// describeTargetHealth reports layer-4 listeners through one rule without a location.
func (s *Server) describeTargetHealth(q *api.DescribeTargetHealthRequestParams) (*api.DescribeTargetHealthResponseParams, error) {
	err := firstError(
		required(list("LoadBalancerIds", q.LoadBalancerIds)),
		atMost("LoadBalancerIds", q.LoadBalancerIds, 30),
	)
	if err != nil {
		return nil, err
	}
	locations := map[string]bool{}
	for _, location := range deref(q.LocationIds) {
		locations[location] = true
	}
	answer := &api.DescribeTargetHealthResponseParams{}
	for _, name := range deref(q.LoadBalancerIds) {
		lb, err := s.backend.LoadBalancer(name)
		if err != nil {
			return nil, err
		}
		found, err := s.backend.Listeners(name, true, listenerFilter(q.ListenerIds, nil, nil))
		if err != nil {
			return nil, err
		}
		out := &api.LoadBalancerHealth{LoadBalancerId: &lb.ID, LoadBalancerName: &lb.Name}
		for _, l := range found {
			health := &api.ListenerHealth{ListenerId: &l.ID, ListenerName: &l.Settings.Name, Protocol: &l.Protocol, Port: common.Int64Ptr(int64(l.Port))}
			for _, p := range l.Places {
				if len(locations) > 0 && !locations[p.Location] {
					continue
				}
				rule := &api.RuleHealth{LocationId: &p.Location, Targets: s.targetHealth(p.Targets)}
				if p.Rule != nil {
					rule.Domain, rule.Url = &p.Rule.Domain, &p.Rule.URL
				}
				health.Rules = append(health.Rules, rule)
			}
			out.Listeners = append(out.Listeners, health)
		}
		answer.LoadBalancers = append(answer.LoadBalancers, out)
	}
	return answer, nil
}

func (s *Server) targetHealth(targets []backend.Target) []*api.TargetHealth {
	all := make([]*api.TargetHealth, 0, len(targets))
	for _, t := range targets {
		if s.hides(t.Addr.Addr()) {
			continue
		}
		ip, detail := t.Addr.Addr().String(), t.Health.String()
		all = append(all, &api.TargetHealth{
			IP: &ip, Port: common.Int64Ptr(int64(t.Addr.Port())), TargetId: common.StringPtr(eni(ip)),
			HealthStatus: common.BoolPtr(t.Health == dataplane.Alive), HealthStatusDetail: &detail,
			Weight: common.Uint64Ptr(uint64(t.Weight)),
		})
	}
	return all
}
