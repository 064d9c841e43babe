package kernel

import "testing"

func BenchmarkAdamW(b *testing.B) {
	const n = 5_000_000
	d, a, s := newAdamData(1, n), NewAdamW(), adamStep
	s.Step = 100
	benchmark(b, "step/5M", 9*n, func() { a.Step(d.w, d.m, d.v, d.ema, d.g, s) })
	benchmark(b, "sumSquares/5M", n, func() { a.SumSquares(d.g) })
}
