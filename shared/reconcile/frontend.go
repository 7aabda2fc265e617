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

// Frontend brings the CLB and its listeners to what the named Services say, and
// writes status, annotations and Events back. For each Service:
//
//   - not ours any more, or going: let go of everything it holds (release.go)
//   - ours: write down what is about to be done, then find or create its CLB
//   - then, CLB by CLB and under its Lease: listeners, status, and a wake-up for
//     the backends
func (w *World) Frontend(ctx context.Context, req event.Request) event.Reply {
	p := w.begin(req)
	if err := p.Kube.Check(ctx); err != nil {
		p.fail(err)
		return p.finish()
	}
	services, err := p.services(ctx, req.Sync.Services)
	if err != nil {
		p.fail(err)
		return p.finish()
	}
	byLB := map[string][]*ward{}
	for _, svc := range services {
		p.sort(ctx, svc, byLB)
	}
	for _, lb := range slices.Sorted(maps.Keys(byLB)) {
		p.onLoadBalancer(ctx, lb, byLB[lb])
	}
	return p.finish()
}

// ward is a Service of ours with its CLB.
type ward struct {
	svc *model.Service
	lb  model.LoadBalancer
	cfg *desired.Config
}

// sort looks after one Service until its CLB is known, and puts it with the others
// there. An error of one Service never keeps another waiting.
func (p *pass) sort(ctx context.Context, svc *model.Service, byLB map[string][]*ward) {
	ours, problem := desired.Claimed(svc, p.Policy)
	switch {
	case problem != nil && !svc.Deleting:
		// What can't be read is neither yes nor no: leave everything as it is.
		p.warnService(ctx, svc, "InvalidAnnotation", problem.String())
		return
	case !ours && desired.Held(svc):
		p.release(ctx, svc)
		return
	case !ours:
		return
	}
	w := &ward{svc: svc}
	if err := p.intend(ctx, w); err != nil {
		p.fail(err)
		return
	}
	if moved := svc.Annotations[desired.LoadBalancerID]; moved != "" && svc.Annotations[desired.ExistingLB] != "" && moved != svc.Annotations[desired.ExistingLB] {
		p.leave(ctx, w, moved)
		return
	}
	ok, err := p.findLoadBalancer(ctx, w)
	if err != nil {
		p.fail(err)
		p.failedService(ctx, w.svc, err)
		return
	}
	if !ok {
		return
	}
	w.cfg = p.config(ctx, w.svc)
	byLB[w.lb.ID] = append(byLB[w.lb.ID], w)
}

// intend writes, before any effect, that there will be one: the finalizer, and the
// token that makes creating a CLB idempotent.
//
//  1. without the finalizer, a Service deleted right after CreateLoadBalancer would
//     leave a CLB behind that nobody remembers
//  2. without the token, a function that dies between CreateLoadBalancer and the
//     annotation would make a second CLB the next time
func (p *pass) intend(ctx context.Context, w *ward) error {
	annotations := map[string]any{}
	if w.svc.Annotations[desired.ExistingLB] == "" && w.svc.Annotations[desired.ClientToken] == "" {
		annotations[desired.ClientToken] = string(uuid.NewUUID())
	}
	var finalizers []string
	if !desired.Held(w.svc) {
		finalizers = append(slices.Clone(w.svc.Finalizers), desired.Finalizer)
	}
	return p.patch(ctx, w, annotations, finalizers)
}

// patch writes annotations and finalizers, if there are any to write.
func (p *pass) patch(ctx context.Context, w *ward, annotations map[string]any, finalizers []string) error {
	for k, v := range annotations {
		have, there := w.svc.Annotations[k]
		if v == nil && !there || v != nil && there && have == v {
			delete(annotations, k)
		}
	}
	if len(annotations) == 0 && finalizers == nil {
		return nil
	}
	svc, err := p.Kube.PatchService(ctx, w.svc, annotations, finalizers)
	if err != nil {
		return err
	}
	w.svc = &svc
	p.wrote("Services", 1)
	return nil
}

