package nn

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// SquaredError is the scalar sum_i weight[i] |pred_i - target_i|^2 over the images i of pred and target
// [N, H, W, C]. With weight 1/(N H W C) it is the mean squared error, L_simple (Ho et al., 2020, eq. 14).
// perImage [N] gets each image's mean squared error at every run. Only pred has a gradient.
func (s Scope) SquaredError(pred, target, weight *G.Node, perImage []float32) *G.Node {
	if s.err != nil {
		return nil
	}
	shape := pred.Shape()
	loss := kernel.NewLoss(shape[0], shape.TotalSize()/shape[0])
	return s.apply(&engine.Op{
		Name: s.prefix + ".loss", Shape: tensor.ScalarShape(), Method: "squared error", Wrt: []bool{true, false, false},
		Kernel: func(c *engine.Call) { c.Out[0] = loss.Forward(perImage, c.In[0], c.In[1], c.In[2]) },
		Diff: func(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
			dx := s.apply(&engine.Op{
				Name: s.prefix + ".loss dx", Shape: shape, Method: "squared error", Pass: kernel.BackwardData, InPlace: []int{0},
				Kernel: func(c *engine.Call) { loss.Backward(c.Out, c.In[0], c.In[1], c.In[2], c.In[3][0]) },
			}, in[0], in[1], in[2], dy)
			return G.Nodes{dx, nil, nil}, s.err
		},
	}, pred, target, weight)
}

// CrossEntropy is the scalar sum_i weight[i] * -sum_k target[i,k] log p[i,k] over the images i of logits and target
// [N, classes], where p[i] is the softmax of image i's logits. With one-hot targets and weight 1/N it is the mean negative
// log-likelihood of the labels. perImage [N] gets each image's own at every run. Only logits has a gradient.
func (s Scope) CrossEntropy(logits, target, weight *G.Node, perImage []float32) *G.Node {
	if s.err != nil {
		return nil
	}
	shape := logits.Shape()
	loss := kernel.NewCrossEntropy(shape[0], shape[1])
	return s.apply(&engine.Op{
		Name: s.prefix + ".loss", Shape: tensor.ScalarShape(), Method: "cross-entropy", Wrt: []bool{true, false, false},
		Kernel: func(c *engine.Call) { c.Out[0] = loss.Forward(perImage, c.In[0], c.In[1], c.In[2]) },
		Diff: func(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
			dx := s.apply(&engine.Op{
				Name: s.prefix + ".loss dx", Shape: shape, Method: "cross-entropy", Pass: kernel.BackwardData, InPlace: []int{0},
				Kernel: func(c *engine.Call) { loss.Backward(c.Out, c.In[0], c.In[1], c.In[2], c.In[3][0]) },
			}, in[0], in[1], in[2], dy)
			return G.Nodes{dx, nil, nil}, s.err
		},
	}, logits, target, weight)
}
