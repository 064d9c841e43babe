package unstir

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Plot draws the terms by timestep, on logarithmic axes, and beside them their sum up to each timestep.
func (b *Bound) Plot() (image.Image, error) {
	var terms, sums plotter.XYs
	sum := 0.0
	for t, v := range b.Terms {
		sum += v
		sums = append(sums, plotter.XY{X: float64(t + 1), Y: sum})
		if v > 0 {
			terms = append(terms, plotter.XY{X: float64(t + 1), Y: v})
		}
	}
	if len(terms) < 2 {
		return nil, errors.New("unstir: fewer than two terms of the bound are above 0: there is nothing to draw")
	}
	left, err := linePlot("terms of the bound, in bits per dimension", terms)
	if err != nil {
		return nil, err
	}
	left.Y.Scale, left.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 4}
	left.Y.Min, left.Y.Max = math.Pow(10, math.Floor(math.Log10(left.Y.Min))), math.Pow(10, math.Ceil(math.Log10(left.Y.Max)))
	right, err := linePlot(fmt.Sprintf("their sum up to t; with the prior %.4g", b.Total), sums)
	if err != nil {
		return nil, err
	}
	right.Y.Min = 0
	canvas := vgimg.New(10*vg.Inch, 4*vg.Inch)
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Points(18), PadTop: vg.Points(8), PadBottom: vg.Points(8), PadLeft: vg.Points(8), PadRight: vg.Points(16)}
	for i, p := range []*plot.Plot{left, right} {
		p.Draw(tiles.At(draw.New(canvas), i, 0))
	}
	return canvas.Image(), nil
}

// linePlot is a plot of a line over t + 1, which a logarithmic axis can show.
func linePlot(title string, points plotter.XYs) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, "t + 1"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 4}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, fmt.Errorf("unstir: plot the bound: %w", err)
	}
	line.Color, line.Width = color.RGBA{R: 20, G: 60, B: 140, A: 255}, vg.Points(1.5)
	p.Add(plotter.NewGrid(), line)
	return p, nil
}
