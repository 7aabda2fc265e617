package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/kube"
	"github.com/clb-direct/clb-direct/shared/model"
	"github.com/clb-direct/clb-direct/shared/plan"
)

// Frontend brings the CLB, its listeners and rules to what the named Services and
// Ingresses say, and writes status, annotations and Events back. For each:
//
//   - not ours any more, or going: let go of everything it holds (release.go)
//   - ours: write down what is about to be done, then find or create its CLB
//   - then, CLB by CLB and under its Lease: listeners, rules, status, and a wake-up
//     for the backends
func (w *World) Frontend(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	if err := p.Kube.Check(ctx); err != nil {
		p.fail(err)
		return p.finish()
	}
	subjects, err := p.named(ctx)
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	p.keepSelectors(ctx, subjects)
	byLB := map[string][]*ward{}
	for _, s := range subjects {
		p.sort(ctx, s, byLB)
	}
	for _, lb := range slices.Sorted(maps.Keys(byLB)) {
		p.onLoadBalancer(ctx, lb, byLB[lb])
	}
	return p.finish()
}

// named reads what the event is about.
func (p *pass) named(ctx context.Context) ([]*subject, error) {
	if p.req.Sync.Everything() {
		return p.everybody(ctx)
	}
	return p.subjects(ctx, p.req.Sync.Objects)
}

// ward is a Service or Ingress of ours with its CLB.
type ward struct {
	*subject
	lb model.LoadBalancer
}

// sort looks after one object until its CLB is known, and puts it with the others
// there. An error of one object never keeps another waiting.
func (p *pass) sort(ctx context.Context, s *subject, byLB map[string][]*ward) {
	ours, problem := desired.Claimed(s.Object, p.Policy)
	switch {
	case problem != nil && !s.Deleting:
		// What can't be read is neither yes nor no: leave everything as it is.
		p.warn(ctx, s.Front, "InvalidAnnotation", problem.String())
		return
	case !ours && desired.Held(s.Front):
		p.release(ctx, s)
		return
	case !ours:
		return
	}
	for _, problem := range desired.GateProblems(s.Front) {
		p.warn(ctx, s.Front, "InvalidAnnotation", problem.String())
	}
	w := &ward{subject: s}
	if err := p.intend(ctx, w); err != nil {
		p.fail(err)
		return
	}
	k := desired.KeysOf(s.Kind)
	if moved := s.Annotations[k.LoadBalancerID]; moved != "" && s.Annotations[k.ExistingLB] != "" && moved != s.Annotations[k.ExistingLB] {
		p.leave(ctx, w, moved)
		return
	}
	ok, err := p.findLoadBalancer(ctx, w)
	if err != nil {
		p.fail(err)
		p.failed(ctx, w.Front, err)
		return
	}
	if !ok {
		return
	}
	if w.Secrets, err = p.secrets(ctx, w.Object); err != nil {
		p.fail(err)
		return
	}
	w.Config = p.config(ctx, w)
	w.wants = desired.WantsOf(w.Object, w.Sources, p.Policy)
	if w.wants.Unreadable {
		p.tellProblems(ctx, w.subject)
		return
	}
	byLB[w.lb.ID] = append(byLB[w.lb.ID], w)
}

// secrets reads what the object refers to; one that is not there is nil.
func (p *pass) secrets(ctx context.Context, o desired.Object) (map[string]map[string][]byte, error) {
	out := map[string]map[string][]byte{}
	for _, name := range desired.SecretsOf(o) {
		data, err := p.Kube.Secret(ctx, model.Ref{Namespace: o.Namespace, Name: name})
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		out[name] = data
	}
	return out, nil
}

// intend writes, before any effect, that there will be one: the finalizer, and the
// token that makes creating a CLB idempotent.
//
//  1. without the finalizer, an object deleted right after CreateLoadBalancer would
//     leave a CLB behind that nobody remembers
//  2. without the token, a function that dies between CreateLoadBalancer and the
//     annotation would make a second CLB the next time
func (p *pass) intend(ctx context.Context, w *ward) error {
	k := desired.KeysOf(w.Kind)
	annotations := map[string]any{}
	if w.Annotations[k.ExistingLB] == "" && w.Annotations[k.ClientToken] == "" {
		annotations[k.ClientToken] = string(uuid.NewUUID())
	}
	var finalizers []string
	if !desired.Held(w.Front) {
		finalizers = append(slices.Clone(w.Finalizers), k.Finalizer)
	}
	return p.patch(ctx, w.Front, annotations, finalizers)
}

