package conv

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// The gradient of a filter over many tiles, whose pieces are uneven, against sums in float64 of some of its elements.
func TestGradientOverManyTiles(t *testing.T) {
	if cpu.This().Direct {
		t.Skip("direct convolutions only")
	}
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []shape.Conv{same3x3(70, 31, 29, 20, 12), same3x3(2050, 4, 4, 16, 36)} {
			d := newConvData(kerneltest.Rand(5), s)
			var dw, db []float32
			for threads := 1; threads <= 3; threads++ {
				if kerneltest.RaceDetector && threads != 2 { // it is a hundred times slower
					continue
				}
				parallel.SetThreads(threads)
				c, err := newConv(s)
				if err != nil {
					t.Fatal(err)
				}
				c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, kerneltest.Scratch(c.Scratch()))
				if dw == nil {
					dw, db = slices.Clone(d.dw), slices.Clone(d.db)
				}
				if err := cmp.Or(kerneltest.SameBits(d.dw, dw), kerneltest.SameBits(d.db, db)); err != nil {
					t.Errorf("%+v, %d threads: %v", s, threads, err)
				}
			}
			for i := 0; i < len(dw); i += 97 {
				want, abs := d.filterGradient(i)
				if e := math.Abs(float64(dw[i]) - want); e > 1e-6*abs {
					t.Errorf("%+v: dw[%d] = %v, want %v within %.1e", s, i, dw[i], want, 1e-6*abs)
				}
			}
		}
	})
}

// filterGradient is element i of the gradient of a 3x3 filter, summed in float64, and the sum of the absolute terms.
func (d *convData) filterGradient(i int) (sum, abs float64) {
	s := d.s
	k, c, tap := i%s.K, i/s.K%s.C, i/s.K/s.C
	for p := range s.N * s.H * s.W {
		y, x := p/s.W%s.H+tap/3-1, p%s.W+tap%3-1
		if y < 0 || x < 0 || y >= s.H || x >= s.W {
			continue
		}
		term := float64(d.dy[p*s.K+k]) * float64(d.x[((p/s.W/s.H*s.H+y)*s.W+x)*s.C+c])
		sum += term
		abs += math.Abs(term)
	}
	return sum, abs
}

// The gradient of a 1x1 filter of one input channel.
func TestOuterProductOfOneChannel(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	for _, threads := range []int{1, 2, 3} {
		parallel.SetThreads(threads)
		d := newConvData(kerneltest.Rand(3), shape.Conv{N: 300, H: 1, W: 1, C: 1, K: 200, R: 1, Stride: 1})
		if err := d.run(); err != nil {
			t.Fatal(err)
		}
		if err := d.check(); err != nil {
			t.Errorf("%d threads: %v", threads, err)
		}
	}
}
