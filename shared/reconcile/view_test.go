package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/clb"
	"github.com/clb-direct/clb-direct/shared/desired"
	"github.com/clb-direct/clb-direct/shared/model"
)

// TestHealthLeavesOutWhatIsGone: CLBs that are gone, or never were, keep nobody from
// hearing of the others.
func TestHealthLeavesOutWhatIsGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	target := b.target(b.a, 1, 10)
	if err := b.session.Bind(t.Context(), b.lb, []model.Target{target}); err != nil {
		t.Fatal(err)
	}
	gone := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("lb-nowhere%d", i))
		}
		return ids
	}
	cases := map[string]struct {
		reason string
		lbs    []string
		want   []model.Key
	}{
		"AllThere":  {"nothing is left out", []string{b.lb}, []model.Key{target.Key()}},
		"OneGone":   {"the other is heard of", append(gone(1), b.lb), []model.Key{target.Key()}},
		"ManyGone":  {"wherever it stands among them", slices.Concat(gone(4), []string{b.lb}, gone(5)), []model.Key{target.Key()}},
		"AllGone":   {"that is no failure", gone(3), nil},
		"AloneGone": {"nor is this", gone(1), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := health(t.Context(), b.session, tc.lbs, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, slices.SortedFunc(maps.Keys(got), model.Key.Compare)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
	var err error
	if _, err = b.session.Health(t.Context(), append(gone(1), b.lb), nil); clb.Code(err) != clb.CodeLBGone {
		t.Errorf("the test holds only where one that is gone has the whole call refused, got %v", err)
	}
}

// TestWeightThatAGateWaitsFor: a gate is not met by the weight of 0 of a drain, which
// would open it before the CLB has found anything healthy.
func TestWeightThatAGateWaitsFor(t *testing.T) {
	cases := map[string]struct {
		reason string
		pod    model.Pod
		want   int
	}{
		"Serving":  {"it waits for the weight of who serves", model.Pod{ContainersReady: true}, model.DefaultWeight},
		"Draining": {"the container is restarted before the pod was ever ready", model.Pod{ContainersReady: true, Draining: true}, model.DefaultWeight},
		"Never":    {"it is never to get traffic: to be bound is enough", model.Pod{ContainersReady: true, Annotations: map[string]string{desired.CustomWeight: "0"}}, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			front := &model.Front{Kind: model.KindService, Namespace: "default", Name: "web"}
			svc := &model.Service{Front: *front, Selector: map[string]string{"app": "web"}}
			backings := []desired.Backing{{Front: front, Service: svc, Port: model.ServicePort{TargetPort: 80}}}
			v := &view{pass: &pass{World: &World{Policy: desired.Policy{Network: desired.VPCCNI}}}, selected: desired.NewSelected(backings), held: map[*desired.Backing]bool{}}
			tc.pod.Namespace, tc.pod.Labels, tc.pod.IP = "default", svc.Selector, "10.0.0.1"
			got := v.bindings(&tc.pod)
			if len(got) != 1 || got[0].Weight != tc.want {
				t.Errorf("%s: want weight %d, got %+v", tc.reason, tc.want, got)
			}
		})
	}
}
