package direct

import (
	"fmt"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

func shapeOf(n, h, w, c, k, r, stride, before, after int) shape.Conv {
	return shape.Conv{N: n, H: h, W: w, C: c, K: k, R: r, Stride: stride, PadTop: before, PadLeft: before, PadBottom: after, PadRight: after}
}

// operands are random operands of a convolution, and its results in float64.
type operands struct {
	x, w, bias, temb, res, dy []float32
	want                      *kerneltest.Convolution
}

func newOperands(s shape.Conv) *operands {
	r, out := kerneltest.Rand(1), s.N*s.OutH()*s.OutW()*s.K
	o := &operands{
		x: kerneltest.Randoms(r, s.N*s.H*s.W*s.C), w: kerneltest.Randoms(r, s.R*s.R*s.C*s.K), bias: kerneltest.Randoms(r, s.K),
		temb: kerneltest.Randoms(r, s.N*s.K), res: kerneltest.Randoms(r, out), dy: kerneltest.Randoms(r, out),
	}
	o.want = kerneltest.Convolve(s, o.x, o.w, o.bias, o.temb, o.res, o.dy)
	return o
}

// near compares with the results in float64: sums of a few hundred products in float32.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if err := kerneltest.Near(got, want, 4e-6); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// convolver is what Gather and Few have in common.
type convolver interface {
	PackedLen() int
	Scratch() parallel.ScratchSize
	Pack(u, w []float32)
	Run(dst, src, u, bias, temb, add []float32, scratch parallel.Scratch)
}

func run(g convolver, dst, src, w, bias, temb, add []float32) {
	u := kerneltest.Garbage(g.PackedLen())
	g.Pack(u, w)
	g.Run(dst, src, u, bias, temb, add, kerneltest.Scratch(g.Scratch()))
}

// Gather computes convolutions and their inputs' gradients of any shape, and Few those to few channels.
func TestConvolversAgainstFloat64(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []shape.Conv{
			shapeOf(2, 9, 7, 20, 33, 3, 1, 1, 1), shapeOf(2, 8, 11, 5, 40, 3, 2, 0, 1), shapeOf(1, 9, 9, 33, 16, 3, 2, 1, 1),
			shapeOf(3, 6, 5, 20, 36, 1, 1, 0, 0), shapeOf(2, 7, 6, 17, 9, 1, 2, 0, 0), shapeOf(1, 4, 6, 12, 33, 3, 1, 0, 2),
			shapeOf(2, 14, 13, 32, 3, 3, 1, 1, 1), shapeOf(1, 9, 12, 16, 1, 3, 2, 1, 1), shapeOf(2, 10, 9, 3, 32, 3, 1, 1, 1),
		} {
			o := newOperands(s)
			y, dx := kerneltest.Garbage(len(o.dy)), kerneltest.Garbage(len(o.x))
			run(NewGather(s, false, 2, cpu.This()), y, o.x, o.w, o.bias, o.temb, o.res)
			near(t, fmt.Sprintf("%v by Gather: y", s), y, o.want.Y)
			run(NewGather(s, true, 2, cpu.This()), dx, o.dy, o.w, nil, nil, nil)
			near(t, fmt.Sprintf("%v by Gather: dx", s), dx, o.want.DX)
			if s.R == 3 && s.K <= 3 {
				clear(y)
				run(NewFew(s, false, 2, cpu.This()), y, o.x, o.w, o.bias, o.temb, o.res)
				near(t, fmt.Sprintf("%v by Few: y", s), y, o.want.Y)
			}
			if s.R == 3 && s.C <= 3 && s.Stride == 1 {
				clear(dx)
				run(NewFew(s, true, 2, cpu.This()), dx, o.dy, o.w, nil, nil, nil)
				near(t, fmt.Sprintf("%v by Few: dx", s), dx, o.want.DX)
			}
		}
	})
}

// Two plain matrix products part by part are one after the other.
func TestRunWithAddsTheSecondConvolution(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		s := shapeOf(3, 13, 11, 20, 40, 1, 1, 0, 0)
		second := s
		second.C = 7
		a, b := newOperands(s), newOperands(second)
		g, h := NewGather(s, false, 2, cpu.This()), NewGather(second, false, 2, cpu.This())
		if !g.Flat() || !h.Flat() {
			t.Fatal("not flat")
		}
		want, y := kerneltest.Garbage(len(a.dy)), kerneltest.Garbage(len(a.dy))
		run(g, want, a.x, a.w, a.bias, a.temb, a.res)
		run(h, want, b.x, b.w, nil, nil, want)
		u, v := kerneltest.Garbage(g.PackedLen()), kerneltest.Garbage(h.PackedLen())
		g.Pack(u, a.w)
		h.Pack(v, b.w)
		g.RunWith(h, y, a.x, b.x, u, v, a.bias, a.temb, a.res, kerneltest.Scratch(g.Scratch()))
		if err := kerneltest.SameBits(y, want); err != nil {
			t.Error(err)
		}
	})
}

