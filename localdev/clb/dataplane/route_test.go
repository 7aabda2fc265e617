package dataplane

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// routing is a table and the names of its rules.
type routing struct {
	table *table
	names map[*rule]string
}

// route makes the table of some domains, each a list of Urls under a name.
func route(defaultsTo string, domains map[string][]string) routing {
	out := routing{names: map[*rule]string{}}
	h, rules := &HTTP{DefaultDomain: defaultsTo}, map[string]*rule{}
	for name, urls := range domains {
		d := Domain{Name: name}
		for _, url := range urls {
			r := &rule{settings: &settings{}}
			rules[name+" "+url] = r
			out.names[r] = name + " " + url
			d.Rules = append(d.Rules, Rule{ID: name + " " + url, Path: url})
		}
		h.Domains = append(h.Domains, d)
	}
	out.table = newTable(h, rules)
	return out
}

// find names the rule that a request meets.
func (r routing) find(host, path string) string {
	s := r.table.site(host)
	if s == nil {
		return "no domain"
	}
	found, slash := s.rule(pathOf(&http.Request{URL: &url.URL{Path: path}}))
	switch {
	case slash:
		return "slash"
	case found == nil:
		return "no rule"
	default:
		return r.names[found]
	}
}

func TestMatchHost(t *testing.T) {
	domains := map[string][]string{}
	for _, name := range []string{
		"www.example.com", "*.example.com", "*.a.example.com", "www.example.*", "www.*", "127.200.0.1", "xn--fsq.test", "2001:db8::1",
	} {
		domains[name] = []string{"/"}
	}
	r := route("", domains)
	cases := map[string]struct {
		reason, host, want string
	}{
		"Exact":        {"an exact domain comes before both kinds of wildcard", "www.example.com", "www.example.com /"},
		"Prefix":       {"a wildcard at the front stands for any beginning", "api.example.com", "*.example.com /"},
		"PrefixDeep":   {"of several labels too", "x.y.example.com", "*.example.com /"},
		"PrefixLonger": {"the longer one wins", "x.a.example.com", "*.a.example.com /"},
		"PrefixBare":   {"but not for none", "example.com", "no domain"},
		"PrefixPart":   {"nor for part of a label", "badexample.com", "no domain"},
		"Suffix":       {"a wildcard at the end stands for any end", "www.example.org", "www.example.* /"},
		"SuffixDeep":   {"of several labels too", "www.example.co.uk", "www.example.* /"},
		"SuffixShort":  {"the shorter one takes the rest", "www.other.org", "www.* /"},
		"PrefixFirst":  {"wildcards at the front come before those at the end", "www.a.example.com", "*.a.example.com /"},
		"Case":         {"case doesn't matter", "WWW.Example.COM", "www.example.com /"},
		"Port":         {"nor does the port", "www.example.com:8080", "www.example.com /"},
		"Root":         {"nor the root's dot", "www.example.com.:80", "www.example.com /"},
		"VIP":          {"the address is a domain like any other", "127.200.0.1:80", "127.200.0.1 /"},
		"OtherAddress": {"another address isn't", "127.200.0.2", "no domain"},
		"IPv6":         {"in brackets", "[2001:DB8::1]:443", "2001:db8::1 /"},
		"Empty":        {"no host matches no domain", "", "no domain"},
		"Dot":          {"a dot alone isn't one", ".", "no domain"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := r.find(tc.host, "/"); got != tc.want {
				t.Errorf("%s: %q goes to %q, want %q", tc.reason, tc.host, got, tc.want)
			}
		})
	}
	if got := route("www.example.com", domains).find("nowhere.test", "/"); got != "www.example.com /" {
		t.Errorf("without a match the default domain serves, not %q", got)
	}
}

