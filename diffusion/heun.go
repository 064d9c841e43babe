package diffusion

import (
	"context"
	"math"
)

// Heun solves the probability-flow ODE with Heun's method, algorithm 1 of
// Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
// Models", 2022. In its variables y = x/sqrt(alphaBar) and sigma =
// sqrt((1-alphaBar)/alphaBar) the ODE is dy/dsigma = eps:
//
//	d_i     = (y_i - x_0(y_i, sigma_i)) / sigma_i
//	y_{i+1} = y_i + (sigma_{i+1} - sigma_i) d_i
//	if sigma_{i+1} != 0:
//	    d'_i    = (y_{i+1} - x_0(y_{i+1}, sigma_{i+1})) / sigma_{i+1}
//	    y_{i+1} = y_i + (sigma_{i+1} - sigma_i) (d_i + d'_i)/2
//
// at the noise levels of the chosen timesteps and at 0 in the end. S steps
// call the model 2S-1 times. x_0 is clipped, and d is taken from the clipped
// x_0. Deterministic.
type Heun struct {
	schedule *Schedule
	clip     clipper
	path     []transition
}

// NewHeun makes the solver.
func NewHeun(s *Schedule, o Options) (*Heun, error) {
	if err := o.check(s.T, 0); err != nil {
		return nil, err
	}
	path, err := s.path(o)
	if err != nil {
		return nil, err
	}
	return &Heun{schedule: s, clip: s.clipper(o), path: path}, nil
}

func newHeun(s *Schedule, o Options) (Sampler, error) { return NewHeun(s, o) }

// Timesteps is where the model is called, in order: each but the first twice,
// as the end of one step and the start of the next.
func (d *Heun) Timesteps() []int {
	var ts []int
	for _, p := range d.path {
		ts = append(ts, p.t)
		if p.prev >= 0 {
			ts = append(ts, p.prev)
		}
	}
	return ts
}

// Sample replaces b.X, x_T, by x_0; see Sampler. It draws no noise.
func (d *Heun) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	r, err := newRun("heun", len(d.path), false, ctx, m, b, z, observe)
	if err != nil {
		return err
	}
	y := make([]float64, len(b.X))     // y_i
	slope := make([]float64, len(b.X)) // d_i
	last := make([]float64, len(b.X))  // d'_i
	for k, p := range d.path {
		sigma, next := d.schedule.sigma(p.t), 0.0
		if p.prev >= 0 {
			next = d.schedule.sigma(p.prev)
		}
		if err := r.predict(k, p.t, b.X); err != nil {
			return err
		}
		grow(y, b.X, sigma)
		d.slopes(r, slope, sigma)
		euler(b.X, y, slope, sigma, next)
		if p.prev >= 0 {
			if err := r.predict(k, p.prev, b.X); err != nil {
				return err
			}
			d.slopes(r, last, next)
			combine(slope, 0.5, slope, 0.5, last)
			euler(b.X, y, slope, sigma, next)
		}
		if err := r.done(k, p.t); err != nil {
			return err
		}
	}
	return nil
}

// slopes writes d = (y - x_0)/sigma for the batch's x = y/sqrt(1+sigma^2) and
// the model's latest output.
func (d *Heun) slopes(r *run, slope []float64, sigma float64) {
	alpha, _ := split(sigma)
	for i := range r.batch.N {
		x, out, x0 := r.image(i)
		x0Of(d.schedule.Config.PredictionType, alpha*alpha, x0, x, out)
		d.clip.apply(x0, r.scratch)
		x0ToEps(alpha*alpha, slope[i*len(x):(i+1)*len(x)], x, x0)
	}
}

// euler is x = (y + (next - sigma) slope) / sqrt(1+next^2): a step from the
// noise sigma to next, in the scale of x_t.
func euler(x, y, slope []float64, sigma, next float64) {
	alpha, _ := split(next)
	combine(x, alpha, y, alpha*(next-sigma), slope)
}

// grow is y = x sqrt(1+sigma^2) = x/sqrt(alphaBar).
func grow(y, x []float64, sigma float64) {
	scale := math.Sqrt(float64(sigma*sigma) + 1)
	for j := range y {
		y[j] = x[j] * scale
	}
}
