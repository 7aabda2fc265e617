package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Missing is the value of a bar that isn't there: nothing was measured.
func Missing() float64 { return math.NaN() }

// Bar is a series: a value for each group.
type Bar struct {
	Name   string
	Color  Color
	Values []float64
	// Colors are those of the single bars, in place of Color, where there are any.
	Colors []Color
}

// Bars are values in groups by name, the series side by side.
type Bars struct {
	Title string
	// Groups are told below the axis, aslant if Slant, as many long ones must be.
	Groups []string
	Slant  bool
	Y      Axis
	Series []Bar
	Limits []Limit
	// Bare has no value written above its bar.
	Bare bool
	// Left puts the legend there.
	Left bool
}

func (b Bars) plot() (*plot.Plot, error) {
	p := prepare(b.Title, Axis{}, b.Y)
	p.Legend.Left = b.Left
	grid(p)
	for i, s := range b.Series {
		if len(s.Values) != len(b.Groups) || len(s.Colors) > 0 && len(s.Colors) != len(s.Values) {
			return nil, fmt.Errorf("drawing %q: %s has %d values and %d colours for %d groups", b.Title, s.Name, len(s.Values), len(s.Colors), len(b.Groups))
		}
		r := row{bars: s, index: i, of: len(b.Series), bare: b.Bare, log: b.Y.Log}
		p.Add(r)
		if s.Name != "" {
			p.Legend.Add(s.Name, r)
		}
	}
	limits(p, b.Limits)
	if err := bound(p, Axis{}, b.Y, len(b.Series) > 1 || len(b.Limits) > 0); err != nil {
		return nil, err
	}
	nominal(p, b.Groups, b.Slant)
	return p, nil
}

// nominal names the groups on the X axis, which has no other sense.
func nominal(p *plot.Plot, names []string, slant bool) {
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	p.X.Tick.Label.Font = sans(9)
	if slant {
		p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/3, draw.XRight, draw.YCenter
		p.X.Tick.Label.Font = sans(8)
	}
}

// row draws a series.
type row struct {
	bars      Bar
	index, of int
	bare, log bool
}

// taken is the share of a group's width that bars have.
const taken = 0.8

// span is where a bar begins and ends on the X axis.
func (r row) span(group int) (from, to float64) {
	width := taken / float64(r.of)
	from = float64(group) - taken/2 + width*float64(r.index)
	return from, from + width
}

// DataRange implements plot.DataRanger.
func (r row) DataRange() (xmin, xmax, ymin, ymax float64) {
	ymin, ymax = math.Inf(1), math.Inf(-1)
	for _, v := range r.bars.Values {
		if !math.IsNaN(v) {
			ymin, ymax = min(ymin, v), max(ymax, v)
		}
	}
	return -0.5, float64(len(r.bars.Values)) - 0.5, ymin, ymax
}

// Plot implements plot.Plotter.
func (r row) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	label := text.Style{Color: Grey.of(0), Font: sans(8), XAlign: draw.XCenter, YAlign: draw.YBottom, Handler: p.TextHandler}
	for i, v := range r.bars.Values {
		if math.IsNaN(v) {
			continue
		}
		from, to := r.span(i)
		base := 0.0
		if r.log {
			base = p.Y.Min
		}
		fill := r.bars.Color.of(r.index)
		if len(r.bars.Colors) > 0 {
			fill = r.bars.Colors[i].of(i)
		}
		c.FillPolygon(fill, []vg.Point{{X: x(from), Y: y(base)}, {X: x(from), Y: y(v)}, {X: x(to), Y: y(v)}, {X: x(to), Y: y(base)}})
		if !r.bare {
			c.FillText(label, vg.Point{X: x((from + to) / 2), Y: y(v) + vg.Points(2)}, number(v))
		}
	}
}

// Thumbnail implements plot.Thumbnailer.
func (r row) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(r.bars.Color.of(r.index), []vg.Point{c.Min, {X: c.Min.X, Y: c.Max.Y}, c.Max, {X: c.Max.X, Y: c.Min.Y}})
}
