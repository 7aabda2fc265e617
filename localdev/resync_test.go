package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/clb-direct/clb-direct/shared/event"
)

func TestSayResync(t *testing.T) {
	full := event.Reply{Plan: []string{"bind 2 targets of lb-1"}, Pending: 1, Continue: true, Writes: map[string]int{"Bind": 2}, Calls: map[string]int{"DescribeTargets": 2, "DescribeListeners": 1}}
	cases := map[string]struct {
		reason string
		reply  event.Reply
		dry    bool
		want   []string
	}{
		"Nothing": {"all is as it should be", event.Reply{}, false, []string{"nothing to do", "0 calls of the CLB API"}},
		"Done":    {"what was found, what is left and what it cost", full, false, []string{"found and put right:", "  - bind 2 targets of lb-1", "1 pods wait for their gate; `make explain OBJ=pod/namespace/name` says why", "not all was done in the time there is; the next resync goes on", "wrote Bind: 2", "3 calls of the CLB API"}},
		"Dry":     {"nobody may think that it was done", event.Reply{Plan: []string{"bind 2 targets of lb-1"}}, true, []string{"would do, and has not done:", "  - bind 2 targets of lb-1", "0 calls of the CLB API"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			sayResync(&b, tc.reply, tc.dry)
			if diff := cmp.Diff(tc.want, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

func TestResyncNeedsAStack(t *testing.T) {
	root := t.TempDir()
	r := running{PID: 1, Born: "never", Ready: true}
	for name, remember := range map[string]bool{"Never": false, "Gone": true} {
		t.Run(name, func(t *testing.T) {
			if remember {
				if err := r.remember(root); err != nil {
					t.Fatal(err)
				}
			}
			if err := resync(t.Context(), root, true, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "make up") {
				t.Errorf("want an error that names `make up`, got %v", err)
			}
		})
	}
}
