package backend

import (
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// queue is what of one load balancer has still to reach the data plane. One goroutine
// works it off, so that what is due early still waits for what was before it.
type queue struct {
	waiting []step
	running bool
}

type step struct {
	due time.Time
	do  func()
}

// propagate has do happen on the data plane after the propagation latency, never before
// what the same load balancer was told earlier.
func (b *Backend) propagate(lb *loadBalancer, do func()) {
	d := b.between(b.opts.Latencies.Propagation)
	q := &lb.queue
	if d <= 0 && !q.running {
		do()
		return
	}
	if b.closed {
		return
	}
	q.waiting = append(q.waiting, step{due: time.Now().Add(d), do: do})
	if q.running {
		return
	}
	q.running = true
	b.running.Go(func() { b.drain(q) })
}

// drain works a queue off until it is empty.
func (b *Backend) drain(q *queue) {
	for {
		b.mu.Lock()
		if len(q.waiting) == 0 || b.closed {
			q.running = false
			b.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		b.mu.Unlock()

		if !b.wait(time.Until(next.due)) {
			return
		}
		next.do()
	}
}

// show has the data plane serve l as it is now.
func (b *Backend) show(lb *loadBalancer, l *listener) {
	want := b.wanted(lb, l)
	b.propagate(lb, func() {
		if err := b.plane.Set(want); err != nil {
			b.log.Error("changing the data plane", "loadbalancer", lb.info.ID, "error", err)
		}
	})
}

// wanted is l in the data plane's terms.
func (b *Backend) wanted(lb *loadBalancer, l *listener) dataplane.Listener {
	s := l.info.Settings
	second := func(n int64) time.Duration { return time.Duration(n) * b.opts.Second }
	hc := s.HealthCheck
	want := dataplane.Listener{
		ID:            l.info.ID,
		Network:       network(l.info.Protocol),
		Addr:          netip.AddrPortFrom(lb.info.VIP, uint16(l.info.Port)),
		Scheduler:     dataplane.Scheduler(s.Scheduler),
		Sticky:        second(s.SessionExpireTime),
		Idle:          second(s.IdleConnectTimeout),
		ResetOnUnbind: s.DeregisterTargetRst,
		SNAT:          s.SnatEnable,
		Check: dataplane.Check{
			On: hc.On, Kind: hc.Kind,
			Interval: second(hc.Interval), Timeout: second(hc.Timeout),
			HealthNum: int(hc.HealthNum), UnHealthNum: int(hc.UnHealthNum),
			Port:   uint16(hc.Port),
			Method: hc.Method, Path: hc.Path, Domain: hc.Domain, Version: hc.Version, Codes: int(hc.Codes),
			Send: hc.SendContext, Receive: hc.RecvContext,
		},
	}
	if hc.ContextType == "HEX" {
		want.Check.Send, want.Check.Receive = unhex(hc.SendContext), unhex(hc.RecvContext)
	}
	for _, p := range l.places {
		for _, t := range p.targets {
			want.Targets = append(want.Targets, dataplane.Target{Addr: t.addr, Weight: t.weight, Verdict: t.verdict})
		}
	}
	return want
}

func network(protocol string) string {
	if protocol == "UDP" {
		return "udp"
	}
	return "tcp"
}

// unhex decodes what validation has found to be hexadecimal.
func unhex(s string) string {
	raw, _ := hex.DecodeString(s)
	return string(raw)
}
