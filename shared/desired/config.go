package desired

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// ConfigSpec is the spec of a TkeServiceConfig (cloud.tencent.com/v1alpha1, 457/45490
// and 457/45700).
type ConfigSpec struct {
	LoadBalancer struct {
		L4Listeners []L4Listener `json:"l4Listeners,omitempty"`
		L7Listeners []L7Listener `json:"l7Listeners,omitempty"`
	} `json:"loadBalancer"`
}

// L4Listener configures the listener with its protocol and port.
type L4Listener struct {
	Protocol    string       `json:"protocol"`
	Port        int          `json:"port"`
	Session     *Session     `json:"session,omitempty"`
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
	Scheduler   string       `json:"scheduler,omitempty"`
}

// L7Listener configures the listener with its protocol and port, its domains and rules.
type L7Listener struct {
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
	// DefaultServer is the domain that serves hosts which no domain matches.
	DefaultServer string `json:"defaultServer,omitempty"`
	// KeepaliveEnable is 1 to keep connections to the backends, 0 not to.
	KeepaliveEnable *int       `json:"keepaliveEnable,omitempty"`
	Domains         []L7Domain `json:"domains,omitempty"`
}

// L7Domain configures a domain; "" is the CLB's own address.
type L7Domain struct {
	Domain string   `json:"domain"`
	HTTP2  *bool    `json:"http2,omitempty"`
	Rules  []L7Rule `json:"rules,omitempty"`
}

// L7Rule configures the rule with its path.
type L7Rule struct {
	URL string `json:"url"`
	// ForwardType is the protocol to the backends: HTTP, HTTPS or GRPC.
	ForwardType string `json:"forwardType,omitempty"`
	// Session is by cookie here, 30 to 86400 s.
	Session     *Session       `json:"session,omitempty"`
	HealthCheck *L7HealthCheck `json:"healthCheck,omitempty"`
	Scheduler   string         `json:"scheduler,omitempty"`
}

// Session is session persistence.
type Session struct {
	Enable bool `json:"enable"`
	// SessionExpireTime in seconds, from 30, to 3600 at layer 4, default 30.
	SessionExpireTime *int `json:"sessionExpireTime,omitempty"`
}

// HealthCheck is a health check; times in seconds.
type HealthCheck struct {
	Enable bool `json:"enable"`
	// IntervalTime 2 to 300. TKE's page says 5, the CLB API takes 2 on all
	// instances of today.
	IntervalTime *int `json:"intervalTime,omitempty"`
	HealthNum    *int `json:"healthNum,omitempty"`
	UnHealthNum  *int `json:"unHealthNum,omitempty"`
	// Timeout 2 to 60, below IntervalTime.
	Timeout *int `json:"timeout,omitempty"`
}

// L7HealthCheck is a rule's health check.
type L7HealthCheck struct {
	HealthCheck
	// HTTPCode is a bitmask of healthy answers, 1 for 1xx to 16 for 5xx.
	HTTPCode        *int   `json:"httpCode,omitempty"`
	HTTPCheckPath   string `json:"httpCheckPath,omitempty"`
	HTTPCheckDomain string `json:"httpCheckDomain,omitempty"`
	HTTPCheckMethod string `json:"httpCheckMethod,omitempty"`
	// SourceIPType is 0 to check from the VIP, 1 from 100.64.0.0/10.
	SourceIPType *int   `json:"sourceIpType,omitempty"`
	CheckType    string `json:"checkType,omitempty"`
}

// ListenerKey is what an entry of a TkeServiceConfig is matched by.
type ListenerKey struct {
	Protocol model.Protocol
	Port     int
}

// Config is a TkeServiceConfig, checked.
type Config struct {
	// Listeners are those of layer 4.
	Listeners map[ListenerKey]model.Settings
	Layer7    map[ListenerKey]Layer7
}

// Layer7 is what a TkeServiceConfig says of a layer-7 listener.
type Layer7 struct {
	// KeepAlive: nil leaves it as it is.
	KeepAlive *bool
	// DefaultServer is a domain, "" for none named.
	DefaultServer string
	Domains       map[string]Domain
}

// Domain is what a TkeServiceConfig says of a domain.
type Domain struct {
	// HTTP2: nil leaves it as it is.
	HTTP2 *bool
	// Rules by path, in CLB's syntax.
	Rules map[string]model.Settings
}

// layer7 is what c says of the listener at p; a nil Config says nothing.
func (c *Config) layer7(p port) Layer7 {
	if c == nil {
		return Layer7{}
	}
	return c.Layer7[ListenerKey{p.protocol, p.number}]
}

// rule is what d says of the rule with a path. An exact rule is found by its path alone
// too, as an Ingress writes it.
func (d Domain) rule(path string) model.Settings {
	if s, ok := d.Rules[path]; ok {
		return s
	}
	if exact, ok := strings.CutPrefix(path, exactly); ok {
		return d.Rules[exact]
	}
	return model.Settings{}
}

