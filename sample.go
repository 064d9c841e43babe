package unstir

import (
	"context"
	"fmt"
	"slices"

	"unstir/diffusion"
)

// defaultBatch is how many images go through the model together: enough to keep the kernels busy, few enough to
// stay near the cache.
const defaultBatch = 16

// SampleOptions say what to sample. The zero value of each field but N means its default.
type SampleOptions struct {
	N        int       // images
	Sampler  string    // one of diffusion.Names; default: the one of the pipeline's scheduler, "ddpm" for models trained here
	Steps    int       // sampling steps; default: all steps of the schedule for ddpm, or 250 for Inpaint, 50 for the others
	Seed     uint64    // of x_T, and of the steps' noise unless StepSeed is set
	StepSeed *uint64   // of the steps' noise: one x_T leads to many images
	First    int       // number of the first image: image i of a seed is always the same one
	Numbers  []int     // [N] numbers of the images, where they are not First, First+1, ...
	Batch    int       // images that are sampled together (default 16, or 8 with Guidance); it changes the speed and the memory, not the images
	Labels   []int     // [N] classes, for a class-conditional model; Pipeline.Label finds one by its name
	XT       []float32 // [N, C, H, W] to start from, in place of the seed's noise of x_T

	Edit    *Edit    // makes the images from given ones; nil: from noise alone
	Inpaint *Inpaint // fills holes in given images

	// Guidance is classifier-free guidance towards the Labels; nil: none. A weight other than 1 takes a class-conditional model that
	// was trained with label dropout. It runs the model on two images for each one, unless the weight is 0 or outside of its interval.
	Guidance *diffusion.Guidance

	// Settings are the sampler's own: eta, variance, clipping, spacing, pairing ... What is not set follows the scheduler
	// configuration that the model came with. Steps above takes the place of Settings.Steps.
	Settings diffusion.Options

	// OnStep is called after each update of each batch; an error of it stops the run. May be nil.
	OnStep func(SampleStep) error
}

// SampleStep is one update of one batch.
type SampleStep struct {
	diffusion.Step
	First, N int // the batch is images First to First+N-1 of the call, counted from 0
}

// NewSampler is the sampler that Sample uses for these options.
func (p *Pipeline) NewSampler(o SampleOptions) (diffusion.Sampler, error) {
	name, settings := p.settings(o)
	if o.Edit != nil || o.Inpaint != nil {
		return p.editSampler(name, settings, o)
	}
	return diffusion.New(name, p.Schedule, settings)
}

// Notes are warnings about the steps that the options ask for, such as noise that a number of steps leaves in the images
// because it does not tile the schedule. It is empty where NewSampler returns an error.
func (p *Pipeline) Notes(o SampleOptions) []diffusion.Note {
	name, settings := p.settings(o)
	if o.Edit != nil || o.Inpaint != nil {
		return p.editNotes(name, settings, o)
	}
	return diffusion.Notes(name, p.Schedule, settings)
}

// settings are the sampler and its options with the defaults filled in.
func (p *Pipeline) settings(o SampleOptions) (string, diffusion.Options) {
	name, settings := o.Sampler, o.Settings
	if name == "" {
		name = p.DefaultSampler()
	}
	if o.Steps != 0 {
		settings.Steps = o.Steps
	}
	if settings.Steps == 0 && settings.Timesteps == nil {
		settings.Steps = p.Schedule.DefaultSteps(name)
		if o.Inpaint != nil && slices.Contains(o.Inpaint.Mask, false) {
			settings.Steps = min(settings.Steps, inpaintSteps)
		}
	}
	if o.Guidance != nil {
		settings = o.Guidance.Complete(name, settings)
	}
	return name, settings
}

// Steps is the number of sampling steps that the options ask for, with the default filled in.
func (p *Pipeline) Steps(o SampleOptions) int {
	_, settings := p.settings(o)
	return settings.Steps
}

