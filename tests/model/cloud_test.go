package model

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The health check of every listener.
const (
	interval    = 2 * time.Second
	healthNum   = 2
	unhealthNum = 2
)

// target is one at the CLB, with what the CLB really knows of it.
type target struct {
	ip     string
	port   int
	weight int
	tag    string
	since  time.Time
	// next is when it is checked next; passes and fails are how often in a row it has
	// passed or failed, by the uid of whoever answered.
	next          time.Time
	passes, fails int
	by            string
	alive, known  bool
	// sends is the weight that the data plane goes by, until it follows at follow.
	sends  int
	follow time.Time
}

type listener struct {
	id, name string
	protocol string
	port     int
	targets  []*target
}

// foreign tells that it is not ours: nothing may write there.
func (l *listener) foreign() bool { return !ownName(l.name) }

type task struct {
	id    string
	done  time.Time
	fails bool
	apply func()
}

// cloud is the CLB API, and a CLB.
type cloud struct {
	w         *world
	id        string
	listeners []*listener
	busyUntil time.Time
	tasks     map[string]*task
	// async: batches take effect when their task ends, not at once.
	async bool
	made  int
}

func (c *cloud) listener(id string) *listener {
	for _, l := range c.listeners {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (l *listener) target(ip string, port int) *target {
	for _, t := range l.targets {
		if t.ip == ip && t.port == port {
			return t
		}
	}
	return nil
}

// ask is what any request of ours may say.
type ask struct {
	LoadBalancerID  string   `json:"LoadBalancerId"`
	LoadBalancerIDs []string `json:"LoadBalancerIds"`
	ListenerIDs     []string `json:"ListenerIds"`
	TaskID          string   `json:"TaskId"`
	Protocol        string
	Ports           []int
	ListenerNames   []string
	Filters         []struct {
		Name   string
		Values []string
	}
	Targets    []askTarget
	ModifyList []struct {
		ListenerID string `json:"ListenerId"`
		Targets    []askTarget
	}
}

type askTarget struct {
	ListenerID string `json:"ListenerId"`
	EniIP      string `json:"EniIp"`
	Port       int
	Weight     *int
	Tag        *string
}

type apiError struct{ Code, Message string }

var writes = map[string]bool{"BatchRegisterTargets": true, "BatchDeregisterTargets": true, "BatchModifyTargetWeight": true,
	"BatchModifyTargetTag": true, "CreateListener": true, "DeleteLoadBalancerListeners": true}

// serve answers one request of a run.
func (c *cloud) serve(r *run, action string, body []byte, fault *apiError) *http.Response {
	c.made++
	id := fmt.Sprintf("request-%d", c.made)
	var q ask
	if err := json.Unmarshal(body, &q); err != nil {
		return reply(id, nil, &apiError{"InvalidParameter", err.Error()})
	}
	if fault != nil {
		return reply(id, nil, fault)
	}
	if writes[action] {
		c.settle()
		if time.Now().Before(c.busyUntil) {
			return reply(id, nil, &apiError{"FailedOperation.ResourceInOperating", "busy"})
		}
		c.w.law.writing(r, action, q)
		out, bad := c.write(id, action, q)
		return reply(id, out, bad)
	}
	out, bad := c.read(action, q)
	return reply(id, out, bad)
}

func reply(id string, out map[string]any, bad *apiError) *http.Response {
	if out == nil {
		out = map[string]any{}
	}
	out["RequestId"] = id
	if bad != nil {
		out["Error"] = bad
	}
	raw, err := json.Marshal(map[string]any{"Response": out})
	if err != nil {
		panic(err)
	}
	return response(http.StatusOK, "application/json", raw)
}

func (c *cloud) read(action string, q ask) (map[string]any, *apiError) {
	switch action {
	case "DescribeTaskStatus":
		c.settle()
		t := c.tasks[q.TaskID]
		switch {
		case t == nil:
			return nil, &apiError{"InvalidParameter", "the task is not found"}
		case time.Now().Before(t.done):
			return map[string]any{"Status": 2}, nil
		case t.fails:
			return map[string]any{"Status": 1}, nil
		}
		return map[string]any{"Status": 0}, nil
	case "DescribeLoadBalancers":
		return map[string]any{"TotalCount": 1, "LoadBalancerSet": []any{map[string]any{
			"LoadBalancerId": c.id, "LoadBalancerName": "web", "LoadBalancerType": "OPEN", "Status": 1, "LoadBalancerVips": []string{"192.0.2.1"}}}}, nil
	case "DescribeListeners":
		var all []any
		for _, l := range c.listeners {
			all = append(all, map[string]any{"ListenerId": l.id, "ListenerName": l.name, "Protocol": l.protocol, "Port": l.port, "Scheduler": "WRR",
				"HealthCheck": map[string]any{"HealthSwitch": 1, "IntervalTime": int(interval / time.Second), "TimeOut": 2, "HealthNum": healthNum, "UnHealthNum": unhealthNum}})
		}
		return map[string]any{"Listeners": all, "TotalCount": len(all)}, nil
	case "DescribeTargets":
		return map[string]any{"Listeners": c.describe(q, func(t *target) any {
			return map[string]any{"Type": "ENI", "PrivateIpAddresses": []string{t.ip}, "Port": t.port, "Weight": t.weight, "Tag": t.tag,
				"RegisteredTime": t.since.UTC().Format(time.DateTime)}
		}, func(l *listener, targets []any) any {
			return map[string]any{"ListenerId": l.id, "Protocol": l.protocol, "Port": l.port, "Targets": targets}
		})}, nil
	case "DescribeTargetHealth":
		return map[string]any{"LoadBalancers": []any{map[string]any{"LoadBalancerId": c.id, "Listeners": c.describe(q, func(t *target) any {
			return map[string]any{"IP": t.ip, "Port": t.port, "HealthStatus": t.alive, "HealthStatusDetail": t.verdict(), "Weight": t.weight}
		}, func(l *listener, targets []any) any {
			return map[string]any{"ListenerId": l.id, "ListenerName": l.name, "Protocol": l.protocol, "Port": l.port,
				"Rules": []any{map[string]any{"LocationId": "", "Targets": targets}}}
		})}}}, nil
	}
	return nil, &apiError{"InvalidAction", action}
}

func (c *cloud) describe(q ask, one func(*target) any, of func(*listener, []any) any) []any {
	out := []any{}
	for _, l := range c.listeners {
		if len(q.ListenerIDs) > 0 && !slices.Contains(q.ListenerIDs, l.id) {
			continue
		}
		targets := []any{}
		for _, t := range l.targets {
			if len(q.Filters) == 0 || slices.Contains(q.Filters[0].Values, t.ip) {
				targets = append(targets, one(t))
			}
		}
		out = append(out, of(l, targets))
	}
	return out
}

func (t *target) verdict() string {
	switch {
	case !t.known:
		return "Unknown"
	case t.alive:
		return "Alive"
	}
	return "Dead"
}
