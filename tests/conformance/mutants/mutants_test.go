package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../../.."

// TestMutantsFitTheSource keeps the table in step with the emulators: a mutant that
// replaces nothing proves nothing.
func TestMutantsFitTheSource(t *testing.T) {
	sections := suiteText(t)
	seen := map[string]bool{}
	for _, m := range mutants {
		t.Run(m.why, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join(root, m.file))
			if err != nil {
				t.Fatal(err)
			}
			mutated, err := m.mutant().Apply(source)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.ParseFile(token.NewFileSet(), m.file, mutated, 0); err != nil {
				t.Errorf("the mutant is no Go: %v", err)
			}
			if !strings.HasPrefix(m.file, "localdev/") {
				t.Errorf("%s is of no emulator", m.file)
			}
			if !strings.Contains(sections, `"`+m.section+`"`) {
				t.Errorf("the suite has no section %q", m.section)
			}
			if seen[m.why] {
				t.Errorf("%q is twice in the table", m.why)
			}
			seen[m.why] = true
		})
	}
}

// suiteText is the source of the suite.
func suiteText(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func TestCulprit(t *testing.T) {
	cases := map[string]struct{ reason, output, want string }{
		"Case": {
			"A case is named as people named it.",
			"=== RUN   TestT\n--- FAIL: TestT (0.1s)\n    --- FAIL: TestT/CAM_statements (0.1s)\n        --- FAIL: TestT/CAM_statements/deny_is_over_allow (0.1s)\n",
			"CAM statements: deny is over allow",
		},
		"Profile": {"With its profile.", "--- FAIL: TestT/CLB/what/default (0.1s)\n", "CLB: what/default"},
		"Panic":   {"A suite that breaks off has noticed, too.", "=== RUN   TestT\npanic: nobody home\n", "panic: nobody home"},
		"Other":   {"Whatever made it fail.", "exit status 3\n", "the suite as a whole"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, culprit([]byte(tc.output))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReportWrong(t *testing.T) {
	noticed, missed := finding{Noticed: true}, finding{}
	cases := map[string]struct {
		reason string
		list   []finding
		least  int
		wrong  bool
	}{
		"All":    {"All noticed.", []finding{noticed, noticed}, 2, false},
		"Missed": {"One not.", []finding{noticed, missed}, 2, true},
		"Few":    {"Few are no proof.", []finding{noticed}, 2, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &report{}
			for _, f := range tc.list {
				r.add(f)
			}
			if err := r.wrong(tc.least); (err != nil) != tc.wrong {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}
