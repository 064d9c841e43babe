package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The transforms of patches of different sizes: whole ones and those at an image's right and lower edges.

// algorithm is Winograd's F(m x n, r x r), m and n of some sizes, at the first of the same points (m+r-1 and n+r-1 of them, but
// with stride 2), each in one dimension.
type algorithm struct {
	name                    string
	points, window, results extent // for patches of m positions
	side                    int    // points in each dimension
	input, output, gradient func(t *mixed, m int, d func(i int) vec, put func(i int, v vec))
	inputs, outputs         map[int][]float32 // the constants of input, and of output and gradient, by m
}

// extent is winograd_transform.go's.
type extent struct{ each, more int }

func (e extent) of(m int) int { return e.each*m + e.more }

// mixed is a transform of a patch of one size.
type mixed struct {
	*transform
	algorithm
	plane [10]reg.GPVirtual // multiples of the step between planes, where they are needed
	c     map[float32]Op    // constants
}

func (a algorithm) begin(s isa, name string) *mixed {
	return &mixed{transform: newTransform(s, a.name+name), algorithm: a, c: map[float32]Op{}}
}

func (t *mixed) constants(values ...float32) {
	for _, v := range values {
		if t.c[v] == nil {
			t.c[v] = t.constantOp(v)
		}
	}
}

// times is c*x.
func (t *mixed) times(c float32, x vec) vec { y := t.vec(); VMULPS(t.c[c], x, y); return y }

// plus adds c*x to y, in place; minus subtracts it.
func (t *mixed) plus(c float32, x, y vec) vec  { VFMADD231PS(t.c[c], x, y); return y }
func (t *mixed) minus(c float32, x, y vec) vec { VFNMADD231PS(t.c[c], x, y); return y }

// pair hands on e+o and e-o as results i and i+1.
func (t *mixed) pair(put func(i int, v vec), i int, e, o vec) {
	put(i, t.add(e, o))
	put(i+1, t.sub(e, o))
}

// steps computes the multiples of the step between planes that at needs.
func (t *mixed) steps() {
	t.plane[1] = t.field(patchPlane)
	for n := 3; n <= t.side; n++ {
		if n%2 == 0 && n != t.side {
			continue
		}
		t.plane[n] = times(n, t.plane[1])
	}
}

// at is plane n of the row of planes at base.
func (t *mixed) at(base reg.GPVirtual, n int) Mem {
	m := Mem{Base: base}
	switch n {
	case 0:
	case 2, 4, 8:
		m.Index, m.Scale = t.plane[1], uint8(n)
	case 6:
		m.Index, m.Scale = t.plane[3], 2
	default:
		m.Index, m.Scale = t.plane[n], 1
	}
	return m
}

// between is the matrix between the two passes.
func (t *mixed) between() (set func(i, j int, v vec), get func(i, j int) vec) {
	base := t.temporary()
	at := func(i, j int) Mem { return Mem{Base: base, Disp: (t.side*i + j) * t.bytes()} }
	return func(i, j int, v vec) { t.store(v, at(i, j)) }, func(i, j int) vec { return t.load(at(i, j)) }
}

// repeat writes body as a loop of n turns, advance after each.
func (t *mixed) repeat(label string, n int, body, advance func()) {
	count := GP64()
	MOVQ(I32(n), count)
	Label(label)
	body()
	advance()
	DECQ(count)
	JNE(LabelRef(label))
}

