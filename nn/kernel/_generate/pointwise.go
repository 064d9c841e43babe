package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	families["vec"] = family{"Kernels", func() {
		newTable("elementwiseConstants")
		for _, s := range []isa{avx512, avx2} {
			elementwise(s)
		}
		sumPairs()
		dropout()
	}}
}

// pointers loads where slice parameters begin.
func pointers(names ...string) []reg.GPVirtual {
	var p []reg.GPVirtual
	for _, n := range names {
		p = append(p, Load(Param(n).Base(), GP64()).(reg.GPVirtual))
	}
	return p
}

// length loads the length of a slice parameter.
func length(name string) reg.GPVirtual { return Load(Param(name).Len(), GP64()).(reg.GPVirtual) }

// each emits a loop over the floats of slice parameters, as many as the first has, which is a multiple of 16: body handles
// the vector at the addresses it is given.
func (s isa) each(names []string, body func(at []Mem)) {
	p, n := pointers(names...), length(names[0])
	SHLQ(U8(2), n)
	JEQ(LabelRef("end"))
	for _, r := range p {
		ADDQ(n, r)
	}
	NEGQ(n)
	Label("loop")
	for v := 0; v < 16; v += s.lanes {
		var at []Mem
		for _, r := range p {
			at = append(at, Mem{Base: r, Index: n, Scale: 1, Disp: 4 * v})
		}
		body(at)
	}
	ADDQ(I8(64), n)
	JNE(LabelRef("loop"))
	Label("end")
}

// text begins a function and enters it into the table of its level.
func (s isa) text(name, signature string) {
	TEXT(name+s.suffix, NOSPLIT, "func"+signature)
	Pragma("noescape")
	enter(s.table(), name+s.suffix, name)
}

func done() {
	VZEROUPPER()
	RET()
}

// broadcast is a float32 parameter in every lane. It is not loaded by MOVSS: on an Intel Xeon (family 6, model 207)
// an instruction of the old encoding, while the upper halves of other registers are in use, was measured to make the loop behind
// it take twice as long.
func (s isa) broadcast(name string) vec {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := s.vec()
	VBROADCASTSS(p.Addr, v)
	return v
}

func elementwise(s isa) {
	s.text("add", "(dst, a, b []float32)")
	s.each([]string{"dst", "a", "b"}, func(at []Mem) {
		x := s.load(at[1])
		VADDPS(at[2], x, x)
		s.store(x, at[0])
	})
	done()

	s.text("scaledDiff", "(dst, a, b []float32, k float32)")
	k := s.broadcast("k")
	s.each([]string{"dst", "a", "b"}, func(at []Mem) {
		x := s.load(at[1])
		VSUBPS(at[2], x, x)
		VMULPS(x, k, x)
		s.store(x, at[0])
	})
	done()

	s.text("silu", "(dst, x []float32)")
	e := newExponential(s, true)
	s.each([]string{"dst", "x"}, func(at []Mem) {
		s.store(e.silu(s.load(at[1])), at[0])
	})
	done()

	s.text("siluBack", "(dx, x, dy []float32)")
	e = newExponential(s, true)
	s.each([]string{"dx", "x", "dy"}, func(at []Mem) {
		d := e.slope(s.load(at[1]))
		VMULPS(at[2], d, d)
		s.store(d, at[0])
	})
	done()

	s.sumDoubles("sumSquares", []string{"x"}, func(sum vec, at []Mem) {
		x := s.vec()
		VCVTPS2PD(at[0], x)
		VFMADD231PD(x, x, sum)
	})
	s.sumDoubles("sumSquaredDiff", []string{"a", "b"}, func(sum vec, at []Mem) {
		d, x := s.halfVec(), s.vec()
		VMOVUPS(at[0], d)
		VSUBPS(at[1], d, d)
		VCVTPS2PD(d, x)
		VFMADD231PD(x, x, sum)
	})
	s.sumDoubles("dot", []string{"a", "b"}, func(sum vec, at []Mem) {
		a, b := s.vec(), s.vec()
		VCVTPS2PD(at[0], a)
		VCVTPS2PD(at[1], b)
		VFMADD231PD(a, b, sum)
	})
}

// halfVec is a register of the floats that fill a vector of float64.
func (s isa) halfVec() vec {
	if s.lanes == 16 {
		return YMM()
	}
	return XMM()
}

// sumDoubles emits a function that sums over slices of floats in 16 float64 lanes, which it returns.
func (s isa) sumDoubles(name string, slices []string, body func(sum vec, at []Mem)) {
	s.text(name, "("+strings.Join(slices, ", ")+" []float32) (lanes [16]float64)")
	half := s.lanes / 2
	var sums []vec
	for range 16 / half {
		sums = append(sums, s.zero())
	}
	i := 0
	wide := isa{s.suffix, half} // each steps over as many floats as a vector of float64 holds
	wide.each(slices, func(at []Mem) {
		body(sums[i], at)
		i++
	})
	for i, v := range sums {
		lane, err := ReturnIndex(0).Index(i * half).Resolve()
		if err != nil {
			panic(err)
		}
		s.store(v, lane.Addr)
	}
	done()
}

// sumPairs emits the gradient of nearest-neighbour upsampling for rows of w pixels of c channels, c a multiple of 8.
// It is bound by memory: one width serves both levels.
func sumPairs() {
	s := avx2
	s.text("sumPairs", "(dst, top, bottom []float32, w, c int)")
	p := pointers("dst", "top", "bottom")
	w, c := Load(Param("w"), GP64()), Load(Param("c"), GP64())
	SHLQ(U8(2), c)
	Label("pixel")
	i := GP64()
	XORQ(i, i)
	top, bottom := GP64(), GP64()
	LEAQ(Mem{Base: p[1], Index: c, Scale: 1}, top)
	LEAQ(Mem{Base: p[2], Index: c, Scale: 1}, bottom)
	Label("channels")
	at := func(r reg.Register) Mem { return Mem{Base: r, Index: i, Scale: 1} }
	a, b := s.load(at(p[1])), s.load(at(p[2]))
	VADDPS(at(top), a, a)
	VADDPS(at(bottom), b, b)
	VADDPS(b, a, a)
	s.store(a, at(p[0]))
	ADDQ(I8(32), i)
	CMPQ(i, c)
	JNE(LabelRef("channels"))
	ADDQ(c, p[0])
	LEAQ(Mem{Base: p[1], Index: c, Scale: 2}, p[1])
	LEAQ(Mem{Base: p[2], Index: c, Scale: 2}, p[2])
	DECQ(w)
	JNE(LabelRef("pixel"))
	done()
}

// dropout emits y = x*scale where u < keep, else 0; one width serves both levels.
func dropout() {
	s := avx2
	s.text("dropout", "(dst, x, u []float32, keep, scale float32)")
	keep, scale := s.broadcast("keep"), s.broadcast("scale")
	s.each([]string{"dst", "x", "u"}, func(at []Mem) {
		drawn, y := s.load(at[2]), s.vec()
		VCMPPS(U8(1), keep, drawn, drawn) // u < keep
		VMULPS(at[1], scale, y)
		VANDPS(drawn, y, y)
		s.store(y, at[0])
	})
	done()
}
