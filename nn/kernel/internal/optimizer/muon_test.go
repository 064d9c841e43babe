package optimizer

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"unstir/internal/alloctest"
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/vec"
)

var muonMatrices = []MuonMatrix{{0, 16, 16}, {256, 40, 24}, {1216, 24, 56}, {2560, 9 * 32, 48}, {16384, 17, 130}}

const muonLen = 16384 + 17*130 + 6

var muonStep = MuonStep{LR: 1e-2, Momentum: 0.95, WeightDecay: 0.01, EMADecay: 0.9, GradScale: 0.5}

// Six steps against the iteration as the paper has it, on X itself, in float64.
func TestMuonIsThePapers(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		d := newAdamData(1, muonLen)
		var w, m, ema []float64
		for i := range d.w {
			w, m, ema = append(w, float64(d.w[i])), append(m, 0), append(ema, float64(d.w[i]))
		}
		u, s := NewMuon(cpu.This(), muonMatrices), muonStep
		for step := range 6 {
			for i := range d.g {
				d.g[i] = float32(math.Sin(float64(i*(step+1)) + float64(d.g[i])))
			}
			u.Step(d.w, d.m, d.ema, d.g, s)
			for _, q := range muonMatrices {
				x := mat.NewDense(q.Rows, q.Cols, nil)
				for i := range q.Rows * q.Cols {
					g := s.GradScale * float64(d.g[q.Off+i])
					m[q.Off+i] = s.Momentum*m[q.Off+i] + (1-s.Momentum)*g
					x.RawMatrix().Data[i] = s.Momentum*m[q.Off+i] + (1-s.Momentum)*g
				}
				x.Scale(1/mat.Norm(x, 2), x)
				for range newtonSchulz.rounds {
					var a, b, c, next mat.Dense
					a.Mul(x.T(), x)
					b.Mul(&a, &a)
					c.Scale(float64(newtonSchulz.b), &a)
					b.Scale(float64(newtonSchulz.c), &b)
					c.Add(&c, &b)
					next.Mul(x, &c)
					x.Scale(float64(newtonSchulz.a), x)
					x.Add(x, &next)
				}
				for i, v := range x.RawMatrix().Data {
					i += q.Off
					w[i] -= s.LR*s.WeightDecay*w[i] + s.LR*0.2*math.Sqrt(float64(max(q.Rows, q.Cols)))*v
					ema[i] = s.EMADecay*ema[i] + (1-s.EMADecay)*w[i]
				}
			}
		}
		for _, c := range []struct {
			name string
			got  []float32
			want []float64
		}{{"w", d.w, w}, {"m", d.m, m}, {"ema", d.ema, ema}} {
			if err := kerneltest.Near(c.got, c.want, 1e-4); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

// Whatever the matrix's own singular values are, those of the update are near 1, unless they were hardly there.
func TestOrthogonalizedSingularValues(t *testing.T) {
	for _, q := range muonMatrices {
		r := kerneltest.Rand(uint64(q.Cols))
		values := mat.NewDense(q.Rows, q.Cols, nil)
		n := q.side()
		for i := range n {
			values.Set(i, i, math.Pow(100, -float64(i)/float64(n-1))) // 1 to 0.01
		}
		basis := func(n int) *mat.Dense {
			x := mat.NewDense(n, n, nil)
			for i := range n * n {
				x.RawMatrix().Data[i] = r.NormFloat64()
			}
			var qr mat.QR
			qr.Factorize(x)
			var out mat.Dense
			qr.QTo(&out)
			return &out
		}
		var x mat.Dense
		x.Mul(basis(q.Rows), values)
		x.Mul(&x, basis(q.Cols))
		x32 := make([]float32, q.Rows*q.Cols)
		for i, v := range x.RawMatrix().Data {
			x32[i] = float32(v)
		}
		got := orthogonalize(gemm.Of(cpu.This()), vec.Of(cpu.This()), x32, q.Rows, q.Cols, make([]float32, muonScratch(muonMatrices)))
		for i, v := range got {
			x.RawMatrix().Data[i] = float64(v)
		}
		var svd mat.SVD
		if !svd.Factorize(&x, mat.SVDNone) {
			t.Fatal("no singular values")
		}
		all := svd.Values(nil)
		if largest, smallest := all[0], all[len(all)-1]; largest > 1.25 || smallest < 0.6 {
			t.Errorf("%dx%d: singular values from %.3g to %.3g", q.Rows, q.Cols, smallest, largest)
		}
	}
}

func TestMuonWithoutGradientDecaysTheWeights(t *testing.T) {
	d := newAdamData(3, muonLen)
	before := append([]float32(nil), d.w...)
	clear(d.g)
	s := muonStep
	s.EMADecay = 0
	NewMuon(cpu.This(), muonMatrices).Step(d.w, d.m, d.ema, d.g, s)
	for _, q := range muonMatrices {
		for i := q.Off; i < q.Off+q.Rows*q.Cols; i++ {
			if want := float32(1-s.LR*s.WeightDecay) * before[i]; d.w[i] != want || d.ema[i] != want {
				t.Fatalf("value %d: %v, moving average %v; want %v", i, d.w[i], d.ema[i], want)
			}
		}
	}
}

func TestMuonLeavesTheRest(t *testing.T) {
	d, e := newAdamData(4, muonLen), newAdamData(4, muonLen)
	NewMuon(cpu.This(), muonMatrices).Step(d.w, d.m, d.ema, d.g, muonStep)
	inside := make([]bool, muonLen)
	for _, q := range muonMatrices {
		for i := range q.Rows * q.Cols {
			inside[q.Off+i] = true
		}
	}
	for i, in := range inside {
		if !in && (d.w[i] != e.w[i] || d.m[i] != e.m[i] || d.ema[i] != e.ema[i]) {
			t.Fatalf("value %d, of no matrix, has changed", i)
		}
	}
}

func TestMuonDoesNotAllocate(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	d, u := newAdamData(6, muonLen), NewMuon(cpu.This(), muonMatrices)
	for _, threads := range []int{2, 1} {
		parallel.SetThreads(threads)
		step := func() { u.Step(d.w, d.m, d.ema, d.g, muonStep) }
		step()
		if got := alloctest.Count(5, step); got > 0 {
			t.Errorf("%d threads: 5 steps made %d allocations", threads, got)
		}
	}
}

func TestMuonDoesNotDependOnTheThreads(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	var want *adamData
	for _, threads := range []int{1, 2, 3, 8} {
		parallel.SetThreads(threads)
		d := newAdamData(5, muonLen)
		u := NewMuon(cpu.This(), muonMatrices)
		for range 3 {
			u.Step(d.w, d.m, d.ema, d.g, muonStep)
		}
		if want == nil {
			want = d
		}
		for name, got := range d.results() {
			if err := kerneltest.SameBits(got, want.results()[name]); err != nil {
				t.Errorf("%d threads: %s: %v", threads, name, err)
			}
		}
	}
}

func BenchmarkMuon(b *testing.B) {
	for _, c := range []int{32, 64, 128, 256} {
		m := []MuonMatrix{{0, 9 * c, c}, {9 * c * c, 9 * c, c}}
		d, u := newAdamData(1, 18*c*c), NewMuon(cpu.This(), m)
		kerneltest.Benchmark(b, fmt.Sprintf("two 3x3 of %d channels", c), 0, func() { u.Step(d.w, d.m, d.ema, d.g, muonStep) })
	}
}
