package nn

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// PixelMean is the mean over the pixels of x [N, H, W, C], [N, C]: global average pooling (Lin et al., 2014, section 3.2).
func (s Scope) PixelMean(x *G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	in := x.Shape()
	mean := kernel.NewPixelMean(in[0], in[1]*in[2], in[3])
	return s.apply(&engine.Op{
		Name: s.prefix + ".mean", Shape: tensor.Shape{in[0], in[3]}, Method: "mean of pixels", Wrt: []bool{true},
		Kernel: func(c *engine.Call) { mean.Forward(c.Out, c.In[0]) },
		Diff: func(_ G.Nodes, _, dy *G.Node) (G.Nodes, error) {
			dx := s.apply(&engine.Op{
				Name: s.prefix + ".mean dx", Shape: in, Method: "mean of pixels", Pass: kernel.BackwardData,
				Kernel: func(c *engine.Call) { mean.Backward(c.Out, c.In[0]) },
			}, dy)
			return G.Nodes{dx}, s.err
		},
	}, x)
}
