package reconcile

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// Readiness decides the gates of the pods that wait at up to 30 CLBs, or of a
// namespace's pods that nothing selects. It takes no lock: it writes only to pods,
// each under its own UID and version.
//
//   - read the Services and the pods that wait
//   - ask all CLBs for health, once; while nothing is Alive that is all
//   - then read the targets: health counts only under our UID
//   - decide, write what differs, say who still waits
func (w *World) Readiness(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	if err := p.Kube.Check(ctx); err != nil {
		p.fail(err)
		return p.finish()
	}
	services, err := p.claimedIn(ctx, namespacesOf(req.Sync))
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	pods, err := p.waiting(ctx, services)
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	p.decide(ctx, p.session(nil), services, pods)
	return p.finish()
}

// namespacesOf are the namespaces that an event is about.
func namespacesOf(s event.Sync) []string {
	out := slices.Clone(s.Namespaces)
	for _, ref := range s.Services {
		out = append(out, ref.Namespace)
	}
	for _, pod := range s.Pods {
		out = append(out, pod.Namespace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// claimedIn lists every Service of ours in the namespaces, whatever the event
// named: a gate is decided over all of a pod's bindings or not at all.
func (p *pass) claimedIn(ctx context.Context, namespaces []string) ([]*model.Service, error) {
	var out []*model.Service
	for _, namespace := range namespaces {
		list, err := p.Kube.Services(ctx, namespace, "")
		if err != nil {
			return nil, err
		}
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return p.claimed(out), nil
}

// waiting reads the pods that the event is about and keeps those whose gate can
// still change.
func (p *pass) waiting(ctx context.Context, services []*model.Service) ([]*model.Pod, error) {
	var pods []*model.Pod
	var err error
	switch {
	case len(p.req.Sync.Pods) > 0 && !p.req.Sync.All:
		pods, err = p.namedPods(ctx, p.req.Sync.Pods)
	case len(p.req.Sync.Namespaces) > 0:
		for _, namespace := range p.req.Sync.Namespaces {
			var list []*model.Pod
			if list, err = p.Kube.Pods(ctx, kube.PodQuery{Namespace: namespace, ResourceVersion: p.req.Sync.ResourceVersion}); err != nil {
				break
			}
			pods = append(pods, list...)
		}
	default:
		pods, err = p.selectedPods(ctx, services)
	}
	if err != nil {
		return nil, err
	}
	index := desired.NewSelecting(services)
	return slices.DeleteFunc(pods, func(pod *model.Pod) bool {
		if !pod.Gated || pod.Terminal() || pod.Deleting || !p.ours(pod, index.Of(pod)) {
			return true
		}
		return pod.Gate != nil && pod.Gate.Status && pod.SandboxSince.Before(pod.Gate.Since) && !live(index.Of(pod))
	}), nil
}

// ours tells whether the pod's gate is ours to decide. Beside TKE's own controller,
// which waits for a gate of the same type, it is only where a claimed Service selects
// the pod, our webhook marked it, or we have already said that nothing binds it.
func (p *pass) ours(pod *model.Pod, selecting []*model.Service) bool {
	return p.Policy.Claim != desired.ByClass || len(selecting) > 0 || pod.Annotations[model.GateMark] != "" ||
		pod.Gate != nil && pod.Gate.Reason == readiness.ReasonNoBinding
}

// live tells whether one of the Services that select a pod asks for a gate that
// follows health.
func live(selecting []*model.Service) bool {
	return slices.ContainsFunc(selecting, func(s *model.Service) bool { return s.Annotations[desired.Readiness] == "live" })
}

// decide is the readiness pass over given pods, with all the Services that there
// are in their namespaces. An object that lets go of its pods has it taken, too.
func (p *pass) decide(ctx context.Context, session *clb.Session, services []*model.Service, pods []*model.Pod) {
	view, err := p.view(ctx, session, services, pods)
	if err != nil {
		p.fail(err)
		return
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, pod := range pods {
		d := readiness.Decide(readiness.Observation{
			Pod:        pod,
			Bindings:   view.bindings(pod),
			HealthRead: view.healthRead,
			Now:        p.Now(),
			Live:       live(view.selecting.Of(pod)),
		})
		g.Go(func() error {
			// Thousands of gates may take longer than the function has.
			late := d.Write && p.late(gctx, patchReserve)
			var err error
			if !late {
				err = p.write(gctx, pod, d)
			}
			mu.Lock()
			defer mu.Unlock()
			p.reply.Continue = p.reply.Continue || late
			if err != nil && !fault.Is(err, fault.NotFound) {
				p.fail(err) // another pod's gate doesn't wait for this one's
			}
			if d.Pending() || late || err != nil {
				p.reply.Pending++
			}
			if d.Recheck > 0 || err != nil {
				p.reply.RequeueAfter(max(d.Recheck, 200*time.Millisecond))
				p.reply.PendingPods = append(p.reply.PendingPods, event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, IP: pod.IP})
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return nothing but nil
	if len(p.reply.PendingPods) > event.MaxPods {
		p.reply.PendingPods = nil
	}
}

// write patches a condition that differs.
func (p *pass) write(ctx context.Context, pod *model.Pod, d readiness.Decision) error {
	if !d.Write {
		return nil
	}
	err := p.Kube.PatchCondition(ctx, pod, model.Condition{Status: d.Status, Reason: d.Reason, Message: d.Message}, d.Anew, p.Now())
	if err != nil {
		return err
	}
	p.wrote("Conditions", 1)
	if d.Opened {
		p.note(ctx, kube.Note{Kind: "Pod", Ref: pod.Ref(), UID: pod.UID, Warning: true, Reason: "ReadinessGateOpened",
			Message: "the pod has a readiness gate but no load balancer binds it: " + d.Message})
	}
	return nil
}

// view is what the CLBs say about the pods.
type view struct {
	*pass
	services   []*model.Service
	selecting  desired.Selecting
	healthRead time.Time
	// listeners maps the names of our listeners to what is known of them.
	listeners map[string]model.Listener
	verdicts  map[model.Key]clb.Verdict
	targets   map[model.Key]model.Target
	// confirmed are the CLBs whose targets were read after health.
	confirmed map[string]bool
	// narrowed: listeners were read before health, which was asked for some of them.
	narrowed bool
}

// view reads health first and targets after: a verdict counts only for whom the
// target is bound when the verdict is already in.
func (p *pass) view(ctx context.Context, session *clb.Session, services []*model.Service, pods []*model.Pod) (*view, error) {
	v := &view{pass: p, services: services, selecting: desired.NewSelecting(services), listeners: map[string]model.Listener{}, targets: map[model.Key]model.Target{}, confirmed: map[string]bool{}, healthRead: p.Now()}
	var lbs []string
	for _, pod := range pods {
		if !pod.ContainersReady {
			continue // its gate stays closed whatever the CLB says
		}
		for _, s := range v.selecting.Of(pod) {
			if id := desired.LoadBalancerOf(s); id != "" && !slices.Contains(lbs, id) {
				lbs = append(lbs, id)
			}
		}
	}
	if len(lbs) == 0 {
		return v, nil
	}
	at, err := v.narrow(ctx, session, lbs, pods)
	if err != nil {
		return nil, err
	}
	v.healthRead = p.Now()
	if v.narrowed && len(at) == 0 {
		return v, nil // no listener, so nothing is bound; naming none would ask for all
	}
	if v.verdicts, err = session.Health(ctx, lbs, at); err != nil {
		return nil, err
	}
	if !v.narrowed {
		for key, verdict := range v.verdicts {
			v.listeners[verdict.ListenerName] = model.Listener{ID: key.Listener, Name: verdict.ListenerName}
		}
	}
	looking, cancel := context.WithTimeout(ctx, confirming)
	defer cancel()
	g, gctx := errgroup.WithContext(looking)
	var mu sync.Mutex
	for lb, ips := range v.promising(pods) {
		g.Go(func() error {
			err := v.confirm(gctx, session, &mu, lb, at, ips)
			if err != nil && ctx.Err() == nil && (looking.Err() != nil || fault.Is(err, fault.Throttled)) {
				p.Log.Info("left for the next pass", "loadBalancer", lb, "error", err)
				return nil // its pods are not confirmed, and so looked at again soon
			}
			return err
		})
	}
	return v, g.Wait()
}

// confirming bounds how long a pass goes on reading targets before it decides with
// what it has: with many CLBs and a small grant the pods of the first would wait for
// the last. In which order CLBs get their turn is random, so each gets its own.
const confirming = 5 * time.Second

// worthNarrowing is how many times more listeners there must be than are asked about
// for the answer of a whole CLB to cost more than to learn their ids first.
const worthNarrowing = 3

// narrow finds the listeners that the pods are bound at, where these are few among
// many of one CLB: health can then be asked for them alone, instead of for thousands
// of targets of others. None, with narrowed left false, stands for all.
func (v *view) narrow(ctx context.Context, session *clb.Session, lbs []string, pods []*model.Pod) ([]string, error) {
	if len(lbs) != 1 {
		return nil, nil
	}
	wanted := map[string]bool{}
	for _, pod := range pods {
		for _, s := range v.selecting.Of(pod) {
			if !pod.ContainersReady || desired.LoadBalancerOf(s) != lbs[0] {
				continue
			}
			for _, sp := range s.Ports {
				wanted[desired.ListenerName(v.Policy.Cluster, s.UID, sp.Protocol, sp.Port)] = true
			}
		}
	}
	known := 0
	for _, s := range v.services {
		if desired.LoadBalancerOf(s) == lbs[0] {
			known += len(s.Ports)
		}
	}
	if len(wanted) > clb.MaxHealthListeners || known < worthNarrowing*len(wanted) {
		return nil, nil
	}
	listeners, err := session.Listeners(ctx, lbs[0])
	if err != nil {
		return nil, err
	}
	v.narrowed = true
	var ids []string
	for _, l := range listeners {
		v.listeners[l.Name] = l
		if wanted[l.Name] {
			ids = append(ids, l.ID)
		}
	}
	return ids, nil
}

// promising finds, by CLB, the addresses of the pods that could be ready by what
// health says: only for them it is worth reading more.
func (v *view) promising(pods []*model.Pod) map[string][]string {
	out := map[string][]string{}
	type address struct{ lb, ip string }
	seen := map[address]bool{}
	for _, pod := range pods {
		if !pod.ContainersReady {
			continue
		}
		if slices.ContainsFunc(v.bindings(pod), func(b readiness.Binding) bool { return !b.Promising() }) {
			continue
		}
		for _, s := range v.selecting.Of(pod) {
			id := desired.LoadBalancerOf(s)
			if at := (address{id, pod.IP}); id != "" && !seen[at] {
				seen[at] = true
				out[id] = append(out[id], pod.IP)
			}
		}
	}
	return out
}

// confirm reads the targets at the given addresses, at the listeners given or else,
// with the listeners' settings, at all of ours.
func (v *view) confirm(ctx context.Context, session *clb.Session, mu *sync.Mutex, lb string, at, ips []string) error {
	var listeners []model.Listener
	if !v.narrowed {
		var err error
		if listeners, err = session.Listeners(ctx, lb); err != nil {
			return err
		}
		for _, l := range listeners {
			if o, ours := desired.OwnerOf(l.Name); ours && o.Cluster == v.Policy.Cluster {
				at = append(at, l.ID)
			}
		}
	}
	targets, err := session.Targets(ctx, lb, at, clb.TargetFilter{IPs: ips})
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	for _, l := range listeners {
		v.listeners[l.Name] = l
	}
	for _, t := range targets {
		v.targets[t.Key()] = t
	}
	v.confirmed[lb] = true
	return nil
}

// bindings are the pod's, one per port of every claimed Service that selects it.
func (v *view) bindings(pod *model.Pod) []readiness.Binding {
	var out []readiness.Binding
	direct, why := desired.Direct(pod, v.Policy)
	weight := desired.DesiredWeight(pod)
	for _, s := range v.selecting.Of(pod) {
		refused := desired.RefusedOf(s)
		_, problems := desired.Listeners(s, nil, v.Policy)
		for i, sp := range s.Ports {
			b := readiness.Binding{Name: fmt.Sprintf("Service %s port %s", s.Ref(), desired.PortKey(sp)), Weight: weight}
			code := refused[desired.PortKey(sp)]
			if code == "" {
				code = refused[desired.RefusedAll]
			}
			port, hasPort := sp.Resolve(pod)
			switch {
			case !direct:
				b.State, b.Detail = readiness.Unreachable, why
			case !hasPort:
				b.State, b.Detail = readiness.NoPort, fmt.Sprintf("no container declares a %s port named %q", sp.Protocol, sp.TargetName)
			case code != "" && (code == desired.CodeSharedBackend || !v.listens(s, sp)):
				b.State, b.Detail = readiness.Refused, "refused with "+code+", see the Service's Events"
			case hasProblem(problems, i):
				b.State, b.Detail = readiness.Refused, "the port can't be a listener, see the Service's Events"
			default:
				b.Address = model.Address{IP: pod.IP, Port: port}
				v.fill(&b, s, sp, pod)
			}
			out = append(out, b)
		}
	}
	return out
}

// fill adds what was observed. Where only health was read the target is taken to
// be ours: that may lead to waiting for the right thing, never to readiness.
func (v *view) fill(b *readiness.Binding, s *model.Service, sp model.ServicePort, pod *model.Pod) {
	lb := desired.LoadBalancerOf(s)
	if lb == "" {
		b.State, b.Detail = readiness.Making, "waiting for the load balancer to be created"
		return
	}
	b.State = readiness.Listening
	l, ok := v.listeners[desired.ListenerName(v.Policy.Cluster, s.UID, sp.Protocol, sp.Port)]
	if !ok {
		return // not made yet, or without any target: either way nothing is bound there
	}
	b.Check = l.HealthCheck
	key := model.Key{Place: model.Place{Listener: l.ID}, Address: b.Address}
	verdict, bound := v.verdicts[key]
	b.Health = verdict.Health
	if v.confirmed[lb] {
		if t, there := v.targets[key]; there {
			b.Target = &t
		}
	} else if bound {
		b.Unconfirmed = true
		b.Target = &model.Target{Place: key.Place, Address: key.Address, Weight: verdict.Weight, Tag: pod.UID}
	}
}

// listens tells whether the port's listener is known to be there: then what it holds
// counts, whatever was refused since.
func (v *view) listens(s *model.Service, sp model.ServicePort) bool {
	_, ok := v.listeners[desired.ListenerName(v.Policy.Cluster, s.UID, sp.Protocol, sp.Port)]
	return ok
}

// hasProblem tells whether port i of a Service has one.
func hasProblem(problems []desired.Problem, i int) bool {
	prefix := fmt.Sprintf("spec.ports[%d].", i)
	return slices.ContainsFunc(problems, func(p desired.Problem) bool { return len(p.Field) > len(prefix) && p.Field[:len(prefix)] == prefix })
}
