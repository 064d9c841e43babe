//go:build amd64 && !noasm

package attention

import (
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
)

func softmaxRows(p, largest, sum []float32, rows, width int, scale float32) {
	switch cpu.Active() {
	case cpu.AVX512:
		softmaxRowsAVX512(&p[0], &largest[0], &sum[0], rows, width, scale)
	case cpu.AVX2:
		softmaxRowsAVX2(&p[0], &largest[0], &sum[0], rows, width, scale)
	default:
		softmaxRowsGo(p, largest, sum, rows, width, scale)
	}
}

func softmaxBackRows(p, ds, lse, delta []float32, rows, width int, scale float32) {
	switch cpu.Active() {
	case cpu.AVX512:
		softmaxBackRowsAVX512(&p[0], &ds[0], &delta[0], &lse[0], rows, width, scale)
	case cpu.AVX2:
		softmaxBackRowsAVX2(&p[0], &ds[0], &delta[0], &lse[0], rows, width, scale)
	default:
		softmaxBackRowsGo(p, ds, lse, delta, rows, width, scale)
	}
}

func softmaxKeptRows(p, ds, delta []float32, rows, width int, scale float32) {
	switch cpu.Active() {
	case cpu.AVX512:
		softmaxKeptRowsAVX512(&p[0], &ds[0], &delta[0], rows, width, scale)
	case cpu.AVX2:
		softmaxKeptRowsAVX2(&p[0], &ds[0], &delta[0], rows, width, scale)
	default:
		softmaxKeptRowsGo(p, ds, delta, rows, width, scale)
	}
}

func laneScores(p, a, lanes, high []float32, ld, rows, d int) {
	var h *float32
	if high != nil {
		h = &high[0]
	}
	switch cpu.Active() {
	case cpu.AVX512:
		laneScoresAVX512(&p[0], &a[0], &lanes[0], h, 4*ld, rows, d)
	case cpu.AVX2:
		laneScoresAVX2(&p[0], &a[0], &lanes[0], h, 4*ld, rows, d)
	default:
		laneScoresGo(p, a, lanes, high, ld, rows, d)
	}
}

func laneSum(out, a, p, factor []float32, ld, rows, d int) {
	switch cpu.Active() {
	case cpu.AVX512:
		laneSumAVX512(&out[0], &a[0], &p[0], &factor[0], 4*ld, rows, d)
	case cpu.AVX2:
		laneSumAVX2(&out[0], &a[0], &p[0], &factor[0], 4*ld, rows, d)
	default:
		laneSumGo(out, a, p, factor, ld, rows, d)
	}
}

func laneAdd(out, a, p []float32, ld, rows, d int) {
	switch cpu.Active() {
	case cpu.AVX512:
		laneAddAVX512(&out[0], &a[0], &p[0], 4*ld, rows, d)
	case cpu.AVX2:
		laneAddAVX2(&out[0], &a[0], &p[0], 4*ld, rows, d)
	default:
		laneAddGo(out, a, p, ld, rows, d)
	}
}

func laneExp(p, high, lse, inverse []float32, rows int, scale float32) {
	switch cpu.Active() {
	case cpu.AVX512:
		laneExpAVX512(&p[0], &high[0], &lse[0], &inverse[0], rows, scale)
	case cpu.AVX2:
		laneExpAVX2(&p[0], &high[0], &lse[0], &inverse[0], rows, scale)
	default:
		laneExpGo(p, high, lse, inverse, rows, scale)
	}
}

func laneGradients(p, ds, lse, delta []float32, rows int, scale float32) {
	switch cpu.Active() {
	case cpu.AVX512:
		laneGradientsAVX512(&p[0], &ds[0], &lse[0], &delta[0], rows, scale)
	case cpu.AVX2:
		laneGradientsAVX2(&p[0], &ds[0], &lse[0], &delta[0], rows, scale)
	default:
		laneGradientsGo(p, ds, lse, delta, rows, scale)
	}
}

func toLanes(lanes, rows []float32, ld, d int) {
	done := 0
	if cpu.Active() != cpu.Generic && d >= 8 {
		done = d &^ 7
		gemm.Of(cpu.This()).Transpose(&lanes[0], 64, &rows[0], uintptr(4*ld), done/8)
		gemm.Of(cpu.This()).Transpose(&lanes[8], 64, &rows[8*ld], uintptr(4*ld), done/8)
	}
	if done < d {
		toLanesGo(lanes[16*done:], rows[done:], ld, d-done)
	}
}

func fromLanes(rows, lanes []float32, ld, d int) {
	done := 0
	if cpu.Active() != cpu.Generic {
		for ; done+8 <= d; done += 8 {
			gemm.Of(cpu.This()).Transpose(&rows[done], uintptr(4*ld), &lanes[16*done], 64, 2)
		}
	}
	if done < d {
		fromLanesGo(rows[done:], lanes[16*done:], ld, d-done)
	}
}

func packRows(dst, src []float32, ld, rows, d int) {
	if cpu.Active() == cpu.Generic || d%8 != 0 {
		packRowsGo(dst, src, ld, rows, d)
		return
	}
	packRowsAVX2(&dst[0], &src[0], 4*ld, rows, d)
}
