package backend

import (
	"net/netip"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// The two kinds of load balancer (CLB API, LoadBalancerType).
const (
	Open     = "OPEN"
	Internal = "INTERNAL"
)

// Tag is a tag of a load balancer.
type Tag struct{ Key, Value string }

// LoadBalancer is one instance as it was when asked for.
type LoadBalancer struct {
	ID, Name, Type, VPC, Subnet string
	Tags                        []Tag
	// VIP is invalid until the instance is normal.
	VIP netip.Addr
	// Normal is Status 1; otherwise it is being created.
	Normal              bool
	Created, StatusTime time.Time
	ProjectID           uint64
	PassToTarget        bool
	// DeleteProtect has deleting it refused; SecurityGroups are kept and don't filter.
	DeleteProtect  bool
	SecurityGroups []string
	// TargetCount counts bindings.
	TargetCount int
}

// Listener is one listener as it was when asked for.
type Listener struct {
	ID, Protocol string
	Port         int
	Created      time.Time
	Settings     Settings
	// Places are where its targets are: one with no location at layer 4, its rules at
	// layer 7.
	Places []Place
}

// Settings are what ModifyListener can change.
type Settings struct {
	Name        string
	HealthCheck HealthCheck
	Scheduler   string
	// SessionExpireTime and IdleConnectTimeout are in seconds; no session persistence
	// is 0.
	SessionExpireTime, IdleConnectTimeout int64
	DeregisterTargetRst, SnatEnable       bool
	// MaxConn and MaxCps are of connections, or UDP sessions; -1 is no limit.
	MaxConn, MaxCps int64
	Reschedule      Reschedule

	// Layer 7 has these and of the above the name only, TCP_SSL the certificate.
	// Certificate is zero for HTTP and where SNI has it by domain.
	Certificate    Certificate
	SNI, KeepAlive bool
}

// Reschedule is what moves established connections (CLB API, CreateListener). Times are
// in seconds.
type Reschedule struct {
	ZeroWeight, Unhealthy, Expand bool
	StartTime, Interval           int64
}

// HealthCheck is a listener's health check with every default filled in (CLB API,
// HealthCheck). Times are in seconds.
type HealthCheck struct {
	On                                        bool
	Kind                                      string
	Timeout, Interval, HealthNum, UnHealthNum int64
	// Port is 0 where the target's own is checked.
	Port                                  int64
	Method, Path, Domain, Version         string
	Codes                                 int64
	ContextType, SendContext, RecvContext string
	SourceIPType                          int64
	// ExtendedCode are the healthy gRPC codes, like "12" or "0-99".
	ExtendedCode string
}

// Place is a listener, or a rule of one, and its targets in the order of their
// registration.
type Place struct {
	Location string
	// Rule is nil at layer 4.
	Rule *Rule
	// Targets are there if they were asked for.
	Targets []Target
}

// Rule is one rule of a layer-7 listener as it was when asked for.
type Rule struct {
	Domain, URL string
	Settings    RuleSettings
	Created     time.Time
	// Auto is a rule that AutoRewrite has made.
	Auto bool
	// Certificate, HTTP2 and Default are the domain's.
	Certificate    Certificate
	HTTP2, Default bool
	// Redirect is nil where there is none.
	Redirect *Redirect
}

// RuleSettings are what ModifyRule can change, the path apart.
type RuleSettings struct {
	HealthCheck HealthCheck
	Scheduler   string
	ForwardType string
	CookieName  string
	// SessionExpireTime is in seconds; no session persistence is 0.
	SessionExpireTime int64
}

// Redirect is where a rule sends its requests.
type Redirect struct {
	Listener, Location string
	Code               int
	TakeURL            bool
	// Auto is one that AutoRewrite has made.
	Auto bool
}

// Target is one binding.
type Target struct {
	Addr       netip.AddrPort
	Weight     int
	Tag        string
	Registered time.Time
	Health     dataplane.State
}

// LoadBalancers lists the instances, oldest first.
func (b *Backend) LoadBalancers() []LoadBalancer {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]LoadBalancer, 0, len(b.lbs))
	for _, lb := range b.inOrder() {
		all = append(all, lb.snapshot())
	}
	return all
}

// LoadBalancer gives one instance.
func (b *Backend) LoadBalancer(id string) (LoadBalancer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return LoadBalancer{}, err
	}
	return lb.snapshot(), nil
}

// Listeners lists the listeners of an instance that want says yes to (nil: all), in the
// order of their creation, with the targets of their places if asked for.
func (b *Backend) Listeners(id string, targets bool, want func(Listener) bool) ([]Listener, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return nil, err
	}
	var all []Listener
	for _, l := range lb.listeners {
		if want != nil && !want(l.info) {
			continue
		}
		info := l.info
		info.Places = l.snapshot(targets)
		all = append(all, info)
	}
	return all, nil
}

func (lb *loadBalancer) snapshot() LoadBalancer {
	info := lb.info
	info.TargetCount = lb.targetCount()
	return info
}

func (lb *loadBalancer) targetCount() int {
	n := 0
	for _, l := range lb.listeners {
		for _, p := range l.places {
			n += len(p.targets)
		}
	}
	return n
}

func (l *listener) snapshot(targets bool) []Place {
	places := make([]Place, len(l.places))
	for i, p := range l.places {
		places[i] = Place{Location: p.location, Rule: l.describe(p)}
		if targets {
			places[i].Targets = l.targets(p)
		}
	}
	return places
}

func (l *listener) targets(p *place) []Target {
	// The switch counts from when it is set; the data plane follows.
	on := l.healthCheck(p).On
	all := make([]Target, len(p.targets))
	for i, t := range p.targets {
		health := t.verdict.State()
		if !on {
			health = dataplane.Closed
		}
		all[i] = Target{Addr: t.addr, Weight: t.weight, Tag: t.tag, Registered: t.registered, Health: health}
	}
	return all
}

func (l *listener) describe(p *place) *Rule {
	if p.rule == nil {
		return nil
	}
	r := p.rule
	out := &Rule{
		Domain: r.domain.name, URL: r.url, Settings: r.settings, Created: r.created, Auto: r.auto,
		Certificate: r.domain.certificate, HTTP2: r.domain.http2, Default: r.domain == l.fallback,
	}
	if to := r.redirect; to != nil {
		out.Redirect = &Redirect{Listener: to.listener.info.ID, Location: to.place.location, Code: to.code, TakeURL: to.takeURL, Auto: to.auto}
	}
	return out
}
