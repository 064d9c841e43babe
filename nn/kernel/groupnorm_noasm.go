//go:build !amd64 || noasm

package kernel

func normStats(sum, sq, x, around []float32, rows int) { normStatsGo(sum, sq, x, around, rows) }

func normApply(y, x, scale, off []float32, rows int, silu bool) {
	normApplyGo(y, x, scale, off, rows, silu)
}

func normBackSums(sum, dot, dy, x, mean []float32, rows int) {
	normBackSumsGo(sum, dot, dy, x, mean, rows)
}

func normBackSumsSiLU(sum, dot, dz, dy, x, scale, off, mean []float32, rows int) {
	normBackSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean, rows)
}

func normBackApply(dx, dz, x, a, b, c []float32, rows int) {
	normBackApplyGo(dx, dz, x, a, b, c, rows)
}
