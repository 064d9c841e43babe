package winograd

import (
	"unsafe"

	"unstir/nn/kernel/internal/mem"
)

// A 3x3 convolution of an image whose rows and columns were doubled by nearest neighbour sees each pixel of the small
// image up to twice in a row. So the outputs of one parity of row and column are a 2x2 convolution of the small image:
// of the taps g0, g1, g2 in one dimension the even outputs have g0 and g1+g2 on the pixels before and at their own, the
// odd ones g0+g1 and g2 on the pixels at and behind it.
//
// Winograd's F(4x4, 2x2), with the points 0, 1, infinity, -1 and 2 in this order, computes 4x4 of them with 25
// multiplications; 4 parities of 16 outputs take 100, where F(4x4, 3x3) takes 144 for 64 outputs of the large image. What is
// left at the edges is computed by F(m, 2) in that dimension, m = 2 or 3, at the first m+1 of the points, as that of F(4, 3).

// winoUpInput1 is B^T d for m outputs.
func winoUpInput1(m int, d line) (r line) {
	switch m {
	case 2:
		r[0], r[1], r[2] = float32(2*(d[0]-d[1])), float32(-2*d[1]), d[2]-d[1]
	case 3:
		r[0], r[1], r[2], r[3] = float32(2*(d[0]-d[2])), -(d[1] + d[2]), d[3]-d[1], float32(3*(d[1]-d[2]))
	case 4:
		four := winoUpInputRow([5]float32(d[:5]))
		copy(r[:], four[:])
	}
	return r
}

// winoUpOutput1 is A^T v for m outputs.
func winoUpOutput1(m int, v line) (y line) {
	switch m {
	case 2:
		y[0], y[1] = v[0]+v[1], v[1]+v[2]
	case 3:
		s := v[1] + v[3]
		y[0], y[1], y[2] = v[0]+s, v[1]-v[3], s+v[2]
	case 4:
		four := winoUpOutputRow([5]float32(v[:5]))
		copy(y[:], four[:])
	}
	return y
}

// winoUpGradient1 is A y for m outputs.
func winoUpGradient1(m int, y line) (r line) {
	four := winoUpGradientRow([4]float32(y[:4])) // it ends with zeros
	copy(r[:], four[:])
	r[2] = y[m-1]
	return r
}

// genericWinoUp is the set of transforms in plain Go, but for the filter's.
func genericWinoUp() transforms {
	t := transforms{
		size: 4, geometry: twoTaps, input: whole(4, genericWinoUpInput), output: whole(4, genericWinoUpOutput),
		gradient: whole(4, genericWinoUpGradient), filterGradient: genericWinoUpFilterGradient,
	}
	t.mix(algorithm{twoTaps, 5, winoUpInput1, winoUpOutput1, winoUpGradient1}, 2, 3, 4)
	return t
}

// winoUpInputRow is B^T d.
func winoUpInputRow(d [5]float32) (r [5]float32) {
	last, a := d[3]-d[1], d[3]-d[2]
	r[0] = last + float32(2*(d[0]-d[2]))
	r[1] = a - float32(2*d[1])
	r[2] = d[4] - d[2] - float32(2*last)
	r[3] = a + float32(2*(d[1]-d[2]))
	r[4] = last
	return r
}

// winoUpOutputRow is A^T m.
func winoUpOutputRow(m [5]float32) (y [4]float32) {
	sum, diff := m[1]+m[3], m[1]-m[3]
	y[0] = m[0] + sum + m[4]
	y[1] = diff + float32(2*m[4])
	y[2] = sum + float32(4*m[4])
	y[3] = diff + float32(8*m[4]) + m[2]
	return y
}

// winoUpGradientRow is A y.
func winoUpGradientRow(y [4]float32) (r [5]float32) {
	e, o := y[0]+y[2], y[1]+y[3]
	r[0], r[1], r[2], r[3] = y[0], e+o, y[3], e-o
	r[4] = y[0] + float32(4*y[2]) + float32(2*(y[1]+float32(4*y[3])))
	return r
}

