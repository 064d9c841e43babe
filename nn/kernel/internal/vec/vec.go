package vec

import (
	"math"

	"unstir/nn/kernel/internal/parallel"
)

// Elementwise work and copies. Nothing here reduces over more than four numbers, so that the bits of an element
// depend on its inputs alone and the work may be cut anywhere.

// vecChunk is how many floats one task of an elementwise call takes: 64 KB, a few microseconds.
const vecChunk = 1 << 14

// Vec runs elementwise calls over the worker pool. It holds the closures that the pool calls, so that a call allocates
// nothing; use one Vec per op. A Vec is not safe for concurrent use.
type Vec struct {
	dst, a, b      []float32
	n, h, w, c     int
	rowsPerTask    int
	value          float32
	add            func(int)
	silu, siluBack func(int)
	up, upBack     func(int)
	scale, cp      func(int)
	fill           func(int)
}

// NewVec returns a Vec.
func NewVec() *Vec {
	v := &Vec{}
	v.add = func(i int) { lo, hi := v.span(i); Add(v.dst[lo:hi], v.a[lo:hi], v.b[lo:hi]) }
	v.silu = func(i int) { lo, hi := v.span(i); siluVec(v.dst[lo:hi], v.a[lo:hi]) }
	v.siluBack = func(i int) { lo, hi := v.span(i); siluBackVec(v.dst[lo:hi], v.a[lo:hi], v.b[lo:hi]) }
	v.scale = func(i int) { lo, hi := v.span(i); scaleVec(v.dst[lo:hi], v.a[lo:hi], v.value) }
	v.cp = func(i int) { lo, hi := v.span(i); copy(v.dst[lo:hi], v.a[lo:hi]) }
	v.fill = func(i int) {
		lo, hi := v.span(i)
		for j := lo; j < hi; j++ {
			v.dst[j] = v.value
		}
	}
	v.up = v.upRows
	v.upBack = v.upBackRows
	return v
}

// span is the range of elements of task i.
func (v *Vec) span(i int) (lo, hi int) {
	lo = i * vecChunk
	return lo, min(lo+vecChunk, len(v.dst))
}

// each runs f over chunks of dst and drops the references to the arguments.
func (v *Vec) each(f func(int)) {
	parallel.For((len(v.dst)+vecChunk-1)/vecChunk, f)
	v.release()
}

// eachRows runs f over tasks of rowsPerTask of the given rows of rowLen floats each.
func (v *Vec) eachRows(f func(int), rows, rowLen int) {
	if rows == 0 || rowLen == 0 {
		v.release()
		return
	}
	v.rowsPerTask = max(1, vecChunk/rowLen)
	v.n = rows
	parallel.For((rows+v.rowsPerTask-1)/v.rowsPerTask, f)
	v.release()
}

func (v *Vec) release() { v.dst, v.a, v.b = nil, nil, nil }

// rowSpan is the range of rows of task i.
func (v *Vec) rowSpan(i int) (lo, hi int) {
	lo = i * v.rowsPerTask
	return lo, min(lo+v.rowsPerTask, v.n)
}

// Add sets dst = a + b. The three have equal lengths; dst may be a or b.
func (v *Vec) Add(dst, a, b []float32) {
	v.dst, v.a, v.b = dst, a[:len(dst)], b[:len(dst)]
	v.each(v.add)
}

// Scale sets dst = k*a. dst may be a.
func (v *Vec) Scale(dst, a []float32, k float32) {
	v.dst, v.a, v.value = dst, a[:len(dst)], k
	v.each(v.scale)
}

// Copy copies src to dst, which has the same length.
func (v *Vec) Copy(dst, src []float32) {
	v.dst, v.a = dst, src[:len(dst)]
	v.each(v.cp)
}

// Fill sets every element of dst to value.
func (v *Vec) Fill(dst []float32, value float32) {
	v.dst, v.value = dst, value
	v.each(v.fill)
}

