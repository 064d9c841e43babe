package kernel

// pixelSums sums dy over each image's pixels, and those sums over the images in order.
type pixelSums struct {
	n, pixels, k int
	products     []product

	images, dy []float32
	part       func(worker, i int)
}

var one = [1]float32{1}

func newPixelSums(n, pixels, k, workers int, s *isa) *pixelSums {
	p := &pixelSums{n: n, pixels: pixels, k: k, products: newProducts(workers, s)}
	p.part = p.do
	return p
}

func (p *pixelSums) scratch() ScratchSize { return ScratchSize{Shared: p.n * p.k} }

// run writes the images' sums to dtemb and their sum to db; either may be nil.
func (p *pixelSums) run(db, dtemb, dy []float32, scratch Scratch) {
	p.dy, p.images = dy, dtemb
	if dtemb == nil {
		p.images = scratch.Shared
	}
	if p.pixels == 1 && dtemb == nil {
		p.images = dy
	} else {
		parallelBy(p.n, len(p.products), p.part)
	}
	if db != nil {
		p.products[0].sumRows(db, p.images, p.n, p.k)
	}
}

// do sums image n's pixels.
func (p *pixelSums) do(worker, n int) {
	size := p.pixels * p.k
	p.products[worker].sumRows(p.images[n*p.k:(n+1)*p.k], p.dy[n*size:(n+1)*size], p.pixels, p.k)
}

// sumRows writes the sum of the rows of x [rows, cols], in order: a product with a
// row of ones.
func (p *product) sumRows(sum, x []float32, rows, cols int) {
	whole := cols &^ 15
	p.a, p.aRow, p.aCol = &one[0], 4, 0
	p.bRow = uintptr(4 * cols)
	p.init, p.initRow, p.cRow, p.add = &zeroLine[0], 0, 0, nil
	p.segs, p.numSegs, p.segLen = &noOffsets[0], 1, rows
	for j := 0; j < whole; j += panelWidth {
		p.b, p.c = &x[j], &sum[j]
		p.colsPanel(1, min(panelWidth, whole-j))
	}
	clear(sum[whole:cols])
	for i := 0; i < rows && whole < cols; i++ {
		for j := whole; j < cols; j++ {
			sum[j] += x[i*cols+j]
		}
	}
}
