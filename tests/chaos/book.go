package main

import (
	"net/netip"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// book has everything written down that is needed to judge a request: the requests, which
// target each connection and session got, and which pods were struck down.
type book struct {
	mu      sync.Mutex
	samples []load.Sample
	flows   map[ends][]clb.Flow
	strikes map[string]strike // by the pod's UID, the first one
}

// ends are the addresses of a connection, or UDP session, at a load balancer.
type ends struct{ listener, client netip.AddrPort }

// strike is what a fault did to a pod that no drain could come before.
type strike struct {
	at   time.Time
	what string
}

// remembered is how many flows between the same ends are kept: a kept one is moved.
const remembered = 4

func newBook() *book {
	return &book{flows: map[ends][]clb.Flow{}, strikes: map[string]strike{}}
}

// flow is clb.Options.OnFlow.
func (b *book) flow(f clb.Flow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := ends{f.Listener, f.Client}
	flows := append(b.flows[at], f)
	b.flows[at] = flows[max(0, len(flows)-remembered):]
}

// sample takes a request that is over.
func (b *book) sample(s load.Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples = append(b.samples, s)
}

// struck notes what is about to be done to a pod.
func (b *book) struck(uid, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, already := b.strikes[uid]; !already {
		b.strikes[uid] = strike{time.Now(), what}
	}
}

// strike is what was done to a pod, if anything.
func (b *book) strike(uid string) (strike, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.strikes[uid]
	return s, ok
}

// take gives the requests that are over, once.
func (b *book) take() []load.Sample {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.samples
	b.samples = nil
	return out
}

// behind is the flow that carried a request, the latest between its ends before its end.
func (b *book) behind(s load.Sample) (clb.Flow, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	flows := b.flows[ends{s.To, s.From}]
	for i := len(flows) - 1; i >= 0; i-- {
		if !flows[i].At.After(s.Ended) {
			return flows[i], true
		}
	}
	return clb.Flow{}, false
}
