package model

import (
	"cmp"
	"fmt"
	"time"
)

// LoadBalancer is a CLB instance.
type LoadBalancer struct {
	ID, Name string
	// Internal: LoadBalancerType INTERNAL, else OPEN.
	Internal bool
	SubnetID string
	VPCID    string
	// Ready: Status 1; 0 means that it is still being created (DescribeLoadBalancers).
	Ready  bool
	VIPs   []string
	IPv6   string
	Domain string
	Tags   map[string]string
}

// HealthCheck holds the settings of the health check of a layer-4 listener or a rule
// (CLB API, HealthCheck). Times are in seconds.
type HealthCheck struct {
	Enabled                bool
	Interval, Timeout      int
	HealthNum, UnhealthNum int
	// Type is TCP, HTTP, HTTPS, GRPC and so on, "" for what the protocol implies.
	Type string
	// Path, Domain and Method make the request of an HTTP check; Codes is a bitmask
	// of healthy answers, 1 for 1xx to 16 for 5xx. Empty is CLB's default.
	Path, Domain, Method string
	Codes                int
	// SourceIPType is where checks come from: 0 the VIP, 1 from 100.64.0.0/10.
	SourceIPType int
}

// DefaultHealthCheck is what CLB documents for a listener that says nothing.
var DefaultHealthCheck = HealthCheck{Enabled: true, Interval: 5, Timeout: 2, HealthNum: 3, UnhealthNum: 3}

// Settle is the shortest time in which a fresh target can become Alive:
// HealthNum successes, the first at once, the others an interval apart.
func (h HealthCheck) Settle() time.Duration {
	return time.Duration(max(h.HealthNum-1, 0)*h.Interval) * time.Second
}

// Unsettle is the longest time in which a target that answers no more stays
// Alive: UnhealthNum failures, an interval apart, and the phase of the first.
func (h HealthCheck) Unsettle() time.Duration {
	return time.Duration(h.UnhealthNum*h.Interval) * time.Second
}

// Attributes are what can be set of a place: a layer-4 listener, or a rule.
type Attributes struct {
	HealthCheck HealthCheck
	// SessionExpire in seconds, 0 is off.
	SessionExpire int
	// Scheduler is WRR, LEAST_CONN or IP_HASH.
	Scheduler string
	// ForwardType is the protocol to the backends of a rule: HTTP, HTTPS or GRPC.
	ForwardType string
}

// Listener is a CLB listener. A layer-7 one has rules, and no Attributes of its own.
type Listener struct {
	ID       string
	Name     string
	Protocol Protocol
	Port     int
	Attributes
	// SNI: certificates are the domains' (SniSwitch). It can't be switched off again.
	SNI bool
	// KeepAlive: connections to the backends are kept.
	KeepAlive bool
	Rules     []Rule
}

// Rule is a forwarding rule of a layer-7 listener: a location.
type Rule struct {
	// ID is the LocationId.
	ID string
	// Domain is "" for the rule of the CLB's own address, which requests without a
	// known host get where it is the default (facts of TKE: "empty host: the VIP").
	Domain string
	// Path is the rule's Url.
	Path string
	Attributes
	DomainAttributes
	// Redirect is set for a rule that answers with another place.
	Redirect *Redirect
}

// DomainAttributes are common to all rules of a domain at a listener.
type DomainAttributes struct {
	Certificate Certificate
	HTTP2       bool
	// DefaultServer: its rules serve requests whose host no domain matches.
	DefaultServer bool
}

// Certificate names certificates of the SSL service: the server's, and for mutual TLS
// the authority of the clients'.
type Certificate struct{ ID, CA string }

// Redirect sends clients from a rule to another of the same CLB.
type Redirect struct {
	To Place
	// Code is 301, 302 or 307.
	Code int
}

// Spot is a place before it has an id: a layer-4 listener by its name, or a rule of
// one by domain and path.
type Spot struct{ Listener, Domain, Path string }

// String writes it for people, without the listener's name.
func (s Spot) String() string {
	if s.Path == "" {
		return s.Listener
	}
	return s.Domain + s.Path
}

// Compare orders spots.
func (s Spot) Compare(t Spot) int {
	return cmp.Or(cmp.Compare(s.Listener, t.Listener), cmp.Compare(s.Domain, t.Domain), cmp.Compare(s.Path, t.Path))
}

// Spots finds the place of every spot of the listeners given.
func Spots(listeners []Listener) map[Spot]Place {
	out := map[Spot]Place{}
	for _, l := range listeners {
		if !l.Protocol.Layer7() {
			out[Spot{Listener: l.Name}] = Place{Listener: l.ID}
		}
		for _, r := range l.Rules {
			out[Spot{l.Name, r.Domain, r.Path}] = Place{Listener: l.ID, Location: r.ID}
		}
	}
	return out
}

// Place is where targets are bound: a layer-4 listener, or a rule (location) of
// a layer-7 one.
type Place struct {
	Listener string
	Location string
}

// Compare orders places.
func (p Place) Compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Listener, q.Listener), cmp.Compare(p.Location, q.Location))
}

// String writes the ids.
func (p Place) String() string {
	if p.Location == "" {
		return p.Listener
	}
	return p.Listener + "/" + p.Location
}

// Address is a backend's IP and port.
type Address struct {
	IP   string
	Port int
}

