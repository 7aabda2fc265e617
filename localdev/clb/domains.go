package clb

import (
	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// modifyDomain renames a domain. The length is documented as 120 here, 80 elsewhere.
func (s *Server) modifyDomain(op backend.Op, q *api.ModifyDomainRequestParams) (*empty, error) {
	err := required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), id("Domain", q.Domain), id("NewDomain", q.NewDomain))
	if err == nil {
		err = checkDomain("NewDomain", *q.NewDomain, 120)
	}
	if err != nil {
		return nil, err
	}
	none := func(backend.Listener) error { return nil }
	return &empty{}, s.backend.ModifyDomain(op, *q.LoadBalancerId, *q.ListenerId, *q.Domain, backend.DomainChange{Name: *q.NewDomain}, none)
}

func (s *Server) modifyDomainAttributes(op backend.Op, q *api.ModifyDomainAttributesRequestParams) (*empty, error) {
	err := firstError(
		required(id("LoadBalancerId", q.LoadBalancerId), id("ListenerId", q.ListenerId), id("Domain", q.Domain)),
		unsupported(need{"NewDomains: several", len(q.NewDomains) > 1}, need{"Quic", value(q.Quic)}),
	)
	if err != nil {
		return nil, err
	}
	if q.NewDomain != nil && len(q.NewDomains) > 0 {
		return nil, failure("InvalidParameter", "NewDomain and NewDomains can't be given together.")
	}
	name := value(q.NewDomain)
	if len(q.NewDomains) == 1 {
		name = value(q.NewDomains[0])
	}
	if name != "" {
		if err := checkDomain("NewDomain", name, 80); err != nil {
			return nil, err
		}
	}
	certificate, err := s.certificate(q.Certificate, q.MultiCertInfo)
	if err != nil {
		return nil, err
	}
	change := backend.DomainChange{
		Name: name, Certificate: certificate, HTTP2: q.Http2, Default: q.DefaultServer, NewDefault: value(q.NewDefaultServerDomain),
	}
	check := func(l backend.Listener) error { return checkDomainSettings(l, certificate, q.Http2) }
	return &empty{}, s.backend.ModifyDomain(op, *q.LoadBalancerId, *q.ListenerId, *q.Domain, change, check)
}
