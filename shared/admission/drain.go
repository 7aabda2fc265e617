package admission

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// MaxHold bounds how long a hook holds a container, in seconds.
const MaxHold = 20

// Drain says where a pod's drain hooks lead.
type Drain struct {
	// Host and Port are the address, which must be the same for as long as the pod
	// lives, and be reached from nodes.
	Host string
	Port int
	// Token is the pod's secret, of letters and digits.
	Token string
}

// hook is the wire form of a preStop hook.
type hook struct {
	HTTPGet httpGet `json:"httpGet"`
}

type httpGet struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Port   int    `json:"port"`
	Path   string `json:"path"`
}

// Hook is the patch that has the kubelet ask for a drain before it tells the pod's
// containers to end, and wait for the answer. Containers with a preStop hook of their own
// keep it: there can be only one. A hook that came with a copy of another pod is made
// the pod's own. The patch comes after that of Gate, which makes sure that there are
// annotations.
func Hook(p Pod, d Drain) []Operation {
	if Hold(p.Annotations, p.Grace) == 0 {
		return nil
	}
	var out []Operation
	for i, c := range p.Containers {
		at := fmt.Sprintf("/spec/containers/%d/lifecycle", i)
		// Names of namespaces and containers are DNS labels: nothing to escape.
		h := hook{httpGet{"HTTPS", d.Host, d.Port, model.DrainPath + p.Namespace + "/" + d.Token + "/" + c.Name}}
		switch {
		case !c.Lifecycle:
			out = append(out, Operation{Op: "add", Path: at, Value: map[string]hook{"preStop": h}})
		case !c.PreStop:
			out = append(out, Operation{Op: "add", Path: at + "/preStop", Value: h})
		case c.Ours:
			out = append(out, Operation{Op: "replace", Path: at + "/preStop", Value: h})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return append(out, Operation{Op: "add", Path: "/metadata/annotations/" + escape(model.DrainToken), Value: d.Token})
}

// Hold is for how many seconds at most a drain may hold a pod's containers: what its
// annotation says, half of its grace period (seconds), MaxHold, whichever is least. 0:
// there is no time to drain, or it isn't wanted. An annotation that can't be read counts as
// none.
func Hold(annotations map[string]string, grace int64) int64 {
	hold := min(grace/2, MaxHold)
	if n, err := strconv.ParseInt(strings.TrimSpace(annotations[model.DrainTimeout]), 10, 64); err == nil && n >= 0 {
		hold = min(hold, n)
	}
	return hold
}