// patch writes annotations and finalizers, if there are any to write.
func (p *pass) patch(ctx context.Context, f *model.Front, annotations map[string]any, finalizers []string) error {
	for k, v := range annotations {
		have, there := f.Annotations[k]
		if v == nil && !there || v != nil && there && have == v {
			delete(annotations, k)
		}
	}
	if len(annotations) == 0 && finalizers == nil {
		return nil
	}
	if err := p.Kube.PatchFront(ctx, f, annotations, finalizers); err != nil {
		return err
	}
	p.wrote("Objects", 1)
	return nil
}

// findLoadBalancer finds the CLB of an object or has it created. ok is false while
// there is none to work on yet.
func (p *pass) findLoadBalancer(ctx context.Context, w *ward) (ok bool, err error) {
	k := desired.KeysOf(w.Kind)
	session := p.session(nil)
	if id := w.Annotations[k.ExistingLB]; id != "" {
		return p.existing(ctx, session, w, id)
	}
	if id := w.Annotations[k.LoadBalancerID]; id != "" {
		found, err := session.LoadBalancers(ctx, id)
		if err != nil {
			return false, err
		}
		if len(found) == 1 && desired.Created(&found[0], w.Front, p.Policy) {
			w.lb = found[0]
			return p.settled(w), nil
		}
		// The annotation is output only. Somebody changed it, or deleted the CLB
		// or its tags: what carries our tags is ours, nothing else.
	}
	tagged, err := session.LoadBalancersTagged(ctx, desired.OwnTags(w.Front, p.Policy))
	if err != nil {
		return false, err
	}
	slices.SortFunc(tagged, func(a, b model.LoadBalancer) int { return strings.Compare(a.ID, b.ID) })
	if len(tagged) > 0 {
		w.lb = tagged[0]
		return p.settled(w), p.patch(ctx, w.Front, map[string]any{k.LoadBalancerID: w.lb.ID}, nil)
	}
	if w.Annotations[k.LoadBalancerID] != "" {
		// It was there and is not: a token is good for one CLB only.
		p.warn(ctx, w.Front, "LoadBalancerGone", fmt.Sprintf("load balancer %s is gone or not ours; creating another", w.Annotations[k.LoadBalancerID]))
		if err := p.patch(ctx, w.Front, map[string]any{k.LoadBalancerID: nil, k.ClientToken: string(uuid.NewUUID())}, nil); err != nil {
			return false, err
		}
	}
	return false, p.create(ctx, session, w)
}

// create asks for a CLB. It exists, found by its tags, before it is Ready.
func (p *pass) create(ctx context.Context, session *clb.Session, w *ward) error {
	k := desired.KeysOf(w.Kind)
	subnet := w.Annotations[k.InternalSubnet]
	id, err := session.CreateLoadBalancer(ctx, clb.LoadBalancerSpec{
		Name:        loadBalancerName(p.Policy.Cluster, w.Front),
		VPCID:       p.VPC,
		Internal:    subnet != "",
		SubnetID:    subnet,
		ClientToken: w.Annotations[k.ClientToken],
		Tags:        desired.OwnTags(w.Front, p.Policy),
	})
	if clb.Code(err) == clb.CodeTokenSpent {
		return p.patch(ctx, w.Front, map[string]any{k.ClientToken: string(uuid.NewUUID())}, nil)
	}
	if err != nil {
		return err
	}
	p.wrote("LoadBalancers", 1)
	p.reply.RequeueAfter(creating)
	if id == "" {
		return nil // the next pass finds it by its tags
	}
	return p.patch(ctx, w.Front, map[string]any{k.LoadBalancerID: id}, nil)
}

// loadBalancerName is for people: at most 80 characters (CLB API,
// CreateLoadBalancer).
func loadBalancerName(cluster string, f *model.Front) string {
	name := fmt.Sprintf("%s-%s-%s", cluster, f.Namespace, f.Name)
	return name[:min(len(name), 80)]
}

// settled tells whether the CLB can be worked on; while it is being made, the pass
// asks to be called again.
func (p *pass) settled(w *ward) bool {
	if !w.lb.Ready {
		p.reply.RequeueAfter(creating)
	}
	return w.lb.Ready
}

