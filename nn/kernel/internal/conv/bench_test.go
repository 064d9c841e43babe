package conv

import (
	"fmt"
	"testing"

	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
)

// BenchmarkConv reports effective GFLOP/s: the multiplications and additions of the
// direct convolution over the time, whatever the algorithm does.
func BenchmarkConv(b *testing.B) {
	shapes := []shape.Conv{
		same3x3(64, 28, 28, 32, 32), same3x3(64, 14, 14, 64, 64), same3x3(64, 7, 7, 128, 128),
		same3x3(32, 32, 32, 128, 128), same3x3(32, 16, 16, 256, 256), same3x3(32, 8, 8, 256, 256), same3x3(8, 16, 16, 256, 256), same3x3(8, 8, 8, 256, 256), same3x3(32, 32, 32, 64, 64), same3x3(8, 32, 32, 128, 128), same3x3(32, 16, 16, 128, 128),
		same3x3(16, 28, 28, 64, 64), same3x3(16, 4, 4, 256, 256),
		same3x3(1, 28, 28, 64, 64), same3x3(1, 32, 32, 128, 128), same3x3(1, 8, 8, 256, 256), same3x3(1, 7, 7, 64, 64), same3x3(1, 4, 4, 256, 256),
		same3x3(16, 28, 28, 1, 32), same3x3(16, 28, 28, 32, 1), same3x3(16, 32, 32, 3, 64), same3x3(16, 32, 32, 64, 3),
		shapeOf(16, 28, 28, 64, 64, 3, 2, 1, 1, 1, 1, false, false), shapeOf(16, 32, 32, 128, 128, 3, 2, 0, 0, 1, 1, false, false),
		shapeOf(16, 14, 14, 64, 128, 1, 1, 0, 0, 0, 0, false, false), shapeOf(16, 1, 1, 128, 512, 1, 1, 0, 0, 0, 0, false, false), shapeOf(16, 28, 28, 32, 64, 1, 1, 0, 0, 0, 0, false, false), shapeOf(16, 16, 16, 256, 256, 1, 1, 0, 0, 0, 0, false, false),
	}
	for _, s := range shapes {
		b.Run(fmt.Sprintf("%d,%d,%d,%dx%d,r%ds%d", s.N, s.C, s.K, s.H, s.W, s.R, s.Stride), func(b *testing.B) {
			kerneltest.BenchmarkLevels(b, func(b *testing.B) { benchConv(b, s) })
		})
	}
}

func benchConv(b *testing.B, s shape.Conv) {
	d := newConvData(kerneltest.Rand(1), s)
	c, err := newConv(s)
	if err != nil {
		b.Fatal(err)
	}
	once, err := newConv(fixed(s)) // as for sampling
	if err != nil {
		b.Fatal(err)
	}
	scratch, u := parallel.NewScratch(c.Scratch().Max(once.Scratch())), make([]float32, once.PackedLen())
	once.Pack(u, d.w)
	for _, call := range []struct {
		name string
		f    func()
	}{
		{"forward", func() { c.Forward(d.y, d.x, d.w, d.bias, nil, nil, scratch) }},
		{"packed", func() { once.ForwardPacked(d.y, d.x, u, d.bias, nil, nil, scratch) }},
		{"data", func() { c.BackwardData(d.dx, d.dy, d.w, scratch) }},
		{"weights", func() { c.BackwardWeights(d.dw, d.db, nil, d.x, d.dy, scratch) }},
	} {
		b.Run(call.name, func(b *testing.B) {
			for b.Loop() {
				call.f()
			}
			kerneltest.ReportGFLOPS(b, 2*float64(s.N*s.OutH()*s.OutW()*s.R*s.R*s.C*s.K))
		})
	}
}
