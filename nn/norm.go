package nn

import (
	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// NormOptions say what a group norm does beside normalising.
type NormOptions struct {
	Groups int
	Eps    float64
	SiLU   bool // y = z sigmoid(z)
	// ScaleShift [N, 2C] is the scale and the shift that a time embedding gives each channel:
	// z = z (1 + scale) + shift, before SiLU.
	ScaleShift *G.Node
}

// GroupNorm normalises each group of channels of each image of x [N, H, W, C] (Wu and He, 2018, eq. 1 and 7),
// with parameters weight and bias [C].
func (s Scope) GroupNorm(x *G.Node, o NormOptions) *G.Node {
	if s.err != nil {
		return nil
	}
	in := x.Shape()
	shape := kernel.GroupNormShape{
		N: in[0], HW: in[1] * in[2], C: in[3], Groups: o.Groups, Eps: o.Eps, SiLU: o.SiLU, ScaleShift: o.ScaleShift != nil,
	}
	plan, err := kernel.NewGroupNorm(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	n := &normOp{scope: s, shape: shape, plan: plan}
	inputs := G.Nodes{x, s.param("weight", Vector, Init{Kind: Ones}, in[3]), s.param("bias", Vector, Init{Kind: Zeros}, in[3])}
	if o.ScaleShift != nil {
		inputs = append(inputs, o.ScaleShift)
	}
	stats := shape.N * shape.Groups
	op := &engine.Op{
		Name: s.prefix, Shape: in, Kernel: n.forward, Scratch: plan.Scratch() + 2*stats, Extras: []int{stats, stats},
		Wrt: []bool{true, true, true, true}[:len(inputs)], Diff: n.diff,
	}
	if s.err != nil {
		return nil
	}
	return s.apply(op, inputs...)
}

type normOp struct {
	scope Scope
	shape kernel.GroupNormShape
	plan  *kernel.GroupNorm
}

// scaleShift is the fourth input, or nil.
func (n *normOp) scaleShift(in [][]float32) []float32 {
	if !n.shape.ScaleShift {
		return nil
	}
	return in[3]
}

func (n *normOp) forward(c *engine.Call) {
	mean, rstd, scratch := c.Extra[0], c.Extra[1], c.Scratch
	stats := n.shape.N * n.shape.Groups
	if mean == nil { // sampling: no backward pass will read them
		mean = scratch[len(scratch)-2*stats : len(scratch)-stats]
	}
	if rstd == nil {
		rstd = scratch[len(scratch)-stats:]
	}
	n.plan.Forward(c.Out, c.In[0], c.In[1], c.In[2], n.scaleShift(c.In), mean, rstd, scratch[:len(scratch)-2*stats])
}

// diff: one kernel makes the gradients of x, weight, bias and, with a time embedding, scale and shift.
func (n *normOp) diff(in G.Nodes, out, dy *G.Node) (G.Nodes, error) {
	s, stats := n.scope, n.shape.N*n.shape.Groups
	mean, rstd := s.extra(out, 0, stats), s.extra(out, 1, stats)
	if s.err != nil {
		return nil, s.err
	}
	k := len(in) // mean, rstd and dy come after the forward pass's inputs
	op := &engine.Op{
		Name: s.prefix + " dx", Shape: in[0].Shape(), Scratch: n.plan.Scratch(), InPlace: []int{k + 2},
		Extras: []int{n.shape.C, n.shape.C},
	}
	if n.shape.ScaleShift {
		op.Extras = append(op.Extras, 2*n.shape.N*n.shape.C)
	}
	op.Kernel = func(c *engine.Call) {
		var dss []float32
		if n.shape.ScaleShift {
			dss = c.Extra[2]
		}
		n.plan.Backward(c.Out, c.Extra[0], c.Extra[1], dss, c.In[k+2], c.In[0], c.In[1], c.In[2], n.scaleShift(c.In), c.In[k], c.In[k+1], c.Scratch)
	}
	dx := s.apply(op, append(append(G.Nodes(nil), in...), mean, rstd, dy)...)
	grads := G.Nodes{dx, s.extra(dx, 0, n.shape.C), s.extra(dx, 1, n.shape.C)}
	if n.shape.ScaleShift {
		grads = append(grads, s.extra(dx, 2, n.shape.N, 2*n.shape.C))
	}
	return grads, s.err
}
