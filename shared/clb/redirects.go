package clb

import (
	"context"
	"slices"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Redirect has rules answer with other rules of the same CLB, one call for each pair of
// listeners (CLB API, ManualRewrite). The first pair that is refused ends it.
//
// A redirect with a code must name the source's domain, and say whether the requested
// path goes along (RewriteLocationMap): it does where both rules have the same path, so
// that what follows it isn't lost; else the target's replaces it. Both are read first.
func (s *Session) Redirect(ctx context.Context, lb string, rs []model.Redirection) error {
	if len(rs) == 0 {
		return nil
	}
	rules := map[model.Place]*sdk.RuleOutput{}
	if slices.ContainsFunc(rs, func(r model.Redirection) bool { return r.Code != 0 }) {
		found, err := s.describeListeners(ctx, lb)
		if err != nil {
			return err
		}
		for _, l := range found {
			if l == nil {
				continue
			}
			for _, r := range l.Rules {
				if r != nil {
					rules[model.Place{Listener: value(l.ListenerId), Location: value(r.LocationId)}] = r
				}
			}
		}
	}
	for _, group := range byListeners(rs) {
		req := sdk.NewManualRewriteRequest()
		req.LoadBalancerId, req.SourceListenerId, req.TargetListenerId = &lb, &group[0].From.Listener, &group[0].To.Listener
		check := func() error {
			for _, r := range group {
				info, err := rewrite(r, rules)
				if err != nil {
					return err
				}
				req.RewriteInfos = append(req.RewriteInfos, info)
			}
			return nil
		}
		_, err := call(ctx, s, operation{Action: "ManualRewrite", Op: "redirecting rules of listener " + group[0].From.Listener, Write: true, Task: true}, check, req, s.api.ManualRewriteWithContext)
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite is one redirect as ManualRewrite takes it. Without a code it is for the API to
// choose one.
func rewrite(r model.Redirection, rules map[model.Place]*sdk.RuleOutput) (*sdk.RewriteLocationMap, error) {
	out := &sdk.RewriteLocationMap{SourceLocationId: ptr(r.From.Location), TargetLocationId: ptr(r.To.Location)}
	switch r.Code {
	case 0:
		return out, nil
	case 301, 302, 307:
	default:
		return nil, fault.Invalidf("RewriteCode", "is %d, must be 301, 302 or 307", r.Code)
	}
	from, to := rules[r.From], rules[r.To]
	for place, rule := range map[model.Place]*sdk.RuleOutput{r.From: from, r.To: to} {
		if rule == nil {
			return nil, &fault.Error{Kind: fault.NotFound, Field: "RewriteInfos", Code: CodeLocationGone, Err: errNoRule(place)}
		}
	}
	out.RewriteCode, out.SourceDomain = ptr(int64(r.Code)), from.Domain
	out.TakeUrl = ptr(value(from.Url) == value(to.Url))
	return out, nil
}

// errNoRule is a rule that isn't there.
type errNoRule model.Place

func (e errNoRule) Error() string { return "there is no rule " + model.Place(e).String() }

// Straighten ends redirects, one call for each pair of listeners (CLB API,
// DeleteRewrite). Those that have ended already, with or without their rules, are no
// error; what else was named with them ends nevertheless.
func (s *Session) Straighten(ctx context.Context, lb string, rs []model.Redirection) error {
	for _, group := range byListeners(rs) {
		if err := s.straighten(ctx, lb, group); err != nil {
			return err
		}
	}
	return nil
}

// straighten ends redirects with one call, which is refused as a whole if one of them
// isn't there: then the halves are.
func (s *Session) straighten(ctx context.Context, lb string, rs []model.Redirection) error {
	req := sdk.NewDeleteRewriteRequest()
	req.LoadBalancerId, req.SourceListenerId, req.TargetListenerId = &lb, &rs[0].From.Listener, &rs[0].To.Listener
	for _, r := range rs {
		req.RewriteInfos = append(req.RewriteInfos, &sdk.RewriteLocationMap{SourceLocationId: ptr(r.From.Location), TargetLocationId: ptr(r.To.Location)})
	}
	_, err := call(ctx, s, operation{Action: "DeleteRewrite", Op: "ending redirects of listener " + rs[0].From.Listener, Write: true, Task: true}, nil, req, s.api.DeleteRewriteWithContext)
	switch {
	case !fault.Is(err, fault.NotFound):
		return err
	case len(rs) == 1 || Code(err) == CodeLBGone || Code(err) == CodeListenerGone:
		return nil
	}
	half := (len(rs) + 1) / 2
	if err := s.straighten(ctx, lb, rs[:half]); err != nil {
		return err
	}
	return s.straighten(ctx, lb, rs[half:])
}

// byListeners groups redirects by their two listeners, in order.
func byListeners(rs []model.Redirection) [][]model.Redirection {
	type pair struct{ from, to string }
	at := map[pair]int{}
	var out [][]model.Redirection
	for _, r := range rs {
		p := pair{r.From.Listener, r.To.Listener}
		i, seen := at[p]
		if !seen {
			i = len(out)
			at[p] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], r)
	}
	return out
}
