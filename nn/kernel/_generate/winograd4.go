package main

func init() { families["winograd4"] = winograd4 }

// winograd4 writes the transforms of F(m x n, 3x3) for what is left at the right and lower edges of an image that
// F(4x4, 3x3) is for, with m and n of 2, 3 and 4, whose meaning winograd4_transform.go defines.
func winograd4() {
	newTable("winograd4Constants")
	for _, s := range []isa{avx512, avx2} {
		for rows := 2; rows <= 4; rows++ {
			for cols := 2; cols <= 4; cols++ {
				if rows == 4 && cols == 4 {
					continue // winograd.go
				}
				wino4.patchInput(s, rows, cols)
				wino4.patchOutput(s, rows, cols)
				wino4.patchGradient(s, rows, cols)
			}
		}
	}
}

// wino4 has the points, in this order, 0, 1, -1, infinity, 2, -2: F(m, 3) takes the first m+2 of them.
var wino4 = algorithm{
	name: "wino4", points: extent{1, 2}, window: extent{1, 2}, results: extent{1, 0}, side: 6, input: fourInput, output: fourOutput, gradient: fourGradient,
	inputs:  map[int][]float32{2: {-3, 4}, 3: {2, 3, 4}, 4: {2, 4, 5}},
	outputs: map[int][]float32{3: {2, 4}, 4: {2, 4, 8}},
}

// fourInput is B^T d for m outputs.
func fourInput(t *mixed, m int, d func(i int) vec, put func(i int, v vec)) {
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
func fourOutput(t *mixed, m int, v func(i int) vec, put func(i int, y vec)) {
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
func fourGradient(t *mixed, m int, y func(i int) vec, put func(i int, v vec)) {
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
