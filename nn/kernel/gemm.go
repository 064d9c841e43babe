package kernel

const (
	gemmDepth = 256 // products per element in one pass over a block of B
	gemmFew   = 16  // with at most so many rows, packing B costs more than it gains
)

// gemmProducts keeps the products that no call is using. (A sync.Pool would forget
// them at each garbage collection.)
var gemmProducts = make(chan *product, 64)

func getProduct() *product {
	select {
	case p := <-gemmProducts:
		return p
	default:
		return new(product)
	}
}

func putProduct(p *product) {
	p.tile, p.run = tile{}, tile{} // keep no one's memory alive
	select {
	case gemmProducts <- p:
	default:
	}
}

// Gemm computes C = op(A) op(B), or C += op(A) op(B) when accumulate is set, on the
// calling goroutine. All matrices are row-major: C is [m, n] with rows ldc apart,
// op(A) is [m, k] and op(B) is [k, n]; A is stored [m, k], or [k, m] when transA,
// with rows lda apart, and B is stored [k, n], or [n, k] when transB, with rows ldb
// apart. C must not overlap A or B. Each element of C is one sum over k in order,
// so it does not depend on m or n. scratch has at least GemmScratch(m, n, k) floats.
func Gemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, accumulate bool, scratch []float32) {
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
	p.isa = isaOf(ActiveLevel())
	p.stopFetching()
	p.cRow, p.segs, p.numSegs, p.add = uintptr(4*ldc), &noOffsets[0], 1, nil
	scratch = aligned(scratch)
	for p0 := 0; p0 < k; p0 += gemmDepth {
		depth := min(gemmDepth, k-p0)
		p.segLen = depth
		if transA {
			p.a, p.aRow, p.aCol = &a[p0*lda], 4, uintptr(4*lda)
		} else {
			p.a, p.aRow, p.aCol = &a[p0], uintptr(4*lda), 4
		}
		for j0 := 0; j0 < n; j0 += panelWidth {
			cols := min(panelWidth, n-j0)
			p.c = &c[j0]
			p.init, p.initRow = p.c, p.cRow
			if p0 == 0 && !accumulate {
				p.init, p.initRow = &zeroLine[0], 0
			}
			switch {
			case transB:
				p.isa.packTransposed(scratch, b[j0*ldb+p0:], ldb, depth, cols)
				p.b, p.bRow = &scratch[0], 4*panelWidth
			case m <= gemmFew && cols%16 == 0:
				p.b, p.bRow = &b[p0*ldb+j0], uintptr(4*ldb)
			default:
				packPanel(scratch, b[p0*ldb+j0:], ldb, depth, cols)
				p.b, p.bRow = &scratch[0], 4*panelWidth
			}
			if transA {
				p.colsPanel(m, cols)
			} else {
				p.rowsPanel(m, cols)
			}
		}
	}
	putProduct(p)
}

// GemmScratch is the number of floats of scratch that Gemm needs.
func GemmScratch(m, n, k int) int { return min(k, gemmDepth)*panelWidth + 16 }
