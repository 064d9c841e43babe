package diffusion

import (
	"context"
	"fmt"
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
//
// Written for x_0, the correction adds (sigma_i - sigma_{i+1})/(2 sigma_{i+1})
// times the change of the guess of x_0 in the step. Where sigma falls to less
// than half, that is more than if the later guess had held for the whole step,
// and where it falls a thousandfold, as in the first step on
// squaredcos_cap_v2, the image is gone. With PairNext d'_i weighs at most
// sigma_{i+1}/sigma_i in place of 1/2, which bounds the correction there and
// changes nothing elsewhere.
type Heun struct {
	schedule *Schedule
	bounded  bool
	clip     clipper
	path     []transition
}

// HeunDiscreteScheduler is diffusers' class.
const HeunDiscreteScheduler = "HeunDiscreteScheduler"

var heunSpec = spec{
	Info: Info{Name: "heun"},
	make: func(s *Schedule, o Options) (Sampler, error) { return newHeun(s, o) },
	class: &scheduler{
		name: HeunDiscreteScheduler, sampler: func(Class) string { return "heun" },
		defaults: func(c *Config) {
			c.BetaStart, c.BetaEnd, c.ClipSample, c.TimestepSpacing = 0.00085, 0.012, false, string(Linspace)
		},
		omits: []string{
			"variance_type", "set_alpha_to_one", "rescale_betas_zero_snr", "thresholding", "dynamic_thresholding_ratio", "sample_max_value",
		},
		fixed: map[string][]string{"use_karras_sigmas": off, "use_exponential_sigmas": off, "use_beta_sigmas": off},
		check: func(c Config) error {
			if c.TimestepSpacing == string(Leading) {
				return nil
			}
			return fmt.Errorf("timestep_spacing = %q: with it %s begins with another x_T, or asks the model at fractional timesteps; "+
				"the sampler here takes %q: save the pipeline with HeunDiscreteScheduler.from_config(pipeline.scheduler.config, timestep_spacing=%q)",
				c.TimestepSpacing, HeunDiscreteScheduler, Leading, Leading)
		},
	},
}

func newHeun(s *Schedule, o Options) (*Heun, error) {
	path, err := s.path(o)
	if err != nil {
		return nil, err
	}
	return &Heun{schedule: s, bounded: o.Pairing == PairNext, clip: s.clipper(o), path: path}, nil
}

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
		sigma, next := d.sigma(p.t), d.sigma(p.prev)
		if err := r.predict(k, p.t, b.X); err != nil {
			return err
		}
		d.slopes(r, slope, p.t)
		combine(y, 1, r.x0, sigma, slope)
		euler(b.X, y, slope, sigma, next)
		if p.prev >= 0 {
			if err := r.predict(k, p.prev, b.X); err != nil {
				return err
			}
			d.slopes(r, last, p.prev)
			w := d.weight(sigma, next)
			combine(slope, 1-w, slope, w, last)
			euler(b.X, y, slope, sigma, next)
		}
		if err := r.done(k, p.t); err != nil {
			return err
		}
	}
	return nil
}

// weight is that of d' in the step from the noise sigma to next.
func (d *Heun) weight(sigma, next float64) float64 {
	if d.bounded {
		return min(0.5, next/sigma)
	}
	return 0.5
}

// sigma is the noise of timestep t, 0 for the data. It is at most 4096, where
// the data's share of x_t is lost already: beyond, the correction would only
// magnify the model's errors.
func (d *Heun) sigma(t int) float64 {
	if t < 0 {
		return 0
	}
	return min(d.schedule.sigma(t), math.Sqrt((1-zeroSNRAlphaBar)/zeroSNRAlphaBar))
}

// slopes writes d = (y - x_0)/sigma for the batch's x_t = sqrt(alphaBar) y and
// the model's latest output, and x_0 to r.x0.
func (d *Heun) slopes(r *run, slope []float64, t int) {
	alphaBar := d.schedule.solverAlphaBar(t)
	for i := range r.batch.N {
		x, out, x0 := r.image(i)
		x0Of(d.schedule.Config.PredictionType, alphaBar, x0, x, out)
		d.clip.apply(x0, r.scratch)
		x0ToEps(alphaBar, slope[i*len(x):(i+1)*len(x)], x, x0)
	}
}

// euler is x = (y + (next - sigma) slope) / sqrt(1+next^2): a step from the
// noise sigma to next, in the scale of x_t.
func euler(x, y, slope []float64, sigma, next float64) {
	alpha, _ := split(next)
	combine(x, alpha, y, alpha*(next-sigma), slope)
}

func (d *Heun) part(from, to int) divisible {
	p := *d
	p.path = d.path[from:to]
	return &p
}

func (d *Heun) levels() (begin, end []float64) {
	for _, p := range d.path {
		begin, end = append(begin, alphaBarOf(d.sigma(p.t))), append(end, alphaBarOf(d.sigma(p.prev)))
	}
	return begin, end
}

func (d *Heun) walk() walk { return d.schedule.walkOf(d.path) }

// What Heun's first correction adds beyond a bounded one, in standard
// deviations of the noise that is left, for a guess of x_0 that changes by
// 1. Measured, images are speckled from 6 on and gone at 20.
const heunLimit = 5

// overshoot is how far Heun's first correction goes beyond what a bounded one
// would: see heunLimit.
func (d *Heun) overshoot() float64 {
	p := d.path[0]
	if p.prev < 0 {
		return 0
	}
	sigma, next := d.sigma(p.t), d.sigma(p.prev)
	return (d.weight(sigma, next) - min(0.5, next/sigma)) * (sigma/next - 1) / max(next, 1)
}

// critique finds a first step that is too long for the correction.
func (d *Heun) critique(run string) string {
	if d.overshoot() <= heunLimit {
		return ""
	}
	p := d.path[0]
	return fmt.Sprintf("the first step of %s, from t = %d to %d, divides the noise sigma by %.0f, which is too far for its correction: the images will be speckled",
		run, p.t, p.prev, d.sigma(p.t)/d.sigma(p.prev))
}