// winoUpFilterRow is G h, with h the taps that the outputs of one parity see of g.
func winoUpFilterRow(g [3]float32, parity int) (r [5]float32) {
	h0, h1 := g[0], g[1]+g[2]
	if parity == 1 {
		h0, h1 = g[0]+g[1], g[2]
	}
	plus := h0 + h1
	r[0], r[1], r[2], r[3] = float32(0.5*h0), float32(-0.5*plus), h1, float32((1./6)*(h1-h0))
	r[4] = float32((1. / 6) * (plus + h1))
	return r
}

// winoUpFilterGradientRow is G^T u, the gradient of h.
func winoUpFilterGradientRow(u [5]float32) (h [2]float32) {
	h[0] = float32(0.5*(u[0]-u[1])) + float32((1./6)*(u[4]-u[3]))
	h[1] = u[2] - float32(0.5*u[1]) + float32((1./6)*u[3]) + float32((1./3)*u[4])
	return h
}

func genericWinoUpInput(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [5][5]float32 // by column
		for j := range half {
			var d [5]float32
			for i := range d {
				d[i] = mem.Read(p.at(p.image, i, j), c)
			}
			half[j] = winoUpInputRow(d)
		}
		plane := c
		for i := range 5 {
			for _, v := range winoUpInputRow([5]float32{half[0][i], half[1][i], half[2][i], half[3][i], half[4][i]}) {
				*mem.Move(p.data, plane) = v
				plane += p.plane
			}
		}
	}
}

func genericWinoUpOutput(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [5][4]float32 // by column
		for j := range half {
			var m [5]float32
			for i := range m {
				m[i] = mem.Read(p.data, c+uintptr(5*i+j)*p.plane)
			}
			half[j] = winoUpOutputRow(m)
		}
		for i := range 4 {
			for j, v := range winoUpOutputRow([5]float32{half[0][i], half[1][i], half[2][i], half[3][i], half[4][i]}) {
				v += mem.Read(p.init, c)
				if p.add != nil {
					v += mem.Read(p.at(p.add, i, j), c)
				}
				*mem.Move(p.at(p.image, i, j), c) = v
			}
		}
	}
}

func genericWinoUpGradient(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(4*p.count); c += 4 {
		var half [4][5]float32 // by column
		for j := range half {
			var y [4]float32
			for i := range y {
				y[i] = mem.Read(p.at(p.image, i, j), c)
			}
			half[j] = winoUpGradientRow(y)
		}
		plane := c
		for i := range 5 {
			for _, v := range winoUpGradientRow([4]float32{half[0][i], half[1][i], half[2][i], half[3][i]}) {
				*mem.Move(p.data, plane) = v
				plane += p.plane
			}
		}
	}
}

// genericWinoUpFilter is the transform of the filter for the outputs of parity (y, x).
func genericWinoUpFilter(y, x int) func(t *byte) {
	return func(t *byte) {
		p := (*patch)(unsafe.Pointer(t))
		for c := uintptr(0); c < uintptr(p.count); c++ {
			var half [3][5]float32 // by column
			for j := range half {
				tap := func(i int) float32 { return mem.Read(p.image, c*p.pixel+uintptr(3*i+j)*p.row) }
				half[j] = winoUpFilterRow([3]float32{tap(0), tap(1), tap(2)}, y)
			}
			at := c * p.step
			for i := range 5 {
				for _, v := range winoUpFilterRow([3]float32{half[0][i], half[1][i], half[2][i]}, x) {
					*mem.Move(p.data, at) = v
					at += p.plane
				}
			}
		}
	}
}

func genericWinoUpFilterGradient(t *byte) {
	p := (*patch)(unsafe.Pointer(t))
	for c := uintptr(0); c < uintptr(p.count); c++ {
		var half [5][2]float32 // by column
		for j := range half {
			var u [5]float32
			for i := range u {
				u[i] = mem.Read(p.data, c*p.step+uintptr(5*i+j)*p.plane)
			}
			half[j] = winoUpFilterGradientRow(u)
		}
		at := c * p.pixel
		for i := range 2 {
			for _, v := range winoUpFilterGradientRow([5]float32{half[0][i], half[1][i], half[2][i], half[3][i], half[4][i]}) {
				*mem.Move(p.image, at) = v
				at += p.row
			}
		}
	}
}
