package gemm

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// Product is a matrix product of any size in the making; each goroutine at work on one has its own. The embedded Operands
// describe the matrices as a whole.
type Product struct {
	*Kernels
	Operands
	run  Operands                          // what a micro-kernel is given
	edge [MaxTileRows * PanelWidth]float32 // the result of a tile that is wider than C
	_    [64]byte                          // no shared cache line with the neighbour's
}

// StopFetching ends what Fetch and FetchColumns began.
func (p *Product) StopFetching() {
	nothing := flow{address: uintptr(unsafe.Pointer(&ZeroLine[0]))}
	p.flow, p.prefetch = [2]flow{nothing, nothing}, [2]stream{}
}

// Fetch lets the product fetch memory x while it runs over the given number of A's columns in all its tiles. i is 0 or
// 1: two things can be fetched at a time.
func (p *Product) Fetch(i int, x []float32, columns int) {
	p.flow[i] = flow{uintptr(unsafe.Pointer(unsafe.SliceData(x))), uintptr(min(64, (4*len(x)+columns-1)/columns))}
}

// TakeFetching continues what q fetches.
func (p *Product) TakeFetching(q *Product) { p.flow, p.prefetch = q.flow, q.prefetch }

// FetchColumns lets the product fetch columns c0 to c1 of x, whose rows have c, in a number of tiles over depth columns
// of A each.
func (p *Product) FetchColumns(i int, x []float32, c, c0, c1, tiles, depth int) {
	if c1-c0 == c {
		p.Fetch(i, x, tiles*depth)
		return
	}
	p.FetchRuns(i, x, c, c0, c1, tiles)
}

// FetchRuns is FetchColumns that leaves Fetch's place i free.
func (p *Product) FetchRuns(i int, x []float32, c, c0, c1, tiles int) {
	rows, lines := len(x)/c, (c1-c0+15)/16
	p.prefetch[i] = stream{uintptr(unsafe.Pointer(unsafe.SliceData(x[c0:]))), (rows + tiles - 1) / tiles, lines, uintptr(4*c - 64*lines)}
}

// RowsPanel computes rows x cols elements of C, cols at most PanelWidth, where A's
// elements of one row lie next to each other. B, and init when initRow is 0, must be
// readable up to the next multiple of 16 columns.
func (p *Product) RowsPanel(rows, cols int) { p.panel(&p.Kernels.rows, rows, cols) }

// ColsPanel is RowsPanel for an A whose elements of one column lie next to each other.
func (p *Product) ColsPanel(rows, cols int) { p.panel(&p.Kernels.cols, rows, cols) }

func (p *Product) panel(kernels *microKernels, rows, cols int) {
	p.run = p.Operands
	p.strips(kernels, rows, cols)
	p.prefetch, p.flow = p.run.prefetch, p.run.flow
}

// strips computes the columns strip by strip, and the rows of a strip in tiles of two
// heights, those of one height in one call.
func (p *Product) strips(kernels *microKernels, rows, cols int) {
	tiles := (rows + p.maxRows - 1) / p.maxRows
	low := rows / tiles
	high := rows % tiles * (low + 1) // so many rows are in tiles one row higher
	for j := 0; j < cols; {
		width := 16
		if cols-j > 16 {
			width = p.maxCols
		}
		for i := 0; i < rows; {
			height, count := low, (rows-i)/low
			if i < high {
				height, count = low+1, (high-i)/(low+1)
			}
			p.start(i, j, height)
			f := kernels[width/16-1][height]
			if cols-j >= width {
				p.run.Count = count
				f((*byte)(unsafe.Pointer(&p.run)))
				i += count * height
			} else {
				p.edgeTile(f, height, cols-j)
				i += height
			}
		}
		j += width
	}
}

// Tiles is the number of micro-tiles of rows x cols elements.
func (p *Product) Tiles(rows, cols int) int {
	return ((rows + p.maxRows - 1) / p.maxRows) * ((cols + p.maxCols - 1) / p.maxCols)
}

// start points the next call at the tile of the given height that begins at row i and column j.
func (p *Product) start(i, j, height int) {
	r := &p.run
	row, col, step := uintptr(i), uintptr(4*j), uintptr(height)
	r.Count = 1
	r.A, r.AStep = mem.Move(p.A, row*p.ARow), step*p.ARow
	r.B, r.BStep = mem.Move(p.B, col), 0
	r.C, r.CStep = mem.Move(p.C, row*p.CRow+col), step*p.CRow
	r.Init, r.InitStep = mem.Move(p.Init, row*p.InitRow+col), step*p.InitRow
	r.AddStep = 0
	if p.Add != nil {
		r.Add, r.AddStep = mem.Move(p.Add, row*p.AddRow+col), step*p.AddRow
	}
}

