package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// said are events as `go test -json` writes them.
func said(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

const (
	runA  = `{"Action":"run","Test":"TestT/CLB_tasks/a_write"}`
	passA = `{"Action":"pass","Test":"TestT/CLB_tasks/a_write","Elapsed":0.1}`
	failA = `{"Action":"fail","Test":"TestT/CLB_tasks/a_write","Elapsed":0.1}`
	runB  = `{"Action":"run","Test":"TestU/CLB_health/b"}`
	skipB = `{"Action":"skip","Test":"TestU/CLB_health/b"}`
	end   = `{"Action":"pass"}`
	fell  = `{"Action":"fail"}`
)

func TestReport(t *testing.T) {
	cases := map[string]struct {
		reason string
		events string
		least  int
		want   report
		wrong  string // part of the error, "" for none
	}{
		"Passed": {
			reason: "Sections and cases are counted by the names people gave them.",
			events: said(runA, passA, end),
			want:   report{Cases: 1, Passed: 1, Ended: true, BySection: map[string]*section{"CLB tasks": {Cases: 1, Passed: 1}}},
		},
		"Failed": {
			reason: "A failure is named.",
			events: said(runA, failA, fell),
			want:   report{Cases: 1, BySection: map[string]*section{"CLB tasks": {Cases: 1}}, Failures: []string{"CLB tasks: a write"}},
			wrong:  "CLB tasks: a write",
		},
		"Skipped": {
			reason: "Who skips says so: it is no pass.",
			events: said(runA, runB, skipB, passA, end),
			want: report{Cases: 2, Passed: 1, Skipped: 1, Ended: true, BySection: map[string]*section{
				"CLB tasks": {Cases: 1, Passed: 1}, "CLB health": {Cases: 1, Skipped: 1}}},
		},
		"Profiles": {
			reason: "A dispute is one case, whatever the number of profiles, and fails with one of them.",
			events: said(
				`{"Action":"run","Test":"TestT/CLB_tasks/d/default"}`, `{"Action":"pass","Test":"TestT/CLB_tasks/d/default"}`,
				`{"Action":"run","Test":"TestT/CLB_tasks/d/other"}`, `{"Action":"fail","Test":"TestT/CLB_tasks/d/other"}`, fell),
			want:  report{Cases: 1, BySection: map[string]*section{"CLB tasks": {Cases: 1}}, Failures: []string{"CLB tasks: d"}},
			wrong: "CLB tasks: d",
		},
		"Observed": {
			reason: "What the cloud does is told.",
			events: said(runA, `{"Action":"output","Test":"TestT/CLB_tasks/a_write","Output":"    fact_test.go:85: observed: \"rebind\"\n"}`, passA, end),
			want: report{Cases: 1, Passed: 1, Ended: true, BySection: map[string]*section{"CLB tasks": {Cases: 1, Passed: 1}},
				Observed: map[string]string{"CLB tasks: a write": `"rebind"`}},
		},
		"CutOff": {
			reason: "A case that never ended has failed: a panic ends all of them.",
			events: said(runA, fell),
			want:   report{Cases: 1, BySection: map[string]*section{"CLB tasks": {Cases: 1}}, Failures: []string{"CLB tasks: a write"}},
			wrong:  "CLB tasks: a write",
		},
		"AboveCases": {
			reason: "A test can fail above its cases.",
			events: said(`{"Action":"run","Test":"TestT"}`, runA, passA, `{"Action":"fail","Test":"TestT"}`, fell),
			want: report{Cases: 1, Passed: 1, BySection: map[string]*section{"CLB tasks": {Cases: 1, Passed: 1}},
				Failures: []string{"TestT"}},
			wrong: "TestT",
		},
		"NotBuilt": {
			reason: "What doesn't build has no case.",
			events: said(`{"Action":"build-fail"}`, fell),
			want:   report{BySection: map[string]*section{}},
			wrong:  "the suite failed",
		},
		"Few": {
			reason: "A suite that lost its cases is no proof.",
			events: said(runA, passA, end),
			least:  2,
			want:   report{Cases: 1, Passed: 1, Ended: true, BySection: map[string]*section{"CLB tasks": {Cases: 1, Passed: 1}}},
			wrong:  "want at least 2",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newSuite()
			if err := s.read(strings.NewReader(tc.events), &bytes.Buffer{}); err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			got := s.report()
			if tc.want.Observed == nil {
				tc.want.Observed = map[string]string{}
			}
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
			err := got.wrong(tc.least)
			if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%s: want an error with %q, got %v", tc.reason, tc.wrong, err)
			}
		})
	}
}

func TestReadWithoutEnd(t *testing.T) {
	if err := newSuite().read(strings.NewReader(said(runA, passA)), &bytes.Buffer{}); err == nil {
		t.Error("a suite that was cut off is taken for a whole one")
	}
}

func TestShow(t *testing.T) {
	var shown bytes.Buffer
	events := said(runA,
		`{"Action":"output","Test":"TestT/CLB_tasks/a_write","Output":"=== RUN   TestT/CLB_tasks/a_write\n"}`,
		`{"Action":"output","Test":"TestT/CLB_tasks/a_write","Output":"    a_test.go:1: it was not\n"}`, failA, fell)
	if err := newSuite().read(strings.NewReader(events), &shown); err != nil {
		t.Fatal(err)
	}
	want := "FAIL   0.10 s  CLB tasks: a write\n         a_test.go:1: it was not\n"
	if diff := cmp.Diff(want, shown.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
