package kernel

// The plain loops that define the kernels of group norm. x, y, ... are rows of len(lane slice) floats.

// normStatsGo adds x-around and (x-around)^2 of each lane to sum and sq.
func normStatsGo(sum, sq, x, around []float32, rows int) {
	n := len(sum)
	sq, around = sq[:n], around[:n]
	for r := 0; r < rows; r++ {
		for l, v := range x[r*n : (r+1)*n] {
			d := v - around[l]
			sum[l] += d
			sq[l] += float32(d * d)
		}
	}
}

// normApplyGo: y = x*scale + off, through SiLU when silu.
func normApplyGo(y, x, scale, off []float32, rows int, silu bool) {
	n := len(scale)
	off = off[:n]
	for r := 0; r < rows; r++ {
		out := y[r*n : (r+1)*n]
		for l, v := range x[r*n : (r+1)*n] {
			z := float32(v*scale[l]) + off[l]
			if silu {
				z = siluGo(z)
			}
			out[l] = z
		}
	}
}

// normBackSumsGo adds dy and dy*(x-mean) of each lane to sum and dot.
func normBackSumsGo(sum, dot, dy, x, mean []float32, rows int) {
	n := len(sum)
	dot, mean = dot[:n], mean[:n]
	for r := 0; r < rows; r++ {
		g := dy[r*n : (r+1)*n]
		for l, v := range x[r*n : (r+1)*n] {
			sum[l] += g[l]
			dot[l] += float32(g[l] * (v - mean[l]))
		}
	}
}

// normBackSumsSiLUGo is normBackSums of dz = dy*silu'(x*scale + off), which it stores; dz may be dy.
func normBackSumsSiLUGo(sum, dot, dz, dy, x, scale, off, mean []float32, rows int) {
	n := len(sum)
	dot, scale, off, mean = dot[:n], scale[:n], off[:n], mean[:n]
	for r := 0; r < rows; r++ {
		g, d := dy[r*n:(r+1)*n], dz[r*n:(r+1)*n]
		for l, v := range x[r*n : (r+1)*n] {
			t := g[l] * siluSlopeGo(float32(v*scale[l])+off[l])
			d[l] = t
			sum[l] += t
			dot[l] += float32(t * (v - mean[l]))
		}
	}
}

// normBackApplyGo: dx = a*dz + (b*x + c); dx may be dz.
func normBackApplyGo(dx, dz, x, a, b, c []float32, rows int) {
	n := len(a)
	b, c = b[:n], c[:n]
	for r := 0; r < rows; r++ {
		out, g := dx[r*n:(r+1)*n], dz[r*n:(r+1)*n]
		for l, v := range x[r*n : (r+1)*n] {
			out[l] = float32(a[l]*g[l]) + (float32(b[l]*v) + c[l])
		}
	}
}
