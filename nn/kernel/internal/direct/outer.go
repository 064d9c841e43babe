package direct

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/mem"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/reduce"
	"unstir/nn/kernel/internal/shape"
)

// Outer is the gradient of a filter by a matrix product over pixels: for each tap,
//
//	D[tap, l, r] = sum over images and grid points of left[pixel under the tap, l] right[grid point, r]
//
// where left is x, right is dy and the grid is the output. When dy has one to three
// channels the parts are swapped, so that the vectors' lanes are x's channels.
//
// The work is cut into pieces of the images, blocks of left channels and groups of
// right panels. The number of pieces depends on the shape only; they are added in
// order.
type Outer struct {
	n, filter int
	grid      taps // dst: right's shape
	swapped   bool
	mode      Mode
	grids     int // grid points per image
	blocks    int // of left channels
	lefts     int // channels of the largest block
	groups    int // of right panels
	panels    int // of a group
	pieces    *reduce.Pieces
	bandRows  int // grid rows in one go
	products  []gemm.Product
	sums      *PixelSums   // of dy
	segs      [2][]uintptr // of a band's grid rows in windows lefts and lefts-1 channels wide
	leftLen   int          // floats of a worker's buffers
	rightLen  int
	sumLen    int

	left, right []float32
	mem         parallel.Scratch
	part        func(worker, i int)
}

// Mode is how the elements of left that meet the taps are found.
type Mode int

const (
	TapByTap Mode = iota // left is copied with its padding, each tap at its offset
	Im2col               // the elements under all taps are copied side by side, one row a grid point
	Matrix               // left is read in place: a 1x1 filter
)

const outerPixels = 256 // grid points in one go, about

// channelBlock is how many channels of x and of dy are in a block of Matrix, which reads its channels of all pixels.
func channelBlock(c cpu.Info) int {
	if c.L2 >= 2<<20 {
		return 256
	}
	return 64
}

// NewOuter makes the plan of a filter's gradient. Swapped exchanges x and dy, for few output channels: the convolution must
// have stride 1.
func NewOuter(s shape.Conv, mode Mode, swapped bool, workers int, c cpu.Info) *Outer {
	o := &Outer{panels: 2, n: s.N, filter: s.R, grid: forwardTaps(s)[0], mode: mode, swapped: swapped}
	if swapped {
		o.grid = dataTaps(s)[0]
	}
	t, pieces := &o.grid, 0
	switch mode {
	case Matrix:
		// The pieces are those of blocks of 64 by 64, whatever the blocks, so that their size changes no bits.
		blocks := func(side int) int { return ((t.src.c + side - 1) / side) * ((t.dst.c + side - 1) / side) }
		pieces = min(max(1, 16/blocks(64)), max(1, s.N*t.dst.h*t.dst.w/outerPixels))
		side := channelBlock(c)
		if pieces*blocks(side) < workers {
			side = 64
		}
		o.lefts, o.panels = side, side/gemm.PanelWidth
		t.rows, t.cols = 1, s.N*t.dst.h*t.dst.w
		o.n = 1
	case Im2col:
		o.lefts = t.src.c
	default:
		o.lefts = 32
	}
	o.blocks = (t.src.c + o.lefts - 1) / o.lefts
	o.lefts = (t.src.c + o.blocks - 1) / o.blocks
	o.groups = (gemm.Padded(t.dst.c)/gemm.PanelWidth + o.panels - 1) / o.panels
	if o.mode == Matrix { // few chunks are made as many as keep all threads at work, which changes no bits
		for n := pieces * o.groups; n*o.blocks > workers && n*o.blocks < 3*workers && n*o.blocks%workers != 0 && o.lefts > 16; {
			o.blocks++
			o.lefts = (t.src.c + o.blocks - 1) / o.blocks
		}
	}
	o.grids = t.rows * t.cols
	if o.mode != Matrix {
		pieces = min(max(1, 16/(o.blocks*o.groups)), o.n)
	}
	o.pieces = reduce.New(pieces, s.R*s.R*s.C*s.K, c)
	o.bandRows = min(t.rows, max(1, outerPixels/t.cols))
	o.sizes()
	o.products = gemm.NewProducts(workers, gemm.Of(c))
	o.sums = NewPixelSums(s.N, s.OutH()*s.OutW(), s.K, workers, c)
	o.part = o.do
	return o
}

