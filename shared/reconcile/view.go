package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/readiness"
)

// view is what the CLBs say about the pods.
type view struct {
	*pass
	subjects   []*subject
	selected   desired.Selected
	refused    map[*model.Front]map[string]string
	held       map[*desired.Backing]bool
	healthRead time.Time
	// spots are the places known to be there.
	spots    map[model.Spot]seen
	verdicts map[model.Key]clb.Verdict
	targets  map[model.Key]model.Target
	// confirmed are the CLBs whose targets were read after health.
	confirmed map[string]bool
	// narrowed: listeners were read before health, which was asked for some of them.
	narrowed bool
	// unseen: the CLBs couldn't be asked.
	unseen bool
	scope  scope
}

// scope says how far a view goes. The zero value is that of a decision.
type scope struct {
	// thorough: also what changes no decision is looked at, for people.
	thorough bool
	// without are CLBs that are known not to be there, or not yet.
	without map[string]bool
}

// matters tells whether it does what the CLB says of a pod: the gate of one whose
// containers aren't ready stays closed whatever that is.
func (s scope) matters(pod *model.Pod) bool {
	return pod.ContainersReady || s.thorough && pod.IP != ""
}

// seen is a place as observed. Its health check is known once listeners were read.
type seen struct {
	place model.Place
	check model.HealthCheck
}

// view reads health first and targets after: a verdict counts only for whom the
// target is bound when the verdict is already in.
func (p *pass) view(ctx context.Context, session *clb.Session, subjects []*subject, pods []*model.Pod) (*view, error) {
	return p.look(ctx, session, subjects, pods, scope{})
}

// emptyView is a view in which nothing has been seen yet.
func (p *pass) emptyView(subjects []*subject, how scope) *view {
	v := &view{
		pass: p, scope: how, subjects: subjects, selected: desired.NewSelected(backingsOf(subjects)), refused: map[*model.Front]map[string]string{}, held: map[*desired.Backing]bool{},
		spots: map[model.Spot]seen{}, targets: map[model.Key]model.Target{}, confirmed: map[string]bool{}, healthRead: p.Now(),
	}
	for _, s := range subjects {
		v.refused[s.Front] = desired.RefusedOf(s.Front)
	}
	return v
}

// blind is the view of a pass to which the CLBs have said nothing.
func (p *pass) blind(subjects []*subject) *view {
	v := p.emptyView(subjects, scope{})
	v.unseen = true
	return v
}

