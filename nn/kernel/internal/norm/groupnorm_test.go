package norm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

// normData is a shape with random operands and room for the results.
type normData struct {
	s                      Shape
	x, gamma, beta, ss, dy []float32
	y, mean, rstd          []float32
	dx, dgamma, dbeta, dss []float32
}

func newNormData(r *rand.Rand, s Shape) *normData {
	size := s.N * s.HW * s.C
	d := &normData{
		s: s, x: kerneltest.Randoms(r, size), gamma: kerneltest.Randoms(r, s.C), beta: kerneltest.Randoms(r, s.C), dy: kerneltest.Randoms(r, size),
		y: kerneltest.Garbage(size), mean: kerneltest.Garbage(s.N * s.Groups), rstd: kerneltest.Garbage(s.N * s.Groups),
		dx: kerneltest.Garbage(size), dgamma: kerneltest.Garbage(s.C), dbeta: kerneltest.Garbage(s.C),
	}
	for i := range d.x {
		d.x[i] = 3*d.x[i] + 0.5
	}
	if s.ScaleShift {
		d.ss, d.dss = kerneltest.Randoms(r, 2*s.N*s.C), kerneltest.Garbage(2*s.N*s.C)
	}
	return d
}

func (d *normData) run(t testing.TB) {
	t.Helper()
	g, err := New(d.s, cpu.This())
	if err != nil {
		t.Fatal(err)
	}
	scratch := kerneltest.Scratch(g.Scratch())
	g.Forward(d.y, d.x, nil, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
	kerneltest.Spoil(scratch)
	g.Backward(d.dx, nil, [2]bool{}, d.dgamma, d.dbeta, d.dss, d.dy, d.x, nil, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
}

func (d *normData) results() map[string][]float32 {
	return map[string][]float32{"y": d.y, "mean": d.mean, "rstd": d.rstd, "dx": d.dx, "dgamma": d.dgamma, "dbeta": d.dbeta, "dss": d.dss}
}

// wideNorm is the float64 loop that defines the group norm and its gradients.
type wideNorm struct{ y, dx, dgamma, dbeta, dss []float64 }

func (d *normData) wide() *wideNorm {
	s, per := d.s, d.s.C/d.s.Groups
	size := s.N * s.HW * s.C
	w := &wideNorm{make([]float64, size), make([]float64, size), make([]float64, s.C), make([]float64, s.C), make([]float64, 2*s.N*s.C)}
	count := float64(s.HW * per)
	for n := 0; n < s.N; n++ {
		for g := 0; g < s.Groups; g++ {
			each := func(f func(i, c int)) {
				for p := 0; p < s.HW; p++ {
					for c := g * per; c < (g+1)*per; c++ {
						f((n*s.HW+p)*s.C+c, c)
					}
				}
			}
			var mean, m2 float64
			each(func(i, c int) { mean += float64(d.x[i]) / count })
			each(func(i, c int) { m2 += (float64(d.x[i]) - mean) * (float64(d.x[i]) - mean) / count })
			rstd := 1 / math.Sqrt(m2+s.Eps)
			var g1, g2 float64
			dxhat := map[int]float64{}
			each(func(i, c int) {
				xhat := (float64(d.x[i]) - mean) * rstd
				u := xhat*float64(d.gamma[c]) + float64(d.beta[c])
				k, shift := 1.0, 0.0
				if s.ScaleShift {
					k, shift = 1+float64(d.ss[2*n*s.C+c]), float64(d.ss[(2*n+1)*s.C+c])
				}
				z := u*k + shift
				dz := float64(d.dy[i])
				w.y[i] = z
				if s.SiLU {
					sig := 1 / (1 + math.Exp(-z))
					w.y[i], dz = z*sig, dz*sig*(1+z*(1-sig))
				}
				w.dss[2*n*s.C+c] += dz * u
				w.dss[(2*n+1)*s.C+c] += dz
				w.dgamma[c] += dz * k * xhat
				w.dbeta[c] += dz * k
				dxhat[i] = dz * k * float64(d.gamma[c])
				g1 += dxhat[i] / count
				g2 += dxhat[i] * xhat / count
			})
			each(func(i, c int) {
				w.dx[i] = rstd * (dxhat[i] - g1 - (float64(d.x[i])-mean)*rstd*g2)
			})
		}
	}
	return w
}

// normShapes: widths below, at and above a vector, that divide it or not, image sizes that leave a short row, one piece
// and several.
func normShapes() []Shape {
	shapes := []Shape{
		{N: 2, HW: 9, C: 8, Groups: 2}, {N: 1, HW: 1, C: 16, Groups: 4}, {N: 3, HW: 49, C: 20, Groups: 5},
		{N: 2, HW: 64, C: 48, Groups: 8}, {N: 2, HW: 10, C: 3, Groups: 1}, {N: 1, HW: 37, C: 17, Groups: 17},
		{N: 2, HW: 49, C: 64, Groups: 32}, {N: 1, HW: 784, C: 64, Groups: 8}, {N: 3, HW: 400, C: 96, Groups: 1},
		{N: 9, HW: 36, C: 128, Groups: 32}, {N: 2, HW: 16, C: 256, Groups: 32}, {N: 1, HW: 1023, C: 24, Groups: 3},
	}
	var all []Shape
	for i, s := range shapes {
		s.Eps = 1e-5
		for k := 0; k < 4; k++ {
			if s.HW*s.C > 10000 && k != i%4 {
				continue
			}
			s.SiLU, s.ScaleShift = k&1 > 0, k&2 > 0
			all = append(all, s)
		}
	}
	return append(all, Shape{N: 1, HW: 784, C: 64, Groups: 8, Eps: 1e-5, SiLU: true})
}

// The bounds are of the largest element: a sum of n terms of random sign loses some 1e-7 sqrt(n); gradients of a sum over
// an image lose more where terms cancel.
func TestGroupNormIsTheFloat64Loop(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		r := kerneltest.Rand(1)
		for _, s := range normShapes() {
			d := newNormData(r, s)
			d.run(t)
			w := d.wide()
			for _, c := range []struct {
				name  string
				got   []float32
				want  []float64
				bound float64
			}{
				{"y", d.y, w.y, 2e-6}, {"dx", d.dx, w.dx, 5e-6}, {"dgamma", d.dgamma, w.dgamma, 5e-6},
				{"dbeta", d.dbeta, w.dbeta, 5e-6}, {"dss", d.dss, w.dss[:len(d.dss)], 5e-6},
			} {
				if err := kerneltest.Near(c.got, c.want, c.bound); err != nil {
					t.Errorf("%+v: %s: %v", s, c.name, err)
				}
			}
		}
	})
}

