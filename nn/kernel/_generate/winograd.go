package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["winograd"] = family{"kernels", winograd} }

// winograd writes the transforms of all of Winograd's algorithms, on a tile of the package's transform.go. Each is a pass
// over the columns of a tile and one over the rows of what they have become, for any of the algorithm's sizes in either
// dimension.
func winograd() {
	newTable("winogradConstants")
	findPixels()
	// The tiles that are multiplied at a time are as many as the rows of a micro-tile, or twice as many.
	enter(avx512.table(), "14", "tiles")
	enter(avx2.table(), "12", "tiles")
	for _, s := range []isa{avx512, avx2} {
		enter(s.table(), fmt.Sprint(s.lanes), "lanes")
		for _, a := range []algorithm{wino2, wino4, wino6, winoUp} {
			a.writeInput(s)
			a.writeOutput(s)
			a.writeGradient(s)
			a.writeFilter(s)
			a.writeFilterGradient(s, false)
		}
	}
	for _, a := range []algorithm{wino2, wino4, wino6} {
		a.writeFilterGradient(avx512, true)
	}
}

// algorithm is Winograd's F(m x n, r x r), m and n of some sizes, at the first m+r-1 and n+r-1 of the same points.
type algorithm struct {
	name   string
	field  string // of the tables
	taps   int    // r
	sizes  []int  // the largest first
	phases []int  // of the filter's transform

	input, output, gradient linear // by size
	filter                  linear // by phase
	filterGradient          linear

	inputs, outputs, filters, filterGradients []float32 // constants: of input, of output and gradient, ...

	// rowsFirst is for output and filterGradient to take the rows before the columns, which rounds otherwise.
	outputRowsFirst, filterGradientRowsFirst bool
}

// linear is a transform in one dimension, for size m: of the vectors that in loads to those that out stores. It may change the former in
// place, but not the latter.
type linear func(t *transform, m int, in func(i int) vec, out func(i int, v vec))

// side is the number of points in each dimension.
func (a algorithm) side() int { return a.sizes[0] + a.taps - 1 }

// writeInput writes V = B^T d B.
func (a algorithm) writeInput(s isa) { a.writeForward(s, "Input", a.input, a.inputs, a.taps-1) }

// writeGradient writes W = A dy A^T.
func (a algorithm) writeGradient(s isa) { a.writeForward(s, "Gradient", a.gradient, a.outputs, 0) }

// writeForward writes the transform of pixels, so many more in each dimension than the size, to planes.
func (a algorithm) writeForward(s isa, name string, f linear, constants []float32, more int) {
	t := a.begin(s, name, constants)
	data, off := t.field(argData), GP64()
	planes := newStrided(t.side(), t.field(argPlane))
	planeRow := times(t.side(), planes.step)
	temp := t.temporary()
	table, b, n := GP64(), GP64(), GP64()
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off)
	t.body(a.side()*(a.sizes[0]+more), func(between *registers) {
		for j := range a.sizes[0] + more {
			f(t, a.sizes[0], func(i int) vec { return t.loadPixel(t.p, pixelRow*i+8*j, off, ahead) }, func(i int, v vec) { between.set(i, j, v) })
		}
		MOVQ(data, planes.base)
		for i := range a.side() {
			planes.moved()
			f(t, a.sizes[0], func(j int) vec { return between.get(i, j) }, func(j int, v vec) { t.store(v, planes.at(j)) })
			if i+1 < a.side() {
				ADDQ(planeRow, planes.base)
			}
		}
	}, func() {
		MOVQ(t.p, table)
		MOVQ(temp, b)
		t.lines(n, argCols, more)
		t.bySize("columns", argRows, a.sizes, func(m int, label string) {
			repeat(label, n, func() {
				f(t, m, func(i int) vec { return t.loadPixel(table, pixelRow*i, off, ahead) }, t.toTemp(b, a.side()))
				ADDQ(I8(8), table)
				ADDQ(I32(t.bytes()), b)
			})
		})
		MOVQ(data, planes.base)
		MOVQ(temp, b)
		t.lines(n, argRows, a.taps-1)
		t.bySize("rows", argCols, a.sizes, func(m int, label string) {
			repeat(label, n, func() {
				planes.moved()
				f(t, m, t.fromTemp(b, 1), func(j int, v vec) { t.store(v, planes.at(j)) })
				ADDQ(planeRow, planes.base)
				ADDQ(I32(a.side()*t.bytes()), b)
			})
		})
	})
	ADDQ(I32(t.bytes()), off)
	ADDQ(I32(t.bytes()), data)
	t.end()
	done()
}

