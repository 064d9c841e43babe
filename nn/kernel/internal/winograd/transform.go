package winograd

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// Winograd's F(4x4, 3x3) computes a 4x4 patch of outputs from a 6x6 patch of inputs
// with 36 multiplications per pair of channels where the direct sum takes 144
// (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2016,
// eq. 8 and 10 with m = 4, r = 3):
//
//	y = A^T [(G g G^T) * (B^T d B)] A
//
// with the interpolation points 0, 1, -1, infinity, 2 and -2, in this order. Its transpose gives
// the gradient of the filter: dg = G^T [(B^T d B) * (A dy A^T)] G. Summed over
// channels (or patches), the elementwise product is 36 matrix products, one per
// point of the 6x6 grid.

// patch is the argument of the transforms. An image patch has its first pixel at
// (y, x) of an image of h x w pixels; pixels outside read as outside, which points
// at zeros, or are written to outside. Transformed data has 16, 25, 36 or 64 planes. Steps are
// in bytes, and count is in vectors or, for the filter, in input channels.
//
// The order of the fields is known to _generate/transform.go.
type patch struct {
	image, outside *float32
	add            *float32 // winoOutput: the image to add, or nil
	view
	count int
	data  *float32 // plane 0
	plane uintptr
	step  uintptr  // filter: between input channels of data
	init  *float32 // winoOutput: what every pixel starts from
	next  uintptr  // bytes from the pixels to those of the patch after this one, which are fetched; 0 if there is none

	pixels    [81]uintptr // the transforms' own
	addPixels [64]uintptr
	temp      [81*16 + 16]float32
}

// view is where a patch lies: its first pixel, the image's size, and the steps
// between rows and between pixels; for the filter, between taps and input channels.
type view struct {
	y, x, h, w int
	row, pixel uintptr
}

// transforms are those of one algorithm, by the size of a whole patch.
type transforms struct {
	geometry
	size          int // of a whole patch: 2, 4 or 6 positions of the grid in each dimension
	input, output bySize
	filter        func(*byte)

	gradient             bySize // of a patch of dy, for the gradient of the filter
	filterGradient       func(*byte)
	filterGradientStream func(*byte) // filterGradient past the caches, to whole lines; may be nil
}

// geometry is what an algorithm makes of a patch, in each dimension.
type geometry struct {
	points  extent // of planes
	window  extent // pixels that are read
	results extent // pixels that are computed
	taps    int    // of the filter's gradient
}

var (
	threeTaps = geometry{points: extent{1, 2}, window: extent{1, 2}, results: extent{1, 0}, taps: 3}
	twoTaps   = geometry{points: extent{1, 1}, window: extent{1, 1}, results: extent{1, 0}, taps: 2}
)

// extent is a length for so many of a grid's positions: some for each, and some more.
type extent struct{ each, more int }

func (e extent) of(positions int) int { return e.each*positions + e.more }

// parities are the transforms of F(4x4, 2x2) by the parity of the outputs' row and column. They differ in the filter's.
type parities [2][2]transforms

func newParities(t transforms, filters [2][2]func(*byte)) (p parities) {
	for i := range 4 {
		p[i/2][i%2] = t
		p[i/2][i%2].filter = filters[i/2][i%2]
	}
	return p
}

// bySize has the functions for patches of so many rows and columns of outputs; nil for sizes that there are not.
type bySize [7][7]func(*byte)

// whole is the table of one size of patch.
func whole(size int, f func(*byte)) (table bySize) {
	table[size][size] = f
	return table
}

// call runs one of the transforms.
func (p *patch) call(f func(*byte)) { f((*byte)(unsafe.Pointer(p))) }

// The plain Go transforms, whose vectors are single floats.

// at is the address of the patch's pixel (i, j), or outside.
func (p *patch) at(image *float32, i, j int) *float32 {
	y, x := p.y+i, p.x+j
	if uint(y) >= uint(p.h) || uint(x) >= uint(p.w) {
		return p.outside
	}
	return mem.Move(image, uintptr(y)*p.row+uintptr(x)*p.pixel)
}

// winoInputRow is B^T d.
func winoInputRow(d0, d1, d2, d3, d4, d5 float32) (r [6]float32) {
	a, b := d4-float32(4*d2), d3-float32(4*d1)
	r[1], r[2] = a+b, a-b
	a, b = d4-d2, float32(2*(d3-d1))
	r[4], r[5] = a+b, a-b
	r[0] = d4 - float32(5*d2) + float32(4*d0)
	r[3] = d5 - float32(5*d3) + float32(4*d1)
	return r
}

