package winograd

import "unstir/nn/kernel/internal/shape"

// Where the pixels of a convolution by Winograd's algorithm are.

// lattice is h x w pixels, one for each of a grid's positions. In memory they lie in an image that has step
// times the rows and columns: pixel (i, j) is the image's pixel (step i + y, step j + x).
type lattice struct {
	h, w       int
	step, y, x int
}

// dense is a lattice of all of an image's pixels.
func dense(h, w int) lattice { return lattice{h: h, w: w, step: 1} }

// parity is every second pixel of an image that has twice the rows and columns, from row y and column x on.
func parity(h, w, y, x int) lattice { return lattice{h, w, 2, y, x} }

// view points p's view at the pixels, of c channels, and returns the memory of image n from the first of them on.
func (l lattice) view(p *tile, images []float32, n, c int) []float32 {
	p.h, p.w = l.h, l.w
	p.row, p.pixel = uintptr(4*l.step*l.step*l.w*c), uintptr(4*l.step*c)
	return images[((n*l.step*l.h+l.y)*l.step*l.w+l.x)*c:]
}

// layout is a grid of h x w positions, the pixels that are read and those that are written, or meet them for the filter's gradient,
// and where the first tile's window begins.
type layout struct {
	h, w      int
	from, to  lattice
	top, left int
}

// layouts are those of the convolution's phases: one of all outputs, or behind an upsampling four, one for each parity of the large
// image's rows and columns.
func layouts(s shape.Conv) (all []layout) {
	in, out := dense(s.H, s.W), dense(s.OutH(), s.OutW())
	if s.Upsample {
		for i := range 4 {
			all = append(all, layout{s.H, s.W, in, parity(s.H, s.W, i/2, i%2), i/2 - 1, i%2 - 1})
		}
		return all
	}
	return []layout{{out.h, out.w, in, out, -s.PadTop, -s.PadLeft}}
}

// dataLayouts are those of the input's gradient. Its filter is turned by 180 degrees, which behind an upsampling makes the taps of
// one parity those of the other.
func dataLayouts(s shape.Conv) []layout {
	all := layouts(s)
	for i := range all {
		l := &all[i]
		l.from, l.to = l.to, l.from
		if s.Upsample {
			l.from.y, l.from.x = 1-l.from.y, 1-l.from.x
		}
	}
	return all
}
