package backend

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// queue is what of one load balancer has still to reach the data plane. One goroutine
// works it off, so that what is due early still waits for what was before it.
type queue struct {
	waiting []step
	running bool
}

type step struct {
	due time.Time
	do  func()
}

// propagate has do happen on the data plane after the propagation latency, never before
// what the same load balancer was told earlier.
func (b *Backend) propagate(lb *loadBalancer, do func()) {
	d := b.between(b.opts.Latencies.Propagation)
	q := &lb.queue
	if d <= 0 && !q.running {
		do()
		return
	}
	if b.closed {
		return
	}
	q.waiting = append(q.waiting, step{due: time.Now().Add(d), do: do})
	if q.running {
		return
	}
	q.running = true
	b.running.Go(func() { b.drain(q) })
}

// drain works a queue off until it is empty.
func (b *Backend) drain(q *queue) {
	for {
		b.mu.Lock()
		if len(q.waiting) == 0 || b.closed {
			q.running = false
			b.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		b.mu.Unlock()

		if !b.wait(time.Until(next.due)) {
			return
		}
		next.do()
	}
}

// show has the data plane serve l as it is now.
func (b *Backend) show(lb *loadBalancer, l *listener) {
	want := b.wanted(lb, l)
	b.propagate(lb, func() {
		if err := b.plane.Set(want); err != nil {
			b.log.Error("changing the data plane", "loadbalancer", lb.info.ID, "error", err)
		}
	})
}

// wanted is l in the data plane's terms.
func (b *Backend) wanted(lb *loadBalancer, l *listener) dataplane.Listener {
	s := l.info.Settings
	want := dataplane.Listener{
		ID:      l.info.ID,
		Network: network(l.info.Protocol),
		Addr:    netip.AddrPortFrom(lb.info.VIP, uint16(l.info.Port)),
	}
	if l.layer7() {
		want.HTTP = b.wantedHTTP(l)
		return want
	}
	want.Scheduler = dataplane.Scheduler(s.Scheduler)
	want.Sticky, want.Idle = b.seconds(s.SessionExpireTime), b.seconds(s.IdleConnectTimeout)
	want.ResetOnUnbind, want.SNAT = s.DeregisterTargetRst, s.SnatEnable
	want.MaxConn, want.MaxCPS = max(0, s.MaxConn), max(0, s.MaxCps)
	want.Reschedule = dataplane.Reschedule{
		ZeroWeight: s.Reschedule.ZeroWeight, Unhealthy: s.Reschedule.Unhealthy, Expand: s.Reschedule.Expand,
		After: b.seconds(s.Reschedule.StartTime), Over: b.seconds(s.Reschedule.Interval),
	}
	if l.info.Protocol == "TCP_SSL" {
		want.TLS = &dataplane.TLS{}
		want.TLS.Certificate, want.TLS.ClientCAs = b.certificates.find(s.Certificate)
	}
	want.Check = b.wantedCheck(s.HealthCheck)
	want.Targets = l.places[0].wanted()
	return want
}

// wantedHTTP is what layer 7 adds: the rules by domain, in the order of their creation.
func (b *Backend) wantedHTTP(l *listener) *dataplane.HTTP {
	s := l.info.Settings
	out := &dataplane.HTTP{TLS: l.info.Protocol == "HTTPS", KeepAlive: s.KeepAlive}
	own := s.Certificate
	if l.fallback != nil {
		out.DefaultDomain = l.fallback.name
		if s.SNI {
			// Clients that name no domain of the listener meet the default one.
			own = l.fallback.certificate
		}
	}
	out.Certificate, out.ClientCAs = b.certificates.find(own)

	at := make(map[*domain]int, len(l.domains))
	for i, d := range l.domains {
		domain := dataplane.Domain{Name: d.name, HTTP2: d.http2}
		domain.Certificate, domain.ClientCAs = b.certificates.find(d.certificate)
		out.Domains = append(out.Domains, domain)
		at[d] = i
	}
	for _, p := range l.places {
		d := &out.Domains[at[p.rule.domain]]
		d.Rules = append(d.Rules, b.wantedRule(p))
	}
	return out
}

func (b *Backend) wantedRule(p *place) dataplane.Rule {
	s := p.rule.settings
	return dataplane.Rule{
		ID: p.location, Path: matchURL(p.rule.url),
		Scheduler: dataplane.Scheduler(s.Scheduler), Sticky: b.seconds(s.SessionExpireTime), CookieName: s.CookieName,
		ForwardType: s.ForwardType, Check: b.wantedCheck(s.HealthCheck),
		Targets: p.wanted(), Redirect: p.rule.redirect.wanted(),
	}
}

// wanted is nil for none. The host of a wildcard domain is the request's own.
func (to *redirect) wanted() *dataplane.Redirect {
	if to == nil {
		return nil
	}
	r := to.place.rule
	out := &dataplane.Redirect{
		Code: to.code, Scheme: strings.ToLower(to.listener.info.Protocol), Host: r.domain.name,
		Port: to.listener.info.Port, Path: strings.TrimPrefix(matchURL(r.url), "= "), TakeURL: to.takeURL,
	}
	if strings.Contains(out.Host, "*") {
		out.Host = ""
	}
	return out
}

func (p *place) wanted() []dataplane.Target {
	targets := make([]dataplane.Target, len(p.targets))
	for i, t := range p.targets {
		targets[i] = dataplane.Target{Addr: t.addr, Weight: t.weight, Verdict: t.verdict, Label: t.tag}
	}
	return targets
}

func (b *Backend) wantedCheck(hc HealthCheck) dataplane.Check {
	check := dataplane.Check{
		On: hc.On, Kind: hc.Kind,
		Interval: b.seconds(hc.Interval), Timeout: b.seconds(hc.Timeout),
		HealthNum: int(hc.HealthNum), UnHealthNum: int(hc.UnHealthNum),
		Port:   uint16(hc.Port),
		Method: hc.Method, Path: hc.Path, Domain: hc.Domain, Version: hc.Version, Codes: int(hc.Codes),
		ExtendedCode: hc.ExtendedCode,
		Send:         hc.SendContext, Receive: hc.RecvContext,
	}
	if hc.ContextType == "HEX" {
		check.Send, check.Receive = unhex(hc.SendContext), unhex(hc.RecvContext)
	}
	return check
}

// seconds is how long so many seconds of a setting last.
func (b *Backend) seconds(n int64) time.Duration { return time.Duration(n) * b.opts.Second }

func network(protocol string) string {
	if protocol == "UDP" {
		return "udp"
	}
	return "tcp"
}

// unhex decodes what validation has found to be hexadecimal.
func unhex(s string) string {
	raw, _ := hex.DecodeString(s)
	return string(raw)
}
