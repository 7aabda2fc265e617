package backend

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// listener is one listener and the places targets live at: itself at layer 4, its rules
// at layer 7.
type listener struct {
	info   Listener
	places []*place
	// domains are those that have rules, oldest first; fallback is the default one, set
	// whenever there are any.
	domains  []*domain
	fallback *domain
}

// domain is what the rules of a host name share.
type domain struct {
	name        string
	http2       bool
	certificate Certificate
}

// place is what targets are bound to: a listener, or a location of one.
type place struct {
	location string
	// rule is nil at layer 4.
	rule    *rule
	targets []*target
	index   map[netip.AddrPort]*target
}

// rule is what makes a place a location.
type rule struct {
	domain   *domain
	url      string
	created  time.Time
	auto     bool
	settings RuleSettings
	redirect *redirect
}

// redirect is where a rule sends its requests.
type redirect struct {
	listener *listener
	place    *place
	code     int
	takeURL  bool
	auto     bool
}

type target struct {
	addr       netip.AddrPort
	weight     int
	tag        string
	registered time.Time
	verdict    *dataplane.Verdict
}

func newPlace() *place { return &place{index: map[netip.AddrPort]*target{}} }

// layer7 says whether targets are at rules.
func (l *listener) layer7() bool { return l.info.Protocol == "HTTP" || l.info.Protocol == "HTTPS" }

// healthCheck is that of a place: layer 4 has it at the listener.
func (l *listener) healthCheck(p *place) HealthCheck {
	if p.rule != nil {
		return p.rule.settings.HealthCheck
	}
	return l.info.Settings.HealthCheck
}

// listener finds one that exists; a task may be creating others.
func (lb *loadBalancer) listener(id string) (*listener, error) {
	for _, l := range lb.listeners {
		if l.info.ID == id {
			return l, nil
		}
	}
	return nil, failure("InvalidParameter.ListenerIdNotFound", "some ListenerId of loadbalancer %s not found: %s.", lb.info.ID, id)
}

// rules finds a listener that has rules.
func (lb *loadBalancer) rules(id string) (*listener, error) {
	l, err := lb.listener(id)
	if err == nil && !l.layer7() {
		err = failure("InvalidParameter", "listener %s of protocol %s has no forwarding rules.", id, l.info.Protocol)
	}
	return l, err
}

// place finds where targets live.
func (lb *loadBalancer) place(w Where) (*listener, *place, error) {
	l, err := lb.listener(w.Listener)
	if err != nil {
		return nil, nil, err
	}
	if w.Location == "" && w.URL != "" {
		p, err := l.path(cmp.Or(w.Domain, lb.info.VIP.String()), w.URL)
		return l, p, err
	}
	p, err := l.place(w.Location)
	return l, p, err
}

// place finds a place by its location, which is empty at layer 4.
func (l *listener) place(location string) (*place, error) {
	for _, p := range l.places {
		if p.location == location {
			return p, nil
		}
	}
	return nil, failure("InvalidParameter.LocationNotFound", "location %q of listener %s not found.", location, l.info.ID)
}

// path finds a rule by domain and path.
func (l *listener) path(name, url string) (*place, error) {
	for _, p := range l.places {
		if r := p.rule; r != nil && r.domain.name == name && matchURL(r.url) == matchURL(url) {
			return p, nil
		}
	}
	return nil, failure("InvalidParameter.LocationNotFound", "domain %q and url %q of listener %s not found.", name, url, l.info.ID)
}

// domain finds a domain that has rules; nil if none.
func (l *listener) domain(name string) *domain {
	for _, d := range l.domains {
		if d.name == name {
			return d
		}
	}
	return nil
}

// discard removes places and the domains that are left without any.
func (l *listener) discard(gone []*place) {
	l.places = slices.DeleteFunc(l.places, func(p *place) bool { return slices.Contains(gone, p) })
	used := map[*domain]bool{}
	for _, p := range l.places {
		used[p.rule.domain] = true
	}
	l.domains = slices.DeleteFunc(l.domains, func(d *domain) bool { return !used[d] })
	if !used[l.fallback] {
		l.fallback = nil
		if len(l.domains) > 0 {
			l.fallback = l.domains[0]
		}
	}
}
