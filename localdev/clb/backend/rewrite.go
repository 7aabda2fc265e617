package backend

import "slices"

// Rewrite is one redirect that ManualRewrite or DeleteRewrite names, by the locations of
// the two rules.
type Rewrite struct {
	Source, Target string
	Code           int
	TakeURL        bool
	// Domain is that of the source; empty is not given.
	Domain string
}

// redirects are those of a load balancer while a call adds to them: what may not be
// source or target again.
type redirects struct{ sources, targets map[*place]bool }

func (lb *loadBalancer) redirects() redirects {
	all := redirects{map[*place]bool{}, map[*place]bool{}}
	for _, l := range lb.listeners {
		for _, p := range l.places {
			if p.rule != nil && p.rule.redirect != nil {
				all.sources[p], all.targets[p.rule.redirect.place] = true, true
			}
		}
	}
	return all
}

// add books one. "If A redirects to B, A can't redirect to C, and B can't redirect to
// anything" (CLB API, ManualRewrite).
func (r redirects) add(from, to *place) error {
	switch {
	case from == to:
		return failure("InvalidParameter", "location %s can't redirect to itself.", from.location)
	case r.sources[from]:
		return failure("InvalidParameter.RewriteAlreadyExist", "location %s redirects already.", from.location)
	case r.targets[from]:
		return failure("InvalidParameter.RewriteAlreadyExist", "location %s is the target of a redirect and can't redirect further.", from.location)
	case r.sources[to]:
		return failure("InvalidParameter.RewriteAlreadyExist", "location %s redirects itself and can't be the target of a redirect.", to.location)
	}
	r.sources[from], r.targets[to] = true, true
	return nil
}

// rewriteSides finds the two listeners of a redirect.
func (b *Backend) rewriteSides(id, source, target string) (lb *loadBalancer, from, to *listener, err error) {
	if lb, err = b.find(id); err != nil {
		return nil, nil, nil, err
	}
	if from, err = lb.listener(source); err != nil {
		return nil, nil, nil, err
	}
	if to, err = lb.listener(target); err != nil {
		return nil, nil, nil, err
	}
	for _, l := range []*listener{from, to} {
		if !l.layer7() {
			return nil, nil, nil, failure("InvalidParameter.ProtocolCheckFailed", "listener %s of protocol %s can't redirect.", l.info.ID, l.info.Protocol)
		}
	}
	return lb, from, to, nil
}

// ManualRewrite starts redirecting rules to others, all or none.
func (b *Backend) ManualRewrite(op Op, id, source, target string, wants []Rewrite) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, from, to, err := b.rewriteSides(id, source, target)
	if err != nil {
		return err
	}
	all, made := lb.redirects(), map[*place]*redirect{}
	for _, want := range wants {
		p, err := from.place(want.Source)
		if err != nil {
			return err
		}
		q, err := to.place(want.Target)
		if err != nil {
			return err
		}
		if want.Domain != "" && want.Domain != p.rule.domain.name {
			return failure("InvalidParameterValue", "SourceDomain %q is not the domain of location %s.", want.Domain, want.Source)
		}
		if from.auto(p.rule.domain) {
			return failure("InvalidParameter.RewriteAlreadyExist", "domain %q redirects automatically.", p.rule.domain.name)
		}
		if err := all.add(p, q); err != nil {
			return err
		}
		made[p] = &redirect{listener: to, place: q, code: want.Code, takeURL: want.TakeURL}
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		for p, to := range made {
			p.rule.redirect = to
		}
		b.show(lb, from)
		return nil
	})
}

// auto says whether a domain's rules redirect by AutoRewrite: it can't have others then
// (CLB, "Layer-7 Redirection Configuration").
func (l *listener) auto(d *domain) bool {
	return slices.ContainsFunc(l.places, func(p *place) bool {
		return p.rule.domain == d && p.rule.redirect != nil && p.rule.redirect.auto
	})
}

// DeleteRewrites starts ending redirects, all or none. Rules that AutoRewrite has made
// stay.
func (b *Backend) DeleteRewrites(op Op, id, source, target string, old []Rewrite) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, from, to, err := b.rewriteSides(id, source, target)
	if err != nil {
		return err
	}
	var gone []*place
	for _, o := range old {
		p, err := from.place(o.Source)
		if err != nil || p.rule.redirect == nil || p.rule.redirect.listener != to || p.rule.redirect.place.location != o.Target {
			return failure("InvalidParameter.SomeRewriteNotFound", "location %s does not redirect to %s.", o.Source, o.Target)
		}
		gone = append(gone, p)
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		for _, p := range gone {
			p.rule.redirect = nil
		}
		b.show(lb, from)
		return nil
	})
}

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
