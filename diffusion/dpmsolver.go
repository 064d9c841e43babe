package diffusion

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"

	"unstir/internal/pyjson"
)

// zeroSNRAlphaBar stands for alphaBar = 0 in the solvers that divide by it.
const zeroSNRAlphaBar = 0x1p-24

// shortRun is the number of steps below which the last one is of first order
// also where it does not end at sigma = 0: a second-order step is unstable
// there.
const shortRun = 15

// DPMSolver is DPM-Solver++ of order 1 or 2 with data prediction and several
// steps of history (Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling
// of Diffusion Probabilistic Models", 2022, algorithm 2, 2M). Here alpha_i =
// sqrt(alphaBar), sigma_i = sqrt(1-alphaBar) and lambda_i = log(alpha_i /
// sigma_i) at the i-th timestep of the run, h_i = lambda_i - lambda_{i-1} and
// r_i = h_{i-1} / h_i:
//
//	x_i = sigma_i/sigma_{i-1} x_{i-1} - alpha_i (e^{-h_i} - 1) D_i
//
// with x_0-guesses m_{i-1} at x_{i-1}, and
//
//	order 1:  D_i = m_{i-1}                                  (which is DDIM)
//	order 2:  D_i = m_{i-1} + 1/(2 r_i) (m_{i-1} - m_{i-2})
//
// Its Heun variant replaces e^{-h} - 1 before the difference of order 2 by
// -2 ((e^{-h} - 1)/h + 1). The first step, and a last one that ends at sigma =
// 0, are of first order. Deterministic; x_0 is not clipped unless Options.Clip
// or the config's thresholding says so.
type DPMSolver struct {
	schedule *Schedule
	clip     clipper
	name     string
	heun     bool
	ts       []int
	sigmas   []float64 // sqrt((1-alphaBar)/alphaBar) at each timestep and at the end
	order    []int     // of each step
}

// DPMSolverMultistepScheduler is diffusers' class.
const DPMSolverMultistepScheduler = "DPMSolverMultistepScheduler"

var (
	dpm1Spec      = dpmSpec("dpm++1", 1, false)
	dpm2MSpec     = dpmSpec("dpm++2m", 2, false)
	dpm2MHeunSpec = dpmSpec("dpm++2m-heun", 2, true)
)

func dpmSpec(name string, order int, heun bool) spec {
	return spec{
		Info: Info{Name: name, Lambda: true, Multistep: order > 1},
		make: func(s *Schedule, o Options) (Sampler, error) { return newDPMSolver(s, o, name, order, heun) },
		resolve: func(s *Schedule, o Options) Options {
			if o.Clip == "" && !s.Config.Thresholding {
				o.Clip = ClipNone
			}
			return s.Config.Class.complete(o)
		},
		class: &dpmScheduler,
		extra: 1,
	}
}

var dpmScheduler = scheduler{
	name: DPMSolverMultistepScheduler,
	sampler: func(c Class) string {
		switch {
		case c.SolverOrder1:
			return "dpm++1"
		case c.SolverHeun:
			return "dpm++2m-heun"
		}
		return "dpm++2m"
	},
	defaults: func(c *Config) { c.TimestepSpacing = string(Linspace) },
	omits:    []string{"clip_sample", "clip_sample_range", "set_alpha_to_one", "variance_type"},
	fixed: map[string][]string{
		"algorithm_type":         {`"dpmsolver++"`},
		"use_karras_sigmas":      off,
		"use_exponential_sigmas": off,
		"use_beta_sigmas":        off,
		"use_lu_lambdas":         off,
		"use_flow_sigmas":        off,
		"use_dynamic_shifting":   off,
	},
	settings: map[string]func(*Class) settingOf{
		"solver_order":       func(c *Class) settingOf { return choice(&c.SolverOrder1, 2, 1) },
		"solver_type":        func(c *Class) settingOf { return choice(&c.SolverHeun, "midpoint", "heun") },
		"final_sigmas_type":  func(c *Class) settingOf { return choice(&c.FinalSigmaMin, "zero", "sigma_min") },
		"euler_at_final":     func(c *Class) settingOf { return choice(&c.EulerFinal, false, true) },
		"lower_order_final":  func(c *Class) settingOf { return choice(&c.KeepOrder, true, false) },
		"lambda_min_clipped": lambdaMin,
	},
}

