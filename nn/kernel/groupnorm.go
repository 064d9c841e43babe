package kernel

import (
	"fmt"
	"math"
)

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

func (g *GroupNorm) forwardWhole(s normSpace, image int) {
	for p := 0; p < g.pieces; p++ {
		g.stats(s, image, p)
	}
	g.fold(s, image)
	for p := 0; p < g.pieces; p++ {
		g.apply(s, image, p)
	}
}

func (g *GroupNorm) backwardWhole(s normSpace, image int) {
	g.prepare(s, image)
	for p := 0; p < g.pieces; p++ {
		g.backSums(s, image, p)
	}
	g.backFold(s, image)
	for p := 0; p < g.pieces; p++ {
		g.backApply(s, image, p)
	}
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

// around is the row of numbers that the lanes' sums are centred at: the image's first. It is one of the samples, so the
// sum of squares about it is at most HW times the one about the mean: the variance cannot lose more than HW roundings.
func (g *GroupNorm) around(s normSpace, image []float32) []float32 {
	if g.rows > 0 {
		return image[:g.lanes]
	}
	return s.in
}

// stats sums x-around and (x-around)^2 of each lane over a piece.
func (g *GroupNorm) stats(s normSpace, image, p int) {
	x := g.image(g.x, image)
	lo, hi, rows := g.piece(p)
	if g.rows == 0 {
		g.padTail(s.in, x, nil)
	}
	around := g.around(s, x)
	sum := s.parts[2*p*g.lanes : (2*p+1)*g.lanes]
	sq := s.parts[(2*p+1)*g.lanes : (2*p+2)*g.lanes]
	clear(sum)
	clear(sq)
	normStats(sum, sq, x[lo:hi], around, rows)
	if g.hasTail(p) && g.rows > 0 {
		g.padTail(s.in, x, around)
		normStats(sum, sq, s.in, around, 1)
	}
}

// addParts adds the pieces' sums into the first piece's.
func (g *GroupNorm) addParts(s normSpace) (first, second []float32) {
	total := s.parts[:2*g.lanes]
	for p := 1; p < g.pieces; p++ {
		addVec(total, total, s.parts[2*p*g.lanes:(2*p+2)*g.lanes])
	}
	return total[:g.lanes], total[g.lanes:]
}

// fold turns the lanes' sums into mean and rstd of the groups, and those into the factors of z.
func (g *GroupNorm) fold(s normSpace, image int) {
	sum, sq := g.addParts(s)
	around := g.around(s, g.image(g.x, image))
	c, per := g.s.C, g.s.C/g.s.Groups
	for q := 0; q < g.s.Groups; q++ {
		mean, rstd := g.moments(sum, sq, around, q*per, per)
		g.mean[image*g.s.Groups+q], g.rstd[image*g.s.Groups+q] = float32(mean), float32(rstd)
	}
	g.factors(s, image)
	repeat(s.scale, c)
	repeat(s.off, c)
}

// moments returns mean and 1/sqrt(variance+eps) of the group of per channels from first on: the lanes' sums, moved to a
// common centre, which again is a sample of the group.
func (g *GroupNorm) moments(sum, sq, around []float32, first, per int) (mean, rstd float64) {
	centre := float64(around[first])
	var total, m2 float64
	for base := first; base < g.lanes; base += g.s.C {
		n := float64(g.laneRows(base))
		a, q := around[base:base+per], sq[base:base+per]
		for l, f := range sum[base : base+per] {
			d, s := float64(a[l])-centre, float64(f)
			nd := float64(n * d)
			total += s + nd
			m2 += float64(q[l]) + float64(d*(2*s+nd))
		}
	}
	count := float64(g.s.HW * per)
	shift := total / count
	m2 -= float64(total * shift)
	if m2 < 0 { // rounding; NaN passes
		m2 = 0
	}
	return centre + shift, 1 / math.Sqrt(m2/count+g.s.Eps)
}

// laneRows is how many pixels a lane has summed.
func (g *GroupNorm) laneRows(lane int) int {
	if lane < g.tail {
		return g.rows + 1
	}
	return g.rows
}

// factors sets the first C entries of scale and off so that z = x*scale + off.
func (g *GroupNorm) factors(s normSpace, image int) {
	per := g.s.C / g.s.Groups
	ss := g.imageSS(g.ss, image)
	for q := 0; q < g.s.Groups; q++ {
		mean, rstd := float64(g.mean[image*g.s.Groups+q]), float64(g.rstd[image*g.s.Groups+q])
		scale, off := s.scale[:g.s.C], s.off[:g.s.C]
		gamma, beta := g.gamma[:g.s.C], g.beta[:g.s.C]
		for c := q * per; c < (q+1)*per; c++ {
			a := rstd * float64(gamma[c])
			b := float64(beta[c]) - float64(mean*a)
			if ss != nil {
				k := 1 + float64(ss[c])
				a, b = a*k, float64(b*k)+float64(ss[g.s.C+c])
			}
			scale[c], off[c] = float32(a), float32(b)
		}
	}
}

// imageSS is the part of ss or dss of an image, nil without ScaleShift.
func (g *GroupNorm) imageSS(ss []float32, image int) []float32 {
	if !g.s.ScaleShift {
		return nil
	}
	return ss[2*image*g.s.C : 2*(image+1)*g.s.C]
}

// repeat fills a row with copies of its first c entries.
func repeat(row []float32, c int) {
	for n := c; n < len(row); n *= 2 {
		copy(row[n:], row[:n])
	}
}

// apply writes y for a piece.
func (g *GroupNorm) apply(s normSpace, image, p int) {
	x, y := g.image(g.x, image), g.image(g.y, image)
	lo, hi, rows := g.piece(p)
	normApply(y[lo:hi], x[lo:hi], s.scale, s.off, rows, g.s.SiLU)
	if g.hasTail(p) {
		g.padTail(s.in, x, nil)
		normApply(s.out, s.in, s.scale, s.off, 1, g.s.SiLU)
		copy(y[g.size-g.tail:], s.out[:g.tail])
	}
}

// prepare sets the factors that the backward pass starts from.
func (g *GroupNorm) prepare(s normSpace, image int) {
	per := g.s.C / g.s.Groups
	g.factors(s, image)
	for q, mean := range g.mean[image*g.s.Groups : (image+1)*g.s.Groups] {
		for c := q * per; c < (q+1)*per; c++ {
			s.mean[c] = mean
		}
	}
	repeat(s.scale, g.s.C)
	repeat(s.off, g.s.C)
	repeat(s.mean, g.s.C)
}

// backSums sums dz and dz*(x-mean) of each lane over a piece. With SiLU it leaves dz = dy*silu'(z) in dx.
func (g *GroupNorm) backSums(s normSpace, image, p int) {
	x, dy, dx := g.image(g.x, image), g.image(g.dy, image), g.image(g.dx, image)
	lo, hi, rows := g.piece(p)
	sum := s.parts[2*p*g.lanes : (2*p+1)*g.lanes]
	dot := s.parts[(2*p+1)*g.lanes : (2*p+2)*g.lanes]
	clear(sum)
	clear(dot)
	g.sumRows(s, sum, dot, dx[lo:hi], dy[lo:hi], x[lo:hi], rows)
	if g.hasTail(p) {
		g.padTail(s.in, x, nil)
		g.padTail(s.in2, dy, nil)
		g.sumRows(s, sum, dot, s.out, s.in2, s.in, 1)
		if g.s.SiLU {
			copy(dx[g.size-g.tail:], s.out[:g.tail])
		}
	}
}

func (g *GroupNorm) sumRows(s normSpace, sum, dot, dz, dy, x []float32, rows int) {
	if g.s.SiLU {
		normBackSumsSiLU(sum, dot, dz, dy, x, s.scale, s.off, s.mean, rows)
	} else {
		normBackSums(sum, dot, dy, x, s.mean, rows)
	}
}

// backFold turns the lanes' sums into the image's gradients of gamma, beta and ss, and into the factors of
//
//	dx = rstd*(k*dz - mean(k*dz) - xhat*mean(k*dz*xhat)), k = gamma*(1+scale), means over the group.
func (g *GroupNorm) backFold(s normSpace, image int) {
	sum, dot := g.addParts(s)
	c := g.s.C
	for l := c; l < g.lanes; l += c { // a channel's lanes, in order
		addGo(sum[:c], sum[:c], sum[l:l+c])
		addGo(dot[:c], dot[:c], dot[l:l+c])
	}
	per := c / g.s.Groups
	ss, dss := g.imageSS(g.ss, image), g.imageSS(g.dss, image)
	dgamma, dbeta := g.sums[2*image*c:][:c], g.sums[(2*image+1)*c:][:c]
	for q := 0; q < g.s.Groups; q++ {
		mean, rstd := float64(g.mean[image*g.s.Groups+q]), float64(g.rstd[image*g.s.Groups+q])
		var m1, m2 float64
		for i := q * per; i < (q+1)*per; i++ {
			k := 1.0
			s1, s2 := float64(sum[i]), float64(dot[i])*rstd // sums of dz and of dz*xhat
			if ss != nil {
				k += float64(ss[i])
				dss[i] = float32(float64(float64(g.gamma[i])*s2) + float64(float64(g.beta[i])*s1))
				dss[c+i] = sum[i]
			}
			dgamma[i], dbeta[i] = float32(k*s2), float32(k*s1)
			k *= float64(g.gamma[i])
			m1 += float64(k * s1)
			m2 += float64(k * s2)
			s.a[i] = float32(rstd * k)
		}
		count := float64(g.s.HW * per)
		b := -rstd * rstd * (m2 / count)
		off := -float64(rstd*(m1/count)) - float64(b*mean)
		for i := q * per; i < (q+1)*per; i++ {
			s.b[i], s.c[i] = float32(b), float32(off)
		}
	}
	repeat(s.a, c)
	repeat(s.b, c)
	repeat(s.c, c)
}

// backApply writes dx for a piece; with SiLU dz is already there.
func (g *GroupNorm) backApply(s normSpace, image, p int) {
	x, dx := g.image(g.x, image), g.image(g.dx, image)
	dz := dx
	if !g.s.SiLU {
		dz = g.image(g.dy, image)
	}
	lo, hi, rows := g.piece(p)
	normBackApply(dx[lo:hi], dz[lo:hi], x[lo:hi], s.a, s.b, s.c, rows)
	if g.hasTail(p) {
		g.padTail(s.in, x, nil)
		g.padTail(s.in2, dz, nil)
		normBackApply(s.out, s.in2, s.in, s.a, s.b, s.c, 1)
		copy(dx[g.size-g.tail:], s.out[:g.tail])
	}
}
