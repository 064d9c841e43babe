package optimizer

import (
	"math"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/vec"
)

// optimizerChunk is how many parameters one task takes; sums of squares are cut there, whatever the threads.
const optimizerChunk = 1 << 14

// AdamW is the optimizer's arithmetic over flat slices: the norm of the gradient, then one pass that updates weights,
// both moments and the moving average. Not safe for concurrent use.
//
// Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019), algorithm 2.
type AdamW struct {
	kernels       *kernels
	vec           *vec.Kernels
	x             []float32
	w, m, v, e, g []float32
	k             constants
	tail          [5][16]float32 // the last parameters; only a call's last task has any
	copyEMA       bool
	sums          []float64
	sumSquares    func(int)
	step          func(int)
}

// Step is the setting of one update.
type Step struct {
	LR           float64 // learning rate
	Beta1, Beta2 float64 // decay of the first and second moment, in [0, 1)
	Eps          float64 // added to the root of the second moment
	WeightDecay  float64 // decoupled: w -= LR*WeightDecay*w before the update
	EMADecay     float64 // ema = EMADecay*ema + (1-EMADecay)*w
	GradScale    float64 // multiplies the gradient first: gradient clipping, 1/batch
	Step         int     // counts from 1: the exponent of the bias correction
}

// constants are the factors of one update.
type constants = [9]float32

// The constants, in the order in which the assembly reads them.
const (
	gradScale    = iota
	oneLessBeta1 // 1 - beta1
	beta2
	oneLessBeta2
	decay     // 1 - lr*weightDecay
	stepSize  // lr / (1-beta1^t)
	rootScale // 1 / sqrt(1-beta2^t)
	eps
	oneLessEMA // 1 - emaDecay
)

// kernels is the functions of one level, for slices of a multiple of 16 parameters.
type kernels struct {
	adamw    func(w, m, v, g []float32, k *constants)
	adamwEMA func(w, m, v, g, ema []float32, k *constants) // and the moving average
}

// New returns an AdamW for a machine.
func New(c cpu.Info) *AdamW {
	a := &AdamW{kernels: of(c), vec: vec.Of(c)}
	a.sumSquares = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.x))
		a.sums[i] = a.vec.SumSquares(a.x[lo:hi])
	}
	a.step = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.w))
		var e []float32
		if a.e != nil && !a.copyEMA {
			e = a.e[lo:hi]
		}
		a.update(a.w[lo:hi], a.m[lo:hi], a.v[lo:hi], a.g[lo:hi], e)
		if a.copyEMA {
			copy(a.e[lo:hi], a.w[lo:hi])
		}
	}
	return a
}

// SumSquares returns the sum of the squares of x, in float64: 16 lanes within chunks of fixed size, chunks in order.
func (a *AdamW) SumSquares(x []float32) float64 {
	n := (len(x) + optimizerChunk - 1) / optimizerChunk
	if cap(a.sums) < n {
		a.sums = make([]float64, n) // the first call only: the parameters keep their number
	}
	a.x, a.sums = x, a.sums[:n]
	parallel.For(n, a.sumSquares)
	a.x = nil
	var total float64
	for _, s := range a.sums {
		total += s
	}
	return total
}

// Step updates weights w, moments m and v, and the moving average ema (nil: none) from the gradient
// g in one pass:
//
//	g = GradScale*g;  w = w - LR*WeightDecay*w
//	m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g^2
//	w = w - LR/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + eps)
//	ema = EMADecay*ema + (1-EMADecay)*w
//
// The moving averages are taken as m + (1-beta1)*(g-m): their fixed point is exact whatever the rounding of the decay.
// An EMADecay of 0 copies w.
func (a *AdamW) Step(w, m, v, ema, g []float32, s Step) {
	t := float64(s.Step)
	a.k = constants{
		gradScale:    float32(s.GradScale),
		oneLessBeta1: float32(1 - s.Beta1),
		beta2:        float32(s.Beta2),
		oneLessBeta2: float32(1 - s.Beta2),
		decay:        float32(1 - float64(s.LR*s.WeightDecay)),
		stepSize:     float32(s.LR / (1 - math.Pow(s.Beta1, t))),
		rootScale:    float32(1 / math.Sqrt(1-math.Pow(s.Beta2, t))),
		eps:          float32(s.Eps),
		oneLessEMA:   float32(1 - s.EMADecay),
	}
	n := len(w)
	a.w, a.m, a.v, a.g, a.e = w, m[:n], v[:n], g[:n], ema
	if ema != nil {
		a.e = ema[:n]
	}
	a.copyEMA = ema != nil && s.EMADecay == 0
	parallel.For((n+optimizerChunk-1)/optimizerChunk, a.step)
	a.w, a.m, a.v, a.e, a.g = nil, nil, nil, nil, nil
}

// update updates the parameters of one task; ema may be nil. The last ones, too few for a vector, are padded to one.
func (a *AdamW) update(w, m, v, g, ema []float32) {
	n := len(w) &^ 15
	if ema == nil {
		a.kernels.adamw(w[:n], m[:n], v[:n], g[:n], &a.k)
	} else {
		a.kernels.adamwEMA(w[:n], m[:n], v[:n], g[:n], ema[:n], &a.k)
	}
	if n == len(w) {
		return
	}
	t := &a.tail
	for i, x := range [...][]float32{w, m, v, g} {
		copy(t[i][:], x[n:])
	}
	if ema == nil {
		a.kernels.adamw(t[0][:], t[1][:], t[2][:], t[3][:], &a.k)
	} else {
		copy(t[4][:], ema[n:])
		a.kernels.adamwEMA(t[0][:], t[1][:], t[2][:], t[3][:], t[4][:], &a.k)
		copy(ema[n:], t[4][:])
	}
	for i, x := range [...][]float32{w, m, v} {
		copy(x[n:], t[i][:])
	}
}

// The plain loops that define the kernels.

// generic is the plain Go level.
var generic = kernels{adamw: adamwGo, adamwEMA: adamwEMAGo}

func adamwGo(w, m, v, g []float32, k *constants) {
	m, v, g = m[:len(w)], v[:len(w)], g[:len(w)]
	for i := range w {
		gi := k[gradScale] * g[i]
		mi := m[i] + float32(k[oneLessBeta1]*(gi-m[i]))
		vi := float32(float32(k[oneLessBeta2]*gi)*gi) + float32(k[beta2]*v[i])
		denom := float32(float32(math.Sqrt(float64(vi)))*k[rootScale]) + k[eps]
		m[i], v[i], w[i] = mi, vi, float32(k[decay]*w[i])-float32(k[stepSize]*float32(mi/denom))
	}
}

func adamwEMAGo(w, m, v, g, ema []float32, k *constants) {
	adamwGo(w, m, v, g, k)
	for i, e := range ema[:len(w)] {
		ema[i] = e + float32(k[oneLessEMA]*(w[i]-e))
	}
}
