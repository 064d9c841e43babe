//go:build amd64 && !noasm

package optimizer

import "unstir/nn/kernel/internal/cpu"

// adamwVec updates len(w) parameters; ema may be nil. The last ones, short of a vector, are padded to one on the stack.
func adamwVec(w, m, v, ema, g []float32, k *adamwConstants) {
	level := cpu.Active()
	if level == cpu.Generic {
		adamwGo(w, m, v, ema, g, k)
		return
	}
	n := len(w) &^ 15
	if n > 0 {
		var e *float32
		if ema != nil {
			e = &ema[0]
		}
		adamwVectors(level, &w[0], &m[0], &v[0], e, &g[0], k, n)
	}
	if n == len(w) {
		return
	}
	var t [5][16]float32 // w, m, v, g, ema
	for i, x := range [4][]float32{w, m, v, g} {
		copy(t[i][:], x[n:])
	}
	e := &t[4][0]
	if ema == nil {
		e = nil
	} else {
		copy(t[4][:], ema[n:])
	}
	adamwVectors(level, &t[0][0], &t[1][0], &t[2][0], e, &t[3][0], k, 16)
	for i, x := range [3][]float32{w, m, v} {
		copy(x[n:], t[i][:])
	}
	if ema != nil {
		copy(ema[n:], t[4][:])
	}
}

func adamwVectors(level cpu.Level, w, m, v, ema, g *float32, k *adamwConstants, n int) {
	c := &k.gradScale
	switch {
	case level == cpu.AVX512 && ema != nil:
		adamwEMAAVX512(w, m, v, g, ema, c, n)
	case level == cpu.AVX512:
		adamwAVX512(w, m, v, g, c, n)
	case ema != nil:
		adamwEMAAVX2(w, m, v, g, ema, c, n)
	default:
		adamwAVX2(w, m, v, g, c, n)
	}
}