// findLoadBalancer finds the CLB of a Service or has it created. ok is false while
// there is none to work on yet.
func (p *pass) findLoadBalancer(ctx context.Context, w *ward) (ok bool, err error) {
	session := p.session(nil)
	if id := w.svc.Annotations[desired.ExistingLB]; id != "" {
		return p.existing(ctx, session, w, id)
	}
	if id := w.svc.Annotations[desired.LoadBalancerID]; id != "" {
		found, err := session.LoadBalancers(ctx, id)
		if err != nil {
			return false, err
		}
		if len(found) == 1 && desired.Created(&found[0], w.svc, p.Policy) {
			w.lb = found[0]
			return p.settled(w), nil
		}
		// The annotation is output only. Somebody changed it, or deleted the CLB
		// or its tags: what carries our tags is ours, nothing else.
	}
	tagged, err := session.LoadBalancersTagged(ctx, desired.OwnTags(w.svc, p.Policy))
	if err != nil {
		return false, err
	}
	slices.SortFunc(tagged, func(a, b model.LoadBalancer) int { return strings.Compare(a.ID, b.ID) })
	if len(tagged) > 0 {
		w.lb = tagged[0]
		return p.settled(w), p.patch(ctx, w, map[string]any{desired.LoadBalancerID: w.lb.ID}, nil)
	}
	if w.svc.Annotations[desired.LoadBalancerID] != "" {
		// It was there and is not: a token is good for one CLB only.
		p.warnService(ctx, w.svc, "LoadBalancerGone", fmt.Sprintf("load balancer %s is gone or not ours; creating another", w.svc.Annotations[desired.LoadBalancerID]))
		if err := p.patch(ctx, w, map[string]any{desired.LoadBalancerID: nil, desired.ClientToken: string(uuid.NewUUID())}, nil); err != nil {
			return false, err
		}
	}
	return false, p.create(ctx, session, w)
}

// create asks for a CLB. It exists, found by its tags, before it is Ready.
func (p *pass) create(ctx context.Context, session *clb.Session, w *ward) error {
	subnet := w.svc.Annotations[desired.InternalSubnet]
	id, err := session.CreateLoadBalancer(ctx, clb.LoadBalancerSpec{
		Name:        loadBalancerName(p.Policy.Cluster, w.svc),
		VPCID:       p.VPC,
		Internal:    subnet != "",
		SubnetID:    subnet,
		ClientToken: w.svc.Annotations[desired.ClientToken],
		Tags:        desired.OwnTags(w.svc, p.Policy),
	})
	if clb.Code(err) == clb.CodeTokenSpent {
		return p.patch(ctx, w, map[string]any{desired.ClientToken: string(uuid.NewUUID())}, nil)
	}
	if err != nil {
		return err
	}
	p.wrote("LoadBalancers", 1)
	p.reply.RequeueAfter(creating)
	if id == "" {
		return nil // the next pass finds it by its tags
	}
	return p.patch(ctx, w, map[string]any{desired.LoadBalancerID: id}, nil)
}

// loadBalancerName is for people: at most 80 characters (CLB API,
// CreateLoadBalancer).
func loadBalancerName(cluster string, svc *model.Service) string {
	name := fmt.Sprintf("%s-%s-%s", cluster, svc.Namespace, svc.Name)
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
	var problem *desired.Problem
	if len(found) == 0 {
		problem = &desired.Problem{Code: desired.CodeNoLoadBalancer, Field: desired.ExistingLB, Message: fmt.Sprintf("there is no load balancer %s in this region", id)}
	} else {
		w.lb = found[0]
		problem = desired.Usable(&w.lb, w.svc, p.Policy)
	}
	if problem != nil {
		p.warnService(ctx, w.svc, "LoadBalancerRefused", problem.String())
		return false, p.patch(ctx, w, map[string]any{desired.Refused: desired.RefusedValue(map[string]string{desired.RefusedAll: problem.Code})}, nil)
	}
	return p.settled(w), p.patch(ctx, w, map[string]any{desired.LoadBalancerID: id}, nil)
}

// config reads the TkeServiceConfig that a Service names. That there is none, or
// that a part of it is out of range, never keeps the Service waiting.
func (p *pass) config(ctx context.Context, svc *model.Service) *desired.Config {
	name := desired.ConfigNameOf(svc)
	if name == "" {
		return nil
	}
	explicit := svc.Annotations[desired.ServiceConfig] != ""
	if explicit && strings.HasSuffix(name, desired.AutoConfigSuffix) {
		p.warnService(ctx, svc, "InvalidAnnotation", fmt.Sprintf("%s: is %q, must not end in %s: such names are made for %s", desired.ServiceConfig, name, desired.AutoConfigSuffix, desired.ServiceConfigAuto))
		return nil
	}
	if auto, problem := desired.Bool(svc.Annotations, desired.ServiceConfigAuto); problem != nil || auto && explicit {
		p.warnService(ctx, svc, "InvalidAnnotation", fmt.Sprintf("%s: must be \"true\" or \"false\", and not \"true\" beside %s", desired.ServiceConfigAuto, desired.ServiceConfig))
	}
	ref := model.Ref{Namespace: svc.Namespace, Name: name}
	spec, err := p.Kube.ServiceConfig(ctx, ref)
	missing := fault.Is(err, fault.NotFound)
	switch {
	case missing && explicit:
		p.warnService(ctx, svc, "ConfigNotFound", fmt.Sprintf("%s: TkeServiceConfig %s is not there; the CLB's settings stay as they are", desired.CodeNoConfig, ref))
		return nil
	case err != nil && !missing:
		p.fail(err)
		return nil
	}
	if !explicit {
		made := desired.AutoConfig(svc, spec)
		if missing || !desired.SameConfig(made, spec) {
			if err := p.Kube.ApplyServiceConfig(ctx, svc, name, made); err != nil {
				p.fail(err)
				return nil
			}
			p.wrote("TkeServiceConfigs", 1)
		}
		spec = made
	}
	cfg, problems := desired.ParseConfig(spec)
	for _, problem := range problems {
		p.warnService(ctx, svc, "InvalidConfig", "TkeServiceConfig "+ref.String()+": "+problem.String())
	}
	return &cfg
}

