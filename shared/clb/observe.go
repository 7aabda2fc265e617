package clb

import (
	"context"
	"slices"
	"time"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Limits of reads (CLB API, field comments of the requests named).
const (
	maxLoadBalancerIDs = 20 // DescribeLoadBalancers.LoadBalancerIds
	maxTargetListeners = 20 // DescribeTargets.ListenerIds
	maxFilterValues    = 20 // values of one filter of DescribeTargets; not documented, so little
	maxHealthCLBs      = 30 // DescribeTargetHealth.LoadBalancerIds
	// MaxHealthListeners is how many listeners Health asks for by name; with more it
	// asks for all of a CLB's.
	MaxHealthListeners = 20
)

// LoadBalancers reads CLBs by id. Ids that don't exist are left out.
func (s *Session) LoadBalancers(ctx context.Context, ids ...string) ([]model.LoadBalancer, error) {
	var out []model.LoadBalancer
	for chunk := range slices.Chunk(ids, maxLoadBalancerIDs) {
		req := sdk.NewDescribeLoadBalancersRequest()
		req.LoadBalancerIds = pointers(chunk)
		req.Limit = ptr(int64(maxLoadBalancerIDs))
		found, err := s.describeLoadBalancers(ctx, req)
		if fault.Is(err, fault.NotFound) && len(chunk) == 1 {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// LoadBalancersTagged reads the CLBs that carry all the given tags.
func (s *Session) LoadBalancersTagged(ctx context.Context, tags map[string]string) ([]model.LoadBalancer, error) {
	var filters []*sdk.Filter
	for k, v := range tags {
		filters = append(filters, &sdk.Filter{Name: ptr("tag:" + k), Values: pointers([]string{v})})
	}
	const page = 100
	var out []model.LoadBalancer
	for offset := int64(0); ; offset += page {
		req := sdk.NewDescribeLoadBalancersRequest()
		req.Filters, req.Offset, req.Limit = filters, ptr(offset), ptr(int64(page))
		found, err := s.describeLoadBalancers(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
		if len(found) < page {
			return out, nil
		}
	}
}

func (s *Session) describeLoadBalancers(ctx context.Context, req *sdk.DescribeLoadBalancersRequest) ([]model.LoadBalancer, error) {
	res, err := call(ctx, s, operation{Action: "DescribeLoadBalancers", Op: "reading load balancers"}, nil, req, s.api.DescribeLoadBalancersWithContext)
	if err != nil {
		return nil, err
	}
	var out []model.LoadBalancer
	for _, lb := range res.Response.LoadBalancerSet {
		if lb != nil {
			out = append(out, loadBalancerOf(lb))
		}
	}
	return out, nil
}

func loadBalancerOf(lb *sdk.LoadBalancer) model.LoadBalancer {
	m := model.LoadBalancer{
		ID:       value(lb.LoadBalancerId),
		Name:     value(lb.LoadBalancerName),
		Internal: value(lb.LoadBalancerType) == "INTERNAL",
		SubnetID: value(lb.SubnetId),
		VPCID:    value(lb.VpcId),
		Ready:    value(lb.Status) == 1,
		IPv6:     value(lb.AddressIPv6),
		Domain:   value(lb.LoadBalancerDomain),
		Tags:     map[string]string{},
	}
	for _, vip := range lb.LoadBalancerVips {
		m.VIPs = append(m.VIPs, value(vip))
	}
	for _, tag := range lb.Tags {
		if tag != nil {
			m.Tags[value(tag.TagKey)] = value(tag.TagValue)
		}
	}
	return m
}

// TargetFilter narrows Targets; the zero value means everything on the listeners.
type TargetFilter struct {
	// IPs: only targets with these addresses. More than the API filters by in
	// one call are filtered here.
	IPs []string
}

// Targets reads the targets at the given listeners of a CLB.
func (s *Session) Targets(ctx context.Context, lb string, listeners []string, filter TargetFilter) ([]model.Target, error) {
	if len(listeners) == 0 {
		return nil, nil
	}
	var filters []*sdk.Filter
	if n := len(filter.IPs); n > 0 && n <= maxFilterValues {
		filters = []*sdk.Filter{{Name: ptr("private-ip-address"), Values: pointers(filter.IPs)}}
	}
	// Naming no listener means all of them: fewer calls, where there are many.
	chunks := slices.Collect(slices.Chunk(listeners, maxTargetListeners))
	if len(chunks) > 1 {
		chunks = [][]string{nil}
	}
	ours := setOf(listeners)
	ips := setOf(filter.IPs)
	var out []model.Target
	for _, chunk := range chunks {
		req := sdk.NewDescribeTargetsRequest()
		req.LoadBalancerId, req.ListenerIds, req.Filters = &lb, pointers(chunk), filters
		res, err := call(ctx, s, operation{Action: "DescribeTargets", Op: "reading targets of " + lb}, nil, req, s.api.DescribeTargetsWithContext)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		for _, l := range res.Response.Listeners {
			if l != nil && ours[value(l.ListenerId)] {
				out = appendBound(out, l, ips, now)
			}
		}
	}
	return out, nil
}

// appendBound reads what is bound at a listener, or at its rules.
func appendBound(out []model.Target, l *sdk.ListenerBackend, ips map[string]bool, now time.Time) []model.Target {
	place := model.Place{Listener: value(l.ListenerId)}
	out = appendTargets(out, place, l.Targets, ips, now)
	for _, r := range l.Rules {
		if r != nil {
			place.Location = value(r.LocationId)
			out = appendTargets(out, place, r.Targets, ips, now)
		}
	}
	return out
}

func appendTargets(out []model.Target, place model.Place, backends []*sdk.Backend, ips map[string]bool, now time.Time) []model.Target {
	for _, b := range backends {
		if b == nil || len(b.PrivateIpAddresses) == 0 {
			continue
		}
		ip := value(b.PrivateIpAddresses[0])
		if len(ips) > 0 && !ips[ip] {
			continue
		}
		out = append(out, model.Target{
			Place:      place,
			Address:    model.Address{IP: ip, Port: int(value(b.Port))},
			Weight:     int(value(b.Weight)),
			Tag:        value(b.Tag),
			Instance:   instanceOf(b),
			Registered: parseTime(value(b.RegisteredTime), now),
		})
	}
	return out
}

// instanceOf is the virtual machine that is bound by its id, "" for one bound by address
// (CLB API, Backend.Type).
func instanceOf(b *sdk.Backend) string {
	if value(b.Type) != "CVM" {
		return ""
	}
	return value(b.InstanceId)
}

// parseTime reads the API's zoneless "2006-01-02 15:04:05". Which zone it means is
// not documented: China's, most likely. Of China's and UTC the later instant that
// isn't in the future is taken; too late costs a wait of seconds, too early would
// believe a health verdict about somebody else.
func parseTime(text string, now time.Time) time.Time {
	t, err := time.ParseInLocation(time.DateTime, text, time.UTC)
	if err != nil {
		return time.Time{}
	}
	if t.After(now.Add(time.Minute)) {
		t = t.Add(-8 * time.Hour)
	}
	return t
}

// Verdict is what the CLB last said about a target.
type Verdict struct {
	Health model.Health
	// Weight as the health answer has it.
	Weight int
	// Spot is where it is bound. The health answer names listeners, domains and paths,
	// so that places can be found by it without reading listeners.
	Spot model.Spot
}

// Health reads the health of all targets at the given listeners; none names all
// of the CLBs'. Targets that the answer doesn't mention are missing from the map,
// which makes them Unknown.
func (s *Session) Health(ctx context.Context, lbs, listeners []string) (map[model.Key]Verdict, error) {
	out := map[model.Key]Verdict{}
	if len(listeners) > MaxHealthListeners {
		listeners = nil
	}
	for chunk := range slices.Chunk(lbs, maxHealthCLBs) {
		req := sdk.NewDescribeTargetHealthRequest()
		req.LoadBalancerIds, req.ListenerIds = pointers(chunk), pointers(listeners)
		res, err := call(ctx, s, operation{Action: "DescribeTargetHealth", Op: "reading target health"}, nil, req, s.api.DescribeTargetHealthWithContext)
		if err != nil {
			return nil, err
		}
		for _, lb := range res.Response.LoadBalancers {
			if lb == nil {
				continue
			}
			for _, l := range lb.Listeners {
				if l != nil {
					addVerdicts(out, l)
				}
			}
		}
	}
	return out, nil
}

// addVerdicts reads a listener's health. A layer-4 one reports through one rule, whose
// LocationId is not documented: only layer 7 has locations.
func addVerdicts(out map[model.Key]Verdict, l *sdk.ListenerHealth) {
	layer7 := model.Protocol(value(l.Protocol)).Layer7()
	for _, r := range l.Rules {
		if r == nil {
			continue
		}
		place := model.Place{Listener: value(l.ListenerId)}
		spot := model.Spot{Listener: value(l.ListenerName)}
		if layer7 {
			place.Location = value(r.LocationId)
			spot.Domain, spot.Path = domainOf(value(r.Domain)), value(r.Url)
		}
		for _, t := range r.Targets {
			if t != nil {
				key := model.Key{Place: place, Address: model.Address{IP: value(t.IP), Port: int(value(t.Port))}}
				out[key] = Verdict{healthOf(t), int(value(t.Weight)), spot}
			}
		}
	}
}

// healthOf reads a verdict. Only the documented word is believed.
func healthOf(t *sdk.TargetHealth) model.Health {
	switch h := model.Health(value(t.HealthStatusDetail)); h {
	case model.Alive, model.Dead, model.Close:
		return h
	}
	return model.Unknown
}

func setOf(in []string) map[string]bool {
	out := make(map[string]bool, len(in))
	for _, v := range in {
		out[v] = true
	}
	return out
}

func limit(field string, n, most int) error {
	if n < 1 || n > most {
		return fault.Invalidf(field, "has %d elements, must have 1 to %d", n, most)
	}
	return nil
}
