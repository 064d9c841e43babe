package gemm

// PackPanel writes the first cols columns of the k rows at b, ldb apart, as a panel.
func PackPanel(panel, b []float32, ldb, k, cols int) {
	for p := 0; p < k; p++ {
		row := panel[p*PanelWidth : (p+1)*PanelWidth]
		clear(row[copy(row, b[p*ldb:p*ldb+cols]):])
	}
}

// PackTransposed writes the transpose of the cols rows at b, ldb apart and k long,
// as a panel.
func (s *Kernels) PackTransposed(panel, b []float32, ldb, k, cols int) {
	whole := k &^ 7
	for j := 0; j < cols; j += 8 {
		if j+8 > cols {
			for ; j < cols; j++ {
				for p, v := range b[j*ldb : j*ldb+k] {
					panel[p*PanelWidth+j] = v
				}
			}
			break
		}
		if whole > 0 {
			_ = panel[(whole-1)*PanelWidth+j+7]
			_ = b[(j+7)*ldb+whole-1]
			s.Transpose(&panel[j], 4*PanelWidth, &b[j*ldb], uintptr(4*ldb), whole/8)
		}
		for i := j; i < j+8; i++ {
			for p := whole; p < k; p++ {
				panel[p*PanelWidth+i] = b[i*ldb+p]
			}
		}
	}
	if cols < PanelWidth {
		for p := 0; p < k; p++ {
			clear(panel[p*PanelWidth+cols : (p+1)*PanelWidth])
		}
	}
}
