package desired

import (
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// AutoConfig is the spec of the TkeServiceConfig that tke-service-config-auto makes: an
// entry for every listener and every rule with backends, with CLB's defaults. Entries the
// user has edited are kept, entries without a listener or rule dropped. The entry of a
// rule that can't be had for the time being is kept too: the edit would be lost with a
// Service or secret that is away for a moment.
func AutoConfig(w Wants, have ConfigSpec) ConfigSpec {
	var out ConfigSpec
	for _, l := range w.Listeners {
		if l.Protocol.Layer7() {
			out.LoadBalancer.L7Listeners = append(out.LoadBalancer.L7Listeners, autoLayer7(w, l, have.LoadBalancer.L7Listeners))
			continue
		}
		made := L4Listener{Protocol: string(l.Protocol), Port: l.Port, Session: &Session{}, HealthCheck: defaultCheck(), Scheduler: "WRR"}
		entry, _ := edited(made, have.LoadBalancer.L4Listeners, func(e L4Listener) bool {
			return strings.EqualFold(e.Protocol, made.Protocol) && e.Port == made.Port
		})
		out.LoadBalancer.L4Listeners = append(out.LoadBalancer.L4Listeners, entry)
	}
	return out
}

// autoLayer7 makes the entry of a layer-7 listener, domain by domain and rule by rule.
func autoLayer7(w Wants, l model.WantedListener, have []L7Listener) L7Listener {
	off := 0
	entry, _ := edited(L7Listener{Protocol: string(l.Protocol), Port: l.Port, KeepaliveEnable: &off}, have, func(e L7Listener) bool {
		return strings.EqualFold(e.Protocol, string(l.Protocol)) && e.Port == l.Port
	})
	before := entry.Domains
	entry.Domains = nil
	at := map[string]int{}
	wanted := map[model.Spot]bool{}
	for _, rule := range w.Rules {
		wanted[rule.Spot] = rule.Redirect == nil
	}
	for _, b := range w.Backings {
		if b.Listener != l.Name || b.Service == nil && b.Broken == "" {
			continue // another listener's, or a redirect
		}
		domain, _ := edited(L7Domain{Domain: b.Domain}, before, func(e L7Domain) bool { return configDomain(e.Domain) == b.Domain })
		rule, kept := edited(defaultRule(b.Path), domain.Rules, func(e L7Rule) bool { return configURL(e.URL) == b.Path })
		if !kept && !wanted[b.Spot] {
			continue
		}
		i, there := at[b.Domain]
		if !there {
			i = len(entry.Domains)
			at[b.Domain] = i
			domain.Rules = nil
			entry.Domains = append(entry.Domains, domain)
		}
		entry.Domains[i].Rules = append(entry.Domains[i].Rules, rule)
	}
	return entry
}

// edited is the entry that is there, else the one made.
func edited[E any](made E, have []E, same func(E) bool) (entry E, kept bool) {
	for _, e := range have {
		if same(e) {
			return e, true
		}
	}
	return made, false
}

// defaultCheck is CLB's default health check.
func defaultCheck() *HealthCheck {
	d := model.DefaultHealthCheck
	return &HealthCheck{Enable: true, IntervalTime: &d.Interval, HealthNum: &d.HealthNum, UnHealthNum: &d.UnhealthNum, Timeout: &d.Timeout}
}

// defaultRule is a rule with CLB's defaults (CLB API, RuleInput and HealthCheck), as far
// as they are the same for all.
func defaultRule(url string) L7Rule {
	every := 31
	return L7Rule{
		URL: url, ForwardType: "HTTP", Session: &Session{}, Scheduler: "WRR",
		HealthCheck: &L7HealthCheck{HealthCheck: *defaultCheck(), HTTPCode: &every, HTTPCheckPath: "/", HTTPCheckMethod: "HEAD"},
	}
}
