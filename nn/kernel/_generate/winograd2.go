package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["winograd2"] = winograd2 }

// winograd2 writes the transforms of Winograd's F(2x2, 3x3), whose meaning winograd2_transform.go defines. Their 16
// vectors stay in registers with AVX-512.
func winograd2() {
	for _, s := range []isa{avx512, avx2} {
		wino2Input(s)
		wino2Output(s)
		wino2Gradient(s)
		wino2Filter(s)
		wino2FilterGradient(s, false)
	}
	wino2FilterGradient(avx512, true)
}

// rowOfFour is plane n of the row of four planes at base.
func rowOfFour(base, plane, plane3 reg.GPVirtual, n int) Mem {
	switch n {
	case 1, 2:
		return Mem{Base: base, Index: plane, Scale: uint8(n)}
	case 3:
		return Mem{Base: base, Index: plane3, Scale: 1}
	}
	return Mem{Base: base}
}

// planesOfFour goes over the rows of planes from data on.
func planesOfFour(data, plane, plane3 reg.GPVirtual, row func(i int, at func(j int) Mem)) {
	q := GP64()
	MOVQ(data, q)
	for i := range 4 {
		row(i, func(j int) Mem { return rowOfFour(q, plane, plane3, j) })
		if i < 3 {
			LEAQ(Mem{Base: q, Index: plane, Scale: 4}, q)
		}
	}
}

// wino2Input: V = B^T d B, a 4x4 patch.
func wino2Input(s isa) {
	t := newTransform(s, "wino2Input")
	t.findPixels(4, 4, false)
	v, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	plane3 := times(3, plane)
	row := func(d [4]vec, put func(i int, v vec)) {
		put(0, s.sub(d[0], d[2]))
		put(1, s.add(d[1], d[2]))
		put(2, s.sub(d[2], d[1]))
		put(3, s.sub(d[3], d[1]))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(16)
	for j := range 4 {
		var d [4]vec
		for i := range d {
			d[i] = t.loadPixel(4*i+j, off, ahead)
		}
		row(d, func(i int, v vec) { c.set(4*i+j, v) })
	}
	planesOfFour(v, plane, plane3, func(i int, at func(j int) Mem) {
		row(c.row(i, 4), func(j int, v vec) { t.storeV(v, at(j)) })
	})
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), v)
	t.end(count)
}

// row is row i of a matrix of n or four columns.
func (m *matrix) row(i, n int) (d [4]vec) {
	for j := range n {
		d[j] = m.get(n*i + j)
	}
	return d
}

// wino2Output: y = A^T M A + init (+ add), a 2x2 patch.
func wino2Output(s isa) {
	t := newTransform(s, "wino2Output")
	t.findPixels(2, 2, true)
	mm, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	init := t.field(patchInit)
	plane3 := times(3, plane)
	row := func(m [4]vec, put func(i int, v vec)) {
		put(0, s.add(m[0], s.add(m[1], m[2])))
		put(1, s.add(s.sub(m[1], m[2]), m[3]))
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(8)
	planesOfFour(mm, plane, plane3, func(i int, at func(j int) Mem) {
		var d [4]vec
		for j := range d {
			d[j] = s.load(at(j))
		}
		row(d, func(j int, v vec) { c.set(2*i+j, v) })
	})
	for j := range 2 {
		row([4]vec{c.get(j), c.get(2 + j), c.get(4 + j), c.get(6 + j)}, func(i int, y vec) { t.putPixel(2*i+j, y, init, off, ahead) })
	}
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), mm)
	t.end(count)
}

// wino2Gradient: W = A dy A^T of a 2x2 patch.
func wino2Gradient(s isa) {
	t := newTransform(s, "wino2Gradient")
	t.findPixels(2, 2, false)
	w, plane, count, off := t.field(patchData), t.field(patchPlane), t.field(patchCount), GP64()
	plane3 := times(3, plane)
	row := func(a, b vec, put func(i int, v vec)) {
		put(0, a)
		put(1, s.add(a, b))
		put(2, s.sub(a, b))
		put(3, b)
	}
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off, count)
	c := t.matrix(8)
	for j := range 2 {
		row(t.loadPixel(j, off, ahead), t.loadPixel(2+j, off, ahead), func(i int, v vec) { c.set(2*i+j, v) })
	}
	planesOfFour(w, plane, plane3, func(i int, at func(j int) Mem) {
		row(c.get(2*i), c.get(2*i+1), func(j int, v vec) { s.store(v, at(j)) })
	})
	ADDQ(I32(s.bytes()), off)
	ADDQ(I32(s.bytes()), w)
	t.end(count)
}

// wino2Filter: U = G g G^T, one vector of output channels of count input channels.
func wino2Filter(s isa) {
	t := newTransform(s, "wino2Filter")
	w, tap, channel := t.field(patchImage), t.field(patchRow), t.field(patchPixel)
	u, plane, step, count := t.field(patchData), t.field(patchPlane), t.field(patchStep), t.field(patchCount)
	plane3 := times(3, plane)
	half := s.constant(0.5)
	row := func(g [4]vec, put func(i int, v vec)) {
		put(0, g[0])
		put(3, g[2])
		e := s.add(g[0], g[2])
		put(1, s.mul(half, s.add(e, g[1])))
		put(2, s.mul(half, s.sub(e, g[1])))
	}
	ahead := GP64() // as in winoFilter
	LEAQ(Mem{Base: w, Index: channel, Scale: 8}, ahead)
	Label("loop")
	c := t.matrix(12)
	q := GP64()
	for j := range 3 {
		var g [4]vec
		for i := range 3 {
			IMUL3Q(I8(3*i+j), tap, q)
			g[i] = s.load(Mem{Base: w, Index: q, Scale: 1})
			PREFETCHT0(Mem{Base: ahead, Index: q, Scale: 1})
		}
		row(g, func(i int, v vec) { c.set(3*i+j, v) })
	}
	planesOfFour(u, plane, plane3, func(i int, at func(j int) Mem) {
		row(c.row(i, 3), func(j int, v vec) { t.storeU(v, at(j)) })
	})
	ADDQ(channel, ahead)
	ADDQ(channel, w)
	ADDQ(step, u)
	t.end(count)
}

// wino2FilterGradient: dg = G^T dU G, one vector of output channels of count input channels. With stream it is written
// past the caches, to whole lines.
func wino2FilterGradient(s isa, stream bool) {
	name, store := "wino2FilterGradient", s.store
	if stream {
		name, store = "wino2FilterGradientStream", func(v vec, m Mem) { VMOVNTPS(v, m) }
	}
	t := newTransform(s, name)
	w, tap, channel := t.field(patchImage), t.field(patchRow), t.field(patchPixel)
	u, plane, step, count := t.field(patchData), t.field(patchPlane), t.field(patchStep), t.field(patchCount)
	plane3 := times(3, plane)
	half := s.constant(0.5)
	row := func(u [4]vec, put func(i int, v vec)) {
		e := s.mul(half, s.add(u[1], u[2]))
		put(0, s.add(u[0], e))
		put(1, s.mul(half, s.sub(u[1], u[2])))
		put(2, s.add(e, u[3]))
	}
	Label("loop")
	c := t.matrix(12)
	planesOfFour(u, plane, plane3, func(i int, at func(j int) Mem) {
		var d [4]vec
		for j := range d {
			d[j] = t.loadD(at(j))
		}
		row(d, func(j int, v vec) { c.set(3*i+j, v) })
	})
	q := GP64()
	for j := range 3 {
		row([4]vec{c.get(j), c.get(3 + j), c.get(6 + j), c.get(9 + j)}, func(i int, v vec) {
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
