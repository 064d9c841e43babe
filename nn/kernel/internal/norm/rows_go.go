package norm

import "unstir/nn/kernel/internal/vec"

// The plain loops that define the kernels of group norm.

// generic is the plain Go level.
var generic = kernels{
	stats: statsGo, apply: applyGo, applySiLU: applySiLUGo,
	backSums: backSumsGo, backSumsSiLU: backSumsSiLUGo, backApply: backApplyGo, backAdd: backAddGo,
}

func statsGo(sum, sq, x, around []float32, xStride, rows int) {
	n := len(sum)
	sq, around = sq[:n], around[:n]
	for r := 0; r < rows; r++ {
		for l, v := range x[r*xStride:][:n] {
			d := v - around[l]
			sum[l] += d
			sq[l] += float32(d * d)
		}
	}
}

func applyGo(y, x, scale, off []float32, yStride, xStride, rows int) {
	n := len(scale)
	off = off[:n]
	for r := 0; r < rows; r++ {
		out := y[r*yStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			out[l] = float32(v*scale[l]) + off[l]
		}
	}
}

func applySiLUGo(y, x, scale, off []float32, yStride, xStride, rows int) {
	n := len(scale)
	off = off[:n]
	for r := 0; r < rows; r++ {
		out := y[r*yStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			out[l] = vec.SiLU(float32(v*scale[l]) + off[l])
		}
	}
}

func backSumsGo(sum, dot, dy, x, mean []float32, yStride, xStride, rows int) {
	n := len(sum)
	dot, mean = dot[:n], mean[:n]
	for r := 0; r < rows; r++ {
		g := dy[r*yStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			sum[l] += g[l]
			dot[l] += float32(g[l] * (v - mean[l]))
		}
	}
}

func backSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean []float32, yStride, xStride, rows int) {
	n := len(sum)
	dot, scale, off, mean = dot[:n], scale[:n], off[:n], mean[:n]
	for r := 0; r < rows; r++ {
		g, d := dy[r*yStride:][:n], dz[r*xStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			t := g[l] * vec.SiLUSlope(float32(v*scale[l])+off[l])
			d[l] = t
			sum[l] += t
			dot[l] += float32(t * (v - mean[l]))
		}
	}
}

func backApplyGo(dx, dz, x, a, b, c []float32, zStride, xStride, rows int) {
	n := len(a)
	b, c = b[:n], c[:n]
	for r := 0; r < rows; r++ {
		out, g := dx[r*xStride:][:n], dz[r*zStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			out[l] = float32(a[l]*g[l]) + (float32(b[l]*v) + c[l])
		}
	}
}

func backAddGo(dx, dz, x, a, b, c []float32, zStride, xStride, rows int) {
	n := len(a)
	b, c = b[:n], c[:n]
	for r := 0; r < rows; r++ {
		out, g := dx[r*xStride:][:n], dz[r*zStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			out[l] += float32(a[l]*g[l]) + (float32(b[l]*v) + c[l])
		}
	}
}
