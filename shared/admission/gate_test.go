package admission

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/clb-direct/clb-direct/shared/model"
)

// wirePod is a pod as the API server has it.
type wirePod struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations,omitempty"`
	} `json:"metadata"`
	Spec struct {
		ReadinessGates []gate `json:"readinessGates,omitempty"`
	} `json:"spec"`
}

// TestGate applies each patch as the API server does, and admits the result again.
func TestGate(t *testing.T) {
	mark := map[string]string{model.GateMark: "true"}
	cases := map[string]struct {
		reason      string
		pod         Pod
		gates       []string
		annotations map[string]string
	}{
		"None":        {"a pod without gates gets ours, and the mark", Pod{}, []string{model.GateType}, mark},
		"Others":      {"others' gates are kept", Pod{Gates: []string{"example.com/a"}}, []string{"example.com/a", model.GateType}, mark},
		"Had":         {"a gate from the template isn't given twice, but is ours to decide", Pod{Gates: []string{"example.com/a", model.GateType}}, []string{"example.com/a", model.GateType}, mark},
		"Annotations": {"others' annotations are kept", Pod{Annotations: map[string]string{"a/b~c": "d"}}, []string{model.GateType}, map[string]string{"a/b~c": "d", model.GateMark: "true"}},
		"Both":        {"nothing to add", Pod{Gates: []string{model.GateType}, Annotations: mark}, []string{model.GateType}, mark},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var p wirePod
			p.Metadata.Annotations = tc.pod.Annotations
			for _, g := range tc.pod.Gates {
				p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, gate{g})
			}
			got := applied(t, p, Gate(tc.pod))
			var gates []string
			for _, g := range got.Spec.ReadinessGates {
				gates = append(gates, g.ConditionType)
			}
			if diff := cmp.Diff(tc.gates, gates); diff != "" {
				t.Errorf("%s: gates -want +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.annotations, got.Metadata.Annotations); diff != "" {
				t.Errorf("%s: annotations -want +got:\n%s", tc.reason, diff)
			}
			if again := Gate(Pod{Gates: gates, Annotations: got.Metadata.Annotations}); again != nil {
				t.Errorf("%s: admitted again, want no change, got %v", tc.reason, again)
			}
		})
	}
}

func applied(t *testing.T, p wirePod, operations []Operation) wirePod {
	t.Helper()
	before, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if operations == nil {
		operations = []Operation{}
	}
	raw, err := json.Marshal(operations)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(before)
	if err != nil {
		t.Fatalf("applying %s: %v", raw, err)
	}
	var out wirePod
	if err := json.Unmarshal(after, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
