package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"

	"unstir/internal/rng"
)

// Bound is the variational bound on the negative log-likelihood of images
// (Ho et al. 2020, eq. 5; Nichol and Dhariwal, "Improved Denoising Diffusion
// Probabilistic Models", 2021, eq. 4 to 7) under DDPM's reverse process with
// all T steps and a fixed variance:
//
//	prior     KL(q(x_T | x_0) || N(0, I))
//	term t    KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), t = T-1, ..., 1
//	term 0    -log p(x_0 | x_t), the decoder
//
// Each is in bits per dimension: bits, divided by the values of an image. The
// bound is their sum, in expectation over the x_t ~ q(x_t | x_0).
//
// The mean of p is that of q(x_{t-1} | x_t, x_0) with the model's guess of x_0,
// whatever the model predicts, and after clipping.
type Bound struct {
	schedule *Schedule
	clip     clipper
	variance []float64 // sigma_t^2 of p
}

// NewBound is the bound for a schedule's models. Of the options only Clip and
// Variance matter. A schedule of one timestep is an error: the variance of its
// decoder would be 0.
func NewBound(s *Schedule, o Options) (*Bound, error) {
	o = Options{Steps: s.T, Clip: o.Clip, Variance: o.Variance}
	if err := o.check(s.T, ddpmSpec.Info); err != nil {
		return nil, fmt.Errorf("variational bound: %w", err)
	}
	if s.T < 2 {
		return nil, errors.New("variational bound: the schedule has one timestep, and the decoder's variance is that of the second")
	}
	b := &Bound{schedule: s, clip: s.clipper(o), variance: make([]float64, s.T)}
	f := s.variance(o)
	for t := range b.variance {
		b.variance[t] = s.posterior(t, t-1).interpolate(f)
	}
	// betaTilde_0 is 0. In its place the papers' code takes betaTilde_1, for
	// either variance.
	b.variance[0] = s.BetaTilde[1]
	return b, nil
}

// BoundNoise is the Noise of x_t in the bound: the draws for an image and a
// timestep depend on (seed, image, t) only. It may be called from several
// goroutines.
func BoundNoise(seed uint64) Noise {
	return func(dst []float64, image, t int) {
		widen(dst, seed, rng.BoundNoise, uint64(image), uint64(t))
	}
}

// Prior is the prior's part of the bound for an image x_0. No model changes it.
func (b *Bound) Prior(x0 []float64) float64 {
	alphaBar := b.schedule.AlphaBar[b.schedule.T-1]
	nats := 0.0
	for _, x := range x0 {
		nats += 0.5 * float64(alphaBar*float64(float64(x*x)-1))
	}
	nats -= 0.5 * float64(float64(len(x0))*math.Log1p(-alphaBar))
	return perDim(nats, x0)
}

// Terms computes the terms [T] of one image x_0, whose values are v/127.5 - 1 for
// whole v from 0 to 255. The noise of x_t is z's for the image of that number and
// t. The model is asked for up to batch timesteps at a time, which changes the
// speed and the memory, not the terms. It stops when ctx is done.
func (b *Bound) Terms(ctx context.Context, m Model, terms, x0 []float64, image int, z Noise, batch int) error {
	T, dim := b.schedule.T, len(x0)
	if len(terms) != T || dim < 1 || batch < 1 {
		return fmt.Errorf("variational bound: %d terms of %d timesteps, for an image of %d values, %d at a time", len(terms), T, dim, batch)
	}
	batch = min(batch, T)
	ts := make([]int, batch)
	xs, outs := make([]float64, batch*dim), make([]float64, batch*dim)
	noise, guess, scratch := make([]float64, dim), make([]float64, dim), make([]float64, dim)
	for first := 0; first < T; first += batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batch, T-first)
		at := func(s []float64, k int) []float64 { return s[k*dim : (k+1)*dim] }
		for k := range n {
			ts[k] = first + k
			z(noise, image, ts[k])
			QSample(b.schedule, at(xs, k), x0, noise, ts[k])
		}
		if err := m.Predict(ctx, outs[:n*dim], xs[:n*dim], ts[:n]); err != nil {
			return fmt.Errorf("variational bound: image %d, t = %d to %d: %w", image, first, first+n-1, err)
		}
		for k, t := range ts[:n] {
			x0Of(b.schedule.Config.PredictionType, b.schedule.AlphaBar[t], guess, at(xs, k), at(outs, k))
			b.clip.apply(guess, scratch)
			terms[t] = b.term(x0, guess, t)
			if math.IsNaN(terms[t]) || math.IsInf(terms[t], 0) {
				return fmt.Errorf("variational bound: image %d, t = %d: the term is %v: the model's output is not finite, or too large", image, t, terms[t])
			}
		}
	}
	return nil
}

// term is term t for a guess of x_0.
func (b *Bound) term(x0, guess []float64, t int) float64 {
	if t == 0 { // q(x_{-1} | x_0) is x_0 itself, so the guess is the mean
		return perDim(-logDecoder(x0, guess, math.Sqrt(b.variance[0])), x0)
	}
	// x_t has the same part in both means, which differ by CoefX0 (x_0 - guess).
	square := 0.0
	for j, x := range x0 {
		d := b.schedule.CoefX0[t] * (x - guess[j])
		square += float64(d * d)
	}
	ratio := b.schedule.BetaTilde[t] / b.variance[t]
	nats := 0.5 * (float64(float64(len(x0))*(ratio-1-math.Log(ratio))) + square/b.variance[t])
	return perDim(nats, x0)
}

// perDim turns nats of an image into bits per dimension.
func perDim(nats float64, x0 []float64) float64 { return nats / math.Ln2 / float64(len(x0)) }

// leastProbability of a value keeps one bad guess from deciding over the bound.
const leastProbability = 1e-12

// logDecoder is log p(x_0 | x_1) in nats (Ho et al. 2020, eq. 13): of each
// value, the probability of its bin of width 2/255 under N(mean, sigma^2); the
// bins of -1 and 1 reach to infinity. Published figures are computed with an
// approximation of the normal distribution function and with a least
// probability, and so is this.
func logDecoder(x0, mean []float64, sigma float64) float64 {
	const half = 1 / 255.0
	sum := 0.0
	for j, x := range x0 {
		d := x - mean[j]
		var p float64
		switch {
		case x < -0.999:
			p = normalCDF((d + half) / sigma)
		case x > 0.999:
			p = normalCDF((half - d) / sigma)
		default:
			p = normalCDF((d+half)/sigma) - normalCDF((d-half)/sigma)
		}
		sum += math.Log(max(p, leastProbability))
	}
	return sum
}

// normalCDF approximates the standard normal distribution function to 2e-4
// (Page, "Approximations to the Cumulative Normal Function and its Inverse for
// Use on a Pocket Calculator", 1977), as the code of both papers does.
func normalCDF(x float64) float64 {
	return 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+float64(0.044715*float64(float64(x*x)*x)))))
}
