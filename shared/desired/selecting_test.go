package desired

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/clb-direct/clb-direct/shared/model"
)

// TestSelecting: the index says what asking every Service says.
func TestSelecting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.MapOf(rapid.SampledFrom([]string{"app", "tier", "zone"}), rapid.SampledFrom([]string{"", "a", "b"}))
		namespace := rapid.SampledFrom([]string{"default", "other"})
		var services []*model.Service
		for range rapid.IntRange(0, 6).Draw(t, "services") {
			services = append(services, &model.Service{
				Front:    model.Front{Namespace: namespace.Draw(t, "namespace"), UID: rapid.StringN(8, 8, 8).Draw(t, "uid")},
				Selector: labels.Draw(t, "selector"),
			})
		}
		p := &model.Pod{Namespace: namespace.Draw(t, "pod's namespace"), Labels: labels.Draw(t, "labels")}
		var want []*model.Service
		for _, s := range services {
			if s.Selects(p.Namespace, p.Labels) {
				want = append(want, s)
			}
		}
		byUID := cmpopts.SortSlices(func(a, b *model.Service) bool { return a.UID < b.UID })
		if diff := cmp.Diff(want, NewSelecting(services).Of(p), byUID); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

// TestSelected: the index says what asking every backing says.
func TestSelected(t *testing.T) {
	web := &model.Service{Front: model.Front{Namespace: "default", Name: "web"}, Selector: map[string]string{"app": "web"}}
	api := &model.Service{Front: model.Front{Namespace: "default", Name: "api"}, Selector: map[string]string{"app": "api"}}
	x := NewSelected([]Backing{
		{Service: web, Name: "web, first"}, {Service: api, Name: "api"}, {Service: web, Name: "web, second"}, {Name: "nobody's"},
	})
	var got []string
	for _, b := range x.Of(&model.Pod{Namespace: "default", Labels: map[string]string{"app": "web"}}) {
		got = append(got, b.Name)
	}
	if diff := cmp.Diff([]string{"web, first", "web, second"}, got); diff != "" {
		t.Errorf("a Service behind several places selects for all of them: -want +got:\n%s", diff)
	}
	if got := x.ServicesOf(&model.Pod{Namespace: "default", Labels: map[string]string{"app": "api"}}); len(got) != 1 || got[0] != api {
		t.Errorf("want the Service that selects it, got %v", got)
	}
	if got := len(x.Services()); got != 2 {
		t.Errorf("want the two Services, got %d", got)
	}
}
