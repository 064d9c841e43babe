package main

// wino6 is F(6x6, 3x3) and, for what is left at an image's right and lower edges, F(m x n, 3x3) with m and n of 2, 4 and 6,
// by the matrices of ../internal/winograd/matrices.txt.
var wino6 = algorithm{
	name: "wino6", field: "f6", taps: 3, sizes: []int{6, 4, 2}, phases: []int{0},
	input: sixInput, output: sixOutput, gradient: sixGradient, filter: sixFilter, filterGradient: sixFilterGradient,
	inputs:  []float32{-2.25, 3, 0.75, 3.75, 7.5, 0.25, 1.25, 4, 5, 4.25, 0.5, 2.5, 2, 5.25},
	outputs: []float32{0.5, 2, 0.25, 4, 0.125, 8, 1. / 16, 16, 1. / 32, 32},
	filters: []float32{-2. / 9, 1. / 90, 8. / 45, 4}, filterGradients: []float32{-2. / 9, 1. / 90, 32. / 45, 1. / 45, 16. / 45, 2. / 45, 8. / 45},
	filterGradientRowsFirst: true,
}

// sixInput is B^T d for m outputs.
func sixInput(t *transform, m int, d func(i int) vec, put func(i int, v vec)) {
	switch m {
	case 2:
		d1, d2 := d(1), d(2)
		put(0, t.sub(d(0), d2))
		put(3, t.sub(d(3), d1))
		t.pair(put, 1, t.times(-2.25, d2), t.times(-2.25, d1))
	case 4:
		d1, d2, d3, d4 := d(1), d(2), d(3), d(4)
		t.pair(put, 1, t.minus(3, d2, t.times(0.75, d4)), t.minus(3, d1, t.times(0.75, d3)))
		t.pair(put, 4, t.times(3.75, t.sub(d4, d2)), t.times(7.5, t.sub(d3, d1)))
		put(0, t.plus(0.25, d4, t.minus(1.25, d2, d(0))))
		put(3, t.plus(4, d1, t.minus(5, d3, d(5))))
	case 6:
		d1, d2, d3, d4, d5, d6 := d(1), d(2), d(3), d(4), d(5), d(6)
		t.pair(put, 1, t.minus(4.25, d4, t.add(d6, d2)), t.minus(4.25, d3, t.add(d5, d1)))
		t.pair(put, 4, t.plus(0.25, d2, t.minus(1.25, d4, t.copy(d6))), t.plus(0.5, d1, t.minus(2.5, d3, t.times(2, d5))))
		t.pair(put, 6, t.plus(4, d2, t.minus(5, d4, t.copy(d6))), t.plus(2, d1, t.minus(2.5, d3, t.times(0.5, d5))))
		put(0, t.plus(5.25, t.sub(d4, d2), t.sub(d(0), d6)))
		put(3, t.plus(5.25, t.sub(d3, d5), t.sub(d(7), d1)))
	}
}

// sixOutput is A^T v for m outputs.
func sixOutput(t *transform, m int, v func(i int) vec, put func(i int, y vec)) {
	v1, v2 := v(1), v(2)
	s, e := t.add(v1, v2), t.sub(v1, v2)
	switch m {
	case 2:
		put(0, t.add(v(0), s))
		put(1, t.add(e, v(3)))
	case 4:
		v1, v2 := v(4), v(5)
		s2, e2 := t.add(v1, v2), t.sub(v1, v2)
		put(0, t.add(t.add(v(0), s), s2))
		put(1, t.plus(2, e2, t.copy(e)))
		put(2, t.plus(4, s2, s))
		put(3, t.add(t.plus(8, e2, e), v(3)))
	case 6:
		v1, v2 := v(4), v(5)
		s2, e2 := t.add(v1, v2), t.sub(v1, v2)
		v1, v2 = v(6), v(7)
		sh, eh := t.add(v1, v2), t.sub(v1, v2)
		put(0, t.add(t.add(t.add(v(0), s), s2), sh))
		put(1, t.plus(0.5, eh, t.plus(2, e2, t.copy(e))))
		put(2, t.plus(0.25, sh, t.plus(4, s2, t.copy(s))))
		put(3, t.plus(0.125, eh, t.plus(8, e2, t.copy(e))))
		put(4, t.plus(1./16, sh, t.plus(16, s2, s)))
		put(5, t.add(t.plus(1./32, eh, t.plus(32, e2, e)), v(3)))
	}
}

// sixGradient is A y for m outputs.
func sixGradient(t *transform, m int, y func(i int) vec, put func(i int, v vec)) {
	y0, y1 := y(0), y(1)
	switch m {
	case 2:
		put(0, y0)
		put(3, y1)
		t.pair(put, 1, y0, y1)
	case 4:
		y2, y3 := y(2), y(3)
		put(0, y0)
		put(3, y3)
		t.pair(put, 1, t.add(y0, y2), t.add(y1, y3))
		t.pair(put, 4, t.plus(4, y2, t.copy(y0)), t.plus(8, y3, t.times(2, y1)))
	case 6:
		y2, y3, y4, y5 := y(2), y(3), y(4), y(5)
		put(0, y0)
		put(3, y5)
		t.pair(put, 1, t.add(t.add(y0, y2), y4), t.add(t.add(y1, y3), y5))
		t.pair(put, 4, t.plus(16, y4, t.plus(4, y2, t.copy(y0))), t.plus(32, y5, t.plus(8, y3, t.times(2, y1))))
		t.pair(put, 6, t.plus(1./16, y4, t.plus(0.25, y2, y0)), t.plus(1./32, y5, t.plus(0.125, y3, t.times(0.5, y1))))
	}
}

// sixFilter is G g.
func sixFilter(t *transform, _ int, g func(i int) vec, put func(i int, v vec)) {
	g0, g1, g2 := g(0), g(1), g(2)
	put(0, g0)
	put(3, g2)
	e := t.add(g0, g2)
	put(1, t.times(-2./9, t.add(e, g1)))
	put(2, t.times(-2./9, t.sub(e, g1)))
	o := t.add(g1, g1)
	e = t.plus(4, g2, t.copy(g0))
	put(4, t.times(1./90, t.add(e, o)))
	put(5, t.times(1./90, t.sub(e, o)))
	e = t.plus(4, g0, t.copy(g2))
	put(6, t.times(8./45, t.add(e, o)))
	put(7, t.times(8./45, t.sub(e, o)))
}

// sixFilterGradient is G^T u.
func sixFilterGradient(t *transform, _ int, u func(i int) vec, put func(i int, v vec)) {
	u1, u2 := u(1), u(2)
	s, e := t.add(u1, u2), t.sub(u1, u2)
	u1, u2 = u(4), u(5)
	s2, e2 := t.add(u1, u2), t.sub(u1, u2)
	u1, u2 = u(6), u(7)
	sh, eh := t.add(u1, u2), t.sub(u1, u2)
	put(0, t.plus(32./45, sh, t.plus(1./90, s2, t.plus(-2./9, s, u(0)))))
	put(1, t.plus(16./45, eh, t.plus(1./45, e2, t.times(-2./9, e))))
	put(2, t.plus(8./45, sh, t.plus(2./45, s2, t.plus(-2./9, s, u(3)))))
}
