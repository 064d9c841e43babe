package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	families["groupnorm"] = func() {
		newTable("groupnormConstants")
		for _, s := range []isa{avx512, avx2} {
			normStats(s)
			normApply(s, false)
			normApply(s, true)
			normBackSums(s, false)
			normBackSums(s, true)
			normBackApply(s)
		}
	}
}

// The images of a group norm are rows of lanes floats, a positive multiple of 64; groupnorm_go.go defines the kernels.
// Those that sum take a few columns at a time down all rows, with the sums in registers; the others go row by row.

// columns emits a loop over blocks of width floats of the lanes, and within it one over the rows. sums are parameters
// that hold one row of sums, rows those that are images, coefs those that hold one row of factors.
func (s isa) columns(width int, sums, images, coefs []string, body func(acc [][]vec, image, coef func(i, v int) Mem)) {
	pSum, pImage, pCoef := pointers(sums...), pointers(images...), pointers(coefs...)
	stride, count := Load(Param("lanes"), GP64()), Load(Param("rows"), GP64())
	left, row, offset := GP64(), GP64(), GP64()
	MOVQ(stride, left)
	SHLQ(U8(2), stride)
	Label("columns")
	var acc [][]vec
	for _, p := range pSum {
		var a []vec
		for v := 0; v < width/s.lanes; v++ {
			a = append(a, s.load(Mem{Base: p, Disp: v * s.bytes()}))
		}
		acc = append(acc, a)
	}
	MOVQ(count, row)
	XORQ(offset, offset)
	Label("rows")
	body(acc,
		func(i, v int) Mem { return Mem{Base: pImage[i], Index: offset, Scale: 1, Disp: v * s.bytes()} },
		func(i, v int) Mem { return Mem{Base: pCoef[i], Disp: v * s.bytes()} })
	ADDQ(stride, offset)
	DECQ(row)
	JNE(LabelRef("rows"))
	for i, p := range pSum {
		for v, a := range acc[i] {
			s.store(a, Mem{Base: p, Disp: v * s.bytes()})
		}
	}
	for _, p := range append(append(pSum, pImage...), pCoef...) {
		ADDQ(U32(4*width), p)
	}
	SUBQ(U32(width), left)
	JNE(LabelRef("columns"))
	done()
}

func normStats(s isa) {
	s.text("normStats", "sum, sq, x, around *float32, lanes, rows int")
	s.columns(4*s.lanes, []string{"sum", "sq"}, []string{"x"}, []string{"around"}, func(acc [][]vec, image, coef func(i, v int) Mem) {
		for v := range acc[0] {
			d := s.load(image(0, v))
			VSUBPS(coef(0, v), d, d)
			VADDPS(d, acc[0][v], acc[0][v])
			s.fma(d, d, acc[1][v])
		}
	})
}

func normBackSums(s isa, silu bool) {
	if !silu {
		s.text("normBackSums", "sum, dot, dy, x, mean *float32, lanes, rows int")
		s.columns(4*s.lanes, []string{"sum", "dot"}, []string{"dy", "x"}, []string{"mean"}, func(acc [][]vec, image, coef func(i, v int) Mem) {
			for v := range acc[0] {
				dz, d := s.load(image(0, v)), s.load(image(1, v))
				VADDPS(dz, acc[0][v], acc[0][v])
				VSUBPS(coef(0, v), d, d)
				s.fma(dz, d, acc[1][v])
			}
		})
		return
	}
	s.text("normBackSumsSiLU", "sum, dot, dz, dy, x, scale, off, mean *float32, lanes, rows int")
	e := newExponential(s, true)
	width := 4 * s.lanes
	if s.lanes == 8 {
		width = 16 // registers
	}
	s.columns(width, []string{"sum", "dot"}, []string{"dz", "dy", "x"}, []string{"scale", "off", "mean"}, func(acc [][]vec, image, coef func(i, v int) Mem) {
		for v := range acc[0] {
			z, k := s.load(image(2, v)), s.load(coef(0, v))
			VFMADD213PS(coef(1, v), k, z)
			dz := e.slope(z)
			VMULPS(image(1, v), dz, dz)
			s.store(dz, image(0, v))
			VADDPS(dz, acc[0][v], acc[0][v])
			d := s.load(image(2, v))
			VSUBPS(coef(2, v), d, d)
			s.fma(dz, d, acc[1][v])
		}
	})
}

// along emits a loop over rows and within it one over the lanes.
func (s isa) along(images, coefs []string, body func(image, coef []Mem)) {
	pImage, pCoef := pointers(images...), pointers(coefs...)
	stride, count := Load(Param("lanes"), GP64()), Load(Param("rows"), GP64())
	SHLQ(U8(2), stride)
	i := GP64()
	Label("rows")
	XORQ(i, i)
	Label("lanes")
	for v := 0; v < 16; v += s.lanes {
		at := func(p []reg.GPVirtual) (m []Mem) {
			for _, r := range p {
				m = append(m, Mem{Base: r, Index: i, Scale: 1, Disp: 4 * v})
			}
			return m
		}
		body(at(pImage), at(pCoef))
	}
	ADDQ(I8(64), i)
	CMPQ(i, stride)
	JNE(LabelRef("lanes"))
	for _, p := range pImage {
		ADDQ(stride, p)
	}
	DECQ(count)
	JNE(LabelRef("rows"))
	done()
}

func normApply(s isa, silu bool) {
	name := "normApply"
	if silu {
		name = "normApplySiLU"
	}
	s.text(name, "y, x, scale, off *float32, lanes, rows int")
	var e *exponential
	if silu {
		e = newExponential(s, true)
	}
	s.along([]string{"y", "x"}, []string{"scale", "off"}, func(image, coef []Mem) {
		z, k := s.load(image[1]), s.load(coef[0])
		VFMADD213PS(coef[1], k, z)
		if silu {
			z = e.silu(z)
		}
		s.store(z, image[0])
	})
}

func normBackApply(s isa) {
	s.text("normBackApply", "dx, dz, x, a, b, c *float32, lanes, rows int")
	s.along([]string{"dx", "dz", "x"}, []string{"a", "b", "c"}, func(image, coef []Mem) {
		u, b := s.load(image[2]), s.load(coef[1])
		VFMADD213PS(coef[2], b, u)
		g := s.load(image[1])
		VFMADD231PS(coef[0], g, u)
		s.store(u, image[0])
	})
}
