package figure

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample has one panel of each kind.
func sample() []Panel {
	return []Panel{
		Bars{Title: "bars", Groups: []string{"a", "b"}, Y: Axis{Label: "events/s"}, Limits: []Limit{{"most", 5000}}, Series: []Bar{
			{Name: "ours", Color: Green, Values: []float64{4512, 3}}, {Name: "baseline", Color: Grey, Values: []float64{1500, Missing()}}}},
		Bars{Title: "bars, logarithmic", Groups: []string{"idle", "loaded"}, Y: Axis{Label: "ms", Log: true}, Series: []Bar{{Values: []float64{0.5, 9000}, Colors: []Color{Green, Grey}}}},
		Lines{Title: "lines", X: Axis{Label: "pods", Log: true}, Y: Axis{Label: "ms", Log: true}, Lines: []Line{{Name: "x", Dots: true, Points: []Point{{100, 2}, {1000, 20}, {10000, 260}}}}},
		Lines{Title: "steps", X: Axis{Label: "s"}, Y: Axis{Label: "failed"}, Limits: []Limit{{"none", 0}}, Lines: []Line{{Name: "y", Step: true, Points: []Point{{0, 0}, {3, 5}, {7, 5}}}}},
		Dots{Title: "dots", Names: []string{"k", "l", "m"}, Y: Axis{Label: "s"}, Values: [][]float64{{1, 2, 2}, {3}, nil}, Limits: []Limit{{"held to", 60}}},
	}
}

func TestSVG(t *testing.T) {
	got, err := SVG(2, sample()...)
	if err != nil {
		t.Fatal(err)
	}
	again, err := SVG(2, sample()...)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, again) {
		t.Error("the same figures give other bytes")
	}
	if len(got) > 50<<10 {
		t.Errorf("%d bytes are too many", len(got))
	}
	for d := xml.NewDecoder(bytes.NewReader(got)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("it is no XML: %v", err)
		}
	}
	for _, said := range []string{">bars, logarithmic<", ">events/s<", ">baseline<", ">4,512<", ">9,000<", ">10,000<", ">held to<", ">most<", ">m<"} {
		if !strings.Contains(string(got), said) {
			t.Errorf("%s isn't there", said)
		}
	}
}

func TestWhatCanNotBeDrawn(t *testing.T) {
	cases := map[string]struct {
		reason string
		panels []Panel
		want   string
	}{
		"None":    {"a drawing is of something", nil, "a panel"},
		"Empty":   {"no figure makes no scale", []Panel{Lines{Title: "empty"}}, `"empty": there is nothing`},
		"AllGone": {"nor do those that are missing", []Panel{Bars{Title: "gone", Groups: []string{"a"}, Series: []Bar{{Values: []float64{Missing()}}}}}, `"gone"`},
		"Zero":    {"0 has no logarithm", []Panel{Bars{Title: "z", Groups: []string{"a"}, Y: Axis{Label: "ms", Log: true}, Series: []Bar{{Values: []float64{0}}}}}, `0 is on the logarithmic axis "ms"`},
		"Short":   {"each group has its value", []Panel{Bars{Title: "s", Groups: []string{"a", "b"}, Series: []Bar{{Name: "x", Values: []float64{1}}}}}, "x has 1 values"},
		"Unnamed": {"each group has its name", []Panel{Dots{Title: "u", Values: [][]float64{{1}}}}, "0 names for 1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := SVG(1, tc.panels...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want an error with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	want := map[float64]string{0: "0", 7: "7", 0.5: "0.5", 0.12345: "0.123", 12.345: "12.3", 123.45: "123", 999: "999", 1000: "1,000", 1234567.8: "1,234,568", -1234: "-1,234", 1e-7: "1e-07"}
	got := map[float64]string{}
	for v := range want {
		got[v] = number(v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
