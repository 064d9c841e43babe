package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	families["vec"] = func() {
		newTable("elementwiseConstants")
		for _, s := range []isa{avx512, avx2} {
			elementwise(s)
		}
		sumPairs()
		dropout()
	}
}

// pointers loads pointer parameters.
func pointers(names ...string) []reg.GPVirtual {
	var p []reg.GPVirtual
	for _, n := range names {
		p = append(p, Load(Param(n), GP64()).(reg.GPVirtual))
	}
	return p
}

// each emits a loop over the n floats (a parameter; a positive multiple of 16) behind the pointers: body handles the
// vector at the addresses it is given. The pointers end up behind the last float.
func (s isa) each(p []reg.GPVirtual, body func(at []Mem)) {
	n := Load(Param("n"), GP64())
	SHLQ(U8(2), n)
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
}

func (s isa) text(name, args string) {
	TEXT(name+s.suffix, NOSPLIT, "func("+args+")")
	Pragma("noescape")
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
	s.text("add", "dst, a, b *float32, n int")
	s.each(pointers("dst", "a", "b"), func(at []Mem) {
		x := s.load(at[1])
		VADDPS(at[2], x, x)
		s.store(x, at[0])
	})
	done()

	s.text("scale", "dst, a *float32, n int, k float32")
	k := s.broadcast("k")
	s.each(pointers("dst", "a"), func(at []Mem) {
		x := s.vec()
		VMULPS(at[1], k, x)
		s.store(x, at[0])
	})
	done()

	s.text("scaledDiff", "dst, a, b *float32, n int, k float32")
	k = s.broadcast("k")
	s.each(pointers("dst", "a", "b"), func(at []Mem) {
		x := s.load(at[1])
		VSUBPS(at[2], x, x)
		VMULPS(x, k, x)
		s.store(x, at[0])
	})
	done()

	s.text("silu", "dst, x *float32, n int")
	e := newExponential(s, true)
	s.each(pointers("dst", "x"), func(at []Mem) {
		s.store(e.silu(s.load(at[1])), at[0])
	})
	done()

	s.text("siluBack", "dx, x, dy *float32, n int")
	e = newExponential(s, true)
	s.each(pointers("dx", "x", "dy"), func(at []Mem) {
		d := e.slope(s.load(at[1]))
		VMULPS(at[2], d, d)
		s.store(d, at[0])
	})
	done()

	s.doubles("sumSquares", "x", func(x vec, at []Mem) vec { return x })
	s.doubles("sumSquaredDiff", "a, b", func(x vec, at []Mem) vec { VSUBPS(at[1], x, x); return x })
	s.products()
}

// doubles emits a sum of squares into 16 float64 lanes.
func (s isa) doubles(name, args string, value func(x vec, at []Mem) vec) {
	s.text(name, "lanes *float64, "+args+" *float32, n int")
	names := []string{"a", "b"}
	if args == "x" {
		names = []string{"x"}
	}
	s.sumDoubles(names, func(acc vec, at []Mem) {
		x := s.halfVec()
		VMOVUPS(at[0], x)
		d := s.vec()
		VCVTPS2PD(value(x, at), d)
		VFMADD231PD(d, d, acc)
	})
}

// products emits the inner product into 16 float64 lanes.
func (s isa) products() {
	s.text("dot", "lanes *float64, a, b *float32, n int")
	s.sumDoubles([]string{"a", "b"}, func(acc vec, at []Mem) {
		a, b := s.vec(), s.vec()
		VCVTPS2PD(at[0], a)
		VCVTPS2PD(at[1], b)
		VFMADD231PD(a, b, acc)
	})
}

// halfVec is a register of the floats that fill a vector of float64.
func (s isa) halfVec() vec {
	if s.lanes == 16 {
		return YMM()
	}
	return XMM()
}

// sumDoubles runs body over the 16 float64 lanes of each 16 floats.
func (s isa) sumDoubles(names []string, body func(acc vec, at []Mem)) {
	lanes, p := pointers("lanes")[0], pointers(names...)
	half := s.lanes / 2
	var acc []vec
	for i := 0; i < 16/half; i++ {
		acc = append(acc, s.load(Mem{Base: lanes, Disp: i * s.bytes()}))
	}
	i := 0
	wide := isa{s.suffix, half} // each steps over as many floats as a vector of float64 holds
	wide.each(p, func(at []Mem) {
		body(acc[i], at)
		i++
	})
	for i, v := range acc {
		s.store(v, Mem{Base: lanes, Disp: i * s.bytes()})
	}
	done()
}

// sumPairs emits the gradient of nearest-neighbour upsampling for rows of w pixels of c channels, c a multiple of 8.
// It is bound by memory: one width serves both levels.
func sumPairs() {
	s := avx2
	s.text("sumPairs", "dst, top, bottom *float32, w, c int")
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
	s.text("dropout", "dst, x, u *float32, n int, keep, scale float32")
	keep, scale := s.broadcast("keep"), s.broadcast("scale")
	s.each(pointers("dst", "x", "u"), func(at []Mem) {
		drawn, y := s.load(at[2]), s.vec()
		VCMPPS(U8(1), keep, drawn, drawn) // u < keep
		VMULPS(at[1], scale, y)
		VANDPS(drawn, y, y)
		s.store(y, at[0])
	})
	done()
}
