package desired

import (
	"fmt"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Keys of a TLS secret (457/45738): ids of certificates of the SSL service, the
// authority's for mutual TLS.
const (
	secretCertificate = "qcloud_cert_id"
	secretAuthority   = "qcloud_ca_cert_id"
)

// TKE's codes of certificates (457/81004).
const (
	codeNoSecret          = "E4009"
	codeNoCertificateID   = "E4010"
	codeEmptyID           = "E4011"
	codeNoCertificate     = "E4040"
	codeSecondDefault     = "E4048"
	codeSecondCertificate = "E4049"
)

// secured is what spec.tls says of a host: the certificate, nil to leave it as it is, or
// the code of why there is none.
type secured struct {
	secret string
	cert   *model.Certificate
	code   string
}

// certificates are those of spec.tls.
type certificates struct {
	hosts map[string]secured
	// rest is for all other hosts, nil when there is none.
	rest *secured
}

// certificates reads spec.tls. Of two secrets for one host the first counts.
func (r *router) certificates() certificates {
	c := certificates{hosts: map[string]secured{}}
	for i, t := range r.ing.TLS {
		field := fmt.Sprintf("spec.tls[%d]", i)
		s, problem := r.secret(field+".secretName", t.Secret)
		if problem != nil {
			r.problem(*problem)
		}
		if len(t.Hosts) == 0 {
			switch {
			case c.rest == nil:
				c.rest = &s
			case c.rest.secret != s.secret:
				r.problem(Problem{Code: codeSecondDefault, Field: field, Message: fmt.Sprintf("has no hosts, like an earlier entry, whose secret %q is for all hosts that no other entry names", c.rest.secret)})
			}
		}
		for j, host := range t.Hosts {
			host = strings.ToLower(host)
			switch first, twice := c.hosts[host]; {
			case !twice:
				c.hosts[host] = s
			case first.secret != s.secret:
				r.problem(Problem{Code: codeSecondCertificate, Field: fmt.Sprintf("%s.hosts[%d]", field, j), Message: fmt.Sprintf("is %q, for which an earlier entry names secret %q", host, first.secret)})
			}
		}
	}
	return c
}

// secret reads a certificate's ids.
func (r *router) secret(field, name string) (s secured, problem *Problem) {
	s.secret = name
	if r.src.Secrets == nil {
		return s, nil
	}
	refuse := func(code, format string, args ...any) (secured, *Problem) {
		s.code = code
		return s, &Problem{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	data := r.src.Secrets[name]
	if data == nil {
		return refuse(codeNoSecret, "secret %s/%s is not there", r.ing.Namespace, name)
	}
	raw, there := data[secretCertificate]
	id := strings.TrimSpace(string(raw))
	switch {
	case !there:
		return refuse(codeNoCertificateID, "secret %s/%s has no key %s, the id of a certificate", r.ing.Namespace, name, secretCertificate)
	case id == "":
		return refuse(codeEmptyID, "secret %s/%s has an empty %s, must be the id of a certificate", r.ing.Namespace, name, secretCertificate)
	}
	s.cert = &model.Certificate{ID: id, CA: strings.TrimSpace(string(data[secretAuthority]))}
	return s, nil
}

// of finds the certificate of a host: its own, that of the wildcard over it, or the one
// for the rest.
func (c certificates) of(host string) (*model.Certificate, string) {
	s, ok := c.hosts[host]
	if _, parent, sub := strings.Cut(host, "."); !ok && sub {
		s, ok = c.hosts["*."+parent]
	}
	if !ok {
		if c.rest == nil {
			return nil, codeNoCertificate
		}
		s = *c.rest
	}
	return s.cert, s.code
}
