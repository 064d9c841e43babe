package kernel

import (
	"fmt"
	"testing"
)

// forLevelsB is forLevels for benchmarks.
func forLevelsB(b *testing.B, f func(b *testing.B)) {
	old := ActiveLevel()
	defer SetLevel(old)
	for l := bestLevel(); l >= Generic; l-- {
		if err := SetLevel(l); err != nil {
			b.Fatal(err)
		}
		b.Run(l.String(), f)
	}
}

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
			forLevelsB(b, func(b *testing.B) {
				r := testRand(1)
				lda, ldb := g.k, g.n
				if g.transA {
					lda = g.m
				}
				if g.transB {
					ldb = g.k
				}
				x, y, c := randoms(r, g.m*g.k), randoms(r, g.k*g.n), randoms(r, g.m*g.n)
				scratch := make([]float32, GemmScratch(g.m, g.n, g.k))
				for b.Loop() {
					Gemm(c, g.n, x, lda, g.transA, y, ldb, g.transB, g.m, g.n, g.k, false, scratch)
				}
				reportGFLOPS(b, 2*float64(g.m)*float64(g.n)*float64(g.k))
			})
		})
	}
}

func reportGFLOPS(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
}
