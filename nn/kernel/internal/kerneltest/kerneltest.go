// Package kerneltest has what the tests of the kernels share.
package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/parallel"
)

// Rand is a source of random numbers that depends on seed only.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// Randoms is n floats, uniform in (-1, 1).
func Randoms(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	return x
}

// Garbage is scratch memory whose content must not matter: n NaNs.
func Garbage(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

// Scratch is scratch full of NaN.
func Scratch(n parallel.ScratchSize) parallel.Scratch {
	return parallel.Scratch{Shared: Garbage(n.Shared), Own: parallel.CutOwn(Garbage(n.OwnLen()), n)}
}

// Spoil fills scratch with NaN again.
func Spoil(s parallel.Scratch) {
	copy(s.Shared, Garbage(len(s.Shared)))
	for _, own := range s.Own {
		copy(own, Garbage(len(own)))
	}
}

// SameBits reports the first element in which a and b differ.
func SameBits(a, b []float32) error {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return fmt.Errorf("element %d of %d is %v, not %v", i, len(a), a[i], b[i])
		}
	}
	return nil
}

// ForLevels runs f once per level that the machine has.
func ForLevels(t *testing.T, f func(t *testing.T, l cpu.Level)) {
	t.Helper()
	old := cpu.This().Level
	for l := cpu.Generic; l <= cpu.AVX512; l++ {
		if cpu.SetLevel(l) == nil {
			t.Run(l.String(), func(t *testing.T) { f(t, l) })
		}
	}
	if err := cpu.SetLevel(old); err != nil {
		t.Fatal(err)
	}
}

// NeedAVX512 skips a test that compares AVX-512 with AVX2 where there is no AVX-512, and says what is not tested then.
func NeedAVX512(t *testing.T) {
	t.Helper()
	old := cpu.This().Level
	if cpu.SetLevel(cpu.AVX512) != nil {
		t.Skip("SKIP: no AVX-512 in this machine or build: that it gives the bits of AVX2 is not tested")
	}
	if err := cpu.SetLevel(old); err != nil {
		t.Fatal(err)
	}
}

// WithThreads runs f with each of the given numbers of threads and restores the old one.
func WithThreads(t testing.TB, counts []int, f func(threads int)) {
	t.Helper()
	old := parallel.Threads()
	defer parallel.SetThreads(old)
	for _, n := range counts {
		parallel.SetThreads(n)
		f(n)
	}
}

// Near reports the first element of got further than bound*scale from want, scale the largest magnitude in want.
func Near(got []float32, want []float64, bound float64) error {
	scale := 1e-30
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range want {
		if e := math.Abs(float64(got[i]) - v); !(e <= bound*scale) {
			return fmt.Errorf("element %d of %d is %v, not %v: off by %.2g of the largest, %.3g", i, len(want), got[i], v, e/scale, scale)
		}
	}
	return nil
}

// Benchmark runs f as the benchmark of a name. floats is the least traffic of a call, every operand once, so that MB/s tells how
// far it is from the memory's.
func Benchmark(b *testing.B, name string, floats int, f func()) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(int64(4 * floats))
		for b.Loop() {
			f()
		}
	})
}

// ReportGFLOPS reports the GFLOP/s of a benchmark whose turns have so many floating-point operations each.
func ReportGFLOPS(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
}

// BenchmarkLevels runs f once per level that the machine has, the best first.
func BenchmarkLevels(b *testing.B, f func(b *testing.B)) {
	old := cpu.This().Level
	for l := cpu.AVX512; l >= cpu.Generic; l-- {
		if cpu.SetLevel(l) == nil {
			b.Run(l.String(), f)
		}
	}
	if err := cpu.SetLevel(old); err != nil {
		b.Fatal(err)
	}
}

// Differences is the gradient of loss by each entry of x, by central differences.
func Differences(x []float32, loss func() float64) []float64 {
	g := make([]float64, len(x))
	for i, old := range x {
		x[i] = old + 1e-3
		up, high := x[i], loss()
		x[i] = old - 1e-3
		down, low := x[i], loss()
		x[i] = old
		g[i] = (high - low) / (float64(up) - float64(down))
	}
	return g
}

// EqualOnVectorLevels compares the results of f on AVX2 and on AVX-512.
func EqualOnVectorLevels(t *testing.T, what string, f func() map[string][]float32) {
	t.Helper()
	NeedAVX512(t)
	old := cpu.This().Level
	defer cpu.SetLevel(old)
	var results []map[string][]float32
	for l := cpu.AVX2; l <= cpu.AVX512; l++ {
		if err := cpu.SetLevel(l); err != nil {
			t.Fatal(err)
		}
		results = append(results, f())
	}
	for name, want := range results[0] {
		if err := SameBits(results[1][name], want); err != nil {
			t.Errorf("%s: %s: AVX-512 against AVX2: %v", what, name, err)
		}
	}
}
