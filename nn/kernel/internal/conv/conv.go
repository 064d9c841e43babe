package conv

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/direct"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/winograd"
)

// Conv is a plan for the convolution of one shape in its three passes. It serves
// one goroutine at a time. Its slices must have the lengths that the shape implies:
//
//	x, dx [N, H, W, C]    y, dy, res [N, OutH, OutW, K]    w, dw [R, R, C, K]
//	bias, db [K]          temb, dtemb [N, K]
type Conv struct {
	forward       convolver // from a packed filter
	newForward    perCall   // from a filter that is new at every call
	backwardData  perCall
	weights       gradient
	sums          *direct.PixelSums
	doubled       *doubled // if not nil, does it all, and what is above is nil
	scratchLength parallel.ScratchSize
}

// New makes a plan of shape s for a machine; it returns an error when the shape makes no sense.
func New(s shape.Conv, c cpu.Info) (*Conv, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return newFor(s, parallel.Threads(), c), nil
}

// newFor makes a plan for a machine and a number of threads.
func newFor(s shape.Conv, threads int, c cpu.Info) *Conv {
	forward := Choose(s, Forward, threads, c)
	if forward.Doubled {
		d := newDoubled(s, threads, c)
		return &Conv{doubled: d, scratchLength: d.large.scratchLength.With(d.floats())}
	}
	p := &Conv{sums: direct.NewPixelSums(s.N, s.OutH()*s.OutW(), s.K, threads, c)}
	p.forward = newConvolver(s, forward, false, threads, c)
	p.newForward = newPerCall(p.forward, forward)
	data := Choose(s, BackwardData, threads, c)
	p.backwardData = newPerCall(newConvolver(s, data, true, threads, c), data)
	p.weights = newGradient(s, Choose(s, WeightGradient, threads, c), threads, c)
	for _, part := range []interface{ Scratch() parallel.ScratchSize }{p.forward, p.newForward, p.backwardData, p.weights, p.sums} {
		p.scratchLength = p.scratchLength.Max(part.Scratch())
	}
	return p
}

// convolver computes a convolution, dst = src * w + bias + temb + add, or its input's gradient, from a packed filter.
type convolver interface {
	PackedLen() int // floats of the packed filter
	Scratch() parallel.ScratchSize
	Pack(u, w []float32)
	Run(dst, src, u, bias, temb, add []float32, scratch parallel.Scratch)
}

func newConvolver(s shape.Conv, a Algorithm, transposed bool, threads int, c cpu.Info) convolver {
	switch a.Method {
	case Winograd:
		return winograd.New(s, a.Family, transposed, a.Packing == Streamed, threads, c)
	case FewChannels:
		return direct.NewFew(s, transposed, threads, c)
	}
	return direct.NewGather(s, transposed, threads, c)
}

// perCall is a convolver for a filter that is new at every call.
type perCall interface {
	Scratch() parallel.ScratchSize
	Run(dst, src, w, bias, temb, add []float32, scratch parallel.Scratch)
}

func newPerCall(c convolver, a Algorithm) perCall {
	if g, ok := c.(*winograd.Conv); ok && a.Packing == PackedPanels {
		return winograd.NewPanels(g)
	}
	return packFirst{c}
}

// packFirst has the threads pack the filter and then run the convolver.
type packFirst struct{ convolver }

func (p packFirst) Scratch() parallel.ScratchSize { return p.convolver.Scratch().With(p.PackedLen()) }

func (p packFirst) Run(dst, src, w, bias, temb, add []float32, scratch parallel.Scratch) {
	u := scratch.Take(p.PackedLen())
	p.Pack(u, w)
	p.convolver.Run(dst, src, u, bias, temb, add, scratch)
}

// gradient computes the gradient of a filter, and of the bias and the time embedding where they are not nil.
type gradient interface {
	Scratch() parallel.ScratchSize
	Run(dw, db, dtemb, x, dy []float32, scratch parallel.Scratch)
}

func newGradient(s shape.Conv, a Algorithm, threads int, c cpu.Info) gradient {
	mode := direct.TapByTap
	switch a.Method {
	case Winograd:
		return winograd.NewWeights(s, a.Family, threads, c)
	case GEMM:
		mode = direct.Matrix
	case Im2col:
		mode = direct.Im2col
	}
	return direct.NewOuter(s, mode, a.Swapped, threads, c)
}

