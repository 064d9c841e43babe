package conv

import (
	"testing"

	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// However many threads share few tiles, the bits are the same.
func TestThreadsChangeNoBits(t *testing.T) {
	if kerneltest.RaceDetector {
		t.Skip("a hundred times slower")
	}
	defer parallel.SetThreads(parallel.Threads())
	for _, s := range []shape.Conv{
		fixed(same3x3(6, 11, 15, 96, 216)), fixed(same3x3(4, 16, 16, 256, 256)), // few tiles of many channels
		same3x3(3, 27, 18, 33, 40), same3x3(5, 7, 7, 20, 36), up3x3(3, 8, 8, 48, 40),
	} {
		var want map[string][]float32
		for _, threads := range []int{1, 4, 5, 16} {
			parallel.SetThreads(threads)
			d := newConvData(kerneltest.Rand(3), s)
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = d.copyResults()
			}
			for name, got := range d.results() {
				if err := kerneltest.SameBits(got, want[name]); err != nil {
					t.Errorf("%+v, %d threads: %s: %v", s, threads, name, err)
				}
			}
		}
	}
}
