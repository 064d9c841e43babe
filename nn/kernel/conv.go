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
}

// OutH is the number of output rows.
func (s ConvShape) OutH() int { return (s.H+s.PadTop+s.PadBottom-s.R)/s.Stride + 1 }

// OutW is the number of output columns.
func (s ConvShape) OutW() int { return (s.W+s.PadLeft+s.PadRight-s.R)/s.Stride + 1 }

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
	s      ConvShape
	oh, ow int

	y, x, w, bias, temb, res, dw, db, dtemb []float32

	forwardRow, dataRow, weightsRow func(i int)
}

// NewConv makes a plan for shape s at the active level; it returns an error when the
// shape makes no sense.
func NewConv(s ConvShape) (*Conv, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	c := &Conv{s: s, oh: s.OutH(), ow: s.OutW()}
	c.forwardRow, c.dataRow, c.weightsRow = c.doForwardRow, c.doDataRow, c.doWeightsRow
	return c, nil
}

// Scratch is the number of floats of scratch that each of the calls needs.
func (c *Conv) Scratch() int { return 0 }

// Forward computes y = x * w + bias + temb + res; bias, temb and res may be nil, and
// y may be res.
func (c *Conv) Forward(y, x, w, bias, temb, res, scratch []float32) {
	c.y, c.x, c.w, c.bias, c.temb, c.res = y, x, w, bias, temb, res
	Parallel(c.s.N*c.oh, c.forwardRow)
}

// PreparedLen is the number of floats of a prepared filter, 0 when preparing gains
// nothing.
func (c *Conv) PreparedLen() int { return 0 }

// Prepare writes the form of the filter w that ForwardPrepared reads to u.
func (c *Conv) Prepare(u, w []float32) {}

// ForwardPrepared is Forward with a filter that was prepared once; it gives the same
// bits. When PreparedLen is 0, u is ignored.
func (c *Conv) ForwardPrepared(y, x, u, w, bias, temb, res, scratch []float32) {
	c.Forward(y, x, w, bias, temb, res, scratch)
}

// BackwardData computes the gradient dx of the input from dy, overwriting dx.
func (c *Conv) BackwardData(dx, dy, w, scratch []float32) {
	c.x, c.y, c.w = dx, dy, w
	Parallel(c.s.N*c.s.H, c.dataRow)
}

// BackwardWeights computes the gradient dw of the filter, db of the bias (the sum of
// dy over images and pixels) and dtemb of the time embedding (the sum of dy over each
// image's pixels), overwriting them; each may be nil.
func (c *Conv) BackwardWeights(dw, db, dtemb, x, dy, scratch []float32) {
	c.dw, c.db, c.dtemb, c.x, c.y = dw, db, dtemb, x, dy
	K, pixels := c.s.K, c.oh*c.ow
	if dw != nil {
		Parallel(c.s.R*c.s.R*c.s.C, c.weightsRow)
	}
	if db != nil {
		clear(db)
		for p := 0; p < c.s.N*pixels; p++ {
			for k, g := range dy[p*K : p*K+K] {
				db[k] += g
			}
		}
	}
	if dtemb != nil {
		clear(dtemb)
		for n := 0; n < c.s.N; n++ {
			sum := dtemb[n*K : n*K+K]
			for p := n * pixels; p < (n+1)*pixels; p++ {
				for k, g := range dy[p*K : p*K+K] {
					sum[k] += g
				}
			}
		}
	}
}

// doForwardRow computes row i of N*OutH output rows.
func (c *Conv) doForwardRow(i int) {
	s := &c.s
	n, oy := i/c.oh, i%c.oh
	for ox := 0; ox < c.ow; ox++ {
		at := (i*c.ow + ox) * s.K
		y := c.y[at : at+s.K]
		if c.res == nil {
			clear(y)
		} else {
			copy(y, c.res[at:at+s.K])
		}
		if c.bias != nil {
			axpy(y, 1, c.bias)
		}
		if c.temb != nil {
			axpy(y, 1, c.temb[n*s.K:n*s.K+s.K])
		}
		for r := 0; r < s.R*s.R; r++ {
			iy, ix := oy*s.Stride+r/s.R-s.PadTop, ox*s.Stride+r%s.R-s.PadLeft
			if uint(iy) >= uint(s.H) || uint(ix) >= uint(s.W) {
				continue
			}
			xs := ((n*s.H+iy)*s.W + ix) * s.C
			for q, v := range c.x[xs : xs+s.C] {
				ws := (r*s.C + q) * s.K
				axpy(y, v, c.w[ws:ws+s.K])
			}
		}
	}
}

// doDataRow computes row i of N*H rows of dx.
func (c *Conv) doDataRow(i int) {
	s := &c.s
	n, iy := i/s.H, i%s.H
	for ix := 0; ix < s.W; ix++ {
		dx := c.x[(i*s.W+ix)*s.C : (i*s.W+ix+1)*s.C]
		clear(dx)
		for r := 0; r < s.R*s.R; r++ {
			oy, ox := iy+s.PadTop-r/s.R, ix+s.PadLeft-r%s.R
			if oy < 0 || ox < 0 || oy%s.Stride != 0 || ox%s.Stride != 0 {
				continue
			}
			oy, ox = oy/s.Stride, ox/s.Stride
			if oy >= c.oh || ox >= c.ow {
				continue
			}
			ys := ((n*c.oh+oy)*c.ow + ox) * s.K
			dy := c.y[ys : ys+s.K]
			for q := range dx {
				ws := (r*s.C + q) * s.K
				var sum float32
				for k, v := range c.w[ws : ws+s.K] {
					sum += float32(v * dy[k])
				}
				dx[q] += sum
			}
		}
	}
}

// doWeightsRow computes row i of R*R*C rows of dw.
func (c *Conv) doWeightsRow(i int) {
	s := &c.s
	r, q := i/s.C, i%s.C
	dw := c.dw[i*s.K : i*s.K+s.K]
	clear(dw)
	for p := 0; p < s.N*c.oh*c.ow; p++ {
		n, oy, ox := p/(c.oh*c.ow), p/c.ow%c.oh, p%c.ow
		iy, ix := oy*s.Stride+r/s.R-s.PadTop, ox*s.Stride+r%s.R-s.PadLeft
		if uint(iy) < uint(s.H) && uint(ix) < uint(s.W) {
			axpy(dw, c.x[((n*s.H+iy)*s.W+ix)*s.C+q], c.y[p*s.K:p*s.K+s.K])
		}
	}
}

// axpy: y += a x.
func axpy(y []float32, a float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += float32(a * x[i])
	}
}