// Scratch is how much scratch each of the calls needs.
func (c *Conv) Scratch() parallel.ScratchSize { return c.scratchLength }

// Forward computes y = x * w + bias + temb + res; bias, temb and res may be nil, and
// y may be res.
func (c *Conv) Forward(y, x, w, bias, temb, res []float32, scratch parallel.Scratch) {
	if c.doubled != nil {
		x = c.doubled.upsample(x, &scratch)
		c.doubled.large.Forward(y, x, w, bias, temb, res, scratch)
		return
	}
	c.newForward.Run(y, x, w, bias, temb, res, scratch)
}

// PackedLen is the number of floats of a packed filter.
func (c *Conv) PackedLen() int {
	if c.doubled != nil {
		return c.doubled.large.PackedLen()
	}
	return c.forward.PackedLen()
}

// Pack writes the form of the filter w that ForwardPacked reads to u.
func (c *Conv) Pack(u, w []float32) {
	if c.doubled != nil {
		c.doubled.large.Pack(u, w)
		return
	}
	c.forward.Pack(u, w)
}

// ForwardPacked is Forward with a filter that was packed once; it gives the same bits.
func (c *Conv) ForwardPacked(y, x, u, bias, temb, res []float32, scratch parallel.Scratch) {
	if c.doubled != nil {
		x = c.doubled.upsample(x, &scratch)
		c.doubled.large.ForwardPacked(y, x, u, bias, temb, res, scratch)
		return
	}
	c.forward.Run(y, x, u, bias, temb, res, scratch)
}

// ForwardPair is the convolution of the channels of two tensors, c's of the first ones
// and d's of those that follow: y = x * w + xd * wd + bias + temb + res. It gives the
// bits of Forward and then d's with res = y. scratch is of size c.Scratch().Plus(d.Scratch()).
func (c *Conv) ForwardPair(d *Conv, y, x, xd, w, wd, bias, temb, res []float32, scratch parallel.Scratch) {
	if g, _ := flatPair(c, d); g == nil {
		c.Forward(y, x, w, bias, temb, res, scratch)
		d.Forward(y, xd, wd, nil, nil, y, scratch)
		return
	}
	u, ud := scratch.Take(c.PackedLen()), scratch.Take(d.PackedLen())
	c.Pack(u, w)
	d.Pack(ud, wd)
	c.ForwardPairPacked(d, y, x, xd, u, ud, bias, temb, res, scratch)
}

// ForwardPairPacked is ForwardPair with packed filters.
func (c *Conv) ForwardPairPacked(d *Conv, y, x, xd, u, ud, bias, temb, res []float32, scratch parallel.Scratch) {
	if g, h := flatPair(c, d); g != nil {
		g.RunWith(h, y, x, xd, u, ud, bias, temb, res, scratch)
		return
	}
	c.ForwardPacked(y, x, u, bias, temb, res, scratch)
	d.ForwardPacked(y, xd, ud, nil, nil, y, scratch)
}

// flatPair is what computes both convolutions where they are plain matrix products, else nil.
func flatPair(c, d *Conv) (g, h *direct.Gather) {
	g, _ = c.forward.(*direct.Gather)
	h, _ = d.forward.(*direct.Gather)
	if g == nil || h == nil || !g.Flat() || !h.Flat() {
		return nil, nil
	}
	return g, h
}

// BackwardData computes the gradient dx of the input from dy, overwriting dx.
func (c *Conv) BackwardData(dx, dy, w []float32, scratch parallel.Scratch) {
	if c.doubled != nil {
		large := scratch.Take(c.doubled.floats())
		c.doubled.large.BackwardData(large, dy, w, scratch)
		c.doubled.downsample(dx, large)
		return
	}
	c.backwardData.Run(dx, dy, w, nil, nil, nil, scratch)
}

// BackwardWeights computes the gradient dw of the filter, db of the bias (the sum of
// dy over images and pixels) and dtemb of the time embedding (the sum of dy over each
// image's pixels), overwriting them; each may be nil.
func (c *Conv) BackwardWeights(dw, db, dtemb, x, dy []float32, scratch parallel.Scratch) {
	switch {
	case c.doubled != nil:
		x = c.doubled.upsample(x, &scratch)
		c.doubled.large.BackwardWeights(dw, db, dtemb, x, dy, scratch)
	case dw == nil:
		c.sums.Run(db, dtemb, dy, scratch)
	default:
		c.weights.Run(dw, db, dtemb, x, dy, scratch)
	}
}
