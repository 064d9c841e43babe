package direct

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/shape"
)

// The gradient of a 1x1 filter of few input channels is not cut into blocks without any.
func TestBlocksOfOuterProductHaveChannels(t *testing.T) {
	for threads := 1; threads <= 33; threads++ {
		for _, inputs := range []int{1, 2, 3, 15, 16, 17, 20, 33, 64, 65, 130, 256, 300} {
			for _, outputs := range []int{1, 32, 33, 160, 200, 256, 400} {
				for _, rows := range []int{8, 300, 3000} {
					o := NewOuter(shape.Conv{N: rows, H: 1, W: 1, C: inputs, K: outputs, R: 1, Stride: 1}, Matrix, false, threads, cpu.This())
					for b := range o.blocks {
						if n := inputs*(b+1)/o.blocks - inputs*b/o.blocks; n < 1 || n > o.lefts {
							t.Fatalf("%d rows, %d to %d channels, %d threads: block %d of %d has %d channels, at most %d", rows, inputs, outputs, threads, b, o.blocks, n, o.lefts)
						}
					}
				}
			}
		}
	}
}
