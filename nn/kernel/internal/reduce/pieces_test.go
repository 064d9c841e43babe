package reduce

import (
	"slices"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

func TestPiecesAreAllImages(t *testing.T) {
	for count := 1; count <= 9; count++ {
		p, seen := New(count, 1, cpu.Info{}), make([]bool, count)
		for i := range count {
			seen[p.At(i)] = true
		}
		if slices.Contains(seen, false) {
			t.Errorf("%d pieces: not each has its turn: %v", count, seen)
		}
	}
	for _, p := range []*Pieces{New(1, 1, cpu.Info{}), New(5, 1, cpu.Info{}), NewUneven([]int{3, 1, 3, 1}, 1, cpu.Info{}), NewUneven([]int{4, 2, 1, 1, 4, 2, 1, 1}, 1, cpu.Info{})} {
		for _, n := range []int{p.Count, 32, 33, 1000} {
			at := 0
			for i := range p.Count {
				first, end := p.Cut(n, i)
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

// The gradient is the sum of the pieces in their order, whatever the threads.
func TestFinishAddsInOrder(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		const size = 3*addChunk + 77
		for _, count := range []int{1, 2, 5} {
			r, want := kerneltest.Rand(uint64(count)), make([]float32, size)
			parts := kerneltest.Randoms(r, count*size)
			for i := range count {
				for j := range want {
					want[j] += parts[i*size+j]
				}
			}
			kerneltest.WithThreads(t, []int{1, 3}, func(threads int) {
				p, dw := New(count, size, cpu.This()), kerneltest.Garbage(size)
				p.Start(dw, kerneltest.Garbage(p.Scratch()))
				for i := range count {
					copy(p.Of(p.At(i)), parts[p.At(i)*size:])
				}
				p.Finish()
				if err := kerneltest.SameBits(dw, want); err != nil {
					t.Errorf("%d pieces, %d threads: %v", count, threads, err)
				}
			})
		}
	})
}

func BenchmarkFinish(b *testing.B) {
	const count, size = 4, 9 * 256 * 256
	p := New(count, size, cpu.This())
	p.Start(make([]float32, size), make([]float32, p.Scratch()))
	kerneltest.Benchmark(b, "4x590K", (count+1)*size, p.Finish)
}
