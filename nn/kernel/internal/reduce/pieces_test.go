package reduce

import (
	"slices"
	"testing"

	"unstir/nn/kernel/internal/cpu"
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
