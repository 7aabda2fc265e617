package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
)

// resyncRate is how many calls a second per action a resync makes of itself: a tenth of
// the 20 that there are (CLB API, rate limits).
const resyncRate = 2

// memoryName is the ConfigMap in which a resync remembers from one time to the next.
const memoryName = "clb-direct-resync"

// knownKey is the key in memory of the CLBs that were in use.
const knownKey = "balancers"

// Resync puts right whatever was missed, interrupted or changed by hand, without being
// told where:
//
//   - read everything of ours in Kubernetes and what the CLBs hold, without a lock
//   - where they differ, take the same passes that an event would have
//   - what is ours and wanted by nobody goes when it is seen so twice
//   - tell of pods that count as Ready without the load balancer's word
//
// A dry run answers with the plan and touches nothing.
func (w *World) Resync(ctx context.Context, req event.Request) event.Reply {
	if len(req.Sync.Grant) == 0 {
		req.Sync.Grant = map[string]float64{"*": resyncRate}
	}
	p := w.begin(req)
	if err := p.resync(ctx); err != nil {
		p.fail(err)
	}
	return p.finish()
}

func (p *pass) resync(ctx context.Context) error {
	if err := p.Kube.Check(ctx); err != nil {
		return err
	}
	memory, err := p.Kube.Remember(ctx, model.Ref{Namespace: p.LeaseNamespace, Name: memoryName})
	if err != nil {
		return err
	}
	s, err := p.survey(ctx, strings.Fields(memory.Data[knownKey]))
	if err != nil {
		return err
	}
	p.reply.Plan = s.plan
	if p.req.Sync.DryRun {
		p.reply.Pending = len(s.readiness)
		return nil
	}
	p.mend(ctx, s)
	p.sweep(ctx, s, memory)
	p.tellSlipped(ctx, s)
	return p.Kube.Keep(ctx, memory)
}

// mend has the passes whose business it is put right what a survey found.
func (p *pass) mend(ctx context.Context, s *survey) {
	for _, at := range slices.Sorted(maps.Keys(s.frontend)) {
		if p.out(ctx) {
			return
		}
		req := p.req
		req.Partition, req.Sync.LoadBalancers, req.Sync.Objects, req.Sync.All = at, nil, refsOf(s.frontend[at]), false
		p.through(ctx, func() event.Reply { return p.World.Frontend(ctx, req) })
	}
	// What the listeners' being made again has to bind is told by their pass.
	backends := maps.Clone(s.backends)
	for _, wake := range p.reply.Wake {
		if wake.Function == event.Backends && len(wake.Sync.LoadBalancers) == 1 && backends[wake.Sync.LoadBalancers[0]] == nil {
			backends[wake.Sync.LoadBalancers[0]] = p.byLoadBalancer(s.subjects)[wake.Sync.LoadBalancers[0]]
		}
	}
	for _, lb := range slices.Sorted(maps.Keys(backends)) {
		if p.out(ctx) {
			return
		}
		p.through(ctx, func() event.Reply { return p.World.Backends(ctx, p.about(lb, backends[lb])) })
	}
	// Each pod that waits counts once, whoever else has met it on the way.
	if p.reply.Pending = len(s.readiness); p.reply.Pending > 0 && !p.out(ctx) {
		sub := p.begin(p.req)
		sub.decide(ctx, sub.session(nil), p.claimed(slices.Clone(s.subjects)), s.readiness)
		p.reply.Pending = 0
		p.absorb(sub.finish())
	}
}

// through takes a pass again and again until it is through. One that writes for long
// hands over, so that whoever waits for the CLB gets its turn, and is asked again by the
// forwarder; a resync has nobody who would before the next timer. One that hands over
// with nothing done would do so again.
func (p *pass) through(ctx context.Context, run func() event.Reply) {
	for {
		r := run()
		again := r.Continue && len(r.Writes) > 0
		r.Continue = r.Continue && !again
		p.absorb(r)
		if !again || p.out(ctx) {
			return
		}
	}
}

// out tells whether there is no time for another pass.
func (p *pass) out(ctx context.Context) bool {
	if p.late(ctx, reserve) {
		p.reply.Continue = true
		return true
	}
	return false
}

// sweep deletes what was already unwanted before, and remembers what is so now.
func (p *pass) sweep(ctx context.Context, s *survey, memory *kube.Memory) {
	seen := map[string]bool{}
	for _, u := range s.unwanted {
		first, err := time.Parse(time.RFC3339, memory.Data[u.key()])
		if err == nil && p.Now().Sub(first) >= sightAge {
			gone, err := p.discard(ctx, u)
			if err != nil {
				p.fail(err)
			}
			if gone {
				delete(memory.Data, u.key())
				continue
			}
		}
		seen[u.key()] = true
		if err != nil {
			memory.Data[u.key()] = p.Now().UTC().Format(time.RFC3339)
		}
	}
	used := map[string]bool{}
	for _, subject := range s.subjects {
		if id := desired.LoadBalancerOf(subject.Front); id != "" && desired.Held(subject.Front) {
			used[id] = true
		}
	}
	forget(memory.Data, seen, used, only(p.req.Sync.LoadBalancers) == nil && !p.reply.Continue && p.reply.Failure == nil)
}

// forget keeps in memory what was seen unwanted now, and the CLBs that are used or not
// clean yet. What a survey didn't look at, as it was about some CLBs or wasn't whole for
// another reason, is no less unwanted for that, and nowhere else is it written that a
// CLB of somebody else's was used.
func forget(data map[string]string, seen, used map[string]bool, whole bool) {
	if whole {
		maps.DeleteFunc(data, func(key, _ string) bool { return key != knownKey && !seen[key] })
	} else {
		for _, lb := range strings.Fields(data[knownKey]) {
			used[lb] = true
		}
	}
	for key := range data {
		if lb, _, isListener := strings.Cut(key, "."); isListener {
			used[lb] = true
		}
	}
	if delete(data, knownKey); len(used) > 0 {
		data[knownKey] = strings.Join(slices.Sorted(maps.Keys(used)), " ")
	}
}

// discard deletes what nobody wants, after another look under the Lease. A CLB that
// carries anybody's listener but ours is left to them.
func (p *pass) discard(ctx context.Context, u unwanted) (gone bool, err error) {
	session, release, ok := p.lock(ctx, u.lb.ID)
	if !ok {
		return false, nil
	}
	defer release()
	observed, err := session.Listeners(ctx, u.lb.ID)
	if clb.Code(err) == clb.CodeLBGone {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if u.listener.ID != "" {
		if !slices.ContainsFunc(observed, func(l model.Listener) bool { return l.ID == u.listener.ID && l.Name == u.listener.Name }) {
			return true, nil
		}
		if err := session.DeleteListeners(ctx, u.lb.ID, []string{u.listener.ID}); err != nil {
			return false, err
		}
		p.wrote("Listeners", 1)
		p.Log.Warn("deleted what nobody wants", "what", u.String())
		return true, nil
	}
	for _, l := range observed {
		if o, ours := desired.OwnerOf(l.Name); !ours || o.Cluster != p.Policy.Cluster {
			p.Log.Warn("left to its listeners' owners", "what", u.String(), "listener", l.Name)
			return false, nil
		}
	}
	if err := session.DeleteLoadBalancer(ctx, u.lb.ID); err != nil {
		return false, err
	}
	p.wrote("LoadBalancers", 1)
	p.Log.Warn("deleted what nobody wants", "what", u.String())
	return true, nil
}