// Every gradient against central differences of the float64 definition of y; step 1e-4 on a float32 grid, so the
// differences themselves are good to about 1e-4 of the largest.
func TestGroupNormGradientsAreFiniteDifferences(t *testing.T) {
	r := kerneltest.Rand(2)
	for _, s := range []Shape{
		{N: 2, HW: 5, C: 6, Groups: 3, Eps: 1e-5, SiLU: true, ScaleShift: true},
		{N: 2, HW: 4, C: 6, Groups: 2, Eps: 1e-3},
	} {
		d := newNormData(r, s)
		d.run(t)
		loss := func() float64 {
			var sum float64
			for i, y := range d.wide().y {
				sum += y * float64(d.dy[i])
			}
			return sum
		}
		for _, p := range []struct {
			name string
			x, g []float32
		}{{"x", d.x, d.dx}, {"gamma", d.gamma, d.dgamma}, {"beta", d.beta, d.dbeta}, {"ss", d.ss, d.dss}} {
			if err := kerneltest.Near(p.g, kerneltest.Differences(p.x, loss), 5e-4); err != nil {
				t.Errorf("%+v: gradient of %s: %v", s, p.name, err)
			}
		}
	}
}

// A mean a thousand times the deviation costs the roundings of x*scale + offset, not the variance.
func TestGroupNormWithALargeMean(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		d := newNormData(kerneltest.Rand(3), Shape{N: 1, HW: 256, C: 32, Groups: 4, Eps: 1e-5})
		for i := range d.x {
			d.x[i] += 2000
		}
		d.run(t)
		w := d.wide()
		if err := kerneltest.Near(d.y, w.y, 5e-4); err != nil {
			t.Errorf("y: %v", err)
		}
		if err := kerneltest.Near(d.dx, w.dx, 1e-3); err != nil {
			t.Errorf("dx: %v", err)
		}
		var mean, m2 float64
		for p := 0; p < 256*8; p++ {
			mean += float64(d.x[p/8*32+p%8]) / (256 * 8)
		}
		for p := 0; p < 256*8; p++ {
			m2 += math.Pow(float64(d.x[p/8*32+p%8])-mean, 2) / (256 * 8)
		}
		if want := 1 / math.Sqrt(m2+1e-5); math.Abs(float64(d.rstd[0])-want) > 1e-6*want {
			t.Errorf("rstd %v, not %v", d.rstd[0], want)
		}
	})
}

