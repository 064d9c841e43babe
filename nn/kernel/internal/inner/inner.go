package inner

import (
	"math"

	"unstir/nn/kernel/internal/cpu"
)

// PanelRows is how many of the right rows are multiplied together.
const PanelRows = 12

// Rows are the right rows of the products.
type Rows struct {
	kernels *kernels
	k       int
	panels  []float64 // [ceil(n/12), k, 12], 0 beyond the last row
}

// NewRows copies the rows of b [n, k], which lie without gaps, for a machine; k is at least 1.
func NewRows(b []float64, n, k int, c cpu.Info) *Rows {
	r := &Rows{kernels: of(c), k: k, panels: make([]float64, (n+PanelRows-1)/PanelRows*PanelRows*k)}
	for i := range n {
		panel := r.panels[i/PanelRows*PanelRows*k:]
		for l, v := range b[i*k : i*k+k] {
			panel[l*PanelRows+i%PanelRows] = v
		}
	}
	return r
}

// Panels is the number of panels, of 12 rows each but for the last.
func (r *Rows) Panels() int { return len(r.panels) / (PanelRows * r.k) }

// Multiply sets c[i*ldc + j], for the m rows of a [m, k] and the rows of panels first to end, j counted from the first of
// these, to the inner product of row i and row j, on the calling goroutine. The last panel counts 12 rows too: those that
// it does not have give 0.
func (r *Rows) Multiply(c []float64, ldc int, a []float64, m, first, end int) {
	for p := first; p < end; p++ {
		panel, out := r.panels[p*PanelRows*r.k:(p+1)*PanelRows*r.k], c[(p-first)*PanelRows:]
		i := 0
		for ; i+4 <= m; i += 4 {
			r.kernels.rows4(out[i*ldc:], ldc, a[i*r.k:], r.k, panel)
		}
		for ; i < m; i++ {
			r.kernels.rows1(out[i*ldc:], ldc, a[i*r.k:], r.k, panel)
		}
	}
}

// Square is the inner product of a row with itself.
func Square(a []float64) float64 {
	sum := 0.0
	for _, v := range a {
		sum = math.FMA(v, v, sum)
	}
	return sum
}
