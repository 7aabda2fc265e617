package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// good is a report of a run in which all was as it must be.
func good() *report {
	r := &report{Rollouts: 20, tally: tally{Requests: 1000}, DrainedRatio: 1, Terminated: 60, Drained: 60, Pods: 72, AddressesReused: 40, Ends: map[string]*comparison{}}
	for _, way := range ways {
		r.Ends[way] = &comparison{
			With:    outcome{Containers: 1, DrainedFirst: 1, SIGTERMAfterMS: []int64{4000}, tally: tally{Requests: 100}},
			Without: outcome{Containers: 1, SIGTERMAfterMS: []int64{20}, tally: tally{Requests: 100, Failed: 3}},
		}
	}
	return r
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	cases := map[string]struct {
		reason string
		spoil  func(*report)
		want   []string // words of the errors
	}{
		"Good":          {"nothing is wrong; without the drain requests may fail", func(*report) {}, nil},
		"FewRollouts":   {"a rolling update did not go through", func(r *report) { r.Rollouts = 19 }, []string{"19 went through"}},
		"Failed":        {"a request failed", func(r *report) { r.Failed = 1 }, []string{"1 of 1000 requests failed"}},
		"NoLoad":        {"no load proves nothing", func(r *report) { r.Requests = 0 }, []string{"no requests"}},
		"WrongPod":      {"a wrong pod answered", func(r *report) { r.WrongPod = 2 }, []string{"2 answers came from a wrong pod"}},
		"Premature":     {"a pod answered that was not ready", func(r *report) { r.Premature = 1 }, []string{"not ready"}},
		"Stranger":      {"a pod saw another address", func(r *report) { r.Strangers = 1 }, []string{"client's address"}},
		"NotDrained":    {"a container was not drained", func(r *report) { r.Drained, r.DrainedRatio = 59, 59./60 }, []string{"59 of 60"}},
		"Unheard":       {"a pod ended by SIGKILL", func(r *report) { r.Unheard = 1 }, []string{"without SIGTERM"}},
		"NoReuse":       {"no address was used twice", func(r *report) { r.AddressesReused = 0 }, []string{"no address"}},
		"WayMissing":    {"a way was not seen", func(r *report) { delete(r.Ends, "eviction") }, []string{"eviction was not seen"}},
		"WayFailed":     {"a request failed in a restart", func(r *report) { r.Ends["liveness_restart"].With.Failed = 1 }, []string{"liveness_restart: 1 of 100"}},
		"WayNotDrained": {"a shutdown did not wait", func(r *report) { r.Ends["node_shutdown"].With.DrainedFirst = 0 }, []string{"0 of 1 containers"}},
		"DrainedAnyway": {"the comparison proves nothing", func(r *report) { r.Ends["eviction"].Without.DrainedFirst = 1 }, []string{"at once"}},
		"NoSooner":      {"SIGTERM came no sooner without", func(r *report) { r.Ends["eviction"].Without.SIGTERMAfterMS = []int64{5000} }, []string{"after [4000] ms with"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.spoil(r)
			errs := r.wrong(20)
			if len(errs) != len(c.want) {
				t.Fatalf("%s: want %q, got %v", c.reason, c.want, errs)
			}
			for i, word := range c.want {
				if !strings.Contains(errs[i].Error(), word) {
					t.Errorf("%s: want %q named in %q", c.reason, word, errs[i])
				}
			}
		})
	}
}

func TestNearestRank(t *testing.T) {
	s := spread{}
	for i := range 200 {
		s.all = append(s.all, int64(i+1))
	}
	if diff := cmp.Diff([]int64{100, 198, 200}, []int64{s.rank(50), s.rank(99), s.rank(100)}); diff != "" {
		t.Errorf("percentiles of 1 to 200 (-want +got):\n%s", diff)
	}
	if s := (spread{all: []int64{7}}); !slices.Equal([]int64{7, 7}, []int64{s.rank(1), s.rank(99)}) {
		t.Error("of one value every percentile is that value")
	}
}
