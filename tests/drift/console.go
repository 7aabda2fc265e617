package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"github.com/clb-direct/clb-direct/localdev/stack"
	"github.com/clb-direct/clb-direct/shared/model"
)

// console changes CLBs as a person does, through the vendor's SDK and nothing of ours.
type console struct{ api *api.Client }

func newConsole(s *stack.Stack) (*console, error) {
	p := profile.NewClientProfile()
	p.HttpProfile.Scheme, p.HttpProfile.Endpoint = "HTTP", s.CLB.Endpoint()
	c, err := api.NewClient(common.NewCredential(s.Account.SecretID, s.Account.SecretKey), stack.Region, p)
	if err != nil {
		return nil, fmt.Errorf("making the CLB client: %w", err)
	}
	return &console{c}, nil
}

// place is a listener, or a rule of one, on a CLB.
type place struct {
	lb string
	model.Place
}

func (p place) location() *string {
	if p.Location == "" {
		return nil
	}
	return &p.Location
}

func (c *console) deregister(ctx context.Context, at place, targets []model.Target) error {
	req := api.NewDeregisterTargetsRequest()
	req.LoadBalancerId, req.ListenerId, req.LocationId = &at.lb, &at.Listener, at.location()
	for _, t := range targets {
		req.Targets = append(req.Targets, &api.Target{EniIp: &t.IP, Port: new(int64(t.Port))})
	}
	return c.make(ctx, "deregistering targets", func() (*string, error) {
		res, err := c.api.DeregisterTargetsWithContext(ctx, req)
		if err != nil {
			return nil, err
		}
		return res.Response.RequestId, nil
	})
}

func (c *console) register(ctx context.Context, at place, targets []model.Target) error {
	req := api.NewRegisterTargetsRequest()
	req.LoadBalancerId, req.ListenerId, req.LocationId = &at.lb, &at.Listener, at.location()
	for _, t := range targets {
		req.Targets = append(req.Targets, &api.Target{EniIp: &t.IP, Port: new(int64(t.Port)), Weight: new(int64(t.Weight))})
	}
	return c.make(ctx, "registering targets", func() (*string, error) {
		res, err := c.api.RegisterTargetsWithContext(ctx, req)
		if err != nil {
			return nil, err
		}
		return res.Response.RequestId, nil
	})
}

func (c *console) weigh(ctx context.Context, at place, targets []model.Target) error {
	req := api.NewModifyTargetWeightRequest()
	req.LoadBalancerId, req.ListenerId, req.LocationId = &at.lb, &at.Listener, at.location()
	for _, t := range targets {
		req.Targets = append(req.Targets, &api.Target{EniIp: &t.IP, Port: new(int64(t.Port)), Weight: new(int64(t.Weight))})
	}
	return c.make(ctx, "weighing targets", func() (*string, error) {
		res, err := c.api.ModifyTargetWeightWithContext(ctx, req)
		if err != nil {
			return nil, err
		}
		return res.Response.RequestId, nil
	})
}

func (c *console) tag(ctx context.Context, at place, targets []model.Target) error {
	rule := &api.RsTagRule{ListenerId: &at.Listener, LocationId: at.location()}
	for _, t := range targets {
		rule.Targets = append(rule.Targets, &api.Target{EniIp: &t.IP, Port: new(int64(t.Port)), Tag: &t.Tag})
	}
	req := api.NewBatchModifyTargetTagRequest()
	req.LoadBalancerId, req.ModifyList = &at.lb, []*api.RsTagRule{rule}
	return c.make(ctx, "tagging targets", func() (*string, error) {
		_, err := c.api.BatchModifyTargetTagWithContext(ctx, req)
		return nil, err // done when it is answered
	})
}

func (c *console) deleteListener(ctx context.Context, at place) error {
	req := api.NewDeleteListenerRequest()
	req.LoadBalancerId, req.ListenerId = &at.lb, &at.Listener
	return c.make(ctx, "deleting a listener", func() (*string, error) {
		res, err := c.api.DeleteListenerWithContext(ctx, req)
		if err != nil {
			return nil, err
		}
		return res.Response.RequestId, nil
	})
}

func (c *console) deleteRule(ctx context.Context, at place) error {
	req := api.NewDeleteRuleRequest()
	req.LoadBalancerId, req.ListenerId, req.LocationIds = &at.lb, &at.Listener, []*string{&at.Location}
	return c.make(ctx, "deleting a rule", func() (*string, error) {
		res, err := c.api.DeleteRuleWithContext(ctx, req)
		if err != nil {
			return nil, err
		}
		return res.Response.RequestId, nil
	})
}

// createListener makes a listener of TCP and says its id.
func (c *console) createListener(ctx context.Context, lb, name string, port int) (id string, err error) {
	req := api.NewCreateListenerRequest()
	req.LoadBalancerId, req.Protocol, req.Ports, req.ListenerNames = &lb, new("TCP"), []*int64{new(int64(port))}, []*string{&name}
	err = c.make(ctx, "creating a listener", func() (*string, error) {
		res, err := c.api.CreateListenerWithContext(ctx, req)
		if err != nil {
			return nil, err
		}
		id = *res.Response.ListenerIds[0]
		return res.Response.RequestId, nil
	})
	return id, err
}

// pause is how long a person waits before a busy CLB is tried again, or a task looked at.
const pause = 100 * time.Millisecond

// make makes a call, again while the CLB is busy, and waits for its task, if it starts
// one: then it has taken effect.
func (c *console) make(ctx context.Context, what string, call func() (task *string, err error)) error {
	for {
		task, err := call()
		switch {
		case err == nil && task == nil:
			return nil
		case err == nil:
			return c.await(ctx, what, task)
		case !strings.Contains(err.Error(), "ResourceInOperating"):
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

func (c *console) await(ctx context.Context, what string, task *string) error {
	req := api.NewDescribeTaskStatusRequest()
	req.TaskId = task
	for {
		res, err := c.api.DescribeTaskStatusWithContext(ctx, req)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		switch *res.Response.Status {
		case 0:
			return nil
		case 1:
			return fmt.Errorf("%s: the task failed", what)
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
