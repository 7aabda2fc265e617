package admission

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/clb-direct/clb-direct/shared/model"
)

// TestGate applies each patch as the API server does, and admits the result again.
func TestGate(t *testing.T) {
	cases := map[string]struct {
		reason string
		gates  []string
		want   []string
	}{
		"None":    {reason: "a pod without gates gets ours", want: []string{model.GateType}},
		"Others":  {reason: "others' gates are kept", gates: []string{"example.com/a"}, want: []string{"example.com/a", model.GateType}},
		"Already": {reason: "ours is not given twice", gates: []string{"example.com/a", model.GateType}, want: []string{"example.com/a", model.GateType}},
	}
	type pod struct {
		Spec struct {
			ReadinessGates []gate `json:"readinessGates,omitempty"`
		} `json:"spec"`
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var p pod
			for _, g := range tc.gates {
				p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, gate{g})
			}
			before, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			operations := Gate(tc.gates)
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
				t.Fatalf("%s: applying %s: %v", tc.reason, raw, err)
			}
			var got pod
			if err := json.Unmarshal(after, &got); err != nil {
				t.Fatal(err)
			}
			var gates []string
			for _, g := range got.Spec.ReadinessGates {
				gates = append(gates, g.ConditionType)
			}
			if diff := cmp.Diff(tc.want, gates); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			if again := Gate(gates); again != nil {
				t.Errorf("%s: admitted again, want no change, got %v", tc.reason, again)
			}
		})
	}
}
