package desired

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// parseLayer7 checks an entry of l7Listeners. What is wrong with a rule leaves that rule
// out, what is wrong with a domain's or the listener's own attribute leaves that out.
func parseLayer7(field string, key ListenerKey, l L7Listener) (out Layer7, problems []Problem) {
	e := entry{field: field}
	out = Layer7{DefaultServer: configDomain(l.DefaultServer), Domains: map[string]Domain{}}
	if e.within("keepaliveEnable", l.KeepaliveEnable, 0, 1); len(e.problems) == 0 && l.KeepaliveEnable != nil {
		on := *l.KeepaliveEnable == 1
		out.KeepAlive = &on
	}
	if p := hostProblem(field+".defaultServer", out.DefaultServer); p != (Problem{}) {
		e.problems = append(e.problems, plain(p))
		out.DefaultServer = ""
	}
	problems = e.problems
	for i, d := range l.Domains {
		e := entry{field: fmt.Sprintf("%s.domains[%d]", field, i)}
		name := configDomain(d.Domain)
		if p := hostProblem(e.field+".domain", name); p != (Problem{}) {
			problems = append(problems, plain(p))
			continue
		}
		domain := Domain{Rules: map[string]model.Settings{}}
		if domain.HTTP2 = d.HTTP2; d.HTTP2 != nil && key.Protocol != model.HTTPS {
			if *d.HTTP2 {
				e.refuse("http2", "is true, only a domain at HTTPS can have HTTP/2")
			}
			domain.HTTP2 = nil
		}
		problems = append(problems, e.problems...)
		for j, rule := range d.Rules {
			e := entry{field: fmt.Sprintf("%s.domains[%d].rules[%d]", field, i, j)}
			settings := e.rule(key.Protocol, rule)
			problems = append(problems, e.problems...)
			if len(e.problems) == 0 {
				domain.Rules[configURL(rule.URL)] = settings
			}
		}
		out.Domains[name] = domain
	}
	return out, problems
}

// plain is a problem of a TkeServiceConfig: the codes are those of an Ingress.
func plain(p Problem) Problem {
	p.Code = ""
	return p
}

// configDomain is a domain as rules have it: "" where it is written as an address, the
// CLB's own.
func configDomain(domain string) string {
	if _, err := netip.ParseAddr(domain); err == nil {
		return ""
	}
	return strings.ToLower(domain)
}

// configURL is a path as rules have it.
func configURL(url string) string { return cmp.Or(url, "/") }

// rule checks what is wanted of a rule (CLB API, RuleInput and HealthCheck).
func (e *entry) rule(protocol model.Protocol, rule L7Rule) model.Settings {
	path, _ := strings.CutPrefix(configURL(rule.URL), exactly)
	if !strings.HasPrefix(path, "/") {
		e.refuse("url", "is %q, must begin with /, or with %q where it is an exact path", rule.URL, exactly+"/")
	}
	var common *HealthCheck
	if rule.HealthCheck != nil {
		common = &rule.HealthCheck.HealthCheck
	}
	s := e.settings(rule.Session, maxSessionLayer7, common, rule.Scheduler, "WRR", "LEAST_CONN", "IP_HASH")
	s.ForwardType = e.oneOf("forwardType", rule.ForwardType, "HTTP", "HTTPS", "GRPC")
	if rule.HealthCheck != nil {
		e.request(&s, protocol, *rule.HealthCheck)
	}
	return s
}

// maxCheckPath is the longest path of a health check (CLB, 214/9032).
const maxCheckPath = 120

// request checks the request of a rule's health check.
func (e *entry) request(s *model.Settings, protocol model.Protocol, h L7HealthCheck) {
	types := []string{"HTTP", "GRPC"}
	if protocol == model.HTTPS {
		types = []string{"HTTP", "HTTPS", "GRPC"}
	}
	checkType := e.oneOf("healthCheck.checkType", h.CheckType, types...)
	method := e.oneOf("healthCheck.httpCheckMethod", h.HTTPCheckMethod, "HEAD", "GET")
	e.within("healthCheck.httpCode", h.HTTPCode, 1, 31)
	e.within("healthCheck.sourceIpType", h.SourceIPType, 0, 1)
	if p := h.HTTPCheckPath; p != "" && (!strings.HasPrefix(p, "/") || len(p) > maxCheckPath) {
		e.refuse("healthCheck.httpCheckPath", "is %q, must begin with / and have at most %d characters", p, maxCheckPath)
	}
	if d := h.HTTPCheckDomain; len(d) > maxHost || strings.ContainsAny(d, "*~ /") {
		e.refuse("healthCheck.httpCheckDomain", "is %q, must be one host, of at most %d characters", d, maxHost)
	}
	if !h.Enable {
		return // see check
	}
	s.CheckType, s.CheckMethod, s.CheckCodes, s.CheckSource = checkType, method, h.HTTPCode, h.SourceIPType
	s.CheckPath, s.CheckDomain = said(h.HTTPCheckPath), said(h.HTTPCheckDomain)
}

// said is nil for what isn't declared.
func said(v string) *string {
	if v == "" {
		return nil
	}
	return &v
}
