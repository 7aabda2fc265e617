package main

import "testing"

func TestWrong(t *testing.T) {
	cases := map[string]struct {
		reason string
		f      figures
		wrong  bool
	}{
		"Good":  {"within both limits", figures{PerSecond: 400, CorePercent: 29, AddedMs: 0.9}, false},
		"Busy":  {"too much of a core", figures{PerSecond: 400, CorePercent: 31, AddedMs: 0.9}, true},
		"Slow":  {"too much added", figures{PerSecond: 400, CorePercent: 29, AddedMs: 1.1}, true},
		"Fewer": {"fewer requests prove nothing", figures{PerSecond: 300, CorePercent: 10, AddedMs: 0.1}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &report{Rate: 400, Layers: map[string]figures{"tcp": tc.f}}
			if err := r.wrong(); (err != nil) != tc.wrong {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}
