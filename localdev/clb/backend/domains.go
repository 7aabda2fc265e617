package backend

// DomainChange is what ModifyDomain and ModifyDomainAttributes say about a domain; what
// is zero stays.
type DomainChange struct {
	Name           string
	Certificate    *Certificate
	HTTP2, Default *bool
	// NewDefault is the default domain in place of this one.
	NewDefault string
}

// ModifyDomain starts changing what the rules of a domain share, after check has seen
// the listener. Names are of domains that have rules.
func (b *Backend) ModifyDomain(op Op, id, listenerID, name string, change DomainChange, check func(Listener) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return err
	}
	l, err := lb.rules(listenerID)
	if err != nil {
		return err
	}
	d := l.domain(name)
	if d == nil {
		return failure("InvalidParameter", "domain %q of listener %s not found.", name, listenerID)
	}
	if err := check(l.info); err != nil {
		return err
	}
	if other := l.domain(change.Name); other != nil && other != d {
		return failure("InvalidParameterValue", "domain %q exists on listener %s.", change.Name, listenerID)
	}
	if change.Certificate != nil {
		if err := b.certificates.usable(*change.Certificate, b.opts.Now()); err != nil {
			return err
		}
	}
	fallback, err := l.changeDefault(d, change)
	if err != nil {
		return err
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		l.fallback = fallback
		if change.Name != "" {
			d.name = change.Name
		}
		if change.Certificate != nil {
			d.certificate = *change.Certificate
		}
		if change.HTTP2 != nil {
			d.http2 = *change.HTTP2
		}
		b.show(lb, l)
		b.showRedirects(lb, l, func(to *redirect) bool { return to.place.rule.domain == d })
		return nil
	})
}

// changeDefault is the default domain after a change to d: a listener always has one,
// so that closing one names the next (CLB API, ModifyDomainAttributes).
func (l *listener) changeDefault(d *domain, change DomainChange) (*domain, error) {
	if change.Default != nil && *change.Default {
		if change.NewDefault != "" && change.NewDefault != d.name {
			return nil, failure("InvalidParameter", "DefaultServer and NewDefaultServerDomain %q name two default domains.", change.NewDefault)
		}
		return d, nil
	}
	if change.NewDefault != "" {
		next := l.domain(change.NewDefault)
		if next == nil || next == d {
			return nil, failure("InvalidParameter", "the new default domain %q is not another of listener %s.", change.NewDefault, l.info.ID)
		}
		if l.fallback == d {
			return next, nil
		}
		return l.fallback, nil
	}
	if change.Default != nil && l.fallback == d {
		return nil, failure("MissingParameter", "domain %q is the default of listener %s: NewDefaultServerDomain is needed.", d.name, l.info.ID)
	}
	return l.fallback, nil
}
