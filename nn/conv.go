package nn

import (
	"fmt"

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
	Size     int  // rows and columns of the filter: 1 (default) or 3
	Stride   int  // 1 (default) or 2
	Upsample bool // first double x's rows and columns, each pixel repeated: nearest neighbour
	Pad      Padding
	PerImage *G.Node // [N, out], added to each pixel of an image: the time embedding
	Residual *G.Node // [N, H, W, out], added to the result
	Skip     *G.Node // [N, H, W, B], for size 1: channels that follow x's, as if the two were joined
	ZeroInit bool    // start with zero weights and bias, so that the layer starts by adding nothing
}

// Conv is a convolution with bias of x [N, H, W, C] to out channels, with parameters weight [size, size, C, out]
// and bias [out].
func (s Scope) Conv(x *G.Node, out int, o ConvOptions) *G.Node {
	if s.err != nil {
		return nil
	}
	in := x.Shape()
	if o.Skip != nil {
		in[3] += o.Skip.Shape()[3]
	}
	shape := kernel.ConvShape{
		N: in[0], H: in[1], W: in[2], C: in[3], K: out, R: max(o.Size, 1), Stride: max(o.Stride, 1),
		PadTop: o.Pad.Top, PadLeft: o.Pad.Left, PadBottom: o.Pad.Bottom, PadRight: o.Pad.Right, Upsample: o.Upsample,
	}
	fanIn := shape.R * shape.R * shape.C
	w := s.param("weight", Filter, weightInit(fanIn, o.ZeroInit), shape.R, shape.R, shape.C, out)
	b := s.param("bias", Vector, weightInit(fanIn, o.ZeroInit), out)
	return s.conv(shape, tensor.Shape{in[0], shape.OutH(), shape.OutW(), out}, x, w, b, o.PerImage, o.Residual, o.Skip, 1)
}

// Linear is x w + b for x [rows, in], or for each pixel of x [N, H, W, in], with parameters weight [in, out] and
// bias [out]. The residual, if there is one, is added.
func (s Scope) Linear(x *G.Node, out int, residual *G.Node, zeroInit bool) *G.Node {
	if s.err != nil {
		return nil
	}
	shape, result := linearShape(x.Shape(), out)
	w, b := s.linearParams(shape.C, out, zeroInit)
	return s.conv(shape, result, x, w, b, nil, residual, nil, 1)
}

// linear is Linear with given weights, which stand for those of so many layers.
func (s Scope) linear(x, w, b, residual *G.Node, layers int) *G.Node {
	if s.err != nil {
		return nil
	}
	shape, result := linearShape(x.Shape(), w.Shape()[1])
	return s.conv(shape, result, x, w, b, nil, residual, nil, layers)
}

// linearParams are the parameters of a linear layer.
func (s Scope) linearParams(in, out int, zeroInit bool) (w, b *G.Node) {
	w = s.param("weight", Matrix, weightInit(in, zeroInit), in, out)
	b = s.param("bias", Vector, weightInit(in, zeroInit), out)
	return w, b
}

