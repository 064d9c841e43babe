//go:build amd64 && !noasm

package winograd

import "unstir/nn/kernel/internal/cpu"

var avx512 = set{
	lanes: 16, tiles: 14,
	f4: transforms{
		size: 4, geometry: threeTaps,
		input: bySize{
			2: {2: wino4Input2x2AVX512, 3: wino4Input2x3AVX512, 4: wino4Input2x4AVX512},
			3: {2: wino4Input3x2AVX512, 3: wino4Input3x3AVX512, 4: wino4Input3x4AVX512},
			4: {2: wino4Input4x2AVX512, 3: wino4Input4x3AVX512, 4: winoInputAVX512},
		},
		output: bySize{
			2: {2: wino4Output2x2AVX512, 3: wino4Output2x3AVX512, 4: wino4Output2x4AVX512},
			3: {2: wino4Output3x2AVX512, 3: wino4Output3x3AVX512, 4: wino4Output3x4AVX512},
			4: {2: wino4Output4x2AVX512, 3: wino4Output4x3AVX512, 4: winoOutputAVX512},
		},
		gradient: bySize{
			2: {2: wino4Gradient2x2AVX512, 3: wino4Gradient2x3AVX512, 4: wino4Gradient2x4AVX512},
			3: {2: wino4Gradient3x2AVX512, 3: wino4Gradient3x3AVX512, 4: wino4Gradient3x4AVX512},
			4: {2: wino4Gradient4x2AVX512, 3: wino4Gradient4x3AVX512, 4: winoGradientAVX512},
		},
		filter: winoFilterAVX512, filterGradient: winoFilterGradientAVX512, filterGradientStream: winoFilterGradientStreamAVX512,
	},
	f2: transforms{
		size: 2, geometry: threeTaps, input: whole(2, wino2InputAVX512), output: whole(2, wino2OutputAVX512), filter: wino2FilterAVX512,
		gradient: whole(2, wino2GradientAVX512), filterGradient: wino2FilterGradientAVX512, filterGradientStream: wino2FilterGradientStreamAVX512,
	},
	up: newParities(transforms{
		size: 4, geometry: twoTaps,
		input: bySize{
			2: {2: winoUpInput2x2AVX512, 3: winoUpInput2x3AVX512, 4: winoUpInput2x4AVX512},
			3: {2: winoUpInput3x2AVX512, 3: winoUpInput3x3AVX512, 4: winoUpInput3x4AVX512},
			4: {2: winoUpInput4x2AVX512, 3: winoUpInput4x3AVX512, 4: winoUpInputAVX512},
		},
		output: bySize{
			2: {2: winoUpOutput2x2AVX512, 3: winoUpOutput2x3AVX512, 4: winoUpOutput2x4AVX512},
			3: {2: winoUpOutput3x2AVX512, 3: winoUpOutput3x3AVX512, 4: winoUpOutput3x4AVX512},
			4: {2: winoUpOutput4x2AVX512, 3: winoUpOutput4x3AVX512, 4: winoUpOutputAVX512},
		},
		gradient: bySize{
			2: {2: winoUpGradient2x2AVX512, 3: winoUpGradient2x3AVX512, 4: winoUpGradient2x4AVX512},
			3: {2: winoUpGradient3x2AVX512, 3: winoUpGradient3x3AVX512, 4: winoUpGradient3x4AVX512},
			4: {2: winoUpGradient4x2AVX512, 3: winoUpGradient4x3AVX512, 4: winoUpGradientAVX512},
		},
		filterGradient: winoUpFilterGradientAVX512,
	}, [2][2]func(*byte){{winoUpFilter00AVX512, winoUpFilter01AVX512}, {winoUpFilter10AVX512, winoUpFilter11AVX512}}),
	f6: transforms{
		size: 6, geometry: threeTaps,
		input: bySize{
			2: {2: wino6Input2x2AVX512, 4: wino6Input2x4AVX512, 6: wino6Input2x6AVX512},
			4: {2: wino6Input4x2AVX512, 4: wino6Input4x4AVX512, 6: wino6Input4x6AVX512},
			6: {2: wino6Input6x2AVX512, 4: wino6Input6x4AVX512, 6: wino6Input6x6AVX512},
		},
		output: bySize{
			2: {2: wino6Output2x2AVX512, 4: wino6Output2x4AVX512, 6: wino6Output2x6AVX512},
			4: {2: wino6Output4x2AVX512, 4: wino6Output4x4AVX512, 6: wino6Output4x6AVX512},
			6: {2: wino6Output6x2AVX512, 4: wino6Output6x4AVX512, 6: wino6Output6x6AVX512},
		},
		gradient: bySize{
			2: {2: wino6Gradient2x2AVX512, 4: wino6Gradient2x4AVX512, 6: wino6Gradient2x6AVX512},
			4: {2: wino6Gradient4x2AVX512, 4: wino6Gradient4x4AVX512, 6: wino6Gradient4x6AVX512},
			6: {2: wino6Gradient6x2AVX512, 4: wino6Gradient6x4AVX512, 6: wino6Gradient6x6AVX512},
		},
		filter: wino6FilterAVX512, filterGradient: wino6FilterGradientAVX512, filterGradientStream: wino6FilterGradientStreamAVX512,
	},
}

