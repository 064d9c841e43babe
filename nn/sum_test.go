package nn

import (
	"math/rand"
	"testing"
)

// noise is n random numbers.
func noise(n int, seed int64) []float32 {
	r, x := rand.New(rand.NewSource(seed)), make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// tree is the sum of values first to end by the definition: the left part is the largest power of two that leaves one to the right.
func tree(values []float32) (sum float32, shape string) {
	if len(values) == 1 {
		return values[0], "."
	}
	left := 1
	for 2*left < len(values) {
		left *= 2
	}
	a, as := tree(values[:left])
	b, bs := tree(values[left:])
	return a + b, "(" + as + bs + ")"
}

// The sum of any number of micro-batches has the bits of the tree, and as many sums wait as are foreseen.
func TestTreeSum(t *testing.T) {
	const values = 5
	s := newTreeSum()
	for n := 1; n <= 40; n++ {
		grads, part, waiting := noise(n*values, int64(n)), make([]float32, values), 0
		var got []float32
		s.start(n, values)
		for i := range n {
			copy(part, grads[i*values:])
			if got = s.add(part, i == n-1); (got != nil) != (i == n-1) {
				t.Fatalf("%d micro-batches: a sum after %d: %v", n, i+1, got)
			}
			waiting = max(waiting, s.waiting)
		}
		for j := range values {
			column := make([]float32, n)
			for i := range column {
				column[i] = grads[i*values+j]
			}
			if want, shape := tree(column); got[j] != want {
				t.Errorf("%d micro-batches: value %d is %v, not %v as by %s", n, j, got[j], want, shape)
			}
		}
		if waiting != treeSums(n) {
			t.Errorf("%d micro-batches: %d sums waited, %d were foreseen", n, waiting, treeSums(n))
		}
	}
	for n, want := range map[int]string{2: "(..)", 3: "((..).)", 5: "(((..)(..)).)", 7: "(((..)(..))((..).))"} {
		if _, shape := tree(make([]float32, n)); shape != want {
			t.Errorf("the test's tree of %d is %s, not %s", n, shape, want)
		}
	}
}