// existing takes the CLB that the user named, if it may be used.
func (p *pass) existing(ctx context.Context, session *clb.Session, w *ward, id string) (bool, error) {
	found, err := session.LoadBalancers(ctx, id)
	if err != nil {
		return false, err
	}
	k := desired.KeysOf(w.Kind)
	var problem *desired.Problem
	if len(found) == 0 {
		problem = &desired.Problem{Code: k.NoLoadBalancer, Field: k.ExistingLB, Message: fmt.Sprintf("there is no load balancer %s in this region", id)}
	} else {
		w.lb = found[0]
		problem = desired.Usable(&w.lb, w.Front, p.Policy)
	}
	if problem != nil {
		p.warn(ctx, w.Front, "LoadBalancerRefused", problem.String())
		return false, p.patch(ctx, w.Front, map[string]any{desired.Refused: desired.RefusedValue(map[string]string{desired.RefusedAll: problem.Code})}, nil)
	}
	return p.settled(w), p.patch(ctx, w.Front, map[string]any{k.LoadBalancerID: id}, nil)
}

// config reads the TkeServiceConfig that an object names. That there is none, or that
// a part of it is out of range, never keeps the object waiting.
func (p *pass) config(ctx context.Context, w *ward) *desired.Config {
	name := desired.ConfigNameOf(w.Front)
	if name == "" {
		return nil
	}
	k := desired.KeysOf(w.Kind)
	explicit := w.Annotations[k.Config] != ""
	if explicit && (strings.HasSuffix(name, desired.AutoConfigSuffix) || strings.HasSuffix(name, desired.AutoIngressSuffix)) {
		p.warn(ctx, w.Front, "InvalidAnnotation", fmt.Sprintf("%s: is %q, must not end in %s or %s: such names are made for %s", k.Config, name, desired.AutoConfigSuffix, desired.AutoIngressSuffix, k.ConfigAuto))
		return nil
	}
	if auto, problem := desired.Bool(w.Annotations, k.ConfigAuto); problem != nil || auto && explicit {
		p.warn(ctx, w.Front, "InvalidAnnotation", fmt.Sprintf("%s: must be \"true\" or \"false\", and not \"true\" beside %s", k.ConfigAuto, k.Config))
	}
	ref := model.Ref{Namespace: w.Namespace, Name: name}
	spec, err := p.Kube.ServiceConfig(ctx, ref)
	missing := fault.Is(err, fault.NotFound)
	switch {
	case missing && explicit:
		p.warn(ctx, w.Front, "ConfigNotFound", fmt.Sprintf("%s: TkeServiceConfig %s is not there; the CLB's settings stay as they are", k.NoConfig, ref))
		return nil
	case err != nil && !missing:
		p.fail(err)
		return nil
	}
	if !explicit {
		made := desired.AutoConfig(w.wants, spec)
		if missing || !desired.SameConfig(made, spec) {
			if err := p.Kube.ApplyServiceConfig(ctx, w.Front, name, made); err != nil {
				p.fail(err)
				return nil
			}
			p.wrote("TkeServiceConfigs", 1)
		}
		spec = made
	}
	cfg, problems := desired.ParseConfig(spec)
	for _, problem := range problems {
		p.warn(ctx, w.Front, "InvalidConfig", "TkeServiceConfig "+ref.String()+": "+problem.String())
	}
	return &cfg
}

// invalid is the reason of an Event about what an object's spec says.
var invalid = map[model.Kind]string{model.KindService: "InvalidPort", model.KindIngress: "InvalidRule"}

// tellProblems writes what is wrong with an object's words.
func (p *pass) tellProblems(ctx context.Context, s *subject) {
	for _, problem := range s.wants.Problems {
		p.warn(ctx, s.Front, invalid[s.Kind], problem.String())
	}
}

// onLoadBalancer plans and makes the listeners and rules of all the objects at one CLB.
func (p *pass) onLoadBalancer(ctx context.Context, lb string, wards []*ward) {
	session, release, ok := p.lock(ctx, lb)
	if !ok {
		return
	}
	defer release()
	observed, err := session.Listeners(ctx, lb)
	if err != nil {
		p.fail(err)
		return
	}
	c := claims{policy: p.Policy, lb: lb, wards: wards}
	for _, w := range wards {
		p.tellProblems(ctx, w.subject)
	}
	listeners := c.listeners(observed)
	if err := p.recordTaken(ctx, wards, listeners.Take); err != nil {
		p.fail(err)
		return
	}
	out := outcome{listeners: listeners.Conflicts, failed: p.applyListeners(ctx, session, lb, listeners)}
	if len(listeners.Create) > 0 && c.layer7() {
		if observed, err = session.Listeners(ctx, lb); err != nil {
			p.fail(err)
			return
		}
	}
	if err := p.onRules(ctx, session, c, observed, &out); err != nil {
		p.fail(err)
		return
	}
	for _, w := range wards {
		p.settle(ctx, w, out)
	}
	p.wake(lb, wards)
}

