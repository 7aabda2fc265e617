package reconcile

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestCommonLabels(t *testing.T) {
	var many []map[string]string
	for i := range maxValues + 1 {
		many = append(many, map[string]string{"app": fmt.Sprintf("web-%d", i), "tier": "front"})
	}
	cases := map[string]struct {
		reason    string
		selectors []map[string]string
		want      map[string][]string
	}{
		"One":       {reason: "its whole selector", selectors: []map[string]string{{"app": "a", "tier": "front"}}, want: map[string][]string{"app": {"a"}, "tier": {"front"}}},
		"SameLabel": {reason: "every value, each once", selectors: []map[string]string{{"app": "b"}, {"app": "a"}, {"app": "b"}}, want: map[string][]string{"app": {"a", "b"}}},
		"Partly":    {reason: "only what all select by", selectors: []map[string]string{{"app": "a", "tier": "front"}, {"app": "b"}}, want: map[string][]string{"app": {"a", "b"}}},
		"Nothing":   {reason: "nothing is common: all pods", selectors: []map[string]string{{"app": "a"}, {"tier": "front"}}, want: map[string][]string{}},
		"Empty":     {reason: "an empty value is one too", selectors: []map[string]string{{"app": ""}, {"app": "a"}}, want: map[string][]string{"app": {"", "a"}}},
		"TooMany":   {reason: "more values than a URL should carry", selectors: many, want: map[string][]string{"tier": {"front"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var services []*model.Service
			for _, s := range tc.selectors {
				services = append(services, &model.Service{Selector: s})
			}
			if diff := cmp.Diff(tc.want, commonLabels(services)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
