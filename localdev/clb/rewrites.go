package clb

import (
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// defaultRewriteCode is that of a redirect created without one, which the documentation
// doesn't name.
const defaultRewriteCode = 301

func checkRewriteCode(code *int64) error {
	if code != nil && *code != 301 && *code != 302 && *code != 307 {
		return failure("InvalidParameterValue", "The value of `RewriteCode` should be one of 301, 302 and 307, it is %d.", *code)
	}
	return nil
}

// autoRewrite takes codes and TakeUrls in the order of the domains. Without domains one
// of each is for all.
func (s *Server) autoRewrite(op backend.Op, q *api.AutoRewriteRequestParams) (*empty, error) {
	if err := required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId)); err != nil {
		return nil, err
	}
	domains := deref(q.Domains)
	if len(domains) == 0 {
		domains = []string{""}
	}
	err := firstError(sameLength("RewriteCodes", q.RewriteCodes, domains), sameLength("TakeUrls", q.TakeUrls, domains))
	if err != nil {
		return nil, err
	}
	var wants []backend.AutoRewrite
	for i, domain := range domains {
		want := backend.AutoRewrite{Domain: domain, Code: defaultRewriteCode, TakeURL: true}
		if len(q.RewriteCodes) > 0 {
			if err := checkRewriteCode(q.RewriteCodes[i]); err != nil {
				return nil, err
			}
			want.Code = int(value(q.RewriteCodes[i]))
		}
		if len(q.TakeUrls) > 0 {
			want.TakeURL = value(q.TakeUrls[i])
		}
		wants = append(wants, want)
	}
	prepare := func(l backend.Listener, r backend.NewRule) backend.NewRule {
		r.Settings = defaultRuleSettings(l.Protocol, r.Domain, "")
		return r
	}
	return &empty{}, s.backend.AutoRewrite(op, *q.LoadBalancerId, *q.ListenerId, wants, prepare)
}

// sameLength checks a list that goes along with the domains, or is left out.
func sameLength[T any](name string, items []*T, domains []string) error {
	if len(items) != 0 && len(items) != len(domains) {
		return failure("InvalidParameterValue.Length", "Length of `.%s` should be that of `.Domains`, %d, it is %d.", name, len(domains), len(items))
	}
	for _, item := range items {
		if item == nil {
			return failure("InvalidParameterValue", "`.%s` should not contain null.", name)
		}
	}
	return nil
}

func (s *Server) manualRewrite(op backend.Op, q *api.ManualRewriteRequestParams) (*empty, error) {
	wants, err := rewrites(q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId, q.RewriteInfos)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.ManualRewrite(op, *q.LoadBalancerId, *q.SourceListenerId, *q.TargetListenerId, wants)
}

func (s *Server) deleteRewrite(op backend.Op, q *api.DeleteRewriteRequestParams) (*empty, error) {
	old, err := rewrites(q.LoadBalancerId, q.SourceListenerId, q.TargetListenerId, q.RewriteInfos)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.DeleteRewrites(op, *q.LoadBalancerId, *q.SourceListenerId, *q.TargetListenerId, old)
}

// rewrites checks what both actions take: "required if RewriteCode is given" are TakeUrl
// and SourceDomain (CLB API, RewriteLocationMap).
func rewrites(lb, source, target *string, infos []*api.RewriteLocationMap) ([]backend.Rewrite, error) {
	err := required(id("LoadBalancerId", lb), id("SourceListenerId", source), id("TargetListenerId", target), list("RewriteInfos", infos))
	if err != nil {
		return nil, err
	}
	var all []backend.Rewrite
	for _, in := range infos {
		if in == nil {
			in = &api.RewriteLocationMap{}
		}
		coded := in.RewriteCode != nil
		err := firstError(
			required(id("RewriteInfos.SourceLocationId", in.SourceLocationId), id("RewriteInfos.TargetLocationId", in.TargetLocationId),
				need{"RewriteInfos.TakeUrl", !coded || in.TakeUrl != nil}, need{"RewriteInfos.SourceDomain", !coded || value(in.SourceDomain) != ""}),
			checkRewriteCode(in.RewriteCode),
		)
		if err != nil {
			return nil, err
		}
		want := backend.Rewrite{Source: *in.SourceLocationId, Target: *in.TargetLocationId, Code: defaultRewriteCode, TakeURL: true, Domain: value(in.SourceDomain)}
		if coded {
			want.Code = int(*in.RewriteCode)
		}
		override(&want.TakeURL, in.TakeUrl)
		all = append(all, want)
	}
	return all, nil
}

// describeRewrite lists the rules that redirect.
func (s *Server) describeRewrite(q *api.DescribeRewriteRequestParams) (*api.DescribeRewriteResponseParams, error) {
	if err := required(id("LoadBalancerId", q.LoadBalancerId)); err != nil {
		return nil, err
	}
	locations := map[string]bool{}
	for _, location := range deref(q.SourceLocationIds) {
		locations[location] = true
	}
	found, err := s.backend.Listeners(*q.LoadBalancerId, false, listenerFilter(q.SourceListenerIds, nil, nil))
	if err != nil {
		return nil, err
	}
	answer := &api.DescribeRewriteResponseParams{RewriteSet: []*api.RuleOutput{}}
	for _, l := range found {
		for _, p := range l.Places {
			if p.Rule != nil && p.Rule.Redirect != nil && (len(locations) == 0 || locations[p.Location]) {
				answer.RewriteSet = append(answer.RewriteSet, s.rule(l, p))
			}
		}
	}
	return answer, nil
}
