//go:build amd64 && !noasm

package vec

import "unstir/nn/kernel/internal/cpu"

// The assembly takes whole vectors of 16. What is left is padded to one on the stack, so that an element's bits do not
// depend on where it stands.

func Add(dst, a, b []float32) {
	level, n := cpu.Active(), len(dst)&^15
	switch {
	case n == 0 || level == cpu.Generic:
		n = 0
	case level == cpu.AVX512:
		addAVX512(&dst[0], &a[0], &b[0], n)
	default:
		addAVX2(&dst[0], &a[0], &b[0], n)
	}
	addGo(dst[n:], a[n:], b[n:]) // one rounding: the same bits
}

func scaleVec(dst, a []float32, k float32) {
	level, n := cpu.Active(), len(dst)&^15
	switch {
	case n == 0 || level == cpu.Generic:
		n = 0
	case level == cpu.AVX512:
		scaleAVX512(&dst[0], &a[0], n, k)
	default:
		scaleAVX2(&dst[0], &a[0], n, k)
	}
	scaleGo(dst[n:], a[n:], k)
}

func scaledDiff(dst, a, b []float32, k float32) {
	level, n := cpu.Active(), len(dst)&^15
	switch {
	case n == 0 || level == cpu.Generic:
		n = 0
	case level == cpu.AVX512:
		scaledDiffAVX512(&dst[0], &a[0], &b[0], n, k)
	default:
		scaledDiffAVX2(&dst[0], &a[0], &b[0], n, k)
	}
	scaledDiffGo(dst[n:], a[n:], b[n:], k)
}

func siluVec(dst, x []float32) {
	level := cpu.Active()
	if level == cpu.Generic {
		siluVecGo(dst, x)
		return
	}
	n := len(dst) &^ 15
	if n > 0 {
		siluVectors(level, &dst[0], &x[0], n)
	}
	if n < len(dst) {
		var t [16]float32
		copy(t[:], x[n:len(dst)])
		siluVectors(level, &t[0], &t[0], 16)
		copy(dst[n:], t[:])
	}
}

func siluVectors(level cpu.Level, dst, x *float32, n int) {
	if level == cpu.AVX512 {
		siluAVX512(dst, x, n)
	} else {
		siluAVX2(dst, x, n)
	}
}

func siluBackVec(dx, x, dy []float32) {
	level := cpu.Active()
	if level == cpu.Generic {
		siluBackGo(dx, x, dy)
		return
	}
	n := len(dx) &^ 15
	if n > 0 {
		siluBackVectors(level, &dx[0], &x[0], &dy[0], n)
	}
	if n < len(dx) {
		var t, g [16]float32
		copy(t[:], x[n:len(dx)])
		copy(g[:], dy[n:len(dx)])
		siluBackVectors(level, &t[0], &t[0], &g[0], 16)
		copy(dx[n:], t[:])
	}
}

func siluBackVectors(level cpu.Level, dx, x, dy *float32, n int) {
	if level == cpu.AVX512 {
		siluBackAVX512(dx, x, dy, n)
	} else {
		siluBackAVX2(dx, x, dy, n)
	}
}

func sumPairs(dst, top, bottom []float32, w, c int) {
	if cpu.Active() == cpu.Generic || c%8 != 0 {
		sumPairsGo(dst, top, bottom, w, c) // additions in the same order: the same bits
		return
	}
	sumPairsAVX2(&dst[0], &top[0], &bottom[0], w, c)
}

func dropoutVec(dst, x, u []float32, keep, scale float32) {
	n := len(dst) &^ 15
	if cpu.Active() == cpu.Generic {
		n = 0
	}
	if n > 0 {
		dropoutAVX2(&dst[0], &x[0], &u[0], n, keep, scale)
	}
	dropoutGo(dst[n:], x[n:], u[n:], keep, scale) // one rounding: the same bits
}

// The squares and products of float32 are exact in float64, so the tails may be plain Go.

func sumSquaresLanes(lanes *[16]float64, x []float32) {
	level, n := cpu.Active(), len(x)&^15
	switch {
	case n == 0 || level == cpu.Generic:
		n = 0
	case level == cpu.AVX512:
		sumSquaresAVX512(&lanes[0], &x[0], n)
	default:
		sumSquaresAVX2(&lanes[0], &x[0], n)
	}
	sumSquaresGo(lanes, x[n:])
}

func sumSquaredDiffLanes(lanes *[16]float64, a, b []float32) {
	level, n := cpu.Active(), len(a)&^15
	switch {
	case n == 0 || level == cpu.Generic:
		n = 0
	case level == cpu.AVX512:
		sumSquaredDiffAVX512(&lanes[0], &a[0], &b[0], n)
	default:
		sumSquaredDiffAVX2(&lanes[0], &a[0], &b[0], n)
	}
	sumSquaredDiffGo(lanes, a[n:], b[n:])
}

func dotLanes(lanes *[16]float64, a, b []float32) {
	level, n := cpu.Active(), len(a)&^15
	switch {
	case n == 0 || level == cpu.Generic:
		n = 0
	case level == cpu.AVX512:
		dotAVX512(&lanes[0], &a[0], &b[0], n)
	default:
		dotAVX2(&lanes[0], &a[0], &b[0], n)
	}
	dotGo(lanes, a[n:], b[n:])
}
