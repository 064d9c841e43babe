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
	Skip       *G.Node // [N, H, W, B]: channels that follow x's, as if the two were joined; C is then the sum
}

// GroupNorm normalises each group of channels of each image of x [N, H, W, C] (Wu and He, 2018, eq. 1 and 7),
// with parameters weight and bias [C].
func (s Scope) GroupNorm(x *G.Node, o NormOptions) *G.Node {
	if s.err != nil {
		return nil
	}
	in := x.Shape()
	inputs := G.Nodes{x}
	if o.Skip != nil {
		in[3] += o.Skip.Shape()[3]
		inputs = append(inputs, o.Skip)
	}
	shape := kernel.GroupNormShape{
		N: in[0], HW: in[1] * in[2], C: in[3], Second: in[3] - x.Shape()[3], Groups: o.Groups, Eps: o.Eps,
		SiLU: o.SiLU, ScaleShift: o.ScaleShift != nil,
	}
	plan, err := kernel.NewGroupNorm(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	n := &normOp{scope: s, shape: shape, plan: plan}
	inputs = append(inputs, s.param("weight", Vector, Init{Kind: Ones}, in[3]), s.param("bias", Vector, Init{Kind: Zeros}, in[3]))
	if o.ScaleShift != nil {
		inputs = append(inputs, o.ScaleShift)
	}
	if s.err != nil {
		return nil
	}
	stats := shape.N * shape.Groups
	return s.apply(&engine.Op{
		Name: s.prefix, Shape: in, Kernel: n.forward, Scratch: plan.Scratch().With(stats).With(stats), Extras: []int{stats, stats},
		Wrt: []bool{true, true, true, true, true}[:len(inputs)], Diff: n.diff, Method: normMethod,
	}, inputs...)
}

const normMethod = "group norm"

type normOp struct {
	scope Scope
	shape kernel.GroupNormShape
	plan  *kernel.GroupNorm
	grads [5][]float32 // of the inputs, during the backward pass
}

// unpack names the inputs of the forward pass, which are also the first ones of the backward pass.
func (n *normOp) unpack(in [][]float32) (x, skip, weight, bias, scaleShift []float32) {
	x, in = in[0], in[1:]
	if n.shape.Second > 0 {
		skip, in = in[0], in[1:]
	}
	if n.shape.ScaleShift {
		scaleShift = in[2]
	}
	return x, skip, in[0], in[1], scaleShift
}

func (n *normOp) forward(c *engine.Call) {
	mean, rstd, scratch := c.Extra[0], c.Extra[1], c.Scratch
	stats := n.shape.N * n.shape.Groups
	if mean == nil { // sampling: no backward pass will read them
		mean = scratch.Take(stats)
	}
	if rstd == nil {
		rstd = scratch.Take(stats)
	}
	x, skip, weight, bias, scaleShift := n.unpack(c.In)
	n.plan.Forward(c.Out, x, skip, weight, bias, scaleShift, mean, rstd, scratch)
}

// diff: one kernel makes the gradients of x, skip, weight, bias and, with a time embedding, scale and shift. The
// node is that of x; the others are its by-products.
func (n *normOp) diff(in G.Nodes, out, dy *G.Node) (G.Nodes, error) {
	s, stats := n.scope, n.shape.N*n.shape.Groups
	mean, rstd := s.extra(out, 0, stats), s.extra(out, 1, stats)
	if s.err != nil {
		return nil, s.err
	}
	k := len(in) // mean, rstd and dy come after the forward pass's inputs
	op := &engine.Op{Name: s.prefix + " dx", Shape: in[0].Shape(), Scratch: n.plan.Scratch(), Adds: 1, Method: normMethod, Pass: kernel.BackwardData}
	for _, v := range in[1:] {
		op.Extras = append(op.Extras, v.Shape().TotalSize())
	}
	if n.shape.Second == 0 {
		op.InPlace = []int{k + 2}
	} else {
		op.Adds = 2
	}
	op.Kernel = func(c *engine.Call) {
		x, skip, weight, bias, scaleShift := n.unpack(c.In)
		dx, dskip, dweight, dbias, dscaleShift := n.unpack(append(append(n.grads[:0], c.Out), c.Extra...))
		add := [2]bool{c.Add, n.shape.Second > 0 && c.AddExtra[0]}
		n.plan.Backward(dx, dskip, add, dweight, dbias, dscaleShift, c.In[k+2], x, skip, weight, bias, scaleShift, c.In[k], c.In[k+1], c.Scratch)
	}
	dx := s.apply(op, append(append(G.Nodes(nil), in...), mean, rstd, dy)...)
	grads := G.Nodes{dx}
	for i, v := range in[1:] {
		grads = append(grads, s.extra(dx, i, v.Shape()...))
	}
	return grads, s.err
}
