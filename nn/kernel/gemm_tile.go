package kernel

import "unsafe"

// tile is the argument of a register tile, the inner loop of every matrix product
// here. It computes, for each of rows x columns elements,
//
//	C(i, j) = init(i, j) + sum over p, in order, of A(i, p) B(p, j) + add(i, j)
//
// with one fused multiply-add per product. A's columns come in segments, each of
// segLen columns at its own offset from a, so that A can be the pixels under a
// filter or a blocked array; B's rows follow each other through all segments:
//
//	A(i, p) = a + segs[p / segLen] + i aRow + (p mod segLen) aCol
//	B(p, j) = b + p bRow + 4 j
//	C(i, j) = c + i cRow + 4 j      init, add likewise
//
// All offsets and steps are in bytes. Functions named tileRows want aCol = 4,
// those named tileCols want aRow = 4. This is done count times, the operands moving
// on by their steps in between. The call changes them, count, prefetch and flow. A tile lives on
// the heap, and the garbage collector looks at its pointers, so none of them may
// point past the end of an array, not even when nothing is read there.
//
// The order of the fields is known to _generate/gemm.go.
type tile struct {
	a, b, c, init, add  *float32 // add may be nil
	aRow, aCol, bRow    uintptr
	cRow, initRow       uintptr
	addRow              uintptr
	segs                *uintptr // byte offsets from a
	numSegs, segLen     int
	count               int
	aStep, bStep, cStep uintptr
	initStep, addStep   uintptr

	prefetch [2]stream
	flow     [2]flow
}

// flow is memory to fetch into the second-level cache on the side: a line at address
// with every column of A, moving on by step bytes, at most 64. The address must be
// one that exists, also where nothing is to be fetched and step is 0: looking for
// others takes long.
type flow struct {
	address, step uintptr
}

// stream is memory with gaps, to be fetched with every tile: so many runs of lines of 64 bytes, from
// address on, which moves on and behind each run skips some bytes. Any address will do.
type stream struct {
	address uintptr
	runs    int
	lines   int // of a run
	skip    uintptr
}

// panelWidth is the number of columns of a packed panel of B. Each panel is stored
// row after row, padded with zeros on the right.
const panelWidth = 32

// padded is n rounded up to whole panels.
func padded(n int) int { return (n + panelWidth - 1) &^ (panelWidth - 1) }

var (
	zeroLine  [panelWidth]float32
	noOffsets [1]uintptr // one segment that starts at a
)

// isa is the set of functions of one level. A register tile is called through a
// table, hence takes a plain pointer, which is a *tile.
type isa struct {
	maxRows   int                // rows of the largest register tile
	maxCols   int                // its columns, 16 or 32
	rows      [2][15]func(*byte) // tileRows for [columns/16 - 1][rows]
	cols      [2][15]func(*byte) // tileCols
	transpose func(dst *float32, dstRow uintptr, src *float32, srcRow uintptr, blocks int)

	lanes               int        // floats in a vector
	winoPatches         int        // patches that are multiplied at a time
	wino2, wino4, wino6 transforms // on a *patch
	winoUp              parities
}

// product is a matrix product of any size in the making; each goroutine at work on
// one has its own. The embedded tile describes the operands as a whole.
type product struct {
	*isa
	tile
	run  tile                              // what a register tile is given
	edge [maxTileRows * panelWidth]float32 // the result of a tile that is wider than C
	_    [64]byte                          // no shared cache line with the neighbour's
}

const maxTileRows = 14

// stopFetching ends what fetch and fetchColumns began.
func (p *product) stopFetching() {
	nothing := flow{address: uintptr(unsafe.Pointer(&zeroLine[0]))}
	p.flow, p.prefetch = [2]flow{nothing, nothing}, [2]stream{}
}

// fetch lets the product fetch memory x while it runs over the given number of A's columns in all its tiles. i is 0 or
// 1: two things can be fetched at a time.
func (p *product) fetch(i int, x []float32, columns int) {
	p.flow[i] = flow{uintptr(unsafe.Pointer(unsafe.SliceData(x))), uintptr(min(64, (4*len(x)+columns-1)/columns))}
}

