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
// Its parts are small so that the compiler inlines them.
func boxMuller(w uint64) (float32, float32) {
	u := float32(float32(int32(uint32(w)>>1))+0.5) * 0x1p-31
	e, m := frexp(u)
	lnU := float32(e*math.Ln2) + lnNear1(m)
	r := float32(math.Sqrt(float64(float32(-2 * lnU))))

	quadrant, x := reduce(uint32(w >> 32))
	x2 := float32(x * x)
	return rotate(quadrant, float32(r*cosNear0(x2)), float32(r*sinNear0(x, x2)))
}

// frexp splits a normal, positive x = 2^e m, sqrt(1/2) <= m < sqrt(2).
func frexp(x float32) (e, m float32) {
	const sqrtHalf = 0x3f3504f3 // the bits of sqrt(1/2)
	offset := int32(math.Float32bits(x)) - sqrtHalf
	return float32(offset >> 23), math.Float32frombits(uint32(offset&(1<<23-1) + sqrtHalf))
}

// lnNear1 is ln m = 2 artanh(q), q = (m-1)/(m+1). For m of frexp |q| < 0.172,
// where five terms of artanh's series are exact to 1e-9.
func lnNear1(m float32) float32 {
	f := m - 1
	q := f / (f + 2)
	q2 := float32(q * q)
	t := float32(1) / 9
	t = float32(t*q2) + float32(1)/7
	t = float32(t*q2) + float32(1)/5
	t = float32(t*q2) + float32(1)/3
	return 2 * float32(q+float32(float32(t*q2)*q))
}

// reduce writes the angle 2 pi w / 2^32 as quadrant*pi/2 + x, |x| <= pi/4;
// quadrant 4 is 0.
func reduce(w uint32) (quadrant uint32, x float32) {
	return (w + 1<<29) >> 30, float32(float32(int32(w<<2)>>2) * (math.Pi / 2 * 0x1p-30))
}

// cosNear0 is cos x of x2 = x^2, |x| <= pi/4: Taylor's series, exact to 3e-8.
func cosNear0(x2 float32) float32 {
	c := float32(1) / 40320
	c = float32(c*x2) - float32(1)/720
	c = float32(c*x2) + float32(1)/24
	c = float32(c*x2) - 0.5
	return float32(c*x2) + 1
}

// sinNear0 is sin x, |x| <= pi/4: Taylor's series, exact to 2e-9.
func sinNear0(x, x2 float32) float32 {
	s := float32(1) / 362880
	s = float32(s*x2) - float32(1)/5040
	s = float32(s*x2) + float32(1)/120
	s = float32(s*x2) - float32(1)/6
	return float32(float32(s*x2)*x) + x
}

// rotate turns the point (c, s) by quadrant*pi/2. On bits, because a branch
// would be mispredicted half of the time.
func rotate(quadrant uint32, c, s float32) (float32, float32) {
	cb, sb := math.Float32bits(c), math.Float32bits(s)
	swap := (cb ^ sb) & -(quadrant & 1)
	cb ^= swap
	sb ^= swap
	cb ^= (quadrant + 1) >> 1 << 31 // negative in quadrants 1 and 2
	sb ^= quadrant >> 1 << 31       // negative in quadrants 2 and 3
	return math.Float32frombits(cb), math.Float32frombits(sb)
}
