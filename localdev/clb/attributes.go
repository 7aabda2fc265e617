package clb

import (
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// maxSecurityGroups is how many a load balancer takes (CLB API,
// SetLoadBalancerSecurityGroups).
const maxSecurityGroups = 50

// modifyLoadBalancer changes name, security group passing and protection from deletion;
// what is about money or other regions is not emulated.
func (s *Server) modifyLoadBalancer(op backend.Op, q *api.ModifyLoadBalancerAttributesRequestParams) (*api.ModifyLoadBalancerAttributesResponseParams, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId)),
		checkName("LoadBalancerName", q.LoadBalancerName),
		unsupported(need{"TargetRegionInfo", q.TargetRegionInfo != nil}, need{"InternetChargeInfo", q.InternetChargeInfo != nil},
			need{"SwitchFlag", value(q.SwitchFlag) != 0}, need{"SnatPro", value(q.SnatPro)},
			need{"ModifyClassicDomain", value(q.ModifyClassicDomain)}, id("AssociateEndpoint", q.AssociateEndpoint)),
	)
	if err != nil {
		return nil, err
	}
	return &api.ModifyLoadBalancerAttributesResponseParams{}, s.backend.ModifyLoadBalancer(op, *q.LoadBalancerId, func(lb *backend.LoadBalancer) {
		override(&lb.Name, q.LoadBalancerName)
		override(&lb.PassToTarget, q.LoadBalancerPassToTarget)
		override(&lb.DeleteProtect, q.DeleteProtect)
	})
}

// setSecurityGroups replaces all of them: none given is none left.
func (s *Server) setSecurityGroups(op backend.Op, q *api.SetLoadBalancerSecurityGroupsRequestParams) (*empty, error) {
	err := firstError(required(id("LoadBalancerId", q.LoadBalancerId)), atMost("SecurityGroups", q.SecurityGroups, maxSecurityGroups))
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.ModifyLoadBalancer(op, *q.LoadBalancerId, func(lb *backend.LoadBalancer) { lb.SecurityGroups = deref(q.SecurityGroups) })
}

// describeLBListeners finds where addresses are bound: load balancers and listeners
// without one of them are left out.
func (s *Server) describeLBListeners(q *api.DescribeLBListenersRequestParams) (*api.DescribeLBListenersResponseParams, error) {
	if err := required(list("Backends", q.Backends)); err != nil {
		return nil, err
	}
	type address struct{ vpc, ip string }
	asked := map[address]bool{}
	for _, b := range q.Backends {
		if err := required(need{"Backends.VpcId", b != nil && value(b.VpcId) != ""}, need{"Backends.PrivateIp", b != nil && value(b.PrivateIp) != ""}); err != nil {
			return nil, err
		}
		asked[address{*b.VpcId, *b.PrivateIp}] = true
	}
	answer := &api.DescribeLBListenersResponseParams{}
	for _, lb := range s.backend.LoadBalancers() {
		found, err := s.backend.Listeners(lb.ID, true, func(backend.Listener) bool { return true })
		if err != nil {
			continue // deleted since
		}
		item := &api.LBItem{LoadBalancerId: &lb.ID, Vip: common.StringPtr(lb.VIP.String())}
		for _, l := range found {
			listener := &api.ListenerItem{ListenerId: &l.ID, Protocol: &l.Protocol, Port: common.Int64Ptr(int64(l.Port)), EndPort: common.Int64Ptr(0)}
			for _, p := range l.Places {
				var targets []*api.LbRsTargets
				for _, t := range p.Targets {
					if ip := t.Addr.Addr().String(); asked[address{lb.VPC, ip}] {
						targets = append(targets, &api.LbRsTargets{
							Type: common.StringPtr("eni"), PrivateIp: &ip, Port: common.Int64Ptr(int64(t.Addr.Port())), Weight: common.Int64Ptr(int64(t.Weight)),
						})
					}
				}
				switch {
				case len(targets) == 0:
				case p.Rule == nil:
					listener.Targets = targets
				default:
					listener.Rules = append(listener.Rules, &api.RulesItems{LocationId: &p.Location, Domain: &p.Rule.Domain, Url: &p.Rule.URL, Targets: targets})
				}
			}
			if len(listener.Targets)+len(listener.Rules) > 0 {
				item.Listeners = append(item.Listeners, listener)
			}
		}
		if len(item.Listeners) > 0 {
			answer.LoadBalancers = append(answer.LoadBalancers, item)
		}
	}
	return answer, nil
}
