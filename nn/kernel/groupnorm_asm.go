//go:build amd64 && !noasm

package kernel

// normCall is how many floats one call of the assembly takes at most: assembly cannot be preempted, so that a call must
// stay under some tens of microseconds.
const normCall = 1 << 16

// normRows is how many of the rows that are left go into the next call.
func normRows(rows, lanes int) int { return min(rows, max(1, normCall/lanes)) }

func normStats(sum, sq, x, around []float32, rows int) {
	level, lanes := ActiveLevel(), len(sum)
	if level == Generic {
		normStatsGo(sum, sq, x, around, rows)
		return
	}
	for rows > 0 {
		n := normRows(rows, lanes)
		if level == AVX512 {
			normStatsAVX512(&sum[0], &sq[0], &x[0], &around[0], lanes, n)
		} else {
			normStatsAVX2(&sum[0], &sq[0], &x[0], &around[0], lanes, n)
		}
		x, rows = x[n*lanes:], rows-n
	}
}

func normApply(y, x, scale, off []float32, rows int, silu bool) {
	level, lanes := ActiveLevel(), len(scale)
	if level == Generic {
		normApplyGo(y, x, scale, off, rows, silu)
		return
	}
	for rows > 0 {
		n := normRows(rows, lanes)
		switch {
		case level == AVX512 && silu:
			normApplySiLUAVX512(&y[0], &x[0], &scale[0], &off[0], lanes, n)
		case level == AVX512:
			normApplyAVX512(&y[0], &x[0], &scale[0], &off[0], lanes, n)
		case silu:
			normApplySiLUAVX2(&y[0], &x[0], &scale[0], &off[0], lanes, n)
		default:
			normApplyAVX2(&y[0], &x[0], &scale[0], &off[0], lanes, n)
		}
		y, x, rows = y[n*lanes:], x[n*lanes:], rows-n
	}
}

func normBackSums(sum, dot, dy, x, mean []float32, rows int) {
	level, lanes := ActiveLevel(), len(sum)
	if level == Generic {
		normBackSumsGo(sum, dot, dy, x, mean, rows)
		return
	}
	for rows > 0 {
		n := normRows(rows, lanes)
		if level == AVX512 {
			normBackSumsAVX512(&sum[0], &dot[0], &dy[0], &x[0], &mean[0], lanes, n)
		} else {
			normBackSumsAVX2(&sum[0], &dot[0], &dy[0], &x[0], &mean[0], lanes, n)
		}
		dy, x, rows = dy[n*lanes:], x[n*lanes:], rows-n
	}
}

func normBackSumsSiLU(sum, dot, dz, dy, x, scale, off, mean []float32, rows int) {
	level, lanes := ActiveLevel(), len(sum)
	if level == Generic {
		normBackSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean, rows)
		return
	}
	for rows > 0 {
		n := normRows(rows, lanes)
		if level == AVX512 {
			normBackSumsSiLUAVX512(&sum[0], &dot[0], &dz[0], &dy[0], &x[0], &scale[0], &off[0], &mean[0], lanes, n)
		} else {
			normBackSumsSiLUAVX2(&sum[0], &dot[0], &dz[0], &dy[0], &x[0], &scale[0], &off[0], &mean[0], lanes, n)
		}
		dz, dy, x, rows = dz[n*lanes:], dy[n*lanes:], x[n*lanes:], rows-n
	}
}

func normBackApply(dx, dz, x, a, b, c []float32, rows int) {
	level, lanes := ActiveLevel(), len(a)
	if level == Generic {
		normBackApplyGo(dx, dz, x, a, b, c, rows)
		return
	}
	for rows > 0 {
		n := normRows(rows, lanes)
		if level == AVX512 {
			normBackApplyAVX512(&dx[0], &dz[0], &x[0], &a[0], &b[0], &c[0], lanes, n)
		} else {
			normBackApplyAVX2(&dx[0], &dz[0], &x[0], &a[0], &b[0], &c[0], lanes, n)
		}
		dx, dz, x, rows = dx[n*lanes:], dz[n*lanes:], x[n*lanes:], rows-n
	}
}
