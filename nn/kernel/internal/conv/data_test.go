package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/shape"
)

// convData is a shape with random operands, and room for the results.
type convData struct {
	s                         shape.Conv
	x, w, bias, temb, res, dy []float32
	y, dx, dw, db, dtemb      []float32
}

func newConvData(r *rand.Rand, s shape.Conv) *convData {
	out := s.N * s.OutH() * s.OutW() * s.K
	in, filter := s.N*s.H*s.W*s.C, s.R*s.R*s.C*s.K
	return &convData{
		s: s, x: kerneltest.Randoms(r, in), w: kerneltest.Randoms(r, filter), bias: kerneltest.Randoms(r, s.K), temb: kerneltest.Randoms(r, s.N*s.K),
		res: kerneltest.Randoms(r, out), dy: kerneltest.Randoms(r, out),
		y: kerneltest.Garbage(out), dx: kerneltest.Garbage(in), dw: kerneltest.Garbage(filter), db: kerneltest.Garbage(s.K), dtemb: kerneltest.Garbage(s.N * s.K),
	}
}

// run computes all three directions with a new plan.
func (d *convData) run() error {
	c, err := newConv(d.s)
	if err != nil {
		return err
	}
	scratch := kerneltest.Scratch(c.Scratch())
	c.Forward(d.y, d.x, d.w, d.bias, d.temb, d.res, scratch)
	c.BackwardData(d.dx, d.dy, d.w, scratch)
	c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, scratch)
	return nil
}

// results are the outputs of run in a fixed order.
func (d *convData) results() map[string][]float32 {
	return map[string][]float32{"y": d.y, "dx": d.dx, "dw": d.dw, "db": d.db, "dtemb": d.dtemb}
}

func (d *convData) copyResults() map[string][]float32 {
	c := d.results()
	for name, x := range c {
		c[name] = append([]float32(nil), x...)
	}
	return c
}

// wide is the float64 loop's results.
func (d *convData) wide() *kerneltest.Convolution {
	return kerneltest.Convolve(d.s, d.x, d.w, d.bias, d.temb, d.res, d.dy)
}

// check holds run's results against the float64 loops. The bound on a direct
// convolution's element is (terms+4) eps sum|terms|. Winograd's transforms mix
// elements, so there the bound is on the error over the root mean square of the
// result: 2e-4 for the largest element (8e-5 is the largest seen).
func (d *convData) check() error { return d.checkAgainst(d.wide()) }

func (d *convData) checkAgainst(v *kerneltest.Convolution) error {
	s := d.s
	for _, c := range []struct {
		name      string
		got       []float32
		want, abs []float64
		terms     int
		sum       bool // a plain sum, never transformed
	}{
		{"y", d.y, v.Y, v.YAbs, s.R*s.R*s.C + 3, false},
		{"dx", d.dx, v.DX, v.DXAbs, 4 * s.R * s.R * s.K, false},
		{"dw", d.dw, v.DW, v.DWAbs, s.N * s.OutH() * s.OutW(), false},
		{"db", d.db, v.DB, v.DBAbs, s.N * s.OutH() * s.OutW(), true},
		{"dtemb", d.dtemb, v.DTemb, v.DTembAbs, s.OutH() * s.OutW(), true},
	} {
		var squares float64
		for _, x := range c.want {
			squares += x * x
		}
		rms := math.Sqrt(squares / float64(len(c.want)))
		for i, x := range c.got {
			bound := float64(c.terms+4) * 0x1p-24 * c.abs[i]
			if !c.sum && s.R == 3 && s.Stride == 1 && !machine().Direct {
				bound = max(bound, 2e-4*rms)
			}
			if e := math.Abs(float64(x) - c.want[i]); !(e <= bound) {
				return fmt.Errorf("%+v: %s[%d] = %v, want %v within %.1e", s, c.name, i, x, c.want[i], bound)
			}
		}
	}
	return nil
}

// fixed is a shape whose filter does not change.
func fixed(s shape.Conv) shape.Conv { s.FixedFilter = true; return s }

func shapeOf(n, h, w, c, k, r, stride, top, left, bottom, right int, upsample, fixed bool) shape.Conv {
	return shape.Conv{
		N: n, H: h, W: w, C: c, K: k, R: r, Stride: stride,
		PadTop: top, PadLeft: left, PadBottom: bottom, PadRight: right, Upsample: upsample, FixedFilter: fixed,
	}
}

func same3x3(n, h, w, c, k int) shape.Conv {
	return shapeOf(n, h, w, c, k, 3, 1, 1, 1, 1, 1, false, false)
}

// up3x3 is same3x3 behind an upsampling of an image of h x w pixels.
func up3x3(n, h, w, c, k int) shape.Conv {
	s := same3x3(n, h, w, c, k)
	s.Upsample = true
	return s
}

