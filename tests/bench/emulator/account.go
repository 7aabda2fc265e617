package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"

	"github.com/clb-direct/clb-direct/tests/bench/setting"
)

func newClient(endpoint string) (*api.Client, error) {
	p := profile.NewClientProfile()
	p.HttpProfile.Endpoint, p.HttpProfile.Scheme = endpoint, "HTTP"
	return api.NewClient(common.NewCredential("id", "key"), "ap-guangzhou", p)
}

// prepare makes a load balancer with the pods behind a listener of a layer, "tcp" or
// "http", waits until all are healthy, and says where it is.
func (e *emulator) prepare(ctx context.Context, layer string, backends []netip.AddrPort) (string, error) {
	create := api.NewCreateLoadBalancerRequest()
	create.LoadBalancerType = new("OPEN")
	made, err := e.client.CreateLoadBalancerWithContext(ctx, create)
	if err != nil {
		return "", err
	}
	lb := made.Response.LoadBalancerIds[0]
	listen := api.NewCreateListenerRequest()
	listen.LoadBalancerId, listen.Protocol, listen.Ports = lb, new("TCP"), []*int64{new(int64(8080))}
	if layer == "http" {
		listen.Protocol = new("HTTP")
	}
	listened, err := e.client.CreateListenerWithContext(ctx, listen)
	if err != nil {
		return "", err
	}
	listener := listened.Response.ListenerIds[0]
	var location *string
	if layer == "http" {
		rule := api.NewCreateRuleRequest()
		rule.LoadBalancerId, rule.ListenerId = lb, listener
		rule.Rules = []*api.RuleInput{{Domain: new("example.com"), Url: new("/"), HealthCheck: &api.HealthCheck{IntervalTime: new(int64(2))}}}
		ruled, err := e.client.CreateRuleWithContext(ctx, rule)
		if err != nil {
			return "", err
		}
		location = ruled.Response.LocationIds[0]
	}
	bind := api.NewBatchRegisterTargetsRequest()
	bind.LoadBalancerId = lb
	for _, b := range backends {
		bind.Targets = append(bind.Targets, &api.BatchTarget{ListenerId: listener, LocationId: location, EniIp: new(b.Addr().String()), Port: new(int64(b.Port()))})
	}
	if _, err := e.client.BatchRegisterTargetsWithContext(ctx, bind); err != nil {
		return "", err
	}
	if err := e.healthy(ctx, lb, len(backends)); err != nil {
		return "", err
	}
	describe := api.NewDescribeLoadBalancersRequest()
	describe.LoadBalancerIds = []*string{lb}
	found, err := e.client.DescribeLoadBalancersWithContext(ctx, describe)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(*found.Response.LoadBalancerSet[0].LoadBalancerVips[0], "8080"), nil
}

// healthy waits until so many targets are Alive.
func (e *emulator) healthy(ctx context.Context, lb *string, want int) error {
	q := api.NewDescribeTargetHealthRequest()
	q.LoadBalancerIds = []*string{lb}
	return setting.Await(ctx, "the targets to be Alive", func() (bool, error) {
		a, err := e.client.DescribeTargetHealthWithContext(ctx, q)
		if err != nil {
			return false, err
		}
		alive := 0
		for _, l := range a.Response.LoadBalancers[0].Listeners {
			for _, r := range l.Rules {
				for _, t := range r.Targets {
					if *t.HealthStatusDetail == "Alive" {
						alive++
					}
				}
			}
		}
		return alive == want, nil
	})
}

// ticks is what the kernel counts CPU time in, a second (USER_HZ).
const ticks = 100

// cpuTime is what a process has used, of the user's and the system's time (proc(5),
// /proc/pid/stat fields 14 and 15).
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may have spaces.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	total := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticks, nil
}
