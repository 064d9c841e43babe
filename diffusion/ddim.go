package diffusion

import (
	"context"
	"math"
)

// DDIM is the sampler of Song, Meng and Ermon, "Denoising Diffusion Implicit
// Models", 2021. With alphaBar for the paper's alpha, and t-1 for the previous
// timestep of the subset, its update is eq. 12:
//
//	x_0     = (x_t - sqrt(1-alphaBar_t) eps(x_t, t)) / sqrt(alphaBar_t)
//	x_{t-1} = sqrt(alphaBar_{t-1}) x_0
//	        + sqrt(1-alphaBar_{t-1} - sigma_t^2) eps(x_t, t)
//	        + sigma_t z
//
// with eq. 16's sigma_t = eta sqrt((1-alphaBar_{t-1})/(1-alphaBar_t))
// sqrt(1 - alphaBar_t/alphaBar_{t-1}): eta = 0 is deterministic, and eta = 1 on
// all T steps is DDPM with the posterior variance. Options.SigmaHat adds noise
// of sqrt(1 - alphaBar_t/alphaBar_{t-1}) to the mean of eta = 1 (section 5).
//
// x_0 is clipped; eps stays what the model said unless Options.RederiveEps
// asks for the eps of the clipped x_0.
//
// The previous timestep is t - T/S (whole-number division) for the spacings
// that diffusers knows, and the next entry of the list for quad, for an
// explicit list and with PairNext, which also sets RederiveEps. Below 0, alphaBar
// is 1, or alphaBar_0 where the config's set_alpha_to_one is false.
type DDIM struct {
	schedule *Schedule
	clip     clipper
	rederive bool
	noisy    bool // some step draws noise
	path     []transition
	steps    []ddimStep
}

// ddimStep is one update with its coefficients.
type ddimStep struct {
	alphaBar, alphaBarPrev float64
	sigma                  float64 // sigma_t of eq. 16
	noise                  float64 // standard deviation of the noise: sigma_t or sigma-hat_t
}

// DDIMScheduler is diffusers' class.
const DDIMScheduler = "DDIMScheduler"

var ddimSpec = spec{
	Info:  Info{Name: "ddim", Eta: true},
	make:  func(s *Schedule, o Options) (Sampler, error) { return newDDIM(s, o) },
	class: &scheduler{name: DDIMScheduler, sampler: func(Class) string { return "ddim" }, omits: []string{"variance_type"}},
}

func newDDIM(s *Schedule, o Options) (*DDIM, error) {
	path, err := s.ddimPath(o)
	if err != nil {
		return nil, err
	}
	d := &DDIM{schedule: s, clip: s.clipper(o), rederive: o.RederiveEps || o.Pairing == PairNext, path: path}
	for k, p := range path {
		step := ddimStep{alphaBar: s.AlphaBar[p.t], alphaBarPrev: s.ddimAlphaBar(p.prev)}
		sigma1 := ddimSigma(step.alphaBar, step.alphaBarPrev)
		if o.SigmaHat {
			step.sigma = sigma1
			if k < len(path)-1 {
				step.noise = math.Sqrt(1 - step.alphaBar/step.alphaBarPrev)
			}
		} else {
			step.sigma = o.Eta * sigma1
			step.noise = step.sigma
		}
		d.noisy = d.noisy || step.noise > 0
		d.steps = append(d.steps, step)
	}
	return d, nil
}

// ddimPath is path with diffusers' previous timestep t - T/S, where the
// spacing is one of diffusers' and the pairing too.
func (s *Schedule) ddimPath(o Options) ([]transition, error) {
	path, err := s.path(o)
	if err == nil && o.Timesteps == nil && o.Pairing != PairNext && s.spacing(o) != Quad {
		for k := range path {
			path[k].prev = path[k].t - s.T/o.Steps
		}
	}
	return path, err
}

// ddimAlphaBar is alphaBar_t; for t < 0, where DDIM ends.
func (s *Schedule) ddimAlphaBar(t int) float64 {
	if t < 0 && !s.Config.SetAlphaToOne {
		return s.AlphaBar[0]
	}
	return s.alphaBarAt(t)
}

// ddimSigma is eq. 16 with eta = 1.
func ddimSigma(alphaBar, alphaBarPrev float64) float64 {
	return math.Sqrt((1 - alphaBarPrev) / (1 - alphaBar) * (1 - alphaBar/alphaBarPrev))
}

// Timesteps is where the model is called, in order.
func (d *DDIM) Timesteps() []int { return calls(d.path) }

// Sample replaces b.X, x_T, by x_0; see Sampler.
func (d *DDIM) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	r, err := newRun("ddim", len(d.steps), d.noisy, ctx, m, b, z, observe)
	if err != nil {
		return err
	}
	for k, s := range d.steps {
		if err := r.predict(k, d.path[k].t, b.X); err != nil {
			return err
		}
		for i := range b.N {
			x, out, x0 := r.image(i)
			d.update(s, x, out, x0, r.eps, r.draw(s.noise, i, k), r.scratch)
		}
		if err := r.done(k, d.path[k].t); err != nil {
			return err
		}
	}
	return nil
}

// update takes x from x_t to x_{t-1}; x0 and eps receive the guesses of x_0
// and eps. z is nil where the step adds no noise.
func (d *DDIM) update(s ddimStep, x, out, x0, eps, z, scratch []float64) {
	predicts := d.schedule.Config.PredictionType
	x0Of(predicts, s.alphaBar, x0, x, out)
	epsOf(predicts, s.alphaBar, eps, x, out)
	d.clip.apply(x0, scratch)
	if d.rederive {
		x0ToEps(s.alphaBar, eps, x, x0)
	}

	direction := math.Sqrt(max(1-s.alphaBarPrev-s.sigma*s.sigma, 0))
	combine(x, math.Sqrt(s.alphaBarPrev), x0, direction, eps)
	if z != nil {
		combine(x, 1, x, s.noise, z)
	}
}

func (d *DDIM) part(from, to int) divisible {
	p := *d
	p.path, p.steps = d.path[from:to], d.steps[from:to]
	return &p
}

func (d *DDIM) levels() (begin, end []float64) {
	for _, s := range d.steps {
		begin, end = append(begin, s.alphaBar), append(end, s.alphaBarPrev)
	}
	return begin, end
}

func (d *DDIM) walk() walk {
	w := walk{ts: calls(d.path), last: d.schedule.ddimAlphaBar(-1)}
	w.begin, w.end = d.levels()
	first := d.steps[0] // eta is the same in all
	if full := ddimSigma(first.alphaBar, first.alphaBarPrev); full > 0 {
		w.noisy = min(first.noise/full, 1)
	}
	return w
}
