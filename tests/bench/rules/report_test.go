package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clb-direct/clb-direct/localdev/clb"
)

// sample is a run with constants that are easy to reckon with.
func sample() *report {
	return &report{Reached: true, Constants: constants{
		Rules: 200, Pods: 50, Bindings: 10_000, RulesPerCall: 50, TargetsPerCall: 500, HealthNum: 3, HealthInterval: 5,
		Latencies: clb.Latencies{
			API: 100 * time.Millisecond, Busy: 400 * time.Millisecond,
			Task: clb.Range{Min: 500 * time.Millisecond, Max: 1300 * time.Millisecond},
		},
	}}
}

func TestFloor(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*constants)
		want   floorParts
	}{
		"Full":     {reason: "4 calls of 1 s, 20 of 0.5 s, 3 checks", change: func(*constants) {}, want: floorParts{Rules: 4, Bind: 10, Health: 15}},
		"OneOver":  {reason: "one rule or target more takes a call more", change: func(c *constants) { c.Rules++; c.Bindings++ }, want: floorParts{Rules: 5, Bind: 10.5, Health: 15}},
		"OneCheck": {reason: "the first check comes within an interval", change: func(c *constants) { c.HealthNum = 1 }, want: floorParts{Rules: 4, Bind: 10, Health: 5}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := sample().Constants
			tc.change(&c)
			if diff := cmp.Diff(tc.want, c.floor(), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDemand(t *testing.T) {
	cases := map[string]struct {
		reason  string
		seconds float64
		lost    bool
		want    bool
	}{
		"Soon":    {reason: "1.3 times the floor of 29 s", seconds: 37.7, want: true},
		"Late":    {reason: "a little more", seconds: 37.8},
		"Without": {reason: "an end that wasn't reached is not soon", seconds: 1, lost: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := sample()
			r.Seconds, r.Reached = tc.seconds, !tc.lost
			r.conclude()
			if r.Met != tc.want {
				t.Errorf("%s: demand met is %v at %v times the floor", tc.reason, r.Met, r.Ratio)
			}
			var table strings.Builder
			r.table(&table)
			if got := strings.Contains(table.String(), "NOT MET"); got == tc.want {
				t.Errorf("%s: the table says otherwise:\n%s", tc.reason, table.String())
			}
		})
	}
}

func TestIngressHasEveryRuleOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, rule := range ingress("lb-1").Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			seen[rule.Host+path.Path] = true
		}
	}
	if len(seen)*pods != bindings {
		t.Errorf("%d rules over %d pods are not %d bindings", len(seen), pods, bindings)
	}
}