// sizes computes the buffers' lengths and the segments of a band's grid rows.
func (o *Outer) sizes() {
	t := &o.grid
	points := o.bandRows * t.cols
	if o.mode == Matrix {
		points = outerPixels
	}
	h, w := t.window(0, o.bandRows)
	switch o.mode {
	case TapByTap:
		o.leftLen = h * w * o.lefts
		for i := 0; i < o.bandRows; i++ {
			for k := range o.segs {
				o.segs[k] = append(o.segs[k], uintptr(4*i*t.step*w*(o.lefts-k)))
			}
		}
	case Im2col:
		o.leftLen = points * t.count() * t.src.c
	}
	if t.dst.c%16 != 0 {
		o.rightLen = points * o.panels * gemm.PanelWidth
	}
	o.leftLen, o.rightLen = (o.leftLen+31)&^15, (o.rightLen+31)&^15
	o.sumLen = o.panels * t.count() * o.lefts * gemm.PanelWidth
}

// Scratch is how much scratch Run needs.
func (o *Outer) Scratch() parallel.ScratchSize {
	return parallel.PerWorker(len(o.products), o.leftLen+o.rightLen+o.sumLen).With(o.pieces.Scratch()).Max(o.sums.Scratch())
}

// Run overwrites dw with the gradient of the filter, and db and dtemb, where they are not nil, with those of the bias and of
// the time embedding.
func (o *Outer) Run(dw, db, dtemb, x, dy []float32, scratch parallel.Scratch) {
	o.left, o.right = x, dy
	if o.swapped {
		o.left, o.right = dy, x
	}
	o.mem = scratch
	o.pieces.Start(dw, o.mem.Take(o.pieces.Scratch()))
	parallel.InOrder(o.pieces.Count*o.blocks*o.groups, len(o.products), o.part)
	o.pieces.Finish()
	if db != nil || dtemb != nil {
		o.sums.Run(db, dtemb, dy, scratch)
	}
}

// do computes one block of one piece.
func (o *Outer) do(worker, i int) {
	group, i := i%o.groups, i/o.groups
	block, piece := i%o.blocks, o.pieces.At(i/o.blocks)
	t := &o.grid
	p := &o.products[worker]
	bufs := o.mem.Worker(worker)
	b := outerBlock{
		Outer: o, p: p,
		left: bufs[:o.leftLen], right: bufs[o.leftLen : o.leftLen+o.rightLen], sums: bufs[o.leftLen+o.rightLen:][:o.sumLen],
		l0: t.src.c * block / o.blocks, l1: t.src.c * (block + 1) / o.blocks,
		r0: group * o.panels * gemm.PanelWidth, r1: min((group+1)*o.panels*gemm.PanelWidth, t.dst.c),
	}
	if o.mode == Matrix {
		b.matrix(o.pieces.Of(piece), piece)
		return
	}
	clear(b.sums)
	first, end := o.pieces.Cut(o.n, piece)
	for n := first; n < end; n++ {
		for q := 0; q < t.rows; q += o.bandRows {
			b.gridRows(n, q, min(q+o.bandRows, t.rows))
		}
	}
	b.store(o.pieces.Of(piece))
}

// outerBlock is left channels l0 to l1 times right channels r0 to r1; sums is
// [right panel][tap][l][32].
type outerBlock struct {
	*Outer
	p                 *gemm.Product
	left, right, sums []float32
	l0, l1, r0, r1    int
}

// matrix computes the block for two matrices of which the piece is some rows. The last of them are added on the way to dw.
func (b *outerBlock) matrix(dw []float32, piece int) {
	t, p := &b.grid, b.p
	first, end := b.pieces.Cut(b.grids, piece)
	for q0 := first; q0 < end; q0 += outerPixels {
		q1 := min(q0+outerPixels, end)
		b.fetchRows(dw, q1, min(q1+outerPixels, end))
		b.setRight(q0, q1)
		right := p.B
		p.A, p.ARow, p.ACol = &b.Outer.left[q0*t.src.c+b.l0], 4, uintptr(4*t.src.c)
		p.Segs, p.NumSegs, p.SegLen, p.Add = &gemm.NoOffsets[0], 1, q1-q0, nil
		for j := b.r0; j < b.r1; j += gemm.PanelWidth {
			sums := &b.sums[(j-b.r0)*b.lefts]
			p.B, p.C, p.CRow, p.Init, p.InitRow = mem.Move(right, uintptr(4*(j-b.r0))), sums, 4*gemm.PanelWidth, sums, 4*gemm.PanelWidth
			cols := min(gemm.PanelWidth, (b.r1-j+15)&^15)
			if q0 == first {
				p.Init, p.InitRow = &gemm.ZeroLine[0], 0
			}
			if q1 == end {
				p.C, p.CRow, cols = &dw[b.l0*t.dst.c+j], uintptr(4*t.dst.c), min(gemm.PanelWidth, b.r1-j)
			}
			p.ColsPanel(b.l1-b.l0, cols)
		}
	}
}

