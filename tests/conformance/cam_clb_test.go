package conformance

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// statement is one of a policy.
type statement struct {
	Effect   string   `json:"effect"`
	Action   []string `json:"action"`
	Resource []string `json:"resource"`
}

func allow(action string, resources ...string) statement {
	return statement{"allow", strings.Fields(action), resources}
}

func deny(action string, resources ...string) statement {
	return statement{"deny", strings.Fields(action), resources}
}

// granted is a policy that says so.
func granted(t *testing.T, statements ...statement) []cam.Policy {
	t.Helper()
	if len(statements) == 0 {
		return []cam.Policy{}
	}
	raw, err := json.Marshal(map[string]any{"version": "2.0", "statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	p, err := cam.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return []cam.Policy{p}
}

// as is a sub-account's client, to which a policy of these statements was granted.
func (c *cloud) as(statements ...statement) *cloud {
	c.t.Helper()
	return c.signing(tc3.Credential{SecretID: rand.Text(), SecretKey: "secret", Principal: "sub", Policies: granted(c.t, statements...)})
}

// signing is the client of a key that is accepted from now on.
func (c *cloud) signing(key tc3.Credential) *cloud {
	c.t.Helper()
	c.store.Add(key)
	other := *c
	other.Client = c.client(key.SecretID, key.SecretKey, key.Token)
	return &other
}

// named is a resource of the account in the region of the suite.
func (c *cloud) named(service, name string) string { return cam.Resource(service, c.region(), name) }

// may tells whether a call is permitted, whatever else comes of it.
func may(t *testing.T, err error, want bool) {
	t.Helper()
	if got := code(err) != "UnauthorizedOperation"; got != want {
		t.Errorf("want the call permitted: %t, got code %q (%s)", want, code(err), message(err))
	}
}

// createListener tries to create a listener.
func (c *cloud) createListener(lb string) error {
	q := api.NewCreateListenerRequest()
	q.LoadBalancerId, q.Protocol, q.Ports = &lb, new("TCP"), []*int64{new(int64(80))}
	_, err := try(c, c.CreateListener, q)
	return err
}

// describe tries to list load balancers.
func (c *cloud) describe() error {
	_, err := try(c, c.DescribeLoadBalancers, api.NewDescribeLoadBalancersRequest())
	return err
}

// delete tries to delete load balancers.
func (c *cloud) delete(ids ...*string) error {
	q := api.NewDeleteLoadBalancerRequest()
	q.LoadBalancerIds = ids
	_, err := try(c, c.DeleteLoadBalancer, q)
	return err
}

const (
	camSyntax      = "CAM, Syntax Structure (598/10603, 598/10604)"
	camResources   = "CAM, Resource Description Method (598/10606)"
	camLogic       = "CAM, Evaluation Logic: an explicit deny is over an allow, and without either a request is denied"
	camGranularity = "CAM, authorization granularity of CLB (598/98118): operation-level APIs are denied by a policy that names resources"
	camCLB         = "CAM, authorization granularity of CLB (598/98118), six-part resources"
)

func TestCAMStatements(t *testing.T) {
	hold(t, "CAM statements", []fact{
		{
			name: "who was granted nothing may do nothing", source: camLogic, needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				sub := c.as()
				may(t, sub.createListener(lb), false)
				may(t, sub.describe(), false)
			},
		},
		{
			name: "the main account may do everything", source: camLogic, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.createListener(c.balancer()), true)
				may(t, c.describe(), true)
			},
		},
		{
			name: "what a statement doesn't name is denied", source: camLogic, needs: rig,
			check: func(t *testing.T, c *cloud) {
				sub := c.as(allow("clb:CreateListener", "*"))
				may(t, sub.createListener(c.balancer()), true)
				may(t, sub.describe(), false)
			},
		},
		{
			name: "the refusal names the action and the resource", needs: rig,
			source: "message of UnauthorizedOperation as users report it: you are not authorized to perform operation (...) resource (...) has no permission",
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				err := c.as().createListener(lb)
				refused(t, err, "UnauthorizedOperation")
				for _, part := range []string{"you are not authorized to perform operation (clb:CreateListener)", "resource (" + c.named("clb", "clb/"+lb) + ") has no permission", "[request id:"} {
					if !strings.Contains(message(err), part) {
						t.Errorf("want %q in %q", part, message(err))
					}
				}
			},
		},
		{
			name: "a call that is refused does nothing", needs: rig,
			source: "CLB API, UnauthorizedOperation",
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				may(t, c.as(allow("clb:Describe*", "*")).createListener(lb), false)
				q := api.NewDescribeListenersRequest()
				q.LoadBalancerId = &lb
				a, err := try(c, c.DescribeListeners, q)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(a.Response.Listeners); n != 0 {
					t.Errorf("want no listener, got %d", n)
				}
			},
		},
		{
			name: "an asterisk stands for the rest of an action's name", source: camSyntax, needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				sub := c.as(allow("clb:Create*", "*"))
				may(t, sub.createListener(lb), true)
				may(t, sub.delete(&lb), false)
			},
		},
		{
			name: "an asterisk stands for all actions of a service", source: camSyntax, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("clb:*", "*")).describe(), true)
				may(t, c.as(allow("scf:*", "*")).describe(), false)
			},
		},
		{
			name: "an action may have the prefix name", source: camSyntax + `: action "name/..."`, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("name/clb:Describe*", "*")).describe(), true)
			},
		},
		{
			name: "a statement may name several actions", source: camSyntax, needs: rig,
			check: func(t *testing.T, c *cloud) {
				sub := c.as(allow("clb:CreateListener clb:DescribeLoadBalancers", "*"))
				may(t, sub.createListener(c.balancer()), true)
				may(t, sub.describe(), true)
			},
		},
		{
			name: "deny is over allow", source: camLogic, needs: rig,
			check: func(t *testing.T, c *cloud) {
				one, two := c.balancer(), c.balancer()
				sub := c.as(deny("clb:CreateListener", c.named("clb", "clb/"+two)), allow("clb:*", "*"))
				may(t, sub.createListener(one), true)
				may(t, sub.createListener(two), false)
			},
		},
		{
			name: "several policies count together", source: camLogic, needs: rig,
			check: func(t *testing.T, c *cloud) {
				policies := append(granted(t, allow("clb:CreateListener", "*")), granted(t, allow("clb:Describe*", "*"))...)
				lb := c.balancer()
				sub := c.signing(tc3.Credential{SecretID: "two", SecretKey: "secret", Principal: "two", Policies: policies})
				may(t, sub.createListener(lb), true)
				may(t, sub.describe(), true)
				may(t, sub.delete(&lb), false)
			},
		},
		{
			name: "a temporary key has the permissions of its role", needs: rig,
			source: "SCF, execution role (583/32389)",
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				sub := c.signing(tc3.Credential{SecretID: "role", SecretKey: "secret", Token: "token", Principal: "role", Policies: granted(t, allow("clb:Describe*", "*"))})
				may(t, sub.describe(), true)
				may(t, sub.createListener(lb), false)
			},
		},
	})
}

