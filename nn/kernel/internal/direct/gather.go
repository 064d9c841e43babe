package direct

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// Gather is the algorithm for any shape: a matrix product of the pixels under the
// filter's taps with the packed filter. It copies a band of source rows with its
// zero padding to a buffer, where the elements under one filter row lie next to
// each other, so that they are a segment of the product's A.
//
// The packed filter of each grid is [dst.c/32][taps][src.c][32].
type Gather struct {
	n, filter  int // images, and columns of the filter (R)
	transposed bool
	src, dst   imageShape
	grids      []taps
	copied     []bool // of each grid: its source is copied
	spans      []span // the work on one image
	flat       bool   // pixels map to pixels: rows of a matrix
	segs       [][]uintptr
	products   []gemm.Product
	bufLen     int // floats of one worker's band

	dstData, srcData, u, w, bias, temb, add, inits []float32
	mem                                            parallel.Scratch
	images, flatPixels, perImage, groups           int
	next                                           *Gather // adds its share to each part of the output
	last                                           bool    // adds to what is in the cache

	packPart func(i int)
	part     func(worker, first, end int)
}

// span is rows r0 to r1 of a grid.
type span struct{ grid, r0, r1 int }

const (
	bandPixels = 112 // of a grid, about, in one span
	flatRows   = 84  // rows of a matrix in one span: 6 x 14 = 14 x 6
)

// NewGather makes the plan of a convolution, or with transposed of its input's gradient.
func NewGather(s shape.Conv, transposed bool, workers int, c cpu.Info) *Gather {
	grids := tapsOf(s, transposed)
	t := &grids[0]
	src, dst := t.src, t.dst
	g := &Gather{n: s.N, filter: s.R, src: src, dst: dst, grids: grids, transposed: transposed}
	g.flat = len(grids) == 1 && t.count() == 1 && t.step == 1 && t.outStep == 1 && t.inside() && src.h == dst.h && src.w == dst.w
	packed := 0
	for q := range grids {
		t := &grids[q]
		t.packedOff = packed
		packed += gemm.Padded(dst.c) * t.count() * src.c
		g.copied = append(g.copied, !t.inside())
		bands := max(1, t.rows*t.cols/bandPixels)
		bands = min(bands, t.rows)
		width := src.w
		for b := 0; b < bands; b++ {
			r := span{q, t.rows * b / bands, t.rows * (b + 1) / bands}
			g.spans = append(g.spans, r)
			if h, w := t.window(r.r0, r.r1); g.copied[q] && t.count() > 0 {
				g.bufLen = max(g.bufLen, h*w*src.c)
				width = w
			}
		}
		t.srcStride = width * src.c
		var segs []uintptr
		for i := range t.filterRows {
			segs = append(segs, uintptr(4*i*t.srcStride))
		}
		g.segs = append(g.segs, segs)
	}
	g.bufLen = (g.bufLen + 31) &^ 15
	g.products = gemm.NewProducts(workers, gemm.Of(c))
	g.packPart, g.part = g.doPack, g.do
	return g
}

// PackedLen is the number of floats of a packed filter.
func (g *Gather) PackedLen() int {
	last := &g.grids[len(g.grids)-1]
	return last.packedOff + gemm.Padded(g.dst.c)*last.count()*g.src.c
}

// Scratch is how much scratch Run needs.
func (g *Gather) Scratch() parallel.ScratchSize {
	return parallel.PerWorker(len(g.products), g.bufLen).With(g.n * gemm.Padded(g.dst.c))
}

func (g *Gather) panels() int { return gemm.Padded(g.dst.c) / gemm.PanelWidth }

// Pack packs the filter w to u.
func (g *Gather) Pack(u, w []float32) {
	g.u, g.w = u, w
	parallel.For(len(g.grids)*g.panels(), g.packPart)
}

