package dataplane

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"time"
)

// pick chooses the target of a new flow from client, or nil if there is none.
//
//	some target of weight > 0 is Alive or Closed    one of those
//	none is, some are Dead                          one of the Dead ("all dead, all alive")
//	all are Unknown, or of weight 0, or none        nil
//
// (CLB health check overview: targets being detected get no traffic; if all are found
// abnormal, requests go to all of them.)
func (p *pool) pick(client netip.Addr, now time.Time) *target {
	p.mu.Lock()
	defer p.mu.Unlock()

	fit := p.fit(now, nil)
	if len(fit) == 0 {
		return nil
	}
	if p.policy.sticky <= 0 {
		return p.schedule(fit, client)
	}
	k := p.sticky[client]
	if k == nil || now.After(k.until) || !slices.Contains(fit, k.t) {
		k = &keeping{t: p.schedule(fit, client)}
		if p.sticky == nil {
			p.sticky = map[netip.Addr]*keeping{}
		}
		p.sticky[client] = k
	}
	k.until = now.Add(p.policy.sticky)
	return k.t
}

// fit is the targets that a new flow may go to, without those that it has tried; p.mu
// is held. A target that forwarding keeps out counts as dead.
func (p *pool) fit(now time.Time, tried []*target) []*target {
	fit := make([]*target, 0, len(p.targets))
	var dead []*target
	for _, t := range p.targets {
		if t.weight == 0 || slices.Contains(tried, t) {
			continue
		}
		switch state := t.verdict.State(); {
		case state.takesTraffic() && !t.blocked(now):
			fit = append(fit, t)
		case state != Unknown:
			dead = append(dead, t)
		}
	}
	if len(fit) == 0 && !p.plane.opts.RefuseDead {
		return dead
	}
	return fit
}

// schedule applies the scheduler to a non-empty list.
func (p *pool) schedule(fit []*target, client netip.Addr) *target {
	switch p.policy.scheduler {
	case LeastConn:
		return leastConn(fit)
	case IPHash:
		return ipHash(fit, client)
	default:
		return roundRobin(fit)
	}
}

// roundRobin is smooth weighted round robin: each gains its weight, the richest is
// chosen and pays the total. Weights 5, 1, 1 give a a b a c a a.
func roundRobin(fit []*target) *target {
	total := 0
	var best *target
	for _, t := range fit {
		total += t.weight
		t.current += t.weight
		if best == nil || t.current > best.current {
			best = t
		}
	}
	best.current -= total
	return best
}

// leastConn takes the least connections per weight; among equals it goes round, so that
// short connections one after the other still spread.
func leastConn(fit []*target) *target {
	least := fit[:0:0]
	for _, t := range fit {
		if len(least) > 0 {
			// a/wa < b/wb without division
			a, b := len(t.flows)*least[0].weight, len(least[0].flows)*t.weight
			if a > b {
				continue
			}
			if a < b {
				least = least[:0]
			}
		}
		least = append(least, t)
	}
	return roundRobin(least)
}

// ipHash gives each target the part of the hash space that its weight asks for.
func ipHash(fit []*target, client netip.Addr) *target {
	total := 0
	for _, t := range fit {
		total += t.weight
	}
	h := fnv.New32a()
	// Writing to a hash never fails.
	_, _ = h.Write(client.AsSlice())
	at := int(h.Sum32() % uint32(total))
	for _, t := range fit {
		if at -= t.weight; at < 0 {
			return t
		}
	}
	return fit[len(fit)-1]
}
