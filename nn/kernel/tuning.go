package kernel

import "math"

// tuning is what suits the caches of a machine. None of it changes a bit of any result.
type tuning struct {
	// nearV is the most floats of V in a block of F(6x6, 3x3), of more than one row of patches: a quarter of the
	// second-level cache. On Zen 4 larger blocks take a percent longer, likely because U, as it streams by, pushes V out; on
	// an Intel CPU with 2 MB smaller ones take up to two fifths longer, as U comes from the last cache for every block.
	nearV int

	// planeFirst has a U from far multiplied plane by plane, each with all panels, which keeps M of all of them. It reads V
	// once instead of once a panel.
	planeFirst bool

	// panelShare times the patches are at most the channels where all patches are transformed before a filter that is new
	// at every call.
	panelShare int

	// weightPatches is how many patches are in one product of a filter's gradient. With fewer, reading and writing D weighs
	// more; more push it out of the cache, but with few channels up to 64 do not.
	weightPatches int

	// weightPanels is how many panels of output channels are in a block of a filter's gradient, where there are so many; with
	// more there are fewer input channels. With 4 instead of 2, patches of x, which take longer to transform than those of dy,
	// are transformed half as often: 128 channels to as many take 0.98 of the time on an Intel Xeon, 64 to 128 0.92.
	weightPanels int

	// sharedFilter is the size of a filter, in pairs of channels, for whose gradient all patches are transformed first.
	sharedFilter int

	// outerBlock is how many channels of x and of dy are in a block of the gradient of a 1x1 filter. Each block reads its
	// channels of all pixels.
	outerBlock int

	// fetchD is the size of a block's D, in floats, from which it is fetched ahead of the products that add to it.
	fetchD int

	// streamB has the rows of B fetched past the second-level cache.
	streamB bool
}

// tuned is this machine's.
var tuned = thisMachine()

// tuningOf is what was measured to suit a second-level cache of so many bytes: 1 MB (Zen 4) or 2 MB (an Intel Xeon with
// AVX-512 and AMX).
func tuningOf(l2 int) tuning {
	if l2 >= 2<<20 {
		return tuning{nearV: 1 << 17, planeFirst: true, panelShare: 1, weightPatches: 32, weightPanels: 4, sharedFilter: 1 << 16, outerBlock: 256, fetchD: 1 << 17}
	}
	return tuning{nearV: 1 << 16, panelShare: 2, weightPatches: 48, weightPanels: 2, sharedFilter: math.MaxInt, outerBlock: 64, fetchD: math.MaxInt}
}
