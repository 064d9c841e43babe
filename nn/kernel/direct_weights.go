package kernel

// outer is the gradient of a filter by a matrix product over pixels: for each tap,
//
//	D[tap, l, r] = sum over images and grid points of left[pixel under the tap, l] right[grid point, r]
//
// where left is x, right is dy and the grid is the output. When dy has one to three
// channels the parts are swapped, so that the vectors' lanes are x's channels.
//
// The work is cut into pieces of the images, blocks of left channels and groups of
// right panels. The number of pieces depends on the shape only; they are added in
// order.
type outer struct {
	n, filter int
	grid      taps // dst: right's shape
	swapped   bool
	mode      outerMode
	grids     int // grid points per image
	blocks    int // of left channels
	lefts     int // channels of the largest block
	groups    int // of right panels
	panels    int // of a group
	pieces    *pieces
	bandRows  int // grid rows in one go
	products  []product
	segs      [2][]uintptr // of a band's grid rows in windows lefts and lefts-1 channels wide
	leftLen   int          // floats of a worker's buffers
	rightLen  int
	sumLen    int

	left, right []float32
	mem         Scratch
	part        func(worker, i int)
}

type outerMode int

const (
	outerWindows outerMode = iota // left is copied with its padding, each tap at its offset
	outerPatches                  // the elements under all taps are copied side by side, one row a grid point
	outerMatrix                   // left is read in place: a 1x1 filter
)

const outerPixels = 256 // grid points in one go, about

func newOuter(s ConvShape, workers int, is *isa) *outer {
	o := &outer{panels: 2, n: s.N, filter: s.R, grid: s.forwardTaps()[0]}
	if s.R > 1 && s.Stride == 1 && s.K < 8 && s.C > s.K {
		o.swapped = true
		o.grid = s.dataTaps()[0]
	}
	t, pieces := &o.grid, 0
	switch {
	case t.count() == 1 && t.step == 1 && t.inside() && t.src.h == t.dst.h && t.src.w == t.dst.w:
		o.mode = outerMatrix
		// The pieces are those of blocks of 64 by 64, whatever the blocks, so that their size changes no bits.
		blocks := func(side int) int { return ((t.src.c + side - 1) / side) * ((t.dst.c + side - 1) / side) }
		pieces = min(max(1, 16/blocks(64)), max(1, s.N*t.dst.h*t.dst.w/outerPixels))
		side := tuned.outerBlock
		if pieces*blocks(side) < workers {
			side = 64
		}
		o.lefts, o.panels = side, side/panelWidth
		t.rows, t.cols = 1, s.N*t.dst.h*t.dst.w
		o.n = 1
	case t.src.c < 8:
		o.mode = outerPatches
		o.lefts = t.src.c
	default:
		o.lefts = 32
	}
	o.blocks = (t.src.c + o.lefts - 1) / o.lefts
	o.lefts = (t.src.c + o.blocks - 1) / o.blocks
	o.groups = (padded(t.dst.c)/panelWidth + o.panels - 1) / o.panels
	if o.mode == outerMatrix { // few chunks are made as many as keep all threads at work, which changes no bits
		for n := pieces * o.groups; n*o.blocks > workers && n*o.blocks < 3*workers && n*o.blocks%workers != 0 && o.lefts > 16; {
			o.blocks++
			o.lefts = (t.src.c + o.blocks - 1) / o.blocks
		}
	}
	o.grids = t.rows * t.cols
	if o.mode != outerMatrix {
		pieces = min(max(1, 16/(o.blocks*o.groups)), o.n)
	}
	o.pieces = newPieces(pieces, s.R*s.R*s.C*s.K)
	o.bandRows = min(t.rows, max(1, outerPixels/t.cols))
	o.sizes()
	o.products = newProducts(workers, is)
	o.part = o.do
	return o
}

// sizes computes the buffers' lengths and the segments of a band's grid rows.
func (o *outer) sizes() {
	t := &o.grid
	points := o.bandRows * t.cols
	if o.mode == outerMatrix {
		points = outerPixels
	}
	h, w := t.window(0, o.bandRows)
	switch o.mode {
	case outerWindows:
		o.leftLen = h * w * o.lefts
		for i := 0; i < o.bandRows; i++ {
			for k := range o.segs {
				o.segs[k] = append(o.segs[k], uintptr(4*i*t.step*w*(o.lefts-k)))
			}
		}
	case outerPatches:
		o.leftLen = points * t.count() * t.src.c
	}
	if t.dst.c%16 != 0 {
		o.rightLen = points * o.panels * panelWidth
	}
	o.leftLen, o.rightLen = (o.leftLen+31)&^15, (o.rightLen+31)&^15
	o.sumLen = o.panels * t.count() * o.lefts * panelWidth
}

