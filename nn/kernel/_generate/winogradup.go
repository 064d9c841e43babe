package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["winogradup"] = winogradup }

// winogradup writes the transforms of Winograd's F(4x4, 2x2) and, for what is left at an image's right and lower edges, of
// F(m x n, 2x2) with m and n of 2, 3 and 4, whose meaning winogradup_transform.go defines.
func winogradup() {
	newTable("winogradupConstants")
	for _, s := range []isa{avx512, avx2} {
		for rows := 2; rows <= 4; rows++ {
			for cols := 2; cols <= 4; cols++ {
				if rows < 4 || cols < 4 {
					winoUp.patchInput(s, rows, cols)
					winoUp.patchOutput(s, rows, cols)
					winoUp.patchGradient(s, rows, cols)
				}
			}
		}
		winoUpInput(s)
		winoUpOutput(s)
		winoUpGradient(s)
		for y := 0; y < 2; y++ {
			for x := 0; x < 2; x++ {
				winoUpFilter(s, y, x)
			}
		}
		winoUpFilterGradient(s)
	}
}

// upPlane is where the planes have the points 0, 1, -1, 2 and infinity, which is the order of the rows of whole patches'
// transforms; upPoint is its inverse.
var (
	upPlane = [5]int{0, 1, 3, 4, 2}
	upPoint = [5]int{0, 1, 4, 2, 3}
)

// winoUp has the points, in this order, 0, 1, infinity, -1, 2: F(m, 2) takes the first m+1 of them.
var winoUp = algorithm{
	name: "winoUp", points: extent{1, 1}, window: extent{1, 1}, results: extent{1, 0}, side: 5, input: upInput, output: upOutput, gradient: upGradient,
	inputs:  map[int][]float32{2: {2, -2}, 3: {2, -1, 3}, 4: {2}},
	outputs: map[int][]float32{4: {2, 4, 8}},
}

