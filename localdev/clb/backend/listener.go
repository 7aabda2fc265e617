package backend

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// NewListener is one listener that CreateListener asks for.
type NewListener struct {
	Protocol string
	Port     int
	Settings Settings
}

// CreateListeners starts creating listeners, all or none, and returns their ids.
func (b *Backend) CreateListeners(op Op, id string, wants []NewListener) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return nil, err
	}
	if err := b.free(lb); err != nil {
		return nil, err
	}
	taken := map[socket]bool{}
	for _, l := range lb.listeners {
		taken[l.socket()] = true
	}
	for _, want := range wants {
		key := socket{network(want.Protocol), want.Port}
		if taken[key] {
			return nil, failure("InvalidParameter.PortCheckFailed", "port %d of protocol %s is in use on loadbalancer %s.", want.Port, want.Protocol, id)
		}
		taken[key] = true
		if err := b.certificates.usable(want.Settings.Certificate, b.opts.Now()); err != nil {
			return nil, err
		}
		// A listener that was there may not have left the data plane yet.
		err := dataplane.Listenable(network(want.Protocol), netip.AddrPortFrom(lb.info.VIP, uint16(want.Port)))
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			return nil, failure("FailedOperation", "the emulator can't listen there: %v.", err)
		}
	}
	if limit := b.opts.Quotas.Listeners; len(taken) > limit {
		return nil, failure("LimitExceeded", "the quota of listeners per load balancer is %d, %d exist.", limit, len(lb.listeners))
	}

	var made []*listener
	var ids []string
	for _, want := range wants {
		l := b.newListener(want)
		made = append(made, l)
		ids = append(ids, l.info.ID)
	}
	return ids, b.start(op, []*loadBalancer{lb}, func() error {
		for _, l := range made {
			l.info.Created = b.opts.Now()
			lb.listeners = append(lb.listeners, l)
			b.show(lb, l)
		}
		return nil
	})
}

// socket is what listeners of a load balancer can't share: TCP, HTTP and HTTPS are the
// same to a port.
type socket struct {
	network string
	port    int
}

func (l *listener) socket() socket { return socket{network(l.info.Protocol), l.info.Port} }

func (b *Backend) newListener(want NewListener) *listener {
	l := &listener{info: Listener{ID: b.newID("lbl-"), Protocol: want.Protocol, Port: want.Port, Settings: want.Settings}}
	if !l.layer7() {
		l.places = []*place{newPlace()}
	}
	return l
}

// ModifyListener starts changing a listener's settings to what change makes of them.
func (b *Backend) ModifyListener(op Op, id, listenerID string, change func(protocol string, s Settings) (Settings, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return err
	}
	l, err := lb.listener(listenerID)
	if err != nil {
		return err
	}
	settings, err := change(l.info.Protocol, l.info.Settings)
	if err != nil {
		return err
	}
	if err := b.certificates.usable(settings.Certificate, b.opts.Now()); err != nil {
		return err
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		if settings.SNI && !l.info.Settings.SNI {
			// Domains go on with the certificate that they had from the listener.
			for _, d := range l.domains {
				d.certificate = l.info.Settings.Certificate
			}
			settings.Certificate = Certificate{}
		}
		l.info.Settings = settings
		b.show(lb, l)
		return nil
	})
}

// DeleteListeners starts deleting listeners, all or none; no ids are all listeners.
func (b *Backend) DeleteListeners(op Op, id string, listenerIDs []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return err
	}
	gone := slices.Clone(lb.listeners)
	if len(listenerIDs) > 0 {
		gone = nil
		for _, listenerID := range listenerIDs {
			l, err := lb.listener(listenerID)
			if err != nil {
				// Here the code is the general one; the message was seen by users.
				return failure("InvalidParameter", "some ListenerId %s not found.", listenerID)
			}
			gone = append(gone, l)
		}
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		for _, l := range gone {
			for _, other := range b.forget(lb, l.places) {
				if other != l {
					b.show(lb, other)
				}
			}
			lb.listeners = slices.DeleteFunc(lb.listeners, func(other *listener) bool { return other == l })
			b.propagate(lb, func() { b.plane.Remove(l.info.ID) })
		}
		return nil
	})
}
