package vec

import (
	"math"

	"unstir/nn/kernel/internal/parallel"
)

// CrossEntropy is the loss of a classifier: the sum over images i of weight[i] * -sum_k target[i,k] log p[i,k], where p[i]
// is the softmax of image i's logits. Not safe for concurrent use.
type CrossEntropy struct {
	n, classes     int
	perImage       []float64
	dlogits        []float32
	logits, target []float32
	weight         []float32
	upstream       float64
	forward        func(int)
	backward       func(int)
}

// NewCrossEntropy returns the loss of n images of so many classes.
func NewCrossEntropy(n, classes int) *CrossEntropy {
	e := &CrossEntropy{n: n, classes: classes, perImage: make([]float64, n)}
	e.forward = func(i int) {
		lo, hi := i*e.classes, (i+1)*e.classes
		logits := e.logits[lo:hi]
		largest, log := logSumExp(logits)
		var sum float64
		for k, t := range e.target[lo:hi] {
			if t != 0 { // 0 log 0 is 0
				sum += float64(float64(t) * (log + (largest - float64(logits[k]))))
			}
		}
		e.perImage[i] = sum
	}
	e.backward = func(i int) {
		lo, hi := i*e.classes, (i+1)*e.classes
		logits, target, d := e.logits[lo:hi], e.target[lo:hi], e.dlogits[lo:hi]
		largest, log := logSumExp(logits)
		var mass float64
		for _, t := range target {
			mass += float64(t)
		}
		scale := float64(e.weight[i]) * e.upstream
		for k, l := range logits {
			d[k] = float32(scale * (float64(mass*math.Exp(float64(l)-largest-log)) - float64(target[k])))
		}
	}
	return e
}

// logSumExp is log sum_k exp(x[k]) = largest + log in float64, where largest is the largest x[k]: no exponential overflows,
// and log, from 0 to the logarithm of len(x), is not lost beside a large one.
func logSumExp(x []float32) (largest, log float64) {
	largest = math.Inf(-1)
	for _, v := range x {
		largest = math.Max(largest, float64(v)) // NaN where one is
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v) - largest)
	}
	return largest, math.Log(sum)
}

// Forward returns the loss and sets perImage[i] to image i's own, unweighted. logits and target are [n, classes], where a row of
// target is a distribution, a single 1 for a label; weight and perImage are [n]; perImage may be nil. It computes in float64.
func (e *CrossEntropy) Forward(perImage, logits, target, weight []float32) float32 {
	e.logits, e.target = logits[:e.n*e.classes], target[:e.n*e.classes]
	parallel.For(e.n, e.forward)
	e.logits, e.target = nil, nil
	var total float64
	for i, s := range e.perImage {
		total += float64(float64(weight[i]) * s)
		if perImage != nil {
			perImage[i] = float32(s)
		}
	}
	return float32(total)
}

// Backward sets dlogits[i,k] = weight[i] * upstream * (p[i,k] sum_j target[i,j] - target[i,k]). dlogits may be logits.
func (e *CrossEntropy) Backward(dlogits, logits, target, weight []float32, upstream float32) {
	size := e.n * e.classes
	e.dlogits, e.logits, e.target, e.weight, e.upstream = dlogits[:size], logits[:size], target[:size], weight[:e.n], float64(upstream)
	parallel.For(e.n, e.backward)
	e.dlogits, e.logits, e.target, e.weight = nil, nil, nil, nil
}