// onLoadBalancer plans and makes the listeners of all the Services at one CLB.
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
	in := plan.Listeners{Observed: observed}
	speaksFor := map[string]bool{}
	for _, w := range wards {
		speaksFor[w.svc.UID] = true
		wanted, problems := desired.Listeners(w.svc, w.cfg, p.Policy)
		in.Wanted = append(in.Wanted, wanted...)
		for _, problem := range problems {
			p.warnService(ctx, w.svc, "InvalidPort", problem.String())
		}
	}
	in.Owns = func(name string) bool {
		o, ours := desired.OwnerOf(name)
		return ours && o.Cluster == p.Policy.Cluster && speaksFor[o.UID]
	}
	todo := in.Plan()
	failed := p.applyListeners(ctx, session, lb, todo)
	for _, w := range wards {
		p.settle(ctx, w, todo, failed)
	}
	p.wake(lb, wards)
}

// settle writes to a Service what came of it.
func (p *pass) settle(ctx context.Context, w *ward, todo plan.ListenerPlan, failed map[string]error) {
	refused := map[string]string{}
	for key, code := range desired.RefusedOf(w.svc) {
		if code == desired.CodeSharedBackend {
			refused[key] = code // the backends pass's to say
		}
	}
	for _, c := range todo.Conflicts {
		if c.Wanted.OwnerUID != w.svc.UID {
			continue
		}
		refused[desired.PortKey(c.Wanted.ServicePort)] = desired.CodePortConflict
		p.warnService(ctx, w.svc, "PortConflict", fmt.Sprintf("%s: port %d: load balancer %s already has listener %q there", desired.CodePortConflict, c.Wanted.Port, w.lb.ID, c.By))
	}
	for name, err := range failed {
		if o, _ := desired.OwnerOf(name); o.UID == w.svc.UID {
			p.failedService(ctx, w.svc, err)
		}
	}
	if err := p.patch(ctx, w, map[string]any{desired.Refused: desired.RefusedValue(refused), desired.LoadBalancerID: w.lb.ID}, nil); err != nil {
		p.fail(err)
		return
	}
	addresses := addressesOf(&w.lb)
	if slices.Equal(addresses, w.svc.Addresses) {
		return
	}
	svc, err := p.Kube.PatchServiceStatus(ctx, w.svc, addresses)
	if err != nil {
		p.fail(err)
		return
	}
	w.svc = &svc
	p.wrote("Statuses", 1)
	p.note(ctx, kube.Note{Kind: "Service", Ref: svc.Ref(), UID: svc.UID, Reason: "EnsureServiceSuccess",
		Message: fmt.Sprintf("load balancer %s serves at %s", w.lb.ID, strings.Join(addresses, ", "))})
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
	if p.reply.Writes["Listeners"] == 0 {
		return
	}
	s := event.Sync{Cluster: p.Policy.Cluster, LoadBalancers: []string{lb}, All: true}
	for _, w := range wards {
		s.Services = append(s.Services, event.Ref{Namespace: w.svc.Namespace, Name: w.svc.Name})
	}
	p.reply.Wake = append(p.reply.Wake, event.Wake{Function: event.Backends, Sync: s}, event.Wake{Function: event.Readiness, Sync: s})
}

// failedService tells about a CLB call that failed for good; what passes by itself
// isn't shown.
func (p *pass) failedService(ctx context.Context, svc *model.Service, err error) {
	switch fault.KindOf(err) {
	case fault.Permanent, fault.Invalid:
		p.warnService(ctx, svc, "EnsureServiceFailed", err.Error())
	}
}
