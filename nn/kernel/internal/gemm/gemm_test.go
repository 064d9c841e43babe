package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"unstir/internal/alloctest"
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

type gemmCase struct {
	m, n, k        int
	transA, transB bool
	accumulate     bool
	extra          int // rows are this much further apart than they are long
}

// gemmCases: small and odd sizes of every kind, and sizes beyond one block.
func gemmCases(r *rand.Rand) []gemmCase {
	var cases []gemmCase
	n := 120
	if kerneltest.RaceDetector { // which is a hundred times slower
		n = 16
	}
	for i := 0; i < n; i++ {
		cases = append(cases, gemmCase{1 + r.IntN(70), 1 + r.IntN(70), 1 + r.IntN(70), i&1 > 0, i&2 > 0, i&4 > 0, r.IntN(4)})
	}
	for i := 0; i < n/30; i++ {
		cases = append(cases, gemmCase{150 + r.IntN(50), 150 + r.IntN(50), 500 + r.IntN(100), i&1 > 0, i&2 > 0, i&1 > 0, 0})
	}
	cases = append(cases, gemmCase{1, 1, 1, false, false, false, 0})
	if kerneltest.RaceDetector {
		return cases
	}
	return append(cases, gemmCase{64, 512, 512, false, false, true, 0}, gemmCase{100, 100, 512, true, true, false, 412})
}

// run computes the case by Gemm; bad is nil when every element is within bound of
// the float64 sum and nothing outside C's elements was written. The bound on one
// element is (k+2) eps sum |a b|, the bound of a sum of k products in any order.
func (g gemmCase) run(r *rand.Rand) (c []float32, bad error) {
	lda, ldb, ldc := g.k+g.extra, g.n+g.extra, g.n+g.extra
	ra, rb := g.m, g.k
	if g.transA {
		lda, ra = g.m+g.extra, g.k
	}
	if g.transB {
		ldb, rb = g.k+g.extra, g.n
	}
	a, b, c := kerneltest.Randoms(r, ra*lda), kerneltest.Randoms(r, rb*ldb), kerneltest.Randoms(r, g.m*ldc)
	old := append([]float32(nil), c...)
	Of(cpu.This()).Multiply(c, ldc, a, lda, g.transA, b, ldb, g.transB, g.m, g.n, g.k, g.accumulate, kerneltest.Garbage(Scratch(g.m, g.n, g.k)))
	for i := 0; i < g.m; i++ {
		for j := 0; j < ldc; j++ {
			at := i*ldc + j
			if j >= g.n {
				if c[at] != old[at] {
					return c, fmt.Errorf("%+v: wrote beyond row %d", g, i)
				}
				continue
			}
			var sum, size float64
			if g.accumulate {
				sum = float64(old[at])
				size = math.Abs(sum)
			}
			for p := 0; p < g.k; p++ {
				ap, bp := i*lda+p, p*ldb+j
				if g.transA {
					ap = p*lda + i
				}
				if g.transB {
					bp = j*ldb + p
				}
				v := float64(a[ap]) * float64(b[bp])
				sum += v
				size += math.Abs(v)
			}
			if bound := float64(g.k+2) * 0x1p-24 * size; !(math.Abs(float64(c[at])-sum) <= bound) {
				return c, fmt.Errorf("%+v: c[%d,%d] = %v, want %v within %.1e", g, i, j, c[at], sum, bound)
			}
		}
	}
	return c, nil
}

func TestGemmAgainstFloat64(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(1)
		for _, g := range gemmCases(r) {
			if _, err := g.run(r); err != nil {
				t.Error(err)
			}
		}
	})
}

// An element of C is the same whatever m and n are.
func TestGemmBitsDoNotDependOnTheOtherRowsAndColumns(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		const m, n, k = 61, 75, 300
		r := kerneltest.Rand(2)
		for _, trans := range []int{0, 1, 2, 3} {
			transA, transB := trans&1 > 0, trans&2 > 0
			lda, ldb := k, n
			if transA {
				lda = m
			}
			if transB {
				ldb = k
			}
			a, b := kerneltest.Randoms(r, m*k), kerneltest.Randoms(r, k*n)
			whole, part := make([]float32, m*n), make([]float32, m*n)
			Of(cpu.This()).Multiply(whole, n, a, lda, transA, b, ldb, transB, m, n, k, false, kerneltest.Garbage(Scratch(m, n, k)))
			for _, mm := range []int{1, 2, 13, 30} {
				for _, nn := range []int{1, 3, 16, 17, 40} {
					Of(cpu.This()).Multiply(part, n, a, lda, transA, b, ldb, transB, mm, nn, k, false, kerneltest.Garbage(Scratch(mm, nn, k)))
					for i := 0; i < mm; i++ {
						if err := kerneltest.SameBits(part[i*n:i*n+nn], whole[i*n:i*n+nn]); err != nil {
							t.Fatalf("transA %v, transB %v, the first %d rows and %d columns: row %d: %v", transA, transB, mm, nn, i, err)
						}
					}
				}
			}
		}
	})
}

