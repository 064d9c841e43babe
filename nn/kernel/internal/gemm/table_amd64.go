//go:build amd64 && !noasm

package gemm

import "unstir/nn/kernel/internal/cpu"

var avx512 = Kernels{
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
	Transpose: transpose8AVX2,
}

var avx2 = Kernels{
	maxRows: 6, maxCols: 16,
	rows:      [2][15]func(*byte){{1: tileRows1x16AVX2, 2: tileRows2x16AVX2, 3: tileRows3x16AVX2, 4: tileRows4x16AVX2, 5: tileRows5x16AVX2, 6: tileRows6x16AVX2}},
	cols:      [2][15]func(*byte){{1: tileCols1x16AVX2, 2: tileCols2x16AVX2, 3: tileCols3x16AVX2, 4: tileCols4x16AVX2, 5: tileCols5x16AVX2, 6: tileCols6x16AVX2}},
	Transpose: transpose8AVX2,
}

// avx512Stream is avx512 for a machine that fetches B past the second-level cache.
var avx512Stream = streaming(avx512)

func streaming(s Kernels) Kernels {
	s.rows[1] = [15]func(*byte){1: tileStreamRows1x32AVX512, 2: tileStreamRows2x32AVX512, 3: tileStreamRows3x32AVX512, 4: tileStreamRows4x32AVX512, 5: tileStreamRows5x32AVX512, 6: tileStreamRows6x32AVX512,
		7: tileStreamRows7x32AVX512, 8: tileStreamRows8x32AVX512, 9: tileStreamRows9x32AVX512, 10: tileStreamRows10x32AVX512, 11: tileStreamRows11x32AVX512, 12: tileStreamRows12x32AVX512, 13: tileStreamRows13x32AVX512, 14: tileStreamRows14x32AVX512}
	return s
}

// Of is the micro-kernels for a machine.
func Of(c cpu.Info) *Kernels {
	switch {
	case c.Level == cpu.AVX512 && c.StreamB:
		return &avx512Stream
	case c.Level == cpu.AVX512:
		return &avx512
	case c.Level == cpu.AVX2:
		return &avx2
	}
	return &generic
}
