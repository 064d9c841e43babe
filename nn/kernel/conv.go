package kernel

import "fmt"

// ConvShape is the shape of a two-dimensional convolution.
// A linear layer on M rows is ConvShape{N: M, H: 1, W: 1, C: in, K: out, R: 1, Stride: 1}.
type ConvShape struct {
	N, H, W, C int // input: N images of H x W pixels with C channels, NHWC
	K          int // output channels
	R          int // filter rows and columns: 1 or 3
	Stride     int // 1 or 2

	PadTop, PadLeft, PadBottom, PadRight int // rows and columns of zeros around the input

	Upsample bool // first double the input's rows and columns, each pixel repeated: nearest neighbour

	// FixedFilter is for a filter that does not change: it may be prepared in a form that takes longer to make. Calls
	// with a filter that is not prepared then take longer. The results are those without it within rounding.
	FixedFilter bool
}

// OutH is the number of output rows.
func (s ConvShape) OutH() int {
	if s.Upsample {
		return s.upsampled().OutH()
	}
	return (s.H+s.PadTop+s.PadBottom-s.R)/s.Stride + 1
}

// OutW is the number of output columns.
func (s ConvShape) OutW() int {
	if s.Upsample {
		return s.upsampled().OutW()
	}
	return (s.W+s.PadLeft+s.PadRight-s.R)/s.Stride + 1
}

// upsampled is the shape of the convolution of the doubled input.
func (s ConvShape) upsampled() ConvShape {
	s.H, s.W, s.Upsample = 2*s.H, 2*s.W, false
	return s
}

func (s ConvShape) validate() error {
	switch {
	case s.N < 1 || s.H < 1 || s.W < 1 || s.C < 1 || s.K < 1:
		return fmt.Errorf("kernel: convolution %+v: N, H, W, C and K must be at least 1", s)
	case s.R != 1 && s.R != 3:
		return fmt.Errorf("kernel: convolution %+v: R must be 1 or 3", s)
	case s.Stride != 1 && s.Stride != 2:
		return fmt.Errorf("kernel: convolution %+v: Stride must be 1 or 2", s)
	case s.PadTop < 0 || s.PadLeft < 0 || s.PadBottom < 0 || s.PadRight < 0:
		return fmt.Errorf("kernel: convolution %+v: padding must not be negative", s)
	case s.Upsample:
		return s.upsampled().validate()
	case s.H+s.PadTop+s.PadBottom < s.R || s.W+s.PadLeft+s.PadRight < s.R:
		return fmt.Errorf("kernel: convolution %+v: the padded input is smaller than the filter", s)
	}
	return nil
}

// Conv is a plan for the convolution of one shape in its three directions. It serves
// one goroutine at a time. Its slices must have the lengths that the shape implies:
//
//	x, dx [N, H, W, C]    y, dy, res [N, OutH, OutW, K]    w, dw [R, R, C, K]
//	bias, db [K]          temb, dtemb [N, K]
type Conv struct {
	s             ConvShape
	forward, data engine
	weights       *outer // one of these two is nil
	winograd      *winogradWeights
	sums          *pixelSums

	forwardNew, dataNew unprepared // forward and data for filters that are not prepared
	prepared            engine     // forward, or another for filters that are

	large *largeConv // if not nil, does it all, and what is above but s is nil
}

// NewConv makes a plan for shape s at the active level; it returns an error when the
// shape makes no sense.
func NewConv(s ConvShape) (*Conv, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	workers, is := Threads(), isaOf(ActiveLevel())
	if s.Upsample && !s.suitsUpsampled(is) {
		l, err := newLargeConv(s)
		return &Conv{s: s, large: l}, err
	}
	c := &Conv{
		s:       s,
		forward: newEngine(s, s.forwardTaps(), false, workers, is),
		data:    newEngine(s, s.dataTaps(), true, workers, is),
		sums:    newPixelSums(s.N, s.OutH()*s.OutW(), s.K, workers, is),
	}
	if s.suitsWinograd(s.C, s.K) {
		c.winograd = newWinogradWeights(s, workers, is)
	} else {
		c.weights = newOuter(s, workers, is)
	}
	c.prepared = c.forward
	c.forwardNew, c.dataNew = newUnprepared(c.forward), newUnprepared(c.data)
	if g, ok := c.forward.(*winograd); ok && g.comesFromFar() {
		c.prepared = newWinograd(s, false, true, workers, is)
	}
	return c, nil
}

// newEngine chooses the engine for the convolution that the grids describe.
func newEngine(s ConvShape, grids []taps, transposed bool, workers int, is *isa) engine {
	if suitsFew(grids) {
		return newFew(s.N, s.R, grids[0], transposed, workers, is)
	}
	if s.suitsWinograd(grids[0].src.c, grids[0].dst.c) {
		return newWinograd(s, transposed, false, workers, is)
	}
	return newGather(s.N, s.R, grids[0].src, grids[0].dst, grids, transposed, workers, is)
}

