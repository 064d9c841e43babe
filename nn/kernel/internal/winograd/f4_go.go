package winograd

// An image's side is often no multiple of the patches of F(4x4, 3x3): 7 pixels are a patch and three quarters of one. What is
// left at the right and lower edges is computed by F(m, 3) in that dimension, m = 2 or 3, at the first m+2 of the points,
// with the same transformed filter: 7 pixels cost 6 + 5 points instead of 12. The filter's transform divides by what
// Lagrange's formula has for F(4, 3) at each point; the inputs' transforms for m = 2 and 3 make up for it.

// wino4Input1 is B^T d for m outputs.
func wino4Input1(m int, d line) (r line) {
	switch m {
	case 2:
		e, o := float32(-3*d[2]), float32(-3*d[1])
		r[0], r[1], r[2], r[3] = float32(4*(d[0]-d[2])), e+o, e-o, d[3]-d[1]
	case 3:
		last, a := d[3]-d[1], d[3]-d[2]
		r[0] = float32(2 * (last + float32(2*(d[0]-d[2]))))
		r[1] = float32(3 * (a - float32(2*d[1])))
		r[2] = a + float32(2*(d[1]-d[2]))
		r[3] = d[4] - d[2] - float32(2*last)
		r[4] = float32(4 * last)
	case 4:
		copy(r[:], sliceOf(winoInputRow(d[0], d[1], d[2], d[3], d[4], d[5])))
	}
	return r
}

// wino4Output1 is A^T v for m outputs.
func wino4Output1(m int, v line) (y line) {
	s, e := v[1]+v[2], v[1]-v[2]
	switch m {
	case 2:
		y[0], y[1] = v[0]+s, e+v[3]
	case 3:
		y[0], y[1], y[2] = v[0]+s+v[4], e+float32(2*v[4]), s+float32(4*v[4])+v[3]
	case 4:
		four := winoOutputRow((*[6]float32)(v[:]))
		copy(y[:], four[:])
	}
	return y
}

// wino4Gradient1 is A y for m outputs.
func wino4Gradient1(m int, y line) (r line) {
	copy(r[:], sliceOf(winoGradientRow(y[0], y[1], y[2], y[3]))) // y ends with zeros
	r[3] = y[m-1]
	return r
}

func sliceOf(r [6]float32) []float32 { return r[:] }

// genericWino4 is the set of transforms in plain Go.
func genericWino4() transforms {
	t := transforms{
		size: 4, geometry: threeTaps, input: whole(4, genericWinoInput), output: whole(4, genericWinoOutput), filter: genericWinoFilter,
		gradient: whole(4, genericWinoGradient), filterGradient: genericWinoFilterGradient,
	}
	t.mix(algorithm{threeTaps, 6, wino4Input1, wino4Output1, wino4Gradient1}, 2, 3, 4)
	return t
}