func TestCAMResources(t *testing.T) {
	hold(t, "CAM resources", []fact{
		{
			name: "a load balancer is allowed by its six-part name", source: camCLB, needs: rig,
			check: func(t *testing.T, c *cloud) {
				one, two := c.balancer(), c.balancer()
				sub := c.as(allow("clb:*", c.named("clb", "clb/"+one)))
				may(t, sub.createListener(one), true)
				may(t, sub.createListener(two), false)
			},
		},
		{
			name: "an asterisk stands for every load balancer", source: camResources, needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				may(t, c.as(allow("clb:*", c.named("clb", "clb/*"))).createListener(lb), true)
				may(t, c.as(allow("clb:*", c.named("clb", "listener/*"))).createListener(lb), false)
			},
		},
		{
			name: "an empty region is all regions", source: camResources, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("clb:*", cam.Resource("clb", "", "clb/*"))).createListener(c.balancer()), true)
			},
		},
		{
			name: "another region is another resource", source: camResources, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("clb:*", cam.Resource("clb", "ap-singapore", "clb/*"))).createListener(c.balancer()), false)
			},
		},
		{
			name: "an empty account is the own one", source: camResources, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("clb:*", "qcs::clb:"+c.region()+"::clb/*")).createListener(c.balancer()), true)
			},
		},
		{
			name: "another account is another resource", source: camResources, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("clb:*", "qcs::clb:"+c.region()+":uin/1:clb/*")).createListener(c.balancer()), false)
			},
		},
		{
			name: "another service is another resource", source: camResources, needs: rig,
			check: func(t *testing.T, c *cloud) {
				may(t, c.as(allow("clb:*", c.named("cvm", "*"))).createListener(c.balancer()), false)
			},
		},
		{
			name: "listing is denied by a statement that names load balancers", source: camGranularity, needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				sub := c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("clb", "*"), "qcs:::::*"))
				may(t, sub.createListener(lb), true)
				err := sub.describe()
				may(t, err, false)
				if !strings.Contains(message(err), "resource (*) has no permission") {
					t.Errorf("want the resource * to be named, got %q", message(err))
				}
			},
		},
		{
			name: "asking for a task is denied by a statement that names load balancers", source: camGranularity, needs: rig,
			check: func(t *testing.T, c *cloud) {
				q := api.NewDescribeTaskStatusRequest()
				q.TaskId = new("11111111-2222-3333-4444-555555555555")
				_, err := try(c, c.as(allow("clb:*", c.named("clb", "clb/*"))).DescribeTaskStatus, q)
				may(t, err, false)
				_, err = try(c, c.as(allow("clb:*", "*")).DescribeTaskStatus, q)
				may(t, err, true)
			},
		},
		{
			name: "reading targets is denied by a statement that names the load balancer", source: camGranularity, needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				q := api.NewDescribeTargetsRequest()
				q.LoadBalancerId = &lb
				_, err := try(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb))).DescribeTargets, q)
				may(t, err, false)
			},
		},
		{
			name: "creating a load balancer is a permission on all of them", needs: rig,
			source: "CLB, Authorization Definition (214/9779), CreateLoadBalancer: clb/*",
			check: func(t *testing.T, c *cloud) {
				q := api.NewCreateLoadBalancerRequest()
				q.LoadBalancerType, q.VpcId = new("OPEN"), new(c.vpc())
				_, err := try(c, c.as(allow("clb:*", c.named("clb", "clb/lb-1"))).CreateLoadBalancer, q)
				may(t, err, false)
				_, err = try(c, c.as(allow("clb:*", c.named("clb", "clb/*"))).CreateLoadBalancer, q)
				may(t, err, true)
			},
		},
		{
			name: "deleting load balancers takes a permission on each", source: camCLB, needs: rig,
			check: func(t *testing.T, c *cloud) {
				one, two := c.balancer(), c.balancer()
				sub := c.as(allow("clb:*", c.named("clb", "clb/"+one)))
				may(t, sub.delete(&one, &two), false)
				may(t, sub.delete(&one), true)
			},
		},
	})
}

