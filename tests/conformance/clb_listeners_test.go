package conformance

import (
	"fmt"
	"slices"
	"testing"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// listeners lists those of a load balancer.
func (c *cloud) listeners(lb string, set ...func(*api.DescribeListenersRequest)) []*api.Listener {
	c.t.Helper()
	q := api.NewDescribeListenersRequest()
	q.LoadBalancerId = &lb
	for _, f := range set {
		f(q)
	}
	a, err := try(c, c.DescribeListeners, q)
	if err != nil {
		c.t.Fatal(err)
	}
	if int(*a.Response.TotalCount) != len(a.Response.Listeners) {
		c.t.Errorf("TotalCount is %d of %d", *a.Response.TotalCount, len(a.Response.Listeners))
	}
	return a.Response.Listeners
}

// listening is the creation of a listener that is expected to be refused.
func (c *cloud) listening(lb, protocol string, port int64, set ...func(*api.CreateListenerRequest)) error {
	q := api.NewCreateListenerRequest()
	q.LoadBalancerId, q.Protocol, q.Ports = &lb, &protocol, []*int64{&port}
	for _, f := range set {
		f(q)
	}
	_, err := try(c, c.CreateListener, q)
	return err
}

// changing is the change of a listener, to its end.
func (c *cloud) changing(lb, listener string, set func(*api.ModifyListenerRequest)) error {
	c.t.Helper()
	q := api.NewModifyListenerRequest()
	q.LoadBalancerId, q.ListenerId = &lb, &listener
	set(q)
	a, err := try(c, c.ModifyListener, q)
	if err == nil {
		c.ended(*a.Response.RequestId)
	}
	return err
}

// outOfRange are facts that values of a listener's health check are refused.
func outOfRange(field, source string, set func(*api.HealthCheck, int64), bad ...int64) fact {
	return fact{name: fmt.Sprintf("%s is not %d", field, bad), source: source, check: func(t *testing.T, c *cloud) {
		lb := c.balancer()
		for _, v := range bad {
			// What else there is to a check must be right with any value.
			hc := &api.HealthCheck{IntervalTime: new(int64(300)), TimeOut: new(int64(60))}
			set(hc, v)
			if got := code(c.listening(lb, "TCP", 80, func(q *api.CreateListenerRequest) { q.HealthCheck = hc })); got != "InvalidParameterValue" && got != "InvalidParameterValue.Range" {
				t.Errorf("%d: want it refused, got %q", v, got)
			}
		}
	}}
}

func TestCLBListeners(t *testing.T) {
	const create, describe, modify, remove = "CLB API CreateListener", "CLB API DescribeListeners", "CLB API ModifyListener", "CLB API DeleteListener"
	const check = "CLB API, HealthCheck"
	hold(t, "CLB listeners", []fact{
		{name: "one that is created is described", source: create, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			id := c.listener(lb, "TCP", 80, func(q *api.CreateListenerRequest) { q.ListenerNames = []*string{new("web")} })
			all := c.listeners(lb)
			if len(all) != 1 || *all[0].ListenerId != id || *all[0].Protocol != "TCP" || *all[0].Port != 80 || *all[0].ListenerName != "web" {
				t.Errorf("got %+v", all)
			}
		}},
		{name: "its defaults are the documented ones", source: create + " and " + check, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80)
			l := c.listeners(lb)[0]
			h := l.HealthCheck
			if *l.Scheduler != "WRR" || *l.SessionExpireTime != 0 || *h.HealthSwitch != 1 || *h.TimeOut != 2 || *h.IntervalTime != 5 || *h.HealthNum != 3 || *h.UnHealthNum != 3 || *h.CheckType != "TCP" {
				t.Errorf("got %s, session %d, check %+v", *l.Scheduler, *l.SessionExpireTime, h)
			}
		}},
		{name: "a check over UDP is a PING", source: check + ".CheckType", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "UDP", 53)
			if got := *c.listeners(lb)[0].HealthCheck.CheckType; got != "PING" {
				t.Errorf("got %s", got)
			}
		}},
		{name: "several ports make several listeners, their names in order", source: create + ", Ports and ListenerNames", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			q := api.NewCreateListenerRequest()
			q.LoadBalancerId, q.Protocol, q.Ports, q.ListenerNames = &lb, new("TCP"), []*int64{new(int64(80)), new(int64(81))}, []*string{new("a"), new("b")}
			a := do(c, c.CreateListener, q).Response
			for i, id := range a.ListenerIds {
				l := c.listeners(lb, func(q *api.DescribeListenersRequest) { q.ListenerIds = []*string{id} })[0]
				if *l.Port != *q.Ports[i] || *l.ListenerName != *q.ListenerNames[i] {
					t.Errorf("listener %d has port %d and name %s", i, *l.Port, *l.ListenerName)
				}
			}
		}},
		{name: "TCP and UDP may share a port", source: "CLB, Listener overview", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 53)
			c.listener(lb, "UDP", 53)
		}},
		{name: "a port is taken once by a protocol", source: create + ", InvalidParameter.PortCheckFailed", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80)
			refused(t, c.listening(lb, "TCP", 80), "InvalidParameter.PortCheckFailed")
		}},
		{name: "HTTP and TCP can't share a port", source: "CLB, Listener overview", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80)
			refused(t, c.listening(lb, "HTTP", 80), "InvalidParameter.PortCheckFailed")
		}},
		{name: "a port is at least 1", source: create + ", Ports", check: func(t *testing.T, c *cloud) {
			if code(c.listening(c.balancer(), "TCP", 0)) == "" {
				t.Error("port 0 was taken")
			}
		}},
		{name: "a port is at most 65535", source: create + ", Ports", check: func(t *testing.T, c *cloud) {
			if code(c.listening(c.balancer(), "TCP", 65536)) == "" {
				t.Error("port 65536 was taken")
			}
		}},
		{name: "fewer than 50 ports are taken by a call", source: create + ", Ports (seen: \"Length of .Ports should be less than 50\")", check: func(t *testing.T, c *cloud) {
			refused(t, c.listening(c.balancer(), "TCP", 1, func(q *api.CreateListenerRequest) {
				for port := range int64(50) {
					q.Ports = append(q.Ports, new(port+2))
				}
			}), "InvalidParameterValue.Length")
		}},
		{name: "a protocol there isn't is refused", source: create + ", Protocol", check: func(t *testing.T, c *cloud) {
			refused(t, c.listening(c.balancer(), "SCTP", 80), "InvalidParameterValue")
		}},
		{name: "a load balancer there isn't is named", source: create + ", error codes", check: func(t *testing.T, c *cloud) {
			refused(t, c.listening("lb-12345678", "TCP", 80), "InvalidParameter.LBIdNotFound")
		}},
		{name: "an HTTPS listener needs a certificate", source: create + ", Certificate", check: func(t *testing.T, c *cloud) {
			refused(t, c.listening(c.balancer(), "HTTPS", 443), "MissingParameter")
		}},
		{name: "but not where each domain has its own", source: create + ", SniSwitch", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "HTTPS", 443, func(q *api.CreateListenerRequest) { q.SniSwitch = new(int64(1)) })
			if got := *c.listeners(lb)[0].SniSwitch; got != 1 {
				t.Errorf("SniSwitch is %d", got)
			}
		}},
		{name: "a session lasts 30 to 3600 seconds or isn't kept", source: create + ", SessionExpireTime", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			for _, bad := range []int64{29, 3601} {
				refused(t, c.listening(lb, "TCP", 80, func(q *api.CreateListenerRequest) { q.SessionExpireTime = &bad }), "InvalidParameterValue")
			}
			c.listener(lb, "TCP", 80, func(q *api.CreateListenerRequest) { q.SessionExpireTime = new(int64(30)) })
			if got := *c.listeners(lb)[0].SessionExpireTime; got != 30 {
				t.Errorf("it is %d", got)
			}
		}},
		outOfRange("IntervalTime", check, func(h *api.HealthCheck, v int64) { h.IntervalTime, h.TimeOut = &v, new(int64(2)) }, 1, 301),
		outOfRange("TimeOut", check, func(h *api.HealthCheck, v int64) { h.TimeOut = &v }, 1, 61),
		outOfRange("HealthNum", check, func(h *api.HealthCheck, v int64) { h.HealthNum = &v }, 1, 11),
		outOfRange("UnHealthNum", check, func(h *api.HealthCheck, v int64) { h.UnHealthNum = &v }, 1, 11),
		{name: "TimeOut is less than IntervalTime", source: check, check: func(t *testing.T, c *cloud) {
			err := c.listening(c.balancer(), "TCP", 80, func(q *api.CreateListenerRequest) {
				q.HealthCheck = &api.HealthCheck{TimeOut: new(int64(10)), IntervalTime: new(int64(5))}
			})
			refused(t, err, "InvalidParameterValue")
		}},
		{name: "a check of a protocol that the listener doesn't have is refused", source: check + ".CheckType", check: func(t *testing.T, c *cloud) {
			err := c.listening(c.balancer(), "UDP", 53, func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{CheckType: new("HTTP")} })
			refused(t, err, "InvalidParameterValue")
		}},
		{name: "an HTTP check of a TCP listener needs a domain", source: check + ".HttpCheckDomain", check: func(t *testing.T, c *cloud) {
			err := c.listening(c.balancer(), "TCP", 80, func(q *api.CreateListenerRequest) {
				q.HealthCheck = &api.HealthCheck{CheckType: new("HTTP"), HttpVersion: new("HTTP/1.1")}
			})
			refused(t, err, "MissingParameter")
		}},
		{name: "a custom check needs what it sends and awaits", source: check + ".SendContext", check: func(t *testing.T, c *cloud) {
			err := c.listening(c.balancer(), "UDP", 53, func(q *api.CreateListenerRequest) {
				q.HealthCheck = &api.HealthCheck{CheckType: new("CUSTOM"), ContextType: new("TEXT")}
			})
			refused(t, err, "MissingParameter")
		}},
		{name: "a listener is found by protocol and port", source: describe, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80)
			udp := c.listener(lb, "UDP", 80)
			c.listener(lb, "UDP", 81)
			all := c.listeners(lb, func(q *api.DescribeListenersRequest) { q.Protocol, q.Port = new("UDP"), new(int64(80)) })
			if len(all) != 1 || *all[0].ListenerId != udp {
				t.Errorf("got %d", len(all))
			}
		}},
		{name: "at most 100 listeners are asked for by id", source: describe + ", ListenerIds", check: func(t *testing.T, c *cloud) {
			q := api.NewDescribeListenersRequest()
			q.LoadBalancerId = new(c.balancer())
			for range 101 {
				q.ListenerIds = append(q.ListenerIds, new("lbl-12345678"))
			}
			_, err := try(c, c.DescribeListeners, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "name, scheduler and check are changed, the rest stays", source: modify, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			id := c.listener(lb, "TCP", 80, func(q *api.CreateListenerRequest) { q.HealthCheck = &api.HealthCheck{HealthNum: new(int64(4))} })
			err := c.changing(lb, id, func(q *api.ModifyListenerRequest) {
				q.ListenerName, q.Scheduler, q.HealthCheck = new("new"), new("LEAST_CONN"), &api.HealthCheck{IntervalTime: new(int64(7))}
			})
			if err != nil {
				t.Fatal(err)
			}
			if l := c.listeners(lb)[0]; *l.ListenerName != "new" || *l.Scheduler != "LEAST_CONN" || *l.HealthCheck.IntervalTime != 7 || *l.HealthCheck.HealthNum != 4 {
				t.Errorf("got %+v", l)
			}
		}},
		{name: "a listener there isn't can't be changed", source: modify + ", error codes", check: func(t *testing.T, c *cloud) {
			refused(t, c.changing(c.balancer(), "lbl-12345678", func(q *api.ModifyListenerRequest) { q.ListenerName = new("x") }), "InvalidParameter.ListenerIdNotFound")
		}},
		{name: "SNI can't be turned off again", source: modify + ", SniSwitch", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			id := c.listener(lb, "HTTPS", 443, func(q *api.CreateListenerRequest) { q.SniSwitch = new(int64(1)) })
			if code(c.changing(lb, id, func(q *api.ModifyListenerRequest) { q.SniSwitch = new(int64(0)) })) == "" {
				t.Error("it was turned off")
			}
		}},
		{name: "one is deleted by a task", source: remove, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			id := c.listener(lb, "TCP", 80)
			q := api.NewDeleteListenerRequest()
			q.LoadBalancerId, q.ListenerId = &lb, &id
			do(c, c.DeleteListener, q)
			if all := c.listeners(lb); len(all) > 0 {
				t.Errorf("%d are left", len(all))
			}
		}},
		{name: "deleting one that isn't there is refused", source: remove + ", error codes", check: func(t *testing.T, c *cloud) {
			q := api.NewDeleteListenerRequest()
			q.LoadBalancerId, q.ListenerId = new(c.balancer()), new("lbl-12345678")
			_, err := try(c, c.DeleteListener, q)
			if got := code(err); got != "InvalidParameter.ListenerIdNotFound" && got != "InvalidParameter" {
				t.Errorf("got %q (%s)", got, message(err))
			}
		}},
		{name: "several are deleted by a call", source: "CLB API DeleteLoadBalancerListeners", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			a, b, kept := c.listener(lb, "TCP", 80), c.listener(lb, "TCP", 81), c.listener(lb, "TCP", 82)
			q := api.NewDeleteLoadBalancerListenersRequest()
			q.LoadBalancerId, q.ListenerIds = &lb, []*string{&a, &b}
			do(c, c.DeleteLoadBalancerListeners, q)
			if all := c.listeners(lb); len(all) != 1 || *all[0].ListenerId != kept {
				t.Errorf("%d are left", len(all))
			}
		}},
		{name: "one that isn't there fails them all", source: "seen by terraform-provider-tencentcloud and cloud-provider users: some ListenerId not found", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			id := c.listener(lb, "TCP", 80)
			q := api.NewDeleteLoadBalancerListenersRequest()
			q.LoadBalancerId, q.ListenerIds = &lb, []*string{&id, new("lbl-12345678")}
			if _, err := try(c, c.DeleteLoadBalancerListeners, q); code(err) == "" {
				t.Error("it was accepted")
			}
			if all := c.listeners(lb); len(all) != 1 {
				t.Errorf("%d are left", len(all))
			}
		}},
		{name: "without ids all listeners are deleted", source: "CLB API DeleteLoadBalancerListeners, ListenerIds", check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80)
			c.listener(lb, "UDP", 80)
			q := api.NewDeleteLoadBalancerListenersRequest()
			q.LoadBalancerId = &lb
			do(c, c.DeleteLoadBalancerListeners, q)
			if all := c.listeners(lb); len(all) > 0 {
				t.Errorf("%d are left", len(all))
			}
		}},
		{name: "at most 20 are deleted by a call", source: "CLB API DeleteLoadBalancerListeners, ListenerIds", check: func(t *testing.T, c *cloud) {
			q := api.NewDeleteLoadBalancerListenersRequest()
			q.LoadBalancerId = new(c.balancer())
			for range 21 {
				q.ListenerIds = append(q.ListenerIds, new("lbl-12345678"))
			}
			_, err := try(c, c.DeleteLoadBalancerListeners, q)
			refused(t, err, "InvalidParameterValue.Length")
		}},
		{name: "the quota of listeners is kept", source: "CLB, Use limits (214/6187)", needs: rig, options: []func(*clb.Options){few}, check: func(t *testing.T, c *cloud) {
			lb := c.balancer()
			c.listener(lb, "TCP", 80)
			c.listener(lb, "TCP", 81)
			refused(t, c.listening(lb, "TCP", 82), "LimitExceeded")
		}},
	})
}

