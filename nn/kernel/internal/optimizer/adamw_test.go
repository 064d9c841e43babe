package optimizer

import (
	"fmt"
	"math"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

type adamData struct{ w, m, v, ema, g []float32 }

func newAdamData(seed uint64, n int) *adamData {
	r := kerneltest.Rand(seed)
	d := &adamData{kerneltest.Randoms(r, n), make([]float32, n), make([]float32, n), nil, kerneltest.Randoms(r, n)}
	d.ema = append([]float32(nil), d.w...)
	return d
}

func (d *adamData) results() map[string][]float32 {
	return map[string][]float32{"w": d.w, "m": d.m, "v": d.v, "ema": d.ema}
}

var adamStep = Step{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, EMADecay: 0.995, GradScale: 0.5}

// Eleven steps against torch's AdamW written out in float64.
func TestAdamWIsTorchsAdamW(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, n := range []int{1, 15, 16, 37, 1000, optimizerChunk + 5} {
			d := newAdamData(1, n)
			w, ema := make([]float64, n), make([]float64, n)
			m, v := make([]float64, n), make([]float64, n)
			for i := range w {
				w[i], ema[i] = float64(d.w[i]), float64(d.ema[i])
			}
			a, s := New(cpu.This()), adamStep
			for s.Step = 1; s.Step <= 11; s.Step++ {
				for i := range d.g {
					d.g[i] = float32(math.Sin(float64(i*s.Step) + float64(d.g[i])))
					g := float64(d.g[i]) * s.GradScale
					m[i] = s.Beta1*m[i] + (1-s.Beta1)*g
					v[i] = s.Beta2*v[i] + (1-s.Beta2)*g*g
					mhat := m[i] / (1 - math.Pow(s.Beta1, float64(s.Step)))
					vhat := v[i] / (1 - math.Pow(s.Beta2, float64(s.Step)))
					w[i] -= s.LR * s.WeightDecay * w[i]
					w[i] -= s.LR * mhat / (math.Sqrt(vhat) + s.Eps)
					ema[i] = s.EMADecay*ema[i] + (1-s.EMADecay)*w[i]
				}
				a.Step(d.w, d.m, d.v, d.ema, d.g, s)
			}
			for _, c := range []struct {
				name string
				got  []float32
				want []float64
			}{{"w", d.w, w}, {"m", d.m, m}, {"v", d.v, v}, {"ema", d.ema, ema}} {
				if err := kerneltest.Near(c.got, c.want, 1e-6); err != nil {
					t.Errorf("%d parameters: %s: %v", n, c.name, err)
				}
			}
		}
	})
}

// With no decay the moving average is the weights, bit by bit; with nil there is none and the weights are the same.
func TestMovingAverageWithoutDecayCopies(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		d, e := newAdamData(2, 1003), newAdamData(2, 1003)
		s := adamStep
		s.Step, s.EMADecay = 1, 0
		New(cpu.This()).Step(d.w, d.m, d.v, d.ema, d.g, s)
		if err := kerneltest.SameBits(d.ema, d.w); err != nil {
			t.Error(err)
		}
		New(cpu.This()).Step(e.w, e.m, e.v, nil, e.g, s)
		for name, want := range map[string][]float32{"w": d.w, "m": d.m, "v": d.v} {
			if err := kerneltest.SameBits(e.results()[name], want); err != nil {
				t.Errorf("without a moving average: %s: %v", name, err)
			}
		}
	})
}

// A moving average that has arrived stays there, whatever the rounding of its decay.
func TestMovingAverageOfConstantWeightsStays(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		d := newAdamData(3, 100)
		want := append([]float32(nil), d.w...)
		clear(d.g)
		s := adamStep
		s.WeightDecay, s.EMADecay = 0, 0.9999
		a := New(cpu.This())
		for s.Step = 1; s.Step < 200; s.Step++ {
			a.Step(d.w, d.m, d.v, d.ema, d.g, s)
		}
		if err := kerneltest.SameBits(d.ema, want); err != nil {
			t.Error(err)
		}
	})
}

func TestSumSquares(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, n := range []int{0, 1, 15, 17, 1000, optimizerChunk, 2*optimizerChunk + 77} {
			x := kerneltest.Randoms(kerneltest.Rand(4), n)
			var want float64
			for _, f := range x {
				want += float64(f) * float64(f)
			}
			if got := New(cpu.This()).SumSquares(x); math.Abs(got-want) > 1e-13*want {
				t.Errorf("%d numbers: %v, not %v", n, got, want)
			}
		}
		x := make([]float32, 50)
		x[33] = float32(math.NaN())
		if got := New(cpu.This()).SumSquares(x); got == got {
			t.Errorf("a NaN among the numbers gives %v", got)
		}
		x[33] = 1e30 // its square is no float32
		if got := New(cpu.This()).SumSquares(x); math.Abs(got-1e60) > 1e54 {
			t.Errorf("(1e30)^2 = %v", got)
		}
	})
}

func TestOptimizerBits(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	for _, n := range []int{19, 3*optimizerChunk + 21} {
		run := func() map[string][]float32 {
			d, a, s := newAdamData(5, n), New(cpu.This()), adamStep
			for s.Step = 1; s.Step < 4; s.Step++ {
				a.Step(d.w, d.m, d.v, d.ema, d.g, s)
			}
			r := d.results()
			sum := math.Float64bits(a.SumSquares(d.g))
			r["sum"] = []float32{math.Float32frombits(uint32(sum)), math.Float32frombits(uint32(sum >> 32))}
			return r
		}
		parallel.SetThreads(1)
		want := run()
		for threads := 2; threads <= 3; threads++ {
			parallel.SetThreads(threads)
			for name, got := range run() {
				if err := kerneltest.SameBits(got, want[name]); err != nil {
					t.Errorf("%d parameters, %d threads: %s: %v", n, threads, name, err)
				}
			}
		}
		kerneltest.EqualOnVectorLevels(t, fmt.Sprint(n), run)
	}
}

func TestOptimizerAllocatesNothing(t *testing.T) {
	d, a, s := newAdamData(6, 3*optimizerChunk+5), New(cpu.This()), adamStep
	s.Step = 1
	if n := testing.AllocsPerRun(5, func() {
		a.SumSquares(d.g)
		a.Step(d.w, d.m, d.v, d.ema, d.g, s)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
