package winograd

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// The plain Go transforms of patches of different sizes, whole ones and those at an image's right and lower edges, and of their filters.

// algorithm is Winograd's F(m x n, r x r), m and n of some sizes, at the first of the same points, as many as its geometry says
// (m+r-1 and n+r-1, but with stride 2): B^T d, A^T v and A y in one dimension.
type algorithm struct {
	geometry
	side                    int // points in each dimension
	input, output, gradient func(m int, v line) line
}

// line is what is transformed in one dimension, or its transform, with zeros behind it.
type line [9]float32

// mix adds a's transforms for patches of all pairs of sizes to t, where it has none.
func (t *transforms) mix(a algorithm, sizes ...int) {
	for _, rows := range sizes {
		for _, cols := range sizes {
			if t.input[rows][cols] == nil {
				t.input[rows][cols] = func(p *byte) { a.in((*patch)(unsafe.Pointer(p)), rows, cols) }
				t.output[rows][cols] = func(p *byte) { a.out((*patch)(unsafe.Pointer(p)), rows, cols) }
				t.gradient[rows][cols] = func(p *byte) { a.grad((*patch)(unsafe.Pointer(p)), rows, cols) }
			}
		}
	}
}

// pass applies f to each of the first cols columns of m, and turns the result by its diagonal.
func pass(m *[9]line, cols int, f func(v line) line) (turned [9]line) {
	for j := range cols {
		var v line
		for i := range v {
			v[i] = m[i][j]
		}
		turned[j] = f(v)
	}
	return turned
}

// both applies f along the columns and g along the rows of a matrix of cols columns, where f makes rows of it.
func both(m *[9]line, cols, rows int, f, g func(v line) line) [9]line {
	half := pass(m, cols, f)
	return pass(&half, rows, g)
}

// planeAt is the address of channel offset c in a plane.
func (p *patch) planeAt(plane int, c uintptr) *float32 {
	return mem.Move(p.data, c+uintptr(plane)*p.plane)
}

// in transforms a patch of the source for rows x cols outputs.
func (a *algorithm) in(p *patch, rows, cols int) {
	a.pixels(p, a.input, rows, cols, a.window.of(rows), a.window.of(cols))
}

// grad transforms a patch of dy of rows x cols pixels.
func (a *algorithm) grad(p *patch, rows, cols int) { a.pixels(p, a.gradient, rows, cols, rows, cols) }

// pixels applies f for rows x cols outputs to a patch of h x w pixels.
func (a *algorithm) pixels(p *patch, f func(m int, v line) line, rows, cols, h, w int) {
	along := func(v line) line { return f(rows, v) }
	across := func(v line) line { return f(cols, v) }
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var m [9]line
		for i := range h {
			for j := range w {
				m[i][j] = mem.Read(p.at(p.image, i, j), c)
			}
		}
		r := both(&m, w, a.points.of(rows), along, across)
		for i := range a.points.of(rows) {
			for j := range a.points.of(cols) {
				*p.planeAt(a.side*i+j, c) = r[i][j]
			}
		}
	}
}

func (a *algorithm) out(p *patch, rows, cols int) {
	along := func(v line) line { return a.output(rows, v) }
	across := func(v line) line { return a.output(cols, v) }
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var m [9]line
		for i := range a.points.of(rows) {
			for j := range a.points.of(cols) {
				m[i][j] = *p.planeAt(a.side*i+j, c)
			}
		}
		r := both(&m, a.points.of(cols), a.results.of(rows), along, across)
		for i := range a.results.of(rows) {
			for j := range a.results.of(cols) {
				v := r[i][j] + mem.Read(p.init, c)
				if p.add != nil {
					v += mem.Read(p.at(p.add, i, j), c)
				}
				*mem.Move(p.at(p.image, i, j), c) = v
			}
		}
	}
}

// mixedFilter is the transform of 3x3 taps to side x side planes, f that of one dimension.
func mixedFilter(side int, f func(g line) line) func(t *byte) {
	return func(t *byte) {
		p := (*patch)(unsafe.Pointer(t))
		for c := uintptr(0); c < uintptr(p.count); c++ {
			var m [9]line
			for i := range 9 {
				m[i/3][i%3] = mem.Read(p.image, c*p.pixel+uintptr(i)*p.row)
			}
			r := both(&m, 3, side, f, f)
			for i := range side * side {
				*p.planeAt(i, c*p.step) = r[i/side][i%side]
			}
		}
	}
}

// mixedFilterGradient is the transpose of mixedFilter, with f that of one dimension.
func mixedFilterGradient(side int, f func(u line) line) func(t *byte) {
	return func(t *byte) {
		p := (*patch)(unsafe.Pointer(t))
		for c := uintptr(0); c < uintptr(p.count); c++ {
			var m [9]line
			for i := range side * side {
				m[i/side][i%side] = *p.planeAt(i, c*p.step)
			}
			r := both(&m, side, 3, f, f)
			for i := range 9 {
				*mem.Move(p.image, c*p.pixel+uintptr(i)*p.row) = r[i/3][i%3]
			}
		}
	}
}
