package main

// wino2 is F(2x2, 3x3). ../internal/winograd/matrices.txt has the matrices of its passes.
var wino2 = algorithm{
	name: "wino2", field: "f2", taps: 3, sizes: []int{2}, phases: []int{0},
	input: twoInput, output: twoOutput, gradient: twoGradient, filter: twoFilter, filterGradient: twoFilterGradient,
	filters: []float32{0.5}, filterGradients: []float32{0.5},
	outputRowsFirst: true, filterGradientRowsFirst: true,
}

// twoInput is B^T d.
func twoInput(t *transform, _ int, d func(i int) vec, put func(i int, v vec)) {
	d1, d2 := d(1), d(2)
	put(0, t.sub(d(0), d2))
	put(1, t.add(d1, d2))
	put(2, t.sub(d2, d1))
	put(3, t.sub(d(3), d1))
}

// twoOutput is A^T v.
func twoOutput(t *transform, _ int, v func(i int) vec, put func(i int, y vec)) {
	v1, v2 := v(1), v(2)
	put(0, t.add(v(0), t.add(v1, v2)))
	put(1, t.add(t.sub(v1, v2), v(3)))
}

// twoGradient is A y.
func twoGradient(t *transform, _ int, y func(i int) vec, put func(i int, v vec)) {
	y0, y1 := y(0), y(1)
	put(0, y0)
	put(3, y1)
	t.pair(put, 1, y0, y1)
}

// twoFilter is G g.
func twoFilter(t *transform, _ int, g func(i int) vec, put func(i int, v vec)) {
	g0, g1, g2 := g(0), g(1), g(2)
	put(0, g0)
	put(3, g2)
	e := t.add(g0, g2)
	put(1, t.times(0.5, t.add(e, g1)))
	put(2, t.times(0.5, t.sub(e, g1)))
}

// twoFilterGradient is G^T u.
func twoFilterGradient(t *transform, _ int, u func(i int) vec, put func(i int, v vec)) {
	u1, u2 := u(1), u(2)
	e := t.times(0.5, t.add(u1, u2))
	put(0, t.add(u(0), e))
	put(1, t.times(0.5, t.sub(u1, u2)))
	put(2, t.add(e, u(3)))
}
