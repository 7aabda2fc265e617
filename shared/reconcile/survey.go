package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// survey is a look at everything of ours, without a lock and without a write. What it
// finds amiss is planned again by the pass whose business it is, from what that reads
// under the Lease.
type survey struct {
	*pass
	session  *clb.Session
	subjects []*subject
	// pods are those that anybody of ours selects, and the gated ones beside them.
	pods []*model.Pod
	// balancers are the CLBs of ours, by id, and those that ours use.
	balancers map[string]model.LoadBalancer

	// frontend and backends are the objects that these have something to do for, by the
	// CLB, or by their own name where there is none.
	frontend, backends map[string][]*subject
	// readiness are the pods that wait for their gate.
	readiness []*model.Pod
	// unwanted are CLBs and listeners that nobody wants.
	unwanted []unwanted
	// plan says all this for people.
	plan []string
}

// unwanted is a CLB, or a listener of one, that is ours by tag or name and that nobody
// wants.
type unwanted struct {
	lb model.LoadBalancer
	// listener is empty for the CLB itself.
	listener model.Listener
}

// key names it in memory.
func (u unwanted) key() string {
	if u.listener.ID == "" {
		return u.lb.ID
	}
	return u.lb.ID + "." + u.listener.ID
}

// String names it for people.
func (u unwanted) String() string {
	if u.listener.ID == "" {
		return "load balancer " + u.lb.ID
	}
	return fmt.Sprintf("listener %s (%s) of load balancer %s", u.listener.ID, u.listener.Name, u.lb.ID)
}

// survey reads everything and plans. known are CLBs that were in use before and may
// still hold something.
func (p *pass) survey(ctx context.Context, known []string) (*survey, error) {
	s := &survey{pass: p, session: p.session(nil), balancers: map[string]model.LoadBalancer{}, frontend: map[string][]*subject{}, backends: map[string][]*subject{}}
	var err error
	if s.subjects, err = p.everybody(ctx); err != nil {
		return nil, err
	}
	if err := s.readBalancers(ctx, known); err != nil {
		return nil, err
	}
	if err := s.readPods(ctx); err != nil {
		return nil, err
	}
	wards := map[string][]*ward{}
	for _, subject := range s.subjects {
		if w := s.look(subject); w != nil {
			wards[w.lb.ID] = append(wards[w.lb.ID], w)
		}
	}
	for _, id := range s.turns() {
		if p.late(ctx, reserve) {
			p.reply.Continue = true
			break
		}
		if err := s.compare(ctx, s.balancers[id], wards[id]); err != nil {
			p.fail(err) // another CLB doesn't wait for this one
		}
	}
	s.wait()
	return s, nil
}

// turns are the CLBs in an order that changes from survey to survey: where one hasn't
// the time for all of them, each comes first some time.
func (s *survey) turns() []string {
	ids := slices.Sorted(maps.Keys(s.balancers))
	if len(ids) == 0 {
		return nil
	}
	first := int(s.Now().Unix()/20) % len(ids)
	return append(slices.Clone(ids[first:]), ids[:first]...)
}

func (s *survey) note(format string, args ...any) {
	s.plan = append(s.plan, fmt.Sprintf(format, args...))
}

// readBalancers reads the CLBs of ours with one call, and those that ours use beside
// them.
func (s *survey) readBalancers(ctx context.Context, known []string) error {
	tagged, err := s.session.LoadBalancersTagged(ctx, map[string]string{desired.TagCluster: s.Policy.Cluster})
	if err != nil {
		return err
	}
	for _, lb := range tagged {
		s.balancers[lb.ID] = lb
	}
	used := slices.Clone(known)
	for _, subject := range s.subjects {
		if id := desired.LoadBalancerOf(subject.Front); id != "" && (desired.Held(subject.Front) || s.ours(subject)) {
			used = append(used, id)
		}
	}
	slices.Sort(used)
	used = slices.DeleteFunc(slices.Compact(used), func(id string) bool { _, there := s.balancers[id]; return there })
	if len(used) == 0 || only(s.req.Sync.LoadBalancers) != nil && !slices.ContainsFunc(used, func(id string) bool { return slices.Contains(s.req.Sync.LoadBalancers, id) }) {
		return nil
	}
	found, err := s.session.LoadBalancers(ctx, used...)
	if fault.Is(err, fault.NotFound) { // one of them; which one isn't said
		for _, id := range used {
			one, err := s.session.LoadBalancers(ctx, id)
			if err != nil {
				return err
			}
			found = append(found, one...)
		}
	} else if err != nil {
		return err
	}
	for _, lb := range found {
		s.balancers[lb.ID] = lb
	}
	return nil
}

// only is nil for "all of them".
func only(lbs []string) []string {
	if len(lbs) == 0 {
		return nil
	}
	return lbs
}

