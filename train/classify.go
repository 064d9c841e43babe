package train

import (
	"context"
	"fmt"

	"unstir/checkpoints"
	"unstir/classifier"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/rng"
	"unstir/nn"
	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// classifying trains a classifier to tell the labels of images, or of x_t.
type classifying struct {
	Setup
	info     data.Info
	config   classifier.Config
	schedule *diffusion.Schedule // of a noisy classifier
	gradient *classifier.Gradient
	noised   *noised // likewise
}

func newClassifying(s Setup, schedule *diffusion.Schedule) (*classifying, error) {
	c := &classifying{Setup: s, info: s.Data.Info(), config: *s.Classifier, schedule: schedule}
	if s.Preview.Every > 0 {
		return nil, fmt.Errorf("train: previews of a classifier every %d steps; there are none: preview.every must be 0", s.Preview.Every)
	}
	c.config.InChannels, c.config.Height, c.config.Width = c.info.Channels, c.info.Height, c.info.Width
	var err error
	if c.config.Classes, err = countClasses(s.Data, c.info); err != nil {
		return nil, err
	}
	if s.Test != nil {
		if t := s.Test.Info(); t.Channels != c.info.Channels || t.Height != c.info.Height || t.Width != c.info.Width {
			return nil, fmt.Errorf("train: test images of %dx%dx%d for training images of %dx%dx%d",
				t.Channels, t.Height, t.Width, c.info.Channels, c.info.Height, c.info.Width)
		}
	}
	return c, nil
}

func (c *classifying) layout() (*nn.Params, error) { return classifier.Layout(c.config) }

func (c *classifying) slice() int { return classifier.DefaultSlice(c.config) }

func (c *classifying) memory(params *nn.Params, weights []float32, slice int) (int64, error) {
	total, err := classifier.GradientMemory(c.config, params, weights, slice, c.Train.BatchSize)
	if err != nil {
		return 0, err
	}
	dim := int64(valuesOf(c.info))
	if c.config.Noisy {
		total += 2 * 4 * int64(c.Train.BatchSize) * dim // x_t and the noise
	}
	if c.Test == nil {
		return total, nil
	}
	m, err := classifier.FromFlat(c.config, params, weights)
	if err != nil {
		return 0, err
	}
	test, err := classifier.PredictorMemory(m, slice)
	return total + test + 3*4*int64(slice)*dim, err
}

func (c *classifying) start(params *nn.Params, weights []float32, slice int) (err error) {
	if c.config.Noisy {
		c.noised = newNoised(c.schedule, c.Train.BatchSize, valuesOf(c.info))
	}
	c.gradient, err = classifier.NewGradient(c.config, params, weights, slice)
	return err
}

func (c *classifying) run(ctx context.Context, b *data.Batch, perImage []float64) (result, error) {
	e := classifier.Example{X: b.X, Labels: b.Labels}
	if c.config.Noisy {
		e.X, e.T = c.noised.make(b.X, c.Seed, uint64(b.Step))
	}
	loss, right, err := c.gradient.Run(ctx, e, perImage)
	return result{loss, float64(right) / float64(len(b.Labels))}, err
}

func (c *classifying) grad() []float32 { return c.gradient.Grad() }

func (c *classifying) machine() *engine.Machine { return c.gradient.Machine() }

func (c *classifying) describe(to *checkpoints.Checkpoint) (err error) {
	if to.Classifier, err = c.config.JSON(); err == nil && c.config.Noisy {
		to.Scheduler, err = c.Scheduler.JSON()
	}
	return err
}

// noised makes x_t of images, at timesteps that are drawn evenly.
type noised struct {
	schedule *diffusion.Schedule
	dim      int
	x0       []float32
	xt, eps  []float32
	t        []int
	seed     uint64
	step     uint64
	each     func(i int)
}

func newNoised(s *diffusion.Schedule, batch, dim int) *noised {
	n := &noised{schedule: s, dim: dim, xt: make([]float32, batch*dim), eps: make([]float32, batch*dim), t: make([]int, batch)}
	n.each = n.draw // stored once: a method value made per step would be allocated per step
	return n
}

// make is x_t and t for the images of a step. The draws are functions of (seed, step, image) alone.
func (n *noised) make(x0 []float32, seed, step uint64) (xt []float32, t []int) {
	n.x0, n.seed, n.step = x0, seed, step
	kernel.Parallel(len(n.t), n.each)
	return n.xt, n.t
}

func (n *noised) draw(i int) {
	at := func(s []float32) []float32 { return s[i*n.dim : (i+1)*n.dim] }
	n.t[i] = rng.Intn(n.seed, rng.Timestep, n.step, uint64(i), 0, n.schedule.T)
	rng.Normal(at(n.eps), n.seed, rng.TrainNoise, n.step, uint64(i))
	diffusion.QSample(n.schedule, at(n.xt), at(n.x0), at(n.eps), n.t[i])
}

// test is the share of the test images whose class the classifier of the given weights tells. A noisy one sees test image i
// as x_t with t = i mod T, so that all timesteps count alike, and with noise that depends on i alone.
func (c *classifying) test(ctx context.Context, params *nn.Params, weights []float32, batch int) (float64, error) {
	m, err := classifier.FromFlat(c.config, params, weights)
	if err != nil {
		return 0, err
	}
	p, err := classifier.NewPredictor(m, batch)
	if err != nil {
		return 0, err
	}
	dim, count := valuesOf(c.info), c.Test.Info().Count
	bytes, x, eps := make([]byte, dim), make([]float32, batch*dim), make([]float32, dim)
	logits, told, t := make([]float32, batch*c.config.Classes), make([]int, batch), make([]int, batch)
	right := 0
	for first := 0; first < count; first += batch {
		n := min(batch, count-first)
		for i := range n {
			xi := x[i*dim : (i+1)*dim]
			c.Test.Image(first+i, bytes)
			for j, v := range bytes {
				xi[j] = data.Value(v)
			}
			if c.config.Noisy {
				t[i] = (first + i) % c.schedule.T
				rng.Normal(eps, 0, rng.TestNoise, uint64(first+i), 0)
				diffusion.QSample(c.schedule, xi, xi, eps, t[i])
			}
		}
		if err := p.Predict(ctx, logits[:n*c.config.Classes], nil, x[:n*dim], t[:n]); err != nil {
			return 0, err
		}
		classifier.Argmax(told[:n], logits[:n*c.config.Classes])
		for i, k := range told[:n] {
			if k == c.Test.Label(first+i) {
				right++
			}
		}
	}
	return float64(right) / float64(count), nil
}

// tests tells whether the current step is one after which the test accuracy is measured.
func (t *Trainer) tests() bool {
	every := t.Checkpoint.Every
	return t.Classifier != nil && t.Test != nil && (t.step == t.Train.Steps || every > 0 && t.step%every == 0)
}

// measure measures the test accuracy of the moving average. It does not stop with the run's context, as the step's line
// of the log and its checkpoint wait for it: it takes the time of a few steps.
func (t *Trainer) measure(ctx context.Context) {
	accuracy, err := t.task.(*classifying).test(context.WithoutCancel(ctx), t.params, t.ema, t.Slice())
	if err != nil {
		t.note("no test accuracy of step %d: %s", t.step, withoutPackage(err))
		return
	}
	t.tested = &checkpoints.Test{Step: t.step, Images: t.Test.Info().Count, Accuracy: accuracy}
	t.note("step %d: test accuracy %.2f %%", t.step, 100*accuracy)
}
