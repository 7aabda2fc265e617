package main

import (
	"net/netip"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb"
	"github.com/clb-direct/clb-direct/localdev/node"
	"github.com/clb-direct/clb-direct/tests/chaos/load"
)

// book has everything written down that is needed to judge a request: the requests, which
// target each connection and session got, and which pods were struck down.
type book struct {
	mu      sync.Mutex
	samples []load.Sample
	flows   map[ends][]clb.Flow
	strikes map[string]strike // by the pod's UID, the first one
	kills   []time.Time       // of replicas of the forwarder, by SIGKILL
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

// killed notes that a replica of the forwarder is about to be killed.
func (b *book) killed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills = append(b.kills, time.Now())
}

// noticed is how soon after a kill a connection to what was killed has ended.
const noticed = time.Second

// brokenHold is the strike that a pod took whose drain hook broke as the replica that it
// asked was killed: an unmodified kubelet goes on to SIGTERM then.
func (b *book) brokenHold(past []node.Moment) (strike, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var began time.Time
	for _, m := range past {
		switch m.What {
		case node.HookBegan:
			began = m.At
		case node.HookFailed:
			for _, kill := range b.kills {
				if began.Before(kill.Add(noticed)) && !m.At.Before(kill) && m.At.Before(kill.Add(noticed)) {
					return strike{m.At, "the end of the replica that held its hook"}, true
				}
			}
		}
	}
	return strike{}, false
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
