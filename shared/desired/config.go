package desired

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// ConfigSpec is the spec of a TkeServiceConfig (cloud.tencent.com/v1alpha1,
// 457/45490): the layer-4 part.
type ConfigSpec struct {
	LoadBalancer struct {
		L4Listeners []L4Listener `json:"l4Listeners,omitempty"`
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

// Session is session persistence by source address.
type Session struct {
	Enable bool `json:"enable"`
	// SessionExpireTime in seconds, 30 to 3600, default 30.
	SessionExpireTime *int `json:"sessionExpireTime,omitempty"`
}

// HealthCheck is a listener's health check; times in seconds.
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

// ListenerKey is what an entry of a TkeServiceConfig is matched by.
type ListenerKey struct {
	Protocol model.Protocol
	Port     int
}

// Config is a TkeServiceConfig, checked.
type Config struct {
	Listeners map[ListenerKey]model.Settings
}

// ParseConfig checks spec. An entry with a value out of range is left out whole:
// half a health check would be neither what was there nor what was asked for.
func ParseConfig(spec ConfigSpec) (Config, []Problem) {
	c := Config{Listeners: map[ListenerKey]model.Settings{}}
	var problems []Problem
	for i, l := range spec.LoadBalancer.L4Listeners {
		field := fmt.Sprintf("spec.loadBalancer.l4Listeners[%d]", i)
		settings, wrong := parseL4(field, l)
		if len(wrong) > 0 {
			problems = append(problems, wrong...)
			continue
		}
		c.Listeners[ListenerKey{model.Protocol(strings.ToUpper(l.Protocol)), l.Port}] = settings
	}
	return c, problems
}

func parseL4(field string, l L4Listener) (s model.Settings, problems []Problem) {
	within := func(name string, v *int, lo, hi int) *int {
		if v != nil && (*v < lo || *v > hi) {
			problems = append(problems, Problem{Field: field + "." + name, Message: fmt.Sprintf("is %d, must be %d to %d", *v, lo, hi)})
		}
		return v
	}
	switch strings.ToUpper(l.Protocol) {
	case "TCP", "UDP":
	default:
		problems = append(problems, Problem{Field: field + ".protocol", Message: fmt.Sprintf("is %q, must be TCP or UDP", l.Protocol)})
	}
	within("port", &l.Port, 1, 65535)
	if session := l.Session; session != nil {
		expire := 0
		if session.Enable {
			expire = 30
			if session.SessionExpireTime != nil {
				expire = *within("session.sessionExpireTime", session.SessionExpireTime, 30, 3600)
			}
		}
		s.SessionExpire = &expire
	}
	if h := l.HealthCheck; h != nil {
		s.HealthEnabled = &h.Enable
		s.Interval = within("healthCheck.intervalTime", h.IntervalTime, 2, 300)
		s.Timeout = within("healthCheck.timeout", h.Timeout, 2, 60)
		s.HealthNum = within("healthCheck.healthNum", h.HealthNum, 2, 10)
		s.UnhealthNum = within("healthCheck.unHealthNum", h.UnHealthNum, 2, 10)
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
		if !h.Enable {
			// Nothing else of a check that is off can be observed for sure: wanting it
			// could ask for the same change for ever.
			s.Interval, s.Timeout, s.HealthNum, s.UnhealthNum = nil, nil, nil, nil
		}
		if timeout >= interval && !(timeout == 2 && interval == 2) {
			problems = append(problems, Problem{Field: field + ".healthCheck.timeout", Message: fmt.Sprintf("is %d, must be below intervalTime (%d)", timeout, interval)})
		}
	}
	switch l.Scheduler {
	case "":
	case "WRR", "LEAST_CONN":
		s.Scheduler = &l.Scheduler
	default:
		problems = append(problems, Problem{Field: field + ".scheduler", Message: fmt.Sprintf("is %q, must be WRR or LEAST_CONN", l.Scheduler)})
	}
	return s, problems
}

// AutoConfig is the spec of the TkeServiceConfig that tke-service-config-auto
// makes: an entry for every listener, with CLB's defaults. Entries the user has
// edited are kept, entries without a listener dropped.
func AutoConfig(svc *model.Service, have ConfigSpec) ConfigSpec {
	var out ConfigSpec
	d := model.DefaultHealthCheck
	for _, sp := range svc.Ports {
		if sp.Protocol != model.TCP && sp.Protocol != model.UDP {
			continue
		}
		entry := L4Listener{
			Protocol:    string(sp.Protocol),
			Port:        sp.Port,
			Session:     &Session{Enable: false},
			HealthCheck: &HealthCheck{Enable: true, IntervalTime: &d.Interval, HealthNum: &d.HealthNum, UnHealthNum: &d.UnhealthNum, Timeout: &d.Timeout},
			Scheduler:   "WRR",
		}
		for _, l := range have.LoadBalancer.L4Listeners {
			if strings.EqualFold(l.Protocol, entry.Protocol) && l.Port == sp.Port {
				entry = l
			}
		}
		out.LoadBalancer.L4Listeners = append(out.LoadBalancer.L4Listeners, entry)
	}
	return out
}

// SameConfig compares two specs.
func SameConfig(a, b ConfigSpec) bool { return reflect.DeepEqual(a, b) }
