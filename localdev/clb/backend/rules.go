package backend

import (
	"cmp"
	"slices"
	"strings"
)

// NewRule is one rule that CreateRule asks for.
type NewRule struct {
	// Domain is the virtual address if empty.
	Domain, URL string
	Settings    RuleSettings
	// Certificate, HTTP2 and Default are the domain's; nil leaves what it has.
	Certificate    *Certificate
	HTTP2, Default *bool
}

// matchURL is what a path matches: two spellings of one can't both be rules.
func matchURL(url string) string {
	if exact, isExact := strings.CutPrefix(url, "="); isExact {
		return "= " + strings.TrimSpace(exact)
	}
	return strings.TrimSpace(strings.TrimPrefix(url, "^~"))
}

// CreateRules starts creating rules, all or none, and returns their locations in order.
// prepare fills in the settings of each, by its index, from what the listener is.
func (b *Backend) CreateRules(op Op, id, listenerID string, wants []NewRule, prepare func(i int, l Listener, r NewRule) (NewRule, error)) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return nil, err
	}
	if err := b.free(lb); err != nil {
		return nil, err
	}
	l, err := lb.rules(listenerID)
	if err != nil {
		return nil, err
	}
	wants = slices.Clone(wants)
	for i := range wants {
		wants[i].Domain = cmp.Or(wants[i].Domain, lb.info.VIP.String())
		if wants[i], err = prepare(i, l.info, wants[i]); err != nil {
			return nil, err
		}
	}
	if err := b.canCreate(l, wants); err != nil {
		return nil, err
	}

	ids := make([]string, len(wants))
	for i := range ids {
		ids[i] = b.newID("loc-")
	}
	return ids, b.start(op, []*loadBalancer{lb}, func() error {
		for i, want := range wants {
			b.addRule(l, ids[i], want)
		}
		b.show(lb, l)
		return nil
	})
}

// key is what is unique among the rules of a listener.
type key struct{ domain, url string }

func (r *rule) key() key { return key{r.domain.name, matchURL(r.url)} }

// canCreate checks new rules against those that exist and each other.
func (b *Backend) canCreate(l *listener, wants []NewRule) error {
	taken := map[key]bool{}
	for _, p := range l.places {
		taken[p.rule.key()] = true
	}
	fallback := ""
	for _, want := range wants {
		k := key{want.Domain, matchURL(want.URL)}
		if taken[k] {
			return failure("InvalidParameterValue", "the rule of domain %q and url %q exists on listener %s.", want.Domain, want.URL, l.info.ID)
		}
		taken[k] = true
		if want.Default != nil && *want.Default {
			if fallback != "" && fallback != want.Domain {
				return failure("InvalidParameterValue", "a listener has one default domain, not %q and %q.", fallback, want.Domain)
			}
			fallback = want.Domain
		}
		if want.Certificate != nil {
			if err := b.certificates.usable(*want.Certificate, b.opts.Now()); err != nil {
				return err
			}
		}
	}
	if limit := b.opts.Quotas.Rules; len(taken) > limit {
		return failure("LimitExceeded", "the quota of rules per listener is %d, %d exist on listener %s.", limit, len(l.places), l.info.ID)
	}
	return nil
}

// addRule adds a rule that was checked; the first of a listener makes its domain the
// default one (CLB, "Layer-7 Domain Name Forwarding and URL Rules").
func (b *Backend) addRule(l *listener, id string, want NewRule) *place {
	d := l.domain(want.Domain)
	if d == nil {
		d = &domain{name: want.Domain}
		l.domains = append(l.domains, d)
	}
	if want.HTTP2 != nil {
		d.http2 = *want.HTTP2
	}
	if want.Certificate != nil {
		d.certificate = *want.Certificate
	}
	if l.fallback == nil || want.Default != nil && *want.Default {
		l.fallback = d
	}
	p := newPlace()
	p.location = id
	p.rule = &rule{domain: d, url: want.URL, created: b.opts.Now(), settings: want.Settings}
	l.places = append(l.places, p)
	return p
}

// ModifyRule starts changing a rule to what change makes of it.
func (b *Backend) ModifyRule(op Op, id, listenerID, location string, change func(l Listener, r Rule) (Rule, error)) error {
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
	p, err := l.place(location)
	if err != nil {
		return err
	}
	to, err := change(l.info, *l.describe(p))
	if err != nil {
		return err
	}
	if same, err := l.path(p.rule.domain.name, to.URL); err == nil && same != p {
		return failure("InvalidParameterValue", "the rule of domain %q and url %q exists on listener %s.", p.rule.domain.name, to.URL, listenerID)
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		p.rule.url, p.rule.settings = to.URL, to.Settings
		b.show(lb, l)
		b.showRedirects(lb, l, func(to *redirect) bool { return to.place == p })
		return nil
	})
}

// OldRules are the rules that DeleteRule names: by Locations, or else by Domain, with or
// without a URL.
type OldRules struct {
	Locations   []string
	Domain, URL string
	// NewDefault takes over if the default domain goes; empty is the oldest of the rest.
	NewDefault string
}

// DeleteRules starts deleting rules, all or none.
func (b *Backend) DeleteRules(op Op, id, listenerID string, old OldRules) error {
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
	gone, err := l.named(old)
	if err != nil {
		return err
	}
	fallback, err := b.nextDefault(l, gone, old.NewDefault)
	if err != nil {
		return err
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		touched := b.forget(lb, gone)
		l.discard(gone)
		if fallback != nil {
			l.fallback = fallback
		}
		b.show(lb, l)
		for _, other := range touched {
			if other != l {
				b.show(lb, other)
			}
		}
		return nil
	})
}

func (l *listener) named(old OldRules) ([]*place, error) {
	var gone []*place
	for _, location := range old.Locations {
		p, err := l.place(location)
		if err != nil {
			return nil, err
		}
		gone = append(gone, p)
	}
	if len(old.Locations) > 0 {
		return gone, nil
	}
	if old.URL != "" {
		p, err := l.path(old.Domain, old.URL)
		return []*place{p}, err
	}
	for _, p := range l.places {
		if p.rule.domain.name == old.Domain {
			gone = append(gone, p)
		}
	}
	if len(gone) == 0 {
		return nil, failure("InvalidParameter.LocationNotFound", "domain %q of listener %s not found.", old.Domain, l.info.ID)
	}
	return gone, nil
}

// nextDefault is the default domain once rules are gone: the one named, if any. The
// documentation has it named by users of the console, and chosen by age for those of the
// API.
func (b *Backend) nextDefault(l *listener, gone []*place, name string) (*domain, error) {
	left := map[*domain]bool{}
	for _, p := range l.places {
		if !slices.Contains(gone, p) {
			left[p.rule.domain] = true
		}
	}
	if name != "" {
		d := l.domain(name)
		if d == nil || !left[d] {
			return nil, failure("InvalidParameter", "the new default domain %q is not on listener %s.", name, l.info.ID)
		}
		return d, nil
	}
	if len(left) > 0 && !left[l.fallback] && b.opts.NameDefault {
		return nil, failure("InvalidParameter", "domain %q is the default of listener %s: NewDefaultServerDomain is needed.", l.fallback.name, l.info.ID)
	}
	return nil, nil
}
