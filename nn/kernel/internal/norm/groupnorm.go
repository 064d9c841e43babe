package norm

import (
	"fmt"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/vec"
)

// Shape is the shape of a group norm, with what is fused behind it:
//
//	z = (x - mean)*rstd*gamma + beta, mean and rstd = 1/sqrt(variance + Eps) over the pixels and channels of a group
//	z = z*(1 + scale) + shift     when ScaleShift (the time embedding of ADM-style blocks)
//	y = z*sigmoid(z)              when SiLU
//
// Group Normalization (Wu and He, 2018), eq. 1-3; variance is the mean of squares, not the unbiased one.
type Shape struct {
	N      int // images
	HW     int // pixels of an image
	C      int // channels
	Second int // how many of the channels, the last ones, x has in a second tensor (see Forward); 0: none
	Groups int // a divisor of C; group g is channels g*C/Groups ...
	Eps    float64

	SiLU, ScaleShift bool
}

func (s Shape) validate() error {
	switch {
	case s.N < 1 || s.HW < 1 || s.C < 1 || s.Groups < 1:
		return fmt.Errorf("kernel: group norm %+v: N, HW, C and Groups must be at least 1", s)
	case s.C%s.Groups != 0:
		return fmt.Errorf("kernel: group norm %+v: Groups must divide C", s)
	case s.Second < 0 || s.Second >= s.C:
		return fmt.Errorf("kernel: group norm %+v: Second must be at least 0 and below C", s)
	case !(s.Eps >= 0):
		return fmt.Errorf("kernel: group norm %+v: Eps must not be negative", s)
	}
	return nil
}

// An image is taken as rows of a whole number of pixels, lcm(C, normBlock) floats long, so that a position in a row always
// holds the same channel and a row has no vector tail, whatever C. Sums run down the rows, one per position ("lane"), and
// are folded into channels and groups in float64. The last pixels, where they do not fill a row, are a shorter one. Rows
// are cut into a fixed number of pieces whose sums are added in order, so that the threads can share a single image and
// still give the bits that one thread gives.
//
// Where x is in two tensors, a row is in parts: a pixel's channels in one of them each. A lane is summed as before, and so
// two tensors give the bits that one with the channels of both gives.
const (
	normBlock  = 64      // floats: what the kernels sum in registers at a time
	normPiece  = 1 << 14 // floats of a piece, at least
	normPieces = 4       // pieces of an image, at most
	normShared = 8       // up to this many images, threads may share an image
)

// GroupNorm is the plan of one group norm. It serves one goroutine at a time. Slices have these lengths:
//
//	x, y, dx, dy [N, HW, C]    gamma, beta, dgamma, dbeta [C]    ss, dss [N, 2C] (scale, then shift)
//	mean, rstd [N, Groups]     xa, dxa [N, HW, C-Second]    xb, dxb [N, HW, Second]
type GroupNorm struct {
	kernels  *kernels
	vec      *vec.Kernels
	s        Shape
	size     int // floats of an image
	lanes    int // floats of a row
	rows     int // full rows of an image
	tail     int // floats of the last, shorter row
	pieces   int
	perRows  int       // rows of a piece
	spaces   int       // images that can be in work at a time
	sumParts normParts // for sums by lane
	mapParts normParts // for y and dx

	x, dx                              [2][]float32
	y, gamma, beta, ss, mean, rstd, dy []float32
	dss                                []float32
	sums                               []float32 // [N, 2, C]: each image's part of dgamma and dbeta
	scratch, dz                        []float32
	add                                [2]bool // whether a tensor's gradient is added to what is in dx

	forwardImage, backwardImage                   func(worker, i int)
	statsTask, foldTask, applyTask                func(i int)
	prepareTask, sumsTask, backFoldTask, backTask func(i int)
}

// normParts are the parts of an image's rows, and of the shorter row.
type normParts struct{ rows, last []normPart }

// normPart is a part of each row that is without gaps in memory, in x and in y.
type normPart struct {
	lane, width int
	pixels      int // of a row; where no lane is summed, a row may be one pixel
	source      int // which of x's tensors
	x, xStride  int // where row 0 is in an image of that tensor and of its gradient, and how far it is to the next
	y, yStride  int // the same in y and dy
}

