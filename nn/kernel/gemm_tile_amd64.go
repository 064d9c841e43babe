//go:build amd64 && !noasm

package kernel

var avx512 = isa{
	maxRows: 14, maxCols: 32,
	rows: [2][15]func(*byte){
		{1: tileRows1x16AVX512, 2: tileRows2x16AVX512, 3: tileRows3x16AVX512, 4: tileRows4x16AVX512, 5: tileRows5x16AVX512, 6: tileRows6x16AVX512,
			7: tileRows7x16AVX512, 8: tileRows8x16AVX512, 9: tileRows9x16AVX512, 10: tileRows10x16AVX512, 11: tileRows11x16AVX512, 12: tileRows12x16AVX512, 13: tileRows13x16AVX512, 14: tileRows14x16AVX512},
		{1: tileRows1x32AVX512, 2: tileRows2x32AVX512, 3: tileRows3x32AVX512, 4: tileRows4x32AVX512, 5: tileRows5x32AVX512, 6: tileRows6x32AVX512,
			7: tileRows7x32AVX512, 8: tileRows8x32AVX512, 9: tileRows9x32AVX512, 10: tileRows10x32AVX512, 11: tileRows11x32AVX512, 12: tileRows12x32AVX512, 13: tileRows13x32AVX512, 14: tileRows14x32AVX512},
	},
	cols: [2][15]func(*byte){
		{1: tileCols1x16AVX512, 2: tileCols2x16AVX512, 3: tileCols3x16AVX512, 4: tileCols4x16AVX512, 5: tileCols5x16AVX512, 6: tileCols6x16AVX512,
			7: tileCols7x16AVX512, 8: tileCols8x16AVX512, 9: tileCols9x16AVX512, 10: tileCols10x16AVX512, 11: tileCols11x16AVX512, 12: tileCols12x16AVX512, 13: tileCols13x16AVX512, 14: tileCols14x16AVX512},
		{1: tileCols1x32AVX512, 2: tileCols2x32AVX512, 3: tileCols3x32AVX512, 4: tileCols4x32AVX512, 5: tileCols5x32AVX512, 6: tileCols6x32AVX512,
			7: tileCols7x32AVX512, 8: tileCols8x32AVX512, 9: tileCols9x32AVX512, 10: tileCols10x32AVX512, 11: tileCols11x32AVX512, 12: tileCols12x32AVX512, 13: tileCols13x32AVX512, 14: tileCols14x32AVX512},
	},
	transpose: transpose8AVX2,
	lanes:     16, winoPatches: 14,
	wino4: transforms{
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
	wino2: transforms{
		size: 2, geometry: threeTaps, input: whole(2, wino2InputAVX512), output: whole(2, wino2OutputAVX512), filter: wino2FilterAVX512,
		gradient: whole(2, wino2GradientAVX512), filterGradient: wino2FilterGradientAVX512, filterGradientStream: wino2FilterGradientStreamAVX512,
	},
	winoUp: newParities(transforms{
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
	wino6: transforms{
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

var avx2 = isa{
	maxRows: 6, maxCols: 16,
	rows:      [2][15]func(*byte){{1: tileRows1x16AVX2, 2: tileRows2x16AVX2, 3: tileRows3x16AVX2, 4: tileRows4x16AVX2, 5: tileRows5x16AVX2, 6: tileRows6x16AVX2}},
	cols:      [2][15]func(*byte){{1: tileCols1x16AVX2, 2: tileCols2x16AVX2, 3: tileCols3x16AVX2, 4: tileCols4x16AVX2, 5: tileCols5x16AVX2, 6: tileCols6x16AVX2}},
	transpose: transpose8AVX2,
	lanes:     8, winoPatches: 12,
	wino4: transforms{
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
	wino2: transforms{
		size: 2, geometry: threeTaps, input: whole(2, wino2InputAVX2), output: whole(2, wino2OutputAVX2), filter: wino2FilterAVX2,
		gradient: whole(2, wino2GradientAVX2), filterGradient: wino2FilterGradientAVX2,
	},
	winoUp: newParities(transforms{
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
	wino6: transforms{
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

// avx512Stream is avx512 for a machine that fetches B past the second-level cache.
var avx512Stream = streaming(avx512)

func streaming(s isa) isa {
	s.rows[1] = [15]func(*byte){1: tileStreamRows1x32AVX512, 2: tileStreamRows2x32AVX512, 3: tileStreamRows3x32AVX512, 4: tileStreamRows4x32AVX512, 5: tileStreamRows5x32AVX512, 6: tileStreamRows6x32AVX512,
		7: tileStreamRows7x32AVX512, 8: tileStreamRows8x32AVX512, 9: tileStreamRows9x32AVX512, 10: tileStreamRows10x32AVX512, 11: tileStreamRows11x32AVX512, 12: tileStreamRows12x32AVX512, 13: tileStreamRows13x32AVX512, 14: tileStreamRows14x32AVX512}
	return s
}

// isaOf is the functions of level l.
func isaOf(l Level) *isa {
	switch {
	case l == AVX512 && tuned.streamB:
		return &avx512Stream
	case l == AVX512:
		return &avx512
	case l == AVX2:
		return &avx2
	}
	return &generic
}
