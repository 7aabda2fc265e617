package desired

import (
	"testing"

	"github.com/clb-direct/clb-direct/shared/model"
)

// TestUnreadable: what can't be read as a whole says nothing about where the places are
// meant to be; a bad entry among good ones says enough.
func TestUnreadable(t *testing.T) {
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		want        bool
	}{
		"None":      {reason: "nothing to read"},
		"Good":      {reason: "read", annotations: map[string]string{ListenPorts: `[{"HTTP":8080}]`}},
		"BadEntry":  {reason: "one of two entries", annotations: map[string]string{ListenPorts: `[{"HTTP":8080},{"SMTP":25}]`}},
		"BadPorts":  {reason: "cut off", annotations: map[string]string{ListenPorts: `[{"HTTP":8080}`}, want: true},
		"BadRules":  {reason: "no list", annotations: map[string]string{RuleMix: "true", HTTPRules: `{"host":"a.example.com"}`}, want: true},
		"NullRules": {reason: "what TKE's console writes for none", annotations: map[string]string{RuleMix: "true", HTTPSRules: "null"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ing := &model.Ingress{Front: model.Front{Kind: model.KindIngress, UID: "u", Annotations: tc.annotations}}
			if got := ingressWants(ing, Sources{}, Policy{Cluster: "cls-1"}).Unreadable; got != tc.want {
				t.Errorf("%s: got %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