// down3x3 has stride 2 and padding, before the first row and column pad of them.
func down3x3(n, h, w, c, k, pad int) shape.Conv {
	return shapeOf(n, h, w, c, k, 3, 2, pad, pad, 1, 1, false, false)
}

// forShapes runs f for data of each shape.
func forShapes(r *rand.Rand, shapes []shape.Conv, f func(d *convData)) {
	for _, s := range shapes {
		f(newConvData(r, s))
	}
}

// convShapes: what a UNet has, odd sizes and channel counts, and random shapes.
func convShapes(r *rand.Rand) []shape.Conv {
	shapes := []shape.Conv{
		up3x3(2, 8, 8, 40, 36), up3x3(3, 5, 7, 33, 20), up3x3(1, 4, 12, 16, 70), // F(4, 2)
		up3x3(2, 7, 7, 16, 20), up3x3(1, 6, 11, 20, 16), up3x3(1, 7, 6, 33, 16), up3x3(1, 3, 7, 16, 16), up3x3(2, 10, 4, 16, 12), // its smaller tiles
		up3x3(2, 3, 5, 8, 20), up3x3(1, 1, 2, 20, 16), shapeOf(1, 3, 4, 5, 6, 3, 2, 0, 0, 1, 1, true, false), shapeOf(2, 3, 3, 16, 20, 1, 1, 0, 0, 0, 0, true, false),
		same3x3(2, 13, 9, 40, 36), same3x3(1, 14, 14, 32, 48), same3x3(1, 10, 16, 33, 50), same3x3(1, 9, 20, 64, 35), same3x3(1, 17, 18, 33, 32), // F(6, 3)
		fixed(same3x3(1, 12, 12, 40, 48)), fixed(up3x3(1, 6, 6, 4, 8)), // and with filters that do not change
		same3x3(3, 6, 7, 20, 35), same3x3(1, 7, 5, 33, 16), same3x3(2, 5, 6, 16, 20), same3x3(2, 3, 7, 16, 20), same3x3(1, 6, 3, 20, 16), same3x3(1, 4, 11, 16, 16), // smaller tiles of F(4, 3)
		same3x3(2, 7, 7, 16, 32), same3x3(1, 14, 14, 32, 16), same3x3(1, 5, 9, 8, 20), same3x3(3, 4, 4, 20, 48),
		same3x3(1, 28, 28, 1, 16), same3x3(1, 16, 16, 3, 32), same3x3(1, 28, 28, 16, 1), same3x3(2, 8, 8, 32, 3),
		same3x3(2, 8, 8, 130, 70), same3x3(1, 1, 1, 4, 4), same3x3(1, 2, 3, 33, 17),
		same3x3(1, 4, 3, 256, 260), // F(2, 3)

		// of stride 2
		down3x3(2, 16, 16, 33, 36, 1), down3x3(1, 16, 24, 40, 50, 0), down3x3(3, 14, 14, 32, 36, 1), down3x3(1, 15, 22, 33, 32, 0), down3x3(2, 13, 15, 36, 33, 1), down3x3(1, 14, 22, 48, 70, 1),

		shapeOf(2, 28, 28, 16, 32, 3, 2, 1, 1, 1, 1, false, false), shapeOf(2, 14, 14, 20, 48, 3, 2, 0, 0, 1, 1, false, false), shapeOf(1, 7, 7, 32, 32, 3, 2, 1, 1, 1, 1, false, false),
		shapeOf(2, 8, 8, 48, 20, 1, 1, 0, 0, 0, 0, false, false), shapeOf(37, 1, 1, 64, 128, 1, 1, 0, 0, 0, 0, false, false), shapeOf(1, 1, 1, 5, 300, 1, 1, 0, 0, 0, 0, false, false),
		shapeOf(3, 6, 5, 7, 9, 1, 2, 0, 0, 0, 0, false, false), shapeOf(1, 5, 5, 3, 4, 3, 1, 0, 0, 0, 0, false, false), shapeOf(1, 4, 4, 3, 4, 3, 1, 2, 1, 0, 3, false, false),
	}
	for i := 0; i < 24; i++ {
		s := shapeOf(1+r.IntN(3), 1+r.IntN(12), 1+r.IntN(12), 1+r.IntN(40), 1+r.IntN(40), 1+2*r.IntN(2), 1+r.IntN(2), r.IntN(2), r.IntN(2), r.IntN(3), r.IntN(3), i%4 == 3, false)
		if s.Validate() == nil {
			shapes = append(shapes, s)
		}
	}
	if kerneltest.RaceDetector { // which is a hundred times slower
		shapes = slices.DeleteFunc(shapes, func(s shape.Conv) bool { return s.N*s.H*s.W*s.C*s.K*s.R*s.R > 1<<20 })
	}
	return shapes
}
