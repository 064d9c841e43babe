// Package unstir samples denoising diffusion models in pure Go.
//
// Open reads a model: a run or a checkpoint of the diffusion program, or a pipeline of Python's diffusers; Demo is one
// that is part of the library. Pipeline.Sample makes images with it:
//
//	p, err := unstir.Open(ctx, "runs/mnist")
//	...
//	samples, err := p.Sample(ctx, unstir.SampleOptions{N: 16, Sampler: "ddim", Steps: 50, Seed: 1})
//	...
//	img, err := samples.Image(0)
//
// Image i of a seed is the same in every batch, on any number of threads. The packages below are the parts:
// diffusion has the mathematics and the samplers, unet the model, train the training loop, data the datasets.
package unstir

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"sync"

	"unstir/diffusion"
	"unstir/internal/images"
	"unstir/unet"
)

// Pipeline is a model with the schedule that it was trained on, for images of one size. It may be used by several
// goroutines at once.
type Pipeline struct {
	Source   Source
	Schedule *diffusion.Schedule

	model *unet.Model
	h, w  int  // 0: the model's sample_size is null, or a size that it does not take
	null  *int // the null class; nil: there is none

	configs [][]byte // of model and scheduler as their files have them; nil: not from files

	mu   sync.Mutex
	idle []*unet.Predictor // for the next calls, the one used last at the end
}

// New makes a pipeline of a model and a schedule, for images of the model's sample size. Where that is null, or a
// size that the model does not take, ForSize chooses another. A model that predicts a variance beside the noise, with twice as
// many channels out as in, is an error.
func New(m *unet.Model, s *diffusion.Schedule) (*Pipeline, error) {
	if in, out := m.Config.InChannels, m.Config.OutChannels; out == 2*in {
		return nil, fmt.Errorf("unstir: %w", learnedVariance(in, out))
	}
	p := &Pipeline{Schedule: s, model: m}
	if size := m.Config.SampleSize; checkSize(m.Config, size.H, size.W) == nil {
		p.h, p.w = size.H, size.W
	}
	return p, nil
}

// learnedVariance is the error of a model that predicts a variance too.
func learnedVariance(in, out int) error {
	return fmt.Errorf("the model has %d channels in and %d out: it predicts the variance beside the noise (variance_type learned or learned_range), which is not supported: it must have %d out", in, out, in)
}

// Model is the pipeline's model.
func (p *Pipeline) Model() *unet.Model { return p.model }

// Shape is the shape of one image: channels, rows, columns. Rows and columns are 0 where the model's sample_size is
// null or a size that it does not take: see ForSize.
func (p *Pipeline) Shape() (c, h, w int) { return p.model.Config.InChannels, p.h, p.w }

// ForSize is the pipeline for images of h rows and w columns, whatever size the model was saved with: the model takes
// any whose sides are multiples of 2^(levels-1). It shares the model's weights with p and costs nothing until it is
// used. A size that the model does not take, or of more than 67108864 pixels, is an error.
func (p *Pipeline) ForSize(h, w int) (*Pipeline, error) {
	if h == p.h && w == p.w && h > 0 {
		return p, nil
	}
	if err := checkSize(p.model.Config, h, w); err != nil {
		return nil, fmt.Errorf("unstir: %w", err)
	}
	return &Pipeline{Source: p.Source, Schedule: p.Schedule, model: p.model, configs: p.configs, h: h, w: w, null: p.null}, nil
}

// maxPixels bounds the size of one image.
const maxPixels = 1 << 26

func checkSize(c unet.Config, h, w int) error {
	if h > 0 && w > maxPixels/h {
		return fmt.Errorf("images of %dx%d: one has at most %d pixels here", h, w, maxPixels)
	}
	return c.CheckSize(h, w)
}

// ErrNoSize says that a pipeline's images have no size, since the model's sample_size is null or a size that it does not take.
var ErrNoSize = errors.New("the images' size must be chosen with ForSize")

// requireSize returns an error where the images have no size yet.
func (p *Pipeline) requireSize() error {
	if p.h > 0 {
		return nil
	}
	if size := p.model.Config.SampleSize; size != (unet.Size{}) {
		return fmt.Errorf("unstir: the model's sample_size: %w: %w", checkSize(p.model.Config, size.H, size.W), ErrNoSize)
	}
	return fmt.Errorf("unstir: the model's sample_size is null: %w", ErrNoSize)
}

