package kernel

import "testing"

func BenchmarkAdamW(b *testing.B) {
	const n = 5_000_000
	d, a, s := newAdamData(1, n), NewAdamW(), adamStep
	s.Step = 100
	benchmark(b, "step/5M", 8*n, func() { a.Step(d.w, d.m, d.v, d.ema, d.g, s) }) // 7 and 9 in turn
	benchmark(b, "sumSquares/5M", n, func() { a.SumSquares(d.g) })
}
