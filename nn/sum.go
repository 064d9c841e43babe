package nn

import (
	"math/bits"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// treeSum adds the gradients of a batch's micro-batches in a binary tree that depends on their number only: each is added
// to that of the one beside it, the sums of two likewise, and so on; what has nobody beside it goes up as it is.
type treeSum struct {
	vec     *kernel.Vec
	sums    [][]float32 // of whole subtrees, from left to right, that wait for the one to their right
	sizes   []int       // how many micro-batches are in each
	waiting int
}

func newTreeSum() *treeSum { return &treeSum{vec: kernel.NewVec()} }

// treeSums is how many sums wait at most in the tree of so many micro-batches.
func treeSums(microBatches int) int { return bits.Len(uint(microBatches)) - 1 }

// start begins the sum of so many micro-batches of so many values each.
func (s *treeSum) start(microBatches, values int) {
	for len(s.sums) < treeSums(microBatches) {
		s.sums, s.sizes = append(s.sums, engine.AlignedFloats(values)), append(s.sizes, 0)
	}
	s.waiting = 0
}

// add adds the gradient of the next micro-batch. After the last one it returns the sum of all, which lies in grad where that is
// the only one, and else in the tree until the next start.
func (s *treeSum) add(grad []float32, last bool) []float32 {
	size := 1
	for s.waiting > 0 && (s.sizes[s.waiting-1] == size || last) {
		s.waiting--
		left := s.sums[s.waiting]
		s.vec.Add(left, left, grad)
		grad, size = left, s.sizes[s.waiting]+size
	}
	if last {
		return grad
	}
	if size == 1 {
		copy(s.sums[s.waiting], grad)
	}
	s.sizes[s.waiting] = size
	s.waiting++
	return nil
}