// outcome is what came of a CLB's listeners and rules.
type outcome struct {
	listeners []plan.Conflict
	rules     []plan.RuleConflict
	// failed are listeners whose step failed, by name.
	failed map[string]error
	// broken are rules whose step failed.
	broken map[model.Spot]error
}

// settle writes to an object what came of it.
func (p *pass) settle(ctx context.Context, w *ward, out outcome) {
	k := desired.KeysOf(w.Kind)
	refused := map[string]string{}
	for key, code := range desired.RefusedOf(w.Front) {
		if code == desired.CodeSharedBackend {
			refused[key] = code // the backends pass's to say
		}
	}
	maps.Copy(refused, w.wants.Refused)
	for _, c := range out.listeners {
		if c.Wanted.Owner.UID == w.UID {
			refused[c.Wanted.Key] = k.Conflict
			p.warn(ctx, w.Front, "PortConflict", fmt.Sprintf("%s: port %d: load balancer %s already has listener %q there", k.Conflict, c.Wanted.Port, w.lb.ID, c.By))
		}
	}
	for _, c := range out.rules {
		if c.Wanted.Owner.UID == w.UID {
			refused[c.Wanted.Key] = k.Conflict
			p.warn(ctx, w.Front, "RuleConflict", fmt.Sprintf("%s: %s: load balancer %s already has this rule for %s", k.Conflict, c.Wanted.Key, w.lb.ID, whose(c.By)))
		}
	}
	p.tellFailed(ctx, w, out)
	if err := p.patch(ctx, w.Front, map[string]any{desired.Refused: desired.RefusedValue(refused), k.LoadBalancerID: w.lb.ID}, nil); err != nil {
		p.fail(err)
		return
	}
	addresses := addressesOf(&w.lb)
	if slices.Equal(addresses, w.Addresses) {
		return
	}
	if err := p.Kube.PatchFrontStatus(ctx, w.Front, addresses); err != nil {
		p.fail(err)
		return
	}
	p.wrote("Statuses", 1)
	p.note(ctx, kube.Note{Kind: string(w.Kind), Ref: w.Ref(), UID: w.UID, Reason: fmt.Sprintf("Ensure%sSuccess", w.Kind),
		Message: fmt.Sprintf("load balancer %s serves at %s", w.lb.ID, strings.Join(addresses, ", "))})
}

// tellFailed writes Events about what the CLB refused for good, each error once.
func (p *pass) tellFailed(ctx context.Context, w *ward, out outcome) {
	told := map[string]bool{}
	tell := func(err error) {
		if err != nil && !told[err.Error()] {
			told[err.Error()] = true
			p.failed(ctx, w.Front, err)
		}
	}
	for _, l := range w.wants.Listeners {
		tell(out.failed[l.Name])
	}
	for name, err := range out.failed { // of listeners that nobody wants any more
		if o, _ := desired.OwnerOf(name); o.UID == w.UID {
			tell(err)
		}
	}
	for _, r := range w.wants.Rules {
		if err := out.broken[r.Spot]; err != nil {
			tell(fmt.Errorf("rule %s: %w", r.Key, err))
		}
	}
}

// whose names the holder of a rule, for people.
func whose(uid string) string {
	if uid == "" {
		return "somebody else"
	}
	return "another Ingress (" + uid + ")"
}

// addressesOf are what goes into the status: the domain of a domain-type CLB, else
// its VIPs.
func addressesOf(lb *model.LoadBalancer) []string {
	if len(lb.VIPs) == 0 && lb.Domain != "" {
		return []string{lb.Domain}
	}
	out := slices.Clone(lb.VIPs)
	if lb.IPv6 != "" && !slices.Contains(out, lb.IPv6) {
		out = append(out, lb.IPv6)
	}
	return out
}

// wake has the backends looked at wherever listeners may have changed hands.
func (p *pass) wake(lb string, wards []*ward) {
	if p.reply.Writes["Listeners"]+p.reply.Writes["Rules"] == 0 {
		return
	}
	s := event.Sync{Cluster: p.Policy.Cluster, LoadBalancers: []string{lb}, All: true}
	for _, w := range wards {
		s.Objects = append(s.Objects, event.Ref(w.Ref()))
	}
	p.reply.Wake = append(p.reply.Wake, event.Wake{Function: event.Backends, Sync: s}, event.Wake{Function: event.Readiness, Sync: s})
}

// failed tells about a CLB call that failed for good; what passes by itself isn't
// shown.
func (p *pass) failed(ctx context.Context, f *model.Front, err error) {
	switch fault.KindOf(err) {
	case fault.Permanent, fault.Invalid:
		p.warn(ctx, f, fmt.Sprintf("Ensure%sFailed", f.Kind), err.Error())
	}
}
