package winograd

import "math"

// tuning is what suits the second-level cache of a machine. None of it changes a bit of any result.
type tuning struct {
	// nearV is the most floats of V in a block of F(6x6, 3x3), of more than one row of tiles: a quarter of the
	// second-level cache. On Zen 4 larger blocks take a percent longer, likely because U, as it streams by, pushes V out; on
	// an Intel CPU with 2 MB smaller ones take up to two fifths longer, as U comes from the last cache for every block.
	nearV int

	// planeFirst has a streamed U multiplied plane by plane, each with all panels, which keeps M of all of them. It reads V
	// once instead of once a panel.
	planeFirst bool

	// weightTiles is how many tiles are in one product of a filter's gradient. With fewer, reading and writing D weighs
	// more; more push it out of the cache, but with few channels up to 64 do not.
	weightTiles int

	// weightPanels is how many panels of output channels are in a block of a filter's gradient, where there are so many; with
	// more there are fewer input channels. With 4 instead of 2, tiles of x, which take longer to transform than those of dy,
	// are transformed half as often: 128 channels to as many take 0.98 of the time on an Intel Xeon, 64 to 128 0.92.
	weightPanels int

	// fetchD is the size of a block's D, in floats, from which it is fetched ahead of the products that add to it.
	fetchD int
}

// tuningOf is what was measured to suit a second-level cache of so many bytes: 1 MB (Zen 4) or 2 MB (an Intel Xeon with
// AVX-512 and AMX).
func tuningOf(l2 int) tuning {
	if l2 >= 2<<20 {
		return tuning{nearV: 1 << 17, planeFirst: true, weightTiles: 32, weightPanels: 4, fetchD: 1 << 17}
	}
	return tuning{nearV: 1 << 16, weightTiles: 48, weightPanels: 2, fetchD: math.MaxInt}
}