func (o *outer) scratch() ScratchSize {
	return ownScratch(len(o.products), o.leftLen+o.rightLen+o.sumLen).With(o.pieces.scratch())
}

// run overwrites dw with the gradient.
func (o *outer) run(dw, x, dy []float32, scratch Scratch) {
	o.left, o.right = x, dy
	if o.swapped {
		o.left, o.right = dy, x
	}
	o.pieces.start(dw, scratch.Take(o.pieces.scratch()))
	o.mem = scratch
	parallelInOrder(o.pieces.count*o.blocks*o.groups, len(o.products), o.part)
	o.pieces.finish()
}

// do computes one block of one piece.
func (o *outer) do(worker, i int) {
	group, i := i%o.groups, i/o.groups
	block, piece := i%o.blocks, o.pieces.at(i/o.blocks)
	t := &o.grid
	p := &o.products[worker]
	bufs := o.mem.own(worker)
	b := outerBlock{
		outer: o, p: p,
		left: bufs[:o.leftLen], right: bufs[o.leftLen : o.leftLen+o.rightLen], sums: bufs[o.leftLen+o.rightLen:][:o.sumLen],
		l0: t.src.c * block / o.blocks, l1: t.src.c * (block + 1) / o.blocks,
		r0: group * o.panels * panelWidth, r1: min((group+1)*o.panels*panelWidth, t.dst.c),
	}
	if o.mode == outerMatrix {
		b.matrix(o.pieces.of(piece), piece)
		return
	}
	clear(b.sums)
	first, end := o.pieces.cut(o.n, piece)
	for n := first; n < end; n++ {
		for q := 0; q < t.rows; q += o.bandRows {
			b.gridRows(n, q, min(q+o.bandRows, t.rows))
		}
	}
	b.store(o.pieces.of(piece))
}

// outerBlock is left channels l0 to l1 times right channels r0 to r1; sums is
// [right panel][tap][l][32].
type outerBlock struct {
	*outer
	p                 *product
	left, right, sums []float32
	l0, l1, r0, r1    int
}

// matrix computes the block for two matrices of which the piece is some rows. The last of them are added on the way to dw.
func (b *outerBlock) matrix(dw []float32, piece int) {
	t, p := &b.grid, b.p
	first, end := b.pieces.cut(b.grids, piece)
	for q0 := first; q0 < end; q0 += outerPixels {
		q1 := min(q0+outerPixels, end)
		b.fetchRows(dw, q1, min(q1+outerPixels, end))
		b.setRight(q0, q1)
		right := p.b
		p.a, p.aRow, p.aCol = &b.outer.left[q0*t.src.c+b.l0], 4, uintptr(4*t.src.c)
		p.segs, p.numSegs, p.segLen, p.add = &noOffsets[0], 1, q1-q0, nil
		for j := b.r0; j < b.r1; j += panelWidth {
			sums := &b.sums[(j-b.r0)*b.lefts]
			p.b, p.c, p.cRow, p.init, p.initRow = move(right, uintptr(4*(j-b.r0))), sums, 4*panelWidth, sums, 4*panelWidth
			cols := min(panelWidth, (b.r1-j+15)&^15)
			if q0 == first {
				p.init, p.initRow = &zeroLine[0], 0
			}
			if q1 == end {
				p.c, p.cRow, cols = &dw[b.l0*t.dst.c+j], uintptr(4*t.dst.c), min(panelWidth, b.r1-j)
			}
			p.colsPanel(b.l1-b.l0, cols)
		}
	}
}

// fetchRows arranges for the products to fetch the block's columns of rows q0 to q1 or, where these are none, of dw.
func (b *outerBlock) fetchRows(dw []float32, q0, q1 int) {
	t, p := &b.grid, b.p
	p.stopFetching()
	calls := p.tiles(b.l1-b.l0, b.r1-b.r0)
	if q0 >= q1 {
		p.fetchRuns(0, dw[b.l0*t.dst.c:b.l1*t.dst.c], t.dst.c, b.r0, b.r1, calls)
		return
	}
	p.fetchColumns(0, b.outer.left[q0*t.src.c:q1*t.src.c], t.src.c, b.l0, b.l1, calls, q1-q0)
	p.fetchColumns(1, b.outer.right[q0*t.dst.c:q1*t.dst.c], t.dst.c, b.r0, b.r1, calls, q1-q0)
}

