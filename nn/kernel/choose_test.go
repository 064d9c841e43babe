package kernel_test

import (
	"testing"

	"unstir/nn/kernel"
)

// Each row of the doc comment's table, and its example, is what is chosen.
func TestTheTableOfTheDocComment(t *testing.T) {
	same := func(n, side, c, k int) kernel.ConvShape {
		return kernel.ConvShape{N: n, H: side, W: side, C: c, K: k, R: 3, Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
	}
	fixed := func(s kernel.ConvShape) kernel.ConvShape { s.FixedFilter = true; return s }
	up := func(s kernel.ConvShape) kernel.ConvShape { s.Upsample = true; return s }
	down := func(s kernel.ConvShape) kernel.ConvShape { s.Stride = 2; return s }
	linear := kernel.ConvShape{N: 16, H: 1, W: 1, C: 64, K: 256, R: 1, Stride: 1}
	const small, large = 1 << 20, 2 << 20 // second-level caches
	const forward, data, weights = kernel.Forward, kernel.BackwardData, kernel.WeightGradient
	for _, c := range []struct {
		s       kernel.ConvShape
		pass    kernel.Pass
		threads int
		l2      int
		want    string
	}{
		// The example.
		{same(3, 16, 64, 128), forward, 2, small, "winograd F(6x6,3x3), packed by panels"},
		{same(4, 16, 64, 128), forward, 2, small, "winograd F(6x6,3x3), packed"},
		{same(7, 16, 64, 128), forward, 2, large, "winograd F(6x6,3x3), packed by panels"},
		{same(8, 16, 64, 128), forward, 2, large, "winograd F(6x6,3x3), packed"},
		{same(3, 16, 64, 128), data, 2, small, "winograd F(6x6,3x3), packed by panels"},
		{same(4, 16, 64, 128), data, 2, small, "winograd F(6x6,3x3), packed"},
		{same(4, 16, 64, 128), weights, 2, small, "winograd F(6x6,3x3)"},
		{same(64, 16, 128, 128), forward, 2, small, "winograd F(4x4,3x3), packed"},
		{same(64, 16, 128, 128), data, 2, small, "winograd F(4x4,3x3), packed"},
		{same(64, 16, 128, 128), weights, 2, small, "winograd F(6x6,3x3)"},

		// Winograd.
		{same(8, 16, 12, 4), forward, 2, small, "winograd F(4x4,3x3), packed"},
		{same(8, 16, 11, 4), forward, 2, small, "implicit GEMM, packed"},
		{same(8, 2, 64, 64), forward, 2, small, "implicit GEMM, packed"},
		{same(64, 9, 40, 40), forward, 2, small, "winograd F(6x6,3x3), packed"},
		{same(64, 8, 32, 32), forward, 2, small, "winograd F(4x4,3x3), packed"},
		{same(64, 8, 32, 32), weights, 2, small, "winograd F(4x4,3x3)"},
		{same(64, 14, 64, 64), forward, 2, small, "winograd F(6x6,3x3), packed"},             // 3 pixels a channel, 0.69 of the products
		{same(64, 12, 64, 64), forward, 2, small, "winograd F(4x4,3x3), packed"},             // 2.25, 0.79
		{fixed(same(64, 12, 64, 64)), forward, 2, small, "winograd F(6x6,3x3), packed once"}, // 1 is enough
		{same(64, 28, 24, 32), forward, 2, small, "winograd F(4x4,3x3), packed"},             // C*K < 16 (C + K)
		{same(8, 4, 256, 256), data, 2, small, "winograd F(2x2,3x3), packed by panels"},
		{up(same(64, 8, 64, 64)), forward, 2, small, "winograd F(4x4,2x2) by parity, packed"},
		{up(same(64, 8, 64, 64)), weights, 2, small, "winograd F(4x4,2x2) by parity"},
		{up(same(64, 4, 256, 256)), weights, 2, small, "upsampled, winograd F(4x4,3x3)"},

		// All others.
		{same(8, 28, 32, 3), forward, 2, small, "GEMM with the taps as columns, packed"},
		{down(same(8, 28, 32, 3)), forward, 2, small, "GEMM with the taps as columns, packed"},
		{same(8, 28, 3, 32), data, 2, small, "GEMM with the taps as columns, packed"},
		{down(same(8, 28, 3, 32)), data, 2, small, "implicit GEMM, packed"},
		{linear, forward, 2, small, "GEMM, packed"},
		{linear, weights, 2, small, "GEMM"},
		{down(same(8, 28, 32, 32)), forward, 2, small, "implicit GEMM, packed"},
		{down(same(8, 28, 32, 32)), weights, 2, small, "GEMM for each tap"},
		{same(8, 28, 7, 32), weights, 2, small, "GEMM of im2col"},
		{same(8, 28, 32, 3), weights, 2, small, "GEMM of im2col"},
		{down(same(8, 28, 32, 3)), weights, 2, small, "GEMM for each tap"},

		// The packing.
		{same(1, 16, 64, 128), forward, 4, small, "winograd F(6x6,3x3), packed by panels"},
		{same(1, 16, 64, 128), forward, 5, small, "winograd F(6x6,3x3), packed"},                        // of 4 panels
		{fixed(same(32, 8, 128, 128)), forward, 2, small, "winograd F(4x4,3x3), packed once, streamed"}, // 128 tiles, more than 2 MB
		{fixed(same(129, 8, 128, 128)), forward, 2, small, "winograd F(4x4,3x3), packed once"},
		{fixed(same(129, 8, 512, 256)), forward, 2, small, "winograd F(4x4,3x3), packed once, streamed"}, // more than 8 MB
		{fixed(same(64, 16, 192, 64)), forward, 2, small, "winograd F(6x6,3x3), packed once"},
		{fixed(same(64, 16, 192, 64)), forward, 2, large, "winograd F(6x6,3x3), packed once, streamed"},
	} {
		for _, level := range []kernel.Level{kernel.Generic, kernel.AVX2, kernel.AVX512} {
			cpu := kernel.CPU{Level: level, L2: c.l2}
			if got := kernel.Choose(c.s, c.pass, c.threads, cpu).String(); got != c.want {
				t.Errorf("%v, %v, %d threads, %v: %s, want %s", c.s, c.pass, c.threads, cpu, got, c.want)
			}
		}
	}
	if got := kernel.Choose(same(8, 16, 64, 64), forward, 2, kernel.CPU{Direct: true}).String(); got != "implicit GEMM, packed" {
		t.Errorf("UNSTIR_CONV=direct: %s", got)
	}
}
