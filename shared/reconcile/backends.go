package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// Backends brings the targets of one CLB to what the pods say: all of them, or
// those of the pods named. Under the CLB's Lease:
//
//   - read the objects and pods, and what stands on the CLB
//   - plan the steps between them
//   - take the steps, in their order, until time is up
//   - say what is left
func (w *World) Backends(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	if !req.Sync.Everything() {
		p.backends(ctx, req.Sync.LoadBalancers[0])
		return p.finish()
	}
	if err := p.Kube.Check(ctx); err != nil {
		p.fail(err)
		return p.finish()
	}
	subjects, err := p.everybody(ctx)
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	byLB := p.byLoadBalancer(subjects)
	for _, lb := range slices.Sorted(maps.Keys(byLB)) {
		p.absorb(w.Backends(ctx, p.about(lb, byLB[lb])))
	}
	return p.finish()
}

func (p *pass) backends(ctx context.Context, lb string) {
	if err := p.Kube.Check(ctx); err != nil {
		p.fail(err)
		return
	}
	session, release, ok := p.lock(ctx, lb)
	if !ok {
		return
	}
	defer release()
	s, err := p.scene(ctx, session, lb)
	if clb.Code(err) == clb.CodeLBGone {
		p.Log.Info("nothing to bind at", "loadBalancer", lb, "error", err)
		return // frontend tells, and wakes this when there is a CLB again
	}
	if err != nil {
		p.fail(err)
		return
	}
	s.tell(ctx)
	t := s.targets()
	todo := t.Plan()
	if len(todo.Doubts) > 0 {
		if err := s.resolve(ctx, &t, todo.Doubts); err != nil {
			p.fail(err)
			return
		}
		todo = t.Plan()
	}
	a := &applier{pass: p, session: session, lb: lb, scene: s, failed: map[model.Key]bool{}, doubted: session.Doubtful()}
	if len(todo.Waiting) > 0 {
		p.reply.RequeueAfter(relieving)
	}
	// Somebody waits for what was lowered, and not for what else there is to do.
	lower := slices.IndexFunc(todo.Steps, func(s plan.Step) bool { return s.Kind != plan.Lower })
	if lower < 0 {
		lower = len(todo.Steps)
	}
	a.run(ctx, todo.Steps[:lower])
	a.drained(ctx)
	a.run(ctx, todo.Steps[lower:])
	a.report(ctx)
}

// relieving is how soon a pass looks again whether pods of ours serve where targets of
// somebody else still do.
const relieving = 2 * time.Second

// scene is what a backends pass works on: everything read, nothing decided.
type scene struct {
	*pass
	session  *clb.Session
	lb       string
	subjects []*subject
	pods     []*model.Pod
	// places are where the targets are of what the subjects want; what isn't there yet,
	// or stands there for somebody else, is missing.
	places   map[model.Spot]model.Place
	observed []model.Target
	// only limits the pass to these pods by UID, nil for all.
	only map[string]bool
	// others are Services that the event names and that were not read, as they select
	// none of these pods, by UID.
	others map[string]event.Ref
}

