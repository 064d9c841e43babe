package norm

// kernels is the functions of one level. x, y, ... are some rows of as many floats as there are lanes, which sum, dot, sq, and
// the factors have one number for each; from a row to the next it is xStride floats in x and dx, yStride in y and dy.
type kernels struct {
	// stats adds x-around and (x-around)^2 of each lane to sum and sq.
	stats func(sum, sq, x, around []float32, xStride, rows int)

	// apply sets y = x*scale + off, and applySiLU SiLU of that. y may be x.
	apply, applySiLU func(y, x, scale, off []float32, yStride, xStride, rows int)

	// backSums adds dy and dy*(x-mean) of each lane to sum and dot.
	backSums func(sum, dot, dy, x, mean []float32, yStride, xStride, rows int)

	// backSumsSiLU is backSums of dz = dy*silu'(x*scale + off), which it stores with x's stride. dz may be dy.
	backSumsSiLU func(sum, dot, dz, dy, x, scale, off, mean []float32, yStride, xStride, rows int)

	// backApply sets dx = a*dz + (b*x + c), and backAdd adds that to dx; dz has a stride of its own. dx may be dz.
	backApply, backAdd func(dx, dz, x, a, b, c []float32, zStride, xStride, rows int)
}

// callSize is how many floats one call takes at most: assembly cannot be preempted, so that a call must stay under some tens of
// microseconds.
const callSize = 1 << 16

// inCalls calls f for some rows of a part, as many at a time as one call may take.
func (p *normPart) inCalls(row, rows int, f func(p *normPart, row, rows int)) {
	for most := max(1, callSize/p.width); rows > 0; {
		n := min(rows, most)
		f(p, row, n)
		row, rows = row+n, rows-n
	}
}
