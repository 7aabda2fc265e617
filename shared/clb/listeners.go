package clb

import (
	"context"
	"reflect"
	"slices"

	sdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Limits of writes to listeners (CLB API, field comments of the requests named).
const (
	// maxPorts of CreateListener ("should be less than 50").
	maxPorts = 49
	// maxDeleteListeners of DeleteLoadBalancerListeners.
	maxDeleteListeners = 20
)

// Listeners reads all listeners of a CLB, with their rules (CLB API,
// DescribeListeners).
func (s *Session) Listeners(ctx context.Context, lb string) ([]model.Listener, error) {
	found, err := s.describeListeners(ctx, lb)
	if err != nil {
		return nil, err
	}
	out := make([]model.Listener, 0, len(found))
	for _, l := range found {
		if l != nil {
			out = append(out, listenerOf(l))
		}
	}
	return out, nil
}

func (s *Session) describeListeners(ctx context.Context, lb string) ([]*sdk.Listener, error) {
	req := sdk.NewDescribeListenersRequest()
	req.LoadBalancerId = &lb
	res, err := call(ctx, s, operation{Action: "DescribeListeners", Op: "reading listeners of " + lb}, nil, req, s.api.DescribeListenersWithContext)
	if err != nil {
		return nil, err
	}
	return res.Response.Listeners, nil
}

// listenerOf reads a listener. Of the settings that layer 7 has in its rules, a
// layer-7 listener has none.
func listenerOf(l *sdk.Listener) model.Listener {
	m := model.Listener{
		ID:        value(l.ListenerId),
		Name:      value(l.ListenerName),
		Protocol:  model.Protocol(value(l.Protocol)),
		Port:      int(value(l.Port)),
		SNI:       value(l.SniSwitch) == 1,
		KeepAlive: value(l.KeepaliveEnable) == 1,
	}
	if !m.Protocol.Layer7() {
		m.Attributes = model.Attributes{
			HealthCheck:   healthCheckOf(l.HealthCheck, m.Protocol, ""),
			SessionExpire: int(value(l.SessionExpireTime)),
			Scheduler:     value(l.Scheduler),
		}
		return m
	}
	for _, r := range l.Rules {
		if r != nil {
			m.Rules = append(m.Rules, ruleOf(r, m.Protocol))
		}
	}
	return m
}

// CreateListeners makes listeners for which SameCall holds with one call, and returns
// their ids in order (CLB API, CreateListener). Those of HTTPS get SNI, which leaves
// certificates to the domains.
func (s *Session) CreateListeners(ctx context.Context, lb string, wanted []model.WantedListener) ([]string, error) {
	check := func() error { return limit("Ports", len(wanted), maxPorts) }
	req := sdk.NewCreateListenerRequest()
	req.LoadBalancerId = &lb
	for _, w := range wanted {
		req.Ports = append(req.Ports, ptr(int64(w.Port)))
		req.ListenerNames = append(req.ListenerNames, ptr(w.Name))
	}
	if len(wanted) > 0 {
		describe(req, wanted[0])
	}
	res, err := call(ctx, s, operation{Action: "CreateListener", Op: "creating listeners on " + lb, Write: true, Task: true}, check, req, s.api.CreateListenerWithContext)
	if err != nil {
		return nil, err
	}
	return values(res.Response.ListenerIds), nil
}

// describe fills in what the listeners of one call have in common. The settings of
// layer 4 are refused at layer 7, and the other way round.
func describe(req *sdk.CreateListenerRequest, w model.WantedListener) {
	req.Protocol = ptr(string(w.Protocol))
	if !w.Protocol.Layer7() {
		req.HealthCheck = healthCheck(w.Settings, w.Protocol)
		req.SessionExpireTime = int64s(w.Settings.SessionExpire)
		req.Scheduler = w.Settings.Scheduler
		return
	}
	if w.Protocol == model.HTTPS {
		req.SniSwitch = flag(true)
	}
	if w.KeepAlive != nil {
		req.KeepaliveEnable = flag(*w.KeepAlive)
	}
}

// SameCall tells whether two wanted listeners can be made with one CreateListener.
func SameCall(a, b model.WantedListener) bool {
	if a.Protocol.Layer7() {
		return a.Protocol == b.Protocol && reflect.DeepEqual(a.KeepAlive, b.KeepAlive)
	}
	return a.Protocol == b.Protocol && reflect.DeepEqual(a.Settings, b.Settings)
}

// ModifyListener changes a listener's settings and name from have to want (CLB API,
// ModifyListener).
func (s *Session) ModifyListener(ctx context.Context, lb string, have, want model.Listener) error {
	req := sdk.NewModifyListenerRequest()
	req.LoadBalancerId, req.ListenerId = &lb, &have.ID
	if have.Protocol.Layer7() {
		if want.KeepAlive != have.KeepAlive {
			req.KeepaliveEnable = flag(want.KeepAlive)
		}
	} else {
		req.HealthCheck = healthCheckChange(have.HealthCheck, want.HealthCheck, have.Protocol)
		req.SessionExpireTime = changed(have.SessionExpire, want.SessionExpire)
		req.Scheduler = changedText(have.Scheduler, want.Scheduler)
	}
	if want.Name != have.Name {
		req.ListenerName = &want.Name
	}
	_, err := call(ctx, s, operation{Action: "ModifyListener", Op: "changing listener " + have.ID, Write: true, Task: true}, nil, req, s.api.ModifyListenerWithContext)
	return err
}

// DeleteListeners deletes listeners and everything bound to them (CLB API,
// DeleteLoadBalancerListeners). Naming none would delete all of a CLB's, so that is
// refused here.
func (s *Session) DeleteListeners(ctx context.Context, lb string, ids []string) error {
	for chunk := range slices.Chunk(ids, maxDeleteListeners) {
		req := sdk.NewDeleteLoadBalancerListenersRequest()
		req.LoadBalancerId, req.ListenerIds = &lb, pointers(chunk)
		check := func() error { return limit("ListenerIds", len(req.ListenerIds), maxDeleteListeners) }
		_, err := call(ctx, s, operation{Action: "DeleteLoadBalancerListeners", Op: "deleting listeners of " + lb, Write: true, Task: true}, check, req, s.api.DeleteLoadBalancerListenersWithContext)
		if err != nil {
			return err
		}
	}
	return nil
}