func (s *survey) ours(subject *subject) bool {
	ours, _ := desired.Claimed(subject.Object, s.Policy)
	return ours
}

// readPods reads the pods of the namespaces with anybody of ours: whoever is selected,
// and who waits for a gate though nobody selects it.
func (s *survey) readPods(ctx context.Context) error {
	claimed := s.claimed(slices.Clone(s.subjects))
	selected := desired.NewSelected(backingsOf(claimed))
	namespaces := map[string]bool{}
	for _, subject := range claimed {
		namespaces[subject.Namespace] = true
	}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		pods, err := s.Kube.Pods(ctx, kube.PodQuery{Namespace: namespace, Keep: func(pod *model.Pod) bool {
			return pod.Gated && !pod.GateMet() || len(selected.Of(pod)) > 0
		}})
		if err != nil {
			return err
		}
		s.pods = append(s.pods, pods...)
	}
	return nil
}

// look finds out about an object what needs no look at its CLB. It returns it with its
// CLB if that is to be compared.
func (s *survey) look(subject *subject) *ward {
	ours, problem := desired.Claimed(subject.Object, s.Policy)
	id := desired.LoadBalancerOf(subject.Front)
	todo := func(format string, args ...any) {
		s.note(format, args...)
		s.frontend[subject.String()] = append(s.frontend[subject.String()], subject)
	}
	switch {
	case problem != nil && !subject.Deleting:
		return nil // told on the object, and left as it is
	case !ours && desired.Held(subject.Front):
		todo("release what %s holds", subject)
		return nil
	case !ours:
		return nil
	case subject.wants.Unreadable:
		return nil // told on the object, and left as it is
	case !desired.Held(subject.Front):
		todo("take %s on", subject)
		return nil
	}
	if at := s.req.Sync.LoadBalancers; only(at) != nil && id != "" && !slices.Contains(at, id) {
		return nil // not what this survey is about, and perhaps not read
	}
	lb, there := s.balancers[id]
	if _, refused := desired.RefusedOf(subject.Front)[desired.RefusedAll]; refused || !there {
		todo("find or make the load balancer of %s", subject)
		return nil
	}
	return &ward{subject: subject, lb: lb}
}

// compare plans the listeners, rules and targets of one CLB.
func (s *survey) compare(ctx context.Context, lb model.LoadBalancer, wards []*ward) error {
	if at := s.req.Sync.LoadBalancers; only(at) != nil && !slices.Contains(at, lb.ID) {
		return nil
	}
	if !lb.Ready {
		return nil // comes again when it is
	}
	observed, err := s.session.Listeners(ctx, lb.ID)
	if err != nil {
		if clb.Code(err) == clb.CodeLBGone {
			return nil
		}
		return err
	}
	s.strays(lb, observed, len(wards))
	if len(wards) == 0 {
		return nil
	}
	frontends, err := s.compareFrontend(ctx, lb, wards, observed)
	if err != nil {
		return err
	}
	if frontends {
		for _, w := range wards {
			s.frontend[lb.ID] = append(s.frontend[lb.ID], w.subject)
		}
	}
	return s.compareTargets(ctx, lb, wards, observed)
}

// compareFrontend tells whether frontend has something to do at a CLB.
func (s *survey) compareFrontend(ctx context.Context, lb model.LoadBalancer, wards []*ward, observed []model.Listener) (bool, error) {
	before := len(s.plan)
	for _, w := range wards {
		var err error
		if w.Secrets, err = s.secrets(ctx, w.Object); err != nil {
			return false, err
		}
		w.Config = s.settings(ctx, w)
		w.wants = desired.WantsOf(w.Object, w.Sources, s.Policy)
		if !slices.Equal(addressesOf(&lb), w.Addresses) || w.Annotations[desired.KeysOf(w.Kind).LoadBalancerID] != lb.ID {
			s.note("write the address and id of %s to %s", lb.ID, w.subject)
		}
	}
	c := claims{policy: s.Policy, lb: lb.ID, wards: wards}
	l := c.listeners(observed)
	for _, w := range l.Create {
		s.note("create listener %s on %s for %s", w.Key, lb.ID, w.Owner)
	}
	for _, change := range l.Modify {
		s.note("change listener %s of %s", change.Have.ID, lb.ID)
	}
	for _, gone := range append(slices.Clone(l.Free), l.Delete...) {
		s.note("delete listener %s of %s, which nobody wants", gone.ID, lb.ID)
	}
	r, _ := c.rules(observed)
	for _, id := range slices.Sorted(maps.Keys(r.Create)) {
		s.note("create %d rules at listener %s of %s", len(r.Create[id]), id, lb.ID)
	}
	if n := len(r.Modify) + len(r.Domains) + len(r.Redirect) + len(r.Straighten); n > 0 {
		s.note("change %d rules, domains and redirects of %s", n, lb.ID)
	}
	for _, gone := range r.Remove {
		s.note("delete %d rules of listener %s of %s", len(gone.Locations), gone.Listener, lb.ID)
	}
	return len(s.plan) > before, nil
}

