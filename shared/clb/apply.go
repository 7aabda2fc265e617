package clb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/fault"
	"github.com/clb-direct/clb-direct/shared/model"
)

// Limits of writes (CLB API, field comments of the requests named).
const (
	// MaxBatch targets in one BatchRegisterTargets, BatchDeregisterTargets,
	// BatchModifyTargetWeight or BatchModifyTargetTag.
	MaxBatch = 500
	// maxPlaces and maxPlaceTargets bound BatchModifyTargetWeight.ModifyList.
	maxPlaces, maxPlaceTargets = 100, 50
)

// LoadBalancerSpec is what CreateLoadBalancer is asked for.
type LoadBalancerSpec struct {
	Name        string
	VPCID       string
	Internal    bool
	SubnetID    string
	ClientToken string
	Tags        map[string]string
}

// CreateLoadBalancer asks for a CLB and returns at once: it exists some seconds
// later (Status 1). The id may be missing from the answer; find it by its tags.
func (s *Session) CreateLoadBalancer(ctx context.Context, spec LoadBalancerSpec) (id string, err error) {
	req := sdk.NewCreateLoadBalancerRequest()
	req.LoadBalancerType, req.Forward = ptr("OPEN"), ptr(int64(1))
	if spec.Internal {
		req.LoadBalancerType, req.SubnetId = ptr("INTERNAL"), &spec.SubnetID
	}
	if spec.VPCID != "" {
		req.VpcId = &spec.VPCID
	}
	req.LoadBalancerName, req.ClientToken = &spec.Name, &spec.ClientToken
	for _, k := range sortedKeys(spec.Tags) {
		req.Tags = append(req.Tags, &sdk.TagInfo{TagKey: ptr(k), TagValue: ptr(spec.Tags[k])})
	}
	check := func() error {
		if spec.ClientToken == "" {
			return fault.Invalidf("ClientToken", "is missing: without it a repetition makes a second load balancer")
		}
		if spec.Internal && (spec.SubnetID == "" || spec.VPCID == "") {
			return fault.Invalidf("SubnetId, VpcId", "are needed for an internal load balancer")
		}
		return nil
	}
	res, err := call(ctx, s, operation{Action: "CreateLoadBalancer", Op: "creating a load balancer", Write: true}, check, req, s.api.CreateLoadBalancerWithContext)
	if err != nil {
		return "", err
	}
	if len(res.Response.LoadBalancerIds) > 0 {
		return value(res.Response.LoadBalancerIds[0]), nil
	}
	return "", nil
}

// DeleteLoadBalancer deletes a CLB; one that is gone already is no error.
func (s *Session) DeleteLoadBalancer(ctx context.Context, id string) error {
	req := sdk.NewDeleteLoadBalancerRequest()
	req.LoadBalancerIds = []*string{&id}
	_, err := call(ctx, s, operation{Action: "DeleteLoadBalancer", Op: "deleting load balancer " + id, Write: true, Task: true}, nil, req, s.api.DeleteLoadBalancerWithContext)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Partial is a batch of which a part failed, which the API says without an error:
// Listeners are those where something failed, Message why.
type Partial struct {
	Listeners map[string]bool
	Message   string
	// Task: the call was taken and its task failed, which says nothing about any target.
	Task bool
}

// Error tells what failed.
func (p *Partial) Error() string {
	return fmt.Sprintf("%d listeners refused targets: %s", len(p.Listeners), p.Message)
}

func partial(failed []*string, message *string) error {
	if len(failed) == 0 {
		return nil
	}
	p := &Partial{Listeners: map[string]bool{}, Message: value(message)}
	for _, id := range failed {
		p.Listeners[value(id)] = true
	}
	return p
}

// Bind registers up to MaxBatch targets, across listeners, with their weights and
// tags. A *Partial error names the listeners where something failed.
func (s *Session) Bind(ctx context.Context, lb string, targets []model.Target) error {
	req := sdk.NewBatchRegisterTargetsRequest()
	req.LoadBalancerId, req.Targets = &lb, batchTargets(targets, true)
	check := func() error { return limit("Targets", len(targets), MaxBatch) }
	op := operation{Action: "BatchRegisterTargets", Op: "binding targets on " + lb, Write: true}
	res, err := call(ctx, s, op, check, req, s.api.BatchRegisterTargetsWithContext)
	if err != nil {
		return err
	}
	return s.outcome(ctx, op, res.Response.FailListenerIdSet, res.Response.Message, value(res.Response.RequestId), targets)
}

// Unbind deregisters up to MaxBatch targets. A *Partial error names the listeners
// where something failed; a target that is not bound is such a failure.
func (s *Session) Unbind(ctx context.Context, lb string, targets []model.Target) error {
	req := sdk.NewBatchDeregisterTargetsRequest()
	req.LoadBalancerId, req.Targets = &lb, batchTargets(targets, false)
	check := func() error { return limit("Targets", len(targets), MaxBatch) }
	op := operation{Action: "BatchDeregisterTargets", Op: "unbinding targets on " + lb, Write: true}
	res, err := call(ctx, s, op, check, req, s.api.BatchDeregisterTargetsWithContext)
	if err != nil {
		return err
	}
	return s.outcome(ctx, op, res.Response.FailListenerIdSet, res.Response.Message, value(res.Response.RequestId), targets)
}

// outcome is what came of an answered batch: what it refused, else what its task did.
func (s *Session) outcome(ctx context.Context, op operation, failed []*string, message *string, taskID string, targets []model.Target) error {
	if err := partial(failed, message); err != nil {
		return err
	}
	return s.follow(ctx, op, taskID, targets)
}

// follow waits for the task that a batch may have started. Vendor code takes both
// batch calls for done when they are answered, but nothing promises it: where there
// is no such task that is so, and isn't asked again. A task that failed tells no
// listener, so all may have failed.
func (s *Session) follow(ctx context.Context, op operation, taskID string, targets []model.Target) error {
	if taskID == "" || s.inline.Load() {
		return nil
	}
	s.Doubt()
	err := s.await(ctx, op, taskID, 0)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		s.inline.Store(true)
		err = nil
	}
	s.wrote(err)
	var failed *taskError
	if !errors.As(err, &failed) {
		return err
	}
	p := &Partial{Listeners: map[string]bool{}, Message: failed.message, Task: true}
	for _, t := range targets {
		p.Listeners[t.Listener] = true
	}
	return p
}