// scene reads Kubernetes and the CLB side by side.
func (p *pass) scene(ctx context.Context, session *clb.Session, lb string) (*scene, error) {
	s := &scene{pass: p, session: session, lb: lb, places: map[model.Spot]model.Place{}}
	var listeners []model.Listener
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		listeners, err = session.Listeners(gctx, lb)
		return err
	})
	g.Go(func() error { return s.readKubernetes(gctx) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var ids []string
	for _, l := range listeners {
		if o, ours := desired.OwnerOf(l.Name); ours && o.Cluster == p.Policy.Cluster && (s.reads(o.UID) || o.UID == lb || s.others[o.UID] != event.Ref{}) {
			ids = append(ids, l.ID)
		}
	}
	var err error
	if s.observed, err = session.Targets(ctx, lb, ids, clb.TargetFilter{IPs: s.addresses()}); err != nil {
		return nil, err
	}
	if err := s.readHolders(ctx, listeners); err != nil {
		return nil, err
	}
	s.place(listeners)
	return s, nil
}

// place finds where the targets are of what the subjects want. On a listener that
// several share only what an object has on record is its own.
func (s *scene) place(listeners []model.Listener) {
	at := model.Spots(listeners)
	for _, subject := range s.subjects {
		for _, b := range subject.wants.Backings {
			if place, ok := at[b.Spot]; ok && holds(b) {
				s.places[b.Spot] = place
			}
		}
	}
}

// holds tells whether a place is the object's own where it is found.
func holds(b desired.Backing) bool {
	if b.Front.Kind != model.KindIngress {
		return true
	}
	key, ours := desired.SpotKey(b.Spot)
	return ours && desired.Holds(b.Front, b.Spot, key)
}

// reads tells whether the object with that UID is one of the pass.
func (s *scene) reads(uid string) bool {
	return slices.ContainsFunc(s.subjects, func(subject *subject) bool { return subject.UID == uid })
}

// readHolders reads the Services that select none of the pods but hold a target at
// one of their addresses: that is to go.
func (s *scene) readHolders(ctx context.Context, listeners []model.Listener) error {
	var refs []event.Ref
	for _, l := range listeners {
		o, ours := desired.OwnerOf(l.Name)
		ref, unread := s.others[o.UID]
		if ours && unread && slices.ContainsFunc(s.observed, func(t model.Target) bool { return t.Listener == l.ID }) {
			refs = append(refs, ref)
		}
	}
	return s.read(ctx, refs)
}

// read adds those of the named objects that are ours and use this CLB.
func (s *scene) read(ctx context.Context, refs []event.Ref) error {
	if len(refs) == 0 {
		return nil
	}
	found, err := s.pass.subjects(ctx, refs)
	for _, subject := range s.claimed(found) {
		if desired.LoadBalancerOf(subject.Front) == s.lb {
			s.subjects = append(s.subjects, subject)
		}
	}
	return err
}

// selecting narrows the named Services, where they are many, to those that select one
// of the pods; the others are noted. Which they are may be told by a cache that is a
// little old: what changed since has a pass over everything coming. Ingresses are few
// at one CLB, and all read.
func (s *scene) selecting(ctx context.Context, refs []event.Ref) ([]event.Ref, error) {
	if len(refs) < fewer {
		return refs, nil
	}
	s.others = map[string]event.Ref{}
	var out []event.Ref
	done := map[string]bool{}
	for _, r := range refs {
		if r.Object().Kind == model.KindIngress {
			out = append(out, r)
			continue
		}
		if done[r.Namespace] {
			continue
		}
		done[r.Namespace] = true
		list, err := s.Kube.Services(ctx, r.Namespace, kube.Cached, func(svc *model.Service) bool { return svc.Type == "LoadBalancer" })
		if err != nil {
			return nil, err
		}
		for _, svc := range list {
			ref := event.Ref(svc.Ref())
			switch {
			case !slices.ContainsFunc(refs, func(r event.Ref) bool { return r.Object() == svc.Ref() }):
			case slices.ContainsFunc(s.pods, func(pod *model.Pod) bool { return svc.Selects(pod.Namespace, pod.Labels) }):
				out = append(out, ref)
			default:
				s.others[svc.UID] = ref
			}
		}
	}
	return out, nil
}

func (s *scene) readKubernetes(ctx context.Context) (err error) {
	refs := s.req.Sync.Objects
	if s.req.Sync.All || len(s.req.Sync.Pods) == 0 {
		if err := s.read(ctx, refs); err != nil {
			return err
		}
		if s.pods, err = s.selectedPods(ctx, desired.NewSelected(backingsOf(s.subjects)).Services()); err != nil {
			return err
		}
		s.mark(ctx)
		return nil
	}
	s.only = map[string]bool{}
	for _, n := range s.req.Sync.Pods {
		s.only[n.UID] = true
	}
	if s.pods, err = s.namedPods(ctx, s.req.Sync.Pods); err != nil {
		return err
	}
	for _, pod := range s.pods {
		s.only[pod.UID] = true // the name may belong to a successor by now
	}
	s.mark(ctx)
	if refs, err = s.selecting(ctx, refs); err != nil {
		return err
	}
	return s.read(ctx, refs)
}

// addresses are the IPs that the pass is about, nil for all. A pod that is gone is
// found by the address it was last seen with; without that the pass looks at all.
func (s *scene) addresses() []string {
	if s.only == nil {
		return nil
	}
	var ips []string
	add := func(ip string) {
		if ip != "" && !slices.Contains(ips, ip) {
			ips = append(ips, ip)
		}
	}
	alive := map[string]bool{}
	for _, pod := range s.pods {
		alive[pod.UID] = true
		add(pod.IP)
	}
	for _, n := range s.req.Sync.Pods {
		if n.IP == "" && !alive[n.UID] {
			return nil
		}
		add(n.IP)
	}
	if len(ips) == 0 {
		return []string{"0.0.0.0"} // named pods without any address yet: nothing is bound for them
	}
	return ips
}

// targets is the planner's input.
func (s *scene) targets() plan.Targets {
	t := plan.Targets{Observed: s.observed, Only: s.only}
	backings := backingsOf(s.subjects)
	selected := desired.NewSelected(backings)
	owners := map[*model.Service]map[string]*model.Pod{}
	for ip, pod := range desired.Owners(s.pods) {
		for _, svc := range selected.ServicesOf(pod) {
			if owners[svc] == nil {
				owners[svc] = map[string]*model.Pod{}
			}
			owners[svc][ip] = pod
		}
	}
	for _, b := range backings {
		if place, ok := s.places[b.Spot]; ok && holds(b) {
			t.Places = append(t.Places, place)
			if desired.Takes(b.Front) {
				if t.Guests == nil {
					t.Guests = map[model.Place]bool{}
				}
				t.Guests[place] = true
			}
			t.Wanted = append(t.Wanted, desired.Targets(place, b, owners[b.Service], s.Policy)...)
		}
	}
	return t
}

// resolve settles doubts about strangers: who else claims their addresses, and who
// is Alive where they stand.
func (s *scene) resolve(ctx context.Context, t *plan.Targets, doubts []model.Target) error {
	var ips, listeners []string
	for _, d := range doubts {
		if !slices.Contains(ips, d.IP) {
			ips = append(ips, d.IP)
		}
		if !slices.Contains(listeners, d.Listener) {
			listeners = append(listeners, d.Listener)
		}
	}
	health, err := s.session.Health(ctx, []string{s.lb}, listeners)
	if err != nil {
		return err
	}
	if s.only != nil {
		known := map[string]bool{}
		for _, pod := range s.pods {
			known[pod.UID] = true
		}
		for _, ip := range ips {
			claimants, err := s.Kube.Pods(ctx, kube.PodQuery{IP: ip})
			if err != nil {
				return err
			}
			for _, c := range claimants {
				if !known[c.UID] {
					known[c.UID] = true
					s.pods = append(s.pods, c)
				}
			}
		}
		// Who is left where a stranger stands must be counted in full.
		all, err := s.session.Targets(ctx, s.lb, listeners, clb.TargetFilter{})
		if err != nil {
			return err
		}
		s.observed = append(slices.DeleteFunc(s.observed, func(o model.Target) bool { return slices.Contains(listeners, o.Listener) }), all...)
	}
	*t = s.targets()
	t.Alive = func(k model.Key) bool { return health[k].Health == model.Alive }
	return nil
}

// tell tells people, on the objects where they would look, about pods that can't be
// bound.
func (s *scene) tell(ctx context.Context) {
	selected := desired.NewSelected(backingsOf(s.subjects))
	for _, pod := range s.pods {
		for _, kind := range kindsOf(selected.Of(pod)) {
			if _, problem := desired.Weight(pod, kind); problem != nil {
				s.note(ctx, kube.Note{Kind: "Pod", Ref: pod.Ref(), UID: pod.UID, Warning: true, Reason: "InvalidWeight", Message: problem.String()})
			}
		}
	}
	if s.only != nil {
		s.tellNamed(ctx, selected)
		return
	}
	behind := map[*model.Front][]*model.Pod{}
	for _, pod := range s.pods {
		if pod.Terminal() {
			continue
		}
		for _, front := range frontsOf(selected.Of(pod)) {
			behind[front] = append(behind[front], pod)
		}
	}
	for _, subject := range s.subjects {
		var direct int
		var not []string
		var why string
		for _, pod := range behind[subject.Front] {
			ok, reason := desired.Direct(pod, s.Policy)
			if ok {
				direct++
				continue
			}
			not, why = append(not, pod.Name), reason
		}
		slices.Sort(not)
		switch {
		case len(not) == 0:
		case direct == 0:
			s.warn(ctx, subject.Front, "NoDirectBackend", fmt.Sprintf("%s: none of the %d pods can be reached directly: %s", desired.CodeNotDirect, len(not), why))
		default:
			s.warn(ctx, subject.Front, "PodsNotDirect", fmt.Sprintf("%d pods can't be reached directly and are left out: %s (%s)", len(not), some(not), why))
		}
	}
}

// tellNamed is tell for a pass over a few pods: each is told by itself.
func (s *scene) tellNamed(ctx context.Context, selected desired.Selected) {
	for _, pod := range s.pods {
		if pod.Terminal() || pod.Deleting {
			continue
		}
		backings := selected.Of(pod)
		if ok, why := desired.Direct(pod, s.Policy); !ok {
			for _, front := range frontsOf(backings) {
				s.note(ctx, kube.Note{Kind: "Pod", Ref: pod.Ref(), UID: pod.UID, Warning: true, Reason: "NotDirect",
					Message: fmt.Sprintf("not bound to the CLB of %s: %s", front, why)})
			}
			continue
		}
		type port struct {
			service *model.Service
			name    string
		}
		told := map[port]bool{}
		for _, b := range backings {
			at := port{b.Service, b.Port.TargetName}
			if _, ok := b.Port.Resolve(pod); ok || told[at] {
				continue
			}
			told[at] = true
			s.note(ctx, kube.Note{Kind: "Pod", Ref: pod.Ref(), UID: pod.UID, Warning: true, Reason: "NoSuchPort",
				Message: fmt.Sprintf("not bound for port %d of Service %s: no container declares a %s port named %q", b.Port.Port, b.Service.Ref(), b.Port.Protocol, b.Port.TargetName)})
		}
	}
}

// frontsOf are the objects behind backings, each once.
func frontsOf(backings []*desired.Backing) []*model.Front {
	var out []*model.Front
	for _, b := range backings {
		if !slices.Contains(out, b.Front) {
			out = append(out, b.Front)
		}
	}
	return out
}

// kindsOf are the kinds of the objects behind backings, each once.
func kindsOf(backings []*desired.Backing) []model.Kind {
	var out []model.Kind
	for _, b := range backings {
		if !slices.Contains(out, b.Front.Kind) {
			out = append(out, b.Front.Kind)
		}
	}
	return out
}

// some names a few of many.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}

// named are the pods that targets can be for, by UID, as an event names them.
func (s *scene) named() map[string]event.Pod {
	out := make(map[string]event.Pod, len(s.pods))
	for _, n := range s.req.Sync.Pods {
		out[n.UID] = n
	}
	for _, pod := range s.pods {
		out[pod.UID] = event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, IP: pod.IP}
	}
	return out
}
