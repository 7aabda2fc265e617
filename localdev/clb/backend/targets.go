package backend

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/clb-direct/clb-direct/localdev/clb/dataplane"
)

// Where names a place targets live at: a listener, and at layer 7 a location, by its id
// or else by domain and path.
type Where struct{ Listener, Location, Domain, URL string }

// Binding is a target at a place. Which fields count depends on the call.
type Binding struct {
	Where
	Addr   netip.AddrPort
	Weight int
	Tag    string
}

// FailedListeners is the partial failure of a batch: nothing at these listeners was
// changed, everything at the others was.
type FailedListeners struct {
	IDs     []string
	Message string
}

// group is the part of a batch that concerns one place.
type group struct {
	l        *listener
	p        *place
	bindings []Binding
}

// groups sorts bindings by place, in order of appearance. An unknown place fails the
// whole call.
func (lb *loadBalancer) groups(bindings []Binding) ([]*group, error) {
	var all []*group
	byWhere, byPlace := map[Where]*group{}, map[*place]*group{}
	for _, bind := range bindings {
		g := byWhere[bind.Where]
		if g == nil {
			l, p, err := lb.place(bind.Where)
			if err != nil {
				return nil, err
			}
			if g = byPlace[p]; g == nil {
				g = &group{l: l, p: p}
				byPlace[p] = g
				all = append(all, g)
			}
			byWhere[bind.Where] = g
		}
		g.bindings = append(g.bindings, bind)
	}
	return all, nil
}

// String is the place's name in messages.
func (g *group) String() string {
	if g.p.location == "" {
		return "listener " + g.l.info.ID
	}
	return "location " + g.p.location + " of listener " + g.l.info.ID
}

// change is one of the things that can be done to the targets of a place. check says
// why a group can't have it, before anything is applied.
type change struct {
	check func(*loadBalancer, *group) error
	apply func(*group)
	// hidden changes don't reach the data plane.
	hidden bool
	// alone: listeners of a protocol can't share addresses, those of one call neither.
	alone bool
}

// Register starts binding targets as a task.
func (b *Backend) Register(op Op, id string, bindings []Binding) error {
	return b.task(op, id, bindings, b.binding())
}

// Deregister starts unbinding targets as a task; a target that isn't bound is an error.
func (b *Backend) Deregister(op Op, id string, bindings []Binding) error {
	return b.task(op, id, bindings, b.unbinding())
}

// Weigh starts changing weights as a task.
func (b *Backend) Weigh(op Op, id string, bindings []Binding) error {
	return b.task(op, id, bindings, b.weighing())
}

// Retag changes tags at once.
func (b *Backend) Retag(op Op, id string, bindings []Binding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, groups, err := b.resolve(id, bindings)
	if err != nil {
		return err
	}
	c := b.retagging()
	for _, g := range groups {
		if err := c.check(lb, g); err != nil {
			return err
		}
	}
	return b.now(op, lb, func() { b.applyAll(lb, groups, c) })
}

// BatchRegister binds targets across listeners: at once, or with async as a task that
// fails if any listener does.
func (b *Backend) BatchRegister(op Op, id string, bindings []Binding, async bool) (FailedListeners, error) {
	return b.batch(op, id, bindings, b.binding(), async)
}

// BatchDeregister unbinds targets across listeners, like BatchRegister.
func (b *Backend) BatchDeregister(op Op, id string, bindings []Binding, async bool) (FailedListeners, error) {
	return b.batch(op, id, bindings, b.unbinding(), async)
}

func (b *Backend) resolve(id string, bindings []Binding) (*loadBalancer, []*group, error) {
	lb, err := b.find(id)
	if err != nil {
		return nil, nil, err
	}
	groups, err := lb.groups(bindings)
	return lb, groups, err
}

// task runs c as a task. What is wrong with the request itself is answered at once; an
// interface that isn't attached is found out by the task.
func (b *Backend) task(op Op, id string, bindings []Binding, c change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, groups, err := b.resolve(id, bindings)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := c.check(lb, g); err != nil {
			return err
		}
	}
	return b.start(op, []*loadBalancer{lb}, func() error {
		for _, g := range groups {
			if err := b.attached(g); err != nil {
				return err
			}
		}
		b.applyAll(lb, groups, c)
		return nil
	})
}

func (b *Backend) batch(op Op, id string, bindings []Binding, c change, async bool) (FailedListeners, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, groups, err := b.resolve(id, bindings)
	if err != nil {
		return FailedListeners{}, err
	}
	var failed FailedListeners
	apply := func() {
		var good []*group
		good, failed = b.sift(lb, groups, c)
		b.applyAll(lb, good, c)
	}
	if !async {
		err := b.now(op, lb, apply)
		return failed, err
	}
	return FailedListeners{}, b.start(op, []*loadBalancer{lb}, func() error {
		if apply(); len(failed.IDs) > 0 {
			return failure("FailedOperation", "%s: %s", strings.Join(failed.IDs, ","), failed.Message)
		}
		return nil
	})
}

