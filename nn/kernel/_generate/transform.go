package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What the transforms of all of Winograd's algorithms share.

// Byte offsets of the fields of tile in the package's transform.go.
const (
	argImage, argOutside, argAdd     = 0, 8, 16
	argY, argX, argH, argW           = 24, 32, 40, 48
	argRow, argPixel, argCount       = 56, 64, 72
	argData, argPlane, argStep       = 80, 88, 96
	argInit, argNext                 = 104, 112
	argRows, argCols, argHeight      = 120, 128, 136
	argPixels, argAddPixels, argTemp = 144, 656, 1168

	pixelRow = 8 * 8 // bytes of a row of argPixels and argAddPixels
)

const panelWidth = 32 // gemm.PanelWidth

// transform is a function on a tile being written.
type transform struct {
	isa
	algorithm
	p reg.Register
	c map[float32]Op // constants
}

// begin begins the transform of a name, and enters it into the table of its level.
func (a algorithm) begin(s isa, name string, constants []float32) *transform {
	function, field := a.name+name+s.suffix, a.field+" transforms"
	enter(s.table(), a.name+".geometry", field, "geometry")
	enter(s.table(), function, field, strings.ToLower(name[:1])+name[1:])
	t := &transform{s, a, beginTile(function), map[float32]Op{}}
	for _, c := range constants {
		t.c[c] = s.constantOp(c)
	}
	return t
}

// beginTile begins a function on a tile, which it returns.
func beginTile(name string) reg.Register {
	TEXT(name, NOSPLIT, "func(p *byte)")
	Pragma("noescape")
	return Load(Param("p"), GP64())
}

func (t *transform) field(offset int) reg.GPVirtual {
	r := GP64()
	MOVQ(Mem{Base: t.p, Disp: offset}, r)
	return r
}

// bySize writes a block for each of some sizes. At run time the one runs that is for the size in the tile's field.
func (t *transform) bySize(name string, field int, sizes []int, block func(m int, label string)) {
	for i, m := range sizes {
		label := fmt.Sprintf("%s%d", name, m)
		if i+1 == len(sizes) {
			block(m, label)
			break
		}
		CMPQ(Mem{Base: t.p, Disp: field}, I8(m))
		JNE(LabelRef(fmt.Sprintf("%sNot%d", name, m)))
		block(m, label)
		JMP(LabelRef(name + "Done"))
		Label(fmt.Sprintf("%sNot%d", name, m))
	}
	if len(sizes) > 1 {
		Label(name + "Done")
	}
}

// repeat writes body as a loop of n turns.
func repeat(label string, n reg.GPVirtual, body func()) {
	Label(label)
	body()
	DECQ(n)
	JNE(LabelRef(label))
}

// end closes the loop over the tile's count.
func (t *transform) end() {
	DECQ(Mem{Base: t.p, Disp: argCount})
	JNE(LabelRef("loop"))
}

// temporary is the first whole line of the tile's temp, for the matrix between the two passes of a transform.
func (t *transform) temporary() reg.GPVirtual {
	base := GP64()
	LEAQ(Mem{Base: t.p, Disp: argTemp + 63}, base)
	ANDQ(I8(-64), base)
	return base
}

// times is c*x.
func (t *transform) times(c float32, x vec) vec { y := t.vec(); VMULPS(t.c[c], x, y); return y }

// plus adds c*x to y, in place; minus subtracts it.
func (t *transform) plus(c float32, x, y vec) vec  { VFMADD231PS(t.c[c], x, y); return y }
func (t *transform) minus(c float32, x, y vec) vec { VFNMADD231PS(t.c[c], x, y); return y }

// pair hands on e+o and e-o as results i and i+1.
func (t *transform) pair(put func(i int, v vec), i int, e, o vec) {
	put(i, t.add(e, o))
	put(i+1, t.sub(e, o))
}

// strided is up to eight vectors a step apart: the first four from base on, the others from upper on, when there are more than five.
type strided struct {
	n                        int
	base, upper, step, step3 reg.GPVirtual
}

func newStrided(n int, step reg.GPVirtual) strided {
	return strided{n, GP64(), GP64(), step, times(3, step)}
}

// at is where vector i lies.
func (v strided) at(i int) Mem {
	m := Mem{Base: v.base}
	if i > 4 {
		m.Base, i = v.upper, i-4
	}
	switch i {
	case 1, 2, 4:
		m.Index, m.Scale = v.step, uint8(i)
	case 3:
		m.Index, m.Scale = v.step3, 1
	}
	return m
}

// moved computes what follows from base.
func (v strided) moved() {
	if v.n > 5 {
		LEAQ(Mem{Base: v.base, Index: v.step, Scale: 4}, v.upper)
	}
}

