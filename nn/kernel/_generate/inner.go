package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	families["inner"] = family{"kernels", func() {
		innerTile(4)
		innerTile(1)
	}}
}

// innerTile writes the inner products of some rows of a with the 12 rows of a panel, which holds them column by column. 256
// bits serve both levels: it is a small part of an evaluation.
func innerTile(rows int) {
	name := fmt.Sprintf("inner%dx12AVX2", rows)
	TEXT(name, NOSPLIT, "func(c []float64, ldc int, a []float64, k int, panel []float64)")
	Pragma("noescape")
	for _, s := range []isa{avx512, avx2} {
		enter(s.table(), name, fmt.Sprintf("rows%d", rows))
	}
	c, ldc := Load(Param("c").Base(), GP64()), Load(Param("ldc"), GP64())
	a := []reg.Register{Load(Param("a").Base(), GP64())}
	k, panel := Load(Param("k"), GP64()), Load(Param("panel").Base(), GP64())
	for i := 1; i < rows; i++ { // rows of a are k numbers apart
		row := GP64()
		LEAQ(Mem{Base: a[i-1], Index: k, Scale: 8}, row)
		a = append(a, row)
	}
	sums := make([][3]reg.VecVirtual, rows)
	for i := range sums {
		for j := range sums[i] {
			sums[i][j] = YMM()
			VXORPD(sums[i][j], sums[i][j], sums[i][j])
		}
	}
	l := GP64()
	XORQ(l, l)
	Label("column")
	var right [3]reg.VecVirtual
	for j := range right {
		right[j] = YMM()
		VMOVUPD(Mem{Base: panel, Disp: 32 * j}, right[j])
	}
	for i := range sums {
		left := YMM()
		VBROADCASTSD(Mem{Base: a[i], Index: l, Scale: 8}, left)
		for j := range right {
			VFMADD231PD(left, right[j], sums[i][j])
		}
	}
	ADDQ(Imm(96), panel)
	INCQ(l)
	CMPQ(l, k)
	JLT(LabelRef("column"))
	for i := range sums {
		for j := range sums[i] {
			VMOVUPD(sums[i][j], Mem{Base: c, Disp: 32 * j})
		}
		if i+1 < rows {
			LEAQ(Mem{Base: c, Index: ldc, Scale: 8}, c)
		}
	}
	VZEROUPPER()
	RET()
}
