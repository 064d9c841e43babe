package rng

import "math/bits"

// Multipliers and Weyl increments of Philox-4x64: Salmon, Moraes, Dror and
// Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 4.3.
const (
	mulA  = 0xD2E7470EE14C6C93
	mulB  = 0xCA5A826395121157
	weylA = 0x9E3779B97F4A7C15 // the golden ratio
	weylB = 0xBB67AE8584CAA73B // sqrt(3) - 1
)

// philox is Philox-4x64-10: ten rounds that turn a counter and a key into
// 256 random bits. Distinct counters under one key give distinct blocks,
// because every round is a bijection.
func philox(c0, c1, c2, c3, k0, k1 uint64) (r0, r1, r2, r3 uint64) {
	for range 10 {
		hiA, loA := bits.Mul64(mulA, c0)
		hiB, loB := bits.Mul64(mulB, c2)
		c0, c1, c2, c3 = hiB^c1^k0, loB, hiA^c3^k1, loA
		k0 += weylA
		k1 += weylB
	}
	return c0, c1, c2, c3
}