// maxIdle is how many predictors, whose memory grows with their batch, are kept for the next calls.
const maxIdle = 4

// predictor takes a predictor for a batch from those that are idle, or plans one, if there is memory for it and for so
// many images that are returned.
func (p *Pipeline) predictor(batch, images int) (*unet.Predictor, error) {
	qs, err := p.predictors(batch, images, 1)
	if err != nil {
		return nil, err
	}
	return qs[0], nil
}

// predictors are several that take turns on a batch: in one run, the k-th predicts per[k] times for each image.
func (p *Pipeline) predictors(batch, images int, per ...int) ([]*unet.Predictor, error) {
	qs := make([]*unet.Predictor, len(per))
	for k, n := range per {
		qs[k] = p.takeIdle(n * batch)
	}
	var err error
	if slices.Contains(qs, nil) {
		err = p.fit(batch, images, per...)
	}
	for k, n := range per {
		if qs[k] == nil && err == nil {
			qs[k], err = unet.NewPredictor(p.model, n*batch, p.h, p.w)
		}
	}
	if err != nil {
		for _, q := range qs {
			p.release(q)
		}
		return nil, err
	}
	return qs, nil
}

// takeIdle takes a predictor for a batch from those that are idle; nil where there is none.
func (p *Pipeline) takeIdle(batch int) *unet.Predictor {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		if q := p.idle[i]; q.Batch() == batch {
			p.idle = slices.Delete(p.idle, i, i+1)
			return q
		}
	}
	return nil
}

// release keeps a predictor, unless it is nil, in place of the one that was not used for longest where there are many.
func (p *Pipeline) release(q *unet.Predictor) {
	if q == nil {
		return
	}
	q.ClearLabels()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, q)
	if len(p.idle) > maxIdle {
		p.idle = slices.Delete(p.idle, 0, 1)
	}
}

// Predict runs the model once: x is len(t) images [n, C, H, W] of Shape, the result as many with the channels that
// the model predicts, labels their classes for a class-conditional model and nil otherwise.
func (p *Pipeline) Predict(ctx context.Context, x []float32, t []int, labels []int) ([]float32, error) {
	if err := p.requireSize(); err != nil {
		return nil, err
	}
	for _, ti := range t {
		if ti < 0 || ti >= p.Schedule.T {
			return nil, fmt.Errorf("unstir: timestep %d; the model was trained on 0 to %d", ti, p.Schedule.T-1)
		}
	}
	switch classes := p.model.Config.NumClassEmbeds; {
	case labels == nil && classes > 0:
		return nil, fmt.Errorf("unstir: the model is class-conditional: give each image a label from %s", p.labelWords())
	case labels != nil && len(labels) != len(t):
		return nil, fmt.Errorf("unstir: %d labels for %d images", len(labels), len(t))
	}
	q, err := p.predictor(max(1, min(len(t), defaultBatch)), len(t))
	if err != nil {
		return nil, err
	}
	defer p.release(q)
	if labels != nil {
		if err := q.SetLabels(labels); err != nil {
			return nil, err
		}
	}
	out := make([]float32, len(t)*p.model.Config.OutChannels*p.h*p.w)
	return out, q.Predict(ctx, out, x, t)
}

// Samples are n images [n, C, H, W], in [-1, 1] unless they are encodings.
type Samples struct {
	N, C, H, W int
	Data       []float32
}

// Image is image i as a picture, gray or RGB.
func (s *Samples) Image(i int) (image.Image, error) {
	if i < 0 || i >= s.N {
		return nil, fmt.Errorf("unstir: image %d of %d", i, s.N)
	}
	dim := s.C * s.H * s.W
	list, err := images.FromNCHW(s.Data[i*dim:(i+1)*dim], 1, s.C, s.H, s.W)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Grid is all images in rows.
func (s *Samples) Grid() (image.Image, error) {
	list, err := images.FromNCHW(s.Data, s.N, s.C, s.H, s.W)
	if err != nil {
		return nil, err
	}
	return images.Grid(list, images.GridOptions{Padding: 2})
}
