package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set to write a kernel for. A kernel written in terms of it
// does the same arithmetic, lane by lane, at both widths.
type isa struct {
	suffix string // of the function's name
	lanes  int    // floats in a vector
}

var avx512 = isa{"AVX512", 16}
var avx2 = isa{"AVX2", 8}

type vec = reg.VecVirtual

// bytes is the size of a vector.
func (s isa) bytes() int { return 4 * s.lanes }

func (s isa) vec() vec {
	if s.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

func (s isa) zero() vec {
	v := s.vec()
	if s.lanes == 16 {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
	return v
}

// constant is x in every lane.
func (s isa) constant(x float32) vec {
	r, v := GP32(), s.vec()
	MOVL(U32(math.Float32bits(x)), r)
	if s.lanes == 16 {
		VPBROADCASTD(r, v)
		return v
	}
	lane := XMM()
	VMOVD(r, lane)
	VPBROADCASTD(lane, v)
	return v
}

func (s isa) load(m Mem) vec       { v := s.vec(); VMOVUPS(m, v); return v }
func (s isa) store(v vec, m Mem)   { VMOVUPS(v, m) }
func (s isa) copy(a vec) vec       { v := s.vec(); VMOVAPS(a, v); return v }
func (s isa) add(a, b vec) vec     { v := s.vec(); VADDPS(b, a, v); return v }
func (s isa) sub(a, b vec) vec     { v := s.vec(); VSUBPS(b, a, v); return v }
func (s isa) mul(a, b vec) vec     { v := s.vec(); VMULPS(b, a, v); return v }
func (s isa) fma(a, b, c vec) vec  { VFMADD231PS(b, a, c); return c }  // c += a*b, in place
func (s isa) fnma(a, b, c vec) vec { VFNMADD231PS(b, a, c); return c } // c -= a*b, in place
