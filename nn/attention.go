package nn

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// SelfAttention is residual + out(softmax(q k^T / sqrt(d)) v), where q, k and v are linear in x [N, H, W, C], with the
// parameters to_q, to_k, to_v and to_out.0, each a weight [C, C] and a bias [C]. out starts at zero.
func (s Scope) SelfAttention(x, residual *G.Node, heads int) *G.Node {
	if s.err != nil {
		return nil
	}
	in := x.Shape()
	channels := in[3]
	switch {
	case heads == 1 && s.Filters != nil:
		return s.foldedAttention(x, residual)
	case heads == 1 && in[1]*in[2] >= channels: // with fewer pixels the products of weights cost more than they save
		return s.foldedTraining(x, residual)
	}
	q := s.In("to_q").Linear(x, channels, nil, false)
	k := s.In("to_k").Linear(x, channels, nil, false)
	v := s.In("to_v").Linear(x, channels, nil, false)
	return s.In("to_out.0").Linear(s.attention(q, k, v, heads), channels, residual, true)
}

// attention is softmax(q k^T / sqrt(d)) v for each head (Vaswani et al., 2017, eq. 1), over the pixels of each
// image. q, k, v and the result are [N, H, W, C]; each head has C/heads consecutive channels.
func (s Scope) attention(q, k, v *G.Node, heads int) *G.Node {
	if s.err != nil {
		return nil
	}
	in := q.Shape()
	shape := kernel.AttentionShape{N: in[0], S: in[1] * in[2], Heads: heads, D: in[3] / heads}
	plan, err := kernel.NewAttention(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	rows := shape.N * shape.Heads * shape.S // one log-sum-exp each
	extras := []int{rows}
	if plan.Kept() > 0 {
		extras = append(extras, plan.Kept())
	}
	product := 2 * float64(shape.N*shape.Heads) * float64(shape.S) * float64(shape.S) * float64(shape.D)
	op := &engine.Op{
		Name: s.prefix + ".attention", Shape: in, Scratch: plan.Scratch().With(rows), Extras: extras,
		Method: "attention by " + plan.Algorithm(), FLOPs: 2 * product, Wrt: []bool{true, true, true},
		Kernel: func(c *engine.Call) {
			lse, scratch := c.Extra[0], c.Scratch
			if lse == nil {
				lse = scratch.Take(rows)
			}
			var kept []float32
			if len(extras) > 1 {
				kept = c.Extra[1]
			}
			plan.Forward(c.Out, lse, kept, c.In[0], c.In[1], c.In[2], scratch)
		},
	}
	op.Diff = func(in G.Nodes, out, dy *G.Node) (G.Nodes, error) {
		in = append(slices.Clone(in), out, dy)
		for i, n := range extras {
			in = append(in, s.extra(out, i, n))
		}
		if s.err != nil {
			return nil, s.err
		}
		size := in[0].Shape().TotalSize()
		dq := s.apply(&engine.Op{
			Name: s.prefix + ".attention dq", Shape: in[0].Shape(), Scratch: plan.Scratch(), Extras: []int{size, size},
			Method: op.Method, Pass: kernel.BackwardData, FLOPs: 5 * product,
			Kernel: func(c *engine.Call) {
				var kept []float32
				if len(extras) > 1 {
					kept = c.In[6]
				}
				plan.Backward(c.Out, c.Extra[0], c.Extra[1], c.In[4], c.In[3], c.In[5], kept, c.In[0], c.In[1], c.In[2], c.Scratch)
			},
		}, in...)
		shape := in[0].Shape()
		return G.Nodes{dq, s.extra(dq, 0, shape...), s.extra(dq, 1, shape...)}, s.err
	}
	return s.apply(op, q, k, v)
}
