package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["gemm"] = family{"Kernels", gemm} }

// gemm writes the micro-kernels of a matrix product, which the package's micro.go defines, for every number of rows that fits
// the registers, and the packing by transposition.
func gemm() {
	for _, l := range []struct {
		s            isa
		rows, cols   int // of the largest micro-tile
		microKernels []microKernel
	}{
		{avx512, 14, 32, []microKernel{
			{"rows", "tileRows", "avx512", 2, true, 1, PREFETCHT0, 1024},
			{"rows", "tileRows", "avx512", 1, true, 1, nil, 0},
			{"cols", "tileCols", "avx512", 2, false, 1, PREFETCHT0, 0},
			{"cols", "tileCols", "avx512", 1, false, 1, nil, 0},
		}},
		{avx2, 6, 16, []microKernel{
			{"rows", "tileRows", "avx2", 2, true, 4, nil, 0},
			{"cols", "tileCols", "avx2", 2, false, 4, nil, 0},
		}},
	} {
		enter(l.s.table(), fmt.Sprint(l.rows), "maxRows")
		enter(l.s.table(), fmt.Sprint(l.cols), "maxCols")
		for rows := 1; rows <= l.rows; rows++ {
			for _, m := range l.microKernels {
				m.write(l.s, rows)
			}
		}
	}
	transpose()
}

// Byte offsets of the fields of Operands in the package's micro.go.
const (
	tileA, tileB, tileC, tileInit, tileAdd     = 0, 8, 16, 24, 32
	tileARow, tileACol, tileBRow               = 40, 48, 56
	tileCRow, tileInitRow, tileAddRow          = 64, 72, 80
	tileSegs, tileNumSegs, tileSegLen          = 88, 96, 104
	tileCount, tileAStep, tileBStep, tileCStep = 112, 120, 128, 136
	tileInitStep, tileAddStep                  = 144, 152
	tilePrefetch                               = 160 // and 192: address, runs, lines and skip
	tileFlow                                   = 224 // and 240: address and step
)

// microKernel is a micro-kernel for any number of rows.
type microKernel struct {
	field   string // of the table
	name    string
	table   string
	vectors int // of a row

	// along says that A's elements of one row lie next to each other; else those of one column do.
	along bool

	// unrolled is how many columns of A a turn of the inner loop takes. AVX2's micro-tiles have few products for one: with four
	// columns a turn, those of 4 rows were measured to be a sixth faster, of 6 rows 4 % (Zen 4, 32 channels).
	unrolled int

	// ahead, if any, fetches the row of B that is eight rows and so many bytes ahead, and the column of A, if it is in one
	// piece, eight columns ahead.
	ahead      func(Op)
	bytesAhead int
}

