package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func init() {
	families["optimizer"] = family{"kernels", func() {
		for _, s := range []isa{avx512, avx2} {
			adamw(s, false)
			adamw(s, true)
		}
	}}
}

// adamw emits one update, with the weights' moving average or without; k has the constants in the order of the package's.
func adamw(s isa, ema bool) {
	slices := []string{"w", "m", "v", "g"}
	if ema {
		slices = append(slices, "ema")
		s.text("adamwEMA", "(w, m, v, g, ema []float32, k *[9]float32)")
	} else {
		s.text("adamw", "(w, m, v, g []float32, k *[9]float32)")
	}
	k := Load(Param("k"), GP64())
	constant := func(i int) vec {
		c := s.vec()
		VBROADCASTSS(Mem{Base: k, Disp: 4 * i}, c)
		return c
	}
	var c [8]vec
	for i := range c {
		c[i] = constant(i)
	}
	gradScale, c1, beta2, c2, decay, step, root, eps := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	s.each(slices, func(at []Mem) {
		g := s.vec()
		VMULPS(at[3], gradScale, g)
		m := s.load(at[1])
		d := s.sub(g, m)
		s.fma(c1, d, m)
		s.store(m, at[1])
		v := s.vec()
		VMULPS(at[2], beta2, v)
		VMULPS(c2, g, d)
		s.fma(d, g, v)
		s.store(v, at[2])
		VSQRTPS(v, v)
		VFMADD213PS(eps, root, v)
		VDIVPS(v, m, m)
		w := s.vec()
		VMULPS(at[0], decay, w)
		s.fnma(step, m, w)
		s.store(w, at[0])
		if ema {
			e := s.load(at[4])
			VSUBPS(e, w, w)
			s.fma(constant(8), w, e)
			s.store(e, at[4])
		}
	})
	done()
}