// edgeTile runs f into p.edge and copies the cols columns that exist to C.
func (p *Product) edgeTile(f func(*byte), rows, cols int) {
	const row = 4 * PanelWidth
	r := &p.run
	c, add := r.C, r.Add
	if r.InitRow != 0 {
		for i := 0; i < rows; i++ {
			copy(p.edge[i*PanelWidth:][:cols], mem.Floats(mem.Move(r.Init, uintptr(i)*r.InitRow), cols))
		}
		r.Init, r.InitRow = &p.edge[0], row
	}
	r.C, r.CRow, r.Add = &p.edge[0], row, nil
	f((*byte)(unsafe.Pointer(r)))
	for i := 0; i < rows; i++ {
		to, from := mem.Floats(mem.Move(c, uintptr(i)*p.CRow), cols), p.edge[i*PanelWidth:][:cols]
		if add == nil {
			copy(to, from)
			continue
		}
		for j, v := range mem.Floats(mem.Move(add, uintptr(i)*p.AddRow), cols) {
			to[j] = from[j] + v
		}
	}
	r.InitRow, r.CRow = p.InitRow, p.CRow
}

// planesWork limits the work of one call of a micro-kernel over many planes.
const planesWork = 36 * 256

// Planes computes rows x cols elements of each of count products.
func (p *Product) Planes(count, rows, cols int) {
	p.run = p.Operands
	if rows > p.maxRows { // so that each of B's planes stays in the first-level cache from tile to tile
		for k := range count {
			if k > 0 {
				p.A, p.B, p.C = mem.Move(p.A, p.AStep), mem.Move(p.B, p.BStep), mem.Move(p.C, p.CStep)
			}
			p.strips(&p.Kernels.rows, rows, (cols+15)&^15)
		}
	} else {
		p.tilePlanes(count, rows, cols)
	}
	p.prefetch, p.flow = p.run.prefetch, p.run.flow
}

// tilePlanes is Planes for products one micro-tile high, many of them in a call.
func (p *Product) tilePlanes(count, rows, cols int) {
	r, step := &p.run, min(count, max(1, planesWork/p.SegLen))
	for j := 0; j < cols; {
		width := 16
		if cols-j > 16 {
			width = p.maxCols
		}
		for k := 0; k < count; k += step {
			r.Count = min(step, count-k)
			r.A = mem.Move(p.A, uintptr(k)*p.AStep)
			r.B = mem.Move(p.B, uintptr(4*j)+uintptr(k)*p.BStep)
			r.C = mem.Move(p.C, uintptr(4*j)+uintptr(k)*p.CStep)
			p.Kernels.rows[width/16-1][rows]((*byte)(unsafe.Pointer(r)))
		}
		j += width
	}
}

// SumRows writes the sum of the rows of x [rows, cols], in order: a product with a
// row of ones.
func (p *Product) SumRows(sum, x []float32, rows, cols int) {
	whole := cols &^ 15
	p.A, p.ARow, p.ACol = &One[0], 4, 0
	p.BRow = uintptr(4 * cols)
	p.Init, p.InitRow, p.CRow, p.Add = &ZeroLine[0], 0, 0, nil
	p.Segs, p.NumSegs, p.SegLen = &NoOffsets[0], 1, rows
	for j := 0; j < whole; j += PanelWidth {
		p.B, p.C = &x[j], &sum[j]
		p.ColsPanel(1, min(PanelWidth, whole-j))
	}
	clear(sum[whole:cols])
	for i := 0; i < rows && whole < cols; i++ {
		for j := whole; j < cols; j++ {
			sum[j] += x[i*cols+j]
		}
	}
}

// NewProducts is a Product for each of so many workers, with a machine's micro-kernels.
func NewProducts(workers int, k *Kernels) []Product {
	p := make([]Product, workers)
	for i := range p {
		p[i].Kernels = k
		p[i].StopFetching()
	}
	return p
}

// InitRows writes the row that every pixel of an image starts from: bias + temb. It
// writes nothing when both are nil.
func InitRows(rows, bias, temb []float32, images, k int) {
	if bias == nil && temb == nil {
		return
	}
	for n := 0; n < images; n++ {
		row := rows[n*Padded(k):][:Padded(k)]
		clear(row[copy(row, bias):])
		if temb != nil {
			for j, v := range temb[n*k : (n+1)*k] {
				row[j] += v
			}
		}
	}
}
