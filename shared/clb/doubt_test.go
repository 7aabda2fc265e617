package clb

import (
	"context"
	"testing"

	"github.com/clb-direct/clb-direct/shared/fault"
)

// TestDoubt: a write whose end nobody has seen may still take effect, until another is
// seen done.
func TestDoubt(t *testing.T) {
	cases := map[string]struct {
		reason       string
		before, want bool
		err          error
	}{
		"Done":       {"the CLB takes one write at a time", true, false, nil},
		"TaskFailed": {"it is over", true, false, fault.New(fault.Transient, "binding", &taskError{"t", "no"})},
		"Lost":       {"it may have been taken", false, true, fault.New(fault.Transient, "binding", context.DeadlineExceeded)},
		"Refused":    {"nothing was done, and nothing is known of what was before", true, true, fault.New(fault.Invalid, "binding", errNoBody)},
		"NotSent":    {"the Lease was lost before", false, false, fault.New(fault.Conflict, "binding", errNoBody)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := (&Client{}).Session(nil, nil)
			s.setDoubt(tc.before)
			s.wrote(tc.err)
			if got := s.Doubtful(); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}