// sift parts the groups that can be applied from the listeners that fail as a whole.
func (b *Backend) sift(lb *loadBalancer, groups []*group, c change) ([]*group, FailedListeners) {
	var failed FailedListeners
	var before []*group
	for _, g := range groups {
		err := c.check(lb, g)
		if err == nil && c.alone && !g.l.layer7() {
			err = g.shares(before)
		}
		if err == nil {
			err = b.attached(g)
		}
		if err == nil {
			before = append(before, g)
			continue
		}
		if !slices.Contains(failed.IDs, g.l.info.ID) {
			failed.IDs = append(failed.IDs, g.l.info.ID)
		}
		if failed.Message == "" {
			failed.Message = message(err)
		}
	}
	good := slices.DeleteFunc(slices.Clone(groups), func(g *group) bool {
		return slices.Contains(failed.IDs, g.l.info.ID)
	})
	return good, failed
}

func (b *Backend) applyAll(lb *loadBalancer, groups []*group, c change) {
	var touched []*listener
	for _, g := range groups {
		c.apply(g)
		if !slices.Contains(touched, g.l) {
			touched = append(touched, g.l)
		}
	}
	if c.hidden {
		return
	}
	for _, l := range touched {
		b.show(lb, l)
	}
}

// attached fails for an address whose network interface is attached to no node, which
// the API wants first (BatchTarget.EniIp).
func (b *Backend) attached(g *group) error {
	for _, bind := range g.bindings {
		ip := bind.Addr.Addr()
		if (b.foreign(ip) || b.unbindable[""][ip] || b.unbindable[g.p.location][ip]) && g.p.index[bind.Addr] == nil {
			return failure("FailedOperation", "eni ip %s is not bound to a CVM.", ip)
		}
	}
	return nil
}

func (b *Backend) binding() change {
	return change{alone: b.opts.UniqueBackends, check: b.canBind, apply: func(g *group) {
		now := b.opts.Now()
		for _, bind := range g.bindings {
			if t := g.p.index[bind.Addr]; t != nil {
				t.weight, t.tag = bind.Weight, bind.Tag
				continue
			}
			t := &target{addr: bind.Addr, weight: bind.Weight, tag: bind.Tag, registered: now, verdict: &dataplane.Verdict{}}
			g.p.index[bind.Addr] = t
			g.p.targets = append(g.p.targets, t)
		}
	}}
}

func (b *Backend) canBind(lb *loadBalancer, g *group) error {
	seen := make(map[netip.AddrPort]bool, len(g.bindings))
	fresh := 0
	for _, bind := range g.bindings {
		if seen[bind.Addr] {
			return failure("InvalidParameterValue.Duplicate", "target %s is named twice for %s.", bind.Addr, g)
		}
		seen[bind.Addr] = true
		if g.p.index[bind.Addr] == nil {
			fresh++
		} else if !b.opts.Rebind {
			return failure("InvalidParameterValue.Duplicate", "target %s is bound to %s already.", bind.Addr, g)
		}
	}
	if limit := b.opts.Quotas.Targets; len(g.p.targets)+fresh > limit {
		return failure("LimitExceeded", "the quota of targets per listener or rule is %d, %d are bound to %s.", limit, len(g.p.targets), g)
	}
	if b.opts.UniqueBackends && !g.l.layer7() {
		return lb.elsewhere(g)
	}
	return nil
}

// elsewhere refuses backends that another layer-4 listener of the protocol has.
func (lb *loadBalancer) elsewhere(g *group) error {
	for _, l := range lb.listeners {
		if l == g.l || l.info.Protocol != g.l.info.Protocol {
			continue
		}
		for _, p := range l.places {
			for _, bind := range g.bindings {
				if p.index[bind.Addr] != nil {
					return failure("InvalidParameterValue.Duplicate", "target %s is bound to listener %s of the same load balancer.", bind.Addr, l.info.ID)
				}
			}
		}
	}
	return nil
}

// shares refuses backends that the call binds to another listener of the protocol
// before.
func (g *group) shares(before []*group) error {
	for _, other := range before {
		if other.l == g.l || other.l.info.Protocol != g.l.info.Protocol {
			continue
		}
		for _, bind := range g.bindings {
			if slices.ContainsFunc(other.bindings, func(o Binding) bool { return o.Addr == bind.Addr }) {
				return failure("InvalidParameterValue.Duplicate", "target %s is bound to listener %s of the same load balancer.", bind.Addr, other.l.info.ID)
			}
		}
	}
	return nil
}

// bound is the check of everything that needs its targets bound.
func bound(_ *loadBalancer, g *group) error {
	seen := make(map[netip.AddrPort]bool, len(g.bindings))
	for _, bind := range g.bindings {
		if g.p.index[bind.Addr] == nil {
			return failure("InvalidParameter", "target %s is not bound to %s.", bind.Addr, g)
		}
		if seen[bind.Addr] {
			return failure("InvalidParameterValue.Duplicate", "target %s is named twice for %s.", bind.Addr, g)
		}
		seen[bind.Addr] = true
	}
	return nil
}

func (b *Backend) unbinding() change {
	return change{check: bound, apply: func(g *group) {
		for _, bind := range g.bindings {
			delete(g.p.index, bind.Addr)
		}
		g.p.targets = slices.DeleteFunc(g.p.targets, func(t *target) bool { return g.p.index[t.addr] != t })
	}}
}

func (b *Backend) weighing() change {
	return change{check: bound, apply: func(g *group) {
		for _, bind := range g.bindings {
			g.p.index[bind.Addr].weight = bind.Weight
		}
	}}
}

func (b *Backend) retagging() change {
	return change{hidden: true, check: bound, apply: func(g *group) {
		for _, bind := range g.bindings {
			g.p.index[bind.Addr].tag = bind.Tag
		}
	}}
}
