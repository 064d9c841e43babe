package norm

import "unstir/nn/kernel/internal/vec"

// The plain loops that define the kernels of group norm. x, y, ... are rows of as many floats as a lane slice has; from a
// row to the next it is xStride floats in x and what has its shape, yStride in y and dy, zStride in dz.

// normStatsGo adds x-around and (x-around)^2 of each lane to sum and sq.
func normStatsGo(sum, sq, x, around []float32, xStride, rows int) {
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

// normApplyGo: y = x*scale + off, through SiLU when silu.
func normApplyGo(y, x, scale, off []float32, yStride, xStride, rows int, silu bool) {
	n := len(scale)
	off = off[:n]
	for r := 0; r < rows; r++ {
		out := y[r*yStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			z := float32(v*scale[l]) + off[l]
			if silu {
				z = vec.SiLU(z)
			}
			out[l] = z
		}
	}
}

// normBackSumsGo adds dy and dy*(x-mean) of each lane to sum and dot.
func normBackSumsGo(sum, dot, dy, x, mean []float32, yStride, xStride, rows int) {
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

// normBackSumsSiLUGo is normBackSums of dz = dy*silu'(x*scale + off), which it stores with x's stride; dz may be dy.
func normBackSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean []float32, yStride, xStride, rows int) {
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

// normBackApplyGo: dx = a*dz + (b*x + c), dx with x's stride; dx may be dz. With add, that is added to dx.
func normBackApplyGo(dx, dz, x, a, b, c []float32, zStride, xStride, rows int, add bool) {
	n := len(a)
	b, c = b[:n], c[:n]
	for r := 0; r < rows; r++ {
		out, g := dx[r*xStride:][:n], dz[r*zStride:][:n]
		for l, v := range x[r*xStride:][:n] {
			d := float32(a[l]*g[l]) + (float32(b[l]*v) + c[l])
			if add {
				d += out[l]
			}
			out[l] = d
		}
	}
}
