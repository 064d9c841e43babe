package norm

import (
	"slices"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

// pairShapes: channels of the two tensors that fill vectors or not, groups on both sides of the border between them, rows
// of one pixel and of many, images shorter than a row, one piece and several.
func pairShapes() []Shape {
	shapes := []Shape{
		{N: 2, HW: 9, C: 96, Second: 32, Groups: 8}, {N: 2, HW: 49, C: 128, Second: 64, Groups: 8},
		{N: 1, HW: 784, C: 64, Second: 32, Groups: 8}, {N: 3, HW: 10, C: 3, Second: 1, Groups: 1},
		{N: 2, HW: 65, C: 24, Second: 7, Groups: 4}, {N: 9, HW: 36, C: 80, Second: 48, Groups: 5},
		{N: 1, HW: 130, C: 37, Second: 19, Groups: 37}, {N: 2, HW: 1, C: 17, Second: 16, Groups: 1},
		{N: 3, HW: 401, C: 96, Second: 64, Groups: 3}, {N: 1, HW: 700, C: 51, Second: 9, Groups: 3},
	}
	for i := range shapes {
		shapes[i].Eps, shapes[i].SiLU, shapes[i].ScaleShift = 1e-5, i%4 != 3, i%3 == 1
	}
	plain := shapes[0]
	plain.SiLU = false
	return append(shapes, plain)
}

// part is the columns lo to hi of rows of c floats, with room behind that nothing may be written to.
func part(x []float32, c, lo, hi int) []float32 {
	var out []float32
	for ; len(x) > 0; x = x[c:] {
		out = append(out, x[lo:hi]...)
	}
	return slices.Concat(out, guard)[:len(out)]
}

var guard = []float32{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

// runPair is run with x in two tensors; dx comes back joined.
func (d *normData) runPair(t testing.TB) {
	t.Helper()
	g, err := New(d.s, cpu.This())
	if err != nil {
		t.Fatal(err)
	}
	scratch := kerneltest.Scratch(g.Scratch())
	c, ca := d.s.C, d.s.C-d.s.Second
	xa, xb, dy := part(d.x, c, 0, ca), part(d.x, c, ca, c), part(d.dy, c, 0, c)
	dxa, dxb, y := part(d.dx, c, 0, ca), part(d.dx, c, ca, c), part(d.y, c, 0, c)
	g.Forward(y, xa, xb, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
	kerneltest.Spoil(scratch)
	g.Backward(dxa, dxb, [2]bool{}, d.dgamma, d.dbeta, d.dss, dy, xa, xb, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
	for _, s := range [][]float32{xa, xb, dxa, dxb, y} {
		if err := kerneltest.SameBits(s[len(s):len(s)+len(guard)], guard); err != nil {
			t.Errorf("%+v: written behind the end: %v", d.s, err)
		}
	}
	d.y, d.dx = y, d.dx[:0]
	for p := 0; p < d.s.N*d.s.HW; p++ {
		d.dx = append(append(d.dx, dxa[p*ca:(p+1)*ca]...), dxb[p*(c-ca):(p+1)*(c-ca)]...)
	}
}

// The group norm of x in two tensors has the bits of the group norm of x, whatever the number of threads.
func TestGroupNormOfAPairIsThatOfTheJoined(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range pairShapes() {
			joined := s
			joined.Second = 0
			parallel.SetThreads(1)
			want := newNormData(kerneltest.Rand(11), joined)
			want.run(t)
			for threads := 1; threads <= 3; threads++ {
				parallel.SetThreads(threads)
				got := newNormData(kerneltest.Rand(11), s)
				got.runPair(t)
				for name, w := range want.results() {
					if err := kerneltest.SameBits(got.results()[name], w); err != nil {
						t.Errorf("%+v: %d threads: %s: %v", s, threads, name, err)
					}
				}
			}
		}
	})
}

// A gradient that is added to another has the bits of the sum of the two.
func TestGroupNormAddsGradients(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		shapes := pairShapes()
		for _, s := range pairShapes() {
			s.Second = 0
			shapes = append(shapes, s)
		}
		for i, s := range shapes {
			parallel.SetThreads(1 + i%3)
			d := newNormData(kerneltest.Rand(13), s)
			g, err := New(s, cpu.This())
			if err != nil {
				t.Fatal(err)
			}
			na := s.N * s.HW * (s.C - s.Second)
			for _, add := range [][2]bool{{true, false}, {false, true}, {true, true}} {
				old := kerneltest.Randoms(kerneltest.Rand(14), len(d.dx))
				backward := func(dx []float32, add [2]bool) {
					scratch := kerneltest.Scratch(g.Scratch())
					g.Forward(d.y, d.x[:na], d.x[na:], d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
					scratch = kerneltest.Scratch(g.Scratch())
					g.Backward(dx[:na], dx[na:], add, d.dgamma, d.dbeta, d.dss, d.dy, d.x[:na], d.x[na:], d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
				}
				want, got := slices.Clone(old), slices.Clone(old)
				backward(want, [2]bool{})
				for j := range want {
					if add[0] && j < na || add[1] && j >= na {
						want[j] += old[j]
					}
				}
				backward(got, add)
				if err := kerneltest.SameBits(got, want); err != nil {
					t.Errorf("%+v, add %v: %v", s, add, err)
				}
			}
		}
	})
}

func TestGroupNormOfAPairAllocatesNothing(t *testing.T) {
	for _, s := range pairShapes() {
		d := newNormData(kerneltest.Rand(12), s)
		g, _ := New(s, cpu.This())
		scratch := kerneltest.Scratch(g.Scratch())
		na := s.N * s.HW * (s.C - s.Second)
		if n := testing.AllocsPerRun(5, func() {
			g.Forward(d.y, d.x[:na], d.x[na:], d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
			g.Backward(d.dx[:na], d.dx[na:], [2]bool{}, d.dgamma, d.dbeta, d.dss, d.dy, d.x[:na], d.x[na:], d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
		}); n > 0 {
			t.Errorf("%+v: %v allocations", s, n)
		}
	}
}
