package model

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestDrainsRoundTrip: what is written is read again, to the millisecond.
func TestDrainsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drains := rapid.MapOf(rapid.StringMatching(`[a-z][a-z0-9-]{0,20}`), rapid.Custom(func(t *rapid.T) Drain {
			return Drain{
				ID: rapid.StringMatching(`containerd://[0-9a-f]{8}`).Draw(t, "id"),
				At: time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "at")).UTC(),
			}
		})).Draw(t, "drains")
		if len(drains) == 0 {
			drains = nil
		}
		if diff := cmp.Diff(drains, ParseDrains(FormatDrains(drains))); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func TestParseDrains(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 678e6, time.UTC)
	cases := map[string]struct {
		reason, message string
		want            map[string]Drain
	}{
		"Empty":   {"nothing is marked", "", nil},
		"Example": {"as documented", "app c://1 2026-01-02T15:04:05.678Z, web c://2 2026-01-02T15:04:05.678Z", map[string]Drain{"app": {"c://1", at}, "web": {"c://2", at}}},
		"Words":   {"somebody else's message", "about to end", nil},
		"Time":    {"no time, no mark", "app c://1 soon, web c://2 2026-01-02T15:04:05.678Z", map[string]Drain{"web": {"c://2", at}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ParseDrains(tc.message)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDrainedUntil(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)
	const grace = 30 * time.Second
	end := func(at time.Time) time.Time { return at.Add(grace + drainSlack) }
	earlier := now.Add(-10 * time.Second)
	cases := map[string]struct {
		reason string
		drains map[string]Drain
		runs   map[string]string
		want   time.Time
	}{
		"None":      {"nothing is marked", nil, map[string]string{"app": "1"}, time.Time{}},
		"Marked":    {"the container that was marked runs", map[string]Drain{"app": {"1", now}}, map[string]string{"app": "1"}, end(now)},
		"Successor": {"it is another one by now", map[string]Drain{"app": {"1", now}}, map[string]string{"app": "2"}, time.Time{}},
		"Ended":     {"none runs", map[string]Drain{"app": {"1", now}}, nil, time.Time{}},
		"Stays":     {"it was to end long ago", map[string]Drain{"app": {"1", now.Add(-grace - drainSlack)}}, map[string]string{"app": "1"}, time.Time{}},
		"Two":       {"the later of two counts", map[string]Drain{"app": {"1", earlier}, "web": {"2", now}}, map[string]string{"app": "1", "web": "2"}, end(now)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := Pod{Drains: tc.drains, Containers: tc.runs, Grace: grace}
			if got := p.DrainedUntil(now); !got.Equal(tc.want) {
				t.Errorf("%s: want %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}