// upInput is B^T d for m outputs.
func upInput(t *mixed, m int, d func(i int) vec, put func(i int, v vec)) {
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
func upOutput(t *mixed, m int, v func(i int) vec, put func(i int, y vec)) {
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
func upGradient(t *mixed, m int, y func(i int) vec, put func(i int, v vec)) {
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
		e, o = t.plus(4, y2, y0), t.plus(4, y3, y1)
		put(4, t.plus(2, o, e))
	}
}

// planeOf5 is plane n of the row of five planes at base.
func planeOf5(base, plane, plane3 reg.GPVirtual, n int) Mem {
	m := Mem{Base: base}
	switch n {
	case 1, 2, 4:
		m.Index, m.Scale = plane, uint8(n)
	case 3:
		m.Index, m.Scale = plane3, 1
	}
	return m
}

// winoUpInput: V = B^T d B of a 5x5 patch.
func winoUpInput(s isa) {
	t := newTransform(s, "winoUpInput")
	t.findPixels(5, 5, false)
	v, plane, count, off, q := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64(), GP64()
	plane3, plane5 := times(3, plane), times(5, plane)
	two := s.constant(2)
	row := func(d [5]vec, put func(i int, v vec)) {
		last := s.sub(d[3], d[1])
		put(4, s.fnma(two, last, s.sub(d[4], d[2])))
		put(0, s.fma(two, s.sub(d[0], d[2]), s.copy(last)))
		put(3, last)
		a := s.sub(d[3], d[2])
		put(1, s.fnma(two, d[1], s.copy(a)))
		put(2, s.fma(two, s.sub(d[1], d[2]), a))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	// With 32 registers all rows but the last stay in them. Each pixel is loaded once: those of a column are often a
	// power of two apart, and such loads take longer.
	m := t.matrix(25)
	var rows [5][5]vec
	for j := range 5 {
		var d [5]vec
		for i := range d {
			d[i] = t.loadPixel(5*i+j, off, ahead)
		}
		row(d, func(i int, v vec) {
			if s.lanes == 16 && i < 4 {
				rows[i][j] = v
				return
			}
			m.set(5*i+j, v)
		})
	}
	MOVQ(v, q)
	for i, point := range upPoint {
		d := rows[point]
		for j := range d {
			if d[j] == nil {
				d[j] = m.get(5*point + j)
			}
		}
		row(d, func(j int, v vec) { s.store(v, planeOf5(q, plane, plane3, upPlane[j])) })
		if i < 4 {
			ADDQ(plane5, q)
		}
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), v)
	t.end(count)
}

// winoUpOutput: y = A^T M A + init (+ add), a 4x4 patch.
func winoUpOutput(s isa) {
	t := newTransform(s, "winoUpOutput")
	t.findPixels(4, 4, true)
	mm, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	init := t.field(patchInit)
	plane5 := times(5, plane)
	two, four, eight := s.constant(2), s.constant(4), s.constant(8)
	row := func(m [5]vec, put func(i int, v vec)) {
		sum, diff := s.add(m[1], m[2]), s.sub(m[1], m[2])
		put(0, s.add(s.add(m[0], sum), m[3]))
		put(1, s.fma(two, m[3], s.copy(diff)))
		put(2, s.fma(four, m[3], sum))
		put(3, s.add(s.fma(eight, m[3], diff), m[4]))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(20)
	q, column := GP64(), GP64()
	MOVQ(mm, column)
	for j := 0; j < 5; j++ {
		var d [5]vec
		MOVQ(column, q)
		for i, point := range upPoint {
			d[point] = s.load(Mem{Base: q})
			if i < 4 {
				ADDQ(plane5, q)
			}
		}
		row(d, func(i int, v vec) { c.set(5*i+upPoint[j], v) })
		if j < 4 {
			ADDQ(plane, column)
		}
	}
	for i := 0; i < 4; i++ {
		var d [5]vec
		for j := range d {
			d[j] = c.get(5*i + j)
		}
		row(d, func(j int, y vec) { t.putPixel(4*i+j, y, init, off, ahead) })
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), mm)
	t.end(count)
}

// winoUpGradient: W = A dy A^T of a 4x4 patch.
func winoUpGradient(s isa) {
	t := newTransform(s, "winoUpGradient")
	t.findPixels(4, 4, false)
	w, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	two, four := s.constant(2), s.constant(4)
	row := func(y [4]vec, put func(i int, v vec)) {
		put(0, y[0])
		put(4, y[3])
		e, o := s.add(y[0], y[2]), s.add(y[1], y[3])
		put(1, s.add(e, o))
		put(2, s.sub(e, o))
		e = s.fma(four, y[2], s.copy(y[0]))
		o = s.fma(four, y[3], s.copy(y[1]))
		put(3, s.fma(two, o, e))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(20)
	for j := 0; j < 4; j++ {
		var d [4]vec
		for i := range d {
			d[i] = t.loadPixel(4*i+j, off, ahead)
		}
		row(d, func(i int, v vec) { c.set(4*i+j, v) })
	}
	q := GP64()
	MOVQ(w, q)
	plane3, plane5 := times(3, plane), times(5, plane)
	for i, point := range upPoint {
		var d [4]vec
		for j := range d {
			d[j] = c.get(4*point + j)
		}
		row(d, func(j int, v vec) { s.store(v, planeOf5(q, plane, plane3, upPlane[j])) })
		if i < 4 {
			ADDQ(plane5, q)
		}
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), w)
	t.end(count)
}

// winoUpFilter: U = G h G^T of the 2x2 filter h that the output pixels of parity (y, x) see of a 3x3 filter behind an
// upsampling; one vector of output channels of count input channels.
func winoUpFilter(s isa, y, x int) {
	t := newTransform(s, fmt.Sprintf("winoUpFilter%d%d", y, x))
	w, tap, channel := t.field(patchImage), t.field(patchRow), t.field(patchPixel)
	u, plane, step, count := t.field(patchData), t.field(patchPlane), t.field(patchStep), t.field(patchCount)
	half, minus, sixth := s.constant(0.5), s.constant(-0.5), s.constant(1./6)
	row := func(g [3]vec, parity int, put func(i int, v vec)) {
		h0, h1 := g[0], g[2]
		if parity == 0 {
			h1 = s.add(g[1], g[2])
		} else {
			h0 = s.add(g[0], g[1])
		}
		plus := s.add(h0, h1)
		put(1, s.mul(minus, plus))
		put(3, s.mul(sixth, s.add(plus, h1)))
		put(2, s.mul(sixth, s.sub(h1, h0)))
		put(0, s.mul(half, h0))
		put(4, h1)
	}
	ahead := GP64() // as in winoFilter
	LEAQ(Mem{Base: w, Index: channel, Scale: 8}, ahead)
	Label("loop")
	c := t.matrix(15)
	q := GP64()
	for j := 0; j < 3; j++ {
		var g [3]vec
		for i := range g {
			IMUL3Q(I8(3*i+j), tap, q)
			g[i] = s.load(Mem{Base: w, Index: q, Scale: 1})
			PREFETCHT0(Mem{Base: ahead, Index: q, Scale: 1})
		}
		row(g, y, func(i int, v vec) { c.set(3*i+j, v) })
	}
	for i := 0; i < 5; i++ {
		var g [3]vec
		for j := range g {
			g[j] = c.get(3*i + j)
		}
		row(g, x, func(j int, v vec) {
			IMUL3Q(I8(5*upPlane[i]+upPlane[j]), plane, q)
			t.storeU(v, Mem{Base: u, Index: q, Scale: 1})
		})
	}
	ADDQ(channel, ahead)
	ADDQ(channel, w)
	ADDQ(step, u)
	t.end(count)
}

// winoUpFilterGradient: dh = G^T dU G, one vector of output channels of count input channels.
func winoUpFilterGradient(s isa) {
	t := newTransform(s, "winoUpFilterGradient")
	w, tap, channel := t.field(patchImage), t.field(patchRow), t.field(patchPixel)
	u, plane, step, count := t.field(patchData), t.field(patchPlane), t.field(patchStep), t.field(patchCount)
	half, sixth, third := s.constant(0.5), s.constant(1./6), s.constant(1./3)
	row := func(u [5]vec, put func(i int, v vec)) {
		put(0, s.fma(sixth, s.sub(u[3], u[2]), s.mul(half, s.sub(u[0], u[1]))))
		put(1, s.fma(third, u[3], s.fma(sixth, u[2], s.fnma(half, u[1], s.copy(u[4])))))
	}
	Label("loop")
	c := t.matrix(10)
	q := GP64()
	for j := 0; j < 5; j++ {
		var d [5]vec
		for i := range d {
			IMUL3Q(I8(5*upPlane[i]+upPlane[j]), plane, q)
			d[i] = t.loadD(Mem{Base: u, Index: q, Scale: 1})
		}
		row(d, func(i int, v vec) { c.set(5*i+j, v) })
	}
	for i := 0; i < 2; i++ {
		var d [5]vec
		for j := range d {
			d[j] = c.get(5*i + j)
		}
		row(d, func(j int, v vec) {
			IMUL3Q(I8(2*i+j), tap, q)
			s.store(v, Mem{Base: w, Index: q, Scale: 1})
		})
	}
	ADDQ(channel, w)
	ADDQ(step, u)
	t.end(count)
}