func batchTargets(targets []model.Target, full bool) []*sdk.BatchTarget {
	out := make([]*sdk.BatchTarget, 0, len(targets))
	for _, t := range targets {
		b := &sdk.BatchTarget{ListenerId: ptr(t.Listener), Port: ptr(int64(t.Port))}
		b.InstanceId, b.EniIp = bound(t)
		if t.Location != "" {
			b.LocationId = ptr(t.Location)
		}
		if full {
			b.Weight, b.Tag = ptr(int64(t.Weight)), ptr(t.Tag)
		}
		out = append(out, b)
	}
	return out
}

// bound names a target as it was bound: an instance or an address, never both (CLB API,
// Target.EniIp).
func bound(t model.Target) (instance, address *string) {
	if t.Instance != "" {
		return ptr(t.Instance), nil
	}
	return nil, ptr(t.IP)
}

// SetWeights gives up to MaxBatch targets their weights. The API bounds targets
// per place too, so one list may take several calls.
func (s *Session) SetWeights(ctx context.Context, lb string, targets []model.Target) error {
	rules := byPlace(targets, func(place model.Place, ts []*sdk.Target) *sdk.RsWeightRule {
		return &sdk.RsWeightRule{ListenerId: ptr(place.Listener), LocationId: location(place), Targets: ts}
	}, func(t model.Target) *sdk.Target {
		out := &sdk.Target{Port: ptr(int64(t.Port)), Weight: ptr(int64(t.Weight))}
		out.InstanceId, out.EniIp = bound(t)
		return out
	})
	for chunk := range slices.Chunk(rules, maxPlaces) {
		// 100 rules of 50 would be 5,000 targets, but 500 is the total: the
		// caller's MaxBatch sees to that.
		req := sdk.NewBatchModifyTargetWeightRequest()
		req.LoadBalancerId, req.ModifyList = &lb, chunk
		check := func() error { return limit("targets", len(targets), MaxBatch) }
		_, err := call(ctx, s, operation{Action: "BatchModifyTargetWeight", Op: "setting weights on " + lb, Write: true, Task: true}, check, req, s.api.BatchModifyTargetWeightWithContext)
		if err != nil {
			return err
		}
	}
	return nil
}

// SetTags writes the targets' tags.
func (s *Session) SetTags(ctx context.Context, lb string, targets []model.Target) error {
	rules := byPlace(targets, func(place model.Place, ts []*sdk.Target) *sdk.RsTagRule {
		return &sdk.RsTagRule{ListenerId: ptr(place.Listener), LocationId: location(place), Targets: ts}
	}, func(t model.Target) *sdk.Target {
		return &sdk.Target{EniIp: ptr(t.IP), Port: ptr(int64(t.Port)), Tag: ptr(t.Tag)}
	})
	for chunk := range slices.Chunk(rules, maxPlaces) {
		req := sdk.NewBatchModifyTargetTagRequest()
		req.LoadBalancerId, req.ModifyList = &lb, chunk
		check := func() error { return limit("targets", len(targets), MaxBatch) }
		_, err := call(ctx, s, operation{Action: "BatchModifyTargetTag", Op: "tagging targets on " + lb, Write: true}, check, req, s.api.BatchModifyTargetTagWithContext)
		if err != nil {
			return err
		}
	}
	return nil
}

// byPlace groups targets into the API's per-place lists of at most maxPlaceTargets.
func byPlace[R any](targets []model.Target, rule func(model.Place, []*sdk.Target) R, target func(model.Target) *sdk.Target) []R {
	sorted := slices.Clone(targets)
	slices.SortStableFunc(sorted, func(a, b model.Target) int { return a.Place.Compare(b.Place) })
	var out []R
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && n < maxPlaceTargets && sorted[n].Place == sorted[0].Place {
			n++
		}
		var ts []*sdk.Target
		for _, t := range sorted[:n] {
			ts = append(ts, target(t))
		}
		out = append(out, rule(sorted[0].Place, ts))
		sorted = sorted[n:]
	}
	return out
}

func location(p model.Place) *string {
	if p.Location == "" {
		return nil
	}
	return &p.Location
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
