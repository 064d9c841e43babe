package conv

import (
	"testing"

	"unstir/internal/alloctest"
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

func TestConvAgainstFloat64(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(3)
		forShapes(r, convShapes(r), func(d *convData) {
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if err := d.check(); err != nil {
				t.Error(err)
			}
		})
	})
}

// Bias, time embedding and residual may each be missing, and y may be the residual.
func TestConvOptionalOperands(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(4)
		for _, s := range []shape.Conv{same3x3(2, 6, 6, 20, 24), shapeOf(2, 6, 6, 5, 33, 3, 2, 1, 1, 1, 1, false, false), shapeOf(2, 3, 3, 20, 3, 1, 1, 0, 0, 0, 0, false, false)} {
			for mask := 0; mask < 8; mask++ {
				d := newConvData(r, s)
				bias, temb, res := d.bias, d.temb, d.res
				if mask&1 == 0 {
					bias, d.bias = nil, make([]float32, len(d.bias))
				}
				if mask&2 == 0 {
					temb, d.temb = nil, make([]float32, len(d.temb))
				}
				if mask&4 == 0 {
					res, d.res = nil, make([]float32, len(d.res))
				}
				c, err := newConv(s)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.run(); err != nil {
					t.Fatal(err)
				}
				scratch := kerneltest.Scratch(c.Scratch())
				if res != nil {
					d.y = append([]float32(nil), d.res...)
					res = d.y
				}
				c.Forward(d.y, d.x, d.w, bias, temb, res, scratch)
				if err := d.check(); err != nil {
					t.Errorf("operands %03b: %v", mask, err)
				}
				c.BackwardWeights(nil, d.db, nil, d.x, d.dy, scratch)
				c.BackwardWeights(nil, nil, d.dtemb, d.x, d.dy, scratch)
				c.BackwardWeights(d.dw, nil, nil, d.x, d.dy, scratch)
				if err := d.check(); err != nil {
					t.Errorf("gradients one at a time: %v", err)
				}
			}
		}
	})
}

// Direct convolutions can be had for every shape, and keep to the tighter bound.
func TestConvDirect(t *testing.T) {
	defer directly()()
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(10)
		for _, s := range convShapes(r) {
			d := newConvData(r, s)
			if err := d.run(); err != nil {
				t.Fatal(err)
			}
			if err := d.check(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A plan goes on working, with the same bits, when the number of threads changes.
func TestConvSurvivesSetThreads(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(11)
		forShapes(r, convShapes(r)[:45], func(d *convData) {
			s := d.s
			var c *Conv
			var scratch parallel.Scratch
			var first map[string][]float32
			kerneltest.WithThreads(t, []int{2, 1, 5, 3}, func(threads int) {
				if c == nil {
					var err error
					if c, err = newConv(d.s); err != nil {
						t.Fatal(err)
					}
					scratch = kerneltest.Scratch(c.Scratch())
				}
				c.Forward(d.y, d.x, d.w, d.bias, d.temb, d.res, scratch)
				c.BackwardData(d.dx, d.dy, d.w, scratch)
				c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, scratch)
				if first == nil {
					first = d.copyResults()
				}
				for name, got := range d.results() {
					if err := kerneltest.SameBits(got, first[name]); err != nil {
						t.Errorf("%+v: %s with %d threads after 2: %v", s, name, threads, err)
					}
				}
			})
		})
	})
}

// Calls stay inside their slices: nothing around them changes, and scratch suffices.
func TestConvStaysInsideItsSlices(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(12)
		forShapes(r, convShapes(r), func(d *convData) {
			s := d.s
			c, err := newConv(d.s)
			if err != nil {
				t.Fatal(err)
			}
			const guard = 32
			var guarded [][]float32
			fenced := func(n int) []float32 {
				x := make([]float32, n+2*guard)
				for i := range x {
					x[i] = 12345
				}
				guarded = append(guarded, x)
				return x[guard : guard+n : guard+n]
			}
			n := c.Scratch()
			scratch, u := parallel.Scratch{Shared: fenced(n.Shared)}, fenced(c.PackedLen())
			for range n.Workers {
				scratch.Own = append(scratch.Own, fenced(n.Own))
			}
			y, dx, dw, db, dtemb := fenced(len(d.y)), fenced(len(d.dx)), fenced(len(d.dw)), fenced(len(d.db)), fenced(len(d.dtemb))
			c.Forward(y, d.x, d.w, d.bias, d.temb, d.res, scratch)
			c.Pack(u, d.w)
			c.ForwardPacked(y, d.x, u, d.bias, d.temb, d.res, scratch)
			c.BackwardData(dx, d.dy, d.w, scratch)
			c.BackwardWeights(dw, db, dtemb, d.x, d.dy, scratch)
			for i, x := range guarded {
				for j := 0; j < guard; j++ {
					if x[j] != 12345 || x[len(x)-1-j] != 12345 {
						t.Fatalf("%+v: wrote outside slice %d", s, i)
					}
				}
			}
		})
	})
}

func TestConvDoesNotAllocate(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(8)
		shapes := []shape.Conv{same3x3(2, 8, 8, 20, 32), shapeOf(2, 8, 8, 20, 32, 3, 2, 1, 1, 1, 1, false, false), shapeOf(2, 8, 8, 20, 32, 1, 1, 0, 0, 0, 0, false, false), same3x3(1, 8, 8, 32, 1)}
		if !kerneltest.RaceDetector { // which is a hundred times slower
			shapes = append(shapes, same3x3(3, 14, 16, 32, 48))
		}
		forShapes(r, shapes, func(d *convData) {
			s := d.s
			c, err := newConv(d.s)
			if err != nil {
				t.Fatal(err)
			}
			u, scratch := make([]float32, c.PackedLen()), parallel.NewScratch(c.Scratch())
			n := alloctest.Count(20, func() {
				c.Forward(d.y, d.x, d.w, d.bias, d.temb, d.res, scratch)
				c.Pack(u, d.w)
				c.ForwardPacked(d.y, d.x, u, d.bias, d.temb, d.res, scratch)
				c.BackwardData(d.dx, d.dy, d.w, scratch)
				c.BackwardWeights(d.dw, d.db, d.dtemb, d.x, d.dy, scratch)
			})
			if n > 0 {
				t.Errorf("%+v: %d allocations in 20 rounds", s, n)
			}
		})
	})
}

func TestNewConvRefusesImpossibleShapes(t *testing.T) {
	good := same3x3(1, 4, 4, 2, 2)
	for _, change := range []func(*shape.Conv){
		func(s *shape.Conv) { s.N = 0 }, func(s *shape.Conv) { s.C = 0 }, func(s *shape.Conv) { s.R = 2 }, func(s *shape.Conv) { s.Stride = 3 },
		func(s *shape.Conv) { s.PadLeft = -1 }, func(s *shape.Conv) { s.H, s.PadTop = 1, 0 },
	} {
		s := good
		change(&s)
		if _, err := newConv(s); err == nil {
			t.Errorf("newConv(%+v) succeeded", s)
		}
	}
}
