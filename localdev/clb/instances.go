package clb

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// createLoadBalancer takes what layer 4 over IPv4 needs. What only costs money or names
// a zone (InternetAccessible, ZoneId, SlaType and the like) is accepted and has no
// effect.
func (s *Server) createLoadBalancer(op backend.Op, q *api.CreateLoadBalancerRequestParams) (*api.CreateLoadBalancerResponseParams, error) {
	internal := value(q.LoadBalancerType) == backend.Internal
	err := firstError(
		required(id("LoadBalancerType", q.LoadBalancerType)),
		among("LoadBalancerType", q.LoadBalancerType, backend.Open, backend.Internal),
		required(need{"VpcId", !internal || value(q.VpcId) != ""}, need{"SubnetId", !internal || value(q.SubnetId) != ""}),
		within("Forward", q.Forward, 1, 1),
		checkName("LoadBalancerName", q.LoadBalancerName),
		checkTags(q.Tags),
		unsupported(
			need{"AddressIPVersion", q.AddressIPVersion != nil && !strings.EqualFold(*q.AddressIPVersion, "IPV4")},
			need{"SnatPro", value(q.SnatPro)}, list("SnatIps", q.SnatIps), need{"ExclusiveCluster", q.ExclusiveCluster != nil},
			list("ClusterIds", q.ClusterIds), id("ClusterTag", q.ClusterTag), need{"DynamicVip", value(q.DynamicVip)},
			id("EipAddressId", q.EipAddressId), need{"LBChargePrepaid", q.LBChargePrepaid != nil},
			need{"AdvancedRoute", value(q.AdvancedRoute)},
		),
	)
	if err != nil {
		return nil, err
	}
	if token := value(q.ClientToken); len(token) > 64 || !isASCII(token) {
		return nil, failure("InvalidParameterValue.Length", "ClientToken should be at most 64 ASCII characters.")
	}
	number := uint64(1)
	if q.Number != nil {
		number = *q.Number
	}
	if number < 1 || number > 20 {
		return nil, failure("InvalidParameterValue.Range", "The value of `Number` should be in the range [1, 20], it is %d.", number)
	}

	want := backend.NewLoadBalancers{
		Name: value(q.LoadBalancerName), Type: *q.LoadBalancerType,
		VPC: cmp.Or(value(q.VpcId), "vpc-default"), Subnet: value(q.SubnetId),
		Number: int(number), ProjectID: uint64(value(q.ProjectId)), PassToTarget: value(q.LoadBalancerPassToTarget),
		Token: value(q.ClientToken),
	}
	for _, tag := range q.Tags {
		want.Tags = append(want.Tags, backend.Tag{Key: value(tag.TagKey), Value: value(tag.TagValue)})
	}
	if q.Vip != nil {
		if want.VIP, err = netip.ParseAddr(*q.Vip); err != nil {
			return nil, failure("InvalidParameterValue", "Vip %q is not an IP address.", *q.Vip)
		}
	}
	rest := *q
	rest.ClientToken = nil
	body, err := json.Marshal(rest)
	if err != nil {
		return nil, err
	}
	want.Request = string(body)

	ids, deal, err := s.backend.CreateLoadBalancers(op, want)
	if err != nil {
		return nil, err
	}
	return &api.CreateLoadBalancerResponseParams{LoadBalancerIds: common.StringPtrs(ids), DealName: &deal}, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// checkName has the length that the naming rule of instances and listeners asks for.
func checkName(field string, name *string) error {
	if n := utf8.RuneCountInString(value(name)); name != nil && (n < 1 || n > 80) {
		return failure("InvalidParameterValue.Length", "Length of `%s` should be in the range [1, 80], it is %d.", field, n)
	}
	return nil
}

func checkTags(tags []*api.TagInfo) error {
	if err := atMost("Tags", tags, 20); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		if err := required(need{"Tags.TagKey", tag != nil && value(tag.TagKey) != ""}); err != nil {
			return err
		}
		if seen[*tag.TagKey] {
			return failure("InvalidParameterValue", "the tag key %q is given twice.", *tag.TagKey)
		}
		seen[*tag.TagKey] = true
	}
	return nil
}

