package winograd

// Winograd's F(2x2, 3x3), whose matrices matrices.txt has, computes a 2x2 tile of outputs with 16 multiplications where the direct sum takes 36. F(4x4, 3x3) takes 9
// for each output channel and pixel where this takes 16, but its transformed filters have 36 planes.
var wino2 = algorithm{
	geometry: geometry{sizes: []int{2}, taps: 3}, input: wino2Input, output: wino2Output, gradient: wino2Gradient,
	filter: wino2Filter, filterGradient: wino2FilterGradient,
}

// wino2Input is B^T d.
func wino2Input(_ int, d line) line { return line{d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]} }

// wino2Output is A^T v.
func wino2Output(_ int, v line) line { return line{v[0] + (v[1] + v[2]), v[1] - v[2] + v[3]} }

// wino2Gradient is A y.
func wino2Gradient(_ int, y line) line { return line{y[0], y[0] + y[1], y[0] - y[1], y[1]} }

// wino2Filter is G g.
func wino2Filter(_ int, g line) line {
	e := g[0] + g[2]
	return line{g[0], float32(0.5 * (e + g[1])), float32(0.5 * (e - g[1])), g[2]}
}

// wino2FilterGradient is G^T u.
func wino2FilterGradient(u line) line {
	e := float32(0.5 * (u[1] + u[2]))
	return line{u[0] + e, float32(0.5 * (u[1] - u[2])), e + u[3]}
}
