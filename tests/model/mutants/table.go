package main

import "github.com/clb-direct/clb-direct/tests/mutant"

// named is a rule of the production code, switched off.
type named struct {
	name string
	mutant.Mutant
}

func of(name, file, old, now string) named {
	return named{name, mutant.Mutant{File: file, Old: old, New: now}}
}

// mutants are the rules.
var mutants = []named{
	of("ready on Alive without looking at the UID", "shared/readiness/readiness.go",
		"case t.Tag != o.Pod.UID:", "case t.Tag == \"\":"),
	of("a drain's weight of 0 opens the gate", "shared/reconcile/view.go",
		"if pod.Draining { // whose", "if false { // whose"),
	of("the gate is written on whoever has the name", "shared/kube/write.go",
		"\"metadata\": map[string]any{\"uid\": p.UID, \"resourceVersion\": p.ResourceVersion},", "\"metadata\": map[string]any{},"),
	of("a pod that is going is unbound before it is drained", "shared/desired/targets.go",
		"if b.Service == nil || !b.Service.Selects", "if p.Deleting || b.Service == nil || !b.Service.Selects"),
	of("a weight is raised before the containers are ready", "shared/desired/targets.go",
		"if p.Deleting || p.Draining || !p.ContainersReady {", "if p.Deleting || p.Draining {"),
	of("the drain mark is ignored", "shared/desired/targets.go",
		"if p.Deleting || p.Draining || !p.ContainersReady {", "if p.Deleting || !p.ContainersReady {"),
	of("drained is said before the CLB has confirmed", "shared/reconcile/drain.go",
		"case pod.Draining && !a.open(pod):", "case pod.Draining:"),
	of("the hook is answered before the pod is drained", "infra/forwarder/drain/drain.go",
		"if now.Marked(container, id) && now.Drained != nil && now.Drained.Status {", "if now.Marked(container, id) {"),
	of("the hook doesn't wait for the data plane", "infra/forwarder/drain/drain.go",
		"time.NewTimer(g.o.Propagation + delay(pod))", "time.NewTimer(delay(pod))"),
	of("a Lease is taken before its time is over", "shared/kube/lease.go",
		"by != holder && left > 0 && ", "by != holder && left > 9*time.Second && "),
	of("writes don't ask for the Lease", "shared/clb/stack.go",
		"		if op.Write {\n			if err := s.fence(ctx)", "		if op.Task {\n			if err := error(nil)"),
	of("targets are bound without a tag", "shared/clb/apply.go",
		"b.Weight, b.Tag = ptr(int64(t.Weight)), ptr(t.Tag)", "b.Weight, b.Tag = ptr(int64(t.Weight)), ptr(\"\")"),
	of("foreign listeners are planned with ours", "shared/plan/listeners.go",
		"return takes[o.ID] != \"\" || l.Owns(o.Name) })", "return true })"),
	of("a mark during a send is dropped", "infra/forwarder/queue/entry.go",
		"	first := e.ready.Empty()\n", "	if e.inFlight {\n		return\n	}\n	first := e.ready.Empty()\n"),
	of("what a failed send carried is dropped", "infra/forwarder/queue/entry.go",
		"	e.postpone(look, e.blocked, failed)\n", "	_ = look\n"),
	of("an attempt that only went silent is called ended", "infra/forwarder/relay/relay.go",
		"	out := queue.Outcome{Reply: reply, Err: err}\n", "	out := queue.Outcome{Reply: reply, Err: err}\n	if err != nil {\n		out.Ended = data.Attempt\n	}\n"),
	of("nobody hears of a pod that is gone", "infra/forwarder/index/pods.go",
		"	x.gone(old, m)\n	return m.list()", "	x.gone(old, marks{})\n	return m.list()"),
}