func TestMatchPath(t *testing.T) {
	cases := map[string]struct {
		reason string
		urls   []string
		path   string
		want   string
	}{
		"Whole":       {"a path is a prefix of itself", []string{"/", "/a"}, "/a", "d /a"},
		"Longest":     {"the longest prefix", []string{"/", "/a", "/a/b", "/a/b/c"}, "/a/b/x", "d /a/b"},
		"NoLabel":     {"a prefix of letters, not of segments", []string{"/", "/a"}, "/ab", "d /a"},
		"Root":        {"everything begins with a slash", []string{"/", "/a"}, "/b", "d /"},
		"NoRoot":      {"without it there may be no rule", []string{"/a"}, "/b", "no rule"},
		"Exact":       {"exact before prefix", []string{"/a", "= /a"}, "/a", "d = /a"},
		"ExactTight":  {"also without a space", []string{"/a", "=/a"}, "/a", "d =/a"},
		"ExactOnly":   {"exact is no prefix", []string{"/", "= /a"}, "/a/", "d /"},
		"Caret":       {"^~ is a prefix that no regular expression would beat", []string{"/", "^~ /a"}, "/a/b", "d ^~ /a"},
		"Regex":       {"regular expressions match nothing here", []string{"/", "~* .png$", "~ /a"}, "/a.png", "d /"},
		"Case":        {"case matters", []string{"/", "/a"}, "/A", "d /"},
		"Slash":       {"a slash short of a rule: come again", []string{"/", "/a/"}, "/a", "slash"},
		"SlashThere":  {"with it the rule is met", []string{"/", "/a/"}, "/a/", "d /a/"},
		"SlashBoth":   {"both are there", []string{"/", "/a/", "/a"}, "/a", "d /a"},
		"SlashExact":  {"an exact one will do", []string{"/", "/a/", "= /a"}, "/a", "d = /a"},
		"SlashShort":  {"a shorter prefix will not", []string{"/a", "/a/b/"}, "/a/b", "slash"},
		"SlashLonger": {"nor a longer one", []string{"/a/", "/a/b/"}, "/a", "slash"},
		"Dots":        {"dots are resolved before", []string{"/", "/a/"}, "/b/../a/./x", "d /a/"},
		"DotsOut":     {"not above the root", []string{"/", "/a/"}, "/../../a/", "d /a/"},
		"DotsEnd":     {"the slash they stood for stays", []string{"/", "/a/"}, "/a/b/..", "d /a/"},
		"Doubled":     {"double slashes are one", []string{"/", "/a/b"}, "//a///b", "d /a/b"},
		"Star":        {"OPTIONS *", []string{"/"}, "*", "d /"},
		"Nothing":     {"a URL without a path", []string{"/"}, "", "d /"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := route("", map[string][]string{"d": tc.urls}).find("d", tc.path); got != tc.want {
				t.Errorf("%s: %q goes to %q, want %q", tc.reason, tc.path, got, tc.want)
			}
		})
	}
}

// TestRedirectRuleAddsNoSlash: nginx adds the slash for locations that are proxied.
func TestRedirectRuleAddsNoSlash(t *testing.T) {
	redirect := &rule{settings: &settings{redirect: &Redirect{}}}
	root := &rule{settings: &settings{}}
	s := newSite(Domain{Rules: []Rule{{ID: "1", Path: "/a/"}, {ID: "2", Path: "/"}}}, map[string]*rule{"1": redirect, "2": root})
	if got, slash := s.rule("/a"); slash || got != root {
		t.Errorf("got %p, %t", got, slash)
	}
}

// FuzzMatch holds the table against the laws by which it is made, read off the list.
func FuzzMatch(f *testing.F) {
	f.Add("/,/a,/a/b,= /a,/ab/", "www.a.test,*.a.test,www.*", "www.a.test:80", "/a/b")
	f.Add("/a/", "*.", "[::1]:80", "/a")
	f.Add("= /,~ x", ".*", "", "*")
	f.Fuzz(func(t *testing.T, urls, domains, host, path string) {
		list := map[string][]string{}
		for name := range strings.SplitSeq(domains, ",") {
			list[name] = strings.Split(urls, ",")
		}
		r := route("", list)
		s := r.table.site(host)
		if s == nil {
			return
		}
		clean := pathOf(&http.Request{URL: &url.URL{Path: path}})
		if !strings.HasPrefix(clean, "/") {
			t.Fatalf("path %q became %q", path, clean)
		}
		got, slash := s.rule(clean)
		var exact, longest, withSlash string
		for url := range strings.SplitSeq(urls, ",") {
			switch kind, p := splitURL(url); {
			case kind == "=" && p == clean:
				exact = p
			case kind != "" && kind != "^~":
			case p == clean+"/":
				withSlash = p
			case strings.HasPrefix(clean, p) && len(p) > len(longest):
				longest = p
			}
		}
		_, found := splitURL(strings.TrimPrefix(r.names[got], s.domain.Name+" "))
		switch {
		case exact != "":
			if slash || found != exact {
				t.Fatalf("%q goes to %q, %t, not to the exact one", clean, found, slash)
			}
		case withSlash != "" && longest != clean:
			if !slash {
				t.Fatalf("%q goes to %q without its slash", clean, found)
			}
		case longest == "":
			if got != nil || slash {
				t.Fatalf("%q goes to %q, %t, though none fits", clean, found, slash)
			}
		case slash || found != longest:
			t.Fatalf("%q goes to %q, %t, not to the longest %q", clean, found, slash, longest)
		}
	})
}

// TestRoundRobinIsFair: whatever the weights, in as many turns as they sum to each
// target has its weight of them.
func TestRoundRobinIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 100), 1, 20).Draw(t, "weights")
		var targets []*target
		total := 0
		for _, w := range weights {
			targets = append(targets, &target{weight: w})
			total += w
		}
		turns := map[*target]int{}
		for range total {
			turns[roundRobin(targets)]++
		}
		for i, each := range targets {
			if turns[each] != weights[i] {
				t.Fatalf("target %d of weight %d of %d has %d turns", i, weights[i], total, turns[each])
			}
		}
	})
}
