package vec

import (
	"math"
	"testing"

	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

func TestPixelMeanIsTheMean(t *testing.T) {
	for _, s := range [][3]int{{1, 1, 1}, {3, 49, 64}, {2, 5, 17}, {4, 196, 8}} {
		n, pixels, c, r := s[0], s[1], s[2], kerneltest.Rand(1)
		x, dy := kerneltest.Randoms(r, n*pixels*c), kerneltest.Randoms(r, n*c)
		m, y, dx := NewPixelMean(n, pixels, c), kerneltest.Garbage(n*c), kerneltest.Garbage(n*pixels*c)
		m.Forward(y, x)
		m.Backward(dx, dy)
		for i := range n {
			for k := range c {
				var sum float64
				for p := range pixels {
					sum += float64(x[(i*pixels+p)*c+k])
					if got, want := dx[(i*pixels+p)*c+k], float64(dy[i*c+k])/float64(pixels); math.Abs(float64(got)-want) > 2e-7*math.Abs(want) {
						t.Fatalf("%v: the gradient of image %d, pixel %d, channel %d is %v, not %v", s, i, p, k, got, want)
					}
				}
				if got, want := y[i*c+k], sum/float64(pixels); math.Abs(float64(got)-want) > 1e-6 {
					t.Fatalf("%v: the mean of image %d, channel %d is %v, not %v", s, i, k, got, want)
				}
			}
		}
	}
}

func TestPixelMeanBits(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	const n, pixels, c = 5, 50, 37
	run := func() map[string][]float32 {
		r := kerneltest.Rand(2)
		m, y, dx := NewPixelMean(n, pixels, c), kerneltest.Garbage(n*c), kerneltest.Garbage(n*pixels*c)
		m.Forward(y, kerneltest.Randoms(r, n*pixels*c))
		m.Backward(dx, kerneltest.Randoms(r, n*c))
		return map[string][]float32{"y": y, "dx": dx}
	}
	parallel.SetThreads(1)
	want := run()
	parallel.SetThreads(3)
	for name, got := range run() {
		if err := kerneltest.SameBits(got, want[name]); err != nil {
			t.Errorf("3 threads: %s: %v", name, err)
		}
	}
}