func TestGemmBitsOfAVX2AndAVX512(t *testing.T) {
	kerneltest.NeedAVX512(t)
	defer cpu.SetLevel(cpu.This().Level)
	for seed, g := range gemmCases(kerneltest.Rand(3)) {
		var c [2][]float32
		for i, l := range []cpu.Level{cpu.AVX2, cpu.AVX512} {
			cpu.SetLevel(l)
			var err error
			if c[i], err = g.run(kerneltest.Rand(uint64(seed))); err != nil {
				t.Fatal(err)
			}
		}
		if err := kerneltest.SameBits(c[0], c[1]); err != nil {
			t.Errorf("%+v: %v", g, err)
		}
	}
}

func TestGemmDoesNotAllocate(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(4)
		a, b, c, scratch := kerneltest.Randoms(r, 400), kerneltest.Randoms(r, 400), kerneltest.Randoms(r, 400), make([]float32, Scratch(20, 20, 20))
		if n := alloctest.Count(20, func() { Of(cpu.This()).Multiply(c, 20, a, 20, false, b, 20, true, 20, 20, 20, false, scratch) }); n > 0 {
			t.Errorf("%d allocations in 20 calls", n)
		}
	})
}

// TestFetch counts how far a product's fetches go: what it is told to fetch is at an end when its last tile is, but
// for a line or two of rounding up.
func TestFetch(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, l cpu.Level) {
		for _, c := range []struct{ rows, cols, depth, n, width, c0, c1 int }{
			{14, 32, 64, 100, 64, 0, 64}, {84, 32, 17, 33, 48, 16, 48}, {29, 16, 128, 640, 128, 64, 128}, {5, 30, 9, 7, 40, 32, 40},
		} {
			p := &NewProducts(1, Of(cpu.Info{Level: l}))[0]
			r := kerneltest.Rand(1)
			a, b, out := kerneltest.Randoms(r, c.rows*c.depth), kerneltest.Randoms(r, c.depth*PanelWidth), make([]float32, c.rows*PanelWidth)
			p.A, p.ARow, p.ACol, p.B, p.BRow, p.C, p.CRow = &a[0], uintptr(4*c.depth), 4, &b[0], 4*PanelWidth, &out[0], 4*PanelWidth
			p.Init, p.Segs, p.NumSegs, p.SegLen = &ZeroLine[0], &NoOffsets[0], 1, c.depth
			tiles := p.Tiles(c.rows, c.cols)
			whole, part := make([]float32, c.n*c.width), make([]float32, c.n*c.width)
			p.Fetch(0, whole, tiles*c.depth)
			p.FetchColumns(1, part, c.width, c.c0, c.c1, tiles, c.depth)
			start := [2]uintptr{p.flow[0].address, p.flow[1].address}
			gaps := p.prefetch[1]
			p.RowsPanel(c.rows, c.cols)

			if l == cpu.Generic { // plain Go fetches nothing
				if start != [2]uintptr{p.flow[0].address, p.flow[1].address} || p.prefetch[1] != gaps {
					t.Errorf("%+v: plain Go has fetched", c)
				}
				continue
			}
			fetched, want := p.flow[0].address-start[0], uintptr(4*len(whole))
			if most := uintptr(64 * tiles * c.depth); want > most {
				want = most // a line with every column of A is as much as there can be
			}
			if fetched < want || fetched >= want+uintptr(tiles*c.depth) {
				t.Errorf("%+v: fetched %d bytes of %d", c, fetched, want)
			}
			if c.c1-c.c0 == c.width {
				if p.prefetch[1] != (stream{}) || p.flow[1].address-start[1] != fetched {
					t.Errorf("%+v: all columns of a matrix: %+v and %d bytes, not %d", c, p.prefetch[1], p.flow[1].address-start[1], fetched)
				}
				continue
			}
			rows := (p.prefetch[1].address - gaps.address) / uintptr(4*c.width)
			if rows < uintptr(c.n) || rows >= uintptr(c.n+tiles) || p.flow[1].address != start[1] {
				t.Errorf("%+v: fetched %d rows of %d", c, rows, c.n)
			}
			if gaps.lines*16 < c.c1-c.c0 {
				t.Errorf("%+v: runs of %d lines", c, gaps.lines)
			}
		}
	})
}
