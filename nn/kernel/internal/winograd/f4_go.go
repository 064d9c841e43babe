package winograd

// Winograd's F(4x4, 3x3), whose matrices matrices.txt has, computes a 4x4 tile of outputs from a 6x6 tile of inputs
// with 36 multiplications per pair of channels where the direct sum takes 144:
//
//	y = A^T [(G g G^T) * (B^T d B)] A
//
// Its transpose gives the gradient of the filter: dg = G^T [(B^T d B) * (A dy A^T)] G. Summed over
// channels (or tiles), the elementwise product is 36 matrix products, one per
// point of the 6x6 grid.
//
// An image's side is often no multiple of the tiles of F(4x4, 3x3): 7 pixels are a tile and three quarters of one. What is
// left at the right and lower edges is computed by F(m, 3) in that dimension, m = 2 or 3, at the first m+2 of the points,
// with the same transformed filter: 7 pixels cost 6 + 5 points instead of 12. The filter's transform divides by what
// Lagrange's formula has for F(4, 3) at each point; the inputs' transforms for m = 2 and 3 make up for it.

var wino4 = algorithm{
	geometry: geometry{sizes: []int{2, 3, 4}, taps: 3}, input: wino4Input, output: wino4Output, gradient: wino4Gradient,
	filter: wino4Filter, filterGradient: wino4FilterGradient,
}

// wino4Input is B^T d for m outputs.
func wino4Input(m int, d line) (r line) {
	switch m {
	case 2:
		e, o := float32(-3*d[2]), float32(-3*d[1])
		r[0], r[1], r[2], r[3] = float32(4*(d[0]-d[2])), e+o, e-o, d[3]-d[1]
	case 3:
		last, a := d[3]-d[1], d[3]-d[2]
		r[0] = float32(2 * (last + float32(2*(d[0]-d[2]))))
		r[1] = float32(3 * (a - float32(2*d[1])))
		r[2] = a + float32(2*(d[1]-d[2]))
		r[3] = d[4] - d[2] - float32(2*last)
		r[4] = float32(4 * last)
	case 4:
		e, o := d[4]-float32(4*d[2]), d[3]-float32(4*d[1])
		r[1], r[2] = e+o, e-o
		e, o = d[4]-d[2], float32(2*(d[3]-d[1]))
		r[4], r[5] = e+o, e-o
		r[0] = d[4] - float32(5*d[2]) + float32(4*d[0])
		r[3] = d[5] - float32(5*d[3]) + float32(4*d[1])
	}
	return r
}

// wino4Output is A^T v for m outputs.
func wino4Output(m int, v line) (y line) {
	s, e := v[1]+v[2], v[1]-v[2]
	switch m {
	case 2:
		y[0], y[1] = v[0]+s, e+v[3]
	case 3:
		y[0], y[1], y[2] = v[0]+s+v[4], e+float32(2*v[4]), s+float32(4*v[4])+v[3]
	case 4:
		s2, e2 := v[4]+v[5], v[4]-v[5]
		y[0], y[1] = v[0]+s+s2, e+float32(2*e2)
		y[2], y[3] = s+float32(4*s2), e+float32(8*e2)+v[3]
	}
	return y
}

// wino4Gradient is A y for m outputs.
func wino4Gradient(m int, y line) (r line) {
	e, o := y[0]+y[2], y[1]+y[3] // y ends with zeros
	r[0], r[1], r[2], r[3] = y[0], e+o, e-o, y[m-1]
	e, o = y[0]+float32(4*y[2]), float32(2*(y[1]+float32(4*y[3])))
	r[4], r[5] = e+o, e-o
	return r
}

// wino4Filter is G g.
func wino4Filter(_ int, g line) (r line) {
	e, o := g[0]+g[2], g[1]+g[1]
	r[0], r[1], r[2], r[3] = float32(0.25*g[0]), float32((-1./6)*(e+g[1])), float32((-1./6)*(e-g[1])), g[2]
	e = g[0] + float32(4*g[2])
	r[4], r[5] = float32((1./24)*(e+o)), float32((1./24)*(e-o))
	return r
}

// wino4FilterGradient is G^T u.
func wino4FilterGradient(u line) (g line) {
	s, e, s2, e2 := u[1]+u[2], u[2]-u[1], u[4]+u[5], u[4]-u[5]
	low := float32((-1. / 6) * s)
	g[0] = low + float32((1./24)*s2) + float32(0.25*u[0])
	g[1] = float32((1./6)*e) + float32((1./12)*e2)
	g[2] = low + float32((1./6)*s2) + u[3]
	return g
}