// String writes ip:port.
func (a Address) String() string { return fmt.Sprintf("%s:%d", a.IP, a.Port) }

// Target is a backend bound, or to be bound, at a place.
type Target struct {
	Place
	Address
	Weight int
	// Tag carries the UID of the pod that the target is for.
	Tag string
	// Instance is the id of the virtual machine that is bound instead of an address ("" for
	// pods): a node, by whoever uses NodePorts. The API wants it named as it was bound.
	Instance string
	// Registered is when the CLB bound it, zero when it doesn't say.
	Registered time.Time
}

// Key identifies a target: the CLB tells backends apart by place, IP and port.
type Key struct {
	Place
	Address
}

// Key of the target.
func (t Target) Key() Key { return Key{t.Place, t.Address} }

// Compare orders keys.
func (k Key) Compare(l Key) int {
	return cmp.Or(k.Place.Compare(l.Place), cmp.Compare(k.IP, l.IP), cmp.Compare(k.Port, l.Port))
}

// String writes place and address.
func (k Key) String() string { return k.Place.String() + " " + k.Address.String() }

// Health is a target's HealthStatusDetail (CLB API, TargetHealth).
type Health string

// The documented states. Missing data is Unknown, never Alive.
const (
	Alive   Health = "Alive"
	Dead    Health = "Dead"
	Unknown Health = "Unknown"
	// Close: the check is switched off, or the listener is stopped.
	Close Health = "Close"
)

// DefaultWeight of a target (CLB API, Target.Weight), MaxWeight the largest.
const (
	DefaultWeight = 10
	MaxWeight     = 100
)

// Wanted is a target as it should be. It carries what a plan needs to know of the
// pod behind it.
type Wanted struct {
	// Target, with Tag the pod's UID.
	Target
	// Bind: may be bound newly. A pod that is going keeps its target but never
	// gets one.
	Bind bool
	// Pod is the pod it is for, Started its status.startTime.
	Pod     Ref
	Started time.Time
}

// Settings are wanted Attributes; nil leaves one as it is (TkeServiceConfig:
// "undeclared attributes are untouched", 457/45490).
type Settings struct {
	HealthEnabled                             *bool
	Interval, Timeout, HealthNum, UnhealthNum *int
	CheckType, CheckPath                      *string
	CheckDomain, CheckMethod                  *string
	CheckCodes, CheckSource                   *int
	// SessionExpire in seconds, 0 switches session persistence off.
	SessionExpire          *int
	Scheduler, ForwardType *string
}

// Apply lays s over a and tells whether that changed anything.
func (s Settings) Apply(a Attributes) (Attributes, bool) {
	out := a
	set(&out.HealthCheck.Enabled, s.HealthEnabled)
	set(&out.HealthCheck.Interval, s.Interval)
	set(&out.HealthCheck.Timeout, s.Timeout)
	set(&out.HealthCheck.HealthNum, s.HealthNum)
	set(&out.HealthCheck.UnhealthNum, s.UnhealthNum)
	set(&out.HealthCheck.Type, s.CheckType)
	set(&out.HealthCheck.Path, s.CheckPath)
	set(&out.HealthCheck.Domain, s.CheckDomain)
	set(&out.HealthCheck.Method, s.CheckMethod)
	set(&out.HealthCheck.Codes, s.CheckCodes)
	set(&out.HealthCheck.SourceIPType, s.CheckSource)
	set(&out.SessionExpire, s.SessionExpire)
	set(&out.Scheduler, s.Scheduler)
	set(&out.ForwardType, s.ForwardType)
	return out, out != a
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// WantedListener is a listener as it should be, and whose it is.
type WantedListener struct {
	// Name is what marks it as ours, see package desired.
	Name     string
	Protocol Protocol
	Port     int
	// Settings of a layer-4 listener.
	Settings Settings
	// KeepAlive of a layer-7 listener; nil leaves it as it is.
	KeepAlive *bool
	// Owner is who wants it. Several Ingresses may want the same layer-7 listener.
	Owner *Front
	// Key is what its refusal is recorded under.
	Key string
}

// WantedRule is a rule as it should be, and whose it is.
type WantedRule struct {
	Spot
	Settings Settings
	// Certificate and HTTP2 of its domain; nil leaves it as it is.
	Certificate *Certificate
	HTTP2       *bool
	// DefaultServer: its domain should be the listener's default.
	DefaultServer bool
	// Redirect is where to send clients instead, nil for a rule with backends; the
	// Spot's rule must be wanted too.
	Redirect *WantedRedirect
	Owner    *Front
	// Key is what its refusal is recorded under.
	Key string
}

// WantedRedirect is a redirect to another rule.
type WantedRedirect struct {
	To   Spot
	Code int
}

// PortClash tells whether two protocols can't share a port number of one CLB: all
// that run over TCP exclude each other, and all that run over UDP.
func PortClash(a, b Protocol) bool { return a.overUDP() == b.overUDP() }

// Layer7 tells whether listeners of p have rules.
func (p Protocol) Layer7() bool { return p == HTTP || p == HTTPS }

func (p Protocol) overUDP() bool { return p == UDP || p == "QUIC" }

// Redirection is a redirect between places.
type Redirection struct {
	From, To Place
	Code     int
}
