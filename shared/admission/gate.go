// Package admission computes what our mutating webhook changes in a pod that a
// claimed Service selects. Pure: pod in, JSON patch out.
package admission

import "github.com/clb-direct/clb-direct/shared/model"

// Operation is one JSON Patch operation (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// gate is the wire form of a readiness gate.
type gate struct {
	ConditionType string `json:"conditionType"`
}

// Gate is the patch that gives a pod our readiness gate: nothing when it has it
// already, so that a re-invocation changes nothing. gates are the condition types
// the pod brings along.
func Gate(gates []string) []Operation {
	for _, g := range gates {
		if g == model.GateType {
			return nil
		}
	}
	if len(gates) == 0 {
		return []Operation{{Op: "add", Path: "/spec/readinessGates", Value: []gate{{model.GateType}}}}
	}
	return []Operation{{Op: "add", Path: "/spec/readinessGates/-", Value: gate{model.GateType}}}
}
