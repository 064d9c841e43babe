package winograd

// Winograd's F(6x6, 3x3), whose matrices matrices.txt has, takes 64
// multiplications for 36 outputs: 1.78 each, where F(4x4, 3x3) takes 2.25. Its tiles are too large for many images: 32
// pixels are five tiles and a third of one. So what is left at the right and lower edges is computed by F(m, 3) in that
// dimension, with m = 2 or 4. It takes the first m+2 of the points, with the same transformed filter, and no part in the
// products at the other points: 32 pixels cost 5*8 + 4 points, where F(4, 3) has 8*6.
//
// The filter's transform divides by what Lagrange's formula has for F(6, 3) at each point; the inputs' transforms for
// m = 2 and 4 make up for it. So the filter's gradient is one transform of the sums over tiles of all sizes, too.

var wino6 = algorithm{
	geometry: geometry{sizes: []int{2, 4, 6}, taps: 3}, input: wino6Input, output: wino6Output, gradient: wino6Gradient,
	filter: wino6Filter, filterGradient: wino6FilterGradient,
}

// wino6Input is B^T d for m outputs.
func wino6Input(m int, d line) (r line) {
	switch m {
	case 2:
		e, o := float32(-2.25*d[2]), float32(-2.25*d[1])
		r[0], r[1], r[2], r[3] = d[0]-d[2], e+o, e-o, d[3]-d[1]
	case 4:
		e, o := float32(0.75*d[4])-float32(3*d[2]), float32(0.75*d[3])-float32(3*d[1])
		r[1], r[2] = e+o, e-o
		e, o = float32(3.75*(d[4]-d[2])), float32(7.5*(d[3]-d[1]))
		r[4], r[5] = e+o, e-o
		r[0] = d[0] - float32(1.25*d[2]) + float32(0.25*d[4])
		r[3] = d[5] - float32(5*d[3]) + float32(4*d[1])
	case 6:
		e, o := d[6]+d[2]-float32(4.25*d[4]), d[5]+d[1]-float32(4.25*d[3])
		r[1], r[2] = e+o, e-o
		e, o = d[6]-float32(1.25*d[4])+float32(0.25*d[2]), float32(2*d[5])-float32(2.5*d[3])+float32(0.5*d[1])
		r[4], r[5] = e+o, e-o
		e, o = d[6]-float32(5*d[4])+float32(4*d[2]), float32(0.5*d[5])-float32(2.5*d[3])+float32(2*d[1])
		r[6], r[7] = e+o, e-o
		r[0] = d[0] - d[6] + float32(5.25*(d[4]-d[2]))
		r[3] = d[7] - d[1] + float32(5.25*(d[3]-d[5]))
	}
	return r
}

// wino6Output is A^T v for m outputs.
func wino6Output(m int, v line) (y line) {
	s, e := v[1]+v[2], v[1]-v[2]
	switch m {
	case 2:
		y[0], y[1] = v[0]+s, e+v[3]
	case 4:
		s2, e2 := v[4]+v[5], v[4]-v[5]
		y[0], y[1] = v[0]+s+s2, e+float32(2*e2)
		y[2], y[3] = s+float32(4*s2), e+float32(8*e2)+v[3]
	case 6:
		s2, e2, sh, eh := v[4]+v[5], v[4]-v[5], v[6]+v[7], v[6]-v[7]
		y[0], y[1] = v[0]+s+s2+sh, e+float32(2*e2)+float32(0.5*eh)
		y[2], y[3] = s+float32(4*s2)+float32(0.25*sh), e+float32(8*e2)+float32(0.125*eh)
		y[4], y[5] = s+float32(16*s2)+float32(1./16*sh), e+float32(32*e2)+float32(1./32*eh)+v[3]
	}
	return y
}

// wino6Gradient is A y for m outputs.
func wino6Gradient(m int, y line) (r line) {
	e, o := y[0]+y[2]+y[4], y[1]+y[3]+y[5]
	r[0], r[1], r[2], r[3] = y[0], e+o, e-o, y[m-1]
	e, o = y[0]+float32(4*y[2])+float32(16*y[4]), float32(2*y[1])+float32(8*y[3])+float32(32*y[5])
	r[4], r[5] = e+o, e-o
	e, o = y[0]+float32(0.25*y[2])+float32(1./16*y[4]), float32(0.5*y[1])+float32(0.125*y[3])+float32(1./32*y[5])
	r[6], r[7] = e+o, e-o
	return r
}

// wino6Filter is G g.
func wino6Filter(_ int, g line) (r line) {
	e, o := g[0]+g[2], g[1]+g[1]
	r[0], r[1], r[2], r[3] = g[0], float32(-2./9*(e+g[1])), float32(-2./9*(e-g[1])), g[2]
	e = g[0] + float32(4*g[2])
	r[4], r[5] = float32(1./90*(e+o)), float32(1./90*(e-o))
	e = g[2] + float32(4*g[0])
	r[6], r[7] = float32(8./45*(e+o)), float32(8./45*(e-o))
	return r
}

// wino6FilterGradient is G^T u.
func wino6FilterGradient(u line) (g line) {
	s, e, s2, e2, sh, eh := u[1]+u[2], u[1]-u[2], u[4]+u[5], u[4]-u[5], u[6]+u[7], u[6]-u[7]
	g[0] = u[0] + float32(-2./9*s) + float32(1./90*s2) + float32(32./45*sh)
	g[1] = float32(-2./9*e) + float32(1./45*e2) + float32(16./45*eh)
	g[2] = u[3] + float32(-2./9*s) + float32(2./45*s2) + float32(8./45*sh)
	return g
}
