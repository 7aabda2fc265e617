package desired

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// mixEntry is an entry of http-rules or https-rules: it names a rule of the spec, or is a
// redirect of its own (457/45693).
type mixEntry struct {
	Host    string `json:"host"`
	Path    string `json:"path"`
	Backend struct {
		ServiceName string   `json:"serviceName"`
		ServicePort mixValue `json:"servicePort"`
	} `json:"backend"`
	Rewrite *mixRewrite `json:"rewrite"`

	// field is where it stands; used: a rule of the spec is it.
	field string
	used  bool
}

// mixRewrite is where a redirect goes.
type mixRewrite struct {
	Port int    `json:"port"`
	Host string `json:"host"`
	Path string `json:"path"`
}

// mixValue is a port's name or number, which people write with quotes and without.
type mixValue string

// UnmarshalJSON reads a string or a number.
func (v *mixValue) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*v = mixValue(s)
		return nil
	}
	var n int
	if err := json.Unmarshal(raw, &n); err != nil {
		return fmt.Errorf("reading a port's name or number: %w", err)
	}
	*v = mixValue(strconv.Itoa(n))
	return nil
}

// names tells whether v means b's port.
func (v mixValue) names(b model.IngressBackend) bool {
	if b.PortName != "" {
		return string(v) == b.PortName
	}
	return string(v) == strconv.Itoa(b.PortNumber)
}

// mixRules are those of one annotation.
type mixRules struct {
	annotation, code string
	entries          []mixEntry
}

// TKE's codes of entries that can't be had.
const (
	codeHTTPRules  = "E4022"
	codeHTTPSRules = "E4023"
)

// decodeMix reads http-rules or https-rules. Absent, empty and "null" are none. An entry
// that can't be read is complained about and keeps no other out.
func decodeMix(raw, annotation, code string) (m mixRules, problems []Problem) {
	m = mixRules{annotation: annotation, code: code}
	if strings.TrimSpace(raw) == "" {
		return m, nil
	}
	var entries []json.RawMessage
	if err := json.Unmarshal([]byte(raw), &entries); err != nil {
		return m, []Problem{{Code: code, Field: annotation, Message: "must be a JSON list of rules: " + err.Error()}}
	}
	for i, entry := range entries {
		e := mixEntry{field: fmt.Sprintf("%s[%d]", annotation, i)}
		if err := json.Unmarshal(entry, &e); err != nil {
			problems = append(problems, Problem{Code: code, Field: e.field, Message: "is no rule: " + err.Error()})
			continue
		}
		e.Host, e.Path = strings.ToLower(e.Host), cmp.Or(e.Path, "/")
		if e.Rewrite != nil {
			e.Rewrite.Host, e.Rewrite.Path = strings.ToLower(e.Rewrite.Host), cmp.Or(e.Rewrite.Path, "/")
			e.Rewrite.Port = cmp.Or(e.Rewrite.Port, securePort.number)
		}
		m.entries = append(m.entries, e)
	}
	return m, problems
}

// redirects tells whether there is a redirect among the entries.
func (m mixRules) redirects() bool {
	for _, e := range m.entries {
		if e.Rewrite != nil {
			return true
		}
	}
	return false
}

// names tells whether an entry names the rule, by host, path, Service and port.
func (m mixRules) names(host, path string, b model.IngressBackend) bool {
	named := false
	for i := range m.entries {
		e := &m.entries[i]
		if e.Rewrite == nil && e.Host == host && e.Path == path && e.Backend.ServiceName == b.Service && e.Backend.ServicePort.names(b) {
			e.used, named = true, true
		}
	}
	return named
}

// unused complains of entries that name no rule.
func (m mixRules) unused() (problems []Problem) {
	for _, e := range m.entries {
		if e.Rewrite == nil && !e.used {
			problems = append(problems, Problem{Code: m.code, Field: e.field, Message: fmt.Sprintf(
				"names no rule of the Ingress: there is none of host %q and path %q to port %q of Service %q", e.Host, e.Path, e.Backend.ServicePort, e.Backend.ServiceName)})
		}
	}
	return problems
}

// spread decides to which listeners a rule goes.
func (r *router) spread(host, path string, b model.IngressBackend) (ports []port) {
	if !r.mode.mix {
		for _, p := range r.listed {
			// With auto-rewrite, a rule that goes everywhere is served at HTTPS, and HTTP
			// redirects there: that is what auto-rewrite is for. A rule that http-rules
			// puts at HTTP stays there, see redirect.
			if !r.mode.auto || p != *r.redirect {
				ports = append(ports, p)
			}
		}
		return ports
	}
	named := false
	for _, m := range []struct {
		mixRules
		protocol model.Protocol
	}{{r.plain, model.HTTP}, {r.secure, model.HTTPS}} {
		if !m.names(host, path, b) {
			continue
		}
		named = true
		at := r.at(m.protocol)
		if len(at) == 0 {
			r.problem(Problem{Code: m.code, Field: m.annotation, Message: fmt.Sprintf("has rules for %s, and %s lists no such port", m.protocol, ListenPorts)})
		}
		ports = append(ports, at...)
	}
	switch secure := r.at(model.HTTPS); {
	case named:
		return ports
	case len(secure) > 0:
		return secure
	}
	return r.at(model.HTTP)
}