// fetchColumns lets the product fetch columns c0 to c1 of x, whose rows have c, in a number of tiles over depth columns
// of A each.
func (p *product) fetchColumns(i int, x []float32, c, c0, c1, tiles, depth int) {
	if c1-c0 == c {
		p.fetch(i, x, tiles*depth)
		return
	}
	p.fetchRuns(i, x, c, c0, c1, tiles)
}

// fetchRuns is fetchColumns that leaves fetch's place i free.
func (p *product) fetchRuns(i int, x []float32, c, c0, c1, tiles int) {
	rows, lines := len(x)/c, (c1-c0+15)/16
	p.prefetch[i] = stream{uintptr(unsafe.Pointer(unsafe.SliceData(x[c0:]))), (rows + tiles - 1) / tiles, lines, uintptr(4*c - 64*lines)}
}

// rowsPanel computes rows x cols elements of C, cols at most panelWidth, where A's
// elements of one row lie next to each other. B, and init when initRow is 0, must be
// readable up to the next multiple of 16 columns.
func (p *product) rowsPanel(rows, cols int) { p.panel(&p.isa.rows, rows, cols) }

// colsPanel is rowsPanel for an A whose elements of one column lie next to each other.
func (p *product) colsPanel(rows, cols int) { p.panel(&p.isa.cols, rows, cols) }

func (p *product) panel(kernels *[2][15]func(*byte), rows, cols int) {
	p.run = p.tile
	p.strips(kernels, rows, cols)
	p.prefetch, p.flow = p.run.prefetch, p.run.flow
}

// strips computes the columns strip by strip, and the rows of a strip in tiles of two
// heights, those of one height in one call.
func (p *product) strips(kernels *[2][15]func(*byte), rows, cols int) {
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
				p.run.count = count
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

// tiles is the number of register tiles of rows x cols elements.
func (p *product) tiles(rows, cols int) int {
	return ((rows + p.maxRows - 1) / p.maxRows) * ((cols + p.maxCols - 1) / p.maxCols)
}

// start points the next call at the tile of the given height that begins at row i and column j.
func (p *product) start(i, j, height int) {
	r := &p.run
	row, col, step := uintptr(i), uintptr(4*j), uintptr(height)
	r.count = 1
	r.a, r.aStep = move(p.a, row*p.aRow), step*p.aRow
	r.b, r.bStep = move(p.b, col), 0
	r.c, r.cStep = move(p.c, row*p.cRow+col), step*p.cRow
	r.init, r.initStep = move(p.init, row*p.initRow+col), step*p.initRow
	r.addStep = 0
	if p.add != nil {
		r.add, r.addStep = move(p.add, row*p.addRow+col), step*p.addRow
	}
}

// edgeTile runs f into p.edge and copies the cols columns that exist to C.
func (p *product) edgeTile(f func(*byte), rows, cols int) {
	const row = 4 * panelWidth
	r := &p.run
	c, add := r.c, r.add
	if r.initRow != 0 {
		for i := 0; i < rows; i++ {
			copy(p.edge[i*panelWidth:][:cols], floats(move(r.init, uintptr(i)*r.initRow), cols))
		}
		r.init, r.initRow = &p.edge[0], row
	}
	r.c, r.cRow, r.add = &p.edge[0], row, nil
	f((*byte)(unsafe.Pointer(r)))
	for i := 0; i < rows; i++ {
		to, from := floats(move(c, uintptr(i)*p.cRow), cols), p.edge[i*panelWidth:][:cols]
		if add == nil {
			copy(to, from)
			continue
		}
		for j, v := range floats(move(add, uintptr(i)*p.addRow), cols) {
			to[j] = from[j] + v
		}
	}
	r.initRow, r.cRow = p.initRow, p.cRow
}

// move is the address n bytes behind p.
func move(p *float32, n uintptr) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), n)) }

// floats is the n floats at p.
func floats(p *float32, n int) []float32 { return unsafe.Slice(p, n) }

// aligned is x from its first 64-byte boundary on.
func aligned(x []float32) []float32 {
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(x))) & 63 / 4
	return x[skip:]
}
