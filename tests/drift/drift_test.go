package main

import (
	"io"
	"testing"
	"time"

	"github.com/clb-direct/clb-direct/shared/model"
)

// TestTouched: whatever happens to what is somebody else's is found, and counted once.
func TestTouched(t *testing.T) {
	const name = "web TCP:9001"
	theirs := holding{place: place{"lb-1", model.Place{Listener: "lbl-1"}}, text: "one target"}
	cases := map[string]struct {
		reason string
		now    picture
		want   int
	}{
		"Same":    {"nothing happened", picture{name: theirs}, 0},
		"Gone":    {"it was deleted", picture{}, 1},
		"Changed": {"a target, or a setting", picture{name: {place: theirs.place, text: "no target"}}, 1},
		"Again":   {"it was deleted and made again", picture{name: {place: place{"lb-1", model.Place{Listener: "lbl-2"}}, text: theirs.text}}, 1},
	}
	for label, tc := range cases {
		t.Run(label, func(t *testing.T) {
			d := &drift{report: &report{}, w: io.Discard, foreign: map[string]foreigner{name: {holding: theirs}}}
			for range 3 {
				d.compare(tc.now, time.Now())
			}
			if d.report.ForeignTouched != tc.want {
				t.Errorf("%s: want %d touched, got %d", tc.reason, tc.want, d.report.ForeignTouched)
			}
		})
	}
}

// TestGivenUp: a change is healed when a picture begun after it shows what was there
// before, and given up after a minute.
func TestGivenUp(t *testing.T) {
	const name = "web TCP:80"
	was, is := picture{name: {text: "three targets"}}, picture{name: {text: "two targets"}}
	cases := map[string]struct {
		reason                string
		now                   picture
		age                   time.Duration
		early                 bool
		healed, over, givenUp bool
	}{
		"Lasting": {"it is still there", is, time.Second, false, false, false, false},
		"Healed":  {"it is gone", was, time.Second, false, true, true, false},
		"Early":   {"the picture is older than the change", was, time.Second, true, false, false, false},
		"Over":    {"it lasts too long", is, limit + time.Second, false, false, true, true},
	}
	for label, tc := range cases {
		t.Run(label, func(t *testing.T) {
			made := time.Now().Add(-tc.age)
			l := &lasting{change: &change{Kind: deleted, Where: name, reach: []string{name}}, made: made, seen: true}
			d := &drift{report: &report{}, w: io.Discard, baseline: was, lasting: []*lasting{l}}
			began := time.Now()
			if tc.early {
				began = made.Add(-time.Second)
			}
			d.compare(tc.now, began)
			if l.Healed != tc.healed || l.givenUp != tc.givenUp || (len(d.lasting) == 0) != tc.over {
				t.Errorf("%s: healed %v, given up %v, %d last", tc.reason, l.Healed, l.givenUp, len(d.lasting))
			}
		})
	}
}
