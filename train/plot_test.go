package train

import (
	"math"
	"testing"

	"gonum.org/v1/plot/plotter"
)

// A loss that falls by a constant factor is its own mean, at the ends too; noise around it is evened out.
func TestSmoothFollowsWithoutLag(t *testing.T) {
	var points plotter.XYs
	for i := range 40 {
		points = append(points, plotter.XY{X: float64(i), Y: math.Exp(-0.2 * float64(i))})
	}
	for i, p := range smooth(points, 5) {
		if p.X != points[i].X || math.Abs(p.Y/points[i].Y-1) > 1e-12 {
			t.Errorf("point %d: %v, want %v", i, p, points[i])
		}
	}
	for i := range points {
		points[i].Y = 1 + 0.5*float64(i%2)
	}
	for i, p := range smooth(points, 5)[5:35] {
		if p.Y < 1.15 || p.Y > 1.3 {
			t.Errorf("point %d of a zigzag between 1 and 1.5 is %v", i+5, p.Y)
		}
	}
}
