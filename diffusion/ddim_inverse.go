package diffusion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// DDIMInverse runs DDIM's deterministic update upwards, from x_0 to the x_T
// that DDIM with eta = 0 would turn into it (Song, Meng and Ermon 2021,
// section 4.3: the ODE of eq. 14 in reverse). A step of DDIM from t to t-1 is
// undone by
//
//	x_0 = (x_{t-1} - sqrt(1-alphaBar_{t-1}) eps) / sqrt(alphaBar_{t-1})
//	x_t = sqrt(alphaBar_t) x_0 + sqrt(1-alphaBar_t) eps,  eps = eps(x_{t-1}, t)
//
// where eps, which DDIM took at x_t, is taken at x_{t-1}: the two walks agree
// to first order in the step. x_0 is clipped only where Options.Clip or a
// DDIMInverseScheduler's clip_sample asks for it, since clipping cannot be
// undone.
//
// Options.Refine goes on from there: it solves DDIM's step from x_t to x_{t-1}
// for x_t by fixed-point iteration, with eps taken where DDIM takes it,
//
//	x_t <- sqrt(alphaBar_t/alphaBar_{t-1}) x_{t-1} + (sqrt(1-alphaBar_t)
//	     - sqrt(alphaBar_t (1-alphaBar_{t-1})/alphaBar_{t-1})) eps(x_t, t)
//
// (Pan et al., "Effective Real Image Editing with Accelerated Iterative
// Diffusion Inversion", 2023). Where the two noise levels are high, x_t hardly
// changes a model's guess of x_0 while eps follows x_t: there the same equation
// is iterated as
//
//	x_t <- sqrt((1-alphaBar_t)/(1-alphaBar_{t-1})) x_{t-1} + (sqrt(alphaBar_t)
//	     - sqrt(alphaBar_{t-1} (1-alphaBar_t)/(1-alphaBar_{t-1}))) x_0(x_t, t)
//
// which converges at once, unless the model predicts eps, whose errors it would
// magnify. The unclipped DDIM run then undoes the inversion to within what is
// left of the iteration, whatever the number of steps.
type DDIMInverse struct {
	schedule *Schedule
	clip     clipper
	refine   int
	path     []transition // rising
}

// DDIMInverseScheduler is diffusers' class.
const DDIMInverseScheduler = "DDIMInverseScheduler"

var ddimInverseSpec = spec{
	Info: Info{Name: "ddim-inverse", Inverts: true, Refine: true},
	make: func(s *Schedule, o Options) (Sampler, error) { return newDDIMInverse(s, o) },
	resolve: func(s *Schedule, o Options) Options {
		o.Clip = cmp.Or(o.Clip, s.inverseClip(o))
		return o
	},
	class: &scheduler{
		name: DDIMInverseScheduler, sampler: func(Class) string { return "ddim-inverse" },
		omits: []string{"variance_type", "thresholding", "dynamic_thresholding_ratio", "sample_max_value"},
	},
}

// newDDIMInverse makes the inversion of the DDIM sampler with the same steps
// and spacing. A model that predicts x_0 says nothing about the eps of x_0
// itself: with it, set_alpha_to_one must be false.
func newDDIMInverse(s *Schedule, o Options) (*DDIMInverse, error) {
	if o.Refine > 0 && o.Clip != "" && o.Clip != ClipNone {
		return nil, fmt.Errorf("refine = %d and clip %s exclude each other: a clipped step cannot be solved for where it began", o.Refine, o.Clip)
	}
	o.Clip = cmp.Or(o.Clip, s.inverseClip(o))
	if s.Config.PredictionType == SampleX0 && s.Config.SetAlphaToOne {
		return nil, errors.New("a model with prediction_type sample cannot be inverted from alphaBar = 1; set_alpha_to_one must be false")
	}
	path, err := s.ddimPath(o)
	if err != nil {
		return nil, err
	}
	slices.Reverse(path)
	return &DDIMInverse{schedule: s, clip: s.clipper(o), refine: o.Refine, path: path}, nil
}

// inverseClip is what an inversion does to the guesses of x_0 where the options say nothing.
func (s *Schedule) inverseClip(o Options) Clip {
	if c := s.Config; c.Class.Name == DDIMInverseScheduler && c.ClipSample && o.Refine == 0 {
		return ClipStatic
	}
	return ClipNone
}

// Timesteps is where the model is called, in order: rising; with Refine,
// Refine+1 times at each.
func (d *DDIMInverse) Timesteps() []int { return calls(d.path) }

// Sample replaces b.X, x_0, by x_T; see Sampler. It draws no noise.
func (d *DDIMInverse) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	r, err := newRun("ddim-inverse", len(d.path), false, ctx, m, b, z, observe)
	if err != nil {
		return err
	}
	prev := make([]float64, len(b.X)) // x_{t-1}
	for k, p := range d.path {
		copy(prev, b.X)
		if err := r.predict(k, p.t, b.X); err != nil {
			return err
		}
		for i := range b.N {
			x, out, x0 := r.image(i)
			d.update(p, x, out, x0, r.eps, r.scratch)
		}
		for range d.refine {
			if err := r.predict(k, p.t, b.X); err != nil {
				return err
			}
			for i := range b.N {
				x, out, x0 := r.image(i)
				d.solve(p, x, prev[i*b.Dim:(i+1)*b.Dim], out, x0, r.eps)
			}
		}
		if err := r.done(k, p.t); err != nil {
			return err
		}
	}
	return nil
}

// update takes x from x_{t-1} to x_t; x0 and eps receive the guesses.
func (d *DDIMInverse) update(p transition, x, out, x0, eps, scratch []float64) {
	predicts := d.schedule.Config.PredictionType
	alphaBarPrev, alphaBar := d.schedule.ddimAlphaBar(p.prev), d.schedule.AlphaBar[p.t]
	x0Of(predicts, alphaBarPrev, x0, x, out)
	epsOf(predicts, alphaBarPrev, eps, x, out)
	d.clip.apply(x0, scratch)
	combine(x, math.Sqrt(alphaBar), x0, math.Sqrt(1-alphaBar), eps)
}

// solve is one iteration: x, a guess of x_t for which the model said out,
// becomes the x_t that DDIM would bring to prev with the same eps.
func (d *DDIMInverse) solve(p transition, x, prev, out, x0, eps []float64) {
	predicts := d.schedule.Config.PredictionType
	alphaBarPrev, alphaBar := d.schedule.ddimAlphaBar(p.prev), d.schedule.AlphaBar[p.t]
	x0Of(predicts, alphaBar, x0, x, out)
	epsOf(predicts, alphaBar, eps, x, out)
	if predicts != Epsilon && alphaBar*alphaBarPrev < (1-alphaBar)*(1-alphaBarPrev) {
		ratio := math.Sqrt((1 - alphaBar) / (1 - alphaBarPrev))
		combine(x, ratio, prev, math.Sqrt(alphaBar)-ratio*math.Sqrt(alphaBarPrev), x0)
		return
	}
	ratio := math.Sqrt(alphaBar / alphaBarPrev)
	combine(x, ratio, prev, math.Sqrt(1-alphaBar)-ratio*math.Sqrt(1-alphaBarPrev), eps)
}

func (d *DDIMInverse) walk() walk {
	w := walk{last: d.schedule.ddimAlphaBar(-1)}
	for k := len(d.path) - 1; k >= 0; k-- {
		p := d.path[k]
		w.ts = append(w.ts, p.t)
		w.begin, w.end = append(w.begin, d.schedule.AlphaBar[p.t]), append(w.end, d.schedule.ddimAlphaBar(p.prev))
	}
	return w
}
