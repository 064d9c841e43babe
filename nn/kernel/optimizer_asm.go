//go:build amd64 && !noasm

package kernel

// adamwVec updates len(w) parameters; ema may be nil. The last ones, short of a vector, are padded to one on the stack.
func adamwVec(w, m, v, ema, g []float32, k *adamwConstants) {
	level := ActiveLevel()
	if level == Generic {
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

func adamwVectors(level Level, w, m, v, ema, g *float32, k *adamwConstants, n int) {
	c := &k.gradScale
	switch {
	case level == AVX512 && ema != nil:
		adamwAveragesAVX512(w, m, v, g, ema, c, n)
	case level == AVX512:
		adamwAVX512(w, m, v, g, c, n)
	case ema != nil:
		adamwAveragesAVX2(w, m, v, g, ema, c, n)
	default:
		adamwAVX2(w, m, v, g, c, n)
	}
}

// averageVec adds k*(w - ema) to ema.
func averageVec(ema, w []float32, k float32) {
	level := ActiveLevel()
	if level == Generic {
		averageGo(ema, w, k)
		return
	}
	n := len(ema) &^ 15
	if n > 0 {
		averageVectors(level, &ema[0], &w[0], n, k)
	}
	if n < len(ema) {
		var t [2][16]float32
		copy(t[0][:], ema[n:])
		copy(t[1][:], w[n:])
		averageVectors(level, &t[0][0], &t[1][0], 16, k)
		copy(ema[n:], t[0][:])
	}
}

func averageVectors(level Level, ema, w *float32, n int, k float32) {
	if level == AVX512 {
		averageAVX512(ema, w, n, k)
	} else {
		averageAVX2(ema, w, n, k)
	}
}
