package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const emulator = `{"rate":400,"pods":40,"layers":{"layer4":{"requests":7,"per_second":400,"core_percent":6,"through_ms":0.6,"straight_ms":0.4,"added_ms":0.2}}`

// What is kept of a report is what a page is made from, and when it was measured.
func TestCollect(t *testing.T) {
	cases := map[string]struct {
		reason, name, raw string
		want              string // what is kept, of it; "" for an error
		wrong             string
	}{
		"Whole":   {"what is needed is kept, with what it was measured on", "bench-emulator", emulator + `,"measured":{"at":"2026-11-28T12:00:00Z","commit":"abc1234"}}`, `"commit": "abc1234"`, ""},
		"Silent":  {"of a report that doesn't say, the file's day is known", "bench-emulator", emulator + `}`, `"at": "2026-01-02T03:04:05Z",` + "\n    " + `"commit": "given"`, ""},
		"Renamed": {"a field that isn't there is no 0", "bench-emulator", strings.Replace(emulator, "added_ms", "added", 1) + `}`, "", `"layers.layer4.added_ms"`},
		"Retyped": {"nor is one of another kind", "bench-emulator", `{"rate":"400"}`, "", "bench-emulator.json"},
		"List":    {"within lists likewise", "drift", `{"calls_per_minute_idle":{"total":1},"changes":[{"kind":"x","healed":true}]}`, "", `"changes[0].seconds"`},
		"Broken":  {"a report may be cut off", "bench-emulator", `{"rate":`, "", "bench-emulator.json"},
		"Big":     {"a page is no place for raw samples", "soak", `{"minutes":1,"changes":1,"changes_per_second":1,"faults":{},"lost":0,"heap_mib":[1` + strings.Repeat(",1", 100_000) + `],"heap_first_third_mib":1,"heap_last_third_mib":1,"rss_peak_mib":1}`, "", "at most 204800"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			from, to := t.TempDir(), t.TempDir()
			path := filepath.Join(from, tc.name+".json")
			if err := os.WriteFile(path, []byte(tc.raw), 0o600); err != nil {
				t.Fatal(err)
			}
			day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			if err := os.Chtimes(path, day, day); err != nil {
				t.Fatal(err)
			}
			taken, _, err := source{from, "given"}.collect(to)
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("%s: want an error about %s, got %v", tc.reason, tc.wrong, err)
				}
				if left, _ := os.ReadDir(to); len(taken)+len(left) > 0 {
					t.Errorf("%s: yet %v was kept", tc.reason, taken)
				}
				return
			}
			if diff := cmp.Diff([]string{tc.name}, taken); err != nil || diff != "" {
				t.Fatalf("%s: %v\n%s", tc.reason, err, diff)
			}
			kept, err := os.ReadFile(filepath.Join(to, tc.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(kept), tc.want) || strings.Contains(string(kept), `"requests"`) {
				t.Errorf("%s: kept is\n%s", tc.reason, kept)
			}
			// What is kept can be kept again.
			again := t.TempDir()
			if _, _, err := (source{to, ""}).collect(again); err != nil {
				t.Fatal(err)
			}
			second, err := os.ReadFile(filepath.Join(again, tc.name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(kept, second) {
				t.Errorf("the second time it is\n%s", second)
			}
		})
	}
}

// A report left over from long ago doesn't take the place of a newer one.
func TestCollectNothingOlder(t *testing.T) {
	to := t.TempDir()
	for i, step := range []struct {
		reason, day  string
		taken, older []string
	}{
		{"the first is kept", "2026-02-02", []string{"bench-emulator"}, nil},
		{"one from before isn't", "2026-01-01", nil, []string{"bench-emulator"}},
		{"nor does it matter the second time", "2026-01-01", nil, []string{"bench-emulator"}},
		{"a newer one is", "2026-03-03", []string{"bench-emulator"}, nil},
		{"and once more", "2026-03-03", []string{"bench-emulator"}, nil},
	} {
		from := t.TempDir()
		figures := strings.Replace(emulator, `"rate":400`, `"rate":`+strings.ReplaceAll(step.day, "-", ""), 1)
		if err := os.WriteFile(filepath.Join(from, "bench-emulator.json"), []byte(figures+`,"measured":{"at":"`+step.day+`T00:00:00Z"}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		taken, older, err := source{from, ""}.collect(to)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.taken, taken) + cmp.Diff(step.older, older); diff != "" {
			t.Errorf("%d: %s\n%s", i, step.reason, diff)
		}
		kept, err := os.ReadFile(filepath.Join(to, "bench-emulator.json"))
		if err != nil {
			t.Fatal(err)
		}
		// The figures are those of the day that they are said to be of.
		day := "20260202"
		if i > 2 {
			day = "20260303"
		}
		if !strings.Contains(string(kept), `"rate": `+day) {
			t.Errorf("%d: %s: want the figures of %s, kept is\n%s", i, step.reason, day, kept)
		}
	}
}

// One bad report neither hides the others nor what was kept of it before.
func TestRun(t *testing.T) {
	from, docs := t.TempDir(), t.TempDir()
	for _, name := range []string{"bench-emulator", "model"} {
		raw, err := os.ReadFile(filepath.Join("testdata/out", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, name+".json"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options{reports: from, docs: docs}
	var pages []string
	for i := range 2 {
		if i == 1 {
			if err := os.WriteFile(filepath.Join(from, "model.json"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var said bytes.Buffer
		if err := run(o, &said); (err != nil) != (i == 1) || err != nil && !strings.Contains(err.Error(), "model.json") {
			t.Fatalf("run %d: %v", i, err)
		}
		for _, want := range []string{"make chaos: not measured yet", "make bench-emulator: not met: layer7: 31.2 % of a core"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("nothing is said of %q:\n%s", want, said.String())
			}
		}
		page, err := os.ReadFile(filepath.Join(docs, "results.md"))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(page))
	}
	if diff := cmp.Diff(pages[0], pages[1]); diff != "" || !strings.Contains(pages[0], "1,002,918 steps") {
		t.Errorf("-before +after:\n%s", diff)
	}
	if err := run(options{reports: from, docs: "/proc/nowhere"}, io.Discard); err == nil {
		t.Error("a page that can't be written is no error")
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(1000): "1,000", count(1234567): "1,234,567", count(-1234): "-1,234",
		ms(999): "999 ms", ms(1500): "1.5 s", short(0.1234): "0.123", short(99.96): "100", short(1234.5): "1,235", short(12): "12",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
