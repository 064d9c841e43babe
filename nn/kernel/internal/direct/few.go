package direct

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// Few is the algorithm for convolutions to one, two or three channels, the image's.
// A panel of 32 columns would be nearly empty, so all taps are columns of one
// product, T[pixel, (tap, k)] = sum over c of src[pixel, c] w[tap, c, k], and a
// destination pixel adds up its taps' elements of T from the pixels around it.
type Few struct {
	n, filter  int
	transposed bool
	grid       taps
	bands      int
	width      int // columns of T
	products   []gemm.Product
	bufLen     int

	dstData, srcData, u, bias, temb, add []float32
	mem                                  parallel.Scratch
	part                                 func(worker, i int)
}

// NewFew makes the plan of a convolution, or with transposed of its input's gradient, of stride 1 to at most three channels.
func NewFew(s shape.Conv, transposed bool, workers int, c cpu.Info) *Few {
	grid := tapsOf(s, transposed)[0]
	f := &Few{n: s.N, filter: s.R, transposed: transposed, grid: grid, width: 16}
	if grid.count()*grid.dst.c > 16 {
		f.width = gemm.PanelWidth
	}
	f.bands = min(grid.rows, max(1, grid.rows*grid.cols/(2*bandPixels)))
	for b := 0; b < f.bands; b++ {
		y0, y1 := f.sourceRows(f.rows(b))
		f.bufLen = max(f.bufLen, (y1-y0)*grid.src.w*f.width)
	}
	f.products = gemm.NewProducts(workers, gemm.Of(c))
	f.part = f.do
	return f
}

func (f *Few) rows(band int) (r0, r1 int) {
	return f.grid.rows * band / f.bands, f.grid.rows * (band + 1) / f.bands
}

// sourceRows are the rows of the source image that grid rows r0 to r1 read.
func (f *Few) sourceRows(r0, r1 int) (y0, y1 int) {
	t := &f.grid
	h, _ := t.window(r0, r1)
	y0 = t.top + r0*t.step
	return max(y0, 0), min(y0+h, t.src.h)
}

// PackedLen is the number of floats of a packed filter.
func (f *Few) PackedLen() int { return f.grid.src.c * gemm.PanelWidth }

// Scratch is how much scratch Run needs.
func (f *Few) Scratch() parallel.ScratchSize { return parallel.PerWorker(len(f.products), f.bufLen) }

// Pack packs the filter w to u [src.c][32], its columns (tap, k).
func (f *Few) Pack(u, w []float32) {
	t := &f.grid
	clear(u[:f.PackedLen()])
	col := 0
	for _, r := range t.filterRows {
		for _, s := range t.filterCols {
			tap := w[(r*f.filter+s)*t.src.c*t.dst.c:]
			for c := 0; c < t.src.c; c++ {
				for k := 0; k < t.dst.c; k++ {
					if f.transposed {
						u[c*gemm.PanelWidth+col+k] = tap[k*t.src.c+c]
					} else {
						u[c*gemm.PanelWidth+col+k] = tap[c*t.dst.c+k]
					}
				}
			}
			col += t.dst.c
		}
	}
}

// Run computes dst = src * filter + bias + temb + add from the packed filter u; bias, temb and add may be nil.
func (f *Few) Run(dst, src, u, bias, temb, add []float32, scratch parallel.Scratch) {
	f.dstData, f.srcData, f.u, f.bias, f.temb, f.add, f.mem = dst, src, u, bias, temb, add, scratch
	parallel.ForWorkers(f.n*f.bands, len(f.products), f.part)
}

// do computes one band of grid rows of one image.
func (f *Few) do(worker, i int) {
	t := &f.grid
	n, band := i/f.bands, i%f.bands
	r0, r1 := f.rows(band)
	y0, y1 := f.sourceRows(r0, r1)
	buf := f.mem.Worker(worker)[:f.bufLen]
	if y1 > y0 {
		p := &f.products[worker]
		p.A, p.ARow, p.ACol = &f.srcData[(n*t.src.h+y0)*t.src.w*t.src.c], uintptr(4*t.src.c), 4
		p.B, p.BRow = &f.u[0], 4*gemm.PanelWidth
		p.C, p.CRow, p.Init, p.InitRow, p.Add = &buf[0], uintptr(4*f.width), &gemm.ZeroLine[0], 0, nil
		p.Segs, p.NumSegs, p.SegLen = &gemm.NoOffsets[0], 1, t.src.c
		p.RowsPanel((y1-y0)*t.src.w, f.width)
	}
	for r := r0; r < r1; r++ {
		f.row(buf, n, r, y0)
	}
}

// row adds up the destination pixels of grid row r; buf's first row is source row y0.
func (f *Few) row(buf []float32, n, r, y0 int) {
	t := &f.grid
	x := 0
	if y := t.top + r*t.step; y >= 0 && y+3 <= t.src.h && t.count() == 9 {
		line := t.src.w * f.width
		rows := buf[(y-y0)*line:][:3*line]
		for ; t.left+x*t.step < 0 && x < t.cols; x++ {
			f.pixel(buf, n, r, x, y0)
		}
		for ; x < t.cols && t.left+x*t.step+3 <= t.src.w; x++ {
			f.innerPixel(rows[(t.left+x*t.step)*f.width:], line, n, r, x)
		}
	}
	for ; x < t.cols; x++ {
		f.pixel(buf, n, r, x, y0)
	}
}

// innerPixel is pixel where all nine taps are inside; rows starts at the first tap's
// source pixel.
func (f *Few) innerPixel(rows []float32, line, n, r, x int) {
	t := &f.grid
	at := ((n*t.dst.h+r)*t.dst.w + x) * t.dst.c
	row0, row1, row2 := rows, rows[line:], rows[2*line:]
	next := f.width + t.dst.c // from one tap of a row to the next
	col := 0
	for k := 0; k < t.dst.c; k++ {
		sum := f.start(n, k)
		for _, row := range [...][]float32{row0, row1, row2} {
			sum += row[col]
			sum += row[col+next]
			sum += row[col+2*next]
			col += 3 * t.dst.c
		}
		col -= 9*t.dst.c - 1
		if f.add != nil {
			sum += f.add[at+k]
		}
		f.dstData[at+k] = sum
	}
}

// start is what destination channel k of image n starts from: bias + temb.
func (f *Few) start(n, k int) (sum float32) {
	if f.bias != nil {
		sum = f.bias[k]
	}
	if f.temb != nil {
		sum += f.temb[n*f.grid.dst.c+k]
	}
	return sum
}

// pixel adds up one destination pixel; buf's first row is source row y0.
func (f *Few) pixel(buf []float32, n, r, x, y0 int) {
	t := &f.grid
	at := ((n*t.dst.h+r)*t.dst.w + x) * t.dst.c
	for k := 0; k < t.dst.c; k++ {
		sum := f.start(n, k)
		col := k
		for a := range t.filterRows {
			iy := t.top + r*t.step + a
			if iy < 0 || iy >= t.src.h {
				col += len(t.filterCols) * t.dst.c
				continue
			}
			row := buf[(iy-y0)*t.src.w*f.width:]
			for b := range t.filterCols {
				if ix := t.left + x*t.step + b; ix >= 0 && ix < t.src.w {
					sum += row[ix*f.width+col]
				}
				col += t.dst.c
			}
		}
		if f.add != nil {
			sum += f.add[at+k]
		}
		f.dstData[at+k] = sum
	}
}