// doPack packs one panel of one grid's filter.
func (g *Gather) doPack(i int) {
	t, j := &g.grids[i/g.panels()], i%g.panels()
	depth := t.count() * g.src.c
	if depth == 0 {
		return
	}
	panel := g.u[t.packedOff+j*depth*gemm.PanelWidth:][:depth*gemm.PanelWidth]
	j *= gemm.PanelWidth
	cols := min(gemm.PanelWidth, g.dst.c-j)
	for _, r := range t.filterRows {
		for _, s := range t.filterCols {
			tap := g.w[(r*g.filter+s)*g.src.c*g.dst.c:]
			part := panel[:g.src.c*gemm.PanelWidth]
			if g.transposed {
				g.products[0].PackTransposed(part, tap[j*g.src.c:], g.src.c, g.src.c, cols)
			} else {
				gemm.PackPanel(part, tap[j:], g.dst.c, g.src.c, cols)
			}
			panel = panel[g.src.c*gemm.PanelWidth:]
		}
	}
}

// Run computes dst = src * filter + bias + temb + add from the packed filter u; bias, temb and add may be nil, and add dst.
func (g *Gather) Run(dst, src, u, bias, temb, add []float32, scratch parallel.Scratch) {
	g.dstData, g.srcData, g.u, g.bias, g.temb, g.add = dst, src, u, bias, temb, add
	g.inits = scratch.Take(g.n * gemm.Padded(g.dst.c))
	g.mem = scratch
	g.images, g.perImage = g.n, len(g.spans)
	if g.flat {
		g.flatPixels = g.dst.h * g.dst.w
		if temb == nil {
			g.images, g.flatPixels = 1, g.n*g.flatPixels
		}
		g.perImage = (g.flatPixels + flatRows - 1) / flatRows
	}
	gemm.InitRows(g.inits, bias, temb, g.images, g.dst.c)
	spans, threads := g.images*g.perImage, min(len(g.products), parallel.Threads())
	g.groups = min(g.panels(), (4*threads+spans-1)/spans)
	if h := g.next; h != nil {
		h.images, h.flatPixels, h.perImage = g.images, g.flatPixels, g.perImage
	}
	parallel.Ranges(spans*g.groups, len(g.products), g.part)
}

// Flat tells whether the convolution is a plain matrix product, and RunWith applies.
func (g *Gather) Flat() bool { return g.flat }

// RunWith is run, and then h's with what is there as add, but part by part, so that
// the output passes through the cache once. Both are flat and have the same output.
func (g *Gather) RunWith(h *Gather, dst, src, srcH, u, uH, bias, temb, add []float32, scratch parallel.Scratch) {
	g.next, h.last = h, true
	h.dstData, h.srcData, h.u, h.bias, h.temb, h.add = dst, srcH, uH, nil, nil, dst
	g.Run(dst, src, u, bias, temb, add, scratch)
	g.next, h.last = nil, false
}

// do computes chunks first to end: span by span, for one group of panels after the other.
func (g *Gather) do(worker, first, end int) {
	p := &g.products[worker]
	spans := g.images * g.perImage
	for i := first; i < end; i++ {
		group, s := i/spans, i%spans
		p0, p1 := g.panels()*group/g.groups, g.panels()*(group+1)/g.groups
		n, at := s/g.perImage, s%g.perImage
		if !g.flat {
			g.doSpan(worker, n, at, p0, p1)
			continue
		}
		next := i+1 < end && s+1 < spans // it is fetched
		g.doFlat(p, n, at, p0, p1, next)
		if g.next != nil {
			g.next.doFlat(p, n, at, p0, p1, next)
		}
	}
}

