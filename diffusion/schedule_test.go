package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func newSchedule(t *testing.T, change func(*Config)) *Schedule {
	t.Helper()
	c := Defaults()
	if change != nil {
		change(&c)
	}
	s, err := NewSchedule(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(t *testing.T, what string, got, want, limit float64) {
	t.Helper()
	if !(math.Abs(got-want) <= limit*max(math.Abs(want), 1e-300)) {
		t.Errorf("%s = %.12g, want %.12g", what, got, want)
	}
}

// schedules is one of each kind.
func schedules(t *testing.T) map[string]*Schedule {
	t.Helper()
	all := map[string]*Schedule{}
	for _, kind := range betaSchedules {
		all[kind] = newSchedule(t, func(c *Config) { c.BetaSchedule = kind })
	}
	all["zero SNR"] = newSchedule(t, func(c *Config) { c.RescaleZeroSNR, c.PredictionType = true, VPrediction })
	all["trained"] = newSchedule(t, func(c *Config) {
		c.NumTrainTimesteps, c.TrainedBetas = 3, []float64{0.1, 0.2, 0.3}
	})
	return all
}

func TestBetasAreTheClosedForms(t *testing.T) {
	all := schedules(t)
	near(t, "linear beta_0", all["linear"].Beta[0], 1e-4, 1e-15)
	near(t, "linear beta_999", all["linear"].Beta[999], 0.02, 1e-15)
	near(t, "linear beta_333", all["linear"].Beta[333], 1e-4+333.0/999*(0.02-1e-4), 1e-14)
	near(t, "scaled_linear beta_500", all["scaled_linear"].Beta[500],
		math.Pow(0.01+500.0/999*(math.Sqrt(0.02)-0.01), 2), 1e-14)
	near(t, "sigmoid beta_0", all["sigmoid"].Beta[0], 1e-4+(0.02-1e-4)/(1+math.Exp(6)), 1e-14)
	near(t, "sigmoid beta_999", all["sigmoid"].Beta[999], 1e-4+(0.02-1e-4)/(1+math.Exp(-6)), 1e-14)
	near(t, "trained alphaBar_2", all["trained"].AlphaBar[2], 0.9*0.8*0.7, 1e-15)

	// Where no beta is capped, the cosine's product telescopes to f(t)/f(0).
	f := func(u float64) float64 { return math.Pow(math.Cos((u+0.008)/1.008*math.Pi/2), 2) }
	near(t, "cosine alphaBar_499", all["squaredcos_cap_v2"].AlphaBar[499], f(0.5)/f(0), 1e-12)
	near(t, "cosine beta_999", all["squaredcos_cap_v2"].Beta[999], 0.999, 0)
}

func TestScheduleSumRules(t *testing.T) {
	for name, s := range schedules(t) {
		logSum, prev := 0.0, 1.0
		for i := range s.T {
			a := s.AlphaBar[i]
			if !(a < prev && a >= 0) {
				t.Fatalf("%s: alphaBar does not fall at t = %d", name, i)
			}
			if i < s.T-1 {
				logSum += math.Log1p(-s.Beta[i])
				near(t, name+" alphaBar", a, math.Exp(logSum), 1e-10)
			}
			p := s.posterior(i, i-1)
			near(t, name+" beta", p.Beta, s.Beta[i], 1e-9)
			// The posterior mean of x_t = sqrt(alphaBar_t) x_0 is sqrt(alphaBar_{t-1}) x_0,
			near(t, name+" posterior mean", p.CoefX0+p.CoefXt*math.Sqrt(a), math.Sqrt(prev), 1e-9)
			// and posterior noise adds up to q's: Var(x_{t-1} | x_0) = 1 - alphaBar_{t-1}.
			if i > 0 {
				near(t, name+" posterior variance", p.BetaTilde+p.CoefXt*p.CoefXt*(1-a), 1-prev, 1e-9)
				if p.BetaTilde > p.Beta {
					t.Fatalf("%s: betaTilde > beta at t = %d", name, i)
				}
			}
			prev = a
		}
	}
}

// A step over a distance composes: q(x_t | x_prev) has the product of alphas.
func TestPosteriorOverADistance(t *testing.T) {
	s := newSchedule(t, nil)
	p := s.posterior(700, 400)
	alpha := 1.0
	for i := 401; i <= 700; i++ {
		alpha *= 1 - s.Beta[i]
	}
	near(t, "beta", p.Beta, 1-alpha, 1e-12)
	near(t, "betaTilde", p.BetaTilde, (1-s.AlphaBar[400])/(1-s.AlphaBar[700])*(1-alpha), 1e-12)
}

// The values of diffusers' own test of DDPMScheduler's variance.
func TestPublishedVariances(t *testing.T) {
	s := newSchedule(t, nil)
	for _, c := range []struct {
		t    int
		want float64
	}{{0, 0}, {487, 0.00979}, {999, 0.02}} {
		if math.Abs(s.BetaTilde[c.t]-c.want) > 1e-5 {
			t.Errorf("betaTilde_%d = %.6f, want %.5f", c.t, s.BetaTilde[c.t], c.want)
		}
	}
}

func TestZeroTerminalSNR(t *testing.T) {
	plain := newSchedule(t, nil)
	s := newSchedule(t, func(c *Config) { c.RescaleZeroSNR, c.PredictionType = true, VPrediction })
	if s.AlphaBar[s.T-1] != 0 || s.snr(s.T-1) != 0 {
		t.Errorf("alphaBar at the end is %v, want 0", s.AlphaBar[s.T-1])
	}
	near(t, "alphaBar_0", s.AlphaBar[0], plain.AlphaBar[0], 1e-14)
	// sqrt(alphaBar) is an affine function of what it was.
	first, last := math.Sqrt(plain.AlphaBar[0]), math.Sqrt(plain.AlphaBar[999])
	want := (math.Sqrt(plain.AlphaBar[500]) - last) * first / (first - last)
	near(t, "sqrt(alphaBar_500)", math.Sqrt(s.AlphaBar[500]), want, 1e-11)
}

func TestAScheduleThatLeavesNothingIsRefused(t *testing.T) {
	c := Defaults()
	c.NumTrainTimesteps = 1_000_000
	if _, err := NewSchedule(c); err == nil || !strings.Contains(err.Error(), "alphaBar") {
		t.Errorf("a million steps of the linear schedule: %v", err)
	}
}

// QSample, Velocity and the predictions from each kind of output fit together,
// in both precisions.
func TestConversionsRoundTrip(t *testing.T) {
	t.Run("float64", func(t *testing.T) { conversions[float64](t, 1e-10) })
	t.Run("float32", func(t *testing.T) { conversions[float32](t, 2e-4) })
}

func conversions[F Real](t *testing.T, limit float64) {
	const dim = 50
	draw := make([]float64, 2*dim)
	InitialNoise(draw, 1, 0)
	x0, eps := make([]F, dim), make([]F, dim)
	for j := range dim {
		x0[j], eps[j] = F(draw[j]), F(draw[dim+j])
	}
	for _, predicts := range predictionTypes {
		s := newSchedule(t, func(c *Config) { c.PredictionType = predicts })
		for _, ti := range []int{100, 500, 800} {
			xt, out, x0b, epsb := make([]F, dim), make([]F, dim), make([]F, dim), make([]F, dim)
			QSample(s, xt, x0, eps, ti)
			Target(s, out, x0, eps, ti)
			x0Of(predicts, s.AlphaBar[ti], x0b, xt, out)
			PredictEps(s, epsb, xt, out, ti)
			a := s.AlphaBar[ti]
			score := make([]F, dim)
			Score(s, score, eps, ti)
			for j := range dim {
				x, e := float64(x0[j]), float64(eps[j])
				what := fmt.Sprintf("%s t = %d", predicts, ti)
				for name, d := range map[string]float64{
					"x_t":   float64(xt[j]) - (math.Sqrt(a)*x + math.Sqrt(1-a)*e),
					"x_0":   float64(x0b[j]) - x,
					"eps":   float64(epsb[j]) - e,
					"score": float64(score[j])*math.Sqrt(1-a) + e,
				} {
					if math.Abs(d) > limit {
						t.Fatalf("%s: %s is off by %v", what, name, d)
					}
				}
			}
		}
	}
}

// The three weights are one weight on the error in x_0: with an error d in
// x_0, that in eps is sqrt(SNR) d and that in v is sqrt(SNR + 1) d.
func TestMinSNRWeightsAgree(t *testing.T) {
	const gamma = 5
	for _, ti := range []int{0, 10, 300, 999} {
		weight := map[string]float64{}
		var snr float64
		for _, predicts := range predictionTypes {
			s := newSchedule(t, func(c *Config) { c.PredictionType = predicts })
			weight[predicts], snr = s.MinSNRWeight(ti, gamma), s.snr(ti)
		}
		near(t, "weight of x_0", weight[SampleX0], min(snr, gamma), 1e-12)
		near(t, "weight of eps", weight[Epsilon]*snr, weight[SampleX0], 1e-12)
		near(t, "weight of v", weight[VPrediction]*(snr+1), weight[SampleX0], 1e-12)
	}
}

// Betas that are lost beside 1 are refused: what is divided by 1 - alphaBar would not be a number.
func TestBetasThatAddNoNoiseAreRefused(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.BetaStart, c.BetaEnd = 1e-20, 0.02 },
		func(c *Config) { c.NumTrainTimesteps, c.TrainedBetas = 2, []float64{1e-17, 0.5} },
		func(c *Config) {
			c.BetaStart, c.BetaEnd, c.RescaleZeroSNR, c.PredictionType = 5e-324, 5e-324, true, SampleX0
		},
	} {
		c := Defaults()
		change(&c)
		if _, err := NewSchedule(c); err == nil || !strings.Contains(err.Error(), "1e-15 or more") {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}
