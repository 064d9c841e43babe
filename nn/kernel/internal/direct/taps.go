package direct

import (
	"unstir/nn/kernel/internal/shape"
)

// taps is the geometry that both directions of a convolution share: a grid of
// destination pixels, each the sum over a rectangle of filter taps applied to
// neighbouring source pixels. Grid point (i, j) is destination pixel
// (y0 + i outStep, x0 + j outStep), and its tap (t, u) reads source pixel
// (top + i step + t, left + j step + u).
type taps struct {
	y0, x0, outStep      int
	rows, cols           int   // of the grid
	top, left, step      int   // in the source
	filterRows           []int // filterRows[t] is the filter row of taps (t, .)
	filterCols           []int
	src, dst             imageShape
	srcStride, packedOff int
}

type imageShape struct{ h, w, c int }

func input(s shape.Conv) imageShape  { return imageShape{s.H, s.W, s.C} }
func output(s shape.Conv) imageShape { return imageShape{s.OutH(), s.OutW(), s.K} }

// forwardTaps is the convolution itself: one grid, which is the output.
func forwardTaps(s shape.Conv) []taps {
	filter := []int{0, 1, 2}[:s.R]
	return []taps{{
		outStep: 1, rows: s.OutH(), cols: s.OutW(), top: -s.PadTop, left: -s.PadLeft, step: s.Stride,
		filterRows: filter, filterCols: filter, src: input(s), dst: output(s),
	}}
}

// dataTaps is the gradient of the input. With stride 2 the input pixels fall into
// four grids by the parity of their row and column, each of which meets only the
// filter rows and columns of one parity.
func dataTaps(s shape.Conv) []taps {
	var all []taps
	for y := 0; y < min(s.Stride, s.H); y++ {
		rows, top := parity(s, y+s.PadTop)
		for x := 0; x < min(s.Stride, s.W); x++ {
			cols, left := parity(s, x+s.PadLeft)
			all = append(all, taps{
				y0: y, x0: x, outStep: s.Stride, rows: (s.H - y + s.Stride - 1) / s.Stride, cols: (s.W - x + s.Stride - 1) / s.Stride,
				top: top, left: left, step: 1, filterRows: rows, filterCols: cols, src: output(s), dst: input(s),
			})
		}
	}
	return all
}

// parity lists the filter rows r, from the last, through which input row at (counted
// with the padding) reaches output row (at - r) / Stride, and the first such output row.
func parity(s shape.Conv, at int) (filter []int, first int) {
	for r := s.R - 1; r >= 0; r-- {
		if (at-r)%s.Stride != 0 {
			continue
		}
		if filter == nil {
			first = (at - r) / s.Stride
		}
		filter = append(filter, r)
	}
	return filter, first
}

func (t *taps) count() int { return len(t.filterRows) * len(t.filterCols) }

// inside tells whether no tap of the grid leaves the source image.
func (t *taps) inside() bool {
	return t.top >= 0 && t.left >= 0 &&
		t.top+(t.rows-1)*t.step+len(t.filterRows) <= t.src.h &&
		t.left+(t.cols-1)*t.step+len(t.filterCols) <= t.src.w
}

// window is the size of the source region that grid rows r0 to r1 read.
func (t *taps) window(r0, r1 int) (h, w int) {
	return (r1-r0-1)*t.step + len(t.filterRows), (t.cols-1)*t.step + len(t.filterCols)
}

// copyWindow writes that region of image n, channels c0 to c1, to buf, with zeros
// where it leaves the image.
func (t *taps) copyWindow(buf, src []float32, n, r0, r1, c0, c1 int) {
	h, w := t.window(r0, r1)
	c := c1 - c0
	x0, x1 := max(t.left, 0), min(t.left+w, t.src.w)
	for i := 0; i < h; i++ {
		row := buf[i*w*c : (i+1)*w*c]
		y := t.top + r0*t.step + i
		if y < 0 || y >= t.src.h || x0 >= x1 {
			clear(row)
			continue
		}
		clear(row[:(x0-t.left)*c])
		clear(row[(x1-t.left)*c:])
		row = row[(x0-t.left)*c : (x1-t.left)*c]
		from := ((n*t.src.h+y)*t.src.w + x0) * t.src.c
		if c == t.src.c {
			copy(row, src[from:])
			continue
		}
		for from += c0; len(row) > 0; from += t.src.c {
			copy(row[:c], src[from:])
			row = row[c:]
		}
	}
}

// tapsOf are the grids of a convolution, or of its input's gradient.
func tapsOf(s shape.Conv, transposed bool) []taps {
	if transposed {
		return dataTaps(s)
	}
	return forwardTaps(s)
}
