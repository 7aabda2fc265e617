package model

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// write does what a write asks for, or begins to.
func (c *cloud) write(id, action string, q ask) (map[string]any, *apiError) {
	if q.LoadBalancerID != c.id {
		return nil, &apiError{"InvalidParameter.LBIdNotFound", "no such load balancer"}
	}
	batch := action == "BatchRegisterTargets" || action == "BatchDeregisterTargets"
	if action == "CreateListener" {
		return c.createListeners(id, q)
	}
	if bad := c.check(action, q); bad != nil {
		if batch { // refused by listener, without an error
			return map[string]any{"FailListenerIdSet": []string{q.Targets[0].ListenerID}, "Message": bad.Message}, nil
		}
		return nil, bad
	}
	do := func() { c.apply(action, q) }
	if batch && !c.async || action == "BatchModifyTargetTag" { // of which no task is documented
		do()
		c.busyUntil = time.Now().Add(c.w.between(0, 300*time.Millisecond))
		return nil, nil
	}
	t := &task{id: id, done: time.Now().Add(c.w.between(100*time.Millisecond, 1500*time.Millisecond)), apply: do}
	t.fails = c.w.faulty() && c.w.chance(20)
	c.tasks[id], c.busyUntil = t, t.done
	return nil, nil
}

func (c *cloud) createListeners(id string, q ask) (map[string]any, *apiError) {
	ids := []string{}
	for i, port := range q.Ports {
		for _, l := range c.listeners {
			if l.port == port {
				return nil, &apiError{"InvalidParameter.PortCheckFailed", "the port is taken"}
			}
		}
		c.made++
		l := &listener{id: fmt.Sprintf("lbl-%d", c.made), name: q.ListenerNames[i], protocol: q.Protocol, port: port}
		c.listeners = append(c.listeners, l)
		ids = append(ids, l.id)
	}
	t := &task{id: id, done: time.Now().Add(c.w.between(0, time.Second))}
	c.tasks[id], c.busyUntil = t, t.done
	return map[string]any{"ListenerIds": ids}, nil
}

// check refuses what names something that isn't there.
func (c *cloud) check(action string, q ask) *apiError {
	for _, id := range q.ListenerIDs {
		if c.listener(id) == nil {
			return &apiError{"InvalidParameter.ListenerIdNotFound", "no such listener " + id}
		}
	}
	return c.each(q, func(l *listener, a askTarget) *apiError {
		if l == nil {
			return &apiError{"InvalidParameter.ListenerIdNotFound", "no such listener"}
		}
		if action != "BatchRegisterTargets" && l.target(a.EniIP, a.Port) == nil {
			return &apiError{"InvalidParameterValue", "the target is not found"}
		}
		return nil
	})
}

// each goes through the targets that a request names.
func (c *cloud) each(q ask, f func(*listener, askTarget) *apiError) *apiError {
	for _, a := range q.Targets {
		if bad := f(c.listener(a.ListenerID), a); bad != nil {
			return bad
		}
	}
	for _, m := range q.ModifyList {
		for _, a := range m.Targets {
			if bad := f(c.listener(m.ListenerID), a); bad != nil {
				return bad
			}
		}
	}
	return nil
}

func (c *cloud) apply(action string, q ask) {
	if action == "DeleteLoadBalancerListeners" {
		c.listeners = slices.DeleteFunc(c.listeners, func(l *listener) bool { return slices.Contains(q.ListenerIDs, l.id) })
		return
	}
	c.each(q, func(l *listener, a askTarget) *apiError {
		if l == nil {
			return nil // deleted since
		}
		t := l.target(a.EniIP, a.Port)
		switch action {
		case "BatchRegisterTargets":
			if t == nil {
				t = &target{ip: a.EniIP, port: a.Port, since: time.Now(), next: time.Now()}
				l.targets = append(l.targets, t)
			}
			if a.Tag != nil {
				t.tag, c.w.law.tagged[l.id+*a.Tag] = *a.Tag, true
			}
			c.weigh(t, a)
		case "BatchDeregisterTargets":
			c.w.law.unbinding(l, t)
			l.targets = slices.DeleteFunc(l.targets, func(o *target) bool { return o == t })
		case "BatchModifyTargetWeight":
			if t != nil {
				c.weigh(t, a)
			}
		case "BatchModifyTargetTag":
			if t != nil && a.Tag != nil {
				t.tag, c.w.law.tagged[l.id+*a.Tag] = *a.Tag, true
			}
		}
		return nil
	})
}

// weigh sets a weight; the data plane follows in up to a second.
func (c *cloud) weigh(t *target, a askTarget) {
	if a.Weight != nil {
		t.weight = *a.Weight
		c.w.law.weighed(t)
	}
	t.follow = time.Now().Add(c.w.between(200*time.Millisecond, time.Second))
}

// settle has what is due happen: tasks end, the data plane follows, checks are made.
func (c *cloud) settle() {
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(c.tasks)) {
		t := c.tasks[id]
		if t.apply != nil && !now.Before(t.done) {
			if !t.fails {
				t.apply()
			}
			t.apply = nil
		}
	}
	for _, l := range c.listeners {
		for _, t := range l.targets {
			if !t.follow.IsZero() && !now.Before(t.follow) {
				t.sends, t.follow = t.weight, time.Time{}
			}
			for !t.next.After(now) {
				c.w.check(l, t)
				t.next = t.next.Add(interval)
			}
		}
	}
}

// due is when something happens here next, at most limit from now.
func (c *cloud) due(limit time.Duration) time.Duration {
	now := time.Now()
	soon := now.Add(limit)
	note := func(at time.Time) {
		if at.After(now) && at.Before(soon) {
			soon = at
		}
	}
	for _, t := range c.tasks {
		if t.apply != nil {
			note(t.done)
		}
	}
	for _, l := range c.listeners {
		for _, t := range l.targets {
			note(t.next)
			note(t.follow)
		}
	}
	return soon.Sub(now)
}

// check makes one health check.
func (w *world) check(l *listener, t *target) {
	p := w.at(t.ip)
	if p == nil || !p.up {
		t.fails, t.passes = t.fails+1, 0
		if t.fails >= unhealthNum {
			t.alive, t.known = false, true
		}
		return
	}
	if t.by != p.uid {
		t.passes, t.by = 0, p.uid
	}
	t.fails = 0
	if t.passes++; t.passes >= healthNum {
		t.alive, t.known = true, true
		w.law.passed[l.id+p.uid] = true
	}
	if t.alive {
		w.law.found(l, p.uid)
	}
}
