package backend

import (
	"net/netip"
	"slices"
	"time"
)

// NewLoadBalancers is what CreateLoadBalancer asks for.
type NewLoadBalancers struct {
	Name, Type, VPC, Subnet string
	Tags                    []Tag
	Number                  int
	VIP                     netip.Addr
	ProjectID               uint64
	PassToTarget            bool
	// Token makes the call idempotent; Request is the rest of it, to tell a repetition
	// from a reuse.
	Token, Request string
}

// token is what a client token stands for.
type token struct {
	request string
	ids     []string
	task    *task
}

// CreateLoadBalancers starts creating instances and returns their ids and the deal name.
func (b *Backend) CreateLoadBalancers(op Op, want NewLoadBalancers) ([]string, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.tokens[want.Token]; want.Token != "" && t != nil {
		if t.request != want.Request {
			return nil, "", failure("InvalidParameter", "ClientToken %s was used with other parameters.", want.Token)
		}
		if t.task.Status == Failed {
			return nil, "", failure("InvalidParameter.ClientTokenLimitExceeded", "ClientToken %s has expired: its order has failed.", want.Token)
		}
		b.remember(op.ID, t.task)
		return slices.Clone(t.ids), t.task.deal, nil
	}
	if err := b.checkInstanceQuota(want); err != nil {
		return nil, "", err
	}

	prefix := b.opts.Public
	if want.Type == Internal {
		prefix = b.opts.Internal
	}
	var made []*loadBalancer
	for range want.Number {
		vip, err := b.takeVIP(want.VIP, prefix)
		if err != nil {
			for _, lb := range made {
				b.drop(lb)
			}
			return nil, "", err
		}
		made = append(made, b.newInstance(want, vip))
	}

	t := &task{Task: Task{Status: Running}, deal: b.newID("deal-")}
	for _, lb := range made {
		lb.task = op.ID
		t.LoadBalancerIDs = append(t.LoadBalancerIDs, lb.info.ID)
	}
	b.remember(op.ID, t)
	if want.Token != "" {
		b.tokens[want.Token] = &token{request: want.Request, ids: t.LoadBalancerIDs, task: t}
	}
	b.later(b.opts.Latencies.Create, func() {
		t.finish(op, func() error { return nil })
		for _, lb := range made {
			if t.Status == Failed {
				b.drop(lb)
				continue
			}
			lb.task = ""
			lb.info.Normal, lb.info.StatusTime = true, b.opts.Now()
			lb.info.VIP = lb.vip
		}
	})
	return slices.Clone(t.LoadBalancerIDs), t.deal, nil
}

func (b *Backend) newInstance(want NewLoadBalancers, vip netip.Addr) *loadBalancer {
	b.seq++
	now := b.opts.Now()
	lb := &loadBalancer{seq: b.seq, vip: vip, info: LoadBalancer{
		ID: b.newID("lb-"), Name: want.Name, Type: want.Type, VPC: want.VPC, Subnet: want.Subnet,
		Tags: slices.Clone(want.Tags), Created: now, StatusTime: now,
		ProjectID: want.ProjectID, PassToTarget: want.PassToTarget,
	}}
	if lb.info.Name == "" {
		lb.info.Name = lb.info.ID
	}
	b.lbs[lb.info.ID] = lb
	return lb
}

func (b *Backend) takeVIP(wanted netip.Addr, prefix netip.Prefix) (netip.Addr, error) {
	if !wanted.IsValid() {
		return b.vips.take(prefix)
	}
	if !prefix.Contains(wanted) {
		return netip.Addr{}, failure("InvalidParameterValue", "Vip %s is not in %s.", wanted, prefix)
	}
	if err := b.vips.reserve(wanted); err != nil {
		return netip.Addr{}, failure("InvalidParameterValue", "Vip %s is in use.", wanted)
	}
	return wanted, nil
}

func (b *Backend) checkInstanceQuota(want NewLoadBalancers) error {
	limit := b.opts.Quotas.OpenCLBs
	if want.Type == Internal {
		limit = b.opts.Quotas.InternalCLBs
	}
	if have := b.count(want.Type); have+want.Number > limit {
		return failure("LimitExceeded", "the quota of %s load balancers is %d, %d exist.", want.Type, limit, have)
	}
	return nil
}

func (b *Backend) count(kind string) int {
	n := 0
	for _, lb := range b.lbs {
		if lb.info.Type == kind {
			n++
		}
	}
	return n
}

// drop forgets an instance and frees its address.
func (b *Backend) drop(lb *loadBalancer) {
	delete(b.lbs, lb.info.ID)
	b.vips.release(lb.vip)
}

// DeleteLoadBalancers starts deleting instances, all or none.
func (b *Backend) DeleteLoadBalancers(op Op, ids []string, force bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lbs []*loadBalancer
	for _, id := range ids {
		lb, err := b.find(id)
		if err != nil {
			return err
		}
		if lb.info.DeleteProtect {
			return failure("OperationDenied", "loadbalancer %s is protected from deletion.", id)
		}
		// 20 is from the documentation of ForceDelete.
		if n := lb.targetCount(); n >= 20 && !force {
			return failure("FailedOperation.TargetNumCheckRisk", "loadbalancer %s has %d targets; set ForceDelete to delete it.", id, n)
		}
		lbs = append(lbs, lb)
	}

	now := b.opts.Now()
	b.deletions = slices.DeleteFunc(b.deletions, func(t time.Time) bool { return now.Sub(t) > 5*time.Minute })
	if len(b.deletions)+len(lbs) > b.opts.Quotas.Deletions {
		return failure("FailedOperation.FrequencyCheckRisk", "more than %d load balancers deleted within 5 minutes.", b.opts.Quotas.Deletions)
	}
	err := b.start(op, lbs, func() error {
		for _, lb := range lbs {
			b.delete(lb)
		}
		return nil
	})
	if err == nil {
		for range lbs {
			b.deletions = append(b.deletions, now)
		}
	}
	return err
}

// ModifyLoadBalancer changes an instance at once.
func (b *Backend) ModifyLoadBalancer(op Op, id string, change func(*LoadBalancer)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(id)
	if err != nil {
		return err
	}
	return b.now(op, lb, func() { change(&lb.info) })
}

// delete removes an instance; its address is free when the data plane has let go of it.
func (b *Backend) delete(lb *loadBalancer) {
	delete(b.lbs, lb.info.ID)
	listeners := lb.listeners
	lb.listeners = nil
	b.propagate(lb, func() {
		for _, l := range listeners {
			b.plane.Remove(l.info.ID)
		}
		b.vips.release(lb.vip)
	})
}