// settings reads the TkeServiceConfig of an object without making one.
func (s *survey) settings(ctx context.Context, w *ward) *desired.Config {
	name := desired.ConfigNameOf(w.Front)
	if name == "" {
		return nil
	}
	spec, err := s.Kube.ServiceConfig(ctx, model.Ref{Namespace: w.Namespace, Name: name})
	if err != nil {
		return nil // told by frontend; settings stay as they are
	}
	cfg, _ := desired.ParseConfig(spec)
	return &cfg
}

// compareTargets plans the targets of one CLB.
func (s *survey) compareTargets(ctx context.Context, lb model.LoadBalancer, wards []*ward, observed []model.Listener) error {
	scene := &scene{pass: s.pass, session: s.session, lb: lb.ID, pods: s.pods, places: map[model.Spot]model.Place{}}
	for _, w := range wards {
		scene.subjects = append(scene.subjects, w.subject)
	}
	scene.place(observed)
	var ids []string
	for _, place := range scene.places {
		if !slices.Contains(ids, place.Listener) {
			ids = append(ids, place.Listener)
		}
	}
	var err error
	if scene.observed, err = s.session.Targets(ctx, lb.ID, ids, clb.TargetFilter{}); err != nil {
		return err
	}
	t := scene.targets()
	todo := t.Plan()
	if todo.Empty() {
		return nil
	}
	for _, step := range todo.Steps {
		s.note("%s %d targets of %s", verbs[step.Kind], len(step.Targets), lb.ID)
	}
	if len(todo.Doubts) > 0 {
		s.note("look into %d targets of %s that carry another pod's tag", len(todo.Doubts), lb.ID)
	}
	s.backends[lb.ID] = scene.subjects
	return nil
}

var verbs = map[plan.Kind]string{plan.Lower: "drain", plan.Evict: "evict", plan.Adopt: "tag", plan.Bind: "bind", plan.Raise: "raise", plan.Unbind: "unbind"}

// strays finds what is ours and nobody's: the CLB, if it was made for somebody who is
// there no more, and listeners whose owner isn't there.
func (s *survey) strays(lb model.LoadBalancer, observed []model.Listener, wards int) {
	there := map[string]bool{}
	for _, subject := range s.subjects {
		// Who has let go, or was made to, wants nothing; of whom that can't be told stays.
		ours, problem := desired.Claimed(subject.Object, s.Policy)
		there[subject.UID] = ours || problem != nil || desired.Held(subject.Front)
	}
	owner, tagged := lb.Tags[desired.TagOwner]
	if tagged && lb.Tags[desired.TagCluster] == s.Policy.Cluster && !there[owner] && wards == 0 {
		s.stray(unwanted{lb: lb})
		return
	}
	for _, l := range observed {
		o, ours := desired.OwnerOf(l.Name)
		if !ours || o.Cluster != s.Policy.Cluster || there[o.UID] || o.UID == lb.ID && s.shares(lb.ID) {
			continue
		}
		s.stray(unwanted{lb: lb, listener: l})
	}
}

func (s *survey) stray(u unwanted) {
	s.unwanted = append(s.unwanted, u)
	s.note("delete %s, if it is still unwanted when seen again", u)
}

// shares tells whether an Ingress that is there has, or had, listeners of a CLB in common
// with others.
func (s *survey) shares(lb string) bool {
	return slices.ContainsFunc(s.subjects, func(subject *subject) bool {
		return subject.Ingress != nil && desired.LoadBalancerOf(subject.Front) == lb
	})
}

// wait finds the pods whose gate somebody must decide.
func (s *survey) wait() {
	claimed := s.claimed(slices.Clone(s.subjects))
	selected := desired.NewSelected(backingsOf(claimed))
	for _, pod := range s.pods {
		if pod.Gated && !pod.Terminal() && !pod.Deleting && !pod.GateMet() && s.pass.ours(pod, selected.Of(pod)) {
			s.readiness = append(s.readiness, pod)
		}
	}
	if len(s.readiness) > 0 {
		s.pass.Log.Debug("gates to decide", "pods", len(s.readiness))
	}
}

// refsOf names objects.
func refsOf(subjects []*subject) []event.Ref {
	out := make([]event.Ref, 0, len(subjects))
	for _, s := range subjects {
		out = append(out, event.Ref(s.Ref()))
	}
	return out
}

// sightAge is how long ago something must have been unwanted first to be so for good: two
// surveys see it, and whoever is just being made has been read in between.
const sightAge = 10 * time.Second
