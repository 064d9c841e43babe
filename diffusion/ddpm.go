package diffusion

import (
	"context"
	"math"
)

// DDPM is ancestral sampling, algorithm 2 of Ho et al., "Denoising Diffusion
// Probabilistic Models", 2020:
//
//	x_T ~ N(0, I)
//	for t = T, ..., 1:
//	    z ~ N(0, I) if t > 1, else z = 0
//	    x_{t-1} = 1/sqrt(alpha_t) (x_t - beta_t/sqrt(1-alphaBar_t) eps(x_t, t)) + sigma_t z
//
// That is its form without clipping, for a model that predicts eps. Otherwise
// the same mean is written through x_0 (eq. 7 and 15), which is clipped first:
//
//	x_0 = (x_t - sqrt(1-alphaBar_t) eps(x_t, t)) / sqrt(alphaBar_t)
//	x_{t-1} = sqrt(alphaBar_{t-1}) beta_t/(1-alphaBar_t) x_0
//	        + sqrt(alpha_t) (1-alphaBar_{t-1})/(1-alphaBar_t) x_t + sigma_t z
//
// sigma_t^2 lies between betaTilde_t and beta_t (Options.Variance). On a
// subset of the timesteps t-1 is the next entry of the list, and beta_t =
// 1 - alphaBar_t/alphaBar_{t-1}. Re-deriving eps from the clipped x_0 gives
// the second form again, so Options.RederiveEps changes nothing.
type DDPM struct {
	schedule *Schedule
	clip     clipper
	steps    []ddpmStep
}

// ddpmStep is one update with its coefficients.
type ddpmStep struct {
	transition
	Posterior
	alpha, alphaBar float64 // 1 - beta_t, and alphaBar_t
	sigma           float64 // standard deviation of the noise; 0 at the last step
}

// DDPMScheduler is diffusers' class.
const DDPMScheduler = "DDPMScheduler"

var ddpmSpec = spec{
	Info: Info{Name: "ddpm", Noisy: true, Variance: true},
	make: func(s *Schedule, o Options) (Sampler, error) { return newDDPM(s, o) },
	resolve: func(s *Schedule, o Options) Options {
		o.Variance = Variance{Set: true, F: s.variance(o)}
		return o
	},
	class:    &scheduler{name: DDPMScheduler, sampler: func(Class) string { return "ddpm" }, omits: []string{"set_alpha_to_one"}},
	allSteps: true,
}

func newDDPM(s *Schedule, o Options) (*DDPM, error) {
	path, err := s.path(o)
	if err != nil {
		return nil, err
	}
	d := &DDPM{schedule: s, clip: s.clipper(o)}
	f := s.variance(o)
	for _, p := range path {
		q := s.posterior(p.t, p.prev)
		step := ddpmStep{transition: p, Posterior: q, alpha: 1 - q.Beta, alphaBar: s.AlphaBar[p.t]}
		if p.prev >= 0 {
			step.sigma = math.Sqrt(q.interpolate(f))
		}
		d.steps = append(d.steps, step)
	}
	return d, nil
}

// variance is the options' choice between betaTilde (0) and beta (1), or else
// the config's.
func (s *Schedule) variance(o Options) float64 {
	switch {
	case o.Variance.Set:
		return o.Variance.F
	case s.Config.VarianceType == "fixed_large", s.Config.VarianceType == "fixed_large_log":
		return 1
	}
	return 0
}

// interpolate is sigma^2 of log sigma^2 = f log beta + (1-f) log betaTilde
// (Nichol and Dhariwal 2021, eq. 15).
func (p Posterior) interpolate(f float64) float64 {
	switch f {
	case 0:
		return p.BetaTilde
	case 1:
		return p.Beta
	}
	return math.Exp(f*math.Log(p.Beta) + (1-f)*math.Log(p.BetaTilde))
}

// Timesteps is where the model is called, in order.
func (d *DDPM) Timesteps() []int {
	ts := make([]int, len(d.steps))
	for k, s := range d.steps {
		ts[k] = s.t
	}
	return ts
}

// Sample replaces b.X, x_T, by x_0; see Sampler.
func (d *DDPM) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	r, err := newRun("ddpm", len(d.steps), len(d.steps) > 1, ctx, m, b, z, observe)
	if err != nil {
		return err
	}
	for k, s := range d.steps {
		if err := r.predict(k, s.t, b.X); err != nil {
			return err
		}
		for i := range b.N {
			x, out, x0 := r.image(i)
			d.update(s, x, out, x0, r.draw(s.sigma, i, k), r.scratch)
		}
		if err := r.done(k, s.t); err != nil {
			return err
		}
	}
	return nil
}

// update takes x from x_t to x_{t-1}; x0 receives the guess of x_0. z is nil
// at the last step.
func (d *DDPM) update(s ddpmStep, x, out, x0, z, scratch []float64) {
	predicts := d.schedule.Config.PredictionType
	x0Of(predicts, s.alphaBar, x0, x, out)
	d.clip.apply(x0, scratch)

	if d.clip.kind == ClipNone && predicts == Epsilon {
		a := 1 / math.Sqrt(s.alpha)
		combine(x, a, x, -a*s.Beta/math.Sqrt(1-s.alphaBar), out)
	} else {
		combine(x, s.CoefX0, x0, s.CoefXt, x)
	}
	if z != nil {
		combine(x, 1, x, s.sigma, z)
	}
}

func (d *DDPM) part(from, to int) divisible {
	p := *d
	p.steps = d.steps[from:to]
	return &p
}

func (d *DDPM) levels() (begin, end []float64) {
	for _, s := range d.steps {
		begin, end = append(begin, s.alphaBar), append(end, d.schedule.alphaBarAt(s.prev))
	}
	return begin, end
}

func (d *DDPM) walk() walk {
	path := make([]transition, len(d.steps))
	for k, s := range d.steps {
		path[k] = s.transition
	}
	w := d.schedule.walkOf(path)
	w.noisy = 1
	return w
}