// Scratch is how much scratch each of the calls needs.
func (c *Conv) Scratch() ScratchSize {
	if c.large != nil {
		return c.large.scratch()
	}
	n := c.sums.scratch()
	for _, e := range []interface{ scratch() ScratchSize }{c.forward, c.data, c.forwardNew, c.dataNew, c.prepared} {
		n = n.Max(e.scratch())
	}
	if c.winograd != nil {
		return n.Max(c.winograd.scratch())
	}
	return n.Max(c.weights.scratch())
}

// Forward computes y = x * w + bias + temb + res; bias, temb and res may be nil, and
// y may be res.
func (c *Conv) Forward(y, x, w, bias, temb, res []float32, scratch Scratch) {
	if c.large != nil {
		x = c.large.upsample(x, &scratch)
		c.large.Forward(y, x, w, bias, temb, res, scratch)
		return
	}
	c.forwardNew.run(y, x, w, bias, temb, res, scratch)
}

// PreparedLen is the number of floats of a prepared filter, 0 when preparing gains
// nothing.
func (c *Conv) PreparedLen() int {
	if c.large != nil {
		return c.large.PreparedLen()
	}
	return c.forward.packedLen()
}

// Prepare writes the form of the filter w that ForwardPrepared reads to u.
func (c *Conv) Prepare(u, w []float32) {
	if c.large != nil {
		c.large.Prepare(u, w)
		return
	}
	c.forward.pack(u, w)
}

// ForwardPrepared is Forward with a filter that was prepared once; it gives the same
// bits. w is not read.
func (c *Conv) ForwardPrepared(y, x, u, w, bias, temb, res []float32, scratch Scratch) {
	if c.large != nil {
		x = c.large.upsample(x, &scratch)
		c.large.ForwardPrepared(y, x, u, w, bias, temb, res, scratch)
		return
	}
	c.prepared.run(y, x, u, bias, temb, res, scratch)
}

// ForwardPair is the convolution of the channels of two tensors, c's of the first ones
// and d's of those that follow: y = x * w + xd * wd + bias + temb + res. It gives the
// bits of Forward and then d's with res = y. scratch is of size c.Scratch().Plus(d.Scratch()).
func (c *Conv) ForwardPair(d *Conv, y, x, xd, w, wd, bias, temb, res []float32, scratch Scratch) {
	if flatGather(c) == nil || flatGather(d) == nil {
		c.Forward(y, x, w, bias, temb, res, scratch)
		d.Forward(y, xd, wd, nil, nil, y, scratch)
		return
	}
	u, ud := scratch.Take(c.forward.packedLen()), scratch.Take(d.forward.packedLen())
	c.forward.pack(u, w)
	d.forward.pack(ud, wd)
	c.ForwardPairPrepared(d, y, x, xd, u, ud, bias, temb, res, scratch)
}

// ForwardPairPrepared is ForwardPair with prepared filters.
func (c *Conv) ForwardPairPrepared(d *Conv, y, x, xd, u, ud, bias, temb, res []float32, scratch Scratch) {
	if g, h := flatGather(c), flatGather(d); g != nil && h != nil {
		g.runWith(h, y, x, xd, u, ud, bias, temb, res, scratch)
		return
	}
	c.ForwardPrepared(y, x, u, nil, bias, temb, res, scratch)
	d.ForwardPrepared(y, xd, ud, nil, nil, nil, y, scratch)
}

// BackwardData computes the gradient dx of the input from dy, overwriting dx.
func (c *Conv) BackwardData(dx, dy, w []float32, scratch Scratch) {
	if c.large != nil {
		large := scratch.Take(c.large.floats())
		c.large.BackwardData(large, dy, w, scratch)
		c.large.downsample(dx, large)
		return
	}
	c.dataNew.run(dx, dy, w, nil, nil, nil, scratch)
}

// BackwardWeights computes the gradient dw of the filter, db of the bias (the sum of
// dy over images and pixels) and dtemb of the time embedding (the sum of dy over each
// image's pixels), overwriting them; each may be nil.
func (c *Conv) BackwardWeights(dw, db, dtemb, x, dy []float32, scratch Scratch) {
	switch {
	case c.large != nil:
		x = c.large.upsample(x, &scratch)
		c.large.BackwardWeights(dw, db, dtemb, x, dy, scratch)
		return
	case dw != nil && c.winograd != nil:
		c.winograd.run(dw, db, dtemb, x, dy, scratch)
		return
	case dw != nil:
		c.weights.run(dw, x, dy, scratch)
	}
	if db != nil || dtemb != nil {
		c.sums.run(db, dtemb, dy, scratch)
	}
}
