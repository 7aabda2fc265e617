package mutant

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestApply(t *testing.T) {
	cases := map[string]struct {
		reason, source string
		m              Mutant
		want           string
		fails          bool
	}{
		"Once":     {"The place is replaced.", "a b c", Mutant{Old: "b", New: "x"}, "a x c", false},
		"Nowhere":  {"A rule that moved has to be found again.", "a b c", Mutant{Old: "y", New: "x"}, "", true},
		"Twice":    {"Which of them is meant would be chance.", "a b b", Mutant{Old: "b", New: "x"}, "", true},
		"NoChange": {"A mutant differs.", "a b c", Mutant{Old: "b", New: "b"}, "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.m.Apply([]byte(tc.source))
			if (err != nil) != tc.fails {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
