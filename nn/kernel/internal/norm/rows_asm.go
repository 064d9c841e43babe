//go:build amd64 && !noasm

package norm

import "unstir/nn/kernel/internal/cpu"

// normCall is how many floats one call of the assembly takes at most: assembly cannot be preempted, so that a call must
// stay under some tens of microseconds.
const normCall = 1 << 16

// normRows is how many of the rows that are left go into the next call.
func normRows(rows, width int) int { return min(rows, max(1, normCall/width)) }

func normStats(sum, sq, x, around []float32, xStride, rows int) {
	level, width := cpu.Active(), len(sum)
	if level == cpu.Generic {
		normStatsGo(sum, sq, x, around, xStride, rows)
		return
	}
	for r := 0; r < rows; {
		n, x := normRows(rows-r, width), &x[r*xStride]
		if level == cpu.AVX512 {
			normStatsAVX512(&sum[0], &sq[0], x, &around[0], width, xStride, n)
		} else {
			normStatsAVX2(&sum[0], &sq[0], x, &around[0], width, xStride, n)
		}
		r += n
	}
}

func normApply(y, x, scale, off []float32, yStride, xStride, rows int, silu bool) {
	level, width := cpu.Active(), len(scale)
	if level == cpu.Generic {
		normApplyGo(y, x, scale, off, yStride, xStride, rows, silu)
		return
	}
	for r := 0; r < rows; {
		n, y, x := normRows(rows-r, width), &y[r*yStride], &x[r*xStride]
		switch {
		case level == cpu.AVX512 && silu:
			normApplySiLUAVX512(y, x, &scale[0], &off[0], width, yStride, xStride, n)
		case level == cpu.AVX512:
			normApplyAVX512(y, x, &scale[0], &off[0], width, yStride, xStride, n)
		case silu:
			normApplySiLUAVX2(y, x, &scale[0], &off[0], width, yStride, xStride, n)
		default:
			normApplyAVX2(y, x, &scale[0], &off[0], width, yStride, xStride, n)
		}
		r += n
	}
}

func normBackSums(sum, dot, dy, x, mean []float32, yStride, xStride, rows int) {
	level, width := cpu.Active(), len(sum)
	if level == cpu.Generic {
		normBackSumsGo(sum, dot, dy, x, mean, yStride, xStride, rows)
		return
	}
	for r := 0; r < rows; {
		n, dy, x := normRows(rows-r, width), &dy[r*yStride], &x[r*xStride]
		if level == cpu.AVX512 {
			normBackSumsAVX512(&sum[0], &dot[0], dy, x, &mean[0], width, yStride, xStride, n)
		} else {
			normBackSumsAVX2(&sum[0], &dot[0], dy, x, &mean[0], width, yStride, xStride, n)
		}
		r += n
	}
}

func normBackSumsSiLU(sum, dot, dz, dy, x, scale, off, mean []float32, yStride, xStride, rows int) {
	level, width := cpu.Active(), len(sum)
	if level == cpu.Generic {
		normBackSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean, yStride, xStride, rows)
		return
	}
	for r := 0; r < rows; {
		n, dz, dy, x := normRows(rows-r, width), &dz[r*xStride], &dy[r*yStride], &x[r*xStride]
		if level == cpu.AVX512 {
			normBackSumsSiLUAVX512(&sum[0], &dot[0], dz, dy, x, &scale[0], &off[0], &mean[0], width, yStride, xStride, n)
		} else {
			normBackSumsSiLUAVX2(&sum[0], &dot[0], dz, dy, x, &scale[0], &off[0], &mean[0], width, yStride, xStride, n)
		}
		r += n
	}
}

func normBackApply(dx, dz, x, a, b, c []float32, zStride, xStride, rows int, add bool) {
	level, width := cpu.Active(), len(a)
	if level == cpu.Generic {
		normBackApplyGo(dx, dz, x, a, b, c, zStride, xStride, rows, add)
		return
	}
	for r := 0; r < rows; {
		n, dx, dz, x := normRows(rows-r, width), &dx[r*xStride], &dz[r*zStride], &x[r*xStride]
		switch {
		case level == cpu.AVX512 && add:
			normBackAddAVX512(dx, dz, x, &a[0], &b[0], &c[0], width, zStride, xStride, n)
		case level == cpu.AVX512:
			normBackApplyAVX512(dx, dz, x, &a[0], &b[0], &c[0], width, zStride, xStride, n)
		case add:
			normBackAddAVX2(dx, dz, x, &a[0], &b[0], &c[0], width, zStride, xStride, n)
		default:
			normBackApplyAVX2(dx, dz, x, &a[0], &b[0], &c[0], width, zStride, xStride, n)
		}
		r += n
	}
}
