package diffusion

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
)

// gaussian is the exact model of data whose every number is N(mu, sd^2): x_t
// is normal too, and E[x_0 | x_t] has a closed form.
type gaussian struct {
	s      *Schedule
	mu, sd float64
}

func (g gaussian) x0(x, a float64) float64 {
	v := g.sd * g.sd
	return g.mu + math.Sqrt(a)*v/(a*v+1-a)*(x-math.Sqrt(a)*g.mu)
}

func (g gaussian) Predict(_ context.Context, out, x []float64, ts []int) error {
	dim := len(x) / len(ts)
	for j, v := range x {
		a := g.s.AlphaBar[ts[j/dim]]
		x0 := g.x0(v, a)
		eps := (v - math.Sqrt(a)*x0) / math.Sqrt(1-a)
		switch g.s.Config.PredictionType {
		case Epsilon:
			out[j] = eps
		case SampleX0:
			out[j] = x0
		default:
			out[j] = math.Sqrt(a)*eps - math.Sqrt(1-a)*x0
		}
	}
	return nil
}

// flow maps x at the level alphaBar = from to the level to along the exact
// probability-flow ODE: the quantile of x_t stays.
func (g gaussian) flow(x, from, to float64) float64 {
	q := (x - math.Sqrt(from)*g.mu) / math.Sqrt(from*g.sd*g.sd+1-from)
	return math.Sqrt(to)*g.mu + q*math.Sqrt(to*g.sd*g.sd+1-to)
}

// initial is a batch of noise.
func initial(n, dim, first int) *Batch {
	b := &Batch{N: n, Dim: dim, First: first, X: make([]float64, n*dim)}
	for i := range n {
		InitialNoise(b.X[i*dim:(i+1)*dim], 7, first+i)
	}
	return b
}

