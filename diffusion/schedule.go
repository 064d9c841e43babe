package diffusion

import (
	"fmt"
	"math"
)

// minVariance is the floor of betaTilde, whose logarithm is interpolated.
const minVariance = 1e-20

// Schedule is the forward process q of T steps (Ho et al., "Denoising
// Diffusion Probabilistic Models", 2020, section 2), in float64. All slices
// have length T; index t = 0 .. T-1 is the paper's t+1. It is read-only and
// may be shared between goroutines.
type Schedule struct {
	Config    Config
	T         int
	Beta      []float64 // beta_t, the variance added at step t
	AlphaBar  []float64 // prod_{s<=t} (1 - beta_s): the share of x_0 in x_t's variance
	BetaTilde []float64 // variance of q(x_{t-1} | x_t, x_0), eq. 7, at least 1e-20
	CoefX0    []float64 // coefficient of x_0 in its mean
	CoefXt    []float64 // coefficient of x_t in its mean
}

// NewSchedule computes the tables of c. It returns an error where c is not
// valid, or where float64 cannot represent the noise that the betas add, or what
// they leave of x_0.
func NewSchedule(c Config) (*Schedule, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("noise schedule: %w", err)
	}
	T := c.NumTrainTimesteps
	s := &Schedule{
		Config: c, T: T, Beta: betas(c), AlphaBar: make([]float64, T),
		BetaTilde: make([]float64, T), CoefX0: make([]float64, T), CoefXt: make([]float64, T),
	}
	alphaBar := 1.0
	for t, beta := range s.Beta {
		alphaBar *= 1 - beta
		s.AlphaBar[t] = alphaBar
		if !(alphaBar < 1) {
			return nil, fmt.Errorf("noise schedule: alphaBar is %v at t = %d of %d: take betas that float64 can tell from 0, 1e-15 or more", alphaBar, t, T)
		}
		if alphaBar < 1e-200 && !(c.RescaleZeroSNR && t == T-1) {
			return nil, fmt.Errorf("noise schedule: alphaBar is %.3g at t = %d of %d: take smaller betas or fewer steps", alphaBar, t, T)
		}
	}
	for t := range T {
		p := s.posterior(t, t-1)
		s.BetaTilde[t], s.CoefX0[t], s.CoefXt[t] = p.BetaTilde, p.CoefX0, p.CoefXt
	}
	return s, nil
}

// alphaBarAt is alphaBar_t, with alphaBar = 1 for t < 0: the data itself.
func (s *Schedule) alphaBarAt(t int) float64 {
	if t < 0 {
		return 1
	}
	return s.AlphaBar[t]
}

// Posterior is q(x_prev | x_t, x_0) = N(CoefX0 x_0 + CoefXt x_t, BetaTilde I).
type Posterior struct {
	Beta           float64 // beta of the step from prev to t
	BetaTilde      float64 // at least 1e-20
	CoefX0, CoefXt float64
}

// posterior computes eq. 6 and 7 of Ho et al. for a step over any distance,
// from t to prev < t; prev < 0 is the data. Its beta is 1 - alphaBar_t /
// alphaBar_prev, which is beta_t for prev = t-1.
func (s *Schedule) posterior(t, prev int) Posterior {
	alphaBar, alphaBarPrev := s.alphaBarAt(t), s.alphaBarAt(prev)
	alpha := alphaBar / alphaBarPrev
	beta := 1 - alpha
	return Posterior{
		Beta:      beta,
		BetaTilde: max((1-alphaBarPrev)/(1-alphaBar)*beta, minVariance),
		CoefX0:    math.Sqrt(alphaBarPrev) * beta / (1 - alphaBar),
		CoefXt:    math.Sqrt(alpha) * (1 - alphaBarPrev) / (1 - alphaBar),
	}
}

// betas returns the T betas of a valid config.
func betas(c Config) []float64 {
	T := c.NumTrainTimesteps
	var b []float64
	switch {
	case c.TrainedBetas != nil:
		b = append(b, c.TrainedBetas...)
	case c.BetaSchedule == "linear": // Ho et al., section 4
		b = linspace(c.BetaStart, c.BetaEnd, T)
	case c.BetaSchedule == "scaled_linear": // latent diffusion: linear in sqrt(beta)
		b = linspace(math.Sqrt(c.BetaStart), math.Sqrt(c.BetaEnd), T)
		for t := range b {
			b[t] *= b[t]
		}
	case c.BetaSchedule == "sigmoid": // GeoDiff
		b = linspace(-6, 6, T)
		for t, v := range b {
			b[t] = c.BetaStart + float64((c.BetaEnd-c.BetaStart)/(1+math.Exp(-v)))
		}
	case c.BetaSchedule == "squaredcos_cap_v2":
		b = cosineBetas(T)
	}
	if c.RescaleZeroSNR {
		rescaleZeroSNR(b)
	}
	return b
}

// cosineBetas is eq. 17 of Nichol and Dhariwal, "Improved Denoising Diffusion
// Probabilistic Models", 2021, with betas capped at 0.999.
func cosineBetas(T int) []float64 {
	f := func(u float64) float64 {
		c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	b := make([]float64, T)
	for t := range b {
		b[t] = min(1-f(float64(t+1)/float64(T))/f(float64(t)/float64(T)), 0.999)
	}
	return b
}

// rescaleZeroSNR is algorithm 1 of Lin et al., "Common Diffusion Noise
// Schedules and Sample Steps are Flawed", 2023: sqrt(alphaBar) is shifted to 0
// at the last step and scaled to keep its first value.
func rescaleZeroSNR(b []float64) {
	root := make([]float64, len(b)) // sqrt(alphaBar)
	alphaBar := 1.0
	for t := range b {
		alphaBar *= 1 - b[t]
		root[t] = math.Sqrt(alphaBar)
	}
	first, last := root[0], root[len(b)-1]
	prev := 1.0
	for t := range b {
		r := (root[t] - last) * (first / (first - last))
		b[t] = 1 - r*r/(prev*prev)
		prev = r
	}
}

// linspace is n numbers from a to b, both included; n = 1 is a.
func linspace(a, b float64, n int) []float64 {
	x := make([]float64, n)
	step := (b - a) / float64(max(n-1, 1))
	for i := range x {
		x[i] = a + float64(float64(i)*step)
	}
	if n > 1 {
		x[n-1] = b
	}
	return x
}
