package webhook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// listTimeout leaves the API server, which waits 3 s for us, time to go on.
const listTimeout = 1500 * time.Millisecond

// Fresh lists the Services of a namespace whose pods get a gate, whoever asks
// meanwhile sharing the next list: one that began before the question could miss what
// was made before the question.
type Fresh struct {
	list func(ctx context.Context, namespace string) ([]model.Service, error)

	mu      sync.Mutex
	flights map[string]*flight
}

// flight is a namespace's list under way, and the one that comes after it.
type flight struct{ next *call }

type call struct {
	done     chan struct{}
	services []model.Service
	err      error
}

// NewFresh lists with client what policy claims: Services, and those behind
// Ingresses.
func NewFresh(client *kube.Client, policy desired.Policy) *Fresh {
	return newFresh(func(ctx context.Context, namespace string) ([]model.Service, error) {
		var services []model.Service
		var ingresses []model.Ingress
		var servicesErr, ingressesErr error
		var both sync.WaitGroup
		both.Go(func() { services, servicesErr = client.Services(ctx, namespace, "", nil) })
		both.Go(func() { ingresses, ingressesErr = client.Ingresses(ctx, namespace, "", nil) })
		both.Wait()
		// What is known is of use, whatever else couldn't be read.
		return claimed(services, ingresses, policy), errors.Join(servicesErr, ingressesErr)
	})
}

// claimed are those of services that are claimed or that a claimed Ingress names.
func claimed(services []model.Service, ingresses []model.Ingress, policy desired.Policy) []model.Service {
	names := map[string]bool{}
	add := func(o desired.Object) {
		if ours, _ := desired.Claimed(o, policy); ours {
			for _, name := range desired.ServicesOf(o) {
				names[name] = true
			}
		}
	}
	for i := range services {
		add(desired.ServiceObject(&services[i]))
	}
	for i := range ingresses {
		add(desired.IngressObject(&ingresses[i]))
	}
	return slices.DeleteFunc(services, func(s model.Service) bool { return !names[s.Name] })
}

func newFresh(list func(context.Context, string) ([]model.Service, error)) *Fresh {
	return &Fresh{list: list, flights: map[string]*flight{}}
}

// Services gives the Services of a namespace whose pods get a gate, as they are now or
// later: with an error too what is known all the same.
func (f *Fresh) Services(ctx context.Context, namespace string) ([]model.Service, error) {
	c := f.join(namespace)
	select {
	case <-c.done:
		return c.services, c.err
	case <-ctx.Done():
		return nil, noAnswer(ctx)
	}
}

func (f *Fresh) join(namespace string) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.flights[namespace]; at != nil {
		if at.next == nil {
			at.next = &call{done: make(chan struct{})}
		}
		return at.next
	}
	c := &call{done: make(chan struct{})}
	f.flights[namespace] = &flight{}
	go f.fly(namespace, c)
	return c
}

// fly lists until nobody waits for another list.
func (f *Fresh) fly(namespace string, c *call) {
	for c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
		c.services, c.err = f.list(ctx, namespace)
		cancel()
		close(c.done)
		f.mu.Lock()
		at := f.flights[namespace]
		c, at.next = at.next, nil
		if c == nil {
			delete(f.flights, namespace)
		}
		f.mu.Unlock()
	}
}