// gridRows adds the products of grid rows q0 to q1 of image n.
func (b *outerBlock) gridRows(n, q0, q1 int) {
	t, p := &b.grid, b.p
	b.setRight((n*t.rows+q0)*t.cols, (n*t.rows+q1)*t.cols)
	if b.mode == outerPatches {
		b.copyPatches(n, q0, q1)
		rows := t.count() * t.src.c
		p.a, p.aRow, p.aCol = &b.left[0], 4, uintptr(4*rows)
		p.segs, p.numSegs, p.segLen = &noOffsets[0], 1, (q1-q0)*t.cols
		b.multiply(rows, 0)
		return
	}
	lefts := b.l1 - b.l0
	t.copyWindow(b.left, b.outer.left, n, q0, q1, b.l0, b.l1)
	_, w := t.window(q0, q1)
	p.aRow, p.aCol = 4, uintptr(4*t.step*lefts)
	p.segs, p.numSegs, p.segLen = &b.segs[b.lefts-lefts][0], q1-q0, t.cols
	for i := range t.filterRows {
		for j := range t.filterCols {
			p.a = &b.left[(i*w+j)*lefts]
			b.multiply(lefts, (i*len(t.filterCols)+j)*b.lefts)
		}
	}
}

// setRight points at grid points q0 to q1 of right, or at a padded copy of them.
func (b *outerBlock) setRight(q0, q1 int) {
	p, c := b.p, b.grid.dst.c
	if b.rightLen <= 31 {
		p.b, p.bRow = &b.outer.right[q0*c+b.r0], uintptr(4*c)
		return
	}
	width := b.panels * panelWidth
	for q := q0; q < q1; q++ {
		row := b.right[(q-q0)*width : (q-q0+1)*width]
		clear(row[copy(row, b.outer.right[q*c+b.r0:q*c+b.r1]):])
	}
	p.b, p.bRow = &b.right[0], uintptr(4*width)
}

// multiply adds A times right to rows of sums, from row on.
func (b *outerBlock) multiply(rows, row int) {
	p := b.p
	right := p.b
	for j := b.r0; j < b.r1; j += panelWidth {
		p.b = move(right, uintptr(4*(j-b.r0)))
		p.c, p.cRow = &b.sums[((j-b.r0)/panelWidth*b.grid.count()*b.lefts+row)*panelWidth], 4*panelWidth
		p.init, p.initRow, p.add = p.c, p.cRow, nil
		p.colsPanel(rows, min(panelWidth, (b.r1-j+15)&^15))
	}
	p.b = right
}

// copyPatches writes the elements under the taps of each grid point side by side.
func (b *outerBlock) copyPatches(n, q0, q1 int) {
	t := &b.grid
	run := len(t.filterCols) * t.src.c
	to := b.left
	for q := q0; q < q1; q++ {
		for x := 0; x < t.cols; x++ {
			for i := range t.filterRows {
				row := to[:run]
				to = to[run:]
				y, x0 := t.top+q*t.step+i, t.left+x*t.step
				from := ((n*t.src.h+y)*t.src.w + x0) * t.src.c
				switch {
				case y < 0 || y >= t.src.h:
					clear(row)
				case x0 >= 0 && x0+len(t.filterCols) <= t.src.w:
					//lint:ignore S1001 with 3 to 21 floats the call of copy costs more than the loop
					for k, v := range b.outer.left[from : from+run] {
						row[k] = v
					}
				default:
					for k := range row {
						row[k] = 0
						if at := x0 + k/t.src.c; at >= 0 && at < t.src.w {
							row[k] = b.outer.left[from+k]
						}
					}
				}
			}
		}
	}
}

// store writes the sums to their places in the filter.
func (b *outerBlock) store(dw []float32) {
	t := &b.grid
	for j := b.r0; j < b.r1; j += panelWidth {
		sums := b.sums[(j-b.r0)/panelWidth*t.count()*b.lefts*panelWidth:]
		cols := min(panelWidth, b.r1-j)
		for i, r := range t.filterRows {
			for k, s := range t.filterCols {
				for l := b.l0; l < b.l1; l++ {
					row := sums[((i*len(t.filterCols)+k)*b.lefts+l-b.l0)*panelWidth:][:cols]
					tap := dw[(r*b.filter+s)*t.src.c*t.dst.c:]
					if !b.swapped {
						copy(tap[l*t.dst.c+j:], row)
						continue
					}
					for c, v := range row {
						tap[(j+c)*t.src.c+l] = v
					}
				}
			}
		}
	}
}
