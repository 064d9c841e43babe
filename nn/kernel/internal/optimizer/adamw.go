package optimizer

import (
	"math"

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
	x             []float32
	w, m, v, e, g []float32
	k             adamwConstants
	copyEMA       bool
	sums          []float64
	sumSquares    func(int)
	step          func(int)
}

// AdamWStep is the setting of one update.
type AdamWStep struct {
	LR           float64 // learning rate
	Beta1, Beta2 float64 // decay of the first and second moment, in [0, 1)
	Eps          float64 // added to the root of the second moment
	WeightDecay  float64 // decoupled: w -= LR*WeightDecay*w before the update
	EMADecay     float64 // ema = EMADecay*ema + (1-EMADecay)*w
	GradScale    float64 // multiplies the gradient first: gradient clipping, 1/batch
	Step         int     // counts from 1: the exponent of the bias correction
}

// adamwConstants are the float32 factors of one update, in the order in which the assembly reads them.
type adamwConstants struct {
	gradScale    float32
	oneLessBeta1 float32
	beta2        float32
	oneLessBeta2 float32
	decay        float32 // 1 - lr*weightDecay
	stepSize     float32 // lr / (1-beta1^t)
	rootScale    float32 // 1 / sqrt(1-beta2^t)
	eps          float32
	oneLessEMA   float32
}

// NewAdamW returns an AdamW.
func NewAdamW() *AdamW {
	a := &AdamW{}
	a.sumSquares = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.x))
		a.sums[i] = vec.SumSquares(a.x[lo:hi])
	}
	a.step = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.w))
		var e []float32
		if a.e != nil && !a.copyEMA {
			e = a.e[lo:hi]
		}
		adamwVec(a.w[lo:hi], a.m[lo:hi], a.v[lo:hi], e, a.g[lo:hi], &a.k)
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
func (a *AdamW) Step(w, m, v, ema, g []float32, s AdamWStep) {
	t := float64(s.Step)
	a.k = adamwConstants{
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

// adamwGo is the plain loop of Step; ema may be nil.
func adamwGo(w, m, v, ema, g []float32, k *adamwConstants) {
	m, v, g = m[:len(w)], v[:len(w)], g[:len(w)]
	for i := range w {
		gi := k.gradScale * g[i]
		mi := m[i] + float32(k.oneLessBeta1*(gi-m[i]))
		vi := float32(float32(k.oneLessBeta2*gi)*gi) + float32(k.beta2*v[i])
		denom := float32(float32(math.Sqrt(float64(vi)))*k.rootScale) + k.eps
		m[i], v[i], w[i] = mi, vi, float32(k.decay*w[i])-float32(k.stepSize*float32(mi/denom))
	}
	for i, e := range ema {
		ema[i] = e + float32(k.oneLessEMA*(w[i]-e))
	}
}
