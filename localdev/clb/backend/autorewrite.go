package backend

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// The ports that AutoRewrite goes from and to (CLB API, AutoRewrite).
const (
	rewriteFrom = 80
	rewriteTo   = 443
)

// AutoRewrite is a domain that AutoRewrite names.
type AutoRewrite struct {
	Domain  string
	Code    int
	TakeURL bool
}

// twin is a rule of HTTPS:443 and the one of HTTP:80 that is to redirect to it, nil if
// there is none yet.
type twin struct {
	to, from *place
	want     AutoRewrite
}

// AutoRewrite starts redirecting HTTP:80 to the rules of an HTTPS:443 listener, by
// domain; a want without a domain is for all domains. The listener and the rules it
// takes are created. A rule that was there before keeps its targets, and redirects; what
// this action has set up before is set up again.
//
// The documentation has a domain refreshed by doing it again, and
// InvalidParameter.RewriteAlreadyExist among the errors: here that is for redirects to
// elsewhere.
func (b *Backend) AutoRewrite(op Op, id, listenerID string, wants []AutoRewrite, prepare func(Listener, NewRule) NewRule) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return err
	}
	to, err := lb.listener(listenerID)
	if err != nil {
		return err
	}
	if to.info.Protocol != "HTTPS" {
		return failure("InvalidParameter.ProtocolCheckFailed", "listener %s is of protocol %s, not HTTPS.", listenerID, to.info.Protocol)
	}
	if to.info.Port != rewriteTo {
		return failure("InvalidParameter.PortCheckFailed", "listener %s has port %d, not %d.", listenerID, to.info.Port, rewriteTo)
	}
	from, fresh, err := b.rewriteListener(lb)
	if err != nil {
		return err
	}
	twins, err := lb.twins(from, to, wants)
	if err != nil {
		return err
	}
	news := 0
	for _, t := range twins {
		if t.from == nil {
			news++
		}
	}
	if limit := b.opts.Quotas.Rules; len(from.places)+news > limit {
		return failure("LimitExceeded", "the quota of rules per listener is %d, %d exist on listener %s.", limit, len(from.places), from.info.ID)
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		if fresh {
			from.info.Created = b.opts.Now()
			lb.listeners = append(lb.listeners, from)
		}
		for _, t := range twins {
			if t.from == nil {
				rule := prepare(from.info, NewRule{Domain: t.to.rule.domain.name, URL: t.to.rule.url})
				t.from = b.addRule(from, b.newID("loc-"), rule)
				t.from.rule.auto = true
			}
			t.from.rule.redirect = &redirect{listener: to, place: t.to, code: t.want.Code, takeURL: t.want.TakeURL, auto: true}
		}
		b.show(lb, from)
		return nil
	})
}

// rewriteListener is HTTP:80, or what will be.
func (b *Backend) rewriteListener(lb *loadBalancer) (l *listener, fresh bool, err error) {
	for _, l := range lb.listeners {
		switch {
		case l.info.Protocol == "HTTP" && l.info.Port == rewriteFrom:
			return l, false, nil
		case l.socket() == socket{"tcp", rewriteFrom}:
			return nil, false, failure("InvalidParameter.PortCheckFailed", "port %d of loadbalancer %s is in use by protocol %s.", rewriteFrom, lb.info.ID, l.info.Protocol)
		}
	}
	if limit := b.opts.Quotas.Listeners; len(lb.listeners) >= limit {
		return nil, false, failure("LimitExceeded", "the quota of listeners per load balancer is %d, %d exist.", limit, len(lb.listeners))
	}
	err = dataplane.Listenable("tcp", netip.AddrPortFrom(lb.info.VIP, rewriteFrom))
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		return nil, false, failure("FailedOperation", "the emulator can't listen there: %v.", err)
	}
	return b.newListener(NewListener{Protocol: "HTTP", Port: rewriteFrom}), true, nil
}

// twins pairs the rules of the domains wanted.
func (lb *loadBalancer) twins(from, to *listener, wants []AutoRewrite) ([]*twin, error) {
	byDomain := map[string]AutoRewrite{}
	for _, want := range wants {
		if want.Domain != "" && to.domain(want.Domain) == nil {
			return nil, failure("InvalidParameter.LocationNotFound", "domain %q of listener %s not found.", want.Domain, to.info.ID)
		}
		byDomain[want.Domain] = want
	}
	all := lb.redirects()
	var twins []*twin
	for _, p := range to.places {
		want, found := byDomain[p.rule.domain.name]
		if !found {
			if want, found = byDomain[""]; !found {
				continue
			}
		}
		t := &twin{to: p, want: want}
		if have, err := from.path(p.rule.domain.name, p.rule.url); err == nil {
			t.from = have
		}
		if err := t.check(all); err != nil {
			return nil, err
		}
		twins = append(twins, t)
	}
	return twins, nil
}

func (t *twin) check(all redirects) error {
	if t.from == nil {
		return all.add(newPlace(), t.to)
	}
	if have := t.from.rule.redirect; have != nil && have.auto && have.place == t.to {
		return nil
	}
	return all.add(t.from, t.to)
}
