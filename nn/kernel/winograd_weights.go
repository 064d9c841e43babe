package kernel

// winogradWeights is the gradient of a 3x3 filter of stride 1 and padding 1 in the
// Winograd domain. A chunk of work is a block of input channels times a group of
// panels of output channels over a piece of the images: it transforms some patches
// of x to V [36][patches][channels] and of dy to W, adds the 36 products V^T W to
// D [36][panel][channels][32], and at the end transforms D to the filter's gradient.
//
// W's plane (1, 1) holds the sum of each patch of dy, which gives the gradients of
// the time embedding and the bias.
type winogradWeights struct {
	s ConvShape
	patchGrid
	chans, blocks    int // input channels of a block, a multiple of 16; blocks
	width, groups    int // panels of a group; groups
	pieces           *pieces
	block            int // most patches at a time
	vRow, wRow       int
	dLen, vLen, wLen int
	workers          []winogradWorker
	zeros            []float32

	dw, x, dy, images, bufs []float32
	part                    func(worker, i int)
}

const weightPatches = 48 // patches in one product: with fewer, reading and writing D weighs more; more push it out of the cache

func newWinogradWeights(s ConvShape, workers int, is *isa) *winogradWeights {
	g := &winogradWeights{s: s, patchGrid: newPatchGrid(s, 4)}
	panels := padded(s.K) / panelWidth
	// The number of pieces is part of the result, so it comes from the shape. The
	// blocks are not: they are made smaller when there are many threads.
	blocks := (s.C + 63) / 64 * ((panels + 1) / 2)
	g.pieces = newPieces(min(s.N, max(1, 4/blocks)), 9*s.C*s.K)
	g.chans, g.width = min(128, (s.C+15)&^15), min(2, panels)
	for n := g.count(); n < 3*workers && n%workers != 0 && (g.chans > 16 || g.width > 1); n = g.count() {
		if g.chans > 32 || g.width == 1 {
			g.chans = (g.chans/2 + 15) &^ 15
		} else {
			g.width--
		}
	}
	g.blocks, g.groups = (s.C+g.chans-1)/g.chans, (panels+g.width-1)/g.width
	g.chans = ((s.C+g.blocks-1)/g.blocks + 15) &^ 15 // blocks of one size: two threads wait for the larger
	g.block = min(weightPatches, (s.N+g.pieces.count-1)/g.pieces.count*g.perImage())
	g.vRow, g.wRow = g.chans, g.width*panelWidth
	g.dLen = winoPoints * (g.width*g.chans*panelWidth + 16)
	g.vLen, g.wLen = winoPoints*(g.block*g.vRow+16), winoPoints*(g.block*g.wRow+16)
	g.vLen = max(g.vLen, 9*16*g.chans) // store uses it too
	g.zeros = aligned(make([]float32, max(g.vRow, g.wRow)+16))
	g.workers = newWinogradWorkers(workers, is)
	g.part = g.do
	return g
}

// count is the number of chunks.
func (g *winogradWeights) count() int {
	panels := padded(g.s.K) / panelWidth
	return g.pieces.count * ((g.s.C + g.chans - 1) / g.chans) * ((panels + g.width - 1) / g.width)
}

func (g *winogradWeights) scratch() int {
	return len(g.workers)*(g.dLen+g.vLen+g.wLen) + g.pieces.scratch() + g.s.N*g.s.K + 16
}

// run overwrites dw, and dtemb and db when they are not nil.
func (g *winogradWeights) run(dw, db, dtemb, x, dy, scratch []float32) {
	g.dw, g.x, g.dy, g.images = dw, x, dy, nil
	scratch = aligned(scratch)
	g.bufs = scratch[:len(g.workers)*(g.dLen+g.vLen+g.wLen)]
	scratch = scratch[len(g.bufs):]
	if db != nil || dtemb != nil {
		g.images = dtemb
		if dtemb == nil {
			g.images = scratch[g.pieces.scratch():][:g.s.N*g.s.K]
		}
	}
	g.pieces.start(dw, scratch)
	parallelBy(g.pieces.count*g.blocks*g.groups, len(g.workers), g.part)
	g.pieces.finish()
	if db != nil {
		g.workers[0].mul.sumRows(db, g.images, g.s.N, g.s.K)
	}
}

// do computes one block and group of one piece.
func (g *winogradWeights) do(worker, i int) {
	group, i := i%g.groups, i/g.groups
	block, piece := i%g.blocks, i/g.blocks
	b := weightsBlock{
		winogradWeights: g, winogradWorker: &g.workers[worker],
		c0: block * g.chans, c1: min((block+1)*g.chans, g.s.C),
		k0: group * g.width * panelWidth, k1: min((group+1)*g.width*panelWidth, g.s.K),
	}
	bufs := g.bufs[worker*(g.dLen+g.vLen+g.wLen):]
	b.d, b.v, b.w = bufs[:g.dLen], bufs[g.dLen:][:g.vLen], bufs[g.dLen+g.vLen:][:g.wLen]
	per := g.perImage()
	first, end := g.s.N*piece/g.pieces.count*per, g.s.N*(piece+1)/g.pieces.count*per
	rounds := (end - first + g.block - 1) / g.block
	for q := 0; q < rounds; q++ {
		t0, t1 := first+(end-first)*q/rounds, first+(end-first)*(q+1)/rounds
		b.transformPatches(t0, t1)
		b.prefetchPatches(t1, min(t1+t1-t0, end))
		b.multiply(t1-t0, q == 0)
		if g.images != nil && block == 0 {
			b.sumImages(t0, t1)
		}
	}
	b.store(g.pieces.of(piece))
}

