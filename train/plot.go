package train

import (
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"unstir/internal/atomicfile"
)

// plotLoss draws a log's loss, which has that name, over the steps, on a logarithmic axis: each logged step, and a mean.
func plotLoss(path, loss string, lines []LogLine) error {
	if len(lines) < 2 {
		return nil
	}
	p := plot.New()
	p.Title.Text = "training loss"
	p.X.Label.Text = "step"
	p.Y.Label.Text = loss
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())

	var points plotter.XYs
	for _, l := range lines {
		if l.Loss > 0 && !math.IsInf(l.Loss, 0) {
			points = append(points, plotter.XY{X: float64(l.Step), Y: l.Loss})
		}
	}
	if len(points) < 2 {
		return nil
	}
	mean := smooth(points, 5)
	dots, err := plotter.NewLine(points)
	if err != nil {
		return fmt.Errorf("train: plot the loss: %w", err)
	}
	dots.Color = color.RGBA{R: 160, G: 190, B: 230, A: 255}
	line, err := plotter.NewLine(mean)
	if err != nil {
		return fmt.Errorf("train: plot the loss: %w", err)
	}
	line.Color, line.Width = color.RGBA{R: 20, G: 60, B: 140, A: 255}, vg.Points(1.5)
	p.Add(dots, line)
	p.Legend.Add("logged steps", dots)
	p.Legend.Add("mean of 11 around", line)
	p.Legend.Top = true
	drawn, err := p.WriterTo(7*vg.Inch, 4*vg.Inch, "png")
	if err != nil {
		return fmt.Errorf("train: plot the loss: %w", err)
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		_, err := drawn.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("train: plot the loss: %w", err)
	}
	return nil
}

// smooth replaces each value by the geometric mean of those up to `around` places before and after it, which on a
// logarithmic axis follows the points without lagging behind.
func smooth(points plotter.XYs, around int) plotter.XYs {
	out := make(plotter.XYs, len(points))
	for i := range points {
		reach := min(around, i, len(points)-1-i)
		sum := 0.0
		for _, p := range points[i-reach : i+reach+1] {
			sum += math.Log(p.Y)
		}
		out[i] = plotter.XY{X: points[i].X, Y: math.Exp(sum / float64(2*reach+1))}
	}
	return out
}
