package train

import (
	"context"
	"fmt"

	"unstir/checkpoints"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/rng"
	"unstir/nn"
	"unstir/nn/engine"
	"unstir/nn/kernel"
	"unstir/unet"
)

// denoising trains a UNet to predict what makes x_0 of x_t.
type denoising struct {
	Setup
	info     data.Info
	unet     unet.Config // of the model that is trained: Model, or with label dropout Model with the null class
	schedule *diffusion.Schedule
	examples *examples
	gradient *unet.Gradient
}

func newDenoising(s Setup, schedule *diffusion.Schedule) (*denoising, error) {
	d := &denoising{Setup: s, info: s.Data.Info(), unet: s.Train.UNet(s.Model), schedule: schedule}
	if s.Model.InChannels != d.info.Channels || s.Model.OutChannels != d.info.Channels {
		return nil, fmt.Errorf("train: a model of %d channels in and %d out for images of %d", s.Model.InChannels, s.Model.OutChannels, d.info.Channels)
	}
	return d, checkLabels(s.Data, d.info, s.Model.NumClassEmbeds)
}

func (d *denoising) layout() (*nn.Params, error) { return unet.Layout(d.unet) }

func (d *denoising) slice() int { return unet.DefaultSlice(d.unet, d.info.Height, d.info.Width) }

// options are those of micro-batches of so many images.
func (d *denoising) options(slice int) unet.GradientOptions {
	return unet.GradientOptions{Slice: slice, H: d.info.Height, W: d.info.Width}
}

func (d *denoising) memory(params *nn.Params, weights []float32, slice int) (int64, error) {
	dim := valuesOf(d.info)
	step, err := unet.GradientMemory(d.unet, params, weights, d.options(slice), d.Train.BatchSize)
	if err != nil {
		return 0, err
	}
	const batches = 3 // x_t, eps and the target
	total := step + 4*batches*int64(d.Train.BatchSize)*int64(dim)
	if d.Preview.Every == 0 {
		return total, nil
	}
	m, err := unet.FromFlat(d.unet, params, weights)
	if err != nil {
		return 0, err
	}
	preview, err := unet.PredictorMemory(m, min(d.Preview.Images, slice), d.info.Height, d.info.Width)
	return total + preview + diffusion.BytesPerValue*int64(d.Preview.Images)*int64(dim), err
}

func (d *denoising) start(params *nn.Params, weights []float32, slice int) (err error) {
	d.examples = newExamples(d.schedule, d.Seed, d.Train.MinSNRGamma, d.Train.BatchSize, valuesOf(d.info))
	d.examples.dropout = d.newLabelDropout()
	d.gradient, err = unet.NewGradient(d.unet, params, weights, d.options(slice))
	return err
}

func (d *denoising) run(ctx context.Context, b *data.Batch, perImage []float64) (result, error) {
	loss, err := d.gradient.Run(ctx, d.examples.make(b), perImage)
	return result{loss: loss}, err
}

func (d *denoising) grad() []float32 { return d.gradient.Grad() }

func (d *denoising) machine() *engine.Machine { return d.gradient.Machine() }

func (d *denoising) describe(c *checkpoints.Checkpoint) (err error) {
	if c.UNet, err = d.unet.JSON(); err != nil {
		return err
	}
	c.Scheduler, err = d.Scheduler.JSON()
	return err
}

// examples turns batches of images into training examples: for image i of step s, a timestep t and noise eps, and
// from them x_t and what the model should predict. The draws are functions of (seed, step, i) alone.
type examples struct {
	schedule *diffusion.Schedule
	seed     uint64
	gamma    float64 // of min-SNR weighting; 0: none
	dropout  *labelDropout
	dim      int
	eps      []float32
	batch    *data.Batch
	unet.Example
	each func(i int)
}

func newExamples(s *diffusion.Schedule, seed uint64, gamma float64, batch, dim int) *examples {
	e := &examples{schedule: s, seed: seed, gamma: gamma, dim: dim, eps: make([]float32, batch*dim)}
	e.X = make([]float32, batch*dim)
	e.Target = make([]float32, batch*dim)
	e.T = make([]int, batch)
	e.Weight = make([]float64, batch)
	e.Seed = seed
	e.each = e.draw // stored once: a method value made per step would be allocated per step
	return e
}

// make fills the example of a batch.
func (e *examples) make(b *data.Batch) unet.Example {
	e.batch, e.Step, e.Labels = b, uint64(b.Step), e.dropout.apply(uint64(b.Step), b.Labels)
	kernel.Parallel(len(e.T), e.each)
	return e.Example
}

// draw is algorithm 1 of Ho et al. (2020), lines 2 to 5, for image i: x_0 from the data, t uniform, eps ~ N(0, I).
func (e *examples) draw(i int) {
	step, image := e.Step, uint64(i)
	at := func(s []float32) []float32 { return s[i*e.dim : (i+1)*e.dim] }
	x0, eps := at(e.batch.X), at(e.eps)

	t := rng.Intn(e.seed, rng.Timestep, step, image, 0, e.schedule.T)
	rng.Normal(eps, e.seed, rng.TrainNoise, step, image)
	diffusion.QSample(e.schedule, at(e.X), x0, eps, t)
	diffusion.Target(e.schedule, at(e.Target), x0, eps, t)

	e.T[i], e.Weight[i] = t, 1
	if e.gamma > 0 {
		e.Weight[i] = e.schedule.MinSNRWeight(t, e.gamma)
	}
}
