package kernel

import "testing"

func BenchmarkElementwise(b *testing.B) {
	const n, h, w, c = 16, 28, 28, 64
	size := n * h * w * c
	r, v := testRand(1), NewVec()
	x, y, z, up := randoms(r, size), randoms(r, size), randoms(r, 2*size), randoms(r, 4*size)
	benchmark(b, "add", 3*size, func() { v.Add(x, x, y) })
	benchmark(b, "silu", 2*size, func() { v.SiLU(z[:size], y) })
	benchmark(b, "siluBackward", 3*size, func() { v.SiLUBackward(z[:size], y, x) })
	benchmark(b, "upsample", 5*size, func() { v.Upsample(up, y, n, h, w, c) })
	benchmark(b, "upsampleBackward", 5*size, func() { v.UpsampleBackward(z[:size], up, n, h, w, c) })
	l, per := NewLoss(n, h*w*c), make([]float32, n)
	weight := randoms(r, n)
	benchmark(b, "lossForward", 2*size, func() { l.Forward(per, x, y, weight) })
	benchmark(b, "lossBackward", 3*size, func() { l.Backward(z[:size], x, y, weight, 1) })
}
