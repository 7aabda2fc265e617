package reconcile

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/event"
	"github.com/clb-direct/clb-direct/shared/model"
)

var update = flag.Bool("update", false, "write the explanations to testdata/explain")

// TestExplain: of every way in which a pod can be kept from being ready the answer names
// the true cause, and no other; and nothing at all is written.
func TestExplain(t *testing.T) {
	t.Parallel()
	for name, tc := range situations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetting(t, name, tc)
			ask := tc.ask
			if ask.Name == "" {
				ask = model.Ref{Kind: model.KindService, Namespace: "default", Name: "web"}
			}
			s.server.ResetCalls()
			got := s.world().Explain(t.Context(), event.Request{Function: event.Explain, Sync: event.Sync{
				Cluster: cluster, Objects: []event.Ref{event.Ref(ask)}, Grant: map[string]float64{"*": 10_000}, Attempt: "a"}})
			if got.Failure != nil || got.Explanation == nil {
				t.Fatalf("no explanation: %+v", got)
			}
			golden(t, name, s.plain(got.Explanation.Text()))
			checkCause(t, name, s.plain(saidOf(got.Explanation)))
			s.untouched(got)
			survives(t, got.Explanation)
		})
	}
}

// saidOf is what an explanation says to be the matter.
func saidOf(e *event.Explanation) string {
	said := []string{e.Summary}
	for _, pod := range e.Pods {
		said = append(said, pod.Cause)
	}
	return strings.Join(append(said, e.Problems...), "\n")
}

// checkCause: what is said has the situation's words, and those of no other.
func checkCause(t *testing.T, name, said string) {
	t.Helper()
	own := situations[name].causes
	for _, words := range own {
		if !strings.Contains(said, words) {
			t.Errorf("%s: want %q named, got:\n%s", situations[name].reason, words, said)
		}
	}
	for other, tc := range situations {
		for _, words := range tc.causes {
			if !slices.Contains(own, words) && strings.Contains(said, words) {
				t.Errorf("%s: names %q, which is %s, in:\n%s", situations[name].reason, words, other, said)
			}
		}
	}
}

// golden compares an answer with the file of the name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "explain", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got (-update writes it anew):\n%s", diff)
	}
}

// untouched: explain is for reading.
func (s *setting) untouched(got event.Reply) {
	s.t.Helper()
	if w := s.objects.writes(); len(w) > 0 || len(got.Writes) > 0 {
		s.t.Errorf("wrote to Kubernetes: %v %v", w, got.Writes)
	}
	for _, call := range s.server.Calls() {
		if call.Write || !strings.HasPrefix(call.Action, "Describe") {
			s.t.Errorf("called %s", call.Action)
		}
	}
}

// survives: who gets it as JSON sees the same.
func survives(t *testing.T, e *event.Explanation) {
	t.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var again event.Explanation
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Text(), again.Text()); diff != "" {
		t.Errorf("-said +read from JSON:\n%s", diff)
	}
}

// TestGoldensAreUsed: an explanation of a situation that isn't there any more says
// nothing.
func TestGoldensAreUsed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "explain", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".txt"); situations[name].reason == "" {
			t.Errorf("%s belongs to no situation", file)
		}
	}
}
