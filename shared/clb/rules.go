package clb

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// MaxRules is how many rules one CreateRule makes and one DeleteRule deletes. The API
// documents no limit of either list; 50 rules is all that a listener has by default
// (CLB, "Use Limits").
const MaxRules = 50

// Lengths of a rule's parts (CLB API, RuleInput).
const (
	maxURL    = 200
	maxDomain = 80
)

// CodeNoAddress is TKE's for a rule without a host on a CLB that has no IPv4 address,
// codeLength the API's for a text that is too long or too short.
const (
	CodeNoAddress = "E4034"
	codeLength    = "InvalidParameterValue.Length"
)

// ruleOf reads a rule. One with several domains, which nobody here makes, counts as one
// of the first.
func ruleOf(r *sdk.RuleOutput, p model.Protocol) model.Rule {
	domain := value(r.Domain)
	if domain == "" && len(r.Domains) > 0 {
		domain = value(r.Domains[0])
	}
	forward := value(r.ForwardType)
	out := model.Rule{
		ID:     value(r.LocationId),
		Domain: domainOf(domain),
		Path:   value(r.Url),
		Attributes: model.Attributes{
			HealthCheck:   healthCheckOf(r.HealthCheck, p, forward),
			SessionExpire: int(value(r.SessionExpireTime)),
			Scheduler:     value(r.Scheduler),
			ForwardType:   forward,
		},
		DomainAttributes: model.DomainAttributes{HTTP2: value(r.Http2), DefaultServer: value(r.DefaultServer)},
	}
	if c := r.Certificate; c != nil {
		out.Certificate.ID = value(c.CertId)
		if value(c.SSLMode) != oneWay {
			out.Certificate.CA = value(c.CertCaId)
		}
	}
	if to := r.RewriteTarget; to != nil && value(to.TargetLocationId) != "" {
		out.Redirect = &model.Redirect{
			To:   model.Place{Listener: value(to.TargetListenerId), Location: value(to.TargetLocationId)},
			Code: int(value(to.RewriteCode)),
		}
	}
	return out
}

// domainOf is a rule's domain as package model has it: an address is the CLB's own,
// which rules without a host have for theirs.
func domainOf(domain string) string {
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return ""
	}
	return domain
}

// domainFor is the way back.
func domainFor(lb *model.LoadBalancer, domain string) (string, error) {
	switch {
	case domain == "" && (len(lb.VIPs) == 0 || lb.VIPs[0] == ""):
		err := fault.Invalidf("Domain", "is missing, and load balancer %s has no IPv4 address of its own to stand for it: the rule needs a host", lb.ID)
		err.Code = CodeNoAddress
		return "", err
	case domain == "":
		return lb.VIPs[0], nil
	}
	return domain, checkLength("Domain", domain, maxDomain)
}

func checkLength(field, text string, most int) error {
	if n := len(text); n < 1 || n > most {
		err := fault.Invalidf(field, "%q has %d characters, must have 1 to %d", text, n, most)
		err.Code = codeLength
		return err
	}
	return nil
}

// CreateRules makes up to MaxRules rules of a layer-7 listener, all or none, and returns
// their locations in order (CLB API, CreateRule).
func (s *Session) CreateRules(ctx context.Context, lb *model.LoadBalancer, listener string, rules []model.WantedRule) (locations []string, err error) {
	req := sdk.NewCreateRuleRequest()
	req.LoadBalancerId, req.ListenerId = &lb.ID, &listener
	check := func() error {
		if err := limit("Rules", len(rules), MaxRules); err != nil {
			return err
		}
		standard := ""
		for _, r := range rules {
			in, err := ruleInput(lb, r)
			if err != nil {
				return err
			}
			// Only one domain of a listener can be the default.
			if r.DefaultServer && (standard == "" || standard == *in.Domain) {
				standard, in.DefaultServer = *in.Domain, ptr(true)
			}
			req.Rules = append(req.Rules, in)
		}
		return nil
	}
	res, err := call(ctx, s, operation{Action: "CreateRule", Op: "creating rules of listener " + listener, Write: true, Task: true}, check, req, s.api.CreateRuleWithContext)
	if err != nil {
		return nil, err
	}
	return values(res.Response.LocationIds), nil
}

// ruleInput is a rule as CreateRule takes it.
func ruleInput(lb *model.LoadBalancer, r model.WantedRule) (*sdk.RuleInput, error) {
	domain, err := domainFor(lb, r.Domain)
	if err != nil {
		return nil, err
	}
	if err := checkLength("Url", r.Path, maxURL); err != nil {
		return nil, err
	}
	set := r.Settings
	// A check asks for the rule's domain, but a pattern is none to ask for: then the
	// fixed part of it is.
	if fixed := strings.TrimPrefix(domain, "*."); fixed != domain && set.CheckDomain == nil {
		set.CheckDomain = &fixed
	}
	in := &sdk.RuleInput{
		Domain: &domain, Url: ptr(r.Path), SessionExpireTime: int64s(set.SessionExpire), HealthCheck: healthCheck(set, model.HTTP),
		Scheduler: set.Scheduler, ForwardType: set.ForwardType, Http2: r.HTTP2,
	}
	if r.Certificate != nil {
		in.Certificate = certificate(*r.Certificate)
	}
	return in, nil
}