// registers are a matrix of few vectors between the two passes of a transform.
type registers [48]vec

func (m *registers) set(i, j int, v vec) { m[6*i+j] = v }
func (m *registers) get(i, j int) vec    { return m[6*i+j] }

// body writes the two passes of a transform whose matrix between them has so many vectors: for whole tiles, where there are 32
// registers and they suffice, with the matrix in registers, which takes 0.6 to 0.8 of the time, as stores to temp take long (Zen 4,
// in the first-level cache); for all others in loops.
func (t *transform) body(size int, whole func(between *registers), loops func()) {
	if t.lanes < 16 || size > 25 {
		loops()
		return
	}
	if len(t.sizes) > 1 {
		for _, field := range []int{argRows, argCols} {
			CMPQ(Mem{Base: t.p, Disp: field}, I8(t.sizes[0]))
			JNE(LabelRef("loops"))
		}
	}
	whole(&registers{})
	if len(t.sizes) > 1 {
		JMP(LabelRef("next"))
		Label("loops")
		loops()
		Label("next")
	}
}

// lines sets n to the tile's size in one dimension and some more.
func (t *transform) lines(n reg.GPVirtual, field, more int) {
	MOVQ(Mem{Base: t.p, Disp: field}, n)
	if more > 0 {
		ADDQ(I8(more), n)
	}
}

// toTemp stores vectors so many places apart from b on.
func (t *transform) toTemp(b reg.GPVirtual, apart int) func(i int, v vec) {
	return func(i int, v vec) { t.store(v, Mem{Base: b, Disp: apart * i * t.bytes()}) }
}

// fromTemp loads them.
func (t *transform) fromTemp(b reg.GPVirtual, apart int) func(i int) vec {
	return func(i int) vec { return t.load(Mem{Base: b, Disp: apart * i * t.bytes()}) }
}

// writeOutput writes y = A^T M A + init (+ add).
func (a algorithm) writeOutput(s isa) {
	t := a.begin(s, "Output", a.outputs)
	data, off, init, add := t.field(argData), GP64(), t.field(argInit), t.field(argAdd)
	along := t.field(argPlane) // from line to line of the first pass
	across := times(t.side(), along)
	nextLine, nextInLine := pixelRow, 8 // in the table of pixels
	first, second := argRows, argCols
	if a.outputRowsFirst {
		along, across = across, along
		nextLine, nextInLine = nextInLine, nextLine
		first, second = second, first
	}
	planes := newStrided(t.side(), across)
	temp := t.temporary()
	table, b, n := GP64(), GP64(), GP64()
	XORQ(off, off)
	Label("loop")
	ahead := t.ahead(off)
	t.body(a.side()*a.sizes[0], func(between *registers) {
		MOVQ(data, planes.base)
		for j := range a.side() {
			planes.moved()
			a.output(t, a.sizes[0], func(i int) vec { return t.load(planes.at(i)) }, func(i int, v vec) { between.set(i, j, v) })
			if j+1 < a.side() {
				ADDQ(along, planes.base)
			}
		}
		for i := range a.sizes[0] {
			a.output(t, a.sizes[0], func(j int) vec { return between.get(i, j) }, func(j int, y vec) {
				t.putPixel(fmt.Sprintf("wholePut%d_%d", i, j), t.p, nextLine*i+nextInLine*j, y, init, add, off, ahead)
			})
		}
	}, func() {
		MOVQ(data, planes.base)
		MOVQ(temp, b)
		t.lines(n, second, a.taps-1)
		t.bySize("first", first, a.sizes, func(m int, label string) {
			repeat(label, n, func() {
				planes.moved()
				a.output(t, m, func(i int) vec { return t.load(planes.at(i)) }, t.toTemp(b, a.side()))
				ADDQ(along, planes.base)
				ADDQ(I32(t.bytes()), b)
			})
		})
		MOVQ(t.p, table)
		MOVQ(temp, b)
		t.lines(n, first, 0)
		t.bySize("second", second, a.sizes, func(m int, label string) {
			repeat(label, n, func() {
				a.output(t, m, t.fromTemp(b, 1), func(j int, y vec) {
					t.putPixel(fmt.Sprintf("%sPut%d", label, j), table, nextInLine*j, y, init, add, off, ahead)
				})
				ADDQ(I8(nextLine), table)
				ADDQ(I32(a.side()*t.bytes()), b)
			})
		})
	})
	ADDQ(I32(t.bytes()), off)
	ADDQ(I32(t.bytes()), data)
	t.end()
	done()
}