// findPixels writes the function that fills the tile's tables of the addresses of its pixels, and of those of the image to add, if
// there is one, eight for each of height rows; pixels outside the image get the address outside.
func findPixels() {
	p := beginTile("findPixelsAVX2")
	enter(avx2.table(), "findPixelsAVX2", "findPixels")
	field := func(offset int) reg.GPVirtual { r := GP64(); MOVQ(Mem{Base: p, Disp: offset}, r); return r }
	all := func(offset int) vec { v := YMM(); VPBROADCASTQ(Mem{Base: p, Disp: offset}, v); return v }
	number := GLOBL("findPixelsNumbers", RODATA|NOPTR)
	for i := range 9 {
		DATA(8*i, U64(min(i, 8)%8+i/8*8)) // 0 to 8
	}
	none, four := YMM(), YMM()
	VPXOR(none, none, none)
	VPBROADCASTQ(number.Offset(32), four)
	inside := func(i, n vec) vec { // 0 <= i < n
		low, in := YMM(), YMM()
		VPCMPGTQ(i, none, low)
		VPCMPGTQ(i, n, in)
		VPANDN(in, low, in)
		return in
	}
	// Columns 0 to 3 and 4 to 7.
	col, w, pixel := all(argX), all(argW), all(argPixel)
	VPADDQ(number, col, col)
	in := []vec{inside(col, w), nil}
	VPADDQ(four, col, col)
	in[1] = inside(col, w)
	first, x := field(argRow), field(argPixel)
	IMULQ(Mem{Base: p, Disp: argY}, first)
	IMULQ(Mem{Base: p, Disp: argX}, x)
	ADDQ(x, first)
	ADDQ(Mem{Base: p, Disp: argImage}, first)
	lane := XMM()
	at := []vec{YMM(), YMM()}
	VMOVQ(first, lane)
	VPBROADCASTQ(lane, at[0])
	VPMULUDQ(number, pixel, w)
	VPADDQ(w, at[0], at[0])
	VPSLLQ(I8(2), pixel, pixel)
	VPADDQ(pixel, at[0], at[1])

	row, y, h, outside := all(argRow), all(argY), all(argH), all(argOutside)
	one := YMM()
	VPBROADCASTQ(number.Offset(8), one)
	table, n, add, other := GP64(), field(argHeight), field(argAdd), YMM()
	MOVQ(p, table)
	MOVQ(add, x)
	SUBQ(Mem{Base: p, Disp: argImage}, x)
	VMOVQ(x, lane)
	VPBROADCASTQ(lane, other)
	repeat("row", n, func() {
		rowIn := inside(y, h)
		var mask [2]vec
		for i := range at {
			mask[i] = YMM()
			VPAND(rowIn, in[i], mask[i])
			address := YMM()
			VBLENDVPD(mask[i], at[i], outside, address)
			VMOVUPS(address, Mem{Base: table, Disp: argPixels + 32*i})
		}
		TESTQ(add, add)
		JEQ(LabelRef("next"))
		for i := range at {
			address := YMM()
			VPADDQ(other, at[i], address)
			VBLENDVPD(mask[i], address, outside, address)
			VMOVUPS(address, Mem{Base: table, Disp: argAddPixels + 32*i})
		}
		Label("next")
		VPADDQ(row, at[0], at[0])
		VPADDQ(row, at[1], at[1])
		VPADDQ(one, y, y)
		ADDQ(I8(pixelRow), table)
	})
	done()
}

// ahead is the offset from a pixel's address to what is fetched at the vector at off: the line behind it, or at the last one
// the first of the next tile.
func (t *transform) ahead(off reg.GPVirtual) reg.GPVirtual {
	next := GP64()
	LEAQ(Mem{Base: off, Disp: 64}, next)
	CMPQ(Mem{Base: t.p, Disp: argCount}, I8(1))
	CMOVQEQ(Mem{Base: t.p, Disp: argNext}, next)
	return next
}

// pixel is the memory at offset off of a pixel, whose address is so many bytes behind that of the table's first row or column that
// table is at: as far behind the tile as they are behind its first.
func (t *transform) pixel(table reg.Register, at int, off reg.GPVirtual) Mem {
	r := GP64()
	MOVQ(Mem{Base: table, Disp: at}, r)
	return Mem{Base: r, Index: off, Scale: 1}
}

// loadPixel loads a pixel at off and fetches what is at ahead. Tiles are read vector by vector, so each of an
// image's lines is needed long after the one before it, which no processor foresees for all pixels.
func (t *transform) loadPixel(table reg.Register, at int, off, ahead reg.GPVirtual) vec {
	m := t.pixel(table, argPixels+at, off)
	PREFETCHT0(Mem{Base: m.Base, Index: ahead, Scale: 1})
	return t.load(m)
}

// putPixel stores y + init (+ add) as a pixel at off, and fetches the memory of what will be stored and added at ahead.
func (t *transform) putPixel(label string, table reg.Register, at int, y vec, init, add, off, ahead reg.GPVirtual) {
	VADDPS(Mem{Base: init, Index: off, Scale: 1}, y, y)
	TESTQ(add, add)
	JEQ(LabelRef(label))
	other := t.pixel(table, argAddPixels+at, off)
	PREFETCHT0(Mem{Base: other.Base, Index: ahead, Scale: 1})
	VADDPS(other, y, y)
	Label(label)
	m := t.pixel(table, argPixels+at, off)
	prefetchW(Mem{Base: m.Base, Index: ahead, Scale: 1})
	t.store(y, m)
}

// loadD loads a vector of D and fetches the one two channels ahead: D does not stay in the second-level cache, and its planes
// are too many for a processor to foresee.
func (t *transform) loadD(m Mem) vec {
	PREFETCHT0(m.Offset(2 * 4 * panelWidth))
	return t.load(m)
}

// storeU stores a vector of U and fetches what will be stored four input channels ahead.
func (t *transform) storeU(v vec, m Mem) {
	t.store(v, m)
	prefetchW(m.Offset(4 * 4 * panelWidth))
}

// times is n times step.
func times(n int, step reg.GPVirtual) reg.GPVirtual {
	r := GP64()
	IMUL3Q(I8(n), step, r)
	return r
}
