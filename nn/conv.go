package nn

import (
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// Padding is a number of zero rows and columns around an image.
type Padding struct{ Top, Left, Bottom, Right int }

// Same keeps the size of an image under a 3x3 convolution.
var Same = Padding{1, 1, 1, 1}

// ConvOptions say what a convolution does beside its filter. The zero value is a 1x1 convolution with zero
// padding, stride 1 and nothing added.
type ConvOptions struct {
	Size     int // rows and columns of the filter: 1 (default) or 3
	Stride   int // 1 (default) or 2
	Pad      Padding
	PerImage *G.Node // [N, out], added to each pixel of an image: the time embedding
	Residual *G.Node // [N, H, W, out], added to the result
	ZeroInit bool    // start with zero weights and bias, so that the layer starts by adding nothing
}

// Conv is a convolution with bias of x [N, H, W, C] to out channels, with parameters weight [size, size, C, out]
// and bias [out].
func (s Scope) Conv(x *G.Node, out int, o ConvOptions) *G.Node {
	if s.err != nil {
		return nil
	}
	in := x.Shape()
	shape := kernel.ConvShape{
		N: in[0], H: in[1], W: in[2], C: in[3], K: out, R: max(o.Size, 1), Stride: max(o.Stride, 1),
		PadTop: o.Pad.Top, PadLeft: o.Pad.Left, PadBottom: o.Pad.Bottom, PadRight: o.Pad.Right,
	}
	fanIn := shape.R * shape.R * shape.C
	w := s.param("weight", Filter, weightInit(fanIn, o.ZeroInit), shape.R, shape.R, shape.C, out)
	b := s.param("bias", Vector, weightInit(fanIn, o.ZeroInit), out)
	return s.conv(shape, tensor.Shape{in[0], shape.OutH(), shape.OutW(), out}, x, w, b, o.PerImage, o.Residual)
}

// Linear is x w + b for x [rows, in], or for each pixel of x [N, H, W, in], with parameters weight [in, out] and
// bias [out]. The residual, if there is one, is added.
func (s Scope) Linear(x *G.Node, out int, residual *G.Node, zeroInit bool) *G.Node {
	if s.err != nil {
		return nil
	}
	shape, result := linearShape(x.Shape(), out)
	w := s.param("weight", Matrix, weightInit(shape.C, zeroInit), shape.C, out)
	b := s.param("bias", Vector, weightInit(shape.C, zeroInit), out)
	return s.conv(shape, result, x, w, b, nil, residual)
}

// Embedding is x w for x [rows, in]: with one-hot rows, the lookup of a table, with the parameter weight
// [in, out].
func (s Scope) Embedding(x *G.Node, out int) *G.Node {
	if s.err != nil {
		return nil
	}
	shape, result := linearShape(x.Shape(), out)
	w := s.param("weight", Table, Init{Kind: Normal}, shape.C, out)
	return s.conv(shape, result, x, w, nil, nil, nil)
}

// linearShape is the 1x1 convolution that a linear layer is.
func linearShape(in tensor.Shape, out int) (kernel.ConvShape, tensor.Shape) {
	shape := kernel.ConvShape{N: in[0], H: 1, W: 1, C: in[len(in)-1], K: out, R: 1, Stride: 1}
	if len(in) == 4 {
		shape.H, shape.W = in[1], in[2]
	}
	result := in.Clone()
	result[len(in)-1] = out
	return shape, result
}

func weightInit(fanIn int, zero bool) Init {
	if zero {
		return Init{Kind: Zeros}
	}
	return Init{Kind: Uniform, FanIn: fanIn}
}

// conv applies the operation: the inputs are x, w and those of b, perImage and residual that are not nil.
func (s Scope) conv(shape kernel.ConvShape, result tensor.Shape, x, w, b, perImage, residual *G.Node) *G.Node {
	if s.err != nil {
		return nil
	}
	plan, err := kernel.NewConv(shape)
	if err != nil {
		return s.fail("%s: %v", s.prefix, err)
	}
	c := &convOp{scope: s, shape: shape, plan: plan}
	in := G.Nodes{x, w}
	c.bias = c.input(&in, b)
	c.perImage = c.input(&in, perImage)
	c.residual = c.input(&in, residual)
	op := &engine.Op{
		Name: s.prefix, Shape: result, Kernel: c.forward, Scratch: plan.Scratch(), FLOPs: c.flops(),
		Wrt: make([]bool, len(in)), Diff: c.diff,
	}
	for i := range op.Wrt {
		op.Wrt[i] = i > 0 || s.needsGrad(x)
	}
	if c.residual > 0 {
		op.InPlace = []int{c.residual}
	}
	if !s.train && plan.PreparedLen() > 0 {
		op.Kernel = c.prepared
	}
	return s.apply(op, in...)
}

// convOp is one convolution of a graph; its backward operations share its plan, since a graph runs one
// operation at a time.
type convOp struct {
	scope                    Scope
	shape                    kernel.ConvShape
	plan                     *kernel.Conv
	bias, perImage, residual int // positions among the inputs, 0 where absent
	filter                   []float32
}

func (c *convOp) input(in *G.Nodes, n *G.Node) int {
	if n == nil {
		return 0
	}
	*in = append(*in, n)
	return len(*in) - 1
}

func (c *convOp) flops() float64 {
	s := c.shape
	return 2 * float64(s.N) * float64(s.OutH()) * float64(s.OutW()) * float64(s.R*s.R) * float64(s.C) * float64(s.K)
}

// optional is input i of the call, or nil when the convolution has no such input.
func optional(c *engine.Call, i int) []float32 {
	if i == 0 {
		return nil
	}
	return c.In[i]
}

func (c *convOp) forward(call *engine.Call) {
	c.plan.Forward(call.Out, call.In[0], call.In[1], optional(call, c.bias), optional(call, c.perImage), optional(call, c.residual), call.Scratch)
}

// prepared transforms the filter at the first run only: a graph that is not for training has fixed weights.
func (c *convOp) prepared(call *engine.Call) {
	if c.filter == nil {
		c.filter = make([]float32, c.plan.PreparedLen())
		c.plan.Prepare(c.filter, call.In[1])
	}
	c.plan.ForwardPrepared(call.Out, call.In[0], c.filter, call.In[1], optional(call, c.bias), optional(call, c.perImage), optional(call, c.residual), call.Scratch)
}

// diff: the gradients of x, w and b are convolutions too; that of perImage is dy summed over each image's
// pixels, and that of the residual is dy itself.
func (c *convOp) diff(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
	s := c.scope
	grads := make(G.Nodes, len(in))
	if s.needsGrad(in[0]) {
		grads[0] = s.apply(&engine.Op{
			Name: s.prefix + " dx", Shape: in[0].Shape(), Scratch: c.plan.Scratch(), FLOPs: c.flops(),
			Kernel: func(call *engine.Call) {
				c.plan.BackwardData(call.Out, call.In[0], call.In[1], call.Scratch)
			},
		}, dy, in[1])
	}
	dw := s.apply(&engine.Op{
		Name: s.prefix + " dw", Shape: in[1].Shape(), Scratch: c.plan.Scratch(), FLOPs: c.flops(),
		Extras: []int{c.shape.K, c.shape.N * c.shape.K},
		Kernel: func(call *engine.Call) {
			c.plan.BackwardWeights(call.Out, call.Extra[0], call.Extra[1], call.In[0], call.In[1], call.Scratch)
		},
	}, in[0], dy)
	if s.err != nil {
		return nil, s.err
	}
	grads[1] = dw
	if c.bias > 0 {
		grads[c.bias] = s.extra(dw, 0, c.shape.K)
	}
	if c.perImage > 0 {
		grads[c.perImage] = s.extra(dw, 1, c.shape.N, c.shape.K)
	}
	if c.residual > 0 {
		grads[c.residual] = dy
	}
	return grads, s.err
}

func (g *Graph) extra(n *G.Node, i int, shape ...int) *G.Node {
	if g.err != nil {
		return nil
	}
	e, err := engine.Extra(n, i, shape...)
	if err != nil {
		return g.fail("%v", err)
	}
	return e
}
