package rng

import "math"

// Normal fills dst with independent draws of N(0, 1), |z| < 6.67. dst[j]
// depends on (seed, s, a, b, j) only, not on len(dst): the pair dst[2p],
// dst[2p+1] is made of the two halves of Uint64(seed, s, a, b, p).
//
// The arithmetic is float32 without fused multiply-adds, and polynomials
// instead of the platform's log, sin and cos, so the bits are the same
// everywhere. Each product is wrapped in a conversion, which forbids fusing.
func Normal(dst []float32, seed uint64, s Stream, a, b uint64) {
	block := uint64(0)
	for ; len(dst) >= 8; block++ {
		r0, r1, r2, r3 := philox(uint64(s), a, b, block, seed, 0)
		dst[0], dst[1] = boxMuller(r0)
		dst[2], dst[3] = boxMuller(r1)
		dst[4], dst[5] = boxMuller(r2)
		dst[6], dst[7] = boxMuller(r3)
		dst = dst[8:]
	}
	for p := 4 * block; len(dst) > 0; p++ {
		z0, z1 := boxMuller(Uint64(seed, s, a, b, p))
		dst[0] = z0
		if len(dst) == 1 {
			return
		}
		dst[1] = z1
		dst = dst[2:]
	}
}

// boxMuller turns 64 bits into two normal draws (Box and Muller, 1958):
// r cos(phi), r sin(phi) with r = sqrt(-2 ln u). The low half of w is u, a
// multiple of 2^-32 down to 2^-32 itself (r up to 6.66); the high half is phi.
func boxMuller(w uint64) (float32, float32) {
	u := float32(float32(int32(uint32(w)>>1))+0.5) * 0x1p-31
	r := float32(math.Sqrt(float64(float32(-2 * ln(u)))))
	cos, sin := cosSinTurn(uint32(w >> 32))
	return float32(r * cos), float32(r * sin)
}

// ln is the natural logarithm of a normal, positive x, to 1e-7 relative.
//
// x = 2^e m with sqrt(1/2) <= m < sqrt(2), and ln m = 2 artanh(q), where
// q = (m-1)/(m+1) is below 0.172: five terms of artanh's series are exact to
// 1e-9.
func ln(x float32) float32 {
	const sqrtHalf = 0x3f3504f3 // the bits of sqrt(1/2)
	offset := int32(math.Float32bits(x)) - sqrtHalf
	e := float32(offset >> 23)
	m := math.Float32frombits(uint32(offset&(1<<23-1) + sqrtHalf))

	f := m - 1
	q := f / (f + 2)
	q2 := float32(q * q)
	t := float32(1) / 9
	t = float32(t*q2) + float32(1)/7
	t = float32(t*q2) + float32(1)/5
	t = float32(t*q2) + float32(1)/3
	t = float32(t*q2) * q // artanh(q) - q
	lnM := 2 * float32(q+t)
	return float32(e*math.Ln2) + lnM
}

// cosSinTurn returns the cosine and sine of phi = 2 pi w / 2^32, to 1e-7.
//
// phi = quadrant*pi/2 + x with |x| <= pi/4, where the Taylor series to x^8 and
// x^9 are exact to 3e-8. The quadrant then swaps the two and sets the signs;
// done on bits, because a branch would be mispredicted half of the time.
func cosSinTurn(w uint32) (cos, sin float32) {
	quadrant := (w + 1<<29) >> 30
	x := float32(float32(int32(w<<2)>>2) * (math.Pi / 2 * 0x1p-30))
	x2 := float32(x * x)

	c := float32(1) / 40320
	c = float32(c*x2) - float32(1)/720
	c = float32(c*x2) + float32(1)/24
	c = float32(c*x2) - 0.5
	c = float32(c*x2) + 1

	s := float32(1) / 362880
	s = float32(s*x2) - float32(1)/5040
	s = float32(s*x2) + float32(1)/120
	s = float32(s*x2) - float32(1)/6
	s = float32(float32(s*x2)*x) + x

	cb, sb := math.Float32bits(c), math.Float32bits(s)
	swap := (cb ^ sb) & -(quadrant & 1)
	cb ^= swap
	sb ^= swap
	cb ^= (quadrant + 1) >> 1 << 31 // cos is negative in quadrants 1, 2
	sb ^= quadrant >> 1 << 31       // sin is negative in quadrants 2, 3
	return math.Float32frombits(cb), math.Float32frombits(sb)
}
