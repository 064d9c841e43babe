package diffusion

import (
	"context"
	"fmt"
	"math"
)

// SDEdit makes images from images: Meng et al., "SDEdit: Guided Image Synthesis
// and Editing with Stochastic Differential Equations", 2022, section 3. In place
// of x_T the run begins at a timestep t_0 below T with the guide x_g, noised as
// far as x_{t_0} is,
//
//	x_{t_0} = sqrt(alphaBar_{t_0}) x_g + sqrt(1-alphaBar_{t_0}) eps,  eps ~ N(0, I)
//
// and any sampler takes it from there to an image: of S steps those from
// S - int(S strength) on, as in diffusers' img2img pipelines. Strength 0 takes
// no step and returns the guide; strength 1 takes all of them, from the guide
// noised to the first timestep. A solver of several steps begins anew: its first
// step is of first order.
//
// The guides are the batch's Given, and the noise eps is its X. A step draws the
// noise that it would draw in the whole run, so that runs of several strengths
// differ in nothing else.
type SDEdit struct {
	steps    divisible // from start on; nil where there are none
	start    int
	alphaBar float64 // at t_0
}

// NewSDEdit wraps the sampler that New makes of the same arguments. The error of
// a sampler that inverts is an *UndefinedError.
func NewSDEdit(name string, s *Schedule, o Options, strength float64) (*SDEdit, error) {
	if !(strength >= 0 && strength <= 1) {
		return nil, fmt.Errorf("sdedit: strength %v is not possible: it must be from 0 (the guide itself) to 1 (all steps)", strength)
	}
	d, err := newDivisible("SDEdit", name, s, o, "whose steps cannot be run apart", func(Info) bool { return true })
	if err != nil {
		return nil, err
	}
	begin, _ := d.levels()
	steps := len(begin)
	e := &SDEdit{start: steps - int(float64(steps)*strength)}
	if e.start < steps {
		e.steps, e.alphaBar = d.part(e.start, steps), begin[e.start]
	}
	return e, nil
}

// SDEditNotes are the Notes of what NewSDEdit makes of the same arguments: of the
// steps that it takes, whose first begins with the noise that it expects.
func SDEditNotes(name string, s *Schedule, o Options, strength float64) []Note {
	e, err := NewSDEdit(name, s, o, strength)
	switch {
	case err != nil:
		return nil
	case e.steps == nil && strength > 0:
		return []Note{{Problem: fmt.Sprintf("strength %v leaves none of the %d steps: the images are those given", strength, e.start)}}
	case e.steps == nil:
		return nil
	}
	return s.notes(e, name, o)
}

func (e *SDEdit) walk() walk {
	w := e.steps.walk()
	w.noised = true
	return w
}

func (e *SDEdit) critique(run string) string { return critique(e.steps, run) }

// Timesteps is where the model is called, in order; empty where strength is so
// small that no step is left.
func (e *SDEdit) Timesteps() []int {
	if e.steps == nil {
		return nil
	}
	return e.steps.Timesteps()
}

// Sample replaces b.X, the noise eps, by the images that b.Given are turned
// into; see Sampler.
func (e *SDEdit) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	if len(b.Given) != len(b.X) {
		return fmt.Errorf("sdedit: a batch of %d numbers begins with images of %d", len(b.X), len(b.Given))
	}
	if e.steps == nil {
		copy(b.X, b.Given)
		return ctx.Err()
	}
	combine(b.X, math.Sqrt(e.alphaBar), b.Given, math.Sqrt(1-e.alphaBar), b.X)
	return e.steps.Sample(ctx, m, b, z.from(e.start), observe)
}
