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

// HealthCheck holds the settings of a listener's health check (CLB API,
// HealthCheck). Times are in seconds.
type HealthCheck struct {
	Enabled                bool
	Interval, Timeout      int
	HealthNum, UnhealthNum int
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

// Listener is a CLB listener.
type Listener struct {
	ID       string
	Name     string
	Protocol Protocol
	Port     int
	// HealthCheck as observed or wanted. Wanted fields of zero mean "leave as it is".
	HealthCheck HealthCheck
	// SessionExpire in seconds, 0 is off.
	SessionExpire int
	// Scheduler is WRR, LEAST_CONN or IP_HASH.
	Scheduler string
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

// Settings are wanted attributes of a listener; nil leaves an attribute as it is
// (TkeServiceConfig: "undeclared attributes are untouched", 457/45490).
type Settings struct {
	HealthEnabled                             *bool
	Interval, Timeout, HealthNum, UnhealthNum *int
	// SessionExpire in seconds, 0 switches session persistence off.
	SessionExpire *int
	Scheduler     *string
}

// Apply lays s over l and tells whether that changed anything.
func (s Settings) Apply(l Listener) (Listener, bool) {
	out := l
	set(&out.HealthCheck.Enabled, s.HealthEnabled)
	set(&out.HealthCheck.Interval, s.Interval)
	set(&out.HealthCheck.Timeout, s.Timeout)
	set(&out.HealthCheck.HealthNum, s.HealthNum)
	set(&out.HealthCheck.UnhealthNum, s.UnhealthNum)
	set(&out.SessionExpire, s.SessionExpire)
	set(&out.Scheduler, s.Scheduler)
	return out, out != l
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
	Settings Settings
	// Owner is the Service it is for, Service the port of it.
	Owner       Ref
	OwnerUID    string
	Created     time.Time
	ServicePort ServicePort
}

// PortClash tells whether two protocols can't share a port number of one CLB: all
// that run over TCP exclude each other, and all that run over UDP.
func PortClash(a, b Protocol) bool { return a.overUDP() == b.overUDP() }

func (p Protocol) overUDP() bool { return p == UDP || p == "QUIC" }
