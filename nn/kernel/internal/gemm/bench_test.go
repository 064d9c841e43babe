package gemm

import (
	"fmt"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

// BenchmarkGemm reports one thread's GFLOP/s.
func BenchmarkGemm(b *testing.B) {
	for _, g := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{256, 256, 256, false, false}, {256, 256, 256, true, false}, {256, 256, 256, false, true},
		{196, 196, 64, false, true}, {196, 64, 196, false, false}, {196, 64, 196, true, false}, {49, 49, 32, false, true}, {1024, 1024, 1024, false, false},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d,%v,%v", g.m, g.n, g.k, g.transA, g.transB), func(b *testing.B) {
			kerneltest.BenchmarkLevels(b, func(b *testing.B) {
				r := kerneltest.Rand(1)
				lda, ldb := g.k, g.n
				if g.transA {
					lda = g.m
				}
				if g.transB {
					ldb = g.k
				}
				x, y, c := kerneltest.Randoms(r, g.m*g.k), kerneltest.Randoms(r, g.k*g.n), kerneltest.Randoms(r, g.m*g.n)
				scratch := make([]float32, Scratch(g.m, g.n, g.k))
				for b.Loop() {
					Of(cpu.This()).Multiply(c, g.n, x, lda, g.transA, y, ldb, g.transB, g.m, g.n, g.k, false, scratch)
				}
				kerneltest.ReportGFLOPS(b, 2*float64(g.m)*float64(g.n)*float64(g.k))
			})
		})
	}
}