func (s *Server) describeLoadBalancers(q *api.DescribeLoadBalancersRequestParams) (*api.DescribeLoadBalancersResponseParams, error) {
	limit, offset := int64(20), value(q.Offset)
	if q.Limit != nil {
		limit = *q.Limit
	}
	if limit < 1 || limit > 100 || offset < 0 {
		return nil, failure("InvalidParameterValue.Range", "Limit should be in the range [1, 100] and Offset at least 0, they are %d and %d.", limit, offset)
	}
	err := firstError(
		atMost("LoadBalancerIds", q.LoadBalancerIds, 20),
		atMost("Filters", q.Filters, 10),
		among("LoadBalancerType", q.LoadBalancerType, backend.Open, backend.Internal),
		among("OrderBy", q.OrderBy, "CreateTime", "LoadBalancerName", "Domain", "LoadBalancerType"),
		within("OrderType", q.OrderType, 0, 1),
		within("WithRs", q.WithRs, -1, 1),
		unsupported(list("BackendPublicIps", q.BackendPublicIps), list("BackendPrivateIps", q.BackendPrivateIps),
			id("Domain", q.Domain), id("SecurityGroup", q.SecurityGroup), id("MasterZone", q.MasterZone)),
	)
	if err != nil {
		return nil, err
	}
	filters, err := instanceFilters(q.Filters)
	if err != nil {
		return nil, err
	}

	found := slices.DeleteFunc(s.backend.LoadBalancers(), func(lb backend.LoadBalancer) bool {
		return !matches(q, lb) || !filters(lb)
	})
	sortInstances(found, value(q.OrderBy), q.OrderType == nil || *q.OrderType == 1)
	answer := &api.DescribeLoadBalancersResponseParams{TotalCount: common.Uint64Ptr(uint64(len(found)))}
	found = found[min(int(offset), len(found)):]
	found = found[:min(int(limit), len(found))]
	withCount := slices.Contains(deref(q.AdditionalFields), "TargetCount")
	for _, lb := range found {
		answer.LoadBalancerSet = append(answer.LoadBalancerSet, s.instance(lb, withCount))
	}
	return answer, nil
}

// matches judges the parameters of a description apart from its filters.
func matches(q *api.DescribeLoadBalancersRequestParams, lb backend.LoadBalancer) bool {
	vip := ""
	if lb.VIP.IsValid() {
		vip = lb.VIP.String()
	}
	key := value(q.SearchKey)
	withRs := int64(-1)
	if q.WithRs != nil {
		withRs = *q.WithRs
	}
	switch {
	case len(q.LoadBalancerIds) > 0 && !slices.Contains(deref(q.LoadBalancerIds), lb.ID),
		q.LoadBalancerType != nil && *q.LoadBalancerType != lb.Type,
		q.Forward != nil && *q.Forward != 1,
		q.ProjectId != nil && uint64(*q.ProjectId) != lb.ProjectID,
		!strings.Contains(lb.Name, value(q.LoadBalancerName)),
		len(q.LoadBalancerVips) > 0 && !slices.Contains(deref(q.LoadBalancerVips), vip),
		q.VpcId != nil && *q.VpcId != lb.VPC,
		key != "" && !strings.Contains(lb.Name, key) && !strings.Contains(lb.ID, key) && !strings.Contains(vip, key),
		withRs == 0 && lb.TargetCount > 0,
		withRs == 1 && lb.TargetCount == 0:
		return false
	}
	return true
}

