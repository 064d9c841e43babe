package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Constants of e^x; expParts in vec/kernels_go.go says what they are.
const (
	expClamp = 87.3
	expLog2e = 1.44269504
	expRound = 12582912 + 127 // 1.5*2^23, and the exponent's bias: n+127 is left in the low bits
	expLn2Hi = 0.693359375
	expLn2Lo = -2.12194440e-4
	expC2    = 0.4999999403953552
	expC3    = 0.1666652113199234
	expC4    = 0.04166838899254799
	expC5    = 0.00836874544620514
	expC6    = 0.001381453825160861
)

// constantTable holds the constants of a family's kernels, 32 bytes each: AVX2 has too few registers for them
// and no broadcasting operands.
type constantTable struct {
	name   string
	mem    Mem
	offset map[uint32]int
}

var table *constantTable

// newTable begins the constants of a family.
func newTable(name string) { table = &constantTable{name: name, offset: map[uint32]int{}} }

// constantOp is x in every lane, as an operand that may be memory.
func (s isa) constantOp(x float32) Op {
	bits := math.Float32bits(x)
	at, ok := table.offset[bits]
	if !ok {
		if len(table.offset) == 0 {
			table.mem = GLOBL(table.name, RODATA|NOPTR)
		}
		at = 32 * len(table.offset)
		table.offset[bits] = at
		for i := range 4 {
			DATA(at+8*i, U64(bits)<<32|U64(bits))
		}
	}
	m := table.mem.Offset(at)
	if s.lanes == 16 {
		v := s.vec()
		VBROADCASTSS(m, v)
		return v
	}
	return m
}

// take is an operand in a register that may be overwritten.
func (s isa) take(x Op) vec { v := s.vec(); VMOVUPS(x, v); return v }

// exponential emits e^x, or e^-x, with its constants.
type exponential struct {
	s                          isa
	negative                   bool
	lo, hi                     vec
	log2e, round, ln2Hi, ln2Lo Op
	c6, c5, c4, c3, c2, one    Op
}

// newExponential loads the constants. e^-x takes the sign into the constants of the odd powers.
func newExponential(s isa, negative bool) *exponential {
	sign := float32(1)
	if negative {
		sign = -1
	}
	e := &exponential{s: s, negative: negative, lo: s.constant(-expClamp), hi: s.constant(expClamp)}
	e.log2e, e.round = s.constantOp(sign*expLog2e), s.constantOp(expRound)
	e.ln2Hi, e.ln2Lo = s.constantOp(expLn2Hi), s.constantOp(expLn2Lo)
	e.c6, e.c5, e.c4 = s.constantOp(expC6), s.constantOp(sign*expC5), s.constantOp(expC4)
	e.c3, e.c2, e.one = s.constantOp(sign*expC3), s.constantOp(expC2), s.constantOp(1)
	return e
}

// oneRegister is 1 in a register.
func (e *exponential) oneRegister() vec {
	if v, ok := e.one.(vec); ok {
		return v
	}
	return e.s.take(e.one)
}

// parts returns p and 2^n, whose product is e^x (or e^-x); it uses x up. x is the second source of minimum and maximum,
// the one that they return when it is NaN.
func (e *exponential) parts(x vec) (p, scale vec) {
	VMINPS(x, e.hi, x)
	VMAXPS(x, e.lo, x)
	t := e.s.take(e.round)
	VFMADD231PS(e.log2e, x, t)
	n := e.s.vec()
	VSUBPS(e.round, t, n)
	if e.negative { // here x is minus the remainder
		VFMADD231PS(e.ln2Hi, n, x)
		VFMADD231PS(e.ln2Lo, n, x)
	} else {
		VFNMADD231PS(e.ln2Hi, n, x)
		VFNMADD231PS(e.ln2Lo, n, x)
	}
	// c6*r^6 + ... + r + 1 by even and odd powers: as many operations as Horner's rule, in two thirds of its latency
	square, p, q, low := e.s.mul(x, x), e.s.take(e.c4), e.s.take(e.c2), e.s.vec()
	VFMADD231PS(e.c5, x, p)
	VFMADD231PS(e.c6, square, p)
	VFMADD231PS(e.c3, x, q)
	VFMADD213PS(q, square, p)
	if e.negative {
		VSUBPS(x, e.oneRegister(), low)
	} else {
		VADDPS(e.one, x, low)
	}
	VFMADD213PS(low, square, p)
	VPSLLD(U8(23), t, t)
	return p, t
}

// value is e^x; it uses x up.
func (e *exponential) value(x vec) vec {
	p, scale := e.parts(x)
	VMULPS(scale, p, p)
	return p
}

// silu is z/(1 + e^-z), in z; e is the negative exponential.
func (e *exponential) silu(z vec) vec {
	p, scale := e.parts(e.s.copy(z))
	VFMADD213PS(e.one, scale, p)
	VDIVPS(p, z, z)
	return z
}

// slope is the derivative of silu at z: s*(1 + z*(e^-z*s)), s = 1/(1 + e^-z); it uses z up.
func (e *exponential) slope(z vec) vec {
	p, scale := e.parts(e.s.copy(z))
	VMULPS(scale, p, p)
	VADDPS(e.one, p, scale)
	s := e.s.vec()
	VDIVPS(scale, e.oneRegister(), s)
	VMULPS(s, p, p)
	VFMADD213PS(e.one, p, z)
	VMULPS(s, z, z)
	return z
}