// complete fills in the options of a dpm++ sampler that are not set from the class.
func (c Class) complete(o Options) Options {
	o.FinalSigmaMin = o.FinalSigmaMin || c.FinalSigmaMin
	if o.LambdaMin == nil && o.Timesteps == nil {
		o.LambdaMin = c.LambdaMin
	}
	return o
}

// newDPMSolver makes the solver of order 1 or 2, heun choosing the variant of
// order 2.
func newDPMSolver(s *Schedule, o Options, name string, order int, heun bool) (*DPMSolver, error) {
	o, class := s.Config.Class.complete(o), s.Config.Class
	ts, err := s.dpmTimesteps(o)
	if err != nil {
		return nil, err
	}
	if o.Clip == "" && !s.Config.Thresholding {
		o.Clip = ClipNone
	}
	d := &DPMSolver{schedule: s, clip: s.clipper(o), name: name, heun: heun, ts: ts}
	for k, t := range ts {
		d.sigmas = append(d.sigmas, s.sigma(t))
		step := order
		lower := !o.FinalSigmaMin || class.EulerFinal || len(ts) < shortRun && !class.KeepOrder
		if k == 0 || k == len(ts)-1 && lower {
			step = 1
		}
		d.order = append(d.order, step)
	}
	last := 0.0
	if o.FinalSigmaMin {
		last = s.sigma(0)
	}
	d.sigmas = append(d.sigmas, last)
	return d, nil
}

// sigma is sqrt((1-alphaBar_t)/alphaBar_t), the noise of x_t/sqrt(alphaBar_t).
func (s *Schedule) sigma(t int) float64 {
	a := s.solverAlphaBar(t)
	return math.Sqrt((1 - a) / a)
}

// solverAlphaBar is alphaBar_t, or what stands for it where it is 0. Below
// that number but above 0, as at the end of squaredcos_cap_v2, it is alphaBar_t
// itself: a model's eps gives x_0 only by the alphaBar that it was trained on.
func (s *Schedule) solverAlphaBar(t int) float64 {
	if a := s.AlphaBar[t]; a > 0 {
		return a
	}
	return zeroSNRAlphaBar
}

// dpmTimesteps spreads S timesteps over those whose lambda is at least
// LambdaMin. Leading and linspace spread S+1 and leave out the lowest, since a
// run ends below its last timestep.
func (s *Schedule) dpmTimesteps(o Options) ([]int, error) {
	spacing := s.spacing(o)
	if o.Timesteps != nil || spacing == Quad && o.Pairing != PairNext {
		return s.timesteps(o)
	}
	T, S := s.T, o.Steps
	top := T
	if o.LambdaMin != nil {
		top = sort.Search(T, func(t int) bool { return -math.Log(s.sigma(t)) < *o.LambdaMin })
	}
	if o.Pairing == PairNext && S <= top {
		ts := s.spread(o, top, true)
		slices.Reverse(ts)
		return ts, nil
	}
	var ts []int
	switch spacing {
	case Leading:
		ts = multiples(S+1, top/(S+1), s.Config.StepsOffset)[1:]
	case Trailing:
		ts = trailing(T, top, S)
	default: // linspace
		ts = rounded(linspace(0, float64(top-1), S+1))[1:]
	}
	slices.Reverse(ts)
	if err := falling(ts, T); err != nil || len(ts) == 0 {
		return nil, fmt.Errorf("%d steps of spacing %s, steps_offset %d, do not fit the solver's %d timesteps; take fewer steps",
			S, spacing, s.Config.StepsOffset, top)
	}
	return ts, nil
}

// Timesteps is where the model is called, in order.
func (d *DPMSolver) Timesteps() []int { return slices.Clone(d.ts) }

