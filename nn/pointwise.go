package nn

import (
	G "gorgonia.org/gorgonia"

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
		Name: s.prefix + ".silu", Shape: x.Shape(), Method: "SiLU", Wrt: []bool{true},
		Kernel: func(c *engine.Call) { vec.SiLU(c.Out, c.In[0]) },
		Diff: func(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
			dx := s.apply(&engine.Op{
				Name: s.prefix + ".silu dx", Shape: in[0].Shape(), Method: "SiLU", Pass: kernel.BackwardData, InPlace: []int{1},
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
		Name: s.prefix + ".add", Shape: a.Shape(), Method: "add", InPlace: []int{0, 1}, Wrt: []bool{true, true},
		Kernel: func(c *engine.Call) { vec.Add(c.Out, c.In[0], c.In[1]) },
		Diff:   func(_ G.Nodes, _, dy *G.Node) (G.Nodes, error) { return G.Nodes{dy, dy}, nil },
	}, a, b)
}
