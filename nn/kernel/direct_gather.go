package kernel

// gather is the engine for any shape: a matrix product of the pixels under the
// filter's taps with the packed filter. It copies a band of source rows with its
// zero padding to a buffer, where the elements under one filter row lie next to
// each other, so that they are a segment of the product's A.
//
// The packed filter of each grid is [dst.c/32][taps][src.c][32].
type gather struct {
	n, filter  int // images, and columns of the filter (R)
	transposed bool
	src, dst   imageShape
	grids      []taps
	copied     []bool // of each grid: its source is copied
	spans      []span // the work on one image
	flat       bool   // pixels map to pixels: rows of a matrix
	segs       [][]uintptr
	products   []product
	bufLen     int // floats of one worker's band

	dstData, srcData, u, w, bias, temb, add, inits []float32
	mem                                            Scratch
	images, flatPixels, perImage, groups           int
	next                                           *gather // adds its share to each part of the output
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

func newGather(n, filter int, src, dst imageShape, grids []taps, transposed bool, workers int, s *isa) *gather {
	g := &gather{n: n, filter: filter, src: src, dst: dst, grids: grids, transposed: transposed}
	t := &grids[0]
	g.flat = len(grids) == 1 && t.count() == 1 && t.step == 1 && t.outStep == 1 && t.inside() && src.h == dst.h && src.w == dst.w
	packed := 0
	for q := range grids {
		t := &grids[q]
		t.packedOff = packed
		packed += padded(dst.c) * t.count() * src.c
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
	g.products = newProducts(workers, s)
	g.packPart, g.part = g.doPack, g.do
	return g
}

func newProducts(workers int, s *isa) []product {
	p := make([]product, workers)
	for i := range p {
		p[i].isa = s
		p[i].stopFetching()
	}
	return p
}

func (g *gather) packedLen() int {
	last := &g.grids[len(g.grids)-1]
	return last.packedOff + padded(g.dst.c)*last.count()*g.src.c
}

func (g *gather) scratch() ScratchSize {
	return ownScratch(len(g.products), g.bufLen).With(g.n * padded(g.dst.c))
}

func (g *gather) panels() int { return padded(g.dst.c) / panelWidth }

func (g *gather) pack(u, w []float32) {
	g.u, g.w = u, w
	Parallel(len(g.grids)*g.panels(), g.packPart)
}

// doPack packs one panel of one grid's filter.
func (g *gather) doPack(i int) {
	t, j := &g.grids[i/g.panels()], i%g.panels()
	depth := t.count() * g.src.c
	if depth == 0 {
		return
	}
	panel := g.u[t.packedOff+j*depth*panelWidth:][:depth*panelWidth]
	j *= panelWidth
	cols := min(panelWidth, g.dst.c-j)
	for _, r := range t.filterRows {
		for _, s := range t.filterCols {
			tap := g.w[(r*g.filter+s)*g.src.c*g.dst.c:]
			part := panel[:g.src.c*panelWidth]
			if g.transposed {
				g.products[0].packTransposed(part, tap[j*g.src.c:], g.src.c, g.src.c, cols)
			} else {
				packPanel(part, tap[j:], g.dst.c, g.src.c, cols)
			}
			panel = panel[g.src.c*panelWidth:]
		}
	}
}

func (g *gather) run(dst, src, u, bias, temb, add []float32, scratch Scratch) {
	g.dstData, g.srcData, g.u, g.bias, g.temb, g.add = dst, src, u, bias, temb, add
	g.inits = scratch.Take(g.n * padded(g.dst.c))
	g.mem = scratch
	g.images, g.perImage = g.n, len(g.spans)
	if g.flat {
		g.flatPixels = g.dst.h * g.dst.w
		if temb == nil {
			g.images, g.flatPixels = 1, g.n*g.flatPixels
		}
		g.perImage = (g.flatPixels + flatRows - 1) / flatRows
	}
	initRows(g.inits, bias, temb, g.images, g.dst.c)
	spans, threads := g.images*g.perImage, min(len(g.products), Threads())
	g.groups = min(g.panels(), (4*threads+spans-1)/spans)
	if h := g.next; h != nil {
		h.images, h.flatPixels, h.perImage = g.images, g.flatPixels, g.perImage
	}
	parallelRanges(spans*g.groups, len(g.products), g.part)
}

// flatGather is c's engine where that is a plain matrix product, else nil.
func flatGather(c *Conv) *gather {
	if g, ok := c.forward.(*gather); ok && g.flat {
		return g
	}
	return nil
}

// runWith is run, and then h's with what is there as add, but part by part, so that
// the output passes through the cache once. Both are flat and have the same output.
func (g *gather) runWith(h *gather, dst, src, srcH, u, uH, bias, temb, add []float32, scratch Scratch) {
	g.next, h.last = h, true
	h.dstData, h.srcData, h.u, h.bias, h.temb, h.add = dst, srcH, uH, nil, nil, dst
	g.run(dst, src, u, bias, temb, add, scratch)
	g.next, h.last = nil, false
}

// initRows writes the row that every pixel of an image starts from: bias + temb. It
// writes nothing when both are nil.
func initRows(rows, bias, temb []float32, images, k int) {
	if bias == nil && temb == nil {
		return
	}
	for n := 0; n < images; n++ {
		row := rows[n*padded(k):][:padded(k)]
		clear(row[copy(row, bias):])
		if temb != nil {
			for j, v := range temb[n*k : (n+1)*k] {
				row[j] += v
			}
		}
	}
}

// do computes chunks first to end: span by span, for one group of panels after the other.
func (g *gather) do(worker, first, end int) {
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
func (g *gather) doSpan(worker, n, i, p0, p1 int) {
	p := &g.products[worker]
	r := g.spans[i]
	t := &g.grids[r.grid]
	if t.count() == 0 {
		g.doNothing(t, n, r, p0, p1)
		return
	}
	src, base := g.srcData, ((n*g.src.h+t.top+r.r0*t.step)*g.src.w+t.left)*g.src.c
	if g.copied[r.grid] {
		src, base = g.mem.own(worker)[:g.bufLen], 0
		t.copyWindow(src, g.srcData, n, r.r0, r.r1, 0, g.src.c)
	}
	p.aRow, p.aCol, p.bRow = uintptr(4*t.step*g.src.c), 4, 4*panelWidth
	p.cRow = uintptr(4 * t.outStep * g.dst.c)
	p.addRow = p.cRow
	p.segs, p.numSegs, p.segLen = &g.segs[r.grid][0], len(t.filterRows), len(t.filterCols)*g.src.c
	for j := p0; j < p1; j++ {
		p.b = &g.u[t.packedOff+j*t.count()*g.src.c*panelWidth]
		g.setInit(p, n, j)
		for q := r.r0; q < r.r1; q++ {
			p.a = &src[base+(q-r.r0)*t.step*t.srcStride]
			out := ((n*g.dst.h+t.y0+q*t.outStep)*g.dst.w+t.x0)*g.dst.c + j*panelWidth
			g.setOut(p, out)
			p.rowsPanel(t.cols, min(panelWidth, g.dst.c-j*panelWidth))
		}
	}
}

// doFlat computes span i of image n of a plain matrix product, and fetches the next
// one's rows when there is one.
func (g *gather) doFlat(p *product, n, i, p0, p1 int, next bool) {
	r0, r1 := g.flatPixels*i/g.perImage, g.flatPixels*(i+1)/g.perImage
	at, rows := n*g.flatPixels+r0, r1-r0
	p.a, p.aRow, p.aCol, p.bRow = &g.srcData[at*g.src.c], uintptr(4*g.src.c), 4, 4*panelWidth
	p.cRow = uintptr(4 * g.dst.c)
	p.addRow = p.cRow
	p.segs, p.numSegs, p.segLen = &noOffsets[0], 1, g.src.c
	p.stopFetching()
	if next {
		columns := (p1 - p0) * p.tiles(rows, panelWidth) * g.src.c
		p.fetch(0, upTo(g.srcData, (at+rows)*g.src.c, rows*g.src.c), columns)
		if out := g.add; !g.last {
			if out == nil {
				out = g.dstData
			}
			p.fetch(1, upTo(out, (at+rows)*g.dst.c, rows*g.dst.c), columns)
		}
	}
	for j := p0; j < p1; j++ {
		p.b = &g.u[j*g.src.c*panelWidth]
		g.setInit(p, n, j)
		g.setOut(p, at*g.dst.c+j*panelWidth)
		p.rowsPanel(rows, min(panelWidth, g.dst.c-j*panelWidth))
	}
}

// upTo is n floats of x from first on, or as many as there are.
func upTo(x []float32, first, n int) []float32 { return x[first:min(first+n, len(x))] }

// doNothing writes the pixels that no tap reaches: a 1x1 filter of stride 2 has them.
func (g *gather) doNothing(t *taps, n int, r span, p0, p1 int) {
	c0, c1 := p0*panelWidth, min(p1*panelWidth, g.dst.c)
	for q := r.r0; q < r.r1; q++ {
		for x := 0; x < t.cols; x++ {
			out := ((n*g.dst.h+t.y0+q*t.outStep)*g.dst.w + t.x0 + x*t.outStep) * g.dst.c
			clear(g.dstData[out+c0 : out+c1])
		}
	}
}

func (g *gather) setInit(p *product, n, panel int) {
	p.init, p.initRow = &zeroLine[0], 0
	if g.bias != nil || g.temb != nil {
		p.init = &g.inits[n*padded(g.dst.c)+panel*panelWidth]
	}
}

func (g *gather) setOut(p *product, at int) {
	p.c, p.add = &g.dstData[at], nil
	if g.add != nil {
		p.add = &g.add[at]
	}
}
