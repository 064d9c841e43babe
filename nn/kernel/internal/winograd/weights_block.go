package winograd

import (
	"unsafe"

	"unstir/nn/kernel/internal/gemm"
)

// weightsBlock is a chunk in the making.
type weightsBlock struct {
	*Weights
	*worker
	weightsChunk
	d, v, w        []float32
	vRow, wRow     int // floats between the tiles of v, w
	vPlane, wPlane int
}

func (b *weightsBlock) dPlane() int { return b.width*b.chans*gemm.PanelWidth + 16 }

// transformTiles transforms some tiles of x and dy.
func (b *weightsBlock) transformTiles(at *tileBlock) {
	for i, a := range at.list {
		b.transformDY(b.w[i*b.wRow:], a, at.after(i))
	}
	for i, a := range at.list {
		b.transformX(b.v[i*b.vRow:], a, at.after(i))
	}
}

// transformX transforms tile a of x to v, next before tile next.
func (b *weightsBlock) transformX(v []float32, a, next place) {
	s, p, ph := &b.s, &b.tile, &b.Weights.phases[b.phase]
	b.locate(p, ph.from, a)
	p.y += ph.top
	p.x += ph.left
	image := ph.from.view(p, b.x, a.image, s.C)
	p.outside, p.plane = &b.zeros[0], uintptr(4*b.vPlane)
	b.fetchNext(p, ph.from, a, next)
	b.worker.transform(image[b.c0:], v, b.c1-b.c0, b.transforms.input, b.points(p.rows), b.points(p.cols))
}

// transformDY is transformX for dy.
func (b *weightsBlock) transformDY(w []float32, a, next place) {
	s, p, dy := &b.s, &b.tile, b.Weights.phases[b.phase].to
	b.locate(p, dy, a)
	image := dy.view(p, b.dy, a.image, s.K)
	p.outside, p.plane = &b.zeros[0], uintptr(4*b.wPlane)
	b.fetchNext(p, dy, a, next)
	b.worker.transform(image[b.k0:], w, b.k1-b.k0, b.transforms.gradient, p.rows, p.cols)
}

// prefetch arranges for multiply to fetch chunk c's channels of the tiles that come next.
func (b *weightsBlock) prefetch(at *tileBlock, c *weightsChunk) {
	p := &b.mul
	steps := b.planes() * p.Tiles(b.c1-b.c0, b.k1-b.k0)
	ph := &b.Weights.phases[c.phase]
	x := b.memory(b.x, ph.from, b.s.C, at.first, at.end)
	if b.dLen >= b.fetchDFrom { // D takes the place of columns
		p.FetchRuns(0, x, b.s.C, c.c0, c.c1, steps)
	} else {
		p.FetchColumns(0, x, b.s.C, c.c0, c.c1, steps, at.end-at.first)
	}
	p.FetchColumns(1, b.memory(b.dy, ph.to, b.s.K, at.first, at.end), b.s.K, c.k0, c.k1, steps, at.end-at.first)
}

// multiply adds the products of some tiles to D, or writes them when first: there are whole tiles among the first, which
// have a part in all of them.
func (b *weightsBlock) multiply(at *tileBlock, first bool) {
	for _, r := range b.runs {
		t0, t1 := at.part(r)
		for point := r.first; t0 < t1 && point < r.first+r.count; point++ {
			b.multiplyAt(point, t0, t1-t0, first)
		}
	}
}

// multiplyAt is multiply for one point and n tiles from the t-th of v and w on.
func (b *weightsBlock) multiplyAt(point, t, n int, first bool) {
	p := &b.mul
	p.ARow, p.ACol, p.BRow, p.CRow = 4, uintptr(4*b.vRow), uintptr(4*b.wRow), 4*gemm.PanelWidth
	p.Segs, p.NumSegs, p.SegLen, p.Add = &gemm.NoOffsets[0], 1, n, nil
	p.A = &b.v[point*b.vPlane+t*b.vRow]
	for k := b.k0; k < b.k1; k += gemm.PanelWidth {
		p.B = &b.w[point*b.wPlane+t*b.wRow+k-b.k0]
		p.C = &b.d[point*b.dPlane()+(k-b.k0)*b.chans]
		p.Init, p.InitRow = p.C, p.CRow
		if first {
			p.Init, p.InitRow = &gemm.ZeroLine[0], 0
		}
		b.fetchD(point, k, n)
		p.ColsPanel(b.c1-b.c0, min(gemm.PanelWidth, (b.k1-k+15)&^15))
	}
}