// New makes a plan for a machine; it returns an error when the shape makes no sense.
func New(s Shape, c cpu.Info) (*GroupNorm, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	g := &GroupNorm{kernels: of(c), vec: vec.Of(c), s: s, size: s.HW * s.C, lanes: s.C / gcd(s.C, normBlock) * normBlock}
	g.rows, g.tail = g.size/g.lanes, g.size%g.lanes
	g.pieces = min(normPieces, max(1, g.size/normPiece), max(1, g.rows))
	g.perRows = (g.rows + g.pieces - 1) / g.pieces
	g.spaces = min(s.N, max(parallel.Threads(), normShared))
	g.sumParts, g.mapParts = g.makeParts()
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

// makeParts lists the parts. One tensor has one, all lanes.
func (g *GroupNorm) makeParts() (sums, maps normParts) {
	perRow := g.lanes / g.s.C
	if g.s.Second == 0 {
		all := normPart{width: g.lanes, pixels: perRow, xStride: g.lanes, yStride: g.lanes}
		sums.rows = []normPart{all}
		if all.width = g.tail; g.tail > 0 {
			sums.last = []normPart{all}
		}
		return sums, sums
	}
	sums.rows = g.pixelParts(perRow, perRow)
	sums.last = g.pixelParts(g.tail/g.s.C, perRow)
	maps.rows = g.pixelParts(1, 1)
	if g.tail > 0 {
		maps.last = maps.rows
	}
	return sums, maps
}

// pixelParts are the parts of the first n pixels of a row of perRow pixels in two tensors.
func (g *GroupNorm) pixelParts(n, perRow int) (parts []normPart) {
	for p := 0; p < n; p++ {
		lane := p * g.s.C
		for source, c := range [2]int{g.s.C - g.s.Second, g.s.Second} {
			parts = append(parts, normPart{
				lane: lane, width: c, pixels: perRow, source: source,
				x: p * c, xStride: perRow * c, y: lane, yStride: perRow * g.s.C,
			})
			lane += c
		}
	}
	return parts
}

// normSpace is the scratch of one image: rows of lanes floats.
type normSpace struct {
	parts      []float32 // [pieces, 2, lanes] sums
	scale, off []float32 // z = x*scale + off
	mean       []float32 // of the lane's group
	a, b, c    []float32 // dx = a*dz + b*x + c
	first      []float32 // the image's first row
	dz         []float32 // gradient of z, tensor by tensor, where dx has no room for it
}

func (g *GroupNorm) spaceLen() int { return (2*g.pieces + 7) * g.lanes }

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
	s.first = take(1)
	if g.dz != nil {
		s.dz = g.dz[i*g.size : (i+1)*g.size]
	}
	return s
}

// Scratch is how much scratch Forward and Backward need.
func (g *GroupNorm) Scratch() parallel.ScratchSize {
	return parallel.ScratchSize{Shared: g.spaces*g.spaceLen() + 2*g.s.N*g.s.C + g.dzLen()}
}

// dzLen is the room for the gradients of z of the images in work, where dx has none because it is added to.
func (g *GroupNorm) dzLen() int {
	if !g.s.SiLU {
		return 0
	}
	return g.spaces * g.size
}

// shared says whether the threads share images: where whole images would leave a thread idle for long.
func (g *GroupNorm) shared() bool {
	t := parallel.Threads()
	return t > 1 && g.pieces > 1 && g.s.N <= normShared && g.s.N%t != 0
}

// Forward computes y, and the mean and rstd of each group of each image. The first C-Second channels of x are xa and the others
// xb, with the same bits. ss is read when the shape has ScaleShift. Without Second, y may be xa.
func (g *GroupNorm) Forward(y, xa, xb, gamma, beta, ss, mean, rstd []float32, scratch parallel.Scratch) {
	g.x = [2][]float32{xa, xb}
	g.y, g.gamma, g.beta, g.ss, g.mean, g.rstd, g.scratch = y, gamma, beta, ss, mean, rstd, scratch.Shared
	n := g.s.N
	if g.shared() {
		parallel.For(n*g.pieces, g.statsTask)
		parallel.For(n, g.foldTask)
		parallel.For(n*g.pieces, g.applyTask)
	} else {
		parallel.ForWorkers(n, g.spaces, g.forwardImage)
	}
	g.release()
}

