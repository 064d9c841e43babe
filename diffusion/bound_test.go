package diffusion

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// goldenBound holds the bound against the papers' formulas in Python, which
// the code of improved-diffusion agrees with to 4e-13 (testdata/README.md).
func goldenBound(t *testing.T, m *manifest) {
	x0, noise := m.images(t, "x_0"), m.images(t, "noise")
	z := func(dst []float64, image, step int) {
		copy(dst, noise.X[step*noise.Dim+image*len(dst):])
	}
	for _, c := range m.Cases {
		b, err := NewBound(m.schedule(t, c), Options{})
		if err != nil {
			t.Fatal(err)
		}
		T := b.schedule.T
		prior, terms := make([]float64, x0.N), make([]float64, x0.N*T)
		for i := range x0.N {
			x := x0.X[i*x0.Dim : (i+1)*x0.Dim]
			prior[i] = b.Prior(x)
			if err := b.Terms(t.Context(), toyModel(t, m), terms[i*T:(i+1)*T], x, i, z, 7); err != nil {
				t.Fatal(err)
			}
		}
		id := need[string](t, m, c, "id")
		m.compare(t, "prior", id+".prior", prior, 1e-9) // that of the cosine schedule is 6e-9, where the reference subtracts
		m.compare(t, "terms", id+".terms", terms, 1e-11)
		want, _ := m.tensor(t, id+".terms")
		for j := range want { // the many small ones, too
			if d := math.Abs(terms[j]/want[j] - 1); !(d <= 1e-9) {
				t.Fatalf("%s: term %d of image %d is %v, want %v", id, j%T, j/T, terms[j], want[j])
			}
		}
	}
}

func mustBound(t *testing.T, s *Schedule, o Options) *Bound {
	t.Helper()
	b, err := NewBound(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustTerms(t *testing.T, b *Bound, m Model, x0 []float64, image, batch int) []float64 {
	t.Helper()
	terms := make([]float64, b.schedule.T)
	if err := b.Terms(t.Context(), m, terms, x0, image, BoundNoise(3), batch); err != nil {
		t.Fatal(err)
	}
	return terms
}

// The best guess of x_0 for data N(mu, sd^2) is off by the variance of q(x_0 | x_t), whatever the model predicts: so is each
// term in expectation.
func TestBoundOfGaussianData(t *testing.T) {
	const mu, sd, dim, T = 0.3, 0.4, 20000, 100
	x0 := make([]float64, dim)
	InitialNoise(x0, 5, 0)
	for j := range x0 {
		x0[j] = mu + sd*x0[j]
	}
	for _, variance := range []Variance{VariancePosterior, VarianceBeta, {true, 0.5}} {
		var first []float64
		for _, predicts := range predictionTypes {
			s := newSchedule(t, func(c *Config) { c.PredictionType, c.NumTrainTimesteps = predicts, T })
			b := mustBound(t, s, Options{Clip: ClipNone, Variance: variance})
			terms := mustTerms(t, b, gaussian{s, mu, sd}, x0, 0, 16)
			if first == nil {
				first = terms
			}
			for k, v := range terms[1:] {
				ti := k + 1
				near(t, "a term for another prediction", v, first[ti], 1e-8)
				a, sigma2 := s.AlphaBar[ti], math.Pow(s.Beta[ti], variance.F)*math.Pow(s.BetaTilde[ti], 1-variance.F)
				left := sd * sd * (1 - a) / (a*sd*sd + 1 - a) // the variance of x_0 that x_t leaves
				off := s.CoefX0[ti] * s.CoefX0[ti] * left
				r := s.BetaTilde[ti] / sigma2
				want := (r - 1 - math.Log(r) + off/sigma2) / (2 * math.Ln2)
				if d := math.Abs(v - want); !(d <= 5*math.Sqrt(2./dim)*off/sigma2/(2*math.Ln2)+1e-9) {
					t.Errorf("variance %v, %s: term %d is %.6f, want %.6f", variance, predicts, ti, v, want)
				}
			}
		}
	}
}

// coin is the best model, which predicts x_0, of values that are 1 with probability p and else -1.
type coin struct {
	s *Schedule
	p float64
}

func (m coin) Predict(_ context.Context, out, x []float64, ts []int) error {
	dim := len(x) / len(ts)
	for j, v := range x {
		a := m.s.AlphaBar[ts[j/dim]]
		out[j] = math.Tanh(math.Sqrt(a)*v/(1-a) + 0.5*math.Log(m.p/(1-m.p)))
	}
	return nil
}

// No code is shorter than the entropy, and the bound of the best model comes nearer to it with more timesteps.
func TestBoundApproachesTheEntropy(t *testing.T) {
	const p, dim = 0.25, 8000
	x0 := make([]float64, dim)
	for j := range x0 {
		x0[j] = -1
		if j < p*dim {
			x0[j] = 1
		}
	}
	entropy := -p*math.Log2(p) - (1-p)*math.Log2(1-p)
	for _, T := range []int{125, 250, 1000} {
		s := newSchedule(t, func(c *Config) {
			c.PredictionType, c.NumTrainTimesteps, c.BetaStart, c.BetaEnd = SampleX0, T, 1e-6, 20/float64(T)
		})
		b := mustBound(t, s, Options{})
		above := b.Prior(x0) - entropy
		for _, v := range mustTerms(t, b, coin{s, p}, x0, 0, 16) {
			above += v
		}
		if !(above > 0 && above < 8/float64(T)) {
			t.Errorf("%d timesteps: the bound is %.4f bits above the entropy %.4f; want 0 to %.4f", T, above, entropy, 8/float64(T))
		}
	}
}

// Of black images and the model that guesses black, nothing is left to say but the decoder's and the prior's parts.
func TestBoundOfBlackImages(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.PredictionType, c.VarianceType = SampleX0, "fixed_large" })
	x0 := []float64{-1, -1, -1}
	b := mustBound(t, s, Options{Variance: VariancePosterior})
	terms := mustTerms(t, b, fixedOutput(-1), x0, 0, 1000)
	for ti, v := range terms[1:] {
		if v != 0 {
			t.Errorf("term %d is %v, want 0", ti+1, v)
		}
	}
	sigma := math.Sqrt(s.BetaTilde[1])
	near(t, "the decoder", terms[0], -math.Log2(0.5*math.Erfc(-1/(255*sigma*math.Sqrt2))), 1e-3) // to what normalCDF is exact
	a := s.AlphaBar[s.T-1]
	near(t, "the prior", b.Prior(x0), -math.Log2(1-a)/2, 1e-9)
	near(t, "the prior of gray", b.Prior([]float64{0}), (-a-math.Log(1-a))/(2*math.Ln2), 1e-6)

	// The config's own variance, and what it costs where the guess is right: KL(N(0, betaTilde) || N(0, beta)).
	for ti, v := range mustTerms(t, mustBound(t, s, Options{}), fixedOutput(-1), x0, 0, 16)[1:] {
		r := s.BetaTilde[ti+1] / s.Beta[ti+1]
		near(t, "a term", v, (r-1-math.Log(r))/(2*math.Ln2), 1e-5)
	}
}

