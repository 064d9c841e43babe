package winograd

// A 3x3 convolution of an image whose rows and columns were doubled by nearest neighbour sees each pixel of the small
// image up to twice in a row. So the outputs of one parity of row and column are a 2x2 convolution of the small image:
// of the taps g0, g1, g2 in one dimension the even outputs have g0 and g1+g2 on the pixels before and at their own, the
// odd ones g0+g1 and g2 on the pixels at and behind it.
//
// Winograd's F(4x4, 2x2), whose matrices matrices.txt has, computes 4x4 of them with 25
// multiplications; 4 parities of 16 outputs take 100, where F(4x4, 3x3) takes 144 for 64 outputs of the large image. What is
// left at the edges is computed by F(m, 2) in that dimension, m = 2 or 3, at the first m+1 of the points, as that of F(4, 3).
var winoUp = algorithm{
	geometry: geometry{sizes: []int{2, 3, 4}, taps: 2}, input: winoUpInput, output: winoUpOutput, gradient: winoUpGradient,
	filter: winoUpFilter, filterGradient: winoUpFilterGradient,
}

// winoUpInput is B^T d for m outputs.
func winoUpInput(m int, d line) (r line) {
	switch m {
	case 2:
		r[0], r[1], r[2] = float32(2*(d[0]-d[1])), float32(-2*d[1]), d[2]-d[1]
	case 3:
		r[0], r[1], r[2], r[3] = float32(2*(d[0]-d[2])), -(d[1] + d[2]), d[3]-d[1], float32(3*(d[1]-d[2]))
	case 4:
		last, a := d[3]-d[1], d[3]-d[2]
		r[0] = last + float32(2*(d[0]-d[2]))
		r[1] = a - float32(2*d[1])
		r[2] = d[4] - d[2] - float32(2*last)
		r[3] = a + float32(2*(d[1]-d[2]))
		r[4] = last
	}
	return r
}

// winoUpOutput is A^T v for m outputs.
func winoUpOutput(m int, v line) (y line) {
	s, e := v[1]+v[3], v[1]-v[3]
	switch m {
	case 2:
		y[0], y[1] = v[0]+v[1], v[1]+v[2]
	case 3:
		y[0], y[1], y[2] = v[0]+s, e, s+v[2]
	case 4:
		y[0], y[1] = v[0]+s+v[4], e+float32(2*v[4])
		y[2], y[3] = s+float32(4*v[4]), e+float32(8*v[4])+v[2]
	}
	return y
}

// winoUpGradient is A y for m outputs.
func winoUpGradient(m int, y line) (r line) {
	e, o := y[0]+y[2], y[1]+y[3] // y ends with zeros
	r[0], r[1], r[2], r[3] = y[0], e+o, y[m-1], e-o
	r[4] = y[0] + float32(4*y[2]) + float32(2*(y[1]+float32(4*y[3])))
	return r
}

// winoUpFilter is G h, with h the taps that the outputs of one parity see of g.
func winoUpFilter(parity int, g line) (r line) {
	h0, h1 := g[0], g[1]+g[2]
	if parity == 1 {
		h0, h1 = g[0]+g[1], g[2]
	}
	plus := h0 + h1
	r[0], r[1], r[2], r[3] = float32(0.5*h0), float32(-0.5*plus), h1, float32((1./6)*(h1-h0))
	r[4] = float32((1. / 6) * (plus + h1))
	return r
}

// winoUpFilterGradient is G^T u, the gradient of h.
func winoUpFilterGradient(u line) (h line) {
	h[0] = float32(0.5*(u[0]-u[1])) + float32((1./6)*(u[4]-u[3]))
	h[1] = u[2] - float32(0.5*u[1]) + float32((1./6)*u[3]) + float32((1./3)*u[4])
	return h
}
