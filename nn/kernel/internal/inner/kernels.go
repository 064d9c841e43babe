package inner

import "math"

// kernels is the functions of one level. They set c = a panelᵀ for the 4 or 1 rows of a [rows, k] and the 12 of a panel
// [k, 12]; rows of c are ldc apart.
type kernels struct {
	rows4, rows1 func(c []float64, ldc int, a []float64, k int, panel []float64)
}

// generic is plain Go, which defines the functions.
var generic = kernels{
	rows4: func(c []float64, ldc int, a []float64, k int, panel []float64) { rowsGo(c, ldc, a, 4, k, panel) },
	rows1: func(c []float64, ldc int, a []float64, k int, panel []float64) { rowsGo(c, ldc, a, 1, k, panel) },
}

func rowsGo(c []float64, ldc int, a []float64, rows, k int, panel []float64) {
	for i := range rows {
		var sums [PanelRows]float64
		for l, v := range a[i*k : i*k+k] {
			for j, w := range panel[l*PanelRows : l*PanelRows+PanelRows] {
				sums[j] = math.FMA(v, w, sums[j])
			}
		}
		copy(c[i*ldc:], sums[:])
	}
}
