package reconcile

import (
	"time"

	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
)

// byLoadBalancer sorts the subjects of ours by the CLB they use.
func (p *pass) byLoadBalancer(subjects []*subject) map[string][]*subject {
	out := map[string][]*subject{}
	for _, s := range subjects {
		if ours, _ := desired.Claimed(s.Object, p.Policy); ours && desired.LoadBalancerOf(s.Front) != "" {
			id := desired.LoadBalancerOf(s.Front)
			out[id] = append(out[id], s)
		}
	}
	return out
}

// about is the pass's event, narrowed to one CLB and its objects.
func (p *pass) about(lb string, subjects []*subject) event.Request {
	req := p.req
	req.Partition = lb
	req.Sync.LoadBalancers, req.Sync.Objects, req.Sync.All = []string{lb}, nil, true
	for _, s := range subjects {
		req.Sync.Objects = append(req.Sync.Objects, event.Ref(s.Ref()))
	}
	return req
}

// absorb adds what another pass answered to this one's answer.
func (p *pass) absorb(r event.Reply) {
	p.reply.Continue = p.reply.Continue || r.Continue
	if r.RequeueAfterMillis > 0 {
		p.reply.RequeueAfter(time.Duration(r.RequeueAfterMillis) * time.Millisecond)
	}
	p.reply.Pending += r.Pending
	p.reply.PendingPods = append(p.reply.PendingPods, r.PendingPods...)
	p.reply.Wake = append(p.reply.Wake, r.Wake...)
	if p.reply.Failure == nil {
		p.reply.Failure = r.Failure
	}
	for what, n := range r.Writes {
		p.wrote(what, n)
	}
	for action, n := range r.Calls {
		p.called(action, n)
	}
}