var avx2 = set{
	lanes: 8, tiles: 12,
	f4: transforms{
		size: 4, geometry: threeTaps,
		input: bySize{
			2: {2: wino4Input2x2AVX2, 3: wino4Input2x3AVX2, 4: wino4Input2x4AVX2},
			3: {2: wino4Input3x2AVX2, 3: wino4Input3x3AVX2, 4: wino4Input3x4AVX2},
			4: {2: wino4Input4x2AVX2, 3: wino4Input4x3AVX2, 4: winoInputAVX2},
		},
		output: bySize{
			2: {2: wino4Output2x2AVX2, 3: wino4Output2x3AVX2, 4: wino4Output2x4AVX2},
			3: {2: wino4Output3x2AVX2, 3: wino4Output3x3AVX2, 4: wino4Output3x4AVX2},
			4: {2: wino4Output4x2AVX2, 3: wino4Output4x3AVX2, 4: winoOutputAVX2},
		},
		gradient: bySize{
			2: {2: wino4Gradient2x2AVX2, 3: wino4Gradient2x3AVX2, 4: wino4Gradient2x4AVX2},
			3: {2: wino4Gradient3x2AVX2, 3: wino4Gradient3x3AVX2, 4: wino4Gradient3x4AVX2},
			4: {2: wino4Gradient4x2AVX2, 3: wino4Gradient4x3AVX2, 4: winoGradientAVX2},
		},
		filter: winoFilterAVX2, filterGradient: winoFilterGradientAVX2,
	},
	f2: transforms{
		size: 2, geometry: threeTaps, input: whole(2, wino2InputAVX2), output: whole(2, wino2OutputAVX2), filter: wino2FilterAVX2,
		gradient: whole(2, wino2GradientAVX2), filterGradient: wino2FilterGradientAVX2,
	},
	up: newParities(transforms{
		size: 4, geometry: twoTaps,
		input: bySize{
			2: {2: winoUpInput2x2AVX2, 3: winoUpInput2x3AVX2, 4: winoUpInput2x4AVX2},
			3: {2: winoUpInput3x2AVX2, 3: winoUpInput3x3AVX2, 4: winoUpInput3x4AVX2},
			4: {2: winoUpInput4x2AVX2, 3: winoUpInput4x3AVX2, 4: winoUpInputAVX2},
		},
		output: bySize{
			2: {2: winoUpOutput2x2AVX2, 3: winoUpOutput2x3AVX2, 4: winoUpOutput2x4AVX2},
			3: {2: winoUpOutput3x2AVX2, 3: winoUpOutput3x3AVX2, 4: winoUpOutput3x4AVX2},
			4: {2: winoUpOutput4x2AVX2, 3: winoUpOutput4x3AVX2, 4: winoUpOutputAVX2},
		},
		gradient: bySize{
			2: {2: winoUpGradient2x2AVX2, 3: winoUpGradient2x3AVX2, 4: winoUpGradient2x4AVX2},
			3: {2: winoUpGradient3x2AVX2, 3: winoUpGradient3x3AVX2, 4: winoUpGradient3x4AVX2},
			4: {2: winoUpGradient4x2AVX2, 3: winoUpGradient4x3AVX2, 4: winoUpGradientAVX2},
		},
		filterGradient: winoUpFilterGradientAVX2,
	}, [2][2]func(*byte){{winoUpFilter00AVX2, winoUpFilter01AVX2}, {winoUpFilter10AVX2, winoUpFilter11AVX2}}),
	f6: transforms{
		size: 6, geometry: threeTaps,
		input: bySize{
			2: {2: wino6Input2x2AVX2, 4: wino6Input2x4AVX2, 6: wino6Input2x6AVX2},
			4: {2: wino6Input4x2AVX2, 4: wino6Input4x4AVX2, 6: wino6Input4x6AVX2},
			6: {2: wino6Input6x2AVX2, 4: wino6Input6x4AVX2, 6: wino6Input6x6AVX2},
		},
		output: bySize{
			2: {2: wino6Output2x2AVX2, 4: wino6Output2x4AVX2, 6: wino6Output2x6AVX2},
			4: {2: wino6Output4x2AVX2, 4: wino6Output4x4AVX2, 6: wino6Output4x6AVX2},
			6: {2: wino6Output6x2AVX2, 4: wino6Output6x4AVX2, 6: wino6Output6x6AVX2},
		},
		gradient: bySize{
			2: {2: wino6Gradient2x2AVX2, 4: wino6Gradient2x4AVX2, 6: wino6Gradient2x6AVX2},
			4: {2: wino6Gradient4x2AVX2, 4: wino6Gradient4x4AVX2, 6: wino6Gradient4x6AVX2},
			6: {2: wino6Gradient6x2AVX2, 4: wino6Gradient6x4AVX2, 6: wino6Gradient6x6AVX2},
		},
		filter: wino6FilterAVX2, filterGradient: wino6FilterGradientAVX2,
	},
}

// setOf is the transforms of level l.
func setOf(l cpu.Level) *set {
	switch l {
	case cpu.AVX512:
		return &avx512
	case cpu.AVX2:
		return &avx2
	}
	return &generic
}
