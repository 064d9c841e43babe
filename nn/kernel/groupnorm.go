package kernel

import "fmt"

// GroupNormShape is the shape of a group norm, with what is fused behind it:
//
//	z = (x - mean)*rstd*gamma + beta, mean and rstd = 1/sqrt(variance + Eps) over the pixels and channels of a group
//	z = z*(1 + scale) + shift     when ScaleShift (the time embedding of ADM-style blocks)
//	y = z*sigmoid(z)              when SiLU
//
// Group Normalization (Wu and He, 2018), eq. 1-3; variance is the mean of squares, not the unbiased one.
type GroupNormShape struct {
	N      int // images
	HW     int // pixels of an image
	C      int // channels
	Groups int // a divisor of C; group g is channels g*C/Groups ...
	Eps    float64

	SiLU, ScaleShift bool
}

func (s GroupNormShape) validate() error {
	switch {
	case s.N < 1 || s.HW < 1 || s.C < 1 || s.Groups < 1:
		return fmt.Errorf("kernel: group norm %+v: N, HW, C and Groups must be at least 1", s)
	case s.C%s.Groups != 0:
		return fmt.Errorf("kernel: group norm %+v: Groups must divide C", s)
	case !(s.Eps >= 0):
		return fmt.Errorf("kernel: group norm %+v: Eps must not be negative", s)
	}
	return nil
}

// An image is taken as rows of a whole number of pixels, lcm(C, normBlock) floats long, so that a position in a row always
// holds the same channel and a row has no vector tail, whatever C. Sums run down the rows, one per position ("lane"), and
// are folded into channels and groups in float64. The last pixels, where they do not fill a row, are copied into a padded
// one. Rows are cut into a fixed number of pieces whose sums are added in order, so that the threads can share a
// single image and still give the bits that one thread gives.
const (
	normBlock  = 64      // floats: what the kernels sum in registers
	normPiece  = 1 << 14 // floats of a piece, at least
	normPieces = 4       // pieces of an image, at most
	normShared = 8       // up to this many images, threads may share an image
)

// GroupNorm is the plan of one group norm. It serves one goroutine at a time. Slices have these lengths:
//
//	x, y, dx, dy [N, HW, C]    gamma, beta, dgamma, dbeta [C]    ss, dss [N, 2C] (scale, then shift)
//	mean, rstd [N, Groups]
type GroupNorm struct {
	s       GroupNormShape
	size    int // floats of an image
	lanes   int // floats of a row
	rows    int // full rows of an image
	tail    int // floats of the last, shorter row
	pieces  int
	perRows int // rows of a piece
	spaces  int // images that can be in work at a time

	y, x, gamma, beta, ss, mean, rstd []float32
	dx, dss, dy                       []float32
	sums                              []float32 // [N, 2, C]: each image's part of dgamma and dbeta
	scratch                           []float32

	forwardImage, backwardImage                   func(worker, i int)
	statsTask, foldTask, applyTask                func(i int)
	prepareTask, sumsTask, backFoldTask, backTask func(i int)
}