// The ways to authenticate of CertificateInput.SSLMode.
const (
	oneWay = "UNIDIRECTIONAL"
	mutual = "MUTUAL"
)

// certificate names a certificate, nil for none.
func certificate(c model.Certificate) *sdk.CertificateInput {
	switch {
	case c.ID == "":
		return nil
	case c.CA == "":
		return &sdk.CertificateInput{SSLMode: ptr(oneWay), CertId: &c.ID}
	}
	return &sdk.CertificateInput{SSLMode: ptr(mutual), CertId: &c.ID, CertCaId: &c.CA}
}

// ModifyRule changes the settings of a rule from have to want (CLB API, ModifyRule).
// Without a difference nothing is sent.
func (s *Session) ModifyRule(ctx context.Context, lb string, at model.Place, have, want model.Attributes) error {
	if have == want {
		return nil
	}
	req := sdk.NewModifyRuleRequest()
	req.LoadBalancerId, req.ListenerId, req.LocationId = &lb, &at.Listener, &at.Location
	req.HealthCheck = healthCheckChange(have.HealthCheck, want.HealthCheck, model.HTTP)
	req.SessionExpireTime = changed(have.SessionExpire, want.SessionExpire)
	req.Scheduler = changedText(have.Scheduler, want.Scheduler)
	req.ForwardType = changedText(have.ForwardType, want.ForwardType)
	_, err := call(ctx, s, operation{Action: "ModifyRule", Op: "changing rule " + at.String(), Write: true, Task: true}, nil, req, s.api.ModifyRuleWithContext)
	return err
}

// ModifyDomain changes what the rules of a domain have in common from have to want (CLB
// API, ModifyDomainAttributes). A domain can become the default, which ends another's
// being it; it can't just stop being it. Nor can a certificate be taken away, only
// replaced. Without a difference nothing is sent.
func (s *Session) ModifyDomain(ctx context.Context, lb *model.LoadBalancer, listener, domain string, have, want model.DomainAttributes) error {
	if have == want {
		return nil
	}
	name, err := domainFor(lb, domain)
	req := sdk.NewModifyDomainAttributesRequest()
	req.LoadBalancerId, req.ListenerId, req.Domain = &lb.ID, &listener, &name
	check := func() error {
		if err != nil {
			return err
		}
		if want.Certificate != have.Certificate {
			if req.Certificate = certificate(want.Certificate); req.Certificate == nil {
				return fault.Invalidf("Certificate", "of domain %s can't be taken away, only replaced", name)
			}
		}
		if want.HTTP2 != have.HTTP2 {
			req.Http2 = &want.HTTP2
		}
		if want.DefaultServer != have.DefaultServer {
			if !want.DefaultServer {
				return fault.Invalidf("DefaultServer", "of domain %s can't be ended: another domain must become the default", name)
			}
			req.DefaultServer = ptr(true)
		}
		return nil
	}
	_, err = call(ctx, s, operation{Action: "ModifyDomainAttributes", Op: "changing domain " + name + " of listener " + listener, Write: true, Task: true}, check, req, s.api.ModifyDomainAttributesWithContext)
	return err
}

// DeleteRules deletes rules of a layer-7 listener and everything bound to them (CLB API,
// DeleteRule). newDefault is the domain that becomes the default where the one that is
// goes with them, nil where it stays. Rules that are gone already are no error; what
// else was named with them goes nevertheless.
func (s *Session) DeleteRules(ctx context.Context, lb *model.LoadBalancer, listener string, locations []string, newDefault *string) error {
	for chunk := range slices.Chunk(locations, MaxRules) {
		if err := s.deleteRules(ctx, lb, listener, chunk, newDefault); err != nil {
			return err
		}
	}
	return nil
}

// deleteRules deletes rules with one call, which is refused as a whole if one of them
// isn't there: then the halves are.
func (s *Session) deleteRules(ctx context.Context, lb *model.LoadBalancer, listener string, locations []string, newDefault *string) error {
	req := sdk.NewDeleteRuleRequest()
	req.LoadBalancerId, req.ListenerId, req.LocationIds = &lb.ID, &listener, pointers(locations)
	check := func() error {
		if newDefault == nil {
			return nil
		}
		name, err := domainFor(lb, *newDefault)
		req.NewDefaultServerDomain = &name
		return err
	}
	_, err := call(ctx, s, operation{Action: "DeleteRule", Op: "deleting rules of listener " + listener, Write: true, Task: true}, check, req, s.api.DeleteRuleWithContext)
	switch {
	case !fault.Is(err, fault.NotFound):
		return err
	case len(locations) == 1 || Code(err) == CodeLBGone || Code(err) == CodeListenerGone:
		return nil
	}
	half := (len(locations) + 1) / 2
	if err := s.deleteRules(ctx, lb, listener, locations[:half], newDefault); err != nil {
		return err
	}
	return s.deleteRules(ctx, lb, listener, locations[half:], newDefault)
}
