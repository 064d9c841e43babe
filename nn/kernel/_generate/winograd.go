package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["winograd"] = winograd }

// winograd writes the transforms of Winograd's F(4x4, 3x3), whose meaning
// winograd_transform.go defines.
func winograd() {
	for _, s := range []isa{avx512, avx2} {
		winoInput(s)
		winoOutput(s)
		winoGradient(s)
		winoFilter(s)
		winoFilterGradient(s, false)
	}
	winoFilterGradient(avx512, true)
}

// fourPlane is where the planes have the points 0, 1, -1, 2, -2 and infinity, which is the order of the rows here: those of
// smaller patches come first (winograd4.go). fourPoint is its inverse.
var (
	fourPlane = [6]int{0, 1, 2, 4, 5, 3}
	fourPoint = [6]int{0, 1, 2, 5, 3, 4}
)

// planeOf6 is plane n of the row of six planes at base.
func planeOf6(base, plane, plane3, plane5 reg.GPVirtual, n int) Mem {
	m := Mem{Base: base}
	switch n {
	case 1, 2, 4:
		m.Index, m.Scale = plane, uint8(n)
	case 3:
		m.Index, m.Scale = plane3, 1
	case 5:
		m.Index, m.Scale = plane5, 1
	}
	return m
}

// inputRow is one row of B^T d, six elements to six, handing each result to put as
// soon as it is there.
type inputRow struct {
	isa
	two, four, five vec
}

func (s isa) inputRow() inputRow {
	return inputRow{s, s.constant(2), s.constant(4), s.constant(5)}
}

func (r inputRow) oneTwo(d [6]vec) (a, b vec) {
	t1, t2 := r.fnma(r.four, d[2], r.copy(d[4])), r.fnma(r.four, d[1], r.copy(d[3]))
	return r.add(t1, t2), r.sub(t1, t2)
}

func (r inputRow) threeFour(d [6]vec) (a, b vec) {
	t1, t2 := r.sub(d[4], d[2]), r.sub(d[3], d[1])
	return r.fma(r.two, t2, r.copy(t1)), r.fnma(r.two, t2, t1)
}

// zero and last change d[4] and d[5].
func (r inputRow) zero(d [6]vec) vec { return r.fma(r.four, d[0], r.fnma(r.five, d[2], d[4])) }
func (r inputRow) last(d [6]vec) vec { return r.fma(r.four, d[1], r.fnma(r.five, d[3], d[5])) }

func (r inputRow) all(d [6]vec, put func(i int, v vec)) {
	a, b := r.oneTwo(d)
	put(1, a)
	put(2, b)
	a, b = r.threeFour(d)
	put(3, a)
	put(4, b)
	put(0, r.zero(d))
	put(5, r.last(d))
}

// winoInput: V = B^T d B of a 6x6 patch.
func winoInput(s isa) {
	t := newTransform(s, "winoInput")
	t.findPixels(6, 6, false)
	v, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	plane3, plane5 := times(3, plane), times(5, plane)
	plane6 := times(6, plane)
	r := s.inputRow()
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	q := GP64()
	storeRow := func(d [6]vec) {
		r.all(d, func(i int, v vec) { t.storeV(v, planeOf6(q, plane, plane3, plane5, fourPlane[i])) })
		ADDQ(plane6, q)
	}
	load := func(i, j int) vec { return t.loadPixel(6*i+j, off, ahead) }
	if s.lanes == 16 {
		// Rows 1 to 4 stay in registers. Each pixel is loaded once: those of a column are often a power of two apart,
		// and such loads were measured to take longer (Zen 4).
		m := t.matrix(36)
		var rows [5][6]vec
		for j := range 6 {
			d1, d2, d3, d4 := load(1, j), load(2, j), load(3, j), load(4, j)
			d := [6]vec{1: d1, 2: d2, 3: d3, 4: s.copy(d4), 5: load(5, j)}
			m.set(6+j, r.last(d))
			d[0] = load(0, j)
			m.set(j, r.zero(d))
			d[4] = d4
			rows[1][j], rows[2][j] = r.oneTwo(d)
			rows[3][j], rows[4][j] = r.threeFour(d)
		}
		MOVQ(v, q)
		ADDQ(plane6, q)
		storeRow(rows[1])
		storeRow(rows[2])
		ADDQ(plane6, q)
		storeRow(rows[3])
		storeRow(rows[4])
		var d [6]vec
		for j := range d {
			d[j] = m.get(6 + j)
		}
		LEAQ(Mem{Base: v, Index: plane6, Scale: 2}, q)
		ADDQ(plane6, q)
		storeRow(d)
		for j := range d {
			d[j] = m.get(j)
		}
		MOVQ(v, q)
		storeRow(d)
	} else {
		m := t.matrix(36)
		for j := 0; j < 6; j++ {
			var d [6]vec
			for i := range d {
				d[i] = load(i, j)
			}
			r.all(d, func(i int, v vec) { m.set(6*i+j, v) })
		}
		MOVQ(v, q)
		for _, i := range fourPoint {
			var d [6]vec
			for j := range d {
				d[j] = m.get(6*i + j)
			}
			storeRow(d)
		}
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), v)
	t.end(count)
}

