package train

import (
	"unstir/nn"
	"unstir/nn/kernel"
)

// optimizer turns gradients into updates: by AdamW or, where train.optimizer is "muon", by Muon for the matrices between the
// first and the last layer, and by AdamW for all other parameters. Muon's momentum is kept as the first moment; the second
// moment of its parameters stays 0.
type optimizer struct {
	adam *kernel.AdamW
	muon *kernel.Muon // nil: AdamW alone
	rest []span       // of the flat slices: what AdamW updates
}

// span is a part of a flat slice.
type span struct{ first, end int }

// muonMomentum is Jordan et al.'s.
const muonMomentum = 0.95

// hiddenWidth is the least number of inputs and of outputs of a layer between layers: those of images and classes have fewer.
const hiddenWidth = 16

// hiddenMatrices are the parameters that Muon updates.
func hiddenMatrices(p *nn.Params) (list []kernel.MuonMatrix) {
	for _, q := range p.List {
		if q.Kind != nn.Filter && q.Kind != nn.Matrix {
			continue
		}
		in, out := q.Shape[len(q.Shape)-2], q.Shape[len(q.Shape)-1]
		if in >= hiddenWidth && out >= hiddenWidth {
			list = append(list, kernel.MuonMatrix{Off: q.Off, Rows: q.Size / out, Cols: out})
		}
	}
	return list
}

// newOptimizer returns the optimizer of that name for a model's parameters.
func newOptimizer(name string, p *nn.Params) optimizer {
	o := optimizer{adam: kernel.NewAdamW()}
	if name != Muon {
		o.rest = []span{{0, p.Len()}}
		return o
	}
	matrices := hiddenMatrices(p)
	o.muon = kernel.NewMuon(matrices)
	at := 0
	for _, m := range matrices {
		if m.Off > at {
			o.rest = append(o.rest, span{at, m.Off})
		}
		at = m.Off + m.Rows*m.Cols
	}
	if at < p.Len() {
		o.rest = append(o.rest, span{at, p.Len()})
	}
	return o
}

// optimizerMemory is what the optimizer of that name takes beside the moments, in bytes.
func optimizerMemory(name string, p *nn.Params) int64 {
	if name != Muon {
		return 0
	}
	return kernel.MuonMemory(hiddenMatrices(p))
}

// step updates the weights, both moments and the moving average.
func (o *optimizer) step(w, m, v, ema, grad []float32, s kernel.AdamWStep) {
	for _, r := range o.rest {
		o.adam.Step(w[r.first:r.end], m[r.first:r.end], v[r.first:r.end], ema[r.first:r.end], grad[r.first:r.end], s)
	}
	if o.muon != nil {
		o.muon.Step(w, m, ema, grad, kernel.MuonStep{
			LR: s.LR, Momentum: muonMomentum, WeightDecay: s.WeightDecay, EMADecay: s.EMADecay, GradScale: s.GradScale,
		})
	}
}
