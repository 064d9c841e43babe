package main

// winoUp is F(4x4, 2x2) and, for what is left at an image's right and lower edges, F(m x n, 2x2) with m and n of 2, 3 and 4,
// by the matrices of ../internal/winograd/matrices.txt.
var winoUp = algorithm{
	name: "winoUp", field: "up", taps: 2, sizes: []int{4, 3, 2}, phases: []int{0, 1},
	input: upInput, output: upOutput, gradient: upGradient, filter: upFilter, filterGradient: upFilterGradient,
	inputs: []float32{2, -2, -1, 3}, outputs: []float32{2, 4, 8},
	filters: []float32{0.5, -0.5, 1. / 6}, filterGradients: []float32{0.5, 1. / 6, 1. / 3},
}

// upInput is B^T d for m outputs.
func upInput(t *transform, m int, d func(i int) vec, put func(i int, v vec)) {
	d1, d2 := d(1), d(2)
	switch m {
	case 2:
		put(0, t.times(2, t.sub(d(0), d1)))
		put(1, t.times(-2, d1))
		put(2, t.sub(d2, d1))
	case 3:
		put(0, t.times(2, t.sub(d(0), d2)))
		put(1, t.times(-1, t.add(d1, d2)))
		put(2, t.sub(d(3), d1))
		put(3, t.times(3, t.sub(d1, d2)))
	case 4:
		d3 := d(3)
		last, a := t.sub(d3, d1), t.sub(d3, d2)
		put(2, t.minus(2, last, t.sub(d(4), d2)))
		put(0, t.plus(2, t.sub(d(0), d2), t.copy(last)))
		put(4, last)
		put(1, t.minus(2, d1, t.copy(a)))
		put(3, t.plus(2, t.sub(d1, d2), a))
	}
}

// upOutput is A^T v for m outputs.
func upOutput(t *transform, m int, v func(i int) vec, put func(i int, y vec)) {
	v1 := v(1)
	if m == 2 {
		put(0, t.add(v(0), v1))
		put(1, t.add(v1, v(2)))
		return
	}
	v3 := v(3)
	s, e := t.add(v1, v3), t.sub(v1, v3)
	switch m {
	case 3:
		put(0, t.add(v(0), s))
		put(1, e)
		put(2, t.add(s, v(2)))
	case 4:
		v4 := v(4)
		put(0, t.add(t.add(v(0), s), v4))
		put(1, t.plus(2, v4, t.copy(e)))
		put(2, t.plus(4, v4, s))
		put(3, t.add(t.plus(8, v4, e), v(2)))
	}
}

// upGradient is A y for m outputs.
func upGradient(t *transform, m int, y func(i int) vec, put func(i int, v vec)) {
	y0, y1 := y(0), y(1)
	put(0, y0)
	switch m {
	case 2:
		put(2, y1)
		put(1, t.add(y0, y1))
	case 3:
		y2 := y(2)
		put(2, y2)
		e := t.add(y0, y2)
		put(1, t.add(e, y1))
		put(3, t.sub(e, y1))
	case 4:
		y2, y3 := y(2), y(3)
		put(2, y3)
		e, o := t.add(y0, y2), t.add(y1, y3)
		put(1, t.add(e, o))
		put(3, t.sub(e, o))
		e, o = t.plus(4, y2, t.copy(y0)), t.plus(4, y3, y1)
		put(4, t.plus(2, o, e))
	}
}

// upFilter is G h of the two taps h that the outputs of one parity see of three behind an upsampling.
func upFilter(t *transform, parity int, g func(i int) vec, put func(i int, v vec)) {
	h0, h1 := g(0), g(2)
	if parity == 0 {
		h1 = t.add(g(1), h1)
	} else {
		h0 = t.add(h0, g(1))
	}
	plus := t.add(h0, h1)
	put(1, t.times(-0.5, plus))
	put(4, t.times(1./6, t.add(plus, h1)))
	put(3, t.times(1./6, t.sub(h1, h0)))
	put(0, t.times(0.5, h0))
	put(2, h1)
}

// upFilterGradient is G^T u, the gradient of h.
func upFilterGradient(t *transform, _ int, u func(i int) vec, put func(i int, v vec)) {
	u1, u3, u4 := u(1), u(3), u(4)
	put(0, t.plus(1./6, t.sub(u4, u3), t.times(0.5, t.sub(u(0), u1))))
	put(1, t.plus(1./3, u4, t.plus(1./6, u3, t.minus(0.5, u1, u(2)))))
}
