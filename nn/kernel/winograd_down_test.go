package kernel

import "testing"

// With stride 2, convolutions take F(4x4, 2x2) where there are channels and pixels enough, in all three directions.
func TestStridedConvTakesFewerProducts(t *testing.T) {
	if directOnly.Load() {
		t.Skip("direct convolutions only")
	}
	for _, c := range []struct {
		s    ConvShape
		suit bool
	}{
		{down3x3(1, 32, 32, 128, 128, 0), true}, {down3x3(1, 16, 16, 256, 256, 1), true}, {down3x3(1, 28, 28, 32, 32, 1), true}, {down3x3(1, 14, 14, 64, 64, 0), true},
		{fixed(down3x3(1, 32, 32, 64, 64, 1)), true}, {fixed(down3x3(1, 16, 16, 256, 256, 0)), true}, {fixed(down3x3(1, 28, 28, 32, 32, 1)), true},
		{down3x3(1, 8, 8, 256, 256, 0), false},                                  // few pixels
		{down3x3(1, 28, 28, 31, 64, 1), false},                                  // few channels
		{down3x3(1, 18, 18, 64, 64, 1), false},                                  // edges
		{ConvShape{1, 32, 32, 64, 64, 3, 2, 1, 0, 1, 1, false, false}, false},   // another padding
		{ConvShape{1, 32, 32, 64, 64, 3, 2, 1, 1, 2, 1, false, false}, false},   // yet another
		{ConvShape{1, 32, 32, 64, 64, 1, 2, 0, 0, 0, 0, false, false}, false},   // one tap
		{ConvShape{1, 32, 32, 128, 128, 3, 2, 0, 0, 0, 0, false, false}, false}, // no padding
	} {
		conv, err := NewConv(c.s)
		if err != nil {
			t.Fatal(err)
		}
		_, forward := conv.forward.(*winograd)
		_, data := conv.data.(*winograd)
		if weights := conv.winograd != nil; forward != c.suit || data != c.suit || weights != c.suit {
			t.Errorf("%+v: by F(4x4, 2x2) forward %v, the input's gradient %v, the filter's %v, want %v", c.s, forward, data, weights, c.suit)
		}
	}
}

// The transforms of one dimension give the convolution's sums, for each number of outputs: the nine points of four, and those
// that fewer have.
func TestStridedPointsInOneDimension(t *testing.T) {
	r := testRand(8)
	for m := 2; m <= 4; m++ {
		var g, dy line
		copy(g[:], randoms(r, 3))
		copy(dy[:m], randoms(r, m))
		d := line(randoms(r, 9))
		near := func(what string, got, want float32) {
			t.Helper()
			if e := got - want; e > 1e-5 || e < -1e-5 {
				t.Errorf("%d outputs: %s is %v, want %v", m, what, got, want)
			}
		}
		times := func(v line, filter line) (p line) {
			for i := range 2*m + 1 {
				p[i] = v[i] * filter[downFilter[i]]
			}
			return p
		}
		y := winoDownOutput1(m, times(winoDownInput1(m, d), winoDownFilter1(g)))
		for i := range m {
			near("an output", y[i], g[0]*d[2*i]+g[1]*d[2*i+1]+g[2]*d[2*i+2])
		}
		var du line
		v, w := winoDownInput1(m, d), winoDownGradient1(m, dy)
		for i := range 2*m + 1 {
			du[downFilter[i]] += v[i] * w[i]
		}
		dg := winoDownFilterGradient1(du)
		for tap := range 3 {
			var want float32
			for i := range m {
				want += dy[i] * d[2*i+tap]
			}
			near("a tap's gradient", dg[tap], want)
		}
		turned := line{g[2], g[1], g[0]}
		for pad := range 2 { // d is a window of dy
			dx := winoDownDataOutput1(pad, m, times(winoDownDataInput1(pad, m, d), winoDownFilter1(turned)))
			for i := range m {
				near("an input's gradient", dx[2*i+pad], g[2]*d[i]+g[0]*d[i+1])
				near("an input's gradient beside it", dx[2*i+1-pad], g[1]*d[i+1-pad])
			}
		}
	}
}