// Embedding is x w for x [rows, in]: with one-hot rows, the lookup of a table, with the parameter weight
// [in, out].
func (s Scope) Embedding(x *G.Node, out int) *G.Node {
	if s.err != nil {
		return nil
	}
	shape, result := linearShape(x.Shape(), out)
	w := s.param("weight", Table, Init{Kind: Normal}, shape.C, out)
	return s.conv(shape, result, x, w, nil, nil, nil, nil, 1)
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

// conv applies the operation: the inputs are x, w and those of b, perImage, residual and skip that are not nil. It
// counts as the operations of so many layers.
func (s Scope) conv(shape kernel.ConvShape, result tensor.Shape, x, w, b, perImage, residual, skip *G.Node, layers int) *G.Node {
	if s.err != nil {
		return nil
	}
	c := &convOp{scope: s, shape: shape, layers: float64(layers)}
	in := G.Nodes{x, w}
	c.bias = c.input(&in, b)
	c.perImage = c.input(&in, perImage)
	c.residual = c.input(&in, residual)
	switch {
	case skip != nil && shape.R > 1:
		return s.fail("%s: a convolution of two tensors has a filter of size 1, not %d", s.prefix, shape.R)
	case s.collect:
		return s.apply(&engine.Op{Name: s.prefix, Shape: result}, in...)
	}
	c.addPart(0, x)
	if skip != nil {
		c.addPart(c.input(&in, skip), skip)
	}
	if s.err != nil {
		return nil
	}
	op := &engine.Op{
		Name: s.prefix, Shape: result, Kernel: c.forward, FLOPs: c.layers * flops(shape), Wrt: make([]bool, len(in)), Diff: c.diff,
	}
	for i := range op.Wrt {
		op.Wrt[i] = true
	}
	packed := 0
	for _, p := range c.parts {
		op.Wrt[p.x] = s.needsGrad(in[p.x])
		op.Convs = append(op.Convs, p.shape)
		op.Scratch = op.Scratch.Plus(p.plan.Scratch())
		packed += p.plan.PackedLen()
	}
	if c.residual > 0 {
		op.InPlace = []int{c.residual}
	}
	if s.Filters != nil && packed > 0 {
		c.op, op.Kernel = op, c.packed
		s.kept += packed
	}
	return s.apply(op, in...)
}

// convOp is one convolution of a graph; its backward operations share its plans, since a graph runs one
// operation at a time.
type convOp struct {
	scope                    Scope
	shape                    kernel.ConvShape
	layers                   float64 // how often its operations count
	parts                    []convPart
	bias, perImage, residual int  // positions among the inputs, 0 where absent
	looked, beyond           bool // whether transformed filters were asked for, and were beyond the limit
	op                       *engine.Op
}

// convPart is the convolution of some of the input channels, those of one tensor: all, but where there is a skip.
type convPart struct {
	shape      kernel.ConvShape
	plan       *kernel.Conv
	x          int // position among the inputs
	first, end int // its part of the filter
	filter     []float32
}

func (c *convOp) input(in *G.Nodes, n *G.Node) int {
	if n == nil {
		return 0
	}
	*in = append(*in, n)
	return len(*in) - 1
}

// addPart adds the convolution of the channels of x.
func (c *convOp) addPart(position int, x *G.Node) {
	p := convPart{shape: c.shape, x: position}
	p.shape.C, p.shape.FixedFilter = x.Shape()[x.Dims()-1], c.scope.Filters != nil
	if len(c.parts) > 0 {
		p.first = c.parts[len(c.parts)-1].end
	}
	p.end = p.first + p.shape.R*p.shape.R*p.shape.C*p.shape.K
	var err error
	if p.plan, err = kernel.NewConv(p.shape); err != nil {
		c.scope.fail("%s: %v", c.scope.prefix, err)
	}
	c.parts = append(c.parts, p)
}

func flops(s kernel.ConvShape) float64 {
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
	bias, perImage, residual := optional(call, c.bias), optional(call, c.perImage), optional(call, c.residual)
	p := &c.parts[0]
	x, w := call.In[p.x], call.In[1][p.first:p.end]
	if len(c.parts) == 1 {
		p.plan.Forward(call.Out, x, w, bias, perImage, residual, call.Scratch)
		return
	}
	q := &c.parts[1]
	p.plan.ForwardPair(q.plan, call.Out, x, call.In[q.x], w, call.In[1][q.first:q.end], bias, perImage, residual, call.Scratch)
}

// packed takes the packed filters from the graph's, at the first run.
func (c *convOp) packed(call *engine.Call) {
	if !c.looked {
		c.looked = true
		for i := range c.parts {
			p := &c.parts[i]
			p.filter = c.scope.Filters.get(fmt.Sprintf("%s/%d", c.scope.prefix, i), p, call.In[1][p.first:p.end])
			if p.filter == nil {
				c.beyond = true
				c.op.Method = "but not kept: packed at every run"
			}
		}
	}
	if c.beyond {
		c.forward(call)
		return
	}
	bias, perImage, residual := optional(call, c.bias), optional(call, c.perImage), optional(call, c.residual)
	p := &c.parts[0]
	if len(c.parts) == 1 {
		p.plan.ForwardPacked(call.Out, call.In[p.x], p.filter, bias, perImage, residual, call.Scratch)
		return
	}
	q := &c.parts[1]
	p.plan.ForwardPairPacked(q.plan, call.Out, call.In[p.x], call.In[q.x], p.filter, q.filter, bias, perImage, residual, call.Scratch)
}

// diff: the gradients of x, w and b are convolutions too; that of perImage is dy summed over each image's
// pixels, and that of the residual is dy itself.
func (c *convOp) diff(in G.Nodes, _, dy *G.Node) (G.Nodes, error) {
	s := c.scope
	grads := make(G.Nodes, len(in))
	for _, p := range c.parts {
		if s.needsGrad(in[p.x]) {
			grads[p.x] = s.apply(&engine.Op{
				Name: s.prefix + " dx", Shape: in[p.x].Shape(), Scratch: p.plan.Scratch(),
				Convs: []kernel.ConvShape{p.shape}, Pass: kernel.BackwardData, FLOPs: c.layers * flops(p.shape),
				Kernel: func(call *engine.Call) {
					p.plan.BackwardData(call.Out, call.In[0], call.In[1][p.first:p.end], call.Scratch)
				},
			}, dy, in[1])
		}
	}
	dw := c.weightGradient(in, dy)
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

// weightGradient is the gradient of w, with those of the bias and of perImage as by-products.
func (c *convOp) weightGradient(in G.Nodes, dy *G.Node) *G.Node {
	op := &engine.Op{
		Name: c.scope.prefix + " dw", Shape: in[1].Shape(), Pass: kernel.WeightGradient, FLOPs: c.layers * flops(c.shape),
		Extras: []int{c.shape.K, c.shape.N * c.shape.K},
		Kernel: func(call *engine.Call) {
			db, dtemb := call.Extra[0], call.Extra[1]
			for i, p := range c.parts {
				p.plan.BackwardWeights(call.Out[p.first:p.end], db, dtemb, call.In[1+i], call.In[0], call.Scratch)
				db, dtemb = nil, nil
			}
		},
	}
	inputs := G.Nodes{dy}
	for _, p := range c.parts {
		op.Convs = append(op.Convs, p.shape)
		op.Scratch = op.Scratch.Max(p.plan.Scratch())
		inputs = append(inputs, in[p.x])
	}
	return c.scope.apply(op, inputs...)
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