// rules lists those of a listener, by domain and path.
func (c *cloud) rules(lb, listener string) map[string]*api.RuleOutput {
	c.t.Helper()
	out := map[string]*api.RuleOutput{}
	for _, l := range c.listeners(lb, func(q *api.DescribeListenersRequest) { q.ListenerIds = []*string{&listener} }) {
		for _, r := range l.Rules {
			out[*r.Domain+*r.Url] = r
		}
	}
	return out
}

// ruling is the creation of a rule that is expected to be refused.
func (c *cloud) ruling(lb, listener, domain, url string, set ...func(*api.RuleInput)) error {
	q := api.NewCreateRuleRequest()
	r := &api.RuleInput{Domain: &domain, Url: &url}
	for _, f := range set {
		f(r)
	}
	q.LoadBalancerId, q.ListenerId, q.Rules = &lb, &listener, []*api.RuleInput{r}
	_, err := try(c, c.CreateRule, q)
	return err
}

// forgetting deletes rules, to the end.
func (c *cloud) forgetting(lb, listener string, set func(*api.DeleteRuleRequest)) error {
	c.t.Helper()
	q := api.NewDeleteRuleRequest()
	q.LoadBalancerId, q.ListenerId = &lb, &listener
	set(q)
	a, err := try(c, c.DeleteRule, q)
	if err == nil {
		c.ended(*a.Response.RequestId)
	}
	return err
}

func keys(m map[string]*api.RuleOutput) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