// fetchRows arranges for the products to fetch the block's columns of rows q0 to q1 or, where these are none, of dw.
func (b *outerBlock) fetchRows(dw []float32, q0, q1 int) {
	t, p := &b.grid, b.p
	p.StopFetching()
	calls := p.Tiles(b.l1-b.l0, b.r1-b.r0)
	if q0 >= q1 {
		p.FetchRuns(0, dw[b.l0*t.dst.c:b.l1*t.dst.c], t.dst.c, b.r0, b.r1, calls)
		return
	}
	p.FetchColumns(0, b.Outer.left[q0*t.src.c:q1*t.src.c], t.src.c, b.l0, b.l1, calls, q1-q0)
	p.FetchColumns(1, b.Outer.right[q0*t.dst.c:q1*t.dst.c], t.dst.c, b.r0, b.r1, calls, q1-q0)
}

// gridRows adds the products of grid rows q0 to q1 of image n.
func (b *outerBlock) gridRows(n, q0, q1 int) {
	t, p := &b.grid, b.p
	b.setRight((n*t.rows+q0)*t.cols, (n*t.rows+q1)*t.cols)
	if b.mode == Im2col {
		b.copyUnderTaps(n, q0, q1)
		rows := t.count() * t.src.c
		p.A, p.ARow, p.ACol = &b.left[0], 4, uintptr(4*rows)
		p.Segs, p.NumSegs, p.SegLen = &gemm.NoOffsets[0], 1, (q1-q0)*t.cols
		b.multiply(rows, 0)
		return
	}
	lefts := b.l1 - b.l0
	t.copyWindow(b.left, b.Outer.left, n, q0, q1, b.l0, b.l1)
	_, w := t.window(q0, q1)
	p.ARow, p.ACol = 4, uintptr(4*t.step*lefts)
	p.Segs, p.NumSegs, p.SegLen = &b.segs[b.lefts-lefts][0], q1-q0, t.cols
	for i := range t.filterRows {
		for j := range t.filterCols {
			p.A = &b.left[(i*w+j)*lefts]
			b.multiply(lefts, (i*len(t.filterCols)+j)*b.lefts)
		}
	}
}

// setRight points at grid points q0 to q1 of right, or at a padded copy of them.
func (b *outerBlock) setRight(q0, q1 int) {
	p, c := b.p, b.grid.dst.c
	if b.rightLen <= 31 {
		p.B, p.BRow = &b.Outer.right[q0*c+b.r0], uintptr(4*c)
		return
	}
	width := b.panels * gemm.PanelWidth
	for q := q0; q < q1; q++ {
		row := b.right[(q-q0)*width : (q-q0+1)*width]
		clear(row[copy(row, b.Outer.right[q*c+b.r0:q*c+b.r1]):])
	}
	p.B, p.BRow = &b.right[0], uintptr(4*width)
}

// multiply adds A times right to rows of sums, from row on.
func (b *outerBlock) multiply(rows, row int) {
	p := b.p
	right := p.B
	for j := b.r0; j < b.r1; j += gemm.PanelWidth {
		p.B = mem.Move(right, uintptr(4*(j-b.r0)))
		p.C, p.CRow = &b.sums[((j-b.r0)/gemm.PanelWidth*b.grid.count()*b.lefts+row)*gemm.PanelWidth], 4*gemm.PanelWidth
		p.Init, p.InitRow, p.Add = p.C, p.CRow, nil
		p.ColsPanel(rows, min(gemm.PanelWidth, (b.r1-j+15)&^15))
	}
	p.B = right
}

// copyUnderTaps writes the elements under the taps of each grid point side by side.
func (b *outerBlock) copyUnderTaps(n, q0, q1 int) {
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
					for k, v := range b.Outer.left[from : from+run] {
						row[k] = v
					}
				default:
					for k := range row {
						row[k] = 0
						if at := x0 + k/t.src.c; at >= 0 && at < t.src.w {
							row[k] = b.Outer.left[from+k]
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
	for j := b.r0; j < b.r1; j += gemm.PanelWidth {
		sums := b.sums[(j-b.r0)/gemm.PanelWidth*t.count()*b.lefts*gemm.PanelWidth:]
		cols := min(gemm.PanelWidth, b.r1-j)
		for i, r := range t.filterRows {
			for k, s := range t.filterCols {
				for l := b.l0; l < b.l1; l++ {
					row := sums[((i*len(t.filterCols)+k)*b.lefts+l-b.l0)*gemm.PanelWidth:][:cols]
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
