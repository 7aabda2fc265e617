package clb

import (
	"net/netip"
	"time"

	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// LoadBalancer is an instance as a test or a demo sees it, without the API.
type LoadBalancer struct {
	ID, Name, Type string
	// VIP is invalid while the instance is being created.
	VIP       netip.Addr
	Tags      map[string]string
	Listeners []Listener
}

// Listener is a listener with its targets, which at layer 7 are at its rules.
type Listener struct {
	ID, Name, Protocol string
	Port               int
	Targets            []Target
	// CertificateID is the first of its own; with SNI domains have them.
	CertificateID string
	Rules         []Rule
}

// Rule is a rule of a layer-7 listener.
type Rule struct {
	// ID is the LocationId.
	ID, Domain, URL string
	// CertificateID is the first of its domain's own, Default whether the domain is the
	// default one.
	CertificateID string
	Default       bool
	// RedirectTo is the LocationId of where requests are sent; empty for nowhere.
	RedirectTo string
	Targets    []Target
}

// Target is one binding.
type Target struct {
	IP     netip.Addr
	Port   int
	Weight int
	Tag    string
	// Health is Alive, Dead, Unknown or Close.
	Health     string
	Registered time.Time
}

// LoadBalancers is what there is now, oldest first: no latency, no limit, no log entry.
func (s *Server) LoadBalancers() []LoadBalancer {
	var all []LoadBalancer
	for _, info := range s.backend.LoadBalancers() {
		lb := LoadBalancer{ID: info.ID, Name: info.Name, Type: info.Type, VIP: info.VIP, Tags: map[string]string{}}
		for _, tag := range info.Tags {
			lb.Tags[tag.Key] = tag.Value
		}
		// One deleted since it was listed has no listeners.
		listeners, _ := s.backend.Listeners(info.ID, true, nil)
		for _, l := range listeners {
			out := Listener{ID: l.ID, Name: l.Settings.Name, Protocol: l.Protocol, Port: l.Port}
			out.CertificateID = first(common.StringPtrs(l.Settings.Certificate.IDs))
			for _, p := range l.Places {
				if p.Rule == nil {
					out.Targets = inspect(p.Targets)
					continue
				}
				out.Rules = append(out.Rules, inspectRule(p))
			}
			lb.Listeners = append(lb.Listeners, out)
		}
		all = append(all, lb)
	}
	return all
}

// Weights are the highest weight that each tag has at any listener or rule now.
func (s *Server) Weights() map[string]int {
	out := map[string]int{}
	count := func(targets []Target) {
		for _, t := range targets {
			out[t.Tag] = max(out[t.Tag], t.Weight)
		}
	}
	for _, lb := range s.LoadBalancers() {
		for _, l := range lb.Listeners {
			count(l.Targets)
			for _, r := range l.Rules {
				count(r.Targets)
			}
		}
	}
	return out
}

func inspectRule(p backend.Place) Rule {
	rule := Rule{
		ID: p.Location, Domain: p.Rule.Domain, URL: p.Rule.URL, Default: p.Rule.Default, Targets: inspect(p.Targets),
		CertificateID: first(common.StringPtrs(p.Rule.Certificate.IDs)),
	}
	if to := p.Rule.Redirect; to != nil {
		rule.RedirectTo = to.Location
	}
	return rule
}

func inspect(targets []backend.Target) []Target {
	var all []Target
	for _, t := range targets {
		all = append(all, Target{
			IP: t.Addr.Addr(), Port: int(t.Addr.Port()), Weight: t.Weight, Tag: t.Tag,
			Health: t.Health.String(), Registered: t.Registered,
		})
	}
	return all
}
