package dataplane

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThresholds(t *testing.T) {
	cases := map[string]struct {
		reason  string
		results string
		want    string
	}{
		"BecomesAlive": {"three good checks in a row", "+++", "UUA"},
		"BecomesDead":  {"two bad ones", "--", "UD"},
		"StartsOver":   {"a bad one in between starts the count anew", "++-+++", "UUUUUA"},
		"Flickers":     {"a verdict stands until the other threshold is reached", "+++-+-+--", "UUAAAAAAD"},
		"Recovers":     {"dead comes back by the healthy threshold", "--++-+++", "UDDDDDDA"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &checker{plane: &Plane{}, verdict: &Verdict{}}
			var got strings.Builder
			for _, result := range tc.results {
				c.book(result == '+', Check{HealthNum: 3, UnHealthNum: 2})
				got.WriteByte(c.verdict.State().String()[0])
			}
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
