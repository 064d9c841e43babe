package main

import "fmt"

func init() { families["winograddown"] = winograddown }

// winograddown writes the transforms of convolutions of stride 2, for patches of m x n positions with m and n of 2, 3 and 4, whose
// meaning winograddown_transform.go defines.
func winograddown() {
	newTable("winograddownConstants")
	for _, s := range []isa{avx512, avx2} {
		for rows := 2; rows <= 4; rows++ {
			for cols := 2; cols <= 4; cols++ {
				winoDown.patchInput(s, rows, cols)
				winoDown.patchOutput(s, rows, cols)
				winoDown.patchGradient(s, rows, cols)
				for pad := range 2 {
					a := winoDownData(pad)
					a.patchInput(s, rows, cols)
					a.patchOutput(s, rows, cols)
				}
			}
		}
		winoDownFilter(s)
		winoDownFilterGradient(s, false)
	}
	winoDownFilterGradient(avx512, true)
}

// downEven and downOdd are the places of E's and O's points.
var (
	downEven = [5]int{0, 1, 3, 5, 7}
	downOdd  = [4]int{2, 4, 6, 8}
)

// winoDown has, for m outputs, E's m+1 first points and O's m.
var winoDown = algorithm{
	name: "winoDown", points: extent{2, 1}, window: extent{2, 1}, results: extent{1, 0}, side: 9,
	input: downInput, output: downOutput, gradient: downGradient, inputs: winoUp.inputs, outputs: winoUp.outputs,
}

// winoDownData is winoDown for the input's gradient, by the padding before the first row and column.
func winoDownData(pad int) algorithm {
	return algorithm{
		name: fmt.Sprintf("winoDownData%d", pad), points: extent{2, 1}, window: extent{1, 1}, results: extent{2, 0}, side: 9,
		input: func(t *mixed, m int, d func(i int) vec, put func(i int, v vec)) {
			even := make([]vec, m+1) // each pixel is loaded once
			for i := range even {
				even[i] = d(i)
			}
			for i := range m {
				put(downOdd[i], even[i+1-pad])
			}
			upInput(t, m, func(i int) vec { return even[i] }, evenPoints(put))
		},
		output: func(t *mixed, m int, v func(i int) vec, put func(i int, y vec)) {
			for i := range m {
				put(2*i+1-pad, v(downOdd[i]))
			}
			upOutput(t, m, func(i int) vec { return v(downEven[i]) }, func(i int, y vec) { put(2*i+pad, y) })
		},
		inputs: winoUp.inputs, outputs: winoUp.outputs,
	}
}

func evenPoints(put func(i int, v vec)) func(i int, v vec) {
	return func(i int, v vec) { put(downEven[i], v) }
}

// downInput is the points of a window for m outputs.
func downInput(t *mixed, m int, d func(i int) vec, put func(i int, v vec)) {
	for i := range m {
		put(downOdd[i], d(2*i+1))
	}
	upInput(t, m, func(i int) vec { return d(2 * i) }, evenPoints(put))
}

// downOutput is the m outputs from their points.
func downOutput(t *mixed, m int, v func(i int) vec, put func(i int, y vec)) {
	upOutput(t, m, func(i int) vec { return v(downEven[i]) }, func(i int, y vec) { put(i, t.add(y, v(downOdd[i]))) })
}

// downGradient is the points of m pixels of dy.
func downGradient(t *mixed, m int, y func(i int) vec, put func(i int, v vec)) {
	pixels := make([]vec, m)
	for i := range pixels {
		pixels[i] = y(i)
		put(downOdd[i], pixels[i])
	}
	upGradient(t, m, func(i int) vec { return pixels[i] }, evenPoints(put))
}

// downPlane is where the filter's planes have the results of a row.
var downPlane = [6]int{0, 1, 2, 3, 4, 5}

// winoDownFilter: U = G g G^T, with the taps of even and of odd index apart.
func winoDownFilter(s isa) {
	t := newTransform(s, "winoDownFilter")
	half, minus, sixth := s.constant(0.5), s.constant(-0.5), s.constant(1./6)
	t.sixFilter(downPlane, func(g [3]vec, put func(i int, v vec)) {
		plus := s.add(g[0], g[2])
		put(1, s.mul(minus, plus))
		put(4, s.mul(sixth, s.add(plus, g[2])))
		put(3, s.mul(sixth, s.sub(g[2], g[0])))
		put(0, s.mul(half, g[0]))
		put(2, g[2])
		put(5, g[1])
	})
}

// winoDownFilterGradient: dg = G^T dU G. With stream it is written past the caches, to whole lines.
func winoDownFilterGradient(s isa, stream bool) {
	t := newTransform(s, streamed("winoDownFilterGradient", stream))
	half, sixth, third := s.constant(0.5), s.constant(1./6), s.constant(1./3)
	t.sixFilterGradient(stream, downPlane, func(u [6]vec, put func(i int, v vec)) {
		put(0, s.fma(sixth, s.sub(u[4], u[3]), s.mul(half, s.sub(u[0], u[1]))))
		put(1, u[5])
		put(2, s.fma(third, u[4], s.fma(sixth, u[3], s.fnma(half, u[1], s.copy(u[2])))))
	})
}