// winoOutputRow is A^T m.
func winoOutputRow(m *[6]float32) (y [4]float32) {
	s1, e1, s2, e2 := m[1]+m[2], m[1]-m[2], m[4]+m[5], m[4]-m[5]
	y[0] = m[0] + s1 + s2
	y[1] = e1 + float32(2*e2)
	y[2] = s1 + float32(4*s2)
	y[3] = e1 + float32(8*e2) + m[3]
	return y
}

// winoGradientRow is A y.
func winoGradientRow(y0, y1, y2, y3 float32) (r [6]float32) {
	e, o := y0+y2, y1+y3
	r[0], r[1], r[2], r[3] = y0, e+o, e-o, y3
	e, o = y0+float32(4*y2), float32(2*(y1+float32(4*y3)))
	r[4], r[5] = e+o, e-o
	return r
}

// winoFilterRow is G g.
func winoFilterRow(g0, g1, g2 float32) (r [6]float32) {
	e := g0 + g2
	r[0], r[1], r[2], r[3] = float32(0.25*g0), float32((-1./6)*(e+g1)), float32((-1./6)*(e-g1)), g2
	e = g0 + float32(4*g2)
	o := g1 + g1
	r[4], r[5] = float32((1./24)*(e+o)), float32((1./24)*(e-o))
	return r
}

// winoFilterGradientRow is G^T u.
func winoFilterGradientRow(u *[6]float32) (g [3]float32) {
	s1, e1, s2, e2 := u[1]+u[2], u[2]-u[1], u[4]+u[5], u[4]-u[5]
	low := float32((-1. / 6) * s1)
	g[0] = low + float32((1./24)*s2) + float32(0.25*u[0])
	g[1] = float32((1./6)*e1) + float32((1./12)*e2)
	g[2] = low + float32((1./6)*s2) + u[3]
	return g
}

func genericWinoInput(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	var at [36]*float32
	for i := range at {
		at[i] = p.at(p.image, i/6, i%6)
	}
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [6][6]float32
		for j := range half {
			half[j] = winoInputRow(mem.Read(at[j], c), mem.Read(at[6+j], c), mem.Read(at[12+j], c), mem.Read(at[18+j], c), mem.Read(at[24+j], c), mem.Read(at[30+j], c))
		}
		plane := c
		for i := range half {
			for _, v := range winoInputRow(half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]) {
				*mem.Move(p.data, plane) = v
				plane += p.plane
			}
		}
	}
}

func genericWinoOutput(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [4][6]float32
		for j := 0; j < 6; j++ {
			var m [6]float32
			for i := range m {
				m[i] = mem.Read(p.data, c+uintptr(6*i+j)*p.plane)
			}
			for i, v := range winoOutputRow(&m) {
				half[i][j] = v
			}
		}
		for i := range half {
			for j, v := range winoOutputRow(&half[i]) {
				v += mem.Read(p.init, c)
				if p.add != nil {
					v += mem.Read(p.at(p.add, i, j), c)
				}
				*mem.Move(p.at(p.image, i, j), c) = v
			}
		}
	}
}

func genericWinoGradient(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	var at [16]*float32
	for i := range at {
		at[i] = p.at(p.image, i/4, i%4)
	}
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [4][6]float32
		for j := range half {
			half[j] = winoGradientRow(mem.Read(at[j], c), mem.Read(at[4+j], c), mem.Read(at[8+j], c), mem.Read(at[12+j], c))
		}
		plane := c
		for i := 0; i < 6; i++ {
			for _, v := range winoGradientRow(half[0][i], half[1][i], half[2][i], half[3][i]) {
				*mem.Move(p.data, plane) = v
				plane += p.plane
			}
		}
	}
}

func genericWinoFilter(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(p.count); c++ {
		var half [3][6]float32
		for j := range half {
			tap := func(i int) float32 { return mem.Read(p.image, c*p.pixel+uintptr(3*i+j)*p.row) }
			half[j] = winoFilterRow(tap(0), tap(1), tap(2))
		}
		at := c * p.step
		for i := 0; i < 6; i++ {
			for _, v := range winoFilterRow(half[0][i], half[1][i], half[2][i]) {
				*mem.Move(p.data, at) = v
				at += p.plane
			}
		}
	}
}

func genericWinoFilterGradient(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(p.count); c++ {
		var half [3][6]float32
		for j := 0; j < 6; j++ {
			var u [6]float32
			for i := range u {
				u[i] = mem.Read(p.data, c*p.step+uintptr(6*i+j)*p.plane)
			}
			for i, v := range winoFilterGradientRow(&u) {
				half[i][j] = v
			}
		}
		at := c * p.pixel
		for i := range half {
			for _, v := range winoFilterGradientRow(&half[i]) {
				*mem.Move(p.image, at) = v
				at += p.row
			}
		}
	}
}
