package vec

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

func BenchmarkElementwise(b *testing.B) {
	const n, h, w, c = 16, 28, 28, 64
	size := n * h * w * c
	r, v := kerneltest.Rand(1), New(cpu.This())
	x, y, z, up := kerneltest.Randoms(r, size), kerneltest.Randoms(r, size), kerneltest.Randoms(r, 2*size), kerneltest.Randoms(r, 4*size)
	kerneltest.Benchmark(b, "add", 3*size, func() { v.Add(x, x, y) })
	kerneltest.Benchmark(b, "silu", 2*size, func() { v.SiLU(z[:size], y) })
	kerneltest.Benchmark(b, "siluBackward", 3*size, func() { v.SiLUBackward(z[:size], y, x) })
	kerneltest.Benchmark(b, "upsample", 5*size, func() { v.Upsample(up, y, n, h, w, c) })
	kerneltest.Benchmark(b, "upsampleBackward", 5*size, func() { v.UpsampleBackward(z[:size], up, n, h, w, c) })
	l, per := NewLoss(n, h*w*c, cpu.This()), make([]float32, n)
	weight := kerneltest.Randoms(r, n)
	kerneltest.Benchmark(b, "lossForward", 2*size, func() { l.Forward(per, x, y, weight) })
	kerneltest.Benchmark(b, "lossBackward", 3*size, func() { l.Backward(z[:size], x, y, weight, 1) })
}
