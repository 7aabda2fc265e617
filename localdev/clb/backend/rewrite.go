package backend

import "slices"

// forget ends the redirects to places that are about to go, and removes the rules that
// were made for nothing else. It returns the listeners that changed.
func (b *Backend) forget(lb *loadBalancer, gone []*place) []*listener {
	set := make(map[*place]bool, len(gone))
	for _, p := range gone {
		set[p] = true
	}
	var touched []*listener
	for _, l := range lb.listeners {
		var orphans []*place
		changed := false
		for _, p := range l.places {
			if p.rule == nil || p.rule.redirect == nil || !set[p.rule.redirect.place] {
				continue
			}
			p.rule.redirect, changed = nil, true
			if p.rule.auto && len(p.targets) == 0 {
				orphans = append(orphans, p)
			}
		}
		if changed {
			l.discard(orphans)
			touched = append(touched, l)
		}
	}
	return touched
}

// showRedirects has the data plane learn of redirects whose target has changed; but
// those of the listener given, which it has been shown.
func (b *Backend) showRedirects(lb *loadBalancer, shown *listener, about func(*redirect) bool) {
	for _, l := range lb.listeners {
		if l == shown {
			continue
		}
		if slices.ContainsFunc(l.places, func(p *place) bool {
			return p.rule != nil && p.rule.redirect != nil && about(p.rule.redirect)
		}) {
			b.show(lb, l)
		}
	}
}