// fixedOutput is a model whose every output is the same.
type fixedOutput float64

func (m fixedOutput) Predict(_ context.Context, out, _ []float64, _ []int) error {
	for j := range out {
		out[j] = float64(m)
	}
	return nil
}

// The decoder's probabilities of the 256 levels are a distribution, and near those of the exact normal distribution.
func TestDecoderIsADistribution(t *testing.T) {
	for _, sigma := range []float64{0.002, 0.0074, 0.05, 0.5} {
		for _, mean := range []float64{-1.1, -1, -0.994, 0, 0.3, 1} {
			sum, worst := 0.0, 0.0
			for k := range 256 {
				x := float64(k)/127.5 - 1
				p := math.Exp(logDecoder([]float64{x}, []float64{mean}, sigma))
				exact := [2]float64{math.Inf(-1), math.Inf(1)}
				if k > 0 {
					exact[0] = (x - 1/255. - mean) / sigma
				}
				if k < 255 {
					exact[1] = (x + 1/255. - mean) / sigma
				}
				want := 0.5 * (math.Erfc(exact[0]/math.Sqrt2) - math.Erfc(exact[1]/math.Sqrt2))
				sum, worst = sum+p, max(worst, math.Abs(p-want))
			}
			if math.Abs(sum-1) > 256*leastProbability || worst > 4e-4 {
				t.Errorf("mean %v, sigma %v: the sum is %v; off by up to %.2g", mean, sigma, sum, worst)
			}
		}
	}
	if got := logDecoder([]float64{1}, []float64{-1}, 0.01); got != math.Log(leastProbability) {
		t.Errorf("white for black has the log-probability %v", got)
	}
}

// An image's terms do not depend on how many timesteps the model is asked for at a time, and the noise on nothing but
// seed, image and timestep.
func TestBoundDoesNotDependOnTheBatch(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = 50 })
	x0 := []float64{-1, 0.2, 1, -0.5, 0.9}
	b := mustBound(t, s, Options{})
	want := mustTerms(t, b, toy{0.9, 0.001}, x0, 4, 1)
	for _, batch := range []int{3, 50, 64} {
		if got := mustTerms(t, b, toy{0.9, 0.001}, x0, 4, batch); !slices.Equal(got, want) {
			t.Errorf("%d at a time: other terms", batch)
		}
	}
	if got := mustTerms(t, b, toy{0.9, 0.001}, x0, 5, 1); slices.Equal(got, want) {
		t.Error("another image has the same noise")
	}
}

func TestBoundErrors(t *testing.T) {
	s := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = 10 })
	x0, terms := make([]float64, 4), make([]float64, 10)
	b := mustBound(t, s, Options{})
	errModel := errors.New("the model fails")
	if err := b.Terms(t.Context(), failing{errModel}, terms, x0, 3, BoundNoise(1), 4); !errors.Is(err, errModel) || !strings.Contains(err.Error(), "image 3, t = 0 to 3") {
		t.Errorf("error %v", err)
	}
	if err := b.Terms(t.Context(), fixedOutput(math.NaN()), terms, x0, 3, BoundNoise(1), 4); err == nil || !strings.Contains(err.Error(), "image 3, t = 0: the term is NaN") {
		t.Errorf("error %v", err)
	}
	if err := b.Terms(t.Context(), fixedOutput(0), terms[1:], x0, 3, BoundNoise(1), 4); err == nil {
		t.Error("no error for 9 terms of 10 timesteps")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Terms(ctx, fixedOutput(0), terms, x0, 3, BoundNoise(1), 4); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	for want, o := range map[string]Options{`clip "soft" is not possible`: {Clip: "soft"}, "variance = 2 is not possible": {Variance: Variance{true, 2}}} {
		if _, err := NewBound(s, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	one := newSchedule(t, func(c *Config) { c.NumTrainTimesteps = 1 })
	if _, err := NewBound(one, Options{}); err == nil {
		t.Error("a bound of one timestep")
	}
}