// write emits the micro-kernel for so many rows; its argument is an *Operands, a type that avo does not know.
func (kind microKernel) write(s isa, rows int) {
	nv := kind.vectors
	cols := nv * s.lanes
	name := fmt.Sprintf("%s%dx%d%s", kind.name, rows, cols, s.suffix)
	TEXT(name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	enter(kind.table, name, kind.field+" microKernels", fmt.Sprint(cols/16-1), fmt.Sprint(rows))
	t := Load(Param("t"), GP64())
	field := func(offset int) reg.GPVirtual { r := GP64(); MOVQ(Mem{Base: t, Disp: offset}, r); return r }

	Label("tile")
	for i := 0; i < 2; i++ {
		at := tilePrefetch + 32*i
		address, runs := field(at), field(at+8)
		run, loop, done := fmt.Sprintf("run%d", i), fmt.Sprintf("prefetch%d", i), fmt.Sprintf("prefetched%d", i)
		TESTQ(runs, runs)
		JEQ(LabelRef(done))
		Label(run)
		lines := field(at + 16)
		Label(loop)
		PREFETCHT1(Mem{Base: address})
		ADDQ(I8(64), address)
		DECQ(lines)
		JNE(LabelRef(loop))
		ADDQ(Mem{Base: t, Disp: at + 24}, address)
		DECQ(runs)
		JNE(LabelRef(run))
		MOVQ(address, Mem{Base: t, Disp: at})
		Label(done)
	}
	acc := make([][]vec, rows)
	row, step := field(tileInit), field(tileInitRow)
	for i := range acc {
		for j := 0; j < nv; j++ {
			acc[i] = append(acc[i], s.load(Mem{Base: row, Disp: j * s.bytes()}))
		}
		if i+1 < rows {
			ADDQ(step, row)
		}
	}
	b, bRow := field(tileB), field(tileBRow)
	at := newOperandA(kind.along, rows, field)
	seg, segs := field(tileSegs), field(tileNumSegs)
	flows := []reg.GPVirtual{field(tileFlow), field(tileFlow + 16)}
	flowSteps := []Op{Mem{Base: t, Disp: tileFlow + 8}, Mem{Base: t, Disp: tileFlow + 24}}
	if rows <= 6 { // there are registers left
		flowSteps = []Op{field(tileFlow + 8), field(tileFlow + 24)}
	}
	column := func() {
		for i, address := range flows {
			PREFETCHT1(Mem{Base: address})
			ADDQ(flowSteps[i], address)
		}
		right := make([]vec, nv)
		for j := range right {
			if kind.ahead != nil {
				kind.ahead(Mem{Base: b, Index: bRow, Scale: 8, Disp: kind.bytesAhead + j*s.bytes()})
			}
			right[j] = s.load(Mem{Base: b, Disp: j * s.bytes()})
		}
		if kind.ahead != nil && !kind.along { // A's columns too, which may lie on two lines
			kind.ahead(Mem{Base: at.base[0], Index: at.col, Scale: 8})
			if rows > 8 {
				kind.ahead(Mem{Base: at.base[0], Index: at.col, Scale: 8, Disp: 4*rows - 4})
			}
		}
		for i := range acc {
			left := s.vec()
			VBROADCASTSS(at.element(i), left)
			for j := range right {
				s.fma(left, right[j], acc[i][j])
			}
		}
		at.advance()
		ADDQ(bRow, b)
	}
	Label("segment")
	at.start(Mem{Base: t, Disp: tileA}, seg)
	k := field(tileSegLen)
	if n := kind.unrolled; n > 1 {
		SUBQ(I8(n), k)
		JLT(LabelRef("rest"))
		Label("steps")
		for range n {
			column()
		}
		SUBQ(I8(n), k)
		JGE(LabelRef("steps"))
		Label("rest")
		ADDQ(I8(n), k)
		JEQ(LabelRef("next"))
	}
	Label("step")
	column()
	DECQ(k)
	JNE(LabelRef("step"))
	Label("next")
	ADDQ(I8(8), seg)
	DECQ(segs)
	JNE(LabelRef("segment"))
	for i, address := range flows {
		MOVQ(address, Mem{Base: t, Disp: tileFlow + 16*i})
	}

	row, step = field(tileAdd), field(tileAddRow)
	TESTQ(row, row)
	JEQ(LabelRef("store"))
	for i := range acc {
		for j := range acc[i] {
			VADDPS(Mem{Base: row, Disp: j * s.bytes()}, acc[i][j], acc[i][j])
		}
		if i+1 < rows {
			ADDQ(step, row)
		}
	}
	Label("store")
	row, step = field(tileC), field(tileCRow)
	for i := range acc {
		for j := range acc[i] {
			s.store(acc[i][j], Mem{Base: row, Disp: j * s.bytes()})
		}
		if i+1 < rows {
			ADDQ(step, row)
		}
	}
	DECQ(Mem{Base: t, Disp: tileCount})
	JEQ(LabelRef("done"))
	ADDQ(field(tileAStep), Mem{Base: t, Disp: tileA})
	ADDQ(field(tileBStep), Mem{Base: t, Disp: tileB})
	ADDQ(field(tileCStep), Mem{Base: t, Disp: tileC})
	ADDQ(field(tileInitStep), Mem{Base: t, Disp: tileInit})
	ADDQ(field(tileAddStep), Mem{Base: t, Disp: tileAdd})
	JMP(LabelRef("tile"))
	Label("done")
	VZEROUPPER()
	RET()
}

// operandA addresses the elements of A. Rows are reached from three base registers,
// six rows apart, with the row step times 0, 1, 2, 3, 4 and 5; when a column's
// elements lie next to each other, one base register and displacements do.
type operandA struct {
	along            bool
	base             []reg.GPVirtual
	one, three, five reg.GPVirtual
	col              reg.GPVirtual
}

func newOperandA(along bool, rows int, field func(int) reg.GPVirtual) *operandA {
	o := &operandA{along: along, base: []reg.GPVirtual{GP64()}}
	if !along {
		o.col = field(tileACol)
		return o
	}
	for i := 6; i < rows; i += 6 {
		o.base = append(o.base, GP64())
	}
	o.one = field(tileARow)
	if rows > 3 {
		o.three = GP64()
		LEAQ(Mem{Base: o.one, Index: o.one, Scale: 2}, o.three)
	}
	if rows > 5 {
		o.five = GP64()
		LEAQ(Mem{Base: o.one, Index: o.one, Scale: 4}, o.five)
	}
	return o
}

// start points at the first column of the segment whose byte offset seg points at.
func (o *operandA) start(a Mem, seg reg.GPVirtual) {
	MOVQ(a, o.base[0])
	ADDQ(Mem{Base: seg}, o.base[0])
	for i := 1; i < len(o.base); i++ {
		LEAQ(Mem{Base: o.base[i-1], Index: o.three, Scale: 2}, o.base[i])
	}
}

func (o *operandA) element(i int) Mem {
	if !o.along {
		return Mem{Base: o.base[0], Disp: 4 * i}
	}
	m := Mem{Base: o.base[i/6]}
	switch i % 6 {
	case 1:
		m.Index, m.Scale = o.one, 1
	case 2:
		m.Index, m.Scale = o.one, 2
	case 3:
		m.Index, m.Scale = o.three, 1
	case 4:
		m.Index, m.Scale = o.one, 4
	case 5:
		m.Index, m.Scale = o.five, 1
	}
	return m
}

func (o *operandA) advance() {
	for _, b := range o.base {
		if o.along {
			ADDQ(I8(4), b)
		} else {
			ADDQ(o.col, b)
		}
	}
}

// transpose writes the function that packs a matrix's transpose: 8 rows become 8
// columns, 8 columns at a time.
func transpose() {
	TEXT("transposeAVX2", NOSPLIT, "func(dst *float32, dstRow uintptr, src *float32, srcRow uintptr, blocks int)")
	Pragma("noescape")
	enter(avx2.table(), "transposeAVX2", "Transpose")
	dst, dstRow := Load(Param("dst"), GP64()), Load(Param("dstRow"), GP64())
	src, srcRow := Load(Param("src"), GP64()), Load(Param("srcRow"), GP64())
	blocks := Load(Param("blocks"), GP64())
	Label("block")
	var r, p, q [8]vec
	from := GP64()
	MOVQ(src, from)
	for i := range r {
		r[i] = avx2.load(Mem{Base: from})
		PREFETCHT0(Mem{Base: from, Disp: 64}) // the columns of the next call, or of the next block but one
		ADDQ(srcRow, from)
	}
	for i := 0; i < 8; i += 2 { // pairs of rows
		p[i], p[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], p[i])
		VUNPCKHPS(r[i+1], r[i], p[i+1])
	}
	for i := 0; i < 8; i += 4 { // fours
		q[i], q[i+1], q[i+2], q[i+3] = YMM(), YMM(), YMM(), YMM()
		VSHUFPS(I8(0x44), p[i+2], p[i], q[i])
		VSHUFPS(U8(0xee), p[i+2], p[i], q[i+1])
		VSHUFPS(I8(0x44), p[i+3], p[i+1], q[i+2])
		VSHUFPS(U8(0xee), p[i+3], p[i+1], q[i+3])
	}
	to := GP64()
	MOVQ(dst, to)
	for half := 0; half < 2; half++ {
		for i := 0; i < 4; i++ {
			v := YMM()
			VPERM2F128(I8(0x20+0x11*half), q[i+4], q[i], v)
			avx2.store(v, Mem{Base: to})
			ADDQ(dstRow, to)
		}
	}
	MOVQ(to, dst)
	ADDQ(I8(32), src)
	DECQ(blocks)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}