// doSpan computes span i of image n.
func (g *Gather) doSpan(worker, n, i, p0, p1 int) {
	p := &g.products[worker]
	r := g.spans[i]
	t := &g.grids[r.grid]
	if t.count() == 0 {
		g.doNothing(t, n, r, p0, p1)
		return
	}
	src, base := g.srcData, ((n*g.src.h+t.top+r.r0*t.step)*g.src.w+t.left)*g.src.c
	if g.copied[r.grid] {
		src, base = g.mem.Worker(worker)[:g.bufLen], 0
		t.copyWindow(src, g.srcData, n, r.r0, r.r1, 0, g.src.c)
	}
	p.ARow, p.ACol, p.BRow = uintptr(4*t.step*g.src.c), 4, 4*gemm.PanelWidth
	p.CRow = uintptr(4 * t.outStep * g.dst.c)
	p.AddRow = p.CRow
	p.Segs, p.NumSegs, p.SegLen = &g.segs[r.grid][0], len(t.filterRows), len(t.filterCols)*g.src.c
	for j := p0; j < p1; j++ {
		p.B = &g.u[t.packedOff+j*t.count()*g.src.c*gemm.PanelWidth]
		g.setInit(p, n, j)
		for q := r.r0; q < r.r1; q++ {
			p.A = &src[base+(q-r.r0)*t.step*t.srcStride]
			out := ((n*g.dst.h+t.y0+q*t.outStep)*g.dst.w+t.x0)*g.dst.c + j*gemm.PanelWidth
			g.setOut(p, out)
			p.RowsPanel(t.cols, min(gemm.PanelWidth, g.dst.c-j*gemm.PanelWidth))
		}
	}
}

// doFlat computes span i of image n of a plain matrix product, and fetches the next
// one's rows when there is one.
func (g *Gather) doFlat(p *gemm.Product, n, i, p0, p1 int, next bool) {
	r0, r1 := g.flatPixels*i/g.perImage, g.flatPixels*(i+1)/g.perImage
	at, rows := n*g.flatPixels+r0, r1-r0
	p.A, p.ARow, p.ACol, p.BRow = &g.srcData[at*g.src.c], uintptr(4*g.src.c), 4, 4*gemm.PanelWidth
	p.CRow = uintptr(4 * g.dst.c)
	p.AddRow = p.CRow
	p.Segs, p.NumSegs, p.SegLen = &gemm.NoOffsets[0], 1, g.src.c
	p.StopFetching()
	if next {
		columns := (p1 - p0) * p.Tiles(rows, gemm.PanelWidth) * g.src.c
		p.Fetch(0, upTo(g.srcData, (at+rows)*g.src.c, rows*g.src.c), columns)
		if out := g.add; !g.last {
			if out == nil {
				out = g.dstData
			}
			p.Fetch(1, upTo(out, (at+rows)*g.dst.c, rows*g.dst.c), columns)
		}
	}
	for j := p0; j < p1; j++ {
		p.B = &g.u[j*g.src.c*gemm.PanelWidth]
		g.setInit(p, n, j)
		g.setOut(p, at*g.dst.c+j*gemm.PanelWidth)
		p.RowsPanel(rows, min(gemm.PanelWidth, g.dst.c-j*gemm.PanelWidth))
	}
}

// upTo is n floats of x from first on, or as many as there are.
func upTo(x []float32, first, n int) []float32 { return x[first:min(first+n, len(x))] }

// doNothing writes the pixels that no tap reaches: a 1x1 filter of stride 2 has them.
func (g *Gather) doNothing(t *taps, n int, r span, p0, p1 int) {
	c0, c1 := p0*gemm.PanelWidth, min(p1*gemm.PanelWidth, g.dst.c)
	for q := r.r0; q < r.r1; q++ {
		for x := 0; x < t.cols; x++ {
			out := ((n*g.dst.h+t.y0+q*t.outStep)*g.dst.w + t.x0 + x*t.outStep) * g.dst.c
			clear(g.dstData[out+c0 : out+c1])
		}
	}
}

func (g *Gather) setInit(p *gemm.Product, n, panel int) {
	p.Init, p.InitRow = &gemm.ZeroLine[0], 0
	if g.bias != nil || g.temb != nil {
		p.Init = &g.inits[n*gemm.Padded(g.dst.c)+panel*gemm.PanelWidth]
	}
}

func (g *Gather) setOut(p *gemm.Product, at int) {
	p.C, p.Add = &g.dstData[at], nil
	if g.add != nil {
		p.Add = &g.add[at]
	}
}
