package nn

import (
	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// foldedAttention is SelfAttention with one head and weights that do not change, in two matrix products of weights
// less. Where q = x Wq + bq and k = x Wk + bk,
//
//	q k^T = (x Wq Wk^T + bq Wk^T) x^T + (what is the same for all keys of a query)
//
// and what is the same for all keys cancels in the softmax, bk with it. As its rows sum to 1, softmax(.) v Wo + bo,
// where v = x Wv + bv, is softmax(.) x (Wv Wo) + (bv Wo + bo). So x itself serves as keys and values. (Several heads
// would each need a C x C matrix of their own, which is more work, not less.)
func (s Scope) foldedAttention(x, residual *G.Node) *G.Node {
	c := x.Shape()[3]
	wq, bq := s.In("to_q").linearParams(c, c, false)
	wk, _ := s.In("to_k").linearParams(c, c, false)
	wv, bv := s.In("to_v").linearParams(c, c, false)
	wo, bo := s.In("to_out.0").linearParams(c, c, true)
	q := s.In("to_q to_k").folded(x, nil, func(w, b []float32, in [][]float32, scratch []float32) {
		kernel.Gemm(w, c, in[0], c, false, in[2], c, true, c, c, c, false, scratch)
		kernel.Gemm(b, c, in[1], c, false, in[2], c, true, 1, c, c, false, scratch)
	}, wq, bq, wk)
	h := s.Attention(q, x, x, 1)
	return s.In("to_v to_out.0").folded(h, residual, func(w, b []float32, in [][]float32, scratch []float32) {
		kernel.Gemm(w, c, in[0], c, false, in[2], c, false, c, c, c, false, scratch)
		copy(b, in[3])
		kernel.Gemm(b, c, in[1], c, false, in[2], c, false, 1, c, c, true, scratch)
	}, wv, bv, wo, bo)
}

// folded is x w + b (+ residual) for each pixel of x [N, H, W, C], where fold makes w [C, C] and b [C] from the
// parameters, once for all graphs that share the filters.
func (s Scope) folded(x, residual *G.Node, fold func(w, b []float32, params [][]float32, scratch []float32), params ...*G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	c := x.Shape()[3]
	shape, result := linearShape(x.Shape(), c)
	plan, err := kernel.NewFixedConv(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	var u, b []float32
	in := append(G.Nodes{x}, params...)
	op := &engine.Op{Name: s.prefix, Shape: result, Scratch: plan.Scratch(), FLOPs: 2 * flops(shape)}
	op.Kernel = func(call *engine.Call) {
		if u == nil {
			u, b = s.Filters.folded(s.prefix, shape, plan, func(w, b []float32) {
				fold(w, b, call.In[1:1+len(params)], make([]float32, kernel.GemmScratch(c, c, c)))
			})
		}
		var res []float32
		if residual != nil {
			res = call.In[len(in)-1]
		}
		plan.ForwardPrepared(call.Out, call.In[0], u, nil, b, nil, res, call.Scratch)
	}
	if residual != nil {
		in = append(in, residual)
		op.InPlace = []int{len(in) - 1}
	}
	return s.apply(op, in...)
}