func TestGroupNormOfAConstantImageIsBeta(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		d := newNormData(kerneltest.Rand(4), Shape{N: 1, HW: 30, C: 20, Groups: 4, Eps: 1e-5})
		for i := range d.x {
			d.x[i] = 1.5
		}
		d.run(t)
		for i, y := range d.y {
			if math.Abs(float64(y-d.beta[i%20])) > 1e-4 {
				t.Fatalf("y[%d] = %v, beta %v", i, y, d.beta[i%20])
			}
		}
	})
}

// Image i alone gives the bits of image i in a batch, with 1, 2 and 3 threads.
func TestGroupNormBitsDependOnTheShapeOnly(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []Shape{
			{N: 11, HW: 40, C: 24, Groups: 4, Eps: 1e-5, SiLU: true, ScaleShift: true},
			{N: 3, HW: 785, C: 48, Groups: 6, Eps: 1e-5, SiLU: true},
			{N: 5, HW: 300, C: 128, Groups: 32, Eps: 1e-5},
		} {
			parallel.SetThreads(1)
			d := newNormData(kerneltest.Rand(5), s)
			d.run(t)
			for threads := 1; threads <= 3; threads++ {
				parallel.SetThreads(threads)
				e := newNormData(kerneltest.Rand(5), s)
				e.run(t)
				for name, want := range d.results() {
					if err := kerneltest.SameBits(e.results()[name], want); err != nil {
						t.Errorf("%+v: %d threads: %s: %v", s, threads, name, err)
					}
				}
				one := s
				one.N = 1
				size, c, i := s.HW*s.C, s.C, s.N-1
				f := newNormData(kerneltest.Rand(6), one)
				copy(f.x, d.x[i*size:])
				copy(f.dy, d.dy[i*size:])
				copy(f.gamma, d.gamma)
				copy(f.beta, d.beta)
				if s.ScaleShift {
					copy(f.ss, d.ss[2*i*c:])
				}
				f.run(t)
				if err := kerneltest.SameBits(f.y, d.y[i*size:]); err != nil {
					t.Errorf("%+v: alone, %d threads: y: %v", s, threads, err)
				}
				if err := kerneltest.SameBits(f.dx, d.dx[i*size:]); err != nil {
					t.Errorf("%+v: alone, %d threads: dx: %v", s, threads, err)
				}
			}
		}
	})
}

