package kernel

// Gemm computes C = op(A) op(B), or C += op(A) op(B) when accumulate is set, on the
// calling goroutine. All matrices are row-major: C is [m, n] with rows ldc apart,
// op(A) is [m, k] and op(B) is [k, n]; A is stored [m, k], or [k, m] when transA,
// with rows lda apart, and B is stored [k, n], or [n, k] when transB, with rows ldb
// apart. C must not overlap A or B. Each element of C is one sum over k in order,
// so it does not depend on m or n. scratch has at least GemmScratch(m, n, k) floats.
func Gemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, accumulate bool, scratch []float32) {
	ai, ap := lda, 1
	if transA {
		ai, ap = 1, lda
	}
	bp, bj := ldb, 1
	if transB {
		bp, bj = 1, ldb
	}
	for i := 0; i < m; i++ {
		row := c[i*ldc : i*ldc+n]
		if !accumulate {
			clear(row)
		}
		for p := 0; p < k; p++ {
			x := a[i*ai+p*ap]
			for j := range row {
				row[j] += float32(x * b[p*bp+j*bj])
			}
		}
	}
}

// GemmScratch is the number of floats of scratch that Gemm needs.
func GemmScratch(m, n, k int) int { return 0 }
