package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What the transforms of all of Winograd's algorithms share.

// Byte offsets of the fields of patch in winograd_transform.go.
const (
	patchImage, patchOutside, patchAdd     = 0, 8, 16
	patchY, patchX, patchH, patchW         = 24, 32, 40, 48
	patchRow, patchPixel, patchCount       = 56, 64, 72
	patchData, patchPlane, patchStep       = 80, 88, 96
	patchInit, patchNext                   = 104, 112
	patchPixels, patchAddPixels, patchTemp = 120, 768, 1280
)

const panelWidth = 32 // gemm_tile.go's

// transform is a function on a patch being written.
type transform struct {
	isa
	p    reg.Register
	name string
}

func newTransform(s isa, name string) *transform {
	TEXT(name+s.suffix, NOSPLIT, "func(p *byte)")
	Pragma("noescape")
	return &transform{s, Load(Param("p"), GP64()), name}
}

func (t *transform) field(offset int) reg.GPVirtual {
	r := GP64()
	MOVQ(Mem{Base: t.p, Disp: offset}, r)
	return r
}

// end closes the loop over count.
func (t *transform) end(count reg.GPVirtual) {
	DECQ(count)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// matrix is the array of 36 or fewer vectors between the two passes of a transform.
// With 32 registers a small one stays in them; else it goes to the patch's temp.
type matrix struct {
	t         *transform
	registers bool
	v         [36]vec
	base      reg.GPVirtual
}

func (t *transform) matrix(size int) *matrix {
	m := &matrix{t: t, registers: t.lanes == 16 && size <= 24}
	if !m.registers {
		m.base = t.temporary()
	}
	return m
}

// temporary is the first whole line of the patch's temp.
func (t *transform) temporary() reg.GPVirtual {
	base := GP64()
	LEAQ(Mem{Base: t.p, Disp: patchTemp + 63}, base)
	ANDQ(I8(-64), base)
	return base
}

func (m *matrix) set(i int, v vec) {
	if m.registers {
		m.v[i] = v
	} else {
		m.t.store(v, Mem{Base: m.base, Disp: i * m.t.bytes()})
	}
}

func (m *matrix) get(i int) vec {
	if m.registers {
		return m.v[i]
	}
	return m.t.load(Mem{Base: m.base, Disp: i * m.t.bytes()})
}

// findPixels writes the addresses of the patch's rows x cols pixels to its table; those
// outside the image get the address outside. With add, a second table gets the
// addresses of the same pixels in another image.
func (t *transform) findPixels(rows, cols int, add bool) {
	y, x := t.field(patchY), t.field(patchX)
	row, pixel := t.field(patchRow), t.field(patchPixel)
	first, at := GP64(), GP64()
	var other reg.GPVirtual
	MOVQ(row, first)
	IMULQ(y, first)
	MOVQ(pixel, at)
	IMULQ(x, at)
	ADDQ(at, first)
	if add {
		other = t.field(patchAdd)
	} else {
		ADDQ(Mem{Base: t.p, Disp: patchImage}, first)
	}

	// A patch that lies inside takes half the time.
	MOVQ(y, at)
	ORQ(x, at)
	TESTQ(at, at)
	JLT(LabelRef("border"))
	LEAQ(Mem{Base: y, Disp: rows}, at)
	CMPQ(at, Mem{Base: t.p, Disp: patchH})
	JGT(LabelRef("border"))
	LEAQ(Mem{Base: x, Disp: cols}, at)
	CMPQ(at, Mem{Base: t.p, Disp: patchW})
	JGT(LabelRef("border"))
	pixel3 := times(3, pixel)
	if add {
		ADDQ(first, other)
		ADDQ(Mem{Base: t.p, Disp: patchImage}, first)
	}
	inside := func(label string, offset int, first reg.GPVirtual) {
		table, n := GP64(), GP64()
		LEAQ(Mem{Base: t.p, Disp: offset}, table)
		MOVQ(I32(rows), n)
		Label(label)
		MOVQ(first, at)
		put := func(j int, address reg.GPVirtual) { MOVQ(address, Mem{Base: table, Disp: 8 * j}) }
		for j := range cols {
			switch j % 4 {
			case 0:
				if j > 0 {
					LEAQ(Mem{Base: at, Index: pixel, Scale: 4}, at)
				}
				put(j, at)
			case 3:
				address := GP64()
				LEAQ(Mem{Base: at, Index: pixel3, Scale: 1}, address)
				put(j, address)
			default:
				address := GP64()
				LEAQ(Mem{Base: at, Index: pixel, Scale: uint8(j % 4)}, address)
				put(j, address)
			}
		}
		ADDQ(row, first)
		ADDQ(I32(8*cols), table)
		DECQ(n)
		JNE(LabelRef(label))
	}
	inside("insideRow", patchPixels, first)
	if add {
		CMPQ(Mem{Base: t.p, Disp: patchAdd}, I8(0))
		JEQ(LabelRef("found"))
		inside("insideAddRow", patchAddPixels, other)
	}
	JMP(LabelRef("found"))

	Label("border")
	outside := t.field(patchOutside)
	none, width, col, table, n := GP64(), GP64(), GP64(), GP64(), GP64()
	XORQ(none, none)
	LEAQ(Mem{Base: t.p, Disp: patchPixels}, table)
	MOVQ(I32(rows), n)
	Label("borderRow")
	MOVQ(Mem{Base: t.p, Disp: patchW}, width)
	CMPQ(y, Mem{Base: t.p, Disp: patchH})
	CMOVQCC(none, width) // no column is inside a row that is outside
	MOVQ(Mem{Base: t.p, Disp: patchX}, col)
	MOVQ(first, at)
	for j := range cols {
		address := GP64()
		MOVQ(at, address)
		if add {
			ADDQ(Mem{Base: t.p, Disp: patchImage}, address)
		}
		CMPQ(col, width)
		CMOVQCC(outside, address)
		MOVQ(address, Mem{Base: table, Disp: 8 * j})
		if add {
			LEAQ(Mem{Base: at, Index: other, Scale: 1}, address)
			CMPQ(col, width)
			CMOVQCC(outside, address)
			MOVQ(address, Mem{Base: table, Disp: patchAddPixels - patchPixels + 8*j})
		}
		if j+1 < cols {
			ADDQ(pixel, at)
			INCQ(col)
		}
	}
	ADDQ(row, first)
	INCQ(y)
	ADDQ(I32(8*cols), table)
	DECQ(n)
	JNE(LabelRef("borderRow"))
	Label("found")
}

// pixel is the memory of pixel i of the table at, at channel offset off.
func (t *transform) pixel(at, i int, off reg.GPVirtual) Mem {
	return Mem{Base: t.field(at + 8*i), Index: off, Scale: 1}
}

// ahead is the offset from a pixel's address to what is fetched at the vector at off: the line behind it, or at the last one
// the first of the next patch.
func (t *transform) ahead(off, count reg.GPVirtual) reg.GPVirtual {
	next := GP64()
	LEAQ(Mem{Base: off, Disp: 64}, next)
	CMPQ(count, I8(1))
	CMOVQEQ(Mem{Base: t.p, Disp: patchNext}, next)
	return next
}

// loadPixel loads pixel i of the patch at off and fetches what is at ahead. Patches are read vector by vector, so each of an
// image's lines is needed long after the one before it, which no processor foresees for all pixels.
func (t *transform) loadPixel(i int, off, ahead reg.GPVirtual) vec {
	m := t.pixel(patchPixels, i, off)
	PREFETCHT0(Mem{Base: m.Base, Index: ahead, Scale: 1})
	return t.load(m)
}

// aheadOf is ahead with the count in memory.
func (t *transform) aheadOf(off reg.GPVirtual) reg.GPVirtual {
	next := GP64()
	LEAQ(Mem{Base: off, Disp: 64}, next)
	CMPQ(Mem{Base: t.p, Disp: patchCount}, I8(1))
	CMOVQEQ(Mem{Base: t.p, Disp: patchNext}, next)
	return next
}

// loadPixelOf is loadPixel of a table that begins as far behind t's own as base lies behind the patch.
func (t *transform) loadPixelOf(base reg.GPVirtual, i int, off, ahead reg.GPVirtual) vec {
	r := GP64()
	MOVQ(Mem{Base: base, Disp: patchPixels + 8*i}, r)
	PREFETCHT0(Mem{Base: r, Index: ahead, Scale: 1})
	return t.load(Mem{Base: r, Index: off, Scale: 1})
}

// loadD loads a vector of D and fetches the one two channels ahead: D does not stay in the second-level cache, and its planes
// are too many for a processor to foresee.
func (t *transform) loadD(m Mem) vec {
	PREFETCHT0(m.Offset(2 * 4 * panelWidth))
	return t.load(m)
}

// storeV stores a vector of V and fetches what will be stored two lines ahead: a V that all threads read was last in their
// caches.
func (t *transform) storeV(v vec, m Mem) {
	prefetchW(m.Offset(2 * 64))
	t.store(v, m)
}

// storeU stores a vector of U and fetches what will be stored four input channels ahead.
func (t *transform) storeU(v vec, m Mem) {
	t.store(v, m)
	prefetchW(m.Offset(4 * 4 * panelWidth))
}

// putPixel stores y + init (+ add) as pixel i of the patch at off, and fetches the memory of what will be stored and added
// at ahead.
func (t *transform) putPixel(i int, y vec, init, off, ahead reg.GPVirtual) {
	VADDPS(Mem{Base: init, Index: off, Scale: 1}, y, y)
	skip := fmt.Sprintf("store%d", i)
	CMPQ(Mem{Base: t.p, Disp: patchAdd}, I8(0))
	JEQ(LabelRef(skip))
	add := t.pixel(patchAddPixels, i, off)
	PREFETCHT0(Mem{Base: add.Base, Index: ahead, Scale: 1})
	VADDPS(add, y, y)
	Label(skip)
	m := t.pixel(patchPixels, i, off)
	prefetchW(Mem{Base: m.Base, Index: ahead, Scale: 1})
	t.store(y, m)
}

// putPixelOf is putPixel of a table that begins as far behind t's own as base lies behind the patch.
func (t *transform) putPixelOf(base reg.GPVirtual, i int, y vec, init, off, ahead reg.GPVirtual) {
	VADDPS(Mem{Base: init, Index: off, Scale: 1}, y, y)
	skip := fmt.Sprintf("store%d", i)
	CMPQ(Mem{Base: t.p, Disp: patchAdd}, I8(0))
	JEQ(LabelRef(skip))
	r := GP64()
	MOVQ(Mem{Base: base, Disp: patchAddPixels + 8*i}, r)
	PREFETCHT0(Mem{Base: r, Index: ahead, Scale: 1})
	VADDPS(Mem{Base: r, Index: off, Scale: 1}, y, y)
	Label(skip)
	q := GP64()
	MOVQ(Mem{Base: base, Disp: patchPixels + 8*i}, q)
	prefetchW(Mem{Base: q, Index: ahead, Scale: 1})
	t.store(y, Mem{Base: q, Index: off, Scale: 1})
}

// times is n times step.
func times(n int, step reg.GPVirtual) reg.GPVirtual {
	r := GP64()
	IMUL3Q(I8(n), step, r)
	return r
}
