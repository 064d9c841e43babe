package kernel

// patchGrid is how images are cut into patches of outputs, numbered image by image and row by row. Those of the last
// row and column may be smaller, where that is enough and the algorithm has transforms for it.
type patchGrid struct {
	n, h, w            int // images, and their size
	rows, cols         int // patches of an image
	size               int // of a whole patch
	lastRows, lastCols int // of a patch in the last row, column
	reach              int // rows and columns that a patch of inputs has more than its outputs
	side               int // points in each dimension
	runs               []planeRun
	unit               int // patches that are not parted: a row, where its last one is narrower, or 1
}

// planeRun is count planes in a row, from first on, that the same patches take part in: with narrow also those of a
// narrower last column, with low also those of a lower last row.
type planeRun struct {
	first, count int
	low, narrow  bool
}

func newPatchGrid(s ConvShape, f *transforms) patchGrid {
	g := patchGrid{n: s.N, h: s.H, w: s.W, size: f.size, reach: f.taps - 1, side: f.size + f.taps - 1}
	g.rows, g.lastRows = f.cutSide(s.H)
	g.cols, g.lastCols = f.cutSide(s.W)
	for k := range g.planes() {
		low, narrow := k/g.side < g.lastRows+g.reach, k%g.side < g.lastCols+g.reach
		if last := len(g.runs) - 1; last >= 0 && g.runs[last].low == low && g.runs[last].narrow == narrow {
			g.runs[last].count++
			continue
		}
		g.runs = append(g.runs, planeRun{k, 1, low, narrow})
	}
	if g.unit = 1; len(g.runs) > 1 && g.cols <= maxTileRows {
		g.unit = g.cols // so that a block reads no rows of pixels that it needs in part only
	}
	return g
}

// blockOf is the largest number of patches, up to most, that makes a block.
func (g *patchGrid) blockOf(most int) int { return max(1, most/g.unit) * g.unit }

// cutBlock is block b when patches first to end are cut into so many.
func (g *patchGrid) cutBlock(first, end, b, blocks int) (t0, t1 int) {
	units := (end - first) / g.unit
	return first + units*b/blocks*g.unit, first + units*(b+1)/blocks*g.unit
}

// cutSide cuts a side of an image into patches. The last one of several may be smaller, where there are transforms for that.
func (f *transforms) cutSide(length int) (count, last int) {
	count, last = (length+f.size-1)/f.size, f.size
	if rest := length % f.size; count > 1 && rest > 0 {
		for last = rest; f.input[last][last] == nil; last++ {
		}
	}
	return count, last
}

func (g *patchGrid) planes() int   { return g.side * g.side }
func (g *patchGrid) perImage() int { return g.rows * g.cols }

// products is the number of multiplications of one image for each pair of channels.
func (g *patchGrid) products() int {
	return (g.side*(g.rows-1) + g.lastRows + g.reach) * (g.side*(g.cols-1) + g.lastCols + g.reach)
}

// locate sets p's position to that of patch t and returns the patch's image and size.
func (g *patchGrid) locate(p *patch, t int) (n, rows, cols int) {
	y, x := t/g.cols%g.rows, t%g.cols
	p.y, p.x, rows, cols = g.size*y, g.size*x, g.size, g.size
	if y == g.rows-1 {
		rows = g.lastRows
	}
	if x == g.cols-1 {
		cols = g.lastCols
	}
	return t / g.perImage(), rows, cols
}

// row is the first row of patch t, counted through all images.
func (g *patchGrid) row(t int) int { return t/g.perImage()*g.h + g.size*(t/g.cols%g.rows) }

// fetchNext has the transform of patch t, at p's view, fetch patch next's first channels.
func (g *patchGrid) fetchNext(p *patch, t, next int) {
	p.next = uintptr(g.row(next)-g.row(t))*p.row + uintptr(g.size*(next%g.cols-t%g.cols))*p.pixel
}

// memory is the part of images of c channels, with l's grid in them, that patches t0 to t1 are the first to use.
func (g *patchGrid) memory(images []float32, l lattice, c, t0, t1 int) []float32 {
	floats := l.step * l.step * g.w * c // of a row of the grid
	return images[g.row(t0)*floats : min(g.row(t1-1)+g.size+1, g.n*g.h)*floats]
}

// lattice is where a grid's pixels lie in an image that has step times its rows and columns: pixel (i, j) is the image's
// pixel (step i + y, step j + x).
type lattice struct{ step, y, x int }

var plain = lattice{step: 1}

// view points p's view at a grid of h x w pixels of c channels, and returns the memory of image n from the grid's first
// pixel on.
func (l lattice) view(p *patch, images []float32, n, h, w, c int) []float32 {
	p.h, p.w = h, w
	p.row, p.pixel = uintptr(4*l.step*l.step*w*c), uintptr(4*l.step*c)
	return images[((n*l.step*h+l.y)*l.step*w+l.x)*c:]
}

// patchBlock is some patches in an order in which those that take part in a product follow each other: those that are
// only narrower, those that are whole, those that are only lower, and those that are both.
type patchBlock struct {
	first, end        int // as they are numbered
	list              []int
	whole, low, small int // where the second, third and fourth kind begin
}

// sort makes the block of patches t0 to t1.
func (b *patchBlock) sort(g *patchGrid, t0, t1 int) {
	b.first, b.end, b.list = t0, t1, b.list[:0]
	begin := [4]int{}
	for kind := range 4 {
		begin[kind] = len(b.list)
		for t := t0; t < t1; t++ {
			narrow := g.lastCols < g.size && t%g.cols == g.cols-1
			low := g.lastRows < g.size && t/g.cols%g.rows == g.rows-1
			if kind == kindOf(low, narrow) {
				b.list = append(b.list, t)
			}
		}
	}
	b.whole, b.low, b.small = begin[1], begin[2], begin[3]
}

func kindOf(low, narrow bool) int {
	switch {
	case low && narrow:
		return 3
	case low:
		return 2
	case narrow:
		return 0
	}
	return 1
}

// after is the patch behind the i-th of the block, or the last one itself.
func (b *patchBlock) after(i int) int { return b.list[min(i+1, len(b.list)-1)] }

// part is the range of the block that takes part in a run's products.
func (b *patchBlock) part(r planeRun) (first, end int) {
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
