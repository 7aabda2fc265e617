package desired

import (
	"strings"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

func TestOpenAfter(t *testing.T) {
	cases := map[string]struct {
		reason, value string
		want          time.Duration
		bad           bool
	}{
		"None":     {reason: "closed unless somebody says otherwise"},
		"Closed":   {reason: "and if somebody says so", value: "closed"},
		"Minutes":  {reason: "a duration as Go writes it", value: "open-after=5m", want: 5 * time.Minute},
		"Mixed":    {reason: "of several units", value: "open-after=1h30m", want: 90 * time.Minute},
		"Spaces":   {reason: "as people write", value: " open-after=30s ", want: MinOpenAfter},
		"Most":     {reason: "a day is the most", value: "open-after=24h", want: MaxOpenAfter},
		"Short":    {reason: "less than a health check takes", value: "open-after=29s", bad: true},
		"Long":     {reason: "more than a day", value: "open-after=25h", bad: true},
		"Unitless": {reason: "of what?", value: "open-after=300", bad: true},
		"Negative": {reason: "there is no such time", value: "open-after=-5m", bad: true},
		"Open":     {reason: "never at once", value: "open", bad: true},
		"Nothing":  {reason: "after what?", value: "open-after=", bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &model.Front{Annotations: map[string]string{}}
			if tc.value != "" {
				f.Annotations[ReadinessPolicy] = tc.value
			}
			got, problem := OpenAfter(f)
			if got != tc.want || (problem != nil) != tc.bad {
				t.Errorf("%s: want %s, a problem %t; got %s, %v", tc.reason, tc.want, tc.bad, got, problem)
			}
			if problem == nil {
				return
			}
			for _, word := range []string{ReadinessPolicy, tc.value, "closed", "open-after=", "30s", "24h"} {
				if !strings.Contains(problem.String(), word) {
					t.Errorf("%s: want %q in %q", tc.reason, word, problem)
				}
			}
			if all := GateProblems(f); len(all) != 1 || all[0] != *problem {
				t.Errorf("%s: want it told, got %v", tc.reason, all)
			}
		})
	}
}

func TestLive(t *testing.T) {
	for value, tc := range map[string]struct{ live, bad bool }{"": {}, "sticky": {}, "live": {live: true}, "alive": {bad: true}} {
		f := &model.Front{Annotations: map[string]string{Readiness: value}}
		if live, problem := Live(f); live != tc.live || (problem != nil) != tc.bad || len(GateProblems(f)) > 0 != tc.bad {
			t.Errorf("%q: want %+v, got %t, %v", value, tc, live, problem)
		}
	}
}