// instanceFilters makes one judge of the filters that make sense here: all must hold,
// each by any of its values.
func instanceFilters(filters []*api.Filter) (func(backend.LoadBalancer) bool, error) {
	var judges []func(backend.LoadBalancer) bool
	for _, f := range filters {
		if f == nil || value(f.Name) == "" || len(f.Values) == 0 {
			return nil, failure("InvalidParameterValue.InvalidFilter", "a filter needs Name and Values.")
		}
		if err := atMost("Filters.Values", f.Values, 100); err != nil {
			return nil, err
		}
		values := deref(f.Values)
		name := *f.Name
		switch key, isTag := strings.CutPrefix(name, "tag:"); {
		case isTag:
			judges = append(judges, func(lb backend.LoadBalancer) bool {
				return slices.ContainsFunc(lb.Tags, func(t backend.Tag) bool { return t.Key == key && slices.Contains(values, t.Value) })
			})
		case name == "tag-key":
			judges = append(judges, func(lb backend.LoadBalancer) bool {
				return slices.ContainsFunc(lb.Tags, func(t backend.Tag) bool { return slices.Contains(values, t.Key) })
			})
		case name == "charge-type":
			judges = append(judges, func(backend.LoadBalancer) bool { return slices.Contains(values, chargeType) })
		case name == "vip-isp":
			judges = append(judges, func(lb backend.LoadBalancer) bool { return slices.Contains(values, isp(lb)) })
		default:
			return nil, failure("InvalidParameterValue.InvalidFilter", "the filter %q is not known.", name)
		}
	}
	return func(lb backend.LoadBalancer) bool {
		for _, judge := range judges {
			if !judge(lb) {
				return false
			}
		}
		return true
	}, nil
}

// sortInstances orders what comes oldest first; the documented default is the latest
// first.
func sortInstances(lbs []backend.LoadBalancer, by string, descending bool) {
	key := func(lb backend.LoadBalancer) string {
		switch by {
		case "LoadBalancerName":
			return lb.Name
		case "LoadBalancerType":
			return lb.Type
		}
		return ""
	}
	slices.SortStableFunc(lbs, func(a, b backend.LoadBalancer) int { return cmp.Compare(key(a), key(b)) })
	if descending {
		slices.Reverse(lbs)
	}
}

const chargeType = "POSTPAID_BY_HOUR"

func isp(lb backend.LoadBalancer) string {
	if lb.Type == backend.Internal {
		return "INTERNAL"
	}
	return "BGP"
}

func (s *Server) time(t time.Time) *string {
	return common.StringPtr(t.In(s.opts.Location).Format(time.DateTime))
}

func (s *Server) instance(lb backend.LoadBalancer, withCount bool) *api.LoadBalancer {
	out := &api.LoadBalancer{
		LoadBalancerId: &lb.ID, LoadBalancerName: &lb.Name, LoadBalancerType: &lb.Type,
		Forward: common.Uint64Ptr(1), Status: common.Uint64Ptr(0),
		CreateTime: s.time(lb.Created), StatusTime: s.time(lb.StatusTime),
		ProjectId: &lb.ProjectID, VpcId: &lb.VPC, SubnetId: &lb.Subnet,
		OpenBgp: common.Uint64Ptr(0), Snat: common.BoolPtr(false), Isolation: common.Uint64Ptr(0),
		AddressIPVersion: common.StringPtr("ipv4"), VipIsp: common.StringPtr(isp(lb)),
		ChargeType: common.StringPtr(chargeType), LoadBalancerPassToTarget: &lb.PassToTarget,
		Exclusive: common.Uint64Ptr(0), SlaType: common.StringPtr(""),
	}
	if lb.Normal {
		out.Status = common.Uint64Ptr(1)
		out.LoadBalancerVips = common.StringPtrs([]string{lb.VIP.String()})
	}
	out.SecureGroups = common.StringPtrs(lb.SecurityGroups)
	if lb.DeleteProtect {
		out.AttributeFlags = common.StringPtrs([]string{"DeleteProtect"})
	}
	for _, tag := range lb.Tags {
		out.Tags = append(out.Tags, &api.TagInfo{TagKey: &tag.Key, TagValue: &tag.Value})
	}
	if withCount {
		out.TargetCount = common.Uint64Ptr(uint64(lb.TargetCount))
	}
	return out
}

func (s *Server) deleteLoadBalancer(op backend.Op, q *api.DeleteLoadBalancerRequestParams) (*empty, error) {
	err := firstError(
		required(list("LoadBalancerIds", q.LoadBalancerIds)),
		atMost("LoadBalancerIds", q.LoadBalancerIds, 20),
	)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.DeleteLoadBalancers(op, deref(q.LoadBalancerIds), value(q.ForceDelete))
}
