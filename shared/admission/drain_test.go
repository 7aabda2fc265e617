package admission

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/clb-direct/clb-direct/shared/model"
)

// TestHook applies each patch as the API server does, and looks at the containers' hooks.
func TestHook(t *testing.T) {
	to := Drain{Host: "10.1.2.3", Port: 443, Token: "secret"}
	ours := func(container string) string {
		return `{"httpGet":{"scheme":"HTTPS","host":"10.1.2.3","port":443,"path":"/drain/shop/secret/` + container + `"}}`
	}
	const own = `{"exec":{"command":["bye"]}}`
	cases := map[string]struct {
		reason string
		pod    string
		grace  int64
		seen   []Container
		want   []string // the preStop hook of each container
		token  string
	}{
		"Plain":     {"a container without hooks gets one", `{"spec":{"containers":[{"name":"app"}]}}`, 30, []Container{{Name: "app"}}, []string{ours("app")}, "secret"},
		"PostStart": {"one with another hook keeps that", `{"spec":{"containers":[{"name":"app","lifecycle":{"postStart":{}}}]}}`, 30, []Container{{Name: "app", Lifecycle: true}}, []string{ours("app")}, "secret"},
		"Own":       {"one with its own keeps it, and the other gets one", `{"spec":{"containers":[{"name":"a","lifecycle":{"preStop":` + own + `}},{"name":"b"}]}}`, 30, []Container{{Name: "a", Lifecycle: true, PreStop: true}, {Name: "b"}}, []string{own, ours("b")}, "secret"},
		"AllOwn":    {"nothing to give, so no token", `{"spec":{"containers":[{"name":"a","lifecycle":{"preStop":` + own + `}}]}}`, 30, []Container{{Name: "a", Lifecycle: true, PreStop: true}}, []string{own}, ""},
		"Copied":    {"a hook from another pod becomes its own", `{"spec":{"containers":[{"name":"a","lifecycle":{"preStop":{"httpGet":{"path":"/drain/x/y/z"}}}}]}}`, 30, []Container{{Name: "a", Lifecycle: true, PreStop: true, Ours: true}}, []string{ours("a")}, "secret"},
		"Hasty":     {"a grace period with no room for one", `{"spec":{"containers":[{"name":"app"}]}}`, 1, []Container{{Name: "app"}}, []string{"null"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := Pod{Namespace: "shop", Grace: tc.grace, Containers: tc.seen}
			raw, err := json.Marshal(append(Gate(p), Hook(p, to)...))
			if err != nil {
				t.Fatal(err)
			}
			patch, err := jsonpatch.DecodePatch(raw)
			if err != nil {
				t.Fatal(err)
			}
			var before map[string]any
			if err := json.Unmarshal([]byte(tc.pod), &before); err != nil {
				t.Fatal(err)
			}
			before["metadata"] = map[string]any{"name": "x"}
			whole, _ := json.Marshal(before) // of what was unmarshalled
			after, err := patch.Apply(whole)
			if err != nil {
				t.Fatalf("%s: applying %s: %v", tc.reason, raw, err)
			}
			var got struct {
				Metadata struct{ Annotations map[string]string }
				Spec     struct {
					Containers []struct {
						Lifecycle struct {
							PreStop json.RawMessage `json:"preStop"`
						}
					}
				}
			}
			if err := json.Unmarshal(after, &got); err != nil {
				t.Fatal(err)
			}
			for i, c := range got.Spec.Containers {
				hook := string(c.Lifecycle.PreStop)
				if hook == "" {
					hook = "null"
				}
				if diff := cmp.Diff(tc.want[i], hook); diff != "" {
					t.Errorf("%s: container %d, -want +got:\n%s", tc.reason, i, diff)
				}
			}
			if got := got.Metadata.Annotations[model.DrainToken]; got != tc.token {
				t.Errorf("%s: want token %q, got %q", tc.reason, tc.token, got)
			}
		})
	}
}

func TestHold(t *testing.T) {
	cases := map[string]struct {
		reason, timeout string
		grace, want     int64
	}{
		"Default":  {"half of Kubernetes' default", "", 30, 15},
		"Long":     {"never longer than the bound", "", 300, MaxHold},
		"Short":    {"half of a short one", "", 5, 2},
		"None":     {"no time at all", "", 0, 0},
		"Less":     {"what the pod says", "3", 30, 3},
		"More":     {"no more than there is", "100", 30, 15},
		"Off":      {"unwanted", "0", 30, 0},
		"Spaces":   {"as people write", " 4 ", 30, 4},
		"Negative": {"what is no time counts as none", "-1", 30, 15},
		"Words":    {"what can't be read counts as none", "a while", 30, 15},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			annotations := map[string]string{}
			if tc.timeout != "" {
				annotations[model.DrainTimeout] = tc.timeout
			}
			if got := Hold(annotations, tc.grace); got != tc.want {
				t.Errorf("%s: want %d, got %d", tc.reason, tc.want, got)
			}
		})
	}
}
