package dataplane

import (
	"iter"
	"net/http"
	"path"
	"slices"
	"strings"
)

// table finds the rule of a request. It is made anew by every Set and never changed.
//
// Domains (CLB, "Layer-7 Domain Name Forwarding and URL Rules", general matching
// policies), the first that matches:
//
//	www.example.com    exactly that
//	*.example.com      whatever ends so; of several the longest, which the
//	                   documentation leaves open
//	www.example.*      whatever begins so; likewise
//	the default one    whatever is left
//
// Paths within that domain (same page, URL path matching), the first that matches; no
// other domain is tried:
//
//	= /a               exactly that; then "/a" where it is the whole path
//	/a/                a request for "/a" is sent to "/a/", 301
//	/a                 whatever begins so, "/ab" too; of several the longest
type table struct {
	exact    map[string]*site
	prefixed []*site // "*.example.com"
	suffixed []*site // "www.example.*"
	fallback *site
}

// site is a domain in the table.
type site struct {
	domain Domain
	// affix is the fixed part of a wildcard, with its dot.
	affix    string
	exact    map[string]*rule
	prefixes []location // the longest first
}

// location is a path that matches as a prefix.
type location struct {
	path string
	rule *rule
}

// newTable orders the domains of h; rules has the rules at work by ID.
func newTable(h *HTTP, rules map[string]*rule) *table {
	t := &table{exact: make(map[string]*site, len(h.Domains))}
	for _, d := range h.Domains {
		s := newSite(d, rules)
		name := hostOf(d.Name)
		switch {
		case strings.HasPrefix(name, "*."):
			s.affix = name[1:]
			t.prefixed = append(t.prefixed, s)
		case strings.HasSuffix(name, ".*"):
			s.affix = name[:len(name)-1]
			t.suffixed = append(t.suffixed, s)
		default:
			t.exact[name] = s
		}
		if h.DefaultDomain != "" && d.Name == h.DefaultDomain {
			t.fallback = s
		}
	}
	longest := func(a, b *site) int { return len(b.affix) - len(a.affix) }
	slices.SortStableFunc(t.prefixed, longest)
	slices.SortStableFunc(t.suffixed, longest)
	return t
}

func newSite(d Domain, rules map[string]*rule) *site {
	s := &site{domain: d, exact: map[string]*rule{}}
	for _, r := range d.Rules {
		switch kind, p := splitURL(r.Path); kind {
		case "=":
			s.exact[p] = rules[r.ID]
		case "", "^~":
			s.prefixes = append(s.prefixes, location{path: p, rule: rules[r.ID]})
		}
	}
	slices.SortStableFunc(s.prefixes, func(a, b location) int { return len(b.path) - len(a.path) })
	return s
}

// splitURL parts a rule's Url into its modifier ("=", "^~", "~", "~*" or none) and the
// path.
func splitURL(url string) (kind, path string) {
	at := strings.IndexByte(url, '/')
	if at < 0 {
		// Only a regular expression need not have one.
		return "~", url
	}
	return strings.TrimSpace(url[:at]), url[at:]
}

// hostOf is the host of a Host header or domain in the form it is compared in: without
// the port, the root's dot and an IPv6 address's brackets, in lower case.
func hostOf(host string) string {
	at := strings.LastIndexByte(host, ':')
	if at >= 0 && strings.IndexByte(host, ':') == at || at > strings.LastIndexByte(host, ']') && strings.HasPrefix(host, "[") {
		host = host[:at]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// site finds the domain of host, nil if none serves it.
func (t *table) site(host string) *site {
	host = hostOf(host)
	if s := t.exact[host]; s != nil {
		return s
	}
	for _, s := range t.prefixed {
		if len(host) > len(s.affix) && strings.HasSuffix(host, s.affix) {
			return s
		}
	}
	for _, s := range t.suffixed {
		if len(host) > len(s.affix) && strings.HasPrefix(host, s.affix) {
			return s
		}
	}
	return t.fallback
}

// rule finds the rule of a clean path, nil if there is none. With slash the client is to
// come again with a slash at the path's end.
func (s *site) rule(path string) (r *rule, slash bool) {
	if r := s.exact[path]; r != nil {
		return r, false
	}
	for _, l := range s.prefixes {
		switch {
		case strings.HasPrefix(path, l.path):
			return l.rule, false
		case len(l.path) == len(path)+1 && l.path[:len(path)] == path && strings.HasSuffix(l.path, "/") && l.rule.forwards():
			// It is one longer than the path, so its turn comes before that of any
			// prefix but not before that of the path itself in s.exact.
			if same := s.whole(path); same != nil {
				return same, false
			}
			return nil, true
		}
	}
	return nil, false
}

// all is every domain of the table.
func (t *table) all() iter.Seq[*site] {
	return func(yield func(*site) bool) {
		for _, s := range t.exact {
			if !yield(s) {
				return
			}
		}
		for _, s := range slices.Concat(t.prefixed, t.suffixed) {
			if !yield(s) {
				return
			}
		}
	}
}

// whole finds the prefix rule that is all of path.
func (s *site) whole(path string) *rule {
	for _, l := range s.prefixes {
		if l.path == path {
			return l.rule
		}
	}
	return nil
}

// pathOf is the request's path as rules are matched against it: decoded, with "." and
// ".." and double slashes resolved, as nginx does. Targets get the path as it came.
func pathOf(r *http.Request) string {
	p := r.URL.Path
	if p == "" || p[0] != '/' {
		// "*" of OPTIONS, or nothing after an absolute URL's host.
		p = "/" + p
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	clean := path.Clean(p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}
