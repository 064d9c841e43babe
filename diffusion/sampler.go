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

// registry lists the samplers by the name that users give.
var registry = []entry{
	{"ddpm", newDDPM},
	{"ddim", newDDIM},
	{"ddim-inverse", newDDIMInverse},
	{"dpm++1", dpmSolver(1, false)},
	{"dpm++2m", dpmSolver(2, false)},
	{"dpm++2m-heun", dpmSolver(2, true)},
	{"heun", newHeun},
}

type entry struct {
	name string
	make func(*Schedule, Options) (Sampler, error)
}

// Names lists the samplers that New knows.
func Names() []string {
	names := make([]string, len(registry))
	for i, r := range registry {
		names[i] = r.name
	}
	return names
}

// New makes the sampler of that name. What the options leave unset comes from
// the schedule's config, with diffusers' meaning. It returns an error for an
// unknown name, an impossible option, or one that the sampler has no use for.
func New(name string, s *Schedule, o Options) (Sampler, error) {
	i := slices.IndexFunc(registry, func(e entry) bool { return e.name == name })
	if i < 0 {
		return nil, fmt.Errorf("unknown sampler %q; there are %s", name, strings.Join(Names(), ", "))
	}
	sampler, err := registry[i].make(s, o)
	if err != nil {
		return nil, fmt.Errorf("sampler %s: %w", name, err)
	}
	return sampler, nil
}