// Backward computes the gradients of xa, xb, gamma, beta and (when the shape has ScaleShift) ss from dy and from what Forward was
// given and wrote. It overwrites, but with add, the gradient of xa or xb is added to what dxa or dxb holds. Without Second, dxa is
// the gradient of x. dxa may be dy where there is neither Second nor add. dgamma and dbeta are sums over images, in order.
func (g *GroupNorm) Backward(dxa, dxb []float32, add [2]bool, dgamma, dbeta, dss, dy, xa, xb, gamma, beta, ss, mean, rstd []float32, scratch parallel.Scratch) {
	g.x, g.dx = [2][]float32{xa, xb}, [2][]float32{dxa, dxb}
	g.gamma, g.beta, g.ss, g.mean, g.rstd, g.scratch = gamma, beta, ss, mean, rstd, scratch.Shared
	g.dy, g.dss = dy, dss
	g.sums = g.scratch[g.spaces*g.spaceLen():][:2*g.s.N*g.s.C]
	g.dz, g.add = nil, add
	if g.s.SiLU && (add[0] || add[1]) {
		g.dz = g.scratch[g.spaces*g.spaceLen()+len(g.sums):][:g.dzLen()]
	}
	n, c := g.s.N, g.s.C
	if g.shared() {
		parallel.For(n, g.prepareTask)
		parallel.For(n*g.pieces, g.sumsTask)
		parallel.For(n, g.backFoldTask)
		parallel.For(n*g.pieces, g.backTask)
	} else {
		parallel.ForWorkers(n, g.spaces, g.backwardImage)
	}
	copy(dgamma[:c], g.sums)
	copy(dbeta[:c], g.sums[c:])
	for i := 1; i < n; i++ {
		g.vec.Add(dgamma[:c], dgamma[:c], g.sums[2*i*c:(2*i+1)*c])
		g.vec.Add(dbeta[:c], dbeta[:c], g.sums[(2*i+1)*c:(2*i+2)*c])
	}
	g.release()
}

func (g *GroupNorm) release() {
	g.x, g.dx = [2][]float32{}, [2][]float32{}
	g.y, g.gamma, g.beta, g.ss, g.mean, g.rstd, g.scratch = nil, nil, nil, nil, nil, nil, nil
	g.dy, g.dss, g.sums, g.dz = nil, nil, nil, nil
}

// image is image i of y or dy.
func (g *GroupNorm) image(y []float32, i int) []float32 { return y[i*g.size : (i+1)*g.size] }

// source is image i of the tensor of x, or of dx, that the part is in.
func (g *GroupNorm) source(x *[2][]float32, p *normPart, i int) []float32 {
	c := g.s.C - g.s.Second
	if p.source > 0 {
		c = g.s.Second
	}
	return x[p.source][i*g.s.HW*c : (i+1)*g.s.HW*c]
}

// dzOf is where the gradient of z of the tensor of the part is kept: in the image's dx, or in scratch memory.
func (g *GroupNorm) dzOf(s normSpace, p *normPart, image int) []float32 {
	switch {
	case s.dz == nil:
		return g.source(&g.dx, p, image)
	case p.source > 0:
		return s.dz[g.s.HW*(g.s.C-g.s.Second):]
	}
	return s.dz
}

// each calls f for the parts of the rows of a piece, the shorter row at the end of the last piece, some rows at a time.
func (g *GroupNorm) each(parts *normParts, piece int, f func(p *normPart, row, rows int)) {
	perRow := g.lanes / g.s.C
	first := min(piece*g.perRows, g.rows)
	if pixels := min(g.perRows, g.rows-first) * perRow; pixels > 0 {
		for i := range parts.rows {
			p := &parts.rows[i]
			p.inCalls(first*perRow/p.pixels, pixels/p.pixels, f)
		}
	}
	if piece == g.pieces-1 {
		for i := range parts.last {
			p := &parts.last[i]
			p.inCalls(g.rows*perRow/p.pixels, (g.tail/g.s.C+p.pixels-1)/p.pixels, f)
		}
	}
}
