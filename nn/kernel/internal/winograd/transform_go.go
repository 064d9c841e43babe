package winograd

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// The plain Go transforms, whose vectors are single floats: of tiles of all sizes, whole ones and those at an image's right and
// lower edges, and of filters.

// algorithm is Winograd's F(m x n, r x r), m and n of some sizes, at the first m+r-1 and n+r-1 of the same points: its transforms in
// one dimension.
type algorithm struct {
	geometry
	input, output, gradient func(m int, v line) line      // B^T d, A^T v and A y for m outputs
	filter                  func(parity int, g line) line // G g
	filterGradient          func(u line) line             // G^T u
}

// line is what is transformed in one dimension, or its transform, with zeros behind it.
type line [8]float32

// transforms are those in two dimensions.
func (a algorithm) transforms() transforms {
	of := func(f func(a *algorithm, p *tile)) func(*byte) {
		return func(p *byte) { f(&a, (*tile)(unsafe.Pointer(p))) }
	}
	return transforms{
		geometry: a.geometry, input: of((*algorithm).in), output: of((*algorithm).out), gradient: of((*algorithm).grad),
		filter: of((*algorithm).transformFilter), filterGradient: of((*algorithm).transformFilterGradient),
	}
}

// side is the number of points in each dimension.
func (a *algorithm) side() int { return a.points(a.whole()) }

// at is the address of the tile's pixel (i, j), or outside.
func (p *tile) at(image *float32, i, j int) *float32 {
	y, x := p.y+i, p.x+j
	if uint(y) >= uint(p.h) || uint(x) >= uint(p.w) {
		return p.outside
	}
	return mem.Move(image, uintptr(y)*p.row+uintptr(x)*p.pixel)
}

// addresses are those of h x w pixels of the tile in an image, which may be nil.
func (p *tile) addresses(image *float32, h, w int) (at [8][8]*float32) {
	for i := range h {
		for j := range w {
			if image != nil {
				at[i][j] = p.at(image, i, j)
			}
		}
	}
	return at
}

// matrix is what is transformed in both dimensions, with zeros behind it.
type matrix [8]line

// pass applies f to each of the first cols columns of m, and turns the result by its diagonal.
func pass(turned, m *matrix, cols int, f func(v line) line) {
	for j := range cols {
		turned[j] = f(line{m[0][j], m[1][j], m[2][j], m[3][j], m[4][j], m[5][j], m[6][j], m[7][j]})
	}
}

// both applies f along the columns and g along the rows of a matrix m of cols columns, where f makes rows of it.
func both(r, half, m *matrix, cols, rows int, f, g func(v line) line) {
	pass(half, m, cols, f)
	pass(r, half, rows, g)
}

// load reads rows x cols elements from at on, whose rows and columns are so many bytes apart.
func (m *matrix) load(at *float32, rows, cols int, row, col uintptr) {
	for i := range rows {
		for j := range cols {
			m[i][j] = mem.Read(at, uintptr(i)*row+uintptr(j)*col)
		}
	}
}

// store is the inverse of load.
func (m *matrix) store(at *float32, rows, cols int, row, col uintptr) {
	for i := range rows {
		for j := range cols {
			*mem.Move(at, uintptr(i)*row+uintptr(j)*col) = m[i][j]
		}
	}
}

// in transforms a tile of the source for rows x cols outputs.
func (a *algorithm) in(p *tile) { a.pixels(p, a.input, a.points(p.rows), a.points(p.cols)) }

// grad transforms a tile of dy of rows x cols pixels.
func (a *algorithm) grad(p *tile) { a.pixels(p, a.gradient, p.rows, p.cols) }

// pixels applies f to a tile of h x w pixels.
func (a *algorithm) pixels(p *tile, f func(m int, v line) line, h, w int) {
	along := func(v line) line { return f(p.rows, v) }
	across := func(v line) line { return f(p.cols, v) }
	rows, cols, planeRow := a.points(p.rows), a.points(p.cols), uintptr(a.side())*p.plane
	pixels := p.addresses(p.image, h, w)
	var m, half, r matrix
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		for i := range h {
			for j := range w {
				m[i][j] = mem.Read(pixels[i][j], c)
			}
		}
		both(&r, &half, &m, w, rows, along, across)
		r.store(mem.Move(p.data, c), rows, cols, planeRow, p.plane)
	}
}

// out transforms planes to a tile of rows x cols outputs.
func (a *algorithm) out(p *tile) {
	along := func(v line) line { return a.output(p.rows, v) }
	across := func(v line) line { return a.output(p.cols, v) }
	rows, cols, planeRow := a.points(p.rows), a.points(p.cols), uintptr(a.side())*p.plane
	pixels, add := p.addresses(p.image, p.rows, p.cols), p.addresses(p.add, p.rows, p.cols)
	var m, half, r matrix
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		m.load(mem.Move(p.data, c), rows, cols, planeRow, p.plane)
		both(&r, &half, &m, cols, p.rows, along, across)
		for i := range p.rows {
			for j := range p.cols {
				v := r[i][j] + mem.Read(p.init, c)
				if p.add != nil {
					v += mem.Read(add[i][j], c)
				}
				*mem.Move(pixels[i][j], c) = v
			}
		}
	}
}

// transformFilter transforms 3x3 taps to planes.
func (a *algorithm) transformFilter(p *tile) {
	along := func(g line) line { return a.filter(p.rows, g) }
	across := func(g line) line { return a.filter(p.cols, g) }
	side := a.side()
	var m, half, r matrix
	for c := uintptr(0); c < uintptr(p.count); c++ {
		m.load(mem.Move(p.image, c*p.pixel), 3, 3, 3*p.row, p.row)
		both(&r, &half, &m, 3, side, along, across)
		r.store(mem.Move(p.data, c*p.step), side, side, uintptr(side)*p.plane, p.plane)
	}
}

// transformFilterGradient is the transpose of transformFilter.
func (a *algorithm) transformFilterGradient(p *tile) {
	side, taps := a.side(), a.taps
	var m, half, r matrix
	for c := uintptr(0); c < uintptr(p.count); c++ {
		m.load(mem.Move(p.data, c*p.step), side, side, uintptr(side)*p.plane, p.plane)
		both(&r, &half, &m, side, taps, a.filterGradient, a.filterGradient)
		r.store(mem.Move(p.image, c*p.pixel), taps, taps, uintptr(taps)*p.row, p.row)
	}
}
