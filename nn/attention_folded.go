package nn

import (
	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// foldedParams are the parameters of SelfAttention with one head, whose weights fold:
//
// Where q = x Wq + bq and k = x Wk + bk,
//
//	q k^T = (x Wq Wk^T + bq Wk^T) x^T + (what is the same for all keys of a query)
//
// and what is the same for all keys cancels in the softmax, bk with it. As its rows sum to 1, softmax(.) v Wo + bo,
// where v = x Wv + bv, is softmax(.) x (Wv Wo) + (bv Wo + bo). So x itself serves as keys and values, and of four linear
// layers two are left. (Several heads would each need a C x C matrix of their own, which is more work, not less.)
type foldedParams struct{ wq, bq, wk, bk, wv, bv, wo, bo *G.Node }

func (s Scope) foldedParams(c int) (p foldedParams) {
	p.wq, p.bq = s.In("to_q").linearParams(c, c, false)
	p.wk, p.bk = s.In("to_k").linearParams(c, c, false)
	p.wv, p.bv = s.In("to_v").linearParams(c, c, false)
	p.wo, p.bo = s.In("to_out.0").linearParams(c, c, true)
	return p
}

// foldedAttention is SelfAttention with one head and weights that do not change: they are folded once.
func (s Scope) foldedAttention(x, residual *G.Node) *G.Node {
	c := x.Shape()[3]
	p := s.foldedParams(c)
	q := s.In("to_q to_k").folded(x, nil, func(w, b []float32, in [][]float32, scratch []float32) {
		kernel.Gemm(w, c, in[0], c, false, in[2], c, true, c, c, c, false, scratch)
		kernel.Gemm(b, c, in[1], c, false, in[2], c, true, 1, c, c, false, scratch)
	}, p.wq, p.bq, p.wk)
	h := s.attention(q, x, x, 1)
	return s.In("to_v to_out.0").folded(h, residual, func(w, b []float32, in [][]float32, scratch []float32) {
		kernel.Gemm(w, c, in[0], c, false, in[2], c, false, c, c, c, false, scratch)
		copy(b, in[3])
		kernel.Gemm(b, c, in[1], c, false, in[2], c, false, 1, c, c, true, scratch)
	}, p.wv, p.bv, p.wo, p.bo)
}

// foldedTraining is SelfAttention with one head and weights that have gradients: they are folded at every run, and the
// gradients of the folded weights unfolded. That of to_k's bias is zero, as it is in exact arithmetic.
func (s Scope) foldedTraining(x, residual *G.Node) *G.Node {
	c := x.Shape()[3]
	p := s.foldedParams(c)
	keys, values := s.In("to_q to_k"), s.In("to_v to_out.0")
	w := keys.weightProduct("weight", p.wq, p.wk, true, nil)
	b := keys.weightProduct("bias", p.bq, p.wk, true, p.bk)
	h := s.attention(keys.linear(x, w, b, nil, 2), x, x, 1)
	w = values.weightProduct("weight", p.wv, p.wo, false, nil)
	b = values.weightProduct("bias", p.bv, p.wo, false, nil)
	return values.linear(h, w, values.In("bias").Add(b, p.bo), residual, 2)
}

// weightProduct is a b, or a b^T, of a parameter a [C, C] or [C] and another, b [C, C]. Nothing depends on cancelled, if
// there is one: its gradient is zero.
func (s Scope) weightProduct(name string, a, b *G.Node, transposed bool, cancelled *G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	c := b.Shape()[0]
	shape := kernel.ConvShape{N: a.Shape().TotalSize() / c, H: 1, W: 1, C: c, K: c, R: 1, Stride: 1}
	plan, err := kernel.NewConv(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	// The three directions of a 1x1 convolution: x w, x w^T and x^T y.
	times := func(out, x, w []float32, scratch kernel.Scratch) { plan.Forward(out, x, w, nil, nil, nil, scratch) }
	timesT := func(out, x, w []float32, scratch kernel.Scratch) { plan.BackwardData(out, x, w, scratch) }
	outer := func(out, x, y []float32, scratch kernel.Scratch) { plan.BackwardWeights(out, nil, nil, x, y, scratch) }
	product := func(kind string, pass kernel.Pass, f func(out, x, y []float32, scratch kernel.Scratch), like *G.Node) *engine.Op {
		return &engine.Op{
			Name: s.prefix + "." + name + kind, Shape: like.Shape(), Scratch: plan.Scratch(), Convs: []kernel.ConvShape{shape}, Pass: pass,
			Kernel: func(call *engine.Call) { f(call.Out, call.In[0], call.In[1], call.Scratch) },
		}
	}
	op, da := product("", kernel.Forward, times, a), product(" dx", kernel.BackwardData, timesT, a)
	if transposed {
		op, da = product("", kernel.Forward, timesT, a), product(" dx", kernel.BackwardData, times, a)
	}
	in := G.Nodes{a, b}
	if cancelled != nil {
		in = append(in, cancelled)
	}
	op.Wrt = make([]bool, len(in))
	for i := range op.Wrt {
		op.Wrt[i] = true
	}
	op.Diff = func(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
		left, right := in[0], dy
		if transposed {
			left, right = dy, in[0]
		}
		grads := G.Nodes{s.apply(da, dy, in[1]), s.apply(product(" dw", kernel.WeightGradient, outer, in[1]), left, right)}
		if cancelled != nil {
			grads = append(grads, s.apply(&engine.Op{
				Name: s.prefix + "." + name + " zero", Shape: cancelled.Shape(), Method: "zero", Pass: kernel.WeightGradient,
				Kernel: func(call *engine.Call) { clear(call.Out) },
			}, dy))
		}
		return grads, s.err
	}
	return s.apply(op, in...)
}

// folded is x w + b (+ residual) for each pixel of x [N, H, W, C], where fold makes w [C, C] and b [C] from the
// parameters, once for all graphs that share the filters.
func (s Scope) folded(x, residual *G.Node, fold func(w, b []float32, params [][]float32, scratch []float32), params ...*G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	c := x.Shape()[3]
	shape, result := linearShape(x.Shape(), c)
	shape.FixedFilter = true
	plan, err := kernel.NewConv(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	s.kept += plan.PackedLen() + c
	var u, b []float32
	in := append(G.Nodes{x}, params...)
	op := &engine.Op{Name: s.prefix, Shape: result, Scratch: plan.Scratch(), Convs: []kernel.ConvShape{shape}, FLOPs: 2 * flops(shape)}
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
		plan.ForwardPacked(call.Out, call.In[0], u, b, nil, res, call.Scratch)
	}
	if residual != nil {
		in = append(in, residual)
		op.InPlace = []int{len(in) - 1}
	}
	return s.apply(op, in...)
}
