package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// laneScores: laneScoresGo in rows_go.go. Eight (AVX2: four) rows of a at a time, then the rest one by one.
// high may be nil.
func laneScores(s isa) {
	s.text("laneScores", "(p, a, lanes, high []float32, ld, rows, d int)")
	p := pointers("p", "a", "lanes", "high")
	ld, rows, d := Load(Param("ld"), GP64()).(reg.GPVirtual), Load(Param("rows"), GP64()), Load(Param("d"), GP64())
	SHLQ(U8(2), ld)
	ld3 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	minusInf := s.constant(float32(math.Inf(-1)))
	var high []vec
	for v := 0; v < 16; v += s.lanes {
		high = append(high, s.copy(minusInf))
	}
	for _, n := range []int{s.lanes / 2, 1} {
		name := fmt.Sprintf("rows%d", n)
		Label(name)
		CMPQ(rows, I8(int8(n)))
		JLT(LabelRef(name + "end"))
		row, lower, lane, left := GP64(), GP64(), GP64(), GP64()
		MOVQ(p[1], row)
		if n > 4 {
			LEAQ(Mem{Base: row, Index: ld, Scale: 4}, lower)
		}
		MOVQ(p[2], lane)
		MOVQ(d, left)
		var acc [][]vec
		for i := 0; i < n; i++ {
			acc = append(acc, s.zeroGroup())
		}
		Label(name + "d")
		q := s.loadGroup(Mem{Base: lane})
		for i := range acc {
			m := Mem{Base: row}
			if i >= 4 {
				m.Base = lower
			}
			switch i % 4 {
			case 1, 2:
				m.Index, m.Scale = ld, uint8(i%4)
			case 3:
				m.Index, m.Scale = ld3, 1
			}
			s.broadcastFMA(m, q, acc[i])
		}
		ADDQ(I8(4), row)
		if n > 4 {
			ADDQ(I8(4), lower)
		}
		ADDQ(I8(64), lane)
		DECQ(left)
		JNE(LabelRef(name + "d"))
		for i := range acc {
			s.storeGroup(acc[i], Mem{Base: p[0], Disp: 64 * i})
			for v := range high {
				maxInto(high[v], acc[i][v])
			}
		}
		ADDQ(U32(uint32(64*n)), p[0])
		if n == 1 {
			ADDQ(ld, p[1])
		} else {
			LEAQ(Mem{Base: p[1], Index: ld, Scale: 4}, p[1])
		}
		if n > 4 {
			LEAQ(Mem{Base: p[1], Index: ld, Scale: 4}, p[1])
		}
		SUBQ(I8(int8(n)), rows)
		JMP(LabelRef(name))
		Label(name + "end")
	}
	TESTQ(p[3], p[3])
	JEQ(LabelRef("return"))
	s.storeGroup(high, Mem{Base: p[3]})
	Label("return")
	done()
}

// broadcastFMA adds the float at m times each of the lanes in x to acc.
func (s isa) broadcastFMA(m Mem, x, acc []vec) {
	if s.lanes == 16 {
		VFMADD231PS_BCST(m, x[0], acc[0])
		return
	}
	k := s.vec()
	VBROADCASTSS(m, k)
	for v := range x {
		s.fma(k, x[v], acc[v])
	}
}

// laneSum: laneSumGo in rows_go.go.
func laneSum(s isa) {
	s.text("laneSum", "(out, a, p, factor []float32, ld, rows, d int)")
	p := pointers("out", "a", "p", "factor")
	s.laneSums(p, func(Mem) []vec { return s.zeroGroup() }, func(acc []vec, factor []vec, m Mem) {
		for v := range factor {
			VMULPS(factor[v], acc[v], acc[v])
		}
		s.storeGroup(acc, m)
	})
}

// laneAdd: laneAddGo in rows_go.go.
func laneAdd(s isa) {
	s.text("laneAdd", "(out, a, p []float32, ld, rows, d int)")
	s.laneSums(pointers("out", "a", "p"), s.loadGroup, func(acc, _ []vec, m Mem) { s.storeGroup(acc, m) })
}

// laneSums goes over the columns of a, eight (AVX2: four) at a time, then the rest one by one: their sums begin with what
// begin makes of the place of the result, and end puts them there. p may have factors.
func (s isa) laneSums(p []reg.GPVirtual, begin func(Mem) []vec, end func(acc, factor []vec, m Mem)) {
	ld, rows, d := Load(Param("ld"), GP64()), Load(Param("rows"), GP64()), Load(Param("d"), GP64())
	SHLQ(U8(2), ld)
	for _, n := range []int{s.lanes / 2, 1} {
		name := fmt.Sprintf("columns%d", n)
		Label(name)
		CMPQ(d, I8(int8(n)))
		JLT(LabelRef(name + "end"))
		row, weight, left := GP64(), GP64(), GP64()
		MOVQ(p[1], row)
		MOVQ(p[2], weight)
		MOVQ(rows, left)
		var acc [][]vec
		for i := 0; i < n; i++ {
			acc = append(acc, begin(Mem{Base: p[0], Disp: 64 * i}))
		}
		Label(name + "row")
		w := s.loadGroup(Mem{Base: weight})
		for i := range acc {
			s.broadcastFMA(Mem{Base: row, Disp: 4 * i}, w, acc[i])
		}
		ADDQ(ld, row)
		ADDQ(I8(64), weight)
		DECQ(left)
		JNE(LabelRef(name + "row"))
		var factor []vec
		if len(p) > 3 {
			factor = s.loadGroup(Mem{Base: p[3]})
		}
		for i := range acc {
			end(acc[i], factor, Mem{Base: p[0], Disp: 64 * i})
		}
		ADDQ(U32(uint32(64*n)), p[0])
		ADDQ(U32(uint32(4*n)), p[1])
		SUBQ(I8(int8(n)), d)
		JMP(LabelRef(name))
		Label(name + "end")
	}
	done()
}

