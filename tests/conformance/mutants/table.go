package main

// mutants are the rules to switch off.
var mutants = []rule{
	{
		file: "localdev/cam/evaluate.go", why: "deny is over allow", section: "CAM statements",
		old: "\t\t\tif s.deny {\n\t\t\t\treturn false\n\t\t\t}\n",
		new: "\t\t\tif s.deny {\n\t\t\t\tcontinue\n\t\t\t}\n",
	},
	{
		file: "localdev/clb/permission.go", why: "what only reads is operation-level", section: "CAM resources",
		old: "if call.Write && !coarse {",
		new: "if !coarse {",
	},

	// The protocol.
	{
		file: "localdev/tc3/tc3.go", why: "a clock more than five minutes off is refused", section: "CLB protocol",
		old: "maxSkew = 5 * time.Minute", new: "maxSkew = 50 * time.Minute",
	},
	{
		file: "localdev/clb/handler.go", why: "calls of an action are limited", section: "CLB protocol",
		old: "return m.AllowN(now, 1)", new: "m.AllowN(now, 1)\n\treturn true",
	},
	{
		file: "localdev/clb/handler.go", why: "each action has a limit of its own", section: "CLB protocol",
		old: "!s.admit(meterKey{call.Action, region,", new: "!s.admit(meterKey{\"\", region,",
	},

	// Load balancers, listeners, rules.
	{
		file: "localdev/clb/backend/instance.go", why: "a ClientToken creates once", section: "CLB load balancers",
		old: "want.Token != \"\" && t != nil {", new: "want.Token != \"\" && t != nil && false {",
	},
	{
		file: "localdev/clb/backend/instance.go", why: "20 targets are a risk", section: "CLB load balancers",
		old: "n >= 20 && !force", new: "n >= 2000 && !force",
	},
	{
		file: "localdev/clb/backend/instance.go", why: "many deletions are a risk", section: "CLB load balancers",
		old: "b.deletions = append(b.deletions, now)", new: "_ = now",
	},
	{
		file: "localdev/clb/instances.go", why: "pages begin at the offset", section: "CLB load balancers",
		old: "found = found[min(int(offset), len(found)):]", new: "found = found[min(0, len(found)):]",
	},
	{
		file: "localdev/clb/backend/listener.go", why: "a port is taken once", section: "CLB listeners",
		old: "\t\tif taken[key] {\n\t\t\treturn nil, failure(\"InvalidParameter.PortCheckFailed\"",
		new: "\t\tif taken[key] && false {\n\t\t\treturn nil, failure(\"InvalidParameter.PortCheckFailed\"",
	},
	{
		file: "localdev/clb/backend/listener.go", why: "without ids all listeners are deleted", section: "CLB listeners",
		old: "gone := slices.Clone(lb.listeners)", new: "var gone []*listener",
	},
	{
		file: "localdev/clb/settings.go", why: "a check times out before the next begins", section: "CLB listeners",
		old: "if hc.Timeout >= hc.Interval && (hc.Timeout != 2 || hc.Interval != 2) {", new: "if false {",
	},
	{
		file: "localdev/clb/settings.go", why: "a session lasts no longer than an hour", section: "CLB listeners",
		old: "s != 0 && (s < 30 || s > 3600)", new: "s != 0 && s < 30",
	},
	{
		file: "localdev/clb/backend/rules.go", why: "the first domain is the default", section: "CLB rules",
		old: "if l.fallback == nil || want.Default != nil", new: "if true || want.Default != nil",
	},
	{
		file: "localdev/clb/backend/rules.go", why: "the quota of rules", section: "CLB rules",
		old: "len(taken) > limit", new: "len(taken) > 100*limit",
	},
	{
		file: "localdev/clb/backend/rewrite.go", why: "a redirect's target redirects no further", section: "CLB redirects",
		old: "case r.targets[from]:", new: "case r.targets[from] && false:",
	},

	// Targets, tasks, the lock.
	{
		file: "localdev/clb/backend/targets.go", why: "a target is registered once", section: "CLB disputes",
		old: "} else if !b.opts.Rebind {", new: "} else if false {",
	},
	{
		file: "localdev/clb/backend/targets.go", why: "what isn't bound can't be unbound", section: "CLB targets by listener",
		old: "return change{check: bound, apply: func(g *group) {\n\t\tfor _, bind := range g.bindings {\n\t\t\tdelete(",
		new: "return change{check: func(*loadBalancer, *group) error { return nil }, apply: func(g *group) {\n\t\tfor _, bind := range g.bindings {\n\t\t\tdelete(",
	},
	{
		file: "localdev/clb/backend/targets.go", why: "a batch names the listeners that fail", section: "CLB targets by batch",
		old: "failed.IDs = append(failed.IDs, g.l.info.ID)", new: "failed.Message = \"\"",
	},
	{
		file: "localdev/clb/targets.go", why: "a batch has at most 500 targets", section: "CLB targets by batch",
		old: "maxBatch        = 500", new: "maxBatch        = 5000",
	},
	{
		file: "localdev/clb/targets.go", why: "a target's own weight is over the call's", section: "CLB targets by listener",
		old: "\tif a.weight != nil {\n\t\tweight = *a.weight\n\t}\n", new: "\tif a.weight != nil && weight == defaultWeight {\n\t\tweight = *a.weight\n\t}\n",
	},
	{
		file: "localdev/clb/backend/task.go", why: "a load balancer is busy after a task", section: "CLB operation lock",
		old: "\t\t\tlb.busyUntil = b.opts.Now().Add(b.opts.Latencies.Busy)\n", new: "\t\t\tlb.busyUntil = b.opts.Now()\n",
	},
	{
		file: "localdev/clb/backend/task.go", why: "one write at a time", section: "CLB operation lock",
		old: "lb.info.Normal && lb.task == \"\" && !", new: "lb.info.Normal && !",
	},
	{
		file: "localdev/clb/backend/task.go", why: "a task is found by its deal", section: "CLB operation lock",
		old: "if deal != \"\" {", new: "if deal == \"no deal\" {",
	},

	// Health and traffic.
	{
		file: "localdev/clb/dataplane/check.go", why: "Alive takes HealthNum checks", section: "Health",
		old: "case c.streak >= check.HealthNum:", new: "case c.streak >= 1:",
	},
	{
		file: "localdev/clb/dataplane/check.go", why: "Dead takes UnHealthNum checks", section: "Health",
		old: "case -c.streak >= check.UnHealthNum:", new: "case -c.streak >= 1:",
	},
	{
		file: "localdev/clb/dataplane/check.go", why: "another port may be checked", section: "Health",
		old: "if check.Port != 0 {", new: "if check.Port == 65536-1 {",
	},
	{
		file: "localdev/clb/dataplane/probe.go", why: "an HTTP check goes by the codes", section: "Health",
		old: "return class >= 1 && class <= 5 && check.Codes&(1<<(class-1)) != 0", new: "return class >= 1 && class <= 5",
	},
	{
		file: "localdev/clb/dataplane/pick.go", why: "weight 0 gets nothing new", section: "Layer 4",
		old: "if t.weight == 0 || slices.Contains(tried, t) {", new: "if slices.Contains(tried, t) {",
	},
	{
		file: "localdev/clb/dataplane/pick.go", why: "a dead target gets nothing", section: "Health",
		old: "case state.takesTraffic() && !t.blocked(now):", new: "case !t.blocked(now):",
	},
	{
		file: "localdev/clb/dataplane/pick.go", why: "turns go by weight", section: "Layer 4",
		old: "\t\ttotal += t.weight\n\t\tt.current += t.weight\n", new: "\t\ttotal++\n\t\tt.current++\n",
	},
	{
		file: "localdev/clb/dataplane/pool.go", why: "connections of an unbound target end", section: "Layer 4",
		old: "fl.abort(p.policy.resetOnUnbind)", new: "_ = fl",
	},
	{
		file: "localdev/clb/dataplane/tcp.go", why: "a target sees the client's address", section: "Layer 4",
		old: "if f.snat() {", new: "if true || f.snat() {",
	},
	{
		file: "localdev/clb/dataplane/route.go", why: "the longest path first", section: "Layer 7",
		old: "return len(b.path) - len(a.path) })", new: "return len(a.path) - len(b.path) })",
	},
	{
		file: "localdev/clb/dataplane/front.go", why: "X-Forwarded-For is added to", section: "Layer 7",
		old: "h[\"X-Forwarded-For\"] = []string{strings.Join(append(slices.Clip(p.In.Header[\"X-Forwarded-For\"]), client), \", \")}",
		new: "h[\"X-Forwarded-For\"] = []string{strings.Join(append(slices.Clip([]string(nil)), client), \", \")}",
	},

	// SCF.
	{
		file: "localdev/clb/dataplane/pool.go", why: "weight 0 reschedules where it is to", section: "Rescheduling",
		old: "if to.reschedule.ZeroWeight && t.weight > 0", new: "if false && t.weight > 0",
	},
	{
		file: "localdev/clb/dataplane/pool.go", why: "a dead target reschedules only where it is to", section: "Rescheduling",
		old: "if p.policy.reschedule.Unhealthy {", new: "if true {",
	},
	{
		file: "localdev/clb/dataplane/forwarder.go", why: "no more connections than MaxConn", section: "Rescheduling",
		old: "f.maxConn > 0 && f.busy >= f.maxConn", new: "f.maxConn > 0 && f.busy > 100*f.maxConn",
	},
	{
		file: "localdev/clb/backend/targets.go", why: "only addresses of network interfaces are bound", section: "Network interfaces",
		old: "(b.foreign(ip) || ", new: "(",
	},
	{
		file: "localdev/clb/dataplane/tcp.go", why: "failures to forward take a TCP_SSL target out", section: "TCP_SSL",
		old: "\t\tf.found(t, false)\n", new: "",
	},
	{
		file: "localdev/clb/backend/propagation.go", why: "TCP_SSL asks clients for certificates", section: "TCP_SSL",
		old: "want.TLS.Certificate, want.TLS.ClientCAs = b.certificates.find(s.Certificate)", new: "want.TLS.Certificate, _ = b.certificates.find(s.Certificate)",
	},

	{
		file: "localdev/scf/instance.go", why: "an instance is frozen between events", section: "SCF instances",
		old: "in.signal(syscall.SIGSTOP)", new: "in.signal(syscall.SIGCONT)",
	},
	{
		file: "localdev/scf/instance.go", why: "a panic ends the instance", section: "SCF instances",
		old: "r.recycle = response.Error != nil && response.Error.ShouldExit", new: "r.recycle = false",
	},
	{
		file: "localdev/scf/function.go", why: "no more instances than the quota", section: "SCF instances",
		old: "if f.size >= limit {", new: "if f.size >= 100*limit {",
	},
	{
		file: "localdev/scf/async.go", why: "two retries", section: "SCF asynchronous",
		old: "asyncRetries  = 2", new: "asyncRetries  = 3",
	},
	{
		file: "localdev/scf/async.go", why: "asynchronous events have at most 128 KB", section: "SCF asynchronous",
		old: "maxAsyncEvent = 128 << 10", new: "maxAsyncEvent = 256 << 10",
	},
	{
		file: "localdev/scf/url.go", why: "names of headers arrive in lower case", section: "SCF function URL",
		old: "e.Headers[strings.ToLower(name)] = strings.Join(values, \",\")", new: "e.Headers[name] = strings.Join(values, \",\")",
	},
	{
		file: "localdev/scf/ckafka.go", why: "a message without a key has the key None", section: "SCF triggers",
		old: "orElse(m.Key, \"None\")", new: "orElse(m.Key, \"\")",
	},
	{
		file: "localdev/scf/kafka.go", why: "what was handed over is committed", section: "SCF Kafka",
		old: "err := client.CommitRecords(ctx, records[done-1])", new: "err := ctx.Err()",
	},
	{
		file: "localdev/scf/manifest/schedule.go", why: "timers go by UTC+8", section: "SCF triggers",
		old: "time.FixedZone(\"UTC+8\", 8*60*60)", new: "time.FixedZone(\"UTC+8\", 0)",
	},
}
