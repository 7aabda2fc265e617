package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/clb"
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