// look makes a view of some scope.
func (p *pass) look(ctx context.Context, session *clb.Session, subjects []*subject, pods []*model.Pod, how scope) (*view, error) {
	v := p.emptyView(subjects, how)
	var lbs []string
	for _, pod := range pods {
		if !how.matters(pod) {
			continue
		}
		for _, f := range frontsOf(v.selected.Of(pod)) {
			if id := v.loadBalancerOf(f); id != "" && !slices.Contains(lbs, id) {
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
	if v.verdicts, err = health(ctx, session, lbs, at); err != nil {
		return nil, err
	}
	if !v.narrowed {
		for key, verdict := range v.verdicts {
			v.spots[verdict.Spot] = seen{place: key.Place}
		}
	}
	v.confirmAll(ctx, session, at, v.promising(pods))
	return v, nil
}

// loadBalancerOf is the CLB that f uses, "" if there is none to ask about.
func (v *view) loadBalancerOf(f *model.Front) string {
	if v.refused[f][desired.RefusedAll] == desired.KeysOf(f.Kind).NoLoadBalancer {
		return ""
	}
	if id := desired.LoadBalancerOf(f); !v.scope.without[id] {
		return id
	}
	return ""
}

// confirmAll reads the targets at the CLBs' addresses. A CLB that can't be read keeps its
// own pods waiting and nobody else's.
func (v *view) confirmAll(ctx context.Context, session *clb.Session, at []string, addresses map[string][]string) {
	looking, cancel := context.WithTimeout(ctx, confirming)
	defer cancel()
	var mu sync.Mutex
	var g sync.WaitGroup
	var failed []error
	for lb, ips := range addresses {
		g.Go(func() {
			err := v.confirm(looking, session, &mu, lb, at, ips)
			switch {
			case err == nil || clb.Code(err) == clb.CodeLBGone:
			case ctx.Err() == nil && (looking.Err() != nil || fault.Is(err, fault.Throttled)):
				v.Log.Info("left for the next pass", "loadBalancer", lb, "error", err)
				// Its pods are not confirmed, and so looked at again soon.
			default:
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	g.Wait()
	for _, err := range failed {
		v.fail(err)
	}
}

// health reads the health of what there is. One CLB that is gone has the whole call
// refused: the pods of all the others would wait for somebody's deletion, or typing
// error. So it is looked for by halves, and has nothing to say.
func health(ctx context.Context, session *clb.Session, lbs, at []string) (map[model.Key]clb.Verdict, error) {
	verdicts, err := session.Health(ctx, lbs, at)
	if clb.Code(err) != clb.CodeLBGone {
		return verdicts, err
	}
	verdicts = map[model.Key]clb.Verdict{}
	if len(lbs) == 1 {
		return verdicts, nil
	}
	half := len(lbs) / 2
	for _, some := range [][]string{lbs[:half], lbs[half:]} {
		found, err := health(ctx, session, some, at)
		if err != nil {
			return nil, err
		}
		maps.Copy(verdicts, found)
	}
	return verdicts, nil
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
	wanted, known := map[string]bool{}, map[string]bool{}
	for _, pod := range pods {
		if !v.scope.matters(pod) {
			continue
		}
		for _, b := range v.selected.Of(pod) {
			if desired.LoadBalancerOf(b.Front) == lbs[0] {
				wanted[b.Listener] = true
			}
		}
	}
	for _, s := range v.subjects {
		if desired.LoadBalancerOf(s.Front) != lbs[0] {
			continue
		}
		for _, b := range s.wants.Backings {
			known[b.Listener] = true
		}
	}
	if len(wanted) > clb.MaxHealthListeners || len(known) < worthNarrowing*len(wanted) {
		return nil, nil
	}
	listeners, err := session.Listeners(ctx, lbs[0])
	if err != nil && clb.Code(err) != clb.CodeLBGone {
		return nil, err
	}
	v.narrowed = true
	v.see(listeners)
	var ids []string
	for _, l := range listeners {
		if wanted[l.Name] {
			ids = append(ids, l.ID)
		}
	}
	return ids, nil
}

// see notes the places of listeners and how they are checked.
func (v *view) see(listeners []model.Listener) {
	for _, l := range listeners {
		if !l.Protocol.Layer7() {
			v.spots[model.Spot{Listener: l.Name}] = seen{model.Place{Listener: l.ID}, l.HealthCheck}
		}
		for _, r := range l.Rules {
			v.spots[model.Spot{Listener: l.Name, Domain: r.Domain, Path: r.Path}] = seen{model.Place{Listener: l.ID, Location: r.ID}, r.HealthCheck}
		}
	}
}

// promising finds, by CLB, the addresses of the pods that could be ready by what
// health says: only for them it is worth reading more. To a thorough view all are.
func (v *view) promising(pods []*model.Pod) map[string][]string {
	out := map[string][]string{}
	type address struct{ lb, ip string }
	known := map[address]bool{}
	for _, pod := range pods {
		if !v.scope.matters(pod) {
			continue
		}
		if !v.scope.thorough && slices.ContainsFunc(v.bindings(pod), func(b readiness.Binding) bool { return !b.Promising() }) {
			continue
		}
		for _, f := range frontsOf(v.selected.Of(pod)) {
			id := v.loadBalancerOf(f)
			if at := (address{id, pod.IP}); id != "" && !known[at] {
				known[at] = true
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
	v.see(listeners)
	for _, t := range targets {
		v.targets[t.Key()] = t
	}
	v.confirmed[lb] = true
	return nil
}

// bindings are the pod's, one per port or rule of every claimed object that selects
// it.
func (v *view) bindings(pod *model.Pod) []readiness.Binding {
	backings := v.selected.Of(pod)
	out := make([]readiness.Binding, 0, len(backings))
	direct, why := desired.Direct(pod, v.Policy)
	for _, backing := range backings {
		b := readiness.Binding{Name: backing.Name, Weight: desired.DesiredWeight(pod, backing.Front.Kind), Unseen: v.unseen}
		b.OpenAfter, _ = desired.OpenAfter(backing.Front)
		if pod.Draining { // whose weight of 0 says nothing of its health
			b.Weight, _ = desired.Weight(pod, backing.Front.Kind)
		}
		code := desired.RefusedCode(v.refused[backing.Front], backing.Key)
		at, there := v.spots[backing.Spot]
		there = there && v.holds(backing)
		port, hasPort := backing.Port.Resolve(pod)
		switch {
		case !direct:
			b.State, b.Detail = readiness.Unreachable, why
		case backing.Broken != "":
			b.State, b.Detail = readiness.Refused, backing.Broken
		case !hasPort:
			b.State, b.Detail = readiness.NoPort, fmt.Sprintf("no container declares a %s port named %q", backing.Port.Protocol, backing.Port.TargetName)
		case code != "" && (code == desired.CodeSharedBackend || !there && !v.unseen):
			// What is there and holds something counts, whatever was refused since.
			b.State, b.Detail = readiness.Refused, fmt.Sprintf("refused with %s, see the %s's Events", code, backing.Front.Kind)
		default:
			b.Address = model.Address{IP: pod.IP, Port: port}
			v.fill(&b, backing.Front, at, there, pod)
		}
		out = append(out, b)
	}
	return out
}

// holds tells whether a place is the object's own; many pods ask the same.
func (v *view) holds(b *desired.Backing) bool {
	held, known := v.held[b]
	if !known {
		held = holds(*b)
		v.held[b] = held
	}
	return held
}

// fill adds what was observed. Where only health was read the target is taken to
// be ours: that may lead to waiting for the right thing, never to readiness.
func (v *view) fill(b *readiness.Binding, f *model.Front, at seen, there bool, pod *model.Pod) {
	lb := desired.LoadBalancerOf(f)
	if lb == "" {
		b.State, b.Detail = readiness.Making, "waiting for the load balancer to be created"
		return
	}
	b.State = readiness.Listening
	if !there {
		return // not made yet, or without any target: either way nothing is bound there
	}
	b.Check = at.check
	key := model.Key{Place: at.place, Address: b.Address}
	verdict, bound := v.verdicts[key]
	b.Health = verdict.Health
	if v.confirmed[lb] {
		if t, found := v.targets[key]; found {
			b.Target = &t
		}
	} else if bound {
		b.Unconfirmed = true
		b.Target = &model.Target{Place: key.Place, Address: key.Address, Weight: verdict.Weight, Tag: pod.UID}
	}
}
