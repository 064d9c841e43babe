//go:build !amd64 || noasm

package norm

func normStats(sum, sq, x, around []float32, xStride, rows int) {
	normStatsGo(sum, sq, x, around, xStride, rows)
}

func normApply(y, x, scale, off []float32, yStride, xStride, rows int, silu bool) {
	normApplyGo(y, x, scale, off, yStride, xStride, rows, silu)
}

func normBackSums(sum, dot, dy, x, mean []float32, yStride, xStride, rows int) {
	normBackSumsGo(sum, dot, dy, x, mean, yStride, xStride, rows)
}

func normBackSumsSiLU(sum, dot, dz, dy, x, scale, off, mean []float32, yStride, xStride, rows int) {
	normBackSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean, yStride, xStride, rows)
}

func normBackApply(dx, dz, x, a, b, c []float32, zStride, xStride, rows int, add bool) {
	normBackApplyGo(dx, dz, x, a, b, c, zStride, xStride, rows, add)
}