// winoOutput: y = A^T M A + init (+ add), a 4x4 patch.
func winoOutput(s isa) {
	t := newTransform(s, "winoOutput")
	t.findPixels(4, 4, true)
	mm, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	init := t.field(patchInit)
	plane6 := times(6, plane)
	two, four, eight := s.constant(2), s.constant(4), s.constant(8)
	row := func(m [6]vec, put func(i int, v vec)) {
		s1, e1 := s.add(m[1], m[2]), s.sub(m[1], m[2])
		s2, e2 := s.add(m[3], m[4]), s.sub(m[3], m[4])
		put(0, s.add(s.add(m[0], s1), s2))
		put(1, s.fma(two, e2, s.copy(e1)))
		put(2, s.fma(four, s2, s1))
		put(3, s.add(s.fma(eight, e2, e1), m[5]))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(24)
	q, column := GP64(), GP64()
	MOVQ(mm, column)
	for j := 0; j < 6; j++ {
		var d [6]vec
		MOVQ(column, q)
		for i, point := range fourPoint {
			d[point] = s.load(Mem{Base: q})
			if i < 5 {
				ADDQ(plane6, q)
			}
		}
		row(d, func(i int, v vec) { c.set(6*i+fourPoint[j], v) })
		if j < 5 {
			ADDQ(plane, column)
		}
	}
	for i := 0; i < 4; i++ {
		var d [6]vec
		for j := range d {
			d[j] = c.get(6*i + j)
		}
		row(d, func(j int, y vec) { t.putPixel(4*i+j, y, init, off, ahead) })
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), mm)
	t.end(count)
}

// winoGradient: W = A dy A^T of a 4x4 patch.
func winoGradient(s isa) {
	t := newTransform(s, "winoGradient")
	t.findPixels(4, 4, false)
	w, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	two, four := s.constant(2), s.constant(4)
	row := func(y [4]vec, put func(i int, v vec)) {
		put(0, y[0])
		put(5, y[3])
		e, o := s.add(y[0], y[2]), s.add(y[1], y[3])
		put(1, s.add(e, o))
		put(2, s.sub(e, o))
		e = s.fma(four, y[2], s.copy(y[0]))
		o = s.mul(two, s.fma(four, y[3], s.copy(y[1])))
		put(3, s.add(e, o))
		put(4, s.sub(e, o))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(24)
	for j := 0; j < 4; j++ {
		var d [4]vec
		for i := range d {
			d[i] = t.loadPixel(4*i+j, off, ahead)
		}
		row(d, func(i int, v vec) { c.set(4*i+j, v) })
	}
	q := GP64()
	MOVQ(w, q)
	plane3, plane5, plane6 := times(3, plane), times(5, plane), times(6, plane)
	for i, point := range fourPoint {
		var d [4]vec
		for j := range d {
			d[j] = c.get(4*point + j)
		}
		row(d, func(j int, v vec) { s.store(v, planeOf6(q, plane, plane3, plane5, fourPlane[j])) })
		if i < 5 {
			ADDQ(plane6, q)
		}
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), w)
	t.end(count)
}

// winoFilter: U = G g G^T of F(4x4, 3x3).
func winoFilter(s isa) {
	t := newTransform(s, "winoFilter")
	quarter, sixth, part := s.constant(0.25), s.constant(-1./6), s.constant(1./24)
	four := s.constant(4)
	t.sixFilter(fourPlane, func(g [3]vec, put func(i int, v vec)) {
		put(0, s.mul(quarter, g[0]))
		put(5, g[2])
		e := s.add(g[0], g[2])
		put(1, s.mul(sixth, s.add(e, g[1])))
		put(2, s.mul(sixth, s.sub(e, g[1])))
		e = s.fma(four, g[2], s.copy(g[0]))
		o := s.add(g[1], g[1])
		put(3, s.mul(part, s.add(e, o)))
		put(4, s.mul(part, s.sub(e, o)))
	})
}

