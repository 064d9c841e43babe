package diffusion

import (
	"context"
	"fmt"
	"math"
)

// run is what the samplers' loops have in common: the buffers of one call of
// Sample, the model's calls and the observer's.
type run struct {
	name    string
	total   int
	ctx     context.Context
	model   Model
	batch   *Batch
	noise   Noise
	observe func(Step) error

	out     []float64 // [N, Dim], the model's latest output
	x0      []float64 // [N, Dim], the guesses of x_0
	z, eps  []float64 // [Dim], for the image at hand
	scratch []float64 // [Dim], for clipping
	ts      []int     // [N]
}

// BytesPerValue bounds the memory that a sampler takes for each number of a batch's images: in float64 the images, the
// model's outputs, the guesses of x_0, for heun three more, and the images that are given to SDEdit and RePaint.
const BytesPerValue = 7 * 8

// newRun checks the batch; noisy says that the sampler draws noise.
func newRun(name string, total int, noisy bool, ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) (*run, error) {
	switch {
	case b.N < 1 || b.Dim < 1 || len(b.X) != b.N*b.Dim:
		return nil, fmt.Errorf("%s: a batch of %d images of %d numbers cannot have %d numbers", name, b.N, b.Dim, len(b.X))
	case b.Numbers != nil && len(b.Numbers) != b.N:
		return nil, fmt.Errorf("%s: a batch of %d images cannot have %d numbers of images", name, b.N, len(b.Numbers))
	case noisy && z == nil:
		return nil, fmt.Errorf("%s: the sampler draws noise, and there is no source of it", name)
	}
	return &run{
		name: name, total: total, ctx: ctx, model: m, batch: b, noise: z, observe: observe,
		out: make([]float64, len(b.X)), x0: make([]float64, len(b.X)),
		z: make([]float64, b.Dim), eps: make([]float64, b.Dim), scratch: make([]float64, b.Dim),
		ts: make([]int, b.N),
	}, nil
}

// predict calls the model for the whole batch x at timestep t of step k.
func (r *run) predict(k, t int, x []float64) error {
	if err := r.ctx.Err(); err != nil {
		return r.failed(k, t, err)
	}
	for i := range r.ts {
		r.ts[i] = t
	}
	if err := r.model.Predict(r.ctx, r.out, x, r.ts); err != nil {
		return r.failed(k, t, err)
	}
	for j, v := range r.out {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			image := r.batch.number(j / r.batch.Dim)
			return r.failed(k, t, fmt.Errorf("the model's output for image %d is %v", image, v))
		}
	}
	return nil
}

// image returns the parts of x, the model's output and x_0 that are image i.
func (r *run) image(i int) (x, out, x0 []float64) {
	lo, hi := i*r.batch.Dim, (i+1)*r.batch.Dim
	return r.batch.X[lo:hi], r.out[lo:hi], r.x0[lo:hi]
}

// draw is z ~ N(0, I) for image i at step k; nil where sigma is 0.
func (r *run) draw(sigma float64, i, k int) []float64 {
	if sigma == 0 {
		return nil
	}
	r.noise(r.z, r.batch.number(i), k)
	return r.z
}

// done tells the observer that step k, which began at t, is over.
func (r *run) done(k, t int) error {
	if r.observe == nil {
		return nil
	}
	if err := r.observe(Step{Index: k, Total: r.total, T: t, X: r.batch.X, X0: r.x0}); err != nil {
		return r.failed(k, t, err)
	}
	return nil
}

// failed says where the run was when err stopped it.
func (r *run) failed(k, t int, err error) error {
	return fmt.Errorf("%s: step %d of %d (t = %d): %w", r.name, k+1, r.total, t, err)
}
