package vec

// Kernels is the functions of one level. Slices have the length of the first, which is a multiple of 16; a result may take the
// place of an argument. No slice should be of an array on the stack: as the functions are called through variables, the compiler
// would move it to the heap.
type Kernels struct {
	add        func(dst, a, b []float32)                      // dst = a + b
	scaledDiff func(dst, a, b []float32, k float32)           // dst = k*(a - b)
	silu       func(dst, x []float32)                         // dst = x*sigmoid(x)
	siluBack   func(dx, x, dy []float32)                      // dx = dy times its derivative at x
	dropout    func(dst, x, u []float32, keep, scale float32) // dst = x*scale where u < keep, else 0

	// sumPairs adds the pixels of 2 rows, top and bottom [2w, c], by twos and twos to dst [w, c]; c is a multiple of 8:
	// (top left + top right) + (bottom left + bottom right).
	sumPairs func(dst, top, bottom []float32, w, c int)

	// Each of the sixteen lanes has a sixteenth of the sum, elements i, i+16, ... in order.
	sumSquares     func(x []float32) (lanes [16]float64)
	sumSquaredDiff func(a, b []float32) (lanes [16]float64)
	dot            func(a, b []float32) (lanes [16]float64)
}

// Where an element of the result is rounded once, what is left behind the last multiple of 16 may be computed in plain Go: the
// bits are the same. So it is with squares and products of float32, which are exact in float64.

// Add sets dst = a + b. The three have equal lengths; dst may be a or b.
func (k *Kernels) Add(dst, a, b []float32) {
	n := len(dst) &^ 15
	k.add(dst[:n], a[:n], b[:n])
	addGo(dst[n:], a[n:], b[n:])
}

// Dropout sets dst = x/keep where u < keep and 0 elsewhere; u is uniform in [0, 1). dst may be x.
func (k *Kernels) Dropout(dst, x, u []float32, keep float32) {
	n := len(dst) &^ 15
	k.dropout(dst[:n], x[:n], u[:n], keep, 1/keep)
	dropoutGo(dst[n:], x[n:], u[n:], keep, 1/keep)
}

// SumSquares is the sum of the squares of x in float64, in an order that depends on its length only.
func (k *Kernels) SumSquares(x []float32) float64 {
	n := len(x) &^ 15
	sums := k.sumSquares(x[:n])
	if n < len(x) {
		addLanes(&sums, sumSquaresGo(x[n:]))
	}
	return foldLanes(&sums)
}

// Dot is the sum of a[i]*b[i] in float64, in an order that depends on their length only.
func (k *Kernels) Dot(a, b []float32) float64 {
	n := len(a) &^ 15
	sums := k.dot(a[:n], b[:n])
	if n < len(a) {
		addLanes(&sums, dotGo(a[n:], b[n:]))
	}
	return foldLanes(&sums)
}

// sumSquaredDifferences is the sum of (a[i]-b[i])^2, the differences in float32, in an order that depends on their length only.
func (k *Kernels) sumSquaredDifferences(a, b []float32) float64 {
	n := len(a) &^ 15
	sums := k.sumSquaredDiff(a[:n], b[:n])
	if n < len(a) {
		addLanes(&sums, sumSquaredDiffGo(a[n:], b[n:]))
	}
	return foldLanes(&sums)
}

// scaledDifference sets dst = c*(a - b).
func (k *Kernels) scaledDifference(dst, a, b []float32, c float32) {
	n := len(dst) &^ 15
	k.scaledDiff(dst[:n], a[:n], b[:n], c)
	scaledDiffGo(dst[n:], a[n:], b[n:], c)
}

func addLanes(sums *[16]float64, more [16]float64) {
	for i, m := range more {
		sums[i] += m
	}
}

// foldLanes adds sixteen partial sums in a fixed tree.
func foldLanes(sums *[16]float64) float64 {
	for d := 8; d > 0; d /= 2 {
		for i := 0; i < d; i++ {
			sums[i] += sums[i+d]
		}
	}
	return sums[0]
}