// sixFilter writes the transform of a filter to 6x6 planes, one vector of output channels of count input channels. row is that of
// one dimension, with its results in the order that planes has places for.
func (t *transform) sixFilter(planes [6]int, row func(g [3]vec, put func(i int, v vec))) {
	w, tap, channel := t.field(patchImage), t.field(patchRow), t.field(patchPixel)
	u, plane, step, count := t.field(patchData), t.field(patchPlane), t.field(patchStep), t.field(patchCount)
	// The taps of a channel are far apart, and so are channels: the hardware foresees neither.
	ahead := GP64()
	LEAQ(Mem{Base: w, Index: channel, Scale: 8}, ahead)
	Label("loop")
	c := t.matrix(18)
	q := GP64()
	for j := 0; j < 3; j++ {
		var g [3]vec
		for i := range g {
			IMUL3Q(I8(3*i+j), tap, q)
			g[i] = t.load(Mem{Base: w, Index: q, Scale: 1})
			PREFETCHT0(Mem{Base: ahead, Index: q, Scale: 1})
		}
		row(g, func(i int, v vec) { c.set(3*i+j, v) })
	}
	for i := 0; i < 6; i++ {
		var g [3]vec
		for j := range g {
			g[j] = c.get(3*i + j)
		}
		row(g, func(j int, v vec) {
			IMUL3Q(I8(6*planes[i]+planes[j]), plane, q)
			t.storeU(v, Mem{Base: u, Index: q, Scale: 1})
		})
	}
	ADDQ(channel, ahead)
	ADDQ(channel, w)
	ADDQ(step, u)
	t.end(count)
}

// winoFilterGradient: dg = G^T dU G of F(4x4, 3x3). With stream it is written past the caches, to whole lines.
func winoFilterGradient(s isa, stream bool) {
	t := newTransform(s, streamed("winoFilterGradient", stream))
	quarter, minus, part := s.constant(0.25), s.constant(-1./6), s.constant(1./24)
	sixth, twelfth := s.constant(1./6), s.constant(1./12)
	t.sixFilterGradient(stream, fourPlane, func(u [6]vec, put func(i int, v vec)) {
		s1, e1 := s.add(u[1], u[2]), s.sub(u[2], u[1])
		s2, e2 := s.add(u[3], u[4]), s.sub(u[3], u[4])
		low := s.mul(minus, s1)
		put(0, s.fma(quarter, u[0], s.fma(part, s2, s.copy(low))))
		put(1, s.fma(twelfth, e2, s.mul(sixth, e1)))
		put(2, s.add(u[5], s.fma(sixth, s2, low)))
	})
}

// streamed is the name of a function that may write past the caches.
func streamed(name string, stream bool) string {
	if stream {
		return name + "Stream"
	}
	return name
}

// sixFilterGradient writes the transform of 6x6 planes of a filter's gradient to the gradient, one vector of output
// channels of count input channels, past the caches with stream. row is that of one dimension, planes the places of what it reads.
func (t *transform) sixFilterGradient(stream bool, planes [6]int, row func(u [6]vec, put func(i int, v vec))) {
	store := t.store
	if stream {
		store = func(v vec, m Mem) { VMOVNTPS(v, m) }
	}
	w, tap, channel := t.field(patchImage), t.field(patchRow), t.field(patchPixel)
	u, plane, step, count := t.field(patchData), t.field(patchPlane), t.field(patchStep), t.field(patchCount)
	Label("loop")
	c := t.matrix(18)
	q := GP64()
	for j := 0; j < 6; j++ {
		var d [6]vec
		for i := range d {
			IMUL3Q(I8(6*planes[i]+planes[j]), plane, q)
			d[i] = t.loadD(Mem{Base: u, Index: q, Scale: 1})
		}
		row(d, func(i int, v vec) { c.set(6*i+j, v) })
	}
	for i := 0; i < 3; i++ {
		var d [6]vec
		for j := range d {
			d[j] = c.get(6*i + j)
		}
		row(d, func(j int, v vec) {
			IMUL3Q(I8(3*i+j), tap, q)
			store(v, Mem{Base: w, Index: q, Scale: 1})
		})
	}
	ADDQ(channel, w)
	ADDQ(step, u)
	DECQ(count)
	JNE(LabelRef("loop"))
	if stream {
		SFENCE()
	}
	done()
}
