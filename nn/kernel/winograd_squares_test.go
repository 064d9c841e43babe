package kernel

import (
	"fmt"
	"math"
	"testing"
)

// squaredShapes have a filter's gradient that comes from registers: by F(6x6, 3x3), F(4x4, 3x3), F(2x2, 3x3) and of stride 2, small enough to
// be written to the caches and too large, and with a last group of few input channels.
var squaredShapes = []ConvShape{
	same3x3(2, 13, 13, 128, 128), same3x3(3, 6, 6, 130, 144), same3x3(2, 4, 4, 256, 256), same3x3(1, 12, 12, 40, 48),
}

func squaresOf(t *testing.T, s ConvShape) (dw, squares []float32) {
	t.Helper()
	if directOnly.Load() {
		t.Skip("direct convolutions have none")
	}
	d := newConvData(testRand(1), s)
	c, err := NewConv(s)
	if err != nil {
		t.Fatal(err)
	}
	squares = garbage(c.SquaresLen())
	c.BackwardWeightsSquared(d.dw, squares, d.db, d.dtemb, d.x, d.dy, garbageScratch(c.Scratch()))
	return d.dw, squares
}

// The sums of a gradient's squares are those of groups of input channels over all taps, for each output channel.
func TestSquaresOfFilterGradient(t *testing.T) {
	forLevels(t, func(t *testing.T, _ Level) {
		for _, s := range squaredShapes {
			dw, squares := squaresOf(t, s)
			want := make([]float64, len(squares))
			for i, x := range dw {
				want[i/s.K%s.C/squaredChannels*s.K+i%s.K] += float64(x) * float64(x)
			}
			if len(squares) != (s.C+squaredChannels-1)/squaredChannels*s.K {
				t.Errorf("%+v: %d sums", s, len(squares))
			}
			for i, x := range squares { // of up to 144 terms, all of one sign
				if math.Abs(float64(x)-want[i]) > 146*0x1p-24*want[i] {
					t.Errorf("%+v: sum %d of %v is %v", s, i, want[i], x)
					break
				}
			}
		}
	})
}

// To ask for them changes no bit of the gradient, and theirs depend neither on the threads nor on the width of the vectors.
func TestSquaresBits(t *testing.T) {
	defer SetThreads(Threads())
	for _, s := range squaredShapes {
		run := func() map[string][]float32 {
			dw, squares := squaresOf(t, s)
			return map[string][]float32{"dw": dw, "squares": squares}
		}
		SetThreads(1)
		want := run()
		d := newConvData(testRand(1), s)
		if err := d.run(); err != nil {
			t.Fatal(err)
		}
		if err := sameBits(want["dw"], d.dw); err != nil {
			t.Errorf("%+v: with and without squares: %v", s, err)
		}
		for _, threads := range []int{2, 3, 8} {
			SetThreads(threads)
			for name, got := range run() {
				if err := sameBits(got, want[name]); err != nil {
					t.Errorf("%+v, %d threads: %s: %v", s, threads, name, err)
				}
			}
		}
		equalOnVectorLevels(t, fmt.Sprintf("%+v", s), run)
	}
}

// Gradients that are summed over pieces of the images, over phases or by other algorithms come without.
func TestNoSquares(t *testing.T) {
	upsampled := same3x3(2, 8, 8, 64, 64)
	upsampled.Upsample = true
	for _, s := range []ConvShape{
		same3x3(64, 14, 14, 64, 64), same3x3(2, 8, 8, 128, 40), upsampled, {N: 2, H: 8, W: 8, C: 128, K: 128, R: 1, Stride: 1},
		{N: 2, H: 8, W: 8, C: 128, K: 128, R: 3, Stride: 2, PadBottom: 1, PadRight: 1},
	} {
		c, err := NewConv(s)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.SquaresLen(); n != 0 {
			t.Errorf("%+v: %d sums", s, n)
		}
	}
}