func TestCAMTargets(t *testing.T) {
	// bound tries to bind a target of one kind in each way.
	bound := func(c *cloud, sub *cloud, lb, l string, instance, ip *string) map[string]error {
		single := api.NewRegisterTargetsRequest()
		single.LoadBalancerId, single.ListenerId = &lb, &l
		single.Targets = []*api.Target{{InstanceId: instance, EniIp: ip, Port: new(int64(80))}}
		_, first := try(c, sub.RegisterTargets, single)
		several := api.NewBatchRegisterTargetsRequest()
		several.LoadBalancerId = &lb
		several.Targets = []*api.BatchTarget{{ListenerId: &l, InstanceId: instance, EniIp: ip, Port: new(int64(81))}}
		_, second := try(c, sub.BatchRegisterTargets, several)
		weights := api.NewBatchModifyTargetWeightRequest()
		weights.LoadBalancerId = &lb
		weights.ModifyList = []*api.RsWeightRule{{ListenerId: &l, Weight: new(int64(1)), Targets: []*api.Target{{InstanceId: instance, EniIp: ip, Port: new(int64(80))}}}}
		_, third := try(c, sub.BatchModifyTargetWeight, weights)
		return map[string]error{"RegisterTargets": first, "BatchRegisterTargets": second, "BatchModifyTargetWeight": third}
	}
	hold(t, "CAM targets", []fact{
		{
			name: "binding an address takes a permission on network interfaces", source: camCLB + ": clb, eni, cvm", needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				l := c.listener(lb, "TCP", 80)
				ip := c.unused(1)[0].Addr().String()
				for action, err := range bound(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("cvm", "instance/*"))), lb, l, nil, &ip) {
					may(t, err, false)
					if !strings.Contains(message(err), "(clb:"+action+")") || !strings.Contains(message(err), c.named("vpc", "eni/*")) {
						t.Errorf("%s: want the action and the interfaces to be named, got %q", action, message(err))
					}
				}
				for _, err := range bound(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("vpc", "eni/*"))), lb, l, nil, &ip) {
					may(t, err, true)
				}
			},
		},
		{
			name: "binding an instance takes a permission on it", source: camCLB + ": clb, eni, cvm", needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				l := c.listener(lb, "TCP", 80)
				for _, err := range bound(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("cvm", "instance/ins-1"))), lb, l, new("ins-2"), nil) {
					may(t, err, false)
				}
				for _, err := range bound(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("cvm", "instance/ins-2"))), lb, l, new("ins-2"), nil) {
					may(t, err, true)
				}
			},
		},
		{
			name: "binding takes a permission on the load balancer, too", source: camCLB, needs: rig,
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				l := c.listener(lb, "TCP", 80)
				ip := c.unused(1)[0].Addr().String()
				for _, err := range bound(c, c.as(allow("clb:*", c.named("vpc", "eni/*"), c.named("clb", "clb/lb-1"))), lb, l, nil, &ip) {
					may(t, err, false)
				}
			},
		},
		{
			name: "modifying tags names instances and interfaces as the load balancers' own", needs: rig,
			source: "CAM, authorization granularity of CLB (598/98118), BatchModifyTargetTag: qcs::clb:...:instance, qcs::clb:...:eni",
			check: func(t *testing.T, c *cloud) {
				lb := c.balancer()
				l := c.listener(lb, "TCP", 80)
				q := api.NewBatchModifyTargetTagRequest()
				q.LoadBalancerId = &lb
				q.ModifyList = []*api.RsTagRule{{ListenerId: &l, Tag: new("t"), Targets: []*api.Target{{EniIp: new(c.unused(1)[0].Addr().String()), Port: new(int64(80))}}}}
				_, err := try(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("vpc", "eni/*"))).BatchModifyTargetTag, q)
				may(t, err, false)
				_, err = try(c, c.as(allow("clb:*", c.named("clb", "clb/"+lb), c.named("clb", "eni/*"))).BatchModifyTargetTag, q)
				may(t, err, true)
			},
		},
	})
}