// fetchD lets the product of n tiles at a point fetch D two micro-tiles ahead, from output channel k on.
func (b *weightsBlock) fetchD(point, k, n int) {
	p, rows := &b.mul, b.c1-b.c0
	microTiles := p.Tiles(rows, 1)
	microTile := (rows + microTiles - 1) / microTiles * gemm.PanelWidth
	if at := point*b.dPlane() + (k-b.k0)*b.chans + 2*microTile; b.dLen >= b.fetchDFrom && at+b.chans*gemm.PanelWidth <= len(b.d) {
		p.Fetch(0, b.d[at:][:microTile], n)
	}
}

// clearImages sets the sums of images n0 to n1 to zero.
func (b *weightsBlock) clearImages(n0, n1 int) {
	for n := n0; n < n1; n++ {
		clear(b.imageSums(n)[b.k0:b.k1])
	}
}

// imageSums are the sums of image n for the block's phase.
func (b *weightsBlock) imageSums(n int) []float32 {
	return b.images[(b.phase*b.s.N+n)*b.s.K:][:b.s.K]
}

// sumImages adds the sums of dy of some tiles, from the t-th of w on, to those of their images.
func (b *weightsBlock) sumImages(at *tileBlock, t int) {
	p := &b.mul
	plane := b.side + 1 // of point (1, 1): the sums of dy
	p.A, p.ARow, p.ACol = &gemm.One[0], 4, 0
	for i := 0; i < len(at.list); {
		n, end := at.list[i].image, i+1
		for end < len(at.list) && at.list[end].image == n {
			end++
		}
		p.SegLen = end - i
		sums := b.imageSums(n)
		for k := b.k0; k < b.k1; k += gemm.PanelWidth {
			p.B = &b.w[plane*b.wPlane+(t+i)*b.wRow+k-b.k0]
			p.C, p.CRow = &sums[k], uintptr(4*b.s.K)
			p.Init, p.InitRow = p.C, p.CRow
			p.ColsPanel(1, min(gemm.PanelWidth, b.k1-k))
		}
		i = end
	}
}

// streamedGradient is the size of a filter, in floats, whose gradient is written past the caches: it is not read before the whole
// model's is there, and to write its lines, a row of channels apart, takes long when each is first read from memory.
const streamedGradient = 1 << 17

// store transforms D to the filter's gradient.
func (b *weightsBlock) store(dw []float32) {
	s, p := &b.s, &b.tile
	there := p.view
	transform := b.transforms.filterGradient
	if f := b.transforms.filterGradientStream; f != nil && len(dw) >= streamedGradient && s.K%16 == 0 && uintptr(unsafe.Pointer(&dw[0]))%64 == 0 {
		transform = f
	}
	p.plane, p.step = uintptr(4*b.dPlane()), 4*gemm.PanelWidth
	for k := b.k0; k < b.k1; k += b.lanes {
		d := b.d[(k-b.k0)&^(gemm.PanelWidth-1)*b.chans+(k-b.k0)%gemm.PanelWidth:]
		if left := b.k1 - k; left < b.lanes {
			b.storeSome(dw, d, k)
			continue
		}
		p.row, p.pixel = uintptr(4*s.C*s.K), uintptr(4*s.K)
		p.count, p.data, p.image = b.c1-b.c0, &d[0], &dw[b.c0*s.K+k]
		p.call(transform)
	}
	p.view = there
}

// storeSome is store for the output channels from k on, fewer than a vector's, at d.
func (b *weightsBlock) storeSome(dw, d []float32, k int) {
	s, p := &b.s, &b.tile
	p.count, p.data = b.c1-b.c0, &d[0]
	p.image, p.row, p.pixel = &b.v[0], uintptr(4*16*b.chans), 4*16
	p.call(b.transforms.filterGradient)
	for tap := range b.transforms.taps * b.transforms.taps {
		for c := b.c0; c < b.c1; c++ {
			copy(dw[(tap*s.C+c)*s.K+k:][:b.k1-k], b.v[(tap*b.chans+c-b.c0)*16:])
		}
	}
}