func mustNew(t *testing.T, name string, s *Schedule, o Options) Sampler {
	t.Helper()
	d, err := New(name, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustSample(t *testing.T, d Sampler, m Model, b *Batch) []float64 {
	t.Helper()
	if err := d.Sample(t.Context(), m, b, NormalNoise(11), nil); err != nil {
		t.Fatal(err)
	}
	return b.X
}

// Every sampler turns N(0, 1) into the data's distribution, for every kind of
// prediction.
func TestSamplersReachTheDistribution(t *testing.T) {
	const mu, sd, dim = 0.4, 0.5, 4000
	for _, c := range []struct {
		name  string
		o     Options
		limit float64
	}{
		{"ddpm", Options{Steps: 500, Variance: VariancePosterior}, 0.03},
		{"ddpm", Options{Steps: 500, Variance: VarianceBeta}, 0.03},
		{"ddpm", Options{Steps: 500, Variance: Variance{true, 0.5}}, 0.03},
		{"ddim", Options{Steps: 50, Spacing: Trailing}, 0.03},
		{"ddim", Options{Steps: 500, Eta: 0.5}, 0.03},
		{"ddim", Options{Steps: 500, Eta: 1}, 0.03},
		{"ddim", Options{Steps: 500, SigmaHat: true}, 0.03},
		{"ddim", Options{Steps: 50, Spacing: Quad}, 0.05}, // starts at 0.8 T
		{"dpm++1", Options{Steps: 100, Spacing: Trailing}, 0.03},
		{"dpm++2m", Options{Steps: 40, Spacing: Linspace}, 0.03},
		{"dpm++2m-heun", Options{Steps: 40, Spacing: Linspace}, 0.03},
		{"heun", Options{Steps: 40, Spacing: Quad}, 0.05},
	} {
		for _, predicts := range predictionTypes {
			t.Run(fmt.Sprintf("%s %s eta %v variance %v", c.name, predicts, c.o.Eta, c.o.Variance), func(t *testing.T) {
				s := newSchedule(t, func(c *Config) { c.PredictionType = predicts })
				o := c.o
				o.Clip = ClipNone
				x := mustSample(t, mustNew(t, c.name, s, o), gaussian{s, mu, sd}, initial(1, dim, 0))
				mean, square := 0.0, 0.0
				for _, v := range x {
					mean += v / dim
					square += v * v / dim
				}
				got := math.Sqrt(square - mean*mean)
				if math.Abs(mean-mu) > c.limit || math.Abs(got-sd) > c.limit {
					t.Errorf("mean %.4f, deviation %.4f; want %v, %v", mean, got, mu, sd)
				}
			})
		}
	}
}

// The deterministic samplers converge to the probability-flow ODE with their
// order in the number of steps.
func TestDeterministicSamplersConvergeWithTheirOrder(t *testing.T) {
	const T = 641
	trained := make([]float64, T)
	for i := range trained {
		trained[i] = 0.006
	}
	trained[0] = 0.3 // begin away from lambda's pole at the data
	s := newSchedule(t, func(c *Config) {
		c.NumTrainTimesteps, c.TrainedBetas, c.SetAlphaToOne = T, trained, false
	})
	g := gaussian{s, 0.4, 0.5}
	for _, c := range []struct {
		name  string
		order float64
	}{{"ddim", 1}, {"dpm++1", 1}, {"dpm++2m", 2}, {"dpm++2m-heun", 2}, {"heun", 2}, {"ddim-inverse", 1}} {
		var errs []float64
		for _, S := range []int{40, 80, 160} {
			o := Options{Clip: ClipNone, FinalSigmaMin: c.name[0] == 'd' && c.name[1] == 'p'}
			for i := S; i >= 0; i-- {
				o.Timesteps = append(o.Timesteps, i*(T-1)/S)
			}
			b := initial(1, 100, 0)
			from, to := s.AlphaBar[T-1], s.AlphaBar[0]
			if c.name == "ddim-inverse" {
				from, to = to, from
			}
			want := slices.Clone(b.X)
			for j := range want {
				want[j] = g.flow(want[j], from, to)
				if c.name == "heun" { // its last step goes on to the guess of x_0
					want[j] = g.x0(want[j], to)
				}
			}
			errs = append(errs, relative(mustSample(t, mustNew(t, c.name, s, o), g, b), want))
		}
		for i := range 2 {
			order := math.Log2(errs[i] / errs[i+1])
			if math.Abs(order-c.order) > 0.25 {
				t.Errorf("%s: errors %.3g: order %.2f, want %v", c.name, errs, order, c.order)
			}
		}
	}
}

// Inversion and DDIM on the same steps lead back to x_0, the better the more
// steps; with a model that sees only t, exactly.
func TestInversionThenDDIMReturnsX0(t *testing.T) {
	s := newSchedule(t, nil)
	roundTrip := func(m Model, steps int) float64 {
		o := Options{Steps: steps, Clip: ClipNone}
		b := initial(2, 50, 0)
		x0 := slices.Clone(b.X)
		mustSample(t, mustNew(t, "ddim-inverse", s, o), m, b)
		return relative(mustSample(t, mustNew(t, "ddim", s, o), m, b), x0)
	}
	if d := roundTrip(toy{0, 0.001}, 20); d > 1e-10 {
		t.Errorf("a model that sees only t: off by %.3g", d)
	}
	g := gaussian{s, 0.4, 0.5}
	coarse, fine := roundTrip(g, 50), roundTrip(g, 500)
	if fine > 0.01 || fine > coarse/5 {
		t.Errorf("Gaussian data: off by %.3g with 50 steps, %.3g with 500", coarse, fine)
	}
}

// With zero terminal SNR the walk starts at pure noise, where x says nothing
// about x_0, and still arrives.
func TestZeroTerminalSNRSampling(t *testing.T) {
	for _, predicts := range []string{SampleX0, VPrediction} {
		s := newSchedule(t, func(c *Config) { c.RescaleZeroSNR, c.PredictionType = true, predicts })
		for _, name := range []string{"ddpm", "ddim", "dpm++2m", "heun"} {
			o := Options{Steps: 100, Spacing: Trailing, Clip: ClipNone}
			x := mustSample(t, mustNew(t, name, s, o), gaussian{s, 0.4, 0.5}, initial(1, 4000, 0))
			mean := 0.0
			for _, v := range x {
				mean += v / float64(len(x))
			}
			if !(math.Abs(mean-0.4) < 0.05) {
				t.Errorf("%s, %s: mean %v, want 0.4", name, predicts, mean)
			}
		}
	}
}
