// Package figure draws what was measured, as SVG: the same figures give the same bytes,
// on white, so that it can be read on a dark page too.
package figure

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Panel is one plot of a drawing.
type Panel interface {
	// plot makes it; an error where its figures can't be drawn.
	plot() (*plot.Plot, error)
}

// Axis is one of a panel's.
type Axis struct {
	Label string
	// Log makes it logarithmic: all its values must be above 0.
	Log bool
	// Max is where it ends at least.
	Max float64
}

// Limit is a value that others are held to: a dashed line across.
type Limit struct {
	Name  string
	Value float64
}

// colors can be told apart by the colour-blind (Okabe and Ito, 2008); Vermilion is the
// first, as they are listed below.
var colors = []color.Color{
	color.RGBA{0xD5, 0x5E, 0x00, 0xFF},
	color.RGBA{0xE6, 0x9F, 0x00, 0xFF},
	color.RGBA{0x56, 0xB4, 0xE9, 0xFF},
	color.RGBA{0x00, 0x9E, 0x73, 0xFF},
	color.RGBA{0x00, 0x72, 0xB2, 0xFF},
	color.RGBA{0xCC, 0x79, 0xA7, 0xFF},
	color.RGBA{0x55, 0x55, 0x55, 0xFF},
}

// Color is one of a series.
type Color int

// The colours; Auto is another one for each series.
const (
	Auto Color = iota
	Vermilion
	Orange
	SkyBlue
	Green
	Blue
	Purple
	Grey
)

// of is the colour of the series with this index.
func (c Color) of(i int) color.Color {
	if c == Auto {
		return colors[i%len(colors)]
	}
	return colors[(int(c)-1)%len(colors)]
}

// The size of a panel, and what is between two.
const (
	Width  = 12 * vg.Centimeter
	Height = 9 * vg.Centimeter
	margin = vg.Centimeter / 3
)

// SVG draws panels, so many in a row, the first at the top left. Those of a last row that
// isn't full share its width.
func SVG(columns int, panels ...Panel) ([]byte, error) {
	if columns < 1 || len(panels) == 0 {
		return nil, errors.New("drawing: there must be a column and a panel")
	}
	rows := (len(panels) + columns - 1) / columns
	width := Width * vg.Length(max(columns, 2)) // one column is as wide as two
	canvas := vgsvg.New(width, Height*vg.Length(rows))
	whole := draw.New(canvas)
	whole.FillPolygon(color.White, []vg.Point{{}, {X: whole.Max.X}, whole.Max, {Y: whole.Max.Y}})
	for i, p := range panels {
		made, err := p.plot()
		if err != nil {
			return nil, err
		}
		row, column, of := i/columns, i%columns, columns
		if rest := len(panels) % columns; row == rows-1 && rest > 0 {
			of = rest
		}
		each := width / vg.Length(of)
		left, top := each*vg.Length(column), Height*vg.Length(row)
		made.Draw(draw.Crop(whole, left+margin, left+each-margin-width, Height*vg.Length(rows)-top-Height+margin, -top-margin))
	}
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("drawing: %w", err)
	}
	// The font is measured, not embedded: who hasn't got it takes one of the same widths.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

// sans is the font of everything, in points.
func sans(size vg.Length) font.Font {
	return font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
}

// prepare makes a plot with axes and a title.
func prepare(title string, x, y Axis) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Title.TextStyle.Font, p.Title.Padding = title, sans(11), vg.Points(4)
	p.Legend.TextStyle.Font, p.Legend.Top, p.Legend.XOffs = sans(9), true, -vg.Points(2)
	p.Legend.Padding = vg.Points(2)
	for _, a := range []struct {
		of   Axis
		axis *plot.Axis
	}{{x, &p.X}, {y, &p.Y}} {
		a.axis.Label.Text, a.axis.Label.TextStyle.Font, a.axis.Tick.Label.Font = a.of.Label, sans(10), sans(9)
		a.axis.Tick.Marker = steps{}
		if a.of.Log {
			a.axis.Scale, a.axis.Tick.Marker = plot.LogScale{}, decades{}
		}
	}
	return p
}

// bound sets where axes begin and end, once everything is on them. Logarithmic ones do so
// at a full decade, others begin at 0, and there is space for a legend above.
func bound(p *plot.Plot, x, y Axis, legend bool) error {
	for _, a := range []struct {
		of   Axis
		axis *plot.Axis
		room float64
	}{{x, &p.X, 1}, {y, &p.Y, 1.15}} {
		if math.IsInf(a.axis.Min, 0) || math.IsInf(a.axis.Max, 0) || math.IsNaN(a.axis.Min+a.axis.Max) {
			return fmt.Errorf("drawing %q: there is nothing to draw", p.Title.Text)
		}
		if a.room > 1 && legend {
			a.room = 1.35
		}
		if !a.of.Log {
			a.axis.Min = min(a.axis.Min, 0)
			a.axis.Max = max(a.axis.Max*a.room, a.of.Max)
			if a.axis.Max <= a.axis.Min {
				a.axis.Max = a.axis.Min + 1
			}
			continue
		}
		if a.axis.Min <= 0 {
			return fmt.Errorf("drawing %q: %g is on the logarithmic axis %q, only values above 0 can be", p.Title.Text, a.axis.Min, a.of.Label)
		}
		if a.room > 1 { // the least value stands above the axis
			a.axis.Min /= 1.5
		}
		a.axis.Min = math.Pow10(int(math.Floor(math.Log10(a.axis.Min))))
		a.axis.Max = math.Pow10(int(math.Ceil(math.Log10(max(a.axis.Max, a.of.Max)))))
		if a.axis.Max <= a.axis.Min {
			a.axis.Max = 10 * a.axis.Min
		}
		if a.room > 1 && legend {
			a.axis.Max *= 10
		}
	}
	return nil
}

// steps label a linear axis.
type steps struct{}

// Ticks implements plot.Ticker.
func (steps) Ticks(lo, hi float64) []plot.Tick {
	out := plot.DefaultTicks{}.Ticks(lo, hi)
	for i := range out {
		if out[i].Label != "" {
			out[i].Label = number(out[i].Value)
		}
	}
	return out
}

// decades label a logarithmic axis at each power of ten.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(lo, hi float64) []plot.Tick {
	var out []plot.Tick
	for at := math.Pow10(int(math.Round(math.Log10(lo)))); at <= hi*1.001; at *= 10 {
		out = append(out, plot.Tick{Value: at, Label: number(at)})
		for n := 2.0; n < 10 && at*n < hi; n++ {
			out = append(out, plot.Tick{Value: at * n})
		}
	}
	return out
}

// number is short: three digits, and thousands kept apart.
func number(v float64) string {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1000:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case math.Abs(v) >= 1000:
		whole := strconv.FormatFloat(math.Round(v), 'f', -1, 64)
		out := ""
		for len(whole) > 3 && whole[len(whole)-4] != '-' {
			out = "," + whole[len(whole)-3:] + out
			whole = whole[:len(whole)-3]
		}
		return whole + out
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
