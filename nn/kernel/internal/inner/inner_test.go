package inner

import (
	"math"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
)

func randoms(seed uint64, n int) []float64 {
	r := kerneltest.Rand(seed)
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// Every product has the bits of the sum that the package's comment defines, at every level, and nothing else is written.
func TestProductsAreFusedSumsInOrder(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range [][3]int{{1, 1, 1}, {4, 12, 64}, {7, 30, 5}, {9, 11, 33}, {64, 49, 64}, {3, 25, 130}} {
			m, n, k := s[0], s[1], s[2]
			a, b := randoms(1, m*k), randoms(2, n*k)
			rows := NewRows(b, n, k, cpu.This())
			if want := (n + 11) / 12; rows.Panels() != want {
				t.Fatalf("%v: %d panels, want %d", s, rows.Panels(), want)
			}
			for first := range rows.Panels() {
				width := (rows.Panels() - first) * PanelRows
				ldc := width + 3
				c := make([]float64, m*ldc)
				for i := range c {
					c[i] = math.NaN()
				}
				rows.Multiply(c, ldc, a, m, first, rows.Panels())
				for i := range c {
					row, col := i/ldc, i%ldc
					want := 0.0
					switch j := first*PanelRows + col; {
					case col >= width:
						want = math.NaN()
					case j < n:
						for l := range k {
							want = math.FMA(a[row*k+l], b[j*k+l], want)
						}
					}
					if math.Float64bits(c[i]) != math.Float64bits(want) {
						t.Fatalf("%v from panel %d: row %d, column %d is %v, want %v", s, first, row, col, c[i], want)
					}
				}
			}
		}
	})
}

// The square of a row has the bits of its product with itself.
func TestSquareIsTheProductWithItself(t *testing.T) {
	const n, k = 13, 37
	b := randoms(3, n*k)
	rows := NewRows(b, n, k, cpu.This())
	c := make([]float64, n*2*PanelRows)
	rows.Multiply(c, 2*PanelRows, b, n, 0, 2)
	for i := range n {
		if got, want := Square(b[i*k:i*k+k]), c[i*2*PanelRows+i]; got != want {
			t.Errorf("row %d: %v, want %v", i, got, want)
		}
	}
}

func BenchmarkInner(b *testing.B) {
	const m, n, k = 64, 240, 64
	a, rows, c := randoms(1, m*k), NewRows(randoms(2, n*k), n, k, cpu.This()), make([]float64, m*n)
	for b.Loop() {
		rows.Multiply(c, n, a, m, 0, rows.Panels())
	}
	b.ReportMetric(float64(2*m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
