package dataplane

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPick(t *testing.T) {
	type has struct {
		name   string
		weight int
		state  State
		flows  int
	}
	cases := map[string]struct {
		reason    string
		scheduler Scheduler
		refuse    bool
		targets   []has
		want      string
	}{
		"Smooth": {
			reason:  "heavy targets are spread among the light ones, not served in a row",
			targets: []has{{"a", 5, Alive, 0}, {"b", 1, Alive, 0}, {"c", 1, Alive, 0}},
			want:    "aabacaa",
		},
		"CheckOff": {
			reason:  "a target that isn't checked gets traffic as a healthy one",
			targets: []has{{"a", 1, Closed, 0}, {"b", 1, Alive, 0}},
			want:    "abababa",
		},
		"OnlyFit": {
			reason:  "neither the dead, nor those being detected, nor weight 0",
			targets: []has{{"a", 9, Dead, 0}, {"b", 9, Unknown, 0}, {"c", 0, Alive, 0}, {"d", 1, Alive, 0}},
			want:    "ddddddd",
		},
		"AllDead": {
			reason:  "all dead is all alive, by weight, but for weight 0",
			targets: []has{{"a", 1, Dead, 0}, {"b", 2, Dead, 0}, {"c", 0, Alive, 0}},
			want:    "babbabb",
		},
		"AllDeadRefused": {
			reason:  "unless the option says otherwise",
			refuse:  true,
			targets: []has{{"a", 1, Dead, 0}},
			want:    "-------",
		},
		"AllUnknown": {
			reason:  "targets being detected get no traffic",
			targets: []has{{"a", 1, Unknown, 0}},
			want:    "-------",
		},
		"LeastConn": {
			reason:    "the least connections for their weight",
			scheduler: LeastConn,
			targets:   []has{{"a", 1, Alive, 1}, {"b", 4, Alive, 3}, {"c", 1, Dead, 0}},
			want:      "bbbbbbb",
		},
		"LeastConnEqual": {
			reason:    "equals take turns, so that short connections spread",
			scheduler: LeastConn,
			targets:   []has{{"a", 1, Alive, 0}, {"b", 1, Alive, 0}, {"c", 1, Alive, 1}},
			want:      "abababa",
		},
		"None": {
			reason: "no target",
			want:   "-------",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPool(New(Options{RefuseDead: tc.refuse}), "tcp", netip.Addr{})
			p.policy.scheduler = tc.scheduler
			names := map[*target]string{}
			for _, h := range tc.targets {
				target := &target{weight: h.weight, verdict: &Verdict{}, flows: map[flow]struct{}{}}
				target.verdict.set(h.state)
				for range h.flows {
					target.flows[&session{}] = struct{}{}
				}
				names[target] = h.name
				p.targets = append(p.targets, target)
			}
			var got strings.Builder
			for range 7 {
				picked := p.pick(netip.MustParseAddr("127.88.0.1"), time.Now())
				if picked == nil {
					got.WriteString("-")
				}
				got.WriteString(names[picked])
			}
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
