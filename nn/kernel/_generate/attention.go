package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func init() {
	families["attention"] = family{"kernels", func() {
		newTable("attentionConstants")
		for _, s := range []isa{avx512, avx2} {
			softmaxRows(s)
			softmaxBackRows(s, false)
			softmaxBackRows(s, true)
			laneScores(s)
			laneExp(s)
			laneSum(s)
			laneAdd(s)
			laneGradients(s)
		}
		packRows()
	}}
}

// group is the 16 lanes at an address: one vector, or two.
func (s isa) group(m Mem) (at []Mem) {
	for v := 0; v < 16; v += s.lanes {
		at = append(at, m.Offset(4*v))
	}
	return at
}

func (s isa) loadGroup(m Mem) (v []vec) {
	for _, at := range s.group(m) {
		v = append(v, s.load(at))
	}
	return v
}

func (s isa) storeGroup(v []vec, m Mem) {
	for i, at := range s.group(m) {
		s.store(v[i], at)
	}
}

func (s isa) zeroGroup() (v []vec) {
	for i := 0; i < 16; i += s.lanes {
		v = append(v, s.zero())
	}
	return v
}

// fold reduces 16 lanes to one, lane i with i+8, i+4, i+2, i+1, and spreads it over a vector.
func (s isa) fold(v []vec, op func(a, b vec)) vec {
	low, high := YMM(), YMM()
	if s.lanes == 16 {
		VEXTRACTF64X4(U8(1), v[0], high)
		VEXTRACTF64X4(U8(0), v[0], low)
	} else {
		VMOVAPS(v[0], low)
		VMOVAPS(v[1], high)
	}
	op(low, high)
	x, y := XMM(), XMM()
	VEXTRACTF128(U8(0), low, x)
	VEXTRACTF128(U8(1), low, y)
	op(x, y)
	VPSHUFD(U8(0xee), x, y)
	op(x, y)
	VPSHUFD(I8(0x55), x, y)
	op(x, y)
	all := s.vec()
	VBROADCASTSS(x, all)
	return all
}

func maxInto(a, b vec) { VMAXPS(b, a, a) }
func addInto(a, b vec) { VADDPS(b, a, a) }

// softmaxRows: softmaxRowsGo in rows_go.go. width is a positive multiple of 16.
func softmaxRows(s isa) {
	s.text("softmaxRows", "(p, largest, sum []float32, rows, width int, scale float32)")
	e := newExponential(s, false)
	scale := s.broadcast("scale")
	p := pointers("p", "largest", "sum")
	rows, width := Load(Param("rows"), GP64()), Load(Param("width"), GP64())
	SHLQ(U8(2), width)
	i := GP64()
	at := Mem{Base: p[0], Index: i, Scale: 1}
	columns := func(label string, body func()) {
		XORQ(i, i)
		Label(label)
		body()
		ADDQ(I8(64), i)
		CMPQ(i, width)
		JNE(LabelRef(label))
	}

	Label("rows")
	high := s.loadGroup(Mem{Base: p[0]})
	columns("largest", func() {
		for v, m := range s.group(at) {
			VMAXPS(m, high[v], high[v])
		}
	})
	largest := s.fold(high, maxInto)
	VMOVSS(largest.AsX(), Mem{Base: p[1]})
	sum := s.zeroGroup()
	columns("exp", func() {
		for v, m := range s.group(at) {
			x := s.load(m)
			VSUBPS(largest, x, x)
			VMULPS(scale, x, x)
			x = e.value(x)
			s.store(x, m)
			VADDPS(x, sum[v], sum[v])
		}
	})
	total := s.fold(sum, addInto)
	VMOVSS(total.AsX(), Mem{Base: p[2]})
	inverse := s.take(e.one)
	VDIVPS(total, inverse, inverse)
	columns("divide", func() {
		for _, m := range s.group(at) {
			x := s.vec()
			VMULPS(m, inverse, x)
			s.store(x, m)
		}
	})
	ADDQ(width, p[0])
	ADDQ(I8(4), p[1])
	ADDQ(I8(4), p[2])
	DECQ(rows)
	JNE(LabelRef("rows"))
	done()
}

// softmaxBackRows: softmaxBackRowsGo in rows_go.go; with kept, softmaxKeptRows: softmaxKeptRowsGo.
func softmaxBackRows(s isa, kept bool) {
	var e *exponential
	var names []string
	if kept {
		s.text("softmaxKeptRows", "(p, ds, delta []float32, rows, width int, scale float32)")
		names = []string{"p", "ds", "delta"}
	} else {
		s.text("softmaxBackRows", "(p, ds, delta, lse []float32, rows, width int, scale float32)")
		e, names = newExponential(s, false), []string{"p", "ds", "delta", "lse"}
	}
	scale := s.broadcast("scale")
	p := pointers(names...)
	rows, width := Load(Param("rows"), GP64()), Load(Param("width"), GP64())
	SHLQ(U8(2), width)
	i := GP64()
	Label("rows")
	delta, lse := s.vec(), s.vec()
	VBROADCASTSS(Mem{Base: p[2]}, delta)
	if !kept {
		VBROADCASTSS(Mem{Base: p[3]}, lse)
	}
	XORQ(i, i)
	Label("columns")
	grads := s.group(Mem{Base: p[1], Index: i, Scale: 1})
	for v, m := range s.group(Mem{Base: p[0], Index: i, Scale: 1}) {
		x := s.load(m)
		if !kept {
			VFMSUB213PS(lse, scale, x)
			x = e.value(x)
			s.store(x, m)
		}
		d := s.load(grads[v])
		VSUBPS(delta, d, d)
		VMULPS(x, d, d)
		VMULPS(scale, d, d)
		s.store(d, grads[v])
	}
	ADDQ(I8(64), i)
	CMPQ(i, width)
	JNE(LabelRef("columns"))
	ADDQ(width, p[0])
	ADDQ(width, p[1])
	for _, perRow := range p[2:] {
		ADDQ(I8(4), perRow)
	}
	DECQ(rows)
	JNE(LabelRef("rows"))
	done()
}
