package optimizer

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

func BenchmarkAdamW(b *testing.B) {
	const n = 5_000_000
	d, a, s := newAdamData(1, n), New(cpu.This()), adamStep
	s.Step = 100
	kerneltest.Benchmark(b, "step/5M", 9*n, func() { a.Step(d.w, d.m, d.v, d.ema, d.g, s) })
	kerneltest.Benchmark(b, "sumSquares/5M", n, func() { a.SumSquares(d.g) })
}