// ParseConfig checks spec. An entry with a value out of range is left out whole:
// half a health check would be neither what was there nor what was asked for.
func ParseConfig(spec ConfigSpec) (Config, []Problem) {
	c := Config{Listeners: map[ListenerKey]model.Settings{}, Layer7: map[ListenerKey]Layer7{}}
	var problems []Problem
	for i, l := range spec.LoadBalancer.L4Listeners {
		e := entry{field: fmt.Sprintf("spec.loadBalancer.l4Listeners[%d]", i)}
		key := e.key(l.Protocol, l.Port, model.TCP, model.UDP)
		settings := e.settings(l.Session, maxSession, l.HealthCheck, l.Scheduler, "WRR", "LEAST_CONN")
		problems = append(problems, e.problems...)
		if len(e.problems) == 0 {
			c.Listeners[key] = settings
		}
	}
	for i, l := range spec.LoadBalancer.L7Listeners {
		e := entry{field: fmt.Sprintf("spec.loadBalancer.l7Listeners[%d]", i)}
		key := e.key(l.Protocol, l.Port, model.HTTP, model.HTTPS)
		problems = append(problems, e.problems...)
		if len(e.problems) == 0 {
			var wrong []Problem
			c.Layer7[key], wrong = parseLayer7(e.field, key, l)
			problems = append(problems, wrong...)
		}
	}
	return c, problems
}

// entry is an entry of a TkeServiceConfig that is being checked.
type entry struct {
	field    string
	problems []Problem
}

func (e *entry) refuse(name, format string, args ...any) {
	e.problems = append(e.problems, Problem{Field: e.field + "." + name, Message: fmt.Sprintf(format, args...)})
}

// within lets v through, and complains if it is out of range.
func (e *entry) within(name string, v *int, lo, hi int) *int {
	if v != nil && (*v < lo || *v > hi) {
		e.refuse(name, "is %d, must be %d to %d", *v, lo, hi)
	}
	return v
}

// oneOf lets v through, nil if it is empty, and complains if it isn't one of allowed.
func (e *entry) oneOf(name, v string, allowed ...string) *string {
	if v == "" {
		return nil
	}
	for _, a := range allowed {
		if v == a {
			return &v
		}
	}
	e.refuse(name, "is %q, must be %s", v, either(allowed))
	return &v
}

// either writes a choice of several for people.
func either(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// key checks what an entry is matched by.
func (e *entry) key(protocol string, port int, allowed ...model.Protocol) ListenerKey {
	key := ListenerKey{model.Protocol(strings.ToUpper(protocol)), port}
	if key.Protocol != allowed[0] && key.Protocol != allowed[1] {
		e.refuse("protocol", "is %q, must be %s or %s", protocol, allowed[0], allowed[1])
	}
	e.within("port", &port, 1, 65535)
	return key
}

// The longest session persistence, in seconds (CLB API, SessionExpireTime of a listener
// and of a rule).
const (
	maxSession       = 3600
	maxSessionLayer7 = 86400
)

// settings checks what layer-4 listeners and rules have in common.
func (e *entry) settings(session *Session, longest int, h *HealthCheck, scheduler string, schedulers ...string) (s model.Settings) {
	if session != nil {
		expire := 0
		if session.Enable {
			expire = 30
			if session.SessionExpireTime != nil {
				expire = *e.within("session.sessionExpireTime", session.SessionExpireTime, 30, longest)
			}
		}
		s.SessionExpire = &expire
	}
	if h != nil {
		e.check(&s, *h)
	}
	s.Scheduler = e.oneOf("scheduler", scheduler, schedulers...)
	return s
}

// check checks a health check. Of one that is off nothing else can be observed for sure:
// wanting it could ask for the same change for ever.
func (e *entry) check(s *model.Settings, h HealthCheck) {
	e.within("healthCheck.intervalTime", h.IntervalTime, 2, 300)
	e.within("healthCheck.timeout", h.Timeout, 2, 60)
	e.within("healthCheck.healthNum", h.HealthNum, 2, 10)
	e.within("healthCheck.unHealthNum", h.UnHealthNum, 2, 10)
	interval, timeout := model.DefaultHealthCheck.Interval, model.DefaultHealthCheck.Timeout
	if h.IntervalTime != nil {
		interval = *h.IntervalTime
		if h.Timeout == nil && interval <= timeout {
			// The default timeout of 2 s would not fit; the API wants it
			// below the interval, but takes no less than 2. An interval of
			// exactly 2 is documented, so let the CLB be the judge.
			timeout = interval - 1
		}
	}
	if h.Timeout != nil {
		timeout = *h.Timeout
	}
	if timeout >= interval && !(timeout == 2 && interval == 2) {
		e.refuse("healthCheck.timeout", "is %d, must be below intervalTime (%d)", timeout, interval)
	}
	s.HealthEnabled = &h.Enable
	if h.Enable {
		s.Interval, s.Timeout, s.HealthNum, s.UnhealthNum = h.IntervalTime, h.Timeout, h.HealthNum, h.UnHealthNum
	}
}

// SameConfig compares two specs.
func SameConfig(a, b ConfigSpec) bool { return reflect.DeepEqual(a, b) }
