package clb

import (
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// createRule creates rules, all or none. Rules of several domains (Domains), target
// groups, QUIC and TRPC are not emulated.
func (s *Server) createRule(op backend.Op, q *api.CreateRuleRequestParams) (*api.CreateRuleResponseParams, error) {
	err := required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), list("Rules", q.Rules))
	if err != nil {
		return nil, err
	}
	wants := make([]backend.NewRule, len(q.Rules))
	changes := make([]ruleChange, len(q.Rules))
	for i, in := range q.Rules {
		if wants[i], changes[i], err = s.newRule(in); err != nil {
			return nil, err
		}
	}
	prepare := func(i int, l backend.Listener, r backend.NewRule) (backend.NewRule, error) {
		if err := checkDomainSettings(l, r.Certificate, r.HTTP2); err != nil {
			return r, err
		}
		var err error
		r.Settings, err = changes[i].apply(l.Protocol, defaultRuleSettings(l.Protocol, r.Domain, value(changes[i].forward)))
		return r, err
	}
	ids, err := s.backend.CreateRules(op, *q.LoadBalancerId, *q.ListenerId, wants, prepare)
	if err != nil {
		return nil, err
	}
	return &api.CreateRuleResponseParams{LocationIds: common.StringPtrs(ids)}, nil
}

// newRule checks what can be checked without the listener.
func (s *Server) newRule(in *api.RuleInput) (backend.NewRule, ruleChange, error) {
	var none backend.NewRule
	if in == nil || in.Url == nil {
		return none, ruleChange{}, required(need{"Rules.Url", false})
	}
	if in.Domain != nil && len(in.Domains) > 0 {
		return none, ruleChange{}, failure("InvalidParameter", "Domain and Domains can't be given together.")
	}
	domain := value(in.Domain)
	if len(in.Domains) == 1 {
		domain = value(in.Domains[0])
	}
	err := firstError(
		unsupported(need{"Rules.Domains: several", len(in.Domains) > 1}, need{"TargetType", in.TargetType != nil && *in.TargetType != "NODE"},
			need{"Quic", value(in.Quic)}, id("TrpcCallee", in.TrpcCallee), id("TrpcFunc", in.TrpcFunc)),
		checkURL("Rules.Url", *in.Url),
	)
	if err == nil && domain != "" {
		err = checkDomain("Rules.Domain", domain, 80)
	}
	if err != nil {
		return none, ruleChange{}, err
	}
	certificate, err := s.certificate(in.Certificate, in.MultiCertInfo)
	return backend.NewRule{Domain: domain, URL: *in.Url, Certificate: certificate, HTTP2: in.Http2, Default: in.DefaultServer}, ruleChange{
		session: in.SessionExpireTime, health: in.HealthCheck, scheduler: in.Scheduler, forward: in.ForwardType, cookie: in.CookieName,
	}, err
}

// checkDomainSettings checks what a domain can have on a listener.
func checkDomainSettings(l backend.Listener, certificate *backend.Certificate, http2 *bool) error {
	if value(http2) && l.Protocol != "HTTPS" {
		return failure("InvalidParameter", "Http2 is for the domains of HTTPS listeners only.")
	}
	if certificate != nil && !l.Settings.SNI {
		return failure("InvalidParameter", "a domain has a certificate of its own only with the listener's SniSwitch on.")
	}
	return nil
}

func (s *Server) modifyRule(op backend.Op, q *api.ModifyRuleRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), id("LocationId", q.LocationId)),
		unsupported(id("TrpcCallee", q.TrpcCallee), id("TrpcFunc", q.TrpcFunc), need{"OAuth", q.OAuth != nil}),
	)
	if err == nil && q.Url != nil {
		err = checkURL("Url", *q.Url)
	}
	if err != nil {
		return nil, err
	}
	c := ruleChange{session: q.SessionExpireTime, health: q.HealthCheck, scheduler: q.Scheduler, forward: q.ForwardType, cookie: q.CookieName}
	change := func(l backend.Listener, r backend.Rule) (backend.Rule, error) {
		override(&r.URL, q.Url)
		var err error
		r.Settings, err = c.apply(l.Protocol, r.Settings)
		return r, err
	}
	return &empty{}, s.backend.ModifyRule(op, *q.LoadBalancerId, *q.ListenerId, *q.LocationId, change)
}

// deleteRule goes by ids, or else by domain with or without a path.
func (s *Server) deleteRule(op backend.Op, q *api.DeleteRuleRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId)),
		required(need{"LocationIds", len(q.LocationIds) > 0 || value(q.Domain) != ""}),
	)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.backend.DeleteRules(op, *q.LoadBalancerId, *q.ListenerId, backend.OldRules{
		Locations: deref(q.LocationIds), Domain: value(q.Domain), URL: value(q.Url), NewDefault: value(q.NewDefaultServerDomain),
	})
}

func (s *Server) rule(l backend.Listener, p backend.Place) *api.RuleOutput {
	r := p.Rule
	set := r.Settings
	out := &api.RuleOutput{
		LocationId: &p.Location, Domain: &r.Domain, Domains: []*string{&r.Domain}, Url: &r.URL, ListenerId: &l.ID,
		SessionExpireTime: &set.SessionExpireTime, HealthCheck: describeHealthCheck(set.HealthCheck), Scheduler: &set.Scheduler,
		ForwardType: &set.ForwardType, CookieName: &set.CookieName, TargetType: common.StringPtr("NODE"),
		Certificate: describeCertificate(r.Certificate), DefaultServer: &r.Default, Http2: &r.HTTP2,
		BeAutoCreated: &r.Auto, HttpGzip: common.BoolPtr(false), QuicStatus: common.StringPtr("QUIC_INACTIVE"),
		CreateTime: s.time(r.Created), RewriteTarget: &api.RewriteTarget{},
	}
	if to := r.Redirect; to != nil {
		kind := "Manual"
		if to.Auto {
			kind = "Auto"
		}
		out.RewriteTarget = &api.RewriteTarget{
			TargetListenerId: &to.Listener, TargetLocationId: &to.Location,
			RewriteCode: common.Int64Ptr(int64(to.Code)), TakeUrl: &to.TakeURL, RewriteType: &kind,
		}
	}
	return out
}
