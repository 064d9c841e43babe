// Package diffusion is the mathematics of denoising diffusion: the noise
// schedule, the forward process q, training targets, and the samplers that
// walk it backwards. It knows the model only as an interface and does its own
// arithmetic in float64.
//
// Timesteps count from 0 to T-1; the papers' t is t+1 here, and t = -1 is the
// data itself, with alphaBar = 1.
package diffusion

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Model predicts eps, x_0 or v, as the config's prediction_type says.
type Model interface {
	// Predict writes the prediction for the images x at timesteps t to out:
	// len(t) images back to back in each. It must not change or keep x.
	Predict(ctx context.Context, out, x []float64, t []int) error
}

// Noise fills dst with the draws of N(0, I) for one image at sampling step k
// (0, 1, ... in order of the run). NormalNoise makes one.
type Noise func(dst []float64, image, step int)

// Batch is N images of Dim numbers each that are sampled together. No image
// influences another: image i of a batch with First = f has the same bits as
// image 0 of a batch with First = f+i.
type Batch struct {
	N, Dim  int
	First   int       // number of the first image, for Noise
	Numbers []int     // [N] numbers of the images, where they are not First, First+1, ...
	X       []float64 // [N, Dim]
	Given   []float64 // [N, Dim] images that SDEdit and RePaint work on; the samplers themselves need none
}

// number is the number of the batch's image i.
func (b *Batch) number(i int) int {
	if b.Numbers != nil {
		return b.Numbers[i]
	}
	return b.First + i
}

// Step is what an observer sees after an update. X and X0 belong to the
// sampler: they are valid during the call and must not be changed.
type Step struct {
	Index, Total int       // step Index of Total, from 0
	T            int       // the timestep that the step started from
	X            []float64 // [N, Dim], after the update
	X0           []float64 // [N, Dim], the step's guess of x_0 (after clipping)
}

// Sampler turns noise into images, or for inversion images into noise. It is
// read-only: several goroutines may sample with one.
type Sampler interface {
	// Timesteps is where the model is called, in order.
	Timesteps() []int
	// Sample replaces b.X, x_T, by x_0. x_0 is not clamped to [-1, 1] beyond
	// what the sampler's own clipping does. observe may be nil; an error of it
	// stops the run, as the context does. z may be nil where no noise is drawn.
	// On an error b.X holds an image half-way.
	Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error
}

// Info is what a user of a sampler has to know of it before there is one.
type Info struct {
	Name     string // for New
	Inverts  bool   // turns images into noise
	Noisy    bool   // draws noise, whatever the options say
	Eta      bool   // takes Options.Eta, SigmaHat and RederiveEps
	Variance bool   // takes Options.Variance
	Refine   bool   // takes Options.Refine
	Lambda   bool   // takes Options.FinalSigmaMin and LambdaMin

	Multistep bool // a step uses the guesses of x_0 of steps before it
}

// spec is a sampler for the registry, beside its file's code.
type spec struct {
	Info
	make     func(*Schedule, Options) (Sampler, error)
	resolve  func(*Schedule, Options) Options // fills in options that are the sampler's own; nil: none are
	class    *scheduler                       // diffusers' that samples with it; nil: none does
	allSteps bool                             // by default it takes every step of the schedule
	extra    int                              // timesteps that its list has beyond its steps, except for trailing
}

// registry lists the samplers.
var registry = []*spec{&ddpmSpec, &ddimSpec, &ddimInverseSpec, &dpm1Spec, &dpm2MSpec, &dpm2MHeunSpec, &heunSpec}

// Names lists the names of the samplers that have a property; nil: of all.
func Names(has func(Info) bool) []string {
	var names []string
	for _, sp := range registry {
		if has == nil || has(sp.Info) {
			names = append(names, sp.Name)
		}
	}
	return names
}

// find is the sampler of a name, nil where there is none.
func find(name string) *spec {
	i := slices.IndexFunc(registry, func(sp *spec) bool { return sp.Name == name })
	if i < 0 {
		return nil
	}
	return registry[i]
}

// Find is what is to be known of the sampler of a name.
func Find(name string) (Info, bool) {
	if sp := find(name); sp != nil {
		return sp.Info, true
	}
	return Info{}, false
}

// New makes the sampler of that name. What the options leave unset comes from
// the schedule's config, with diffusers' meaning. It returns an error for an
// unknown name, an impossible option, or one that the sampler has no use for.
func New(name string, s *Schedule, o Options) (Sampler, error) {
	sp := find(name)
	if sp == nil {
		return nil, fmt.Errorf("unknown sampler %q; there are %s", name, strings.Join(Names(nil), ", "))
	}
	err := o.check(s.T, sp.Info)
	if err == nil {
		var sampler Sampler
		if sampler, err = sp.make(s, o); err == nil {
			return sampler, nil
		}
	}
	return nil, fmt.Errorf("sampler %s: %w", name, err)
}

// DefaultSteps is the number of steps of a sampler when none is given: every
// step of the schedule for ddpm, 50 for the others, which need fewer than the
// schedule has; but no more than the steps_offset of leading timesteps and, for
// dpm++, its own lists leave room for.
func (s *Schedule) DefaultSteps(sampler string) int {
	steps := s.T
	if s.Config.TimestepSpacing == string(Leading) {
		steps -= s.Config.StepsOffset
	}
	if sp := find(sampler); sp != nil && !sp.allSteps {
		steps = min(50, steps-sp.extra)
	}
	return max(1, steps)
}
