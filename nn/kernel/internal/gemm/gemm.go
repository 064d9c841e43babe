package gemm

import "unstir/nn/kernel/internal/mem"

const (
	depthBlock = 256 // products per element in one pass over a block of B
	fewRows    = 16  // with at most so many rows, packing B costs more than it gains
)

// spare keeps the products that no call is using. (A sync.Pool would forget
// them at each garbage collection.)
var spare = make(chan *Product, 64)

func getProduct() *Product {
	select {
	case p := <-spare:
		return p
	default:
		return new(Product)
	}
}

func putProduct(p *Product) {
	p.Operands, p.run = Operands{}, Operands{} // keep no one's memory alive
	select {
	case spare <- p:
	default:
	}
}

// Multiply computes C = op(A) op(B), or C += op(A) op(B) when accumulate is set, on the
// calling goroutine. All matrices are row-major: C is [m, n] with rows ldc apart,
// op(A) is [m, k] and op(B) is [k, n]; A is stored [m, k], or [k, m] when transA,
// with rows lda apart, and B is stored [k, n], or [n, k] when transB, with rows ldb
// apart. C must not overlap A or B. Each element of C is one sum over k in order,
// so it does not depend on m or n. scratch has at least Scratch(m, n, k) floats.
func (s *Kernels) Multiply(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, accumulate bool, scratch []float32) {
	if m <= 0 || n <= 0 {
		return
	}
	_ = c[(m-1)*ldc+n-1] // the assembly does not check
	if k <= 0 {
		for i := 0; i < m && !accumulate; i++ {
			clear(c[i*ldc : i*ldc+n])
		}
		return
	}
	rowsA, rowsB := m, k
	if transA {
		rowsA = k
	}
	if transB {
		rowsB = n
	}
	_, _ = a[(rowsA-1)*lda+m+k-rowsA-1], b[(rowsB-1)*ldb+n+k-rowsB-1]

	p := getProduct()
	p.Kernels = s
	p.StopFetching()
	p.CRow, p.Segs, p.NumSegs, p.Add = uintptr(4*ldc), &NoOffsets[0], 1, nil
	scratch = mem.Aligned(scratch)
	for p0 := 0; p0 < k; p0 += depthBlock {
		depth := min(depthBlock, k-p0)
		p.SegLen = depth
		if transA {
			p.A, p.ARow, p.ACol = &a[p0*lda], 4, uintptr(4*lda)
		} else {
			p.A, p.ARow, p.ACol = &a[p0], uintptr(4*lda), 4
		}
		for j0 := 0; j0 < n; j0 += PanelWidth {
			cols := min(PanelWidth, n-j0)
			p.C = &c[j0]
			p.Init, p.InitRow = p.C, p.CRow
			if p0 == 0 && !accumulate {
				p.Init, p.InitRow = &ZeroLine[0], 0
			}
			switch {
			case transB:
				p.Kernels.PackTransposed(scratch, b[j0*ldb+p0:], ldb, depth, cols)
				p.B, p.BRow = &scratch[0], 4*PanelWidth
			case m <= fewRows && cols%16 == 0:
				p.B, p.BRow = &b[p0*ldb+j0], uintptr(4*ldb)
			default:
				PackPanel(scratch, b[p0*ldb+j0:], ldb, depth, cols)
				p.B, p.BRow = &scratch[0], 4*PanelWidth
			}
			if transA {
				p.ColsPanel(m, cols)
			} else {
				p.RowsPanel(m, cols)
			}
		}
	}
	putProduct(p)
}

// Scratch is the number of floats of scratch that Multiply needs.
func Scratch(m, n, k int) int { return min(k, depthBlock)*PanelWidth + 16 }