// SiLU sets dst = x*sigmoid(x). dst may be x.
// Relative error a few ulp for x >= -87; below that the result is less than 1e-36 in magnitude, as the true one is.
func (v *Vec) SiLU(dst, x []float32) {
	v.dst, v.a = dst, x[:len(dst)]
	v.each(v.silu)
}

// SiLUBackward sets dx = dy * d(x*sigmoid(x))/dx = dy * s*(1 + x*(1-s)) with s = sigmoid(x). dx may be dy or x.
func (v *Vec) SiLUBackward(dx, x, dy []float32) {
	v.dst, v.a, v.b = dx, x[:len(dx)], dy[:len(dx)]
	v.each(v.siluBack)
}

// Upsample doubles images by nearest neighbour: src [n,h,w,c] -> dst [n,2h,2w,c].
func (v *Vec) Upsample(dst, src []float32, n, h, w, c int) {
	v.dst, v.a, v.h, v.w, v.c = dst[:4*n*h*w*c], src[:n*h*w*c], h, w, c
	v.eachRows(v.up, n*h, 4*w*c)
}

func (v *Vec) upRows(task int) {
	lo, hi := v.rowSpan(task)
	w, c := v.w, v.c
	for r := lo; r < hi; r++ {
		src := v.a[r*w*c : (r+1)*w*c]
		dst := v.dst[4*r*w*c : 4*(r+1)*w*c]
		for x := 0; x < w; x++ {
			p := src[x*c : (x+1)*c]
			copy(dst[2*x*c:], p)
			copy(dst[(2*x+1)*c:], p)
		}
		copy(dst[2*w*c:], dst[:2*w*c])
	}
}

// UpsampleBackward adds each 2x2 block of ddst [n,2h,2w,c] into dsrc [n,h,w,c]: (top left + top right) +
// (bottom left + bottom right).
func (v *Vec) UpsampleBackward(dsrc, ddst []float32, n, h, w, c int) {
	v.dst, v.a, v.h, v.w, v.c = dsrc[:n*h*w*c], ddst[:4*n*h*w*c], h, w, c
	v.eachRows(v.upBack, n*h, 4*w*c)
}

func (v *Vec) upBackRows(task int) {
	lo, hi := v.rowSpan(task)
	w, c := v.w, v.c
	for r := lo; r < hi; r++ {
		src := v.a[4*r*w*c : 4*(r+1)*w*c]
		sumPairs(v.dst[r*w*c:(r+1)*w*c], src[:2*w*c], src[2*w*c:], w, c)
	}
}

// Dropout sets dst = x/keep where u < keep and 0 elsewhere, on the calling goroutine; u is uniform in [0, 1). dst may be x.
func Dropout(dst, x, u []float32, keep float32) {
	dropoutVec(dst, x[:len(dst)], u[:len(dst)], keep, 1/keep)
}

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

// The plain loops that define the vector kernels.

func addGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func scaleGo(dst, a []float32, k float32) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = k * a[i]
	}
}

func siluVecGo(dst, x []float32) {
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
func sumSquaresGo(lanes *[16]float64, x []float32) {
	for i, f := range x {
		lanes[i&15] += float64(float64(f) * float64(f))
	}
}

// dotGo adds a[i]*b[i] to lane i mod 16.
func dotGo(lanes *[16]float64, a, b []float32) {
	b = b[:len(a)]
	for i, x := range a {
		lanes[i&15] += float64(float64(x) * float64(b[i]))
	}
}

// sumLanes adds sixteen partial sums in a fixed tree.
func sumLanes(p *[16]float64) float64 {
	for d := 8; d > 0; d /= 2 {
		for i := 0; i < d; i++ {
			p[i] += p[i+d]
		}
	}
	return p[0]
}

// SumSquares is the sum of the squares of x in float64, in an order that depends on its length only.
func SumSquares(x []float32) float64 {
	var lanes [16]float64
	sumSquaresLanes(&lanes, x)
	return sumLanes(&lanes)
}

// Dot is the sum of a[i]*b[i] in float64, in an order that depends on their length only.
func Dot(a, b []float32) float64 {
	var lanes [16]float64
	dotLanes(&lanes, a, b)
	return sumLanes(&lanes)
}
