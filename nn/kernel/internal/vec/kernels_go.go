package vec

import "math"

// The exponential of every kernel: e^x = 2^n * p(r), n = round(x*log2(e)), r = x - n*ln(2), |r| <= ln(2)/2,
// p a polynomial of degree 6 that is 1 + r + ... exactly (minimax, relative error 3e-9). With the float32 rounding of
// its evaluation the relative error is at most 2 ulp. x is clamped to +-expClamp, so that the result and its inverse are
// normal numbers and one multiplication by 2^n suffices; NaN passes.
const (
	expClamp = 87.3
	expLog2e = 1.44269504
	expRound = 12582912 // 1.5*2^23: adding it rounds to an integer and leaves that integer in the low bits
	expLn2Hi = 0.693359375
	expLn2Lo = -2.12194440e-4
	expC2    = 0.4999999403953552
	expC3    = 0.1666652113199234
	expC4    = 0.04166838899254799
	expC5    = 0.00836874544620514
	expC6    = 0.001381453825160861
)

// expParts returns p and 2^n, so that e^x = p * 2^n.
func expParts(x float32) (p, scale float32) {
	if x > expClamp {
		x = expClamp
	} else if x < -expClamp {
		x = -expClamp
	}
	t := float32(x*expLog2e) + expRound
	n := t - expRound
	r := x - float32(n*expLn2Hi)
	r -= float32(n * expLn2Lo)
	square := r * r
	p = float32(expC6*square) + (float32(expC5*r) + expC4)
	p = float32(p*square) + (float32(expC3*r) + expC2)
	p = float32(p*square) + (r + 1)
	return p, math.Float32frombits(math.Float32bits(t)<<23 + 0x3f800000)
}

// Exp is e^x.
func Exp(x float32) float32 {
	p, s := expParts(x)
	return p * s
}

// SiLU returns z*sigmoid(z).
func SiLU(z float32) float32 { return z / (1 + Exp(-z)) }

// SiLUSlope returns the derivative s*(1 + z*(1-s)) of z*sigmoid(z). 1-s is taken as s*e^-z, which keeps its
// relative accuracy where s is close to 1.
func SiLUSlope(z float32) float32 {
	e := Exp(-z)
	s := 1 / (1 + e)
	return s * (float32(z*float32(e*s)) + 1)
}

// The plain loops that define the functions.

// generic is the plain Go level.
var generic = Kernels{
	add: addGo, scaledDiff: scaledDiffGo, silu: siluGo, siluBack: siluBackGo, sumPairs: sumPairsGo, dropout: dropoutGo,
	sumSquares: sumSquaresGo, sumSquaredDiff: sumSquaredDiffGo, dot: dotGo,
}

func addGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func siluGo(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = SiLU(x[i])
	}
}

func siluBackGo(dx, x, dy []float32) {
	x, dy = x[:len(dx)], dy[:len(dx)]
	for i := range dx {
		dx[i] = dy[i] * SiLUSlope(x[i])
	}
}

// sumPairsGo: top and bottom are [2w,c], dst [w,c].
func sumPairsGo(dst, top, bottom []float32, w, c int) {
	for x := 0; x < w; x++ {
		d := dst[x*c : (x+1)*c]
		t0, t1 := top[2*x*c:][:c], top[(2*x+1)*c:][:c]
		b0, b1 := bottom[2*x*c:][:c], bottom[(2*x+1)*c:][:c]
		for j := range d {
			d[j] = (t0[j] + t1[j]) + (b0[j] + b1[j])
		}
	}
}

// scaledDiffGo: dst = k*(a-b).
func scaledDiffGo(dst, a, b []float32, k float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = k * (a[i] - b[i])
	}
}

// dropoutGo: dst = x*scale where u < keep, else 0.
func dropoutGo(dst, x, u []float32, keep, scale float32) {
	x, u = x[:len(dst)], u[:len(dst)]
	for i, v := range x {
		if u[i] < keep {
			dst[i] = v * scale
		} else {
			dst[i] = 0
		}
	}
}

// sumSquaresGo adds x[i]^2 to lane i mod 16.
func sumSquaresGo(x []float32) (lanes [16]float64) {
	for i, f := range x {
		lanes[i&15] += float64(float64(f) * float64(f))
	}
	return lanes
}

// sumSquaredDiffGo adds (a[i]-b[i])^2 to lane i mod 16.
func sumSquaredDiffGo(a, b []float32) (lanes [16]float64) {
	b = b[:len(a)]
	for i := range a {
		d := float64(a[i] - b[i])
		lanes[i&15] += float64(d * d)
	}
	return lanes
}

// dotGo adds a[i]*b[i] to lane i mod 16.
func dotGo(a, b []float32) (lanes [16]float64) {
	b = b[:len(a)]
	for i, x := range a {
		lanes[i&15] += float64(float64(x) * float64(b[i]))
	}
	return lanes
}
