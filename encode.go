package unstir

import (
	"context"
	"errors"
	"fmt"

	"unstir/diffusion"
)

// DefaultRefine is the number of fixed-point iterations of a step of Encode when none is given.
const DefaultRefine = 6

// EncodeOptions say how images are encoded. The zero value of each field means its default.
type EncodeOptions struct {
	Steps   int               // of the inversion and of the DDIM run that decodes; default 50
	Refine  int               // fixed-point iterations of each step; default DefaultRefine, negative: none
	Spacing diffusion.Spacing // of the timesteps; default: the model's
	Pairing diffusion.Pairing // of the timesteps; default: diffusion.PairStride
	Labels  []int             // [N] classes, for a class-conditional model
	Batch   int               // images that are encoded together; it changes the speed and the memory only

	// Guidance is that of the DDIM run that decodes: SampleOptions.Guidance.
	Guidance *diffusion.Guidance

	// OnStep is called after each update of each batch; an error of it stops the run. May be nil.
	OnStep func(SampleStep) error
}

// Encode turns images x [N, C, H, W] in [-1, 1] into the x_T from which DDIM with eta = 0, as many steps, the same
// spacing and pairing, and without clipping makes them again: Sample with Sampler "ddim", this XT, and Settings.Clip =
// diffusion.ClipNone. (A clipped step forgets what it cut off.) The plain inversion (Song, Meng and Ermon, 2021,
// section 4.3) takes the model's
// guess one step too early, so images come back changed, less with more steps; Refine solves each step for where
// DDIM must have begun, with one more call of the model each, and needs far fewer steps. docs/interchange.md has
// figures.
func (p *Pipeline) Encode(ctx context.Context, x []float32, o EncodeOptions) (*Samples, error) {
	if err := p.requireSize(); err != nil {
		return nil, err
	}
	c, h, w := p.Shape()
	dim := c * h * w
	if len(x) == 0 || len(x)%dim != 0 {
		return nil, fmt.Errorf("unstir: encode %d values; an image of %dx%dx%d has %d", len(x), c, h, w, dim)
	}
	if o.Refine == 0 {
		o.Refine = DefaultRefine
	}
	return p.Sample(ctx, SampleOptions{
		N: len(x) / dim, Sampler: "ddim-inverse", Steps: o.Steps, Batch: o.Batch, Labels: o.Labels, Guidance: o.Guidance, XT: x,
		Settings: diffusion.Options{Spacing: o.Spacing, Pairing: o.Pairing, Refine: max(0, o.Refine), Clip: diffusion.ClipNone}, OnStep: o.OnStep,
	})
}

// InitialNoise is the x_T [C, H, W] that Sample starts image i of a seed from; it is empty where Shape has no size.
func (p *Pipeline) InitialNoise(seed uint64, i int) []float32 {
	c, h, w := p.Shape()
	wide := make([]float64, c*h*w)
	diffusion.InitialNoise(wide, seed, i)
	x := make([]float32, len(wide))
	for j, v := range wide {
		x[j] = float32(v)
	}
	return x
}

// Score is the model's estimate of grad log q(x_t) = -eps / sqrt(1 - alphaBar_t), the score of the noisy images'
// density (Song et al., "Score-Based Generative Modeling", 2021), at x [n, C, H, W] and one timestep each. The
// arguments are Predict's; eps is derived from what the model predicts.
func (p *Pipeline) Score(ctx context.Context, x []float32, t []int, labels []int) ([]float32, error) {
	out, err := p.Predict(ctx, x, t, labels)
	if err != nil {
		return nil, err
	}
	if len(out) != len(x) {
		return nil, errors.New("unstir: the model predicts other channels than it sees: there is no score")
	}
	dim := len(x) / len(t)
	for i, ti := range t {
		part := out[i*dim : (i+1)*dim]
		diffusion.PredictEps(p.Schedule, part, x[i*dim:(i+1)*dim], part, ti)
		diffusion.Score(p.Schedule, part, part, ti)
	}
	return out, nil
}
