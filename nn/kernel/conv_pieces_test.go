package kernel

import (
	"cmp"
	"math"
	"slices"
	"testing"
)

func TestPiecesAreAllImages(t *testing.T) {
	for count := 1; count <= 9; count++ {
		p, seen := newPieces(count, 1), make([]bool, count)
		for i := range count {
			seen[p.at(i)] = true
		}
		if slices.Contains(seen, false) {
			t.Errorf("%d pieces: not each has its turn: %v", count, seen)
		}
	}
	for _, p := range []*pieces{newPieces(1, 1), newPieces(5, 1), newUnevenPieces([]int{3, 1, 3, 1}, 1), newWeightsPieces(32, 2048, 1, 1), newWeightsPieces(32, 2048, 9, 1)} {
		for _, n := range []int{p.count, 32, 33, 1000} {
			at := 0
			for i := range p.count {
				first, end := p.cut(n, i)
				if first != at || end < first || end == first && n >= 32 {
					t.Errorf("%d images, piece %d of %v: %d to %d, want from %d", n, i, p.ends, first, end, at)
				}
				at = end
			}
			if at != n {
				t.Errorf("%d images, pieces %v: they end at %d", n, p.ends, at)
			}
		}
	}
}

// The gradient of a filter over many patches, whose pieces are uneven, against sums in float64 of some of its elements.
func TestGradientOverManyPatches(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	defer SetThreads(Threads())
	forLevels(t, func(t *testing.T, _ Level) {
		for _, s := range []ConvShape{same3x3(70, 31, 29, 20, 12), same3x3(2050, 4, 4, 16, 36)} {
			d := newConvData(testRand(5), s)
			var dw, db []float32
			for threads := 1; threads <= 3; threads++ {
				if raceDetector && threads != 2 { // it is a hundred times slower
					continue
				}
				SetThreads(threads)
				c, err := NewConv(s)
				if err != nil {
					t.Fatal(err)
				}
				if n := c.winograd.pieces.count; n != 8 {
					t.Fatalf("%+v: %d pieces, want 8", s, n)
				}
				c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, garbageScratch(c.Scratch()))
				if dw == nil {
					dw, db = slices.Clone(d.dw), slices.Clone(d.db)
				}
				if err := cmp.Or(sameBits(d.dw, dw), sameBits(d.db, db)); err != nil {
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

// The gradient of a 1x1 filter of few input channels is not cut into blocks without any.
func TestBlocksOfOuterProductHaveChannels(t *testing.T) {
	is := isaOf(ActiveLevel())
	for threads := 1; threads <= 33; threads++ {
		for _, inputs := range []int{1, 2, 3, 15, 16, 17, 20, 33, 64, 65, 130, 256, 300} {
			for _, outputs := range []int{1, 32, 33, 160, 200, 256, 400} {
				for _, rows := range []int{8, 300, 3000} {
					o := newOuter(ConvShape{N: rows, H: 1, W: 1, C: inputs, K: outputs, R: 1, Stride: 1}, threads, is)
					for b := range o.blocks {
						if n := inputs*(b+1)/o.blocks - inputs*b/o.blocks; n < 1 || n > o.lefts {
							t.Fatalf("%d rows, %d to %d channels, %d threads: block %d of %d has %d channels, at most %d", rows, inputs, outputs, threads, b, o.blocks, n, o.lefts)
						}
					}
				}
			}
		}
	}
	defer SetThreads(Threads())
	for _, threads := range []int{1, 2, 3} {
		SetThreads(threads)
		d := newConvData(testRand(3), ConvShape{N: 300, H: 1, W: 1, C: 1, K: 200, R: 1, Stride: 1})
		if err := d.run(); err != nil {
			t.Fatal(err)
		}
		if err := d.check(); err != nil {
			t.Errorf("%d threads: %v", threads, err)
		}
	}
}