func (t *mixed) next(pointer reg.GPVirtual, off reg.GPVirtual) {
	ADDQ(I32(t.bytes()), off)
	ADDQ(I32(t.bytes()), pointer)
	DECQ(Mem{Base: t.p, Disp: patchCount})
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func (a algorithm) patchInput(s isa, rows, cols int) {
	t := a.begin(s, fmt.Sprintf("Input%dx%d", rows, cols))
	height, width := t.window.of(rows), t.window.of(cols)
	t.findPixels(height, width, false)
	t.forwardPasses(t.input, rows, cols, width, a.inputs)
}

func (a algorithm) patchGradient(s isa, rows, cols int) {
	t := a.begin(s, fmt.Sprintf("Gradient%dx%d", rows, cols))
	t.findPixels(rows, cols, false)
	t.forwardPasses(t.gradient, rows, cols, cols, a.outputs)
}

// forwardPasses transforms a patch of so many pixels a row: its columns, then the rows of what they have become.
func (t *mixed) forwardPasses(f func(t *mixed, m int, d func(i int) vec, put func(i int, v vec)), rows, cols, width int, constants map[int][]float32) {
	v, off, q := t.field(patchData), GP64(), GP64()
	t.steps()
	base := t.temporary()
	t.constants(append(append([]float32{}, constants[rows]...), constants[cols]...)...)
	XORQ(off, off)
	Label("loop")
	ahead := t.aheadOf(off)
	table, b := GP64(), GP64()
	MOVQ(t.p, table)
	MOVQ(base, b)
	t.repeat("columns", width, func() {
		f(t, rows, func(i int) vec { return t.loadPixelOf(table, width*i, off, ahead) }, func(i int, v vec) { t.store(v, Mem{Base: b, Disp: t.side * i * t.bytes()}) })
	}, func() { ADDQ(I8(8), table); ADDQ(I32(t.bytes()), b) })
	MOVQ(v, q)
	MOVQ(base, b)
	t.repeat("rows", t.points.of(rows), func() {
		f(t, cols, func(j int) vec { return t.load(Mem{Base: b, Disp: j * t.bytes()}) }, func(j int, v vec) { t.store(v, t.at(q, j)) })
	}, func() { ADDQ(t.plane[t.side], q); ADDQ(I32(t.side*t.bytes()), b) })
	t.next(v, off)
}

func (a algorithm) patchOutput(s isa, rows, cols int) {
	t := a.begin(s, fmt.Sprintf("Output%dx%d", rows, cols))
	height, width, points := t.results.of(rows), t.results.of(cols), t.points.of(cols)
	t.findPixels(height, width, true)
	m, off, column, q := t.field(patchData), GP64(), GP64(), GP64()
	init := t.field(patchInit)
	plane := t.field(patchPlane)
	planeRow := times(t.side, plane)
	planeRow3 := times(3, planeRow)
	base := t.temporary()
	t.constants(append(append([]float32{}, t.outputs[rows]...), t.outputs[cols]...)...)
	XORQ(off, off)
	Label("loop")
	ahead := t.aheadOf(off)
	table, b := GP64(), GP64()
	MOVQ(m, column)
	MOVQ(base, b)
	t.repeat("columns", points, func() {
		// rows of planes 0 to 3 and those from 4 on from two base registers
		LEAQ(Mem{Base: column, Index: planeRow, Scale: 4}, q)
		t.output(t, rows, func(i int) vec {
			at, n := Mem{Base: column}, i
			if i >= 4 {
				at.Base, n = q, i-4
			}
			switch n {
			case 1, 2, 4:
				at.Index, at.Scale = planeRow, uint8(n)
			case 3:
				at.Index, at.Scale = planeRow3, 1
			}
			return t.load(at)
		}, func(i int, v vec) { t.store(v, Mem{Base: b, Disp: t.side * i * t.bytes()}) })
	}, func() { ADDQ(plane, column); ADDQ(I32(t.bytes()), b) })
	MOVQ(t.p, table)
	MOVQ(base, b)
	t.repeat("rows", height, func() {
		t.output(t, cols, func(j int) vec { return t.load(Mem{Base: b, Disp: j * t.bytes()}) }, func(j int, y vec) { t.putPixelOf(table, j, y, init, off, ahead) })
	}, func() { ADDQ(I32(8*width), table); ADDQ(I32(t.side*t.bytes()), b) })
	t.next(m, off)
}
