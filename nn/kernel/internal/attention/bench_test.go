package attention

import (
	"fmt"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

// GFLOP/s counts the two products of the forward pass and the five that a backward pass needs at least.
func BenchmarkAttention(b *testing.B) {
	for _, s := range []Shape{
		{16, 256, 1, 256}, {16, 49, 8, 8}, {16, 64, 16, 8}, {16, 64, 64, 8}, {16, 256, 32, 8}, {16, 64, 8, 32},
		{16, 49, 1, 64}, {16, 64, 1, 128}, {1, 256, 1, 256}, {16, 16, 32, 8}, {2, 1024, 1, 128},
	} {
		d := newAttentionData(kerneltest.Rand(1), s, 1)
		a, err := New(s, cpu.This())
		if err != nil {
			b.Fatal(err)
		}
		if a.Kept() > 0 {
			d.kept = kerneltest.Garbage(a.Kept())
		}
		scratch := parallel.NewScratch(a.Scratch())
		product := 2 * float64(s.N) * float64(s.Heads) * float64(s.S) * float64(s.S) * float64(s.D)
		run := func(name string, products float64, f func()) {
			b.Run(fmt.Sprintf("%s/%dx%dx%dx%d", name, s.N, s.S, s.Heads, s.D), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(products*product*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		run("forward", 2, func() { a.Forward(d.o, d.lse, d.kept, d.q, d.k, d.v, scratch) })
		run("backward", 5, func() { a.Backward(d.dq, d.dk, d.dv, d.do, d.o, d.lse, d.kept, d.q, d.k, d.v, scratch) })
	}
}
