package norm

import (
	"fmt"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

func BenchmarkGroupNorm(b *testing.B) {
	for _, s := range []Shape{
		{N: 64, HW: 784, C: 64, Groups: 8}, {N: 64, HW: 784, C: 64, Groups: 32}, {N: 16, HW: 784, C: 32, Groups: 8},
		{N: 16, HW: 196, C: 64, Groups: 8}, {N: 16, HW: 49, C: 64, Groups: 8}, {N: 16, HW: 1024, C: 128, Groups: 32},
		{N: 1, HW: 1024, C: 128, Groups: 32}, {N: 16, HW: 256, C: 512, Groups: 32}, {N: 16, HW: 16, C: 256, Groups: 32},
		{N: 16, HW: 784, C: 64, Groups: 8}, {N: 16, HW: 784, C: 64, Second: 32, Groups: 8},
		{N: 16, HW: 784, C: 96, Groups: 8}, {N: 16, HW: 784, C: 96, Second: 32, Groups: 8},
		{N: 16, HW: 196, C: 128, Groups: 8}, {N: 16, HW: 196, C: 128, Second: 64, Groups: 8},
		{N: 8, HW: 1024, C: 192, Groups: 32}, {N: 8, HW: 1024, C: 192, Second: 64, Groups: 32},
		{N: 16, HW: 784, C: 49, Groups: 7}, {N: 16, HW: 784, C: 49, Second: 20, Groups: 7},
	} {
		s.Eps, s.SiLU = 1e-5, true
		d := newNormData(kerneltest.Rand(1), s)
		g, err := New(s, cpu.This())
		if err != nil {
			b.Fatal(err)
		}
		scratch := parallel.NewScratch(g.Scratch())
		name := fmt.Sprintf("%dx%dx%d/%d", s.N, s.HW, s.C, s.Groups)
		if s.Second > 0 {
			name += fmt.Sprintf("/second%d", s.Second)
		}
		na := s.N * s.HW * (s.C - s.Second)
		kerneltest.Benchmark(b, "forward/"+name, 2*len(d.x), func() {
			g.Forward(d.y, d.x[:na], d.x[na:], d.gamma, d.beta, nil, d.mean, d.rstd, scratch)
		})
		kerneltest.Benchmark(b, "backward/"+name, 3*len(d.x), func() {
			g.Backward(d.dx[:na], d.dx[na:], [2]bool{}, d.dgamma, d.dbeta, nil, d.dy, d.x[:na], d.x[na:], d.gamma, d.beta, nil, d.mean, d.rstd, scratch)
		})
	}
}
