package nn

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// SiLU is x sigmoid(x) of each element.
func (s Scope) SiLU(x *G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	vec := kernel.NewVec()
	return s.apply(&engine.Op{
		Name: s.prefix + ".silu", Shape: x.Shape(), Wrt: []bool{true},
		Kernel: func(c *engine.Call) { vec.SiLU(c.Out, c.In[0]) },
		Diff: func(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
			dx := s.apply(&engine.Op{
				Name: s.prefix + ".silu dx", Shape: in[0].Shape(), InPlace: []int{1},
				Kernel: func(c *engine.Call) { vec.SiLUBackward(c.Out, c.In[0], c.In[1]) },
			}, in[0], dy)
			return G.Nodes{dx}, s.err
		},
	}, x)
}

// Add is a + b of two nodes of one shape.
func (s Scope) Add(a, b *G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	vec := kernel.NewVec()
	return s.apply(&engine.Op{
		Name: s.prefix + ".add", Shape: a.Shape(), InPlace: []int{0, 1}, Wrt: []bool{true, true},
		Kernel: func(c *engine.Call) { vec.Add(c.Out, c.In[0], c.In[1]) },
		Diff:   func(_ G.Nodes, _, dy *G.Node) (G.Nodes, error) { return G.Nodes{dy, dy}, nil },
	}, a, b)
}

// Upsample doubles the rows and columns of x [N, H, W, C], each pixel repeated: nearest neighbour.
func (s Scope) Upsample(x *G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	vec, in := kernel.NewVec(), x.Shape()
	n, h, w, ch := in[0], in[1], in[2], in[3]
	return s.apply(&engine.Op{
		Name: s.prefix + ".upsample", Shape: tensor.Shape{n, 2 * h, 2 * w, ch}, Wrt: []bool{true},
		Kernel: func(c *engine.Call) { vec.Upsample(c.Out, c.In[0], n, h, w, ch) },
		Diff: func(_ G.Nodes, _, dy *G.Node) (G.Nodes, error) {
			dx := s.apply(&engine.Op{
				Name: s.prefix + ".upsample dx", Shape: in,
				Kernel: func(c *engine.Call) { vec.UpsampleBackward(c.Out, c.In[0], n, h, w, ch) },
			}, dy)
			return G.Nodes{dx}, s.err
		},
	}, x)
}