// writeFilter writes U = G g G^T of 3x3 taps, one vector of output channels of count input channels.
func (a algorithm) writeFilter(s isa) {
	t := a.begin(s, "Filter", a.filters)
	w, u, tap := t.field(argImage), t.field(argData), t.field(argRow)
	tap3 := times(3, tap)
	planes := newStrided(t.side(), t.field(argPlane))
	planeRow := times(t.side(), planes.step)
	// The taps of a channel are far apart, and so are channels: the hardware foresees neither.
	ahead, channel := GP64(), t.field(argPixel)
	LEAQ(Mem{Base: w, Index: channel, Scale: 8}, ahead)
	temp := t.temporary()
	from, fetched, b, n := GP64(), GP64(), GP64(), GP64()
	column := func(m int, out func(i int, v vec)) {
		a.filter(t, m, func(i int) vec {
			at := func(base reg.GPVirtual) Mem {
				return [3]Mem{{Base: base}, {Base: base, Index: tap3, Scale: 1}, {Base: base, Index: tap3, Scale: 2}}[i]
			}
			PREFETCHT0(at(fetched))
			return t.load(at(from))
		}, out)
		ADDQ(tap, from)
		ADDQ(tap, fetched)
	}
	row := func(m int, in func(j int) vec) {
		planes.moved()
		a.filter(t, m, in, func(j int, v vec) { t.storeU(v, planes.at(j)) })
		ADDQ(planeRow, planes.base)
	}
	Label("loop")
	MOVQ(w, from)
	MOVQ(ahead, fetched)
	if t.lanes == 16 && len(a.phases) == 1 { // as in body
		var between registers
		for j := range 3 {
			column(0, func(i int, v vec) { between.set(i, j, v) })
		}
		MOVQ(u, planes.base)
		for i := range t.side() {
			row(0, func(j int) vec { return between.get(i, j) })
		}
	} else {
		MOVQ(temp, b)
		MOVQ(I32(3), n)
		t.bySize("columns", argRows, a.phases, func(m int, label string) {
			repeat(label, n, func() {
				column(m, t.toTemp(b, 3))
				ADDQ(I32(t.bytes()), b)
			})
		})
		MOVQ(u, planes.base)
		MOVQ(temp, b)
		MOVQ(I32(t.side()), n)
		t.bySize("rows", argCols, a.phases, func(m int, label string) {
			repeat(label, n, func() {
				row(m, t.fromTemp(b, 1))
				ADDQ(I32(3*t.bytes()), b)
			})
		})
	}
	MOVQ(Mem{Base: t.p, Disp: argPixel}, n)
	ADDQ(n, ahead)
	ADDQ(n, w)
	ADDQ(Mem{Base: t.p, Disp: argStep}, u)
	t.end()
	done()
}

// writeFilterGradient writes dg = G^T dU G, one vector of output channels of count input channels. With stream it is written past the
// caches, to whole lines.
func (a algorithm) writeFilterGradient(s isa, stream bool) {
	name, store := "FilterGradient", s.store
	if stream {
		name, store = "FilterGradientStream", func(v vec, m Mem) { VMOVNTPS(v, m) }
	}
	t := a.begin(s, name, a.filterGradients)
	w, u := t.field(argImage), t.field(argData)
	along := t.field(argPlane)
	across := times(t.side(), along)
	tap := t.field(argRow)
	tapRow := times(t.taps, tap)
	if a.filterGradientRowsFirst {
		along, across = across, along
		tap, tapRow = tapRow, tap
	}
	planes := newStrided(t.side(), across)
	temp := t.temporary()
	to, b, n := GP64(), GP64(), GP64()
	Label("loop")
	MOVQ(u, planes.base)
	MOVQ(temp, b)
	MOVQ(I32(t.side()), n)
	repeat("first", n, func() {
		planes.moved()
		a.filterGradient(t, 0, func(i int) vec { return t.loadD(planes.at(i)) }, t.toTemp(b, t.side()))
		ADDQ(along, planes.base)
		ADDQ(I32(t.bytes()), b)
	})
	MOVQ(w, to)
	MOVQ(temp, b)
	MOVQ(I32(t.taps), n)
	repeat("second", n, func() {
		a.filterGradient(t, 0, t.fromTemp(b, 1), func(j int, v vec) {
			store(v, [3]Mem{{Base: to}, {Base: to, Index: tap, Scale: 1}, {Base: to, Index: tap, Scale: 2}}[j])
		})
		ADDQ(tapRow, to)
		ADDQ(I32(t.side()*t.bytes()), b)
	})
	ADDQ(Mem{Base: t.p, Disp: argStep}, u)
	ADDQ(Mem{Base: t.p, Disp: argPixel}, w)
	t.end()
	if stream {
		SFENCE()
	}
	done()
}