// DefaultSampler is the sampler of the scheduler that the model was saved with, whose settings it takes: "ddim" for a
// DDIMScheduler, one of the dpm++ for a DPMSolverMultistepScheduler. It is "ddpm" for models that were trained here.
func (p *Pipeline) DefaultSampler() string { return p.Schedule.Config.Class.Sampler() }

// CanSample is an error where the model does not predict what it sees, such as one that sees a second picture beside
// x_t: it can be asked with Predict only.
func (p *Pipeline) CanSample() error {
	if in, out := p.model.Config.InChannels, p.model.Config.OutChannels; in != out {
		return fmt.Errorf("unstir: the model sees images of %d channels and predicts %d: it is conditioned on more than x_t, and can be asked with Predict, not sampled from", in, out)
	}
	return nil
}

// maxValues bounds the numbers of one call's images: 4 GB of float32.
const maxValues = 1 << 30

// Sample makes images in [-1, 1]: what a sampler leaves beyond is clamped, as diffusers' pipelines do, except the
// x_T that an inversion makes. It stops when ctx is done. All images are held in memory, at most 2^30 values;
// SampleEach hands them on one by one.
func (p *Pipeline) Sample(ctx context.Context, o SampleOptions) (*Samples, error) {
	if err := p.requireSize(); err != nil {
		return nil, err
	}
	c, h, w := p.Shape()
	dim := c * h * w
	if o.N < 1 || o.N > maxValues/dim {
		return nil, fmt.Errorf("unstir: sample %d images; it must be from 1 to %d of %dx%dx%d", o.N, maxValues/dim, c, h, w)
	}
	out := &Samples{N: o.N, C: c, H: h, W: w}
	err := p.sampleEach(ctx, o, o.N, func(_ int, s *Samples) error {
		if out.Data == nil { // prepare has checked that there is memory for it
			out.Data = make([]float32, 0, o.N*dim)
		}
		out.Data = append(out.Data, s.Data...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SampleEach makes the images that Sample makes and hands each to f as soon as its batch is done, so that any number
// fits in memory: i is the image's number, from First on or of Numbers, and s is that image alone, [1, C, H, W], which
// f may keep. An error of f stops the run and is returned, wrapped. When ctx is done the batch under way is given up;
// f has then seen every image before it.
func (p *Pipeline) SampleEach(ctx context.Context, o SampleOptions, f func(i int, s *Samples) error) error {
	return p.sampleEach(ctx, o, 0, f)
}

// Prepare checks that SampleEach can begin with these options and that there is memory for it, and plans its batches, so
// that it begins at once.
func (p *Pipeline) Prepare(o SampleOptions) error {
	_, e, err := p.prepare(o, 0)
	if err != nil {
		return err
	}
	p.free(e)
	return nil
}

// prepare makes the sampler and the evaluator of a call whose caller keeps so many images beside the batch.
func (p *Pipeline) prepare(o SampleOptions, kept int) (diffusion.Sampler, *evaluator, error) {
	if err := p.checkSample(o); err != nil {
		return nil, nil, err
	}
	sampler, err := p.NewSampler(o)
	if err != nil {
		return nil, nil, err
	}
	e, err := p.evaluator(o, sampler.Timesteps(), kept)
	return sampler, e, err
}

func (p *Pipeline) sampleEach(ctx context.Context, o SampleOptions, kept int, f func(i int, s *Samples) error) error {
	sampler, e, err := p.prepare(o, kept)
	if err != nil {
		return err
	}
	defer p.free(e)
	c, h, w := p.Shape()
	dim, batch := c*h*w, e.batch
	for first := 0; first < o.N; first += batch {
		n := min(batch, o.N-first)
		data, err := p.sampleBatch(ctx, o, sampler, e, first, n)
		if err != nil {
			return fmt.Errorf("unstir: sample %s: %w", o.inWords(first, n), err)
		}
		for k := range n {
			s := &Samples{N: 1, C: c, H: h, W: w, Data: data[k*dim : (k+1)*dim : (k+1)*dim]}
			if err := f(o.number(first+k), s); err != nil {
				return fmt.Errorf("unstir: sample image %d: %w", o.number(first+k), err)
			}
		}
	}
	return nil
}

// checkSample finds what is wrong with the options, but for those of the sampler.
func (p *Pipeline) checkSample(o SampleOptions) error {
	if err := p.CanSample(); err != nil {
		return err
	}
	if err := p.requireSize(); err != nil {
		return err
	}
	c, h, w := p.Shape()
	dim := c * h * w
	switch {
	case o.N < 1:
		return fmt.Errorf("unstir: sample %d images; it must be at least 1", o.N)
	case o.Batch < 0 || o.First < 0:
		return fmt.Errorf("unstir: a batch of %d images from image %d on; neither may be negative", o.Batch, o.First)
	case min(o.Batch, o.N) > maxValues/dim:
		return fmt.Errorf("unstir: a batch of %d images; it must be at most %d", o.Batch, maxValues/dim)
	case o.Numbers != nil && (len(o.Numbers) != o.N || o.First != 0):
		return fmt.Errorf("unstir: %d numbers for %d images from image %d on; there must be one for each, and First must be 0", len(o.Numbers), o.N, o.First)
	case o.Numbers != nil && slices.Min(o.Numbers) < 0:
		return fmt.Errorf("unstir: image %d; a number must not be negative", slices.Min(o.Numbers))
	case o.XT != nil && len(o.XT) != o.N*dim:
		return fmt.Errorf("unstir: x_T has %d values; %d images of %dx%dx%d have %d", len(o.XT), o.N, c, h, w, o.N*dim)
	case o.Labels != nil && len(o.Labels) != o.N:
		return fmt.Errorf("unstir: %d labels for %d images", len(o.Labels), o.N)
	case o.Labels == nil && p.model.Config.NumClassEmbeds > 0:
		return fmt.Errorf("unstir: the model is class-conditional: give each image a label from %s, in Labels", p.labelWords())
	}
	if err := p.CheckGuidance(o.Guidance); err != nil {
		return err
	}
	return p.CheckEdit(o)
}

// number is the number of the call's image k.
func (o SampleOptions) number(k int) int {
	if o.Numbers != nil {
		return o.Numbers[k]
	}
	return o.First + k
}

// inWords names n of the call's images.
func (o SampleOptions) inWords(first, n int) string {
	if n == 1 {
		return fmt.Sprintf("image %d", o.number(first))
	}
	return fmt.Sprintf("images %d to %d", o.number(first), o.number(first+n-1))
}

// sampleBatch makes the call's images first to first+n-1, [n, C, H, W].
func (p *Pipeline) sampleBatch(ctx context.Context, o SampleOptions, s diffusion.Sampler, e *evaluator, first, n int) ([]float32, error) {
	c, h, w := p.Shape()
	dim := c * h * w
	name, _ := p.settings(o)
	info, _ := diffusion.Find(name)
	d := diffusion.Draw{N: n, Dim: dim, First: o.First + first, Seed: o.Seed, StepSeed: o.Seed, Inverts: info.Inverts}
	if o.Numbers != nil {
		d.First, d.Numbers = 0, o.Numbers[first:first+n]
	}
	d.Given = o.given(first, n, dim)
	if o.XT != nil {
		d.XT = o.XT[first*dim : (first+n)*dim]
	}
	if o.StepSeed != nil {
		d.StepSeed = *o.StepSeed
	}
	if o.OnStep != nil {
		d.Observe = func(st diffusion.Step) error { return o.OnStep(SampleStep{st, first, n}) }
	}
	var labels []int
	if o.Labels != nil {
		labels = o.Labels[first : first+n]
	}
	m, err := p.modelFor(e, o, labels)
	if err != nil {
		return nil, err
	}
	return d.Sample(ctx, s, m)
}