// laneExp: laneExpGo in rows_go.go.
func laneExp(s isa) {
	s.text("laneExp", "(p, high, lse, inverse []float32, rows int, scale float32)")
	scale := s.broadcast("scale")
	e := newExponential(s, false)
	p := pointers("p", "high", "lse", "inverse")
	rows := Load(Param("rows"), GP64())
	high, sum := s.loadGroup(Mem{Base: p[1]}), s.zeroGroup()
	Label("rows")
	for v, m := range s.group(Mem{Base: p[0]}) {
		x := s.load(m)
		VSUBPS(high[v], x, x)
		VMULPS(scale, x, x)
		x = e.value(x)
		s.store(x, m)
		VADDPS(x, sum[v], sum[v])
	}
	ADDQ(I8(64), p[0])
	DECQ(rows)
	JNE(LabelRef("rows"))
	lse, inverse := s.group(Mem{Base: p[2]}), s.group(Mem{Base: p[3]})
	for v := range sum {
		one := s.take(e.one)
		VDIVPS(sum[v], one, one)
		s.store(one, inverse[v])
		x := logarithm(s, sum[v])
		s.fma(scale, high[v], x)
		s.store(x, lse[v])
	}
	done()
}

// logarithm is log(x) of positive normal numbers; NaN and Inf give NaN. x = m*2^n with m in [sqrt(1/2), sqrt(2)), f = m-1,
// log(x) = n*ln(2) + f - f^2/2 + f^3*q(f); q is minimax.
func logarithm(s isa, x vec) vec {
	root := s.vec()
	half := s.constantOp(math.Float32frombits(0x3f3504f3)) // sqrt(1/2)
	VPSUBD(half, x, root)
	n, bits := s.vec(), s.vec()
	VPSRAD(U8(23), root, n)
	VPSLLD(U8(23), n, bits)
	f := s.vec()
	VPSUBD(bits, x, f)
	VSUBPS(s.constantOp(1), f, f)
	count := s.vec()
	VCVTDQ2PS(n, count)
	q := s.take(s.constantOp(logC[len(logC)-1]))
	for i := len(logC) - 2; i >= 0; i-- {
		VFMADD213PS(s.constantOp(logC[i]), f, q)
	}
	ff := s.mul(f, f)
	cube := s.mul(ff, f)
	y := s.mul(q, cube)
	s.fma(count, s.take(s.constantOp(expLn2Lo)), y)
	s.fnma(s.take(s.constantOp(0.5)), ff, y)
	VADDPS(f, y, y)
	s.fma(count, s.take(s.constantOp(expLn2Hi)), y)
	bad := s.sub(x, x) // 0, or NaN
	VADDPS(bad, y, y)
	return y
}

// laneGradients: laneGradientsGo in rows_go.go.
func laneGradients(s isa) {
	s.text("laneGradients", "(p, ds, lse, delta []float32, rows int, scale float32)")
	e := newExponential(s, false)
	scale := s.broadcast("scale")
	p := pointers("p", "ds", "lse", "delta")
	bytes, i := Load(Param("rows"), GP64()), GP64()
	SHLQ(U8(6), bytes)
	lse := s.group(Mem{Base: p[2]})
	scores, grads := s.group(Mem{Base: p[0], Index: i, Scale: 1}), s.group(Mem{Base: p[1], Index: i, Scale: 1})
	delta := s.zeroGroup()
	XORQ(i, i)
	Label("exp")
	for v, m := range scores {
		x := s.load(m)
		VFMSUB213PS(lse[v], scale, x)
		x = e.value(x)
		s.store(x, m)
		VFMADD231PS(grads[v], x, delta[v])
	}
	ADDQ(I8(64), i)
	CMPQ(i, bytes)
	JNE(LabelRef("exp"))
	s.storeGroup(delta, Mem{Base: p[3]})
	XORQ(i, i)
	Label("gradients")
	for v, m := range grads {
		d := s.load(m)
		VSUBPS(delta[v], d, d)
		VMULPS(scores[v], d, d)
		VMULPS(scale, d, d)
		s.store(d, m)
	}
	ADDQ(I8(64), i)
	CMPQ(i, bytes)
	JNE(LabelRef("gradients"))
	done()
}

// packRows copies rows of d floats, a multiple of 8, that are ld floats apart, into one run.
func packRows() {
	s := avx2
	s.text("packRows", "(dst, src []float32, ld, rows, d int)")
	p := pointers("dst", "src")
	ld, rows, d := Load(Param("ld"), GP64()), Load(Param("rows"), GP64()), Load(Param("d"), GP64())
	SHLQ(U8(2), ld)
	SHLQ(U8(2), d)
	i := GP64()
	Label("rows")
	XORQ(i, i)
	Label("columns")
	s.store(s.load(Mem{Base: p[1], Index: i, Scale: 1}), Mem{Base: p[0], Index: i, Scale: 1})
	ADDQ(I8(32), i)
	CMPQ(i, d)
	JNE(LabelRef("columns"))
	ADDQ(d, p[0])
	ADDQ(ld, p[1])
	DECQ(rows)
	JNE(LabelRef("rows"))
	done()
}

// logC are the coefficients of logarithm's q, lowest first: relative error of the logarithm 8e-10.
var logC = []float32{
	0.3333331346511841, -0.25000008940696716, 0.2000211924314499, -0.1666799634695053, 0.14219552278518677,
	-0.124055877327919, 0.11888158321380615, -0.11675655841827393, 0.06746654212474823,
}
