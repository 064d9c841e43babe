package main

// wino4 is F(4x4, 3x3) and, for what is left at the right and lower edges of an image, F(m x n, 3x3) with m and n of 2, 3 and 4,
// by the matrices of ../internal/winograd/matrices.txt.
var wino4 = algorithm{
	name: "wino4", field: "f4", taps: 3, sizes: []int{4, 3, 2}, phases: []int{0},
	input: fourInput, output: fourOutput, gradient: fourGradient, filter: fourFilter, filterGradient: fourFilterGradient,
	inputs: []float32{2, 3, -3, 4, 5}, outputs: []float32{2, 4, 8},
	filters: []float32{0.25, -1. / 6, 1. / 24, 4}, filterGradients: []float32{0.25, -1. / 6, 1. / 24, 1. / 6, 1. / 12},
}

// fourInput is B^T d for m outputs.
func fourInput(t *transform, m int, d func(i int) vec, put func(i int, v vec)) {
	switch m {
	case 2:
		d1, d2 := d(1), d(2)
		put(0, t.times(4, t.sub(d(0), d2)))
		put(3, t.sub(d(3), d1))
		t.pair(put, 1, t.times(-3, d2), t.times(-3, d1))
	case 3:
		d1, d2, d3 := d(1), d(2), d(3)
		last, a := t.sub(d3, d1), t.sub(d3, d2)
		put(3, t.minus(2, last, t.sub(d(4), d2)))
		put(4, t.times(4, last))
		put(0, t.times(2, t.plus(2, t.sub(d(0), d2), last)))
		put(2, t.plus(2, t.sub(d1, d2), t.copy(a)))
		put(1, t.times(3, t.minus(2, d1, a)))
	case 4:
		d1, d2, d3, d4 := d(1), d(2), d(3), d(4)
		t.pair(put, 1, t.minus(4, d2, t.copy(d4)), t.minus(4, d1, t.copy(d3)))
		t.pair(put, 4, t.sub(d4, d2), t.times(2, t.sub(d3, d1)))
		put(0, t.plus(4, d(0), t.minus(5, d2, d4)))
		put(3, t.plus(4, d1, t.minus(5, d3, d(5))))
	}
}

// fourOutput is A^T v for m outputs.
func fourOutput(t *transform, m int, v func(i int) vec, put func(i int, y vec)) {
	v1, v2 := v(1), v(2)
	s, e := t.add(v1, v2), t.sub(v1, v2)
	switch m {
	case 2:
		put(0, t.add(v(0), s))
		put(1, t.add(e, v(3)))
	case 3:
		v4 := v(4)
		put(0, t.add(t.add(v(0), s), v4))
		put(1, t.plus(2, v4, e))
		put(2, t.add(t.plus(4, v4, s), v(3)))
	case 4:
		v4, v5 := v(4), v(5)
		s2, e2 := t.add(v4, v5), t.sub(v4, v5)
		put(0, t.add(t.add(v(0), s), s2))
		put(1, t.plus(2, e2, t.copy(e)))
		put(2, t.plus(4, s2, s))
		put(3, t.add(t.plus(8, e2, e), v(3)))
	}
}

// fourGradient is A y for m outputs.
func fourGradient(t *transform, m int, y func(i int) vec, put func(i int, v vec)) {
	y0, y1 := y(0), y(1)
	put(0, y0)
	switch m {
	case 2:
		put(3, y1)
		t.pair(put, 1, y0, y1)
	case 3:
		y2 := y(2)
		put(3, y2)
		t.pair(put, 1, t.add(y0, y2), y1)
		put(4, t.plus(2, y1, t.plus(4, y2, y0)))
	case 4:
		y2, y3 := y(2), y(3)
		put(3, y3)
		t.pair(put, 1, t.add(y0, y2), t.add(y1, y3))
		t.pair(put, 4, t.plus(4, y2, t.copy(y0)), t.times(2, t.plus(4, y3, t.copy(y1))))
	}
}

// fourFilter is G g.
func fourFilter(t *transform, _ int, g func(i int) vec, put func(i int, v vec)) {
	g0, g1, g2 := g(0), g(1), g(2)
	put(0, t.times(0.25, g0))
	put(3, g2)
	e := t.add(g0, g2)
	put(1, t.times(-1./6, t.add(e, g1)))
	put(2, t.times(-1./6, t.sub(e, g1)))
	e = t.plus(4, g2, g0)
	o := t.add(g1, g1)
	put(4, t.times(1./24, t.add(e, o)))
	put(5, t.times(1./24, t.sub(e, o)))
}

// fourFilterGradient is G^T u.
func fourFilterGradient(t *transform, _ int, u func(i int) vec, put func(i int, v vec)) {
	u1, u2 := u(1), u(2)
	s, e := t.add(u1, u2), t.sub(u2, u1)
	u1, u2 = u(4), u(5)
	s2, e2 := t.add(u1, u2), t.sub(u1, u2)
	low := t.times(-1./6, s)
	put(0, t.plus(0.25, u(0), t.plus(1./24, s2, t.copy(low))))
	put(1, t.plus(1./12, e2, t.times(1./6, e)))
	put(2, t.add(u(3), t.plus(1./6, s2, low)))
}
