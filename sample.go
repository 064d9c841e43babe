package unstir

import (
	"context"
	"fmt"
	"strings"

	"unstir/diffusion"
	"unstir/unet"
)

// defaultBatch is how many images go through the model together: enough to keep the kernels busy, few enough to
// stay near the cache.
const defaultBatch = 16

// SampleOptions say what to sample. The zero value of each field but N means its default.
type SampleOptions struct {
	N        int       // images
	Sampler  string    // one of diffusion.Names; default "ddpm"
	Steps    int       // sampling steps; default: all steps of the schedule for ddpm, 50 for the others
	Seed     uint64    // of x_T, and of the steps' noise unless StepSeed is set
	StepSeed *uint64   // of the steps' noise: one x_T leads to many images
	First    int       // number of the first image: image i of a seed is always the same one
	Batch    int       // images that are sampled together; it changes the speed and the memory, not the images
	Labels   []int     // [N] classes, for a class-conditional model
	XT       []float32 // [N, C, H, W] to start from, in place of the seed's noise

	// Settings are the sampler's own: eta, variance, clipping, spacing, pairing ... What is not set follows the scheduler
	// configuration that the model came with. Steps above takes the place of Settings.Steps.
	Settings diffusion.Options

	// OnStep is called after each update of each batch; an error of it stops the run. May be nil.
	OnStep func(SampleStep) error
}

// SampleStep is one update of one batch.
type SampleStep struct {
	diffusion.Step
	First, N int // the batch's images
}

// NewSampler is the sampler that Sample uses for these options.
func (p *Pipeline) NewSampler(o SampleOptions) (diffusion.Sampler, error) {
	name, settings := p.settings(o)
	return diffusion.New(name, p.Schedule, settings)
}

// Notes is what the images will show of the steps that the options ask for, such as noise that a number of steps
// leaves which does not tile the schedule; empty where all is well, and where NewSampler returns an error.
func (p *Pipeline) Notes(o SampleOptions) []diffusion.Note {
	name, settings := p.settings(o)
	return diffusion.Notes(name, p.Schedule, settings)
}

// settings are the sampler and its options with the defaults filled in.
func (p *Pipeline) settings(o SampleOptions) (string, diffusion.Options) {
	name, settings := o.Sampler, o.Settings
	if name == "" {
		name = "ddpm"
	}
	if o.Steps != 0 {
		settings.Steps = o.Steps
	}
	if settings.Steps == 0 && settings.Timesteps == nil {
		settings.Steps = DefaultSteps(name, p.Schedule)
	}
	return name, settings
}

// DefaultSteps is the number of steps of a sampler when none is given: every step of the schedule for ddpm, 50
// for the others, which need fewer than the schedule has; but no more than the steps_offset of leading timesteps and,
// for dpm++, its own lists leave room for.
func DefaultSteps(sampler string, s *diffusion.Schedule) int {
	room := s.T
	if s.Config.TimestepSpacing == string(diffusion.Leading) {
		room -= s.Config.StepsOffset
	}
	switch {
	case strings.HasPrefix(sampler, "dpm++"):
		room = min(50, room-1)
	case sampler != "ddpm":
		room = min(50, room)
	}
	return max(1, room)
}

// maxValues bounds the numbers of one call's images: 4 GB of float32.
const maxValues = 1 << 30

// Sample makes images in [-1, 1]: what a sampler leaves beyond is clamped, as diffusers' pipelines do, except the
// x_T that an inversion makes. It stops when ctx is done.
func (p *Pipeline) Sample(ctx context.Context, o SampleOptions) (*Samples, error) {
	c, h, w := p.Shape()
	dim := c * h * w
	switch {
	case o.N < 1 || o.N > maxValues/dim:
		return nil, fmt.Errorf("unstir: sample %d images; it must be from 1 to %d", o.N, maxValues/dim)
	case o.Batch < 0 || o.First < 0:
		return nil, fmt.Errorf("unstir: a batch of %d images from image %d on; neither may be negative", o.Batch, o.First)
	case o.XT != nil && len(o.XT) != o.N*dim:
		return nil, fmt.Errorf("unstir: x_T has %d values; %d images of %dx%dx%d have %d", len(o.XT), o.N, c, h, w, o.N*dim)
	case o.Labels != nil && len(o.Labels) != o.N:
		return nil, fmt.Errorf("unstir: %d labels for %d images", len(o.Labels), o.N)
	case o.Labels == nil && p.model.Config.NumClassEmbeds > 0:
		return nil, fmt.Errorf("unstir: the model is class-conditional: give each image a label from 0 to %d, in Labels", p.model.Config.NumClassEmbeds-1)
	}
	sampler, err := p.NewSampler(o)
	if err != nil {
		return nil, err
	}
	batch := o.Batch
	if batch == 0 {
		batch = defaultBatch
	}
	batch = min(batch, o.N)
	q, err := p.predictor(batch, o.N)
	if err != nil {
		return nil, err
	}
	defer p.release(q)
	out := &Samples{N: o.N, C: c, H: h, W: w, Data: make([]float32, o.N*dim)}
	for first := 0; first < o.N; first += batch {
		n := min(batch, o.N-first)
		if err := p.sampleBatch(ctx, o, sampler, q, first, n, out.Data[first*dim:(first+n)*dim]); err != nil {
			return nil, fmt.Errorf("unstir: sample images %d to %d: %w", o.First+first, o.First+first+n-1, err)
		}
	}
	return out, nil
}

func (p *Pipeline) sampleBatch(ctx context.Context, o SampleOptions, s diffusion.Sampler, q *unet.Predictor, first, n int, out []float32) error {
	dim := len(out) / n
	b := &diffusion.Batch{N: n, Dim: dim, First: o.First + first, X: make([]float64, n*dim)}
	for i := range b.X {
		if o.XT != nil {
			b.X[i] = float64(o.XT[first*dim+i])
		}
	}
	for i := 0; i < n && o.XT == nil; i++ {
		diffusion.InitialNoise(b.X[i*dim:(i+1)*dim], o.Seed, b.First+i)
	}
	if o.Labels != nil {
		if err := q.SetLabels(o.Labels[first : first+n]); err != nil {
			return err
		}
	}
	noise := o.Seed
	if o.StepSeed != nil {
		noise = *o.StepSeed
	}
	var observe func(diffusion.Step) error
	if o.OnStep != nil {
		observe = func(st diffusion.Step) error { return o.OnStep(SampleStep{st, first, n}) }
	}
	if err := s.Sample(ctx, q.Float64(), b, diffusion.NormalNoise(noise), observe); err != nil {
		return err
	}
	_, inverts := s.(*diffusion.DDIMInverse)
	for i, v := range b.X {
		if !inverts {
			v = max(-1, min(1, v))
		}
		out[i] = float32(v)
	}
	return nil
}