// Outer computes the filter's gradient in each of its modes, and with x and dy exchanged, and PixelSums the other two.
func TestGradientsAgainstFloat64(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, c := range []struct {
			s       shape.Conv
			mode    Mode
			swapped bool
		}{
			{shapeOf(3, 9, 7, 20, 33, 3, 1, 1, 1), TapByTap, false}, {shapeOf(2, 8, 11, 40, 16, 3, 2, 0, 1), TapByTap, false},
			{shapeOf(2, 9, 8, 20, 5, 3, 1, 1, 1), TapByTap, true}, {shapeOf(2, 7, 6, 17, 40, 1, 2, 0, 0), TapByTap, false},
			{shapeOf(2, 9, 7, 3, 33, 3, 1, 1, 1), Im2col, false}, {shapeOf(2, 9, 12, 5, 16, 3, 2, 1, 1), Im2col, false},
			{shapeOf(2, 9, 7, 32, 3, 3, 1, 1, 1), Im2col, true},
			{shapeOf(3, 6, 5, 20, 36, 1, 1, 0, 0), Matrix, false}, {shapeOf(300, 1, 1, 70, 33, 1, 1, 0, 0), Matrix, false},
		} {
			o, name := newOperands(c.s), fmt.Sprintf("%v, mode %d, swapped %t", c.s, c.mode, c.swapped)
			dw, db, dtemb := kerneltest.Garbage(len(o.w)), kerneltest.Garbage(c.s.K), kerneltest.Garbage(c.s.N*c.s.K)
			g := NewOuter(c.s, c.mode, c.swapped, 2, cpu.This())
			g.Run(dw, db, dtemb, o.x, o.dy, kerneltest.Scratch(g.Scratch()))
			near(t, name+": dw", dw, o.want.DW)
			near(t, name+": db", db, o.want.DB)
			near(t, name+": dtemb", dtemb, o.want.DTemb)
		}
	})
}

// BenchmarkDirect reports one thread's GFLOP/s.
func BenchmarkDirect(b *testing.B) {
	down, few, one := shapeOf(8, 32, 32, 64, 64, 3, 2, 1, 1), shapeOf(8, 32, 32, 64, 3, 3, 1, 1, 1), shapeOf(8, 16, 16, 128, 128, 1, 1, 0, 0)
	for _, c := range []struct {
		name string
		s    shape.Conv
		g    convolver
		o    *Outer
	}{
		{"gather", down, NewGather(down, false, 1, cpu.This()), NewOuter(down, TapByTap, false, 1, cpu.This())},
		{"few", few, NewFew(few, false, 1, cpu.This()), NewOuter(few, Im2col, true, 1, cpu.This())},
		{"matrix", one, NewGather(one, false, 1, cpu.This()), NewOuter(one, Matrix, false, 1, cpu.This())},
	} {
		s, r := c.s, kerneltest.Rand(1)
		x, w := kerneltest.Randoms(r, s.N*s.H*s.W*s.C), kerneltest.Randoms(r, s.R*s.R*s.C*s.K)
		y, u := kerneltest.Randoms(r, s.N*s.OutH()*s.OutW()*s.K), make([]float32, c.g.PackedLen())
		scratch := kerneltest.Scratch(c.g.Scratch().Max(c.o.Scratch()))
		c.g.Pack(u, w)
		flops := 2 * float64(len(y)*s.R*s.R*s.C)
		b.Run(c.name+"/forward", func(b *testing.B) {
			for b.Loop() {
				c.g.Run(y, x, u, nil, nil, nil, scratch)
			}
			kerneltest.ReportGFLOPS(b, flops)
		})
		b.Run(c.name+"/weights", func(b *testing.B) {
			for b.Loop() {
				c.o.Run(w, nil, nil, x, y, scratch)
			}
			kerneltest.ReportGFLOPS(b, flops)
		})
	}
}