// NewGroupNorm makes a plan; it returns an error when the shape makes no sense.
func NewGroupNorm(s GroupNormShape) (*GroupNorm, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	g := &GroupNorm{s: s, size: s.HW * s.C, lanes: s.C / gcd(s.C, normBlock) * normBlock}
	g.rows, g.tail = g.size/g.lanes, g.size%g.lanes
	g.pieces = min(normPieces, max(1, g.size/normPiece), max(1, g.rows))
	g.perRows = (g.rows + g.pieces - 1) / g.pieces
	g.spaces = min(s.N, max(Threads(), normShared))
	g.forwardImage = func(worker, i int) { g.forwardWhole(g.space(worker), i) }
	g.backwardImage = func(worker, i int) { g.backwardWhole(g.space(worker), i) }
	g.statsTask = func(i int) { g.stats(g.space(i/g.pieces), i/g.pieces, i%g.pieces) }
	g.foldTask = func(i int) { g.fold(g.space(i), i) }
	g.applyTask = func(i int) { g.apply(g.space(i/g.pieces), i/g.pieces, i%g.pieces) }
	g.prepareTask = func(i int) { g.prepare(g.space(i), i) }
	g.sumsTask = func(i int) { g.backSums(g.space(i/g.pieces), i/g.pieces, i%g.pieces) }
	g.backFoldTask = func(i int) { g.backFold(g.space(i), i) }
	g.backTask = func(i int) { g.backApply(g.space(i/g.pieces), i/g.pieces, i%g.pieces) }
	return g, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// normSpace is the scratch of one image: rows of lanes floats.
type normSpace struct {
	parts      []float32 // [pieces, 2, lanes] sums
	scale, off []float32 // z = x*scale + off
	mean       []float32 // of the lane's group
	a, b, c    []float32 // dx = a*dz + b*x + c
	in, in2    []float32 // padded copies of the last, shorter row
	out        []float32
}

func (g *GroupNorm) spaceLen() int { return (2*g.pieces + 9) * g.lanes }

func (g *GroupNorm) space(i int) (s normSpace) {
	mem := g.scratch[i*g.spaceLen() : (i+1)*g.spaceLen()]
	take := func(n int) []float32 {
		part := mem[: n*g.lanes : n*g.lanes]
		mem = mem[n*g.lanes:]
		return part
	}
	s.parts = take(2 * g.pieces)
	s.scale, s.off, s.mean = take(1), take(1), take(1)
	s.a, s.b, s.c = take(1), take(1), take(1)
	s.in, s.in2, s.out = take(1), take(1), take(1)
	return s
}

// Scratch is the number of floats of scratch that Forward and Backward need.
func (g *GroupNorm) Scratch() int { return g.spaces*g.spaceLen() + 2*g.s.N*g.s.C }

// shared says whether the threads share images: where whole images would leave a thread idle for long.
func (g *GroupNorm) shared() bool {
	t := Threads()
	return t > 1 && g.pieces > 1 && g.s.N <= normShared && g.s.N%t != 0
}

// Forward computes y, and the mean and rstd of each group of each image. ss is read when the shape has ScaleShift.
// y may be x.
func (g *GroupNorm) Forward(y, x, gamma, beta, ss, mean, rstd, scratch []float32) {
	g.y, g.x, g.gamma, g.beta, g.ss, g.mean, g.rstd, g.scratch = y, x, gamma, beta, ss, mean, rstd, scratch
	n := g.s.N
	if g.shared() {
		Parallel(n*g.pieces, g.statsTask)
		Parallel(n, g.foldTask)
		Parallel(n*g.pieces, g.applyTask)
	} else {
		parallelBy(n, g.spaces, g.forwardImage)
	}
	g.release()
}

// Backward computes the gradients of x, gamma, beta and (when the shape has ScaleShift) ss from dy and from what Forward
// was given and wrote. It overwrites. dx may be dy. dgamma and dbeta are sums over images, in order.
func (g *GroupNorm) Backward(dx, dgamma, dbeta, dss, dy, x, gamma, beta, ss, mean, rstd, scratch []float32) {
	g.x, g.gamma, g.beta, g.ss, g.mean, g.rstd, g.scratch = x, gamma, beta, ss, mean, rstd, scratch
	g.dx, g.dy, g.dss = dx, dy, dss
	g.sums = scratch[g.spaces*g.spaceLen():][:2*g.s.N*g.s.C]
	n, c := g.s.N, g.s.C
	if g.shared() {
		Parallel(n, g.prepareTask)
		Parallel(n*g.pieces, g.sumsTask)
		Parallel(n, g.backFoldTask)
		Parallel(n*g.pieces, g.backTask)
	} else {
		parallelBy(n, g.spaces, g.backwardImage)
	}
	copy(dgamma[:c], g.sums)
	copy(dbeta[:c], g.sums[c:])
	for i := 1; i < n; i++ {
		addVec(dgamma[:c], dgamma[:c], g.sums[2*i*c:(2*i+1)*c])
		addVec(dbeta[:c], dbeta[:c], g.sums[(2*i+1)*c:(2*i+2)*c])
	}
	g.release()
}

func (g *GroupNorm) release() {
	g.y, g.x, g.gamma, g.beta, g.ss, g.mean, g.rstd, g.scratch = nil, nil, nil, nil, nil, nil, nil, nil
	g.dx, g.dy, g.dss, g.sums = nil, nil, nil, nil
}

// image is image i of a tensor.
func (g *GroupNorm) image(x []float32, i int) []float32 { return x[i*g.size : (i+1)*g.size] }

// piece is the range of floats of full rows in a piece, and how many rows that is.
func (g *GroupNorm) piece(p int) (lo, hi, rows int) {
	first := min(p*g.perRows, g.rows)
	rows = min(g.perRows, g.rows-first)
	return first * g.lanes, (first + rows) * g.lanes, rows
}

// hasTail says whether the shorter row belongs to piece p.
func (g *GroupNorm) hasTail(p int) bool { return g.tail > 0 && p == g.pieces-1 }

// padTail copies the shorter row of an image to row and fills up with pad.
func (g *GroupNorm) padTail(row, image, pad []float32) {
	copy(row, image[g.size-g.tail:])
	if pad == nil {
		clear(row[g.tail:])
	} else {
		copy(row[g.tail:], pad[g.tail:])
	}
}
