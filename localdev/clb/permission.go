package clb

import (
	"reflect"
	"slices"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"

	"github.com/clb-direct/clb-direct/localdev/cam"
	"github.com/clb-direct/clb-direct/localdev/tc3"
)

// authorize asks the policies of the key that signed (CAM, "CLB": authorization by
// action).
func (s *Server) authorize(cred tc3.Credential, call *Call, region string, request any) error {
	if cred.Policies == nil {
		return nil
	}
	q := cam.Request{Action: service + ":" + call.Action}
	// What only reads is operation-level, whatever it names.
	coarse := s.opts.CoarseBatch && (call.Action == "BatchRegisterTargets" || call.Action == "BatchDeregisterTargets")
	if call.Write && !coarse {
		q.Resources = touched(call.Action, region, request)
	}
	if denied := cam.Authorize(cred.Policies, q); denied != nil {
		return failure("UnauthorizedOperation", "[request id:%s]%s", call.RequestID, denied.Error())
	}
	return nil
}

// touched lists the resources of a resource-level action, each once: its load balancers,
// and what it binds to them. An address is one of some network interface's, which only
// a permission for all of them covers here.
func touched(action, region string, request any) []string {
	r := reflect.ValueOf(request).Elem()
	var names []string
	if one, found := field[*string](r, "LoadBalancerId"); found {
		names = append(names, cam.Resource("clb", region, "clb/"+value(one)))
	}
	if several, found := field[[]*string](r, "LoadBalancerIds"); found {
		for _, id := range several {
			names = append(names, cam.Resource("clb", region, "clb/"+value(id)))
		}
	}
	if len(names) == 0 {
		names = append(names, cam.Resource("clb", region, "clb/*"))
	}
	// The documents name the services of backends for all actions but this one.
	instances, interfaces := "cvm", "vpc"
	if action == "BatchModifyTargetTag" {
		instances, interfaces = "clb", "clb"
	}
	for _, instance := range instancesOf(r) {
		if instance == "" {
			names = append(names, cam.Resource(interfaces, region, "eni/*"))
		} else {
			names = append(names, cam.Resource(instances, region, "instance/"+instance))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// instancesOf lists the instances of the targets that a request names, "" for one that is
// named by its address.
func instancesOf(r reflect.Value) []string {
	var all []string
	targets := func(list []*api.Target) {
		for _, t := range list {
			if t != nil {
				all = append(all, value(t.InstanceId))
			}
		}
	}
	if list, found := field[[]*api.Target](r, "Targets"); found {
		targets(list)
	}
	if list, found := field[[]*api.BatchTarget](r, "Targets"); found {
		for _, t := range list {
			if t != nil {
				all = append(all, value(t.InstanceId))
			}
		}
	}
	if list, found := field[[]*api.RsWeightRule](r, "ModifyList"); found {
		for _, rule := range list {
			if rule != nil {
				targets(rule.Targets)
			}
		}
	}
	if list, found := field[[]*api.RsTagRule](r, "ModifyList"); found {
		for _, rule := range list {
			if rule != nil {
				targets(rule.Targets)
			}
		}
	}
	return all
}