// weightsBlock is input channels c0 to c1 times output channels k0 to k1.
type weightsBlock struct {
	*winogradWeights
	*winogradWorker
	c0, c1, k0, k1 int
	d, v, w        []float32
}

func (b *weightsBlock) dPlane() int { return b.width*b.chans*panelWidth + 16 }
func (b *weightsBlock) vPlane() int { return b.block*b.vRow + 16 }
func (b *weightsBlock) wPlane() int { return b.block*b.wRow + 16 }

// transformPatches transforms patches t0 to t1 of x and dy.
func (b *weightsBlock) transformPatches(t0, t1 int) {
	s, p := &b.s, &b.patch
	p.outside, p.h, p.w = &b.zeros[0], s.H, s.W
	for t := t0; t < t1; t++ {
		n, _, _ := b.locate(p, t)
		image := n * s.H * s.W
		p.row, p.pixel, p.plane = uintptr(4*s.W*s.K), uintptr(4*s.K), uintptr(4*b.wPlane())
		b.transform(b.dy[image*s.K+b.k0:], b.w[(t-t0)*b.wRow:], b.k1-b.k0, b.mul.winoGradient, winoOut, winoOut)
		p.y--
		p.x--
		p.row, p.pixel, p.plane = uintptr(4*s.W*s.C), uintptr(4*s.C), uintptr(4*b.vPlane())
		b.transform(b.x[image*s.C+b.c0:], b.v[(t-t0)*b.vRow:], b.c1-b.c0, b.mul.wino4.input[winoOut/2][winoOut/2], winoIn, winoIn)
	}
}

// prefetchPatches arranges for multiply to fetch the block's channels of patches t0 to t1.
func (b *weightsBlock) prefetchPatches(t0, t1 int) {
	p := &b.mul
	p.stopFetching()
	if t0 >= t1 {
		return
	}
	steps := winoPoints * p.tiles(b.c1-b.c0, b.k1-b.k0)
	p.fetchColumns(0, b.memory(b.x, b.s.C, t0, t1), b.s.C, b.c0, b.c1, steps, t1-t0)
	p.fetchColumns(1, b.memory(b.dy, b.s.K, t0, t1), b.s.K, b.k0, b.k1, steps, t1-t0)
}

// multiply adds the products of n patches to D, or writes them when first.
func (b *weightsBlock) multiply(n int, first bool) {
	p := &b.mul
	p.aRow, p.aCol, p.bRow, p.cRow = 4, uintptr(4*b.vRow), uintptr(4*b.wRow), 4*panelWidth
	p.segs, p.numSegs, p.segLen, p.add = &noOffsets[0], 1, n, nil
	for point := 0; point < winoPoints; point++ {
		p.a = &b.v[point*b.vPlane()]
		for k := b.k0; k < b.k1; k += panelWidth {
			p.b = &b.w[point*b.wPlane()+k-b.k0]
			p.c = &b.d[point*b.dPlane()+(k-b.k0)*b.chans]
			p.init, p.initRow = p.c, p.cRow
			if first {
				p.init, p.initRow = &zeroLine[0], 0
			}
			p.colsPanel(b.c1-b.c0, min(panelWidth, (b.k1-k+15)&^15))
		}
	}
}

// sumImages adds the patches' sums of dy to those of their images.
func (b *weightsBlock) sumImages(t0, t1 int) {
	p := &b.mul
	per, K := b.perImage(), b.s.K
	p.a, p.aRow, p.aCol = &one[0], 4, 0
	for t := t0; t < t1; {
		n := t / per
		end := min((n+1)*per, t1)
		p.segLen = end - t
		for k := b.k0; k < b.k1; k += panelWidth {
			p.b = &b.w[winoSum*b.wPlane()+(t-t0)*b.wRow+k-b.k0]
			p.c, p.cRow = &b.images[n*K+k], uintptr(4*K)
			p.init, p.initRow = p.c, p.cRow
			if t == n*per {
				p.init, p.initRow = &zeroLine[0], 0
			}
			p.colsPanel(1, min(panelWidth, b.k1-k))
		}
		t = end
	}
}

// store transforms D to the filter's gradient.
func (b *weightsBlock) store(dw []float32) {
	s, p := &b.s, &b.patch
	there := p.view
	p.count, p.plane, p.step = b.c1-b.c0, uintptr(4*b.dPlane()), 4*panelWidth
	for k := b.k0; k < b.k1; k += b.mul.lanes {
		p.data = &b.d[(k-b.k0)&^(panelWidth-1)*b.chans+(k-b.k0)%panelWidth]
		if left := b.k1 - k; left >= b.mul.lanes {
			p.image, p.row, p.pixel = &dw[b.c0*s.K+k], uintptr(4*s.C*s.K), uintptr(4*s.K)
			p.call(b.mul.winoFilterGradient)
			continue
		}
		p.image, p.row, p.pixel = &b.v[0], uintptr(4*16*b.chans), 4*16
		p.call(b.mul.winoFilterGradient)
		for tap := 0; tap < 9; tap++ {
			for c := b.c0; c < b.c1; c++ {
				copy(dw[(tap*s.C+c)*s.K+k:][:b.k1-k], b.v[(tap*b.chans+c-b.c0)*16:])
			}
		}
	}
	p.view = there
}
