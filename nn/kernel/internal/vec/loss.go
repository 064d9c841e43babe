package vec

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
)

// Loss is the weighted squared error of the papers' L_simple: sum over images i of weight[i] * sum_j (pred-target)^2.
// The caller puts every constant (1/dim, 1/batch, min-SNR weights) into weight. Not safe for concurrent use.
type Loss struct {
	kernels      *Kernels
	n, dim       int
	perImage     []float64
	dpred        []float32
	pred, target []float32
	weight       []float32
	upstream     float64
	forward      func(int)
	backward     func(int)
}

// NewLoss returns the loss of n images of dim numbers each, for a machine.
func NewLoss(n, dim int, c cpu.Info) *Loss {
	l := &Loss{kernels: Of(c), n: n, dim: dim, perImage: make([]float64, n)}
	l.forward = func(i int) {
		lo, hi := i*l.dim, (i+1)*l.dim
		l.perImage[i] = l.kernels.sumSquaredDifferences(l.pred[lo:hi], l.target[lo:hi])
	}
	l.backward = func(i int) {
		lo, hi := i*l.dim, (i+1)*l.dim
		k := float32(2 * float64(l.weight[i]) * l.upstream)
		l.kernels.scaledDifference(l.dpred[lo:hi], l.pred[lo:hi], l.target[lo:hi], k)
	}
	return l
}

// Forward returns sum over i of weight[i] * sum_j (pred[i,j]-target[i,j])^2 and sets perImage[i] to the unweighted mean
// of image i's squared differences. pred and target are [n, dim], weight and perImage [n]; perImage may be nil.
// Differences are rounded to float32; squares and sums are float64, in an order that depends on dim only.
func (l *Loss) Forward(perImage, pred, target, weight []float32) float32 {
	l.pred, l.target = pred[:l.n*l.dim], target[:l.n*l.dim]
	parallel.For(l.n, l.forward)
	l.pred, l.target = nil, nil
	var total float64
	for i, s := range l.perImage {
		total += float64(float64(weight[i]) * s)
		if perImage != nil {
			perImage[i] = float32(s / float64(l.dim))
		}
	}
	return float32(total)
}

// Backward sets dpred = 2 * weight[i] * upstream * (pred - target).
func (l *Loss) Backward(dpred, pred, target, weight []float32, upstream float32) {
	size := l.n * l.dim
	l.dpred, l.pred, l.target, l.weight, l.upstream = dpred[:size], pred[:size], target[:size], weight[:l.n], float64(upstream)
	parallel.For(l.n, l.backward)
	l.dpred, l.pred, l.target, l.weight = nil, nil, nil, nil
}
