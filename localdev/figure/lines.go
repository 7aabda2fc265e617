package figure

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Point is one of a line.
type Point struct{ X, Y float64 }

// Line is a series of points.
type Line struct {
	Name   string
	Color  Color
	Points []Point
	// Dots marks the points.
	Dots bool
	// Step keeps a value until the next one, as counts do.
	Step bool
}

// Lines are figures over something continuous.
type Lines struct {
	Title  string
	X, Y   Axis
	Lines  []Line
	Limits []Limit
	// Left puts the legend there.
	Left bool
}

func (l Lines) plot() (*plot.Plot, error) {
	p := prepare(l.Title, l.X, l.Y)
	p.Legend.Left = l.Left
	grid(p)
	for i, s := range l.Lines {
		points := make(plotter.XYs, len(s.Points))
		for i, at := range s.Points {
			points[i] = plotter.XY(at)
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("drawing %q: %s: %w", l.Title, s.Name, err)
		}
		line.Width, line.Color = vg.Points(1.5), s.Color.of(i)
		dots.Shape, dots.Color, dots.Radius = draw.CircleGlyph{}, s.Color.of(i), vg.Points(2)
		if s.Step {
			line.StepStyle = plotter.PostStep
		}
		p.Add(line)
		if s.Dots {
			p.Add(dots)
		}
		if s.Name != "" {
			p.Legend.Add(s.Name, line)
		}
	}
	limits(p, l.Limits)
	return p, bound(p, l.X, l.Y, true)
}

// Dots are single values, in groups by name: each is seen.
type Dots struct {
	Title  string
	Y      Axis
	Names  []string
	Values [][]float64
	Limits []Limit
}

func (d Dots) plot() (*plot.Plot, error) {
	p := prepare(d.Title, Axis{}, d.Y)
	if len(d.Names) != len(d.Values) {
		return nil, fmt.Errorf("drawing %q: %d names for %d groups", d.Title, len(d.Names), len(d.Values))
	}
	grid(p)
	for i, values := range d.Values {
		var points plotter.XYs
		for j, v := range values { // side by side, as equal ones would hide one another
			points = append(points, plotter.XY{X: float64(i) + 0.3*(float64(2*j+1)/float64(len(values))-1), Y: v})
		}
		if len(points) == 0 {
			continue
		}
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return nil, fmt.Errorf("drawing %q: %s: %w", d.Title, d.Names[i], err)
		}
		dots.Shape, dots.Color, dots.Radius = draw.CircleGlyph{}, Green.of(0), vg.Points(3)
		p.Add(dots)
	}
	limits(p, d.Limits)
	if err := bound(p, Axis{}, d.Y, len(d.Limits) > 0); err != nil {
		return nil, err
	}
	nominal(p, d.Names, false)
	return p, nil
}

// grid has horizontal lines only, behind everything.
func grid(p *plot.Plot) {
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	p.Add(g)
}

// limits draws lines across, each in the legend with what it stands for.
func limits(p *plot.Plot, all []Limit) {
	for _, l := range all {
		f := plotter.NewFunction(func(float64) float64 { return l.Value })
		f.Dashes, f.Color, f.Width, f.Samples = []vg.Length{vg.Points(4), vg.Points(3)}, Grey.of(0), vg.Points(1), 2
		p.Add(f)
		p.Y.Max = max(p.Y.Max, l.Value)
		p.Legend.Add(l.Name, f)
	}
}
