package winograd

import (
	"slices"

	"unstir/nn/kernel/internal/gemm"
)

// tileGrid is how the grid of n images of h x w positions, each of them one output or a few, is cut into tiles, numbered
// image by image and row by row. Those of the last row and column may be smaller, where that is enough and the algorithm has
// transforms for it.
type tileGrid struct {
	geometry
	n, h, w            int
	rows, cols         int // tiles of an image
	size               int // of a whole tile
	lastRows, lastCols int // of a tile in the last row, column
	side               int // points in each dimension
	runs               []planeRun
	unit               int // tiles that are not parted: a row, where its last one is narrower, or 1
}

// planeRun is count planes in a row, from first on, that the same tiles take part in: with narrow also those of a
// narrower last column, with low also those of a lower last row.
type planeRun struct {
	first, count int
	low, narrow  bool
}

func newTileGrid(n, h, w int, f *transforms) tileGrid {
	g := tileGrid{geometry: f.geometry, n: n, h: h, w: w, size: f.whole(), side: f.points(f.whole())}
	g.rows, g.lastRows = f.cutSide(h)
	g.cols, g.lastCols = f.cutSide(w)
	for k := range g.planes() {
		low, narrow := k/g.side < g.points(g.lastRows), k%g.side < g.points(g.lastCols)
		if last := len(g.runs) - 1; last >= 0 && g.runs[last].low == low && g.runs[last].narrow == narrow {
			g.runs[last].count++
			continue
		}
		g.runs = append(g.runs, planeRun{k, 1, low, narrow})
	}
	if g.unit = 1; g.uneven() && g.cols <= gemm.MaxTileRows {
		g.unit = g.cols // so that a block reads no rows of pixels that it needs in part only
	}
	return g
}

// planeAfter is the plane that comes after plane k of the i-th run, if there is one.
func (g *tileGrid) planeAfter(i, k int) (next int, more bool) {
	switch r := g.runs[i]; {
	case k+1 < r.first+r.count:
		return k + 1, true
	case i+1 < len(g.runs):
		return g.runs[i+1].first, true
	}
	return 0, false
}

// uneven tells whether tiles of the last row or column are smaller.
func (g *tileGrid) uneven() bool { return g.lastRows < g.size || g.lastCols < g.size }

// blockOf is the largest number of tiles, up to most, that makes a block.
func (g *tileGrid) blockOf(most int) int { return max(1, most/g.unit) * g.unit }

// cutBlock is block b when tiles first to end are cut into so many.
func (g *tileGrid) cutBlock(first, end, b, blocks int) (t0, t1 int) {
	units := (end - first) / g.unit
	return first + units*b/blocks*g.unit, first + units*(b+1)/blocks*g.unit
}

// cutSide cuts a side of an image into tiles. The last one of several may be smaller, where there are transforms for that.
func (f *transforms) cutSide(length int) (count, last int) {
	size := f.whole()
	count, last = (length+size-1)/size, size
	if rest := length % size; count > 1 && rest > 0 {
		i, _ := slices.BinarySearch(f.sizes, rest)
		last = f.sizes[i]
	}
	return count, last
}

func (g *tileGrid) planes() int   { return g.side * g.side }
func (g *tileGrid) perImage() int { return g.rows * g.cols }

// products is the number of multiplications of one image for each pair of channels.
func (g *tileGrid) products() int {
	return (g.side*(g.rows-1) + g.points(g.lastRows)) * (g.side*(g.cols-1) + g.points(g.lastCols))
}

// place is where a tile is: its image, and its row and column of tiles. To divide for every tile and panel took up to
// a percent of a training step.
type place struct{ image, row, col int }

func (g *tileGrid) place(t int) place {
	return place{t / g.perImage(), t / g.cols % g.rows, t % g.cols}
}

// next is the place of the tile that is numbered after a's.
func (g *tileGrid) next(a place) place {
	if a.col++; a.col == g.cols {
		a.col = 0
		if a.row++; a.row == g.rows {
			a.row = 0
			a.image++
		}
	}
	return a
}

// locate sets p's position and size to those of tile a in l.
func (g *tileGrid) locate(p *tile, l lattice, a place) {
	p.y, p.x, p.rows, p.cols = g.size*a.row, g.size*a.col, g.size, g.size
	if a.row == g.rows-1 {
		p.rows = g.lastRows
	}
	if a.col == g.cols-1 {
		p.cols = g.lastCols
	}
}

// row is the first row of tile a in l, counted through all images.
func (g *tileGrid) row(l lattice, a place) int { return a.image*l.h + g.size*a.row }

// fetchNext has the transform of tile a, at p's view of l, fetch tile b's first channels.
func (g *tileGrid) fetchNext(p *tile, l lattice, a, b place) {
	p.next = uintptr(g.row(l, b)-g.row(l, a))*p.row + uintptr(g.size*(b.col-a.col))*p.pixel
}

// memory is the part of images of c channels, with l's pixels in them, that tiles t0 to t1 are the first to use.
func (g *tileGrid) memory(images []float32, l lattice, c, t0, t1 int) []float32 {
	floats := l.step * l.step * l.w * c // of a row
	return images[g.row(l, g.place(t0))*floats : min(g.row(l, g.place(t1-1))+g.size+1, g.n*l.h)*floats]
}

// tileBlock is some tiles in an order in which those that take part in a product follow each other: those that are
// only narrower, those that are whole, those that are only lower, and those that are both.
type tileBlock struct {
	first, end        int // as they are numbered
	list              []place
	whole, low, small int // where the second, third and fourth kind begin
}

// sort makes the block of tiles t0 to t1.
func (b *tileBlock) sort(g *tileGrid, t0, t1 int) {
	b.first, b.end, b.list = t0, t1, b.list[:0]
	begin := [4]int{}
	for kind := range begin {
		begin[kind] = len(b.list)
		if kind != wholeTile && !g.uneven() {
			continue
		}
		at := g.place(t0)
		for range t1 - t0 {
			if g.kindOf(at) == kind {
				b.list = append(b.list, at)
			}
			at = g.next(at)
		}
	}
	b.whole, b.low, b.small = begin[1], begin[2], begin[3]
}

const wholeTile = 1

// kindOf is the number of the tile's kind in a block.
func (g *tileGrid) kindOf(a place) int {
	narrow := g.lastCols < g.size && a.col == g.cols-1
	low := g.lastRows < g.size && a.row == g.rows-1
	switch {
	case low && narrow:
		return 3
	case low:
		return 2
	case narrow:
		return 0
	}
	return wholeTile
}

// after is the tile behind the i-th of the block, or the last one itself.
func (b *tileBlock) after(i int) place { return b.list[min(i+1, len(b.list)-1)] }

// part is the range of the block that takes part in a run's products.
func (b *tileBlock) part(r planeRun) (first, end int) {
	first, end = b.whole, b.low
	if r.narrow {
		first = 0
	}
	switch {
	case r.low && r.narrow:
		end = len(b.list)
	case r.low:
		end = b.small
	}
	return first, end
}
