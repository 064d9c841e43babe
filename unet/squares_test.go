package unet

import (
	"context"
	"math"
	"testing"

	"unstir/nn/kernel"
)

// The sum of the gradient's squares is that of its elements, whether kernels have summed a part of it (one slice) or not
// (several, whose gradients are added), and has the same bits on any number of threads.
func TestSumSquares(t *testing.T) {
	m := randomModel(t, smallConfig())
	const n = 2
	dim := 3 * 28 * 20
	e := Example{X: noise(n*dim, 1), Target: noise(n*dim, 2), T: []int{10, 900}}
	for _, c := range []struct {
		images, slice int
		summed        bool // a part of it by kernels: with two images in a slice, gradients are made in two pieces
	}{{1, 1, true}, {2, 1, false}, {2, 2, false}} {
		run := func() float64 {
			d, err := NewGradient(m.Config, m.Params, m.flat, GradientOptions{Slice: c.slice, H: 28, W: 20})
			if err != nil {
				t.Fatal(err)
			}
			some := Example{X: e.X[:c.images*dim], Target: e.Target[:c.images*dim], T: e.T[:c.images]}
			if _, err := d.Run(context.Background(), some, nil); err != nil {
				t.Fatal(err)
			}
			seen, a := 0, kernel.NewAdamW()
			got := d.SumSquares(func(x []float32) float64 {
				seen += len(x)
				return a.SumSquares(x)
			})
			var want float64
			for _, x := range d.Grad() {
				want += float64(x) * float64(x)
			}
			if math.Abs(got-want) > 1e-6*want {
				t.Errorf("%d images in slices of %d: %v, not %v", c.images, c.slice, got, want)
			}
			if summed := c.summed && !kernel.DirectConvolutions(); summed != (seen < len(d.Grad())) {
				t.Errorf("%d images in slices of %d: %d of %d elements were left to sum", c.images, c.slice, seen, len(d.Grad()))
			}
			return got
		}
		want := run()
		for _, threads := range []int{1, 2, 3, 16} {
			withThreads(threads, func() {
				if got := run(); got != want {
					t.Errorf("%d images in slices of %d on %d threads: %v, not %v", c.images, c.slice, threads, got, want)
				}
			})
		}
		eachSIMDLevel(t, func(level kernel.Level) {
			if got := run(); got != want {
				t.Errorf("%d images in slices of %d at %v: %v, not %v", c.images, c.slice, level, got, want)
			}
		})
	}
}
