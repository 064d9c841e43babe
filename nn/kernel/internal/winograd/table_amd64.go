//go:build amd64 && !noasm

package winograd

import "unstir/nn/kernel/internal/cpu"

var avx512 = set{
	lanes: 16, tiles: 14, findPixels: findPixelsAVX2,
	f2: transforms{
		geometry: wino2.geometry, input: wino2InputAVX512, output: wino2OutputAVX512, gradient: wino2GradientAVX512,
		filter: wino2FilterAVX512, filterGradient: wino2FilterGradientAVX512, filterGradientStream: wino2FilterGradientStreamAVX512,
	},
	f4: transforms{
		geometry: wino4.geometry, input: wino4InputAVX512, output: wino4OutputAVX512, gradient: wino4GradientAVX512,
		filter: wino4FilterAVX512, filterGradient: wino4FilterGradientAVX512, filterGradientStream: wino4FilterGradientStreamAVX512,
	},
	f6: transforms{
		geometry: wino6.geometry, input: wino6InputAVX512, output: wino6OutputAVX512, gradient: wino6GradientAVX512,
		filter: wino6FilterAVX512, filterGradient: wino6FilterGradientAVX512, filterGradientStream: wino6FilterGradientStreamAVX512,
	},
	up: transforms{
		geometry: winoUp.geometry, input: winoUpInputAVX512, output: winoUpOutputAVX512, gradient: winoUpGradientAVX512,
		filter: winoUpFilterAVX512, filterGradient: winoUpFilterGradientAVX512,
	},
}

var avx2 = set{
	lanes: 8, tiles: 12, findPixels: findPixelsAVX2,
	f2: transforms{
		geometry: wino2.geometry, input: wino2InputAVX2, output: wino2OutputAVX2, gradient: wino2GradientAVX2,
		filter: wino2FilterAVX2, filterGradient: wino2FilterGradientAVX2,
	},
	f4: transforms{
		geometry: wino4.geometry, input: wino4InputAVX2, output: wino4OutputAVX2, gradient: wino4GradientAVX2,
		filter: wino4FilterAVX2, filterGradient: wino4FilterGradientAVX2,
	},
	f6: transforms{
		geometry: wino6.geometry, input: wino6InputAVX2, output: wino6OutputAVX2, gradient: wino6GradientAVX2,
		filter: wino6FilterAVX2, filterGradient: wino6FilterGradientAVX2,
	},
	up: transforms{
		geometry: winoUp.geometry, input: winoUpInputAVX2, output: winoUpOutputAVX2, gradient: winoUpGradientAVX2,
		filter: winoUpFilterAVX2, filterGradient: winoUpFilterGradientAVX2,
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
