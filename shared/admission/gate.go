// Package admission computes what our mutating webhook changes in a pod that a
// claimed Service selects. Pure: pod in, JSON patch out.
package admission

import (
	"strings"

	"github.com/clb-direct/clb-direct/shared/model"
)

// Operation is one JSON Patch operation (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Pod is what a decision needs of the pod to be created.
type Pod struct {
	// Gates are the condition types of the readiness gates it brings along.
	Gates []string
	// Annotations it brings along.
	Annotations map[string]string
	// Namespace it is made in.
	Namespace string
	// Grace is how many seconds its containers have to end.
	Grace int64
	// Containers that run beside each other, in order.
	Containers []Container
}

// Container is what a decision needs of one.
type Container struct {
	Name string
	// Lifecycle tells whether it has hooks, PreStop whether it has one before it is told
	// to end, Ours whether that one is a drain hook.
	Lifecycle, PreStop, Ours bool
}

// gate is the wire form of a readiness gate.
type gate struct {
	ConditionType string `json:"conditionType"`
}

// Gate is the patch that gives a pod our readiness gate and marks it as ours to
// decide, because TKE's own controller waits for a gate of the same name. What is
// there already isn't added again, so that a re-invocation changes nothing.
func Gate(p Pod) []Operation {
	var out []Operation
	switch {
	case p.HasGate():
	case len(p.Gates) == 0:
		out = append(out, Operation{Op: "add", Path: "/spec/readinessGates", Value: []gate{{model.GateType}}})
	default:
		out = append(out, Operation{Op: "add", Path: "/spec/readinessGates/-", Value: gate{model.GateType}})
	}
	switch _, marked := p.Annotations[model.GateMark]; {
	case marked:
	case p.Annotations == nil:
		out = append(out, Operation{Op: "add", Path: "/metadata/annotations", Value: map[string]string{model.GateMark: "true"}})
	default:
		out = append(out, Operation{Op: "add", Path: "/metadata/annotations/" + escape(model.GateMark), Value: "true"})
	}
	return out
}

// HasGate tells whether the pod brings our gate along.
func (p Pod) HasGate() bool {
	for _, g := range p.Gates {
		if g == model.GateType {
			return true
		}
	}
	return false
}

// escape writes a key as a JSON Pointer token (RFC 6901).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
