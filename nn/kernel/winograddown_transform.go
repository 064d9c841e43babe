package kernel

// A 3x3 convolution of stride 2 sees, in one dimension, the pixels d0, d1, ... of its padded input as those of even and those of
// odd index: output i is g0 d[2i] + g2 d[2i+2], a convolution of the even ones with two taps, and g1 d[2i+1], a product with the
// odd ones. For 4 outputs Winograd's F(4, 2) of the first and the 4 products of the second are 9 multiplications instead of 12;
// in two dimensions 81 instead of 144. The points are E0 to E4, those of F(4, 2) in the order that winogradup_transform.go has,
// and O0 to O3, which are no transforms but pixels: in the order E0 E1 O0 E2 O1 E3 O2 E4 O3, so that m outputs have the first
// 2m+1 of them. The four O share the filter's plane g1, so that it has 6x6 planes.
//
// The input's gradient is the same from the other side: its pixels of one parity are a convolution of dy with the taps g2 and g0,
// those of the other parity g1 dy, and patches of 4x4 of dy's pixels, with a row and column before or behind them, make 8x8 pixels.

var (
	downFilter = []int{0, 1, 5, 2, 5, 3, 5, 4, 5} // the filter's plane at each point
	downEven   = [5]int{0, 1, 3, 5, 7}            // E's points
	downOdd    = [4]int{2, 4, 6, 8}               // O's points

	downWindows = geometry{points: extent{2, 1}, window: extent{2, 1}, results: extent{1, 0}, taps: 3, filter1: downFilter}
	downData    = geometry{points: extent{2, 1}, window: extent{1, 1}, results: extent{2, 0}, taps: 3, filter1: downFilter}
)

// downJoin is the points of E and O.
func downJoin(m int, even, odd line) (r line) {
	for i := range m + 1 {
		r[downEven[i]] = even[i]
	}
	for i := range m {
		r[downOdd[i]] = odd[i]
	}
	return r
}

// downSplit is the inverse of downJoin.
func downSplit(m int, r line) (even, odd line) {
	for i := range m + 1 {
		even[i] = r[downEven[i]]
	}
	for i := range m {
		odd[i] = r[downOdd[i]]
	}
	return even, odd
}

// winoDownInput1 is the points of the window d for m outputs.
func winoDownInput1(m int, d line) line {
	var even, odd line
	for i := range m + 1 {
		even[i] = d[2*i]
	}
	for i := range m {
		odd[i] = d[2*i+1]
	}
	return downJoin(m, winoUpInput1(m, even), odd)
}

// winoDownOutput1 is the m outputs from the products v.
func winoDownOutput1(m int, v line) line {
	even, odd := downSplit(m, v)
	y := winoUpOutput1(m, even)
	for i := range m {
		y[i] += odd[i]
	}
	return y
}

// winoDownGradient1 is the transpose of winoDownOutput1.
func winoDownGradient1(m int, y line) line { return downJoin(m, winoUpGradient1(m, y), y) }

// winoDownDataInput1 is the points of the window d of dy for m of its pixels, with the padding pad.
func winoDownDataInput1(pad, m int, d line) line {
	var odd line
	copy(odd[:m], d[1-pad:])
	return downJoin(m, winoUpInput1(m, d), odd)
}

// winoDownDataOutput1 is the 2m pixels of the input's gradient from the products v.
func winoDownDataOutput1(pad, m int, v line) (x line) {
	even, odd := downSplit(m, v)
	y := winoUpOutput1(m, even)
	for i := range m {
		x[2*i+pad], x[2*i+1-pad] = y[i], odd[i]
	}
	return x
}

// winoDownFilter1 is the 6 planes of the taps g.
func winoDownFilter1(g line) (r line) {
	h0, h1 := g[0], g[2]
	plus := h0 + h1
	r[0], r[1], r[2], r[3] = float32(0.5*h0), float32(-0.5*plus), h1, float32((1./6)*(h1-h0))
	r[4] = float32((1. / 6) * (plus + h1))
	r[5] = g[1]
	return r
}

// winoDownFilterGradient1 is the gradient of the taps from that of the planes u.
func winoDownFilterGradient1(u line) (g line) {
	h := winoUpFilterGradientRow([5]float32(u[:5]))
	g[0], g[1], g[2] = h[0], u[5], h[1]
	return g
}

// genericWinoDown is the set of transforms in plain Go.
func genericWinoDown() transforms {
	t := transforms{size: 4, geometry: downWindows, filter: mixedFilter(6, winoDownFilter1), filterGradient: mixedFilterGradient(6, winoDownFilterGradient1)}
	t.mix(algorithm{downWindows, 9, winoDownInput1, winoDownOutput1, winoDownGradient1}, 2, 3, 4)
	return t
}

// genericWinoDownData is that of the input's gradient.
func genericWinoDownData(pad int) transforms {
	t := transforms{size: 4, geometry: downData, filter: mixedFilter(6, winoDownFilter1)}
	input := func(m int, d line) line { return winoDownDataInput1(pad, m, d) }
	output := func(m int, v line) line { return winoDownDataOutput1(pad, m, v) }
	t.mix(algorithm{downData, 9, input, output, nil}, 2, 3, 4)
	return t
}
