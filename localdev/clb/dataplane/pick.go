package dataplane

import (
	"hash/fnv"
	"net/netip"
	"time"
)

// pick chooses the target of a new connection from client, or nil if there is none.
//
//	some target of weight > 0 is Alive or Closed    one of those
//	none is, some are Dead                          one of the Dead ("all dead, all alive")
//	all are Unknown, or of weight 0, or none        nil
//
// (CLB health check overview: targets being detected get no traffic; if all are found
// abnormal, requests go to all of them.)
func (f *forwarder) pick(client netip.Addr, now time.Time) *target {
	f.mu.Lock()
	defer f.mu.Unlock()

	var fit, dead []*target
	for _, t := range f.targets {
		if t.weight == 0 {
			continue
		}
		switch state := t.verdict.State(); {
		case state.takesTraffic():
			fit = append(fit, t)
		case state == Dead:
			dead = append(dead, t)
		}
	}
	if len(fit) == 0 && !f.plane.opts.RefuseDead {
		fit = dead
	}
	if len(fit) == 0 {
		return nil
	}

	if f.l.Sticky <= 0 {
		return f.schedule(fit, client)
	}
	k := f.sticky[client]
	if k == nil || now.After(k.until) || !contains(fit, k.t) {
		k = &keeping{t: f.schedule(fit, client)}
		if f.sticky == nil {
			f.sticky = map[netip.Addr]*keeping{}
		}
		f.sticky[client] = k
	}
	k.until = now.Add(f.l.Sticky)
	return k.t
}

func contains(targets []*target, t *target) bool {
	for _, other := range targets {
		if other == t {
			return true
		}
	}
	return false
}

// schedule applies the listener's scheduler to a non-empty list.
func (f *forwarder) schedule(fit []*target, client netip.Addr) *target {
	switch f.l.Scheduler {
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
