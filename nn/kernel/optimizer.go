package kernel

import "math"

// optimizerChunk is how many parameters one task takes; sums of squares are cut there, whatever the threads.
const optimizerChunk = 1 << 14

// AdamW is the optimizer's arithmetic over flat slices: the norm of the gradient, then one pass that updates weights,
// both moments and the moving average. Not safe for concurrent use.
//
// The pass takes as long as its memory does, so the moving average is updated in every other one, by the weights before
// it and by those after it: with the same bits, for half of the average's traffic. SettleEMA makes up for an update that is owed.
//
// Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019), algorithm 2.
type AdamW struct {
	x             []float32
	w, m, v, e, g []float32
	k             adamwConstants
	copyEMA       bool
	owed          float32 // 1 - decay of the moving average's update that the last step left to the next; 0: none
	sums          []float64
	sumSquares    func(int)
	step, settle  func(int)
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
	owedEMA      float32 // that of the step before
}

// NewAdamW returns an AdamW.
func NewAdamW() *AdamW {
	a := &AdamW{}
	a.sumSquares = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.x))
		var lanes [16]float64
		sumSquaresLanes(&lanes, a.x[lo:hi])
		a.sums[i] = sumLanes(&lanes)
	}
	a.step = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.w))
		switch {
		case a.k.owedEMA != 0:
			adamwVec(a.w[lo:hi], a.m[lo:hi], a.v[lo:hi], a.e[lo:hi], a.g[lo:hi], &a.k)
		case a.copyEMA:
			adamwVec(a.w[lo:hi], a.m[lo:hi], a.v[lo:hi], nil, a.g[lo:hi], &a.k)
			copy(a.e[lo:hi], a.w[lo:hi])
		default:
			adamwVec(a.w[lo:hi], a.m[lo:hi], a.v[lo:hi], nil, a.g[lo:hi], &a.k)
		}
	}
	a.settle = func(i int) {
		lo := i * optimizerChunk
		hi := min(lo+optimizerChunk, len(a.w))
		averageVec(a.e[lo:hi], a.w[lo:hi], a.owed)
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
	Parallel(n, a.sumSquares)
	a.x = nil
	var total float64
	for _, s := range a.sums {
		total += s
	}
	return total
}

// Step updates weights w, moments m and v, and the moving average ema (nil: none; else the same slice in every step) from
// the gradient g in one pass:
//
//	g = GradScale*g;  w = w - LR*WeightDecay*w
//	m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g^2
//	w = w - LR/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + eps)
//	ema = EMADecay*ema + (1-EMADecay)*w
//
// The moving averages are taken as m + (1-beta1)*(g-m): their fixed point is exact whatever the rounding of the decay.
// An EMADecay of 0 copies w. Before ema is read, SettleEMA must be called.
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
	switch {
	case ema == nil || a.copyEMA:
		a.owed = 0
	case a.owed != 0:
		a.k.owedEMA, a.owed = a.owed, 0
	default:
		a.owed = a.k.oneLessEMA
	}
	Parallel((n+optimizerChunk-1)/optimizerChunk, a.step)
	a.w, a.m, a.v, a.e, a.g = nil, nil, nil, nil, nil
}

// SettleEMA brings the moving average up to date with the weights of the last Step.
func (a *AdamW) SettleEMA(ema, w []float32) {
	if a.owed == 0 {
		return
	}
	a.w, a.e = w, ema[:len(w)]
	Parallel((len(w)+optimizerChunk-1)/optimizerChunk, a.settle)
	a.w, a.e, a.owed = nil, nil, 0
}

// adamwGo is the plain loop of Step; ema may be nil, else it takes in the weights before and after.
func adamwGo(w, m, v, ema, g []float32, k *adamwConstants) {
	m, v, g = m[:len(w)], v[:len(w)], g[:len(w)]
	if ema != nil {
		averageGo(ema, w, k.owedEMA)
	}
	for i := range w {
		gi := k.gradScale * g[i]
		mi := m[i] + float32(k.oneLessBeta1*(gi-m[i]))
		vi := float32(float32(k.oneLessBeta2*gi)*gi) + float32(k.beta2*v[i])
		denom := float32(float32(math.Sqrt(float64(vi)))*k.rootScale) + k.eps
		m[i], v[i], w[i] = mi, vi, float32(k.decay*w[i])-float32(k.stepSize*float32(mi/denom))
	}
	if ema != nil {
		averageGo(ema, w, k.oneLessEMA)
	}
}

// averageGo adds k*(w - ema) to ema.
func averageGo(ema, w []float32, k float32) {
	w = w[:len(ema)]
	for i, e := range ema {
		ema[i] = e + float32(k*(w[i]-e))
	}
}

// sumSquaresGo adds x[i]^2 to lane i mod 16.
func sumSquaresGo(lanes *[16]float64, x []float32) {
	for i, f := range x {
		lanes[i&15] += float64(float64(f) * float64(f))
	}
}
