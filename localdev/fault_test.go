package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clb-direct/clb-direct/localdev/fault"
	"github.com/clb-direct/clb-direct/localdev/scf"
)

func TestParseFault(t *testing.T) {
	cases := map[string]struct {
		reason, words string
		want          fault.Rule
		refused       string
	}{
		"Call":    {"numbers, switches and words", "call=BatchRegisterTargets drop=true times=3", fault.Rule{Call: "BatchRegisterTargets", Drop: true, Times: 3}, ""},
		"Any":     {"a star is a word", "call=* code=InternalError", fault.Rule{Call: fault.Any, Code: "InternalError"}, ""},
		"Event":   {"moments", "event=backends kill=during inMillis=200", fault.Rule{Event: "backends", Kill: scf.DuringEvent, InMillis: 200}, ""},
		"NoPair":  {"what isn't name=value", "drop", fault.Rule{}, "name=value"},
		"Unknown": {"a name there isn't", "colour=red", fault.Rule{}, `"colour"`},
		"Kind":    {"a word for a number", "times=often", fault.Rule{}, "times"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parse[fault.Rule](strings.Fields(tc.words))
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("%s: want an error about %s, got %v", tc.reason, tc.refused, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(fault.Rule{})); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFaultNeedsAStack(t *testing.T) {
	if err := setFault(t.Context(), t.TempDir(), []string{"list"}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "make up") {
		t.Errorf("want an error that names `make up`, got %v", err)
	}
}