func TestGroupNormGivesEqualBitsOnAVX2AndAVX512(t *testing.T) {
	r := kerneltest.Rand(7)
	for _, s := range normShapes() {
		seed := r.Uint64()
		kerneltest.EqualOnVectorLevels(t, fmt.Sprintf("%+v", s), func() map[string][]float32 {
			d := newNormData(kerneltest.Rand(seed), s)
			d.run(t)
			return d.results()
		})
	}
}

func TestGroupNormInPlace(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []Shape{
			{N: 2, HW: 50, C: 24, Groups: 4, Eps: 1e-5, SiLU: true},
			{N: 1, HW: 790, C: 64, Groups: 4, Eps: 1e-5},
		} {
			d := newNormData(kerneltest.Rand(8), s)
			d.run(t)
			g, _ := New(s, cpu.This())
			scratch := kerneltest.Scratch(g.Scratch())
			dx := append([]float32(nil), d.dy...)
			g.Backward(dx, nil, [2]bool{}, d.dgamma, d.dbeta, d.dss, dx, d.x, nil, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
			if err := kerneltest.SameBits(dx, d.dx); err != nil {
				t.Errorf("%+v: dx over dy: %v", s, err)
			}
			y := append([]float32(nil), d.x...)
			g.Forward(y, y, nil, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
			if err := kerneltest.SameBits(y, d.y); err != nil {
				t.Errorf("%+v: y over x: %v", s, err)
			}
		}
	})
}

func TestGroupNormPassesNaN(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), math.Float32frombits(0x7fc00001)} {
			d := newNormData(kerneltest.Rand(9), Shape{N: 2, HW: 20, C: 32, Groups: 4, Eps: 1e-5, SiLU: true})
			d.x[5*32+9] = bad
			d.run(t)
			for i, y := range d.y {
				inGroup := i < 20*32 && i%32/8 == 1
				if isNaN := y != y; isNaN != inGroup {
					t.Fatalf("x holds %v in image 0, group 1; y[%d] = %v", bad, i, y)
				}
			}
			if d.dx[8] == d.dx[8] || d.dgamma[9] == d.dgamma[9] {
				t.Errorf("x holds %v; dx %v, dgamma %v", bad, d.dx[8], d.dgamma[9])
			}
		}
	})
}

func TestGroupNormAllocatesNothing(t *testing.T) {
	for _, s := range []Shape{
		{N: 3, HW: 50, C: 20, Groups: 4, Eps: 1e-5, SiLU: true, ScaleShift: true},
		{N: 1, HW: 790, C: 64, Groups: 4, Eps: 1e-5},
	} {
		d := newNormData(kerneltest.Rand(10), s)
		g, _ := New(s, cpu.This())
		scratch := kerneltest.Scratch(g.Scratch())
		if n := testing.AllocsPerRun(5, func() {
			g.Forward(d.y, d.x, nil, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
			g.Backward(d.dx, nil, [2]bool{}, d.dgamma, d.dbeta, d.dss, d.dy, d.x, nil, d.gamma, d.beta, d.ss, d.mean, d.rstd, scratch)
		}); n > 0 {
			t.Errorf("%+v: %v allocations", s, n)
		}
	}
}

func TestNewGroupNormRefusesWhatMakesNoSense(t *testing.T) {
	for _, s := range []Shape{
		{N: 0, HW: 1, C: 1, Groups: 1}, {N: 1, HW: 0, C: 1, Groups: 1}, {N: 1, HW: 1, C: 6, Groups: 4},
		{N: 1, HW: 1, C: 6, Groups: 0}, {N: 1, HW: 1, C: 6, Groups: 3, Eps: -1}, {N: 1, HW: 1, C: 6, Groups: 3, Eps: math.NaN()},
		{N: 1, HW: 1, C: 6, Groups: 3, Second: -1}, {N: 1, HW: 1, C: 6, Groups: 3, Second: 6},
	} {
		if _, err := New(s, cpu.This()); err == nil {
			t.Errorf("%+v: no error", s)
		}
	}
}
