package unstir

import (
	"cmp"
	"context"
	"math"
	"slices"

	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/rng"
	"unstir/metrics"
	"unstir/unet"
)

// Bound is the variational bound on the negative log-likelihood of images under a model, in bits per dimension: see
// diffusion.Bound. All figures are means over the images.
type Bound struct {
	Images int
	Total  float64   // the bound: the prior and all terms
	StdErr float64   // standard error of Total over the images; NaN for a single one
	Prior  float64   // KL(q(x_T | x_0) || N(0, I))
	Terms  []float64 // [T] by timestep; the decoder's is the first
}

// boundSubset is the permutation of the test images of which the first are those of the bound. Package metrics has those of
// smaller numbers.
const boundSubset = 1 << 33

// openBound opens the test images of the bound and finds what is wrong with it. Where they cannot be had, a note says so.
func (e *evaluation) openBound(ctx context.Context) (err error) {
	p := e.Pipeline
	switch {
	case e.BoundImages == 0:
		return nil
	case e.BoundImages < 0:
		return inputError("bits per dimension of %d images", e.BoundImages)
	case p == nil:
		return inputError("bits per dimension are those of a model, and there are only samples")
	}
	if err := p.CanSample(); err != nil {
		return err
	}
	if e.bound, err = diffusion.NewBound(p.Schedule, e.Sample.Settings); err != nil {
		return inputError("%v", err)
	}
	if e.boundTest = e.test; e.boundTest == nil {
		if e.boundTest, err = e.open(ctx, data.Test, false); err != nil {
			if ctx.Err() != nil || e.Open.Dir != "" {
				return err
			}
			e.note("bits_per_dim is null: there are no test images: %v", err)
			return nil
		}
	}
	info := e.boundTest.Info()
	if _, h, _ := p.Shape(); h == 0 {
		if p, err = p.ForSize(info.Height, info.Width); err != nil {
			return err
		}
		e.Pipeline = p
	}
	if c, h, w := p.Shape(); info.Channels != c || info.Height != h || info.Width != w {
		return inputError("bits per dimension: the images of %s are %dx%dx%d, and the model's %dx%dx%d", info.Name, info.Channels, info.Height, info.Width, c, h, w)
	}
	if e.BoundImages > info.Count {
		return inputError("bits per dimension of %d images: %s has %d test images", e.BoundImages, info.Name, info.Count)
	}
	order := make([]int32, info.Count)
	rng.Perm(order, e.Sample.Seed, rng.Subset, boundSubset)
	e.boundImages = order[:e.BoundImages]
	return e.checkBoundLabels()
}

// checkBoundLabels finds images of the bound whose labels say nothing to a class-conditional model.
func (e *evaluation) checkBoundLabels() error {
	p, info := e.Pipeline, e.boundTest.Info()
	if p.model.Config.NumClassEmbeds == 0 {
		return nil
	}
	if names := p.Classes(); names != nil && info.Classes != nil && !slices.Equal(names, info.Classes) {
		return inputError("bits per dimension of a class-conditional model are of images with their labels, and the classes of %s are not the model's", info.Name)
	}
	for _, i := range e.boundImages {
		if l := e.boundTest.Label(int(i)); l < 0 || l >= p.NumClasses() {
			return inputError("bits per dimension of a class-conditional model are of images with their labels, and the label of test image %d is not one of the %d classes", i, p.NumClasses())
		}
	}
	return nil
}

// computeBound is the bound of the test images; nil without such images. A class-conditional model is asked with their labels.
func (e *evaluation) computeBound(ctx context.Context) (*Bound, error) {
	if e.boundImages == nil {
		return nil, nil
	}
	p := e.Pipeline
	batch := min(cmp.Or(e.Sample.Batch, defaultBatch), p.Schedule.T)
	q, err := p.predictor(batch, 0)
	if err != nil {
		return nil, err
	}
	defer p.release(q)
	T, n := p.Schedule.T, len(e.boundImages)
	b := &Bound{Images: n, StdErr: math.NaN(), Terms: make([]float64, T)}
	m := &oneClass{
		predictor: q, model: q.Float64(), conditional: p.model.Config.NumClassEmbeds > 0,
		done: func(asked int) { e.progress("bits per dimension", asked, n*T) },
	}
	c, h, w := p.Shape()
	pixels, x0, terms := make([]byte, c*h*w), make([]float64, c*h*w), make([]float64, T)
	totals := make([]float64, n)
	noise := diffusion.BoundNoise(e.Sample.Seed)
	for k, i := range e.boundImages {
		e.boundTest.Image(int(i), pixels)
		for j, v := range pixels {
			x0[j] = float64(data.Value(v))
		}
		m.label = e.boundTest.Label(int(i))
		if err := e.bound.Terms(ctx, m, terms, x0, int(i), noise, batch); err != nil {
			return nil, err
		}
		prior := e.bound.Prior(x0)
		totals[k] = prior
		b.Prior += prior / float64(n)
		for t, v := range terms {
			totals[k] += v
			b.Terms[t] += v / float64(n)
		}
	}
	for _, v := range totals {
		b.Total += v / float64(n)
	}
	if n > 1 {
		square := 0.0
		for _, v := range totals {
			d := v - b.Total
			square += float64(d * d)
		}
		b.StdErr = math.Sqrt(square / float64(n-1) / float64(n))
	}
	return b, nil
}

// oneClass is a model that is asked about images of one class, and tells how many it was asked about.
type oneClass struct {
	predictor   *unet.Predictor
	model       *unet.Float64Predictor
	conditional bool
	label       int // of no account where the model is not class-conditional
	asked       int
	done        func(asked int)
}

func (m *oneClass) Predict(ctx context.Context, out, x []float64, t []int) error {
	if m.conditional {
		if err := m.predictor.SetLabels(slices.Repeat([]int{m.label}, len(t))); err != nil {
			return err
		}
	}
	if err := m.model.Predict(ctx, out, x, t); err != nil {
		return err
	}
	m.asked += len(t)
	m.done(m.asked)
	return nil
}

// describe adds the bound to a result.
func (b *Bound) describe(r *metrics.Result) {
	if b != nil {
		r.BitsPerDim, r.BitsPerDimStdErr = metrics.Number(b.Total), metrics.Number(b.StdErr)
	}
}