// Sample replaces b.X, x_T, by x_0; see Sampler. It draws no noise.
func (d *DPMSolver) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	r, err := newRun(d.name, len(d.ts), false, ctx, m, b, z, observe)
	if err != nil {
		return err
	}
	before := make([]float64, len(b.X)) // m_{i-2}, the x_0 of the step before
	for k, t := range d.ts {
		if err := r.predict(k, t, b.X); err != nil {
			return err
		}
		for i := range b.N {
			x, out, x0 := r.image(i)
			d.update(k, x, out, x0, before[i*b.Dim:(i+1)*b.Dim], r.scratch)
		}
		if err := r.done(k, t); err != nil {
			return err
		}
		copy(before, r.x0)
	}
	return nil
}

// update is step k: x goes from the noise of sigmas[k] to that of sigmas[k+1];
// m0 receives the guess of x_0, m1 is that of the step before.
func (d *DPMSolver) update(k int, x, out, m0, m1, scratch []float64) {
	alphaPrev, sigmaPrev := split(d.sigmas[k])
	alpha, sigma := split(d.sigmas[k+1])
	x0Of(d.schedule.Config.PredictionType, alphaPrev*alphaPrev, m0, x, out)
	d.clip.apply(m0, scratch)

	h := lambda(d.sigmas[k+1]) - lambda(d.sigmas[k])
	if h == 0 {
		return
	}
	phi := math.Expm1(-h) // e^{-h} - 1
	combine(x, sigma/sigmaPrev, x, -alpha*phi, m0)
	if d.order[k] == 1 {
		return
	}
	rate := h / (lambda(d.sigmas[k]) - lambda(d.sigmas[k-1])) // 1/r
	slope := -alpha * phi / 2 * rate
	if d.heun {
		slope = alpha * (phi/h + 1) * rate
	}
	for j := range x {
		x[j] += float64(slope * (m0[j] - m1[j]))
	}
}

// split returns alpha = sqrt(alphaBar) and sqrt(1-alphaBar) of their quotient
// sigma.
func split(sigma float64) (alpha, noise float64) {
	alpha = 1 / math.Sqrt(float64(sigma*sigma)+1)
	return alpha, sigma * alpha
}

// alphaBarOf is the alphaBar of a sigma.
func alphaBarOf(sigma float64) float64 { return 1 / (float64(sigma*sigma) + 1) }

// lambda is log(alpha/sigma), half the logarithm of the SNR.
func lambda(sigma float64) float64 { return -math.Log(sigma) }

// part begins with a step of first order, as a whole run does.
func (d *DPMSolver) part(from, to int) divisible {
	p := *d
	p.ts, p.sigmas, p.order = d.ts[from:to], d.sigmas[from:to+1], slices.Clone(d.order[from:to])
	p.order[0] = 1
	return &p
}

func (d *DPMSolver) levels() (begin, end []float64) {
	for k := range d.ts {
		begin, end = append(begin, alphaBarOf(d.sigmas[k])), append(end, alphaBarOf(d.sigmas[k+1]))
	}
	return begin, end
}

func (d *DPMSolver) walk() walk {
	path := make([]transition, len(d.ts))
	for k, t := range d.ts {
		path[k] = transition{t, -1}
		if k > 0 {
			path[k-1].prev = t
		}
	}
	return d.schedule.walkOf(path)
}

func lambdaMin(c *Class) settingOf {
	return settingOf{
		set: func(raw json.RawMessage) bool {
			v, ok := pyjson.Float(raw)
			if c.LambdaMin = nil; !math.IsInf(v, -1) {
				c.LambdaMin = &v
			}
			return ok && !math.IsNaN(v) && !math.IsInf(v, 1)
		},
		value: func() any {
			if c.LambdaMin == nil {
				return nil // JSON has no -Infinity, which is diffusers' default
			}
			return pyFloat(*c.LambdaMin)
		},
		wanted: "a number or -Infinity",
	}
}
