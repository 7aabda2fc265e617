package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEncode(t *testing.T) {
	m := Measured{At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Commit: "abc1234-dirty", CPUs: 2, Go: "go1.26"}
	const measured = `  "measured": {
    "at": "2026-11-28T12:00:00Z",
    "commit": "abc1234-dirty",
    "cpus": 2,
    "go": "go1.26"
  }
}
`
	cases := map[string]struct {
		reason  string
		figures any
		want    string // "" for an error
	}{
		"Fields": {"fields keep their order", struct {
			B int `json:"b"`
			A int `json:"a"`
		}{1, 2}, "{\n  \"b\": 1,\n  \"a\": 2,\n" + measured},
		"None":    {"there may be nothing to say", struct{}{}, "{\n" + measured},
		"List":    {"a list has no field to add", []int{1}, ""},
		"Nothing": {"nor has nothing", nil, ""},
		"Broken":  {"what isn't JSON is told", make(chan int), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Encode(tc.figures, m)
			if (err != nil) != (tc.want == "") {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out", "x.json")
	for range 2 { // the second time it is there already
		if err := Save(path, struct{ X int }{7}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		X        int
		Measured Measured
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.X != 7 || got.Measured.CPUs < 1 || got.Measured.Go == "" || got.Measured.At.IsZero() {
		t.Errorf("got %+v", got)
	}
}
