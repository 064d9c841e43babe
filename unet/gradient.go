package unet

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
)

// Gradient computes a weighted squared error of the model's output and its gradient with respect to every
// weight, in micro-batches: see nn.Training.
type Gradient struct {
	*nn.Training
	config   Config
	h, w     int
	in       inputs
	target   []float32 // [slice, H, W, out]: what the output should be
	weight   []float32 // [slice] of each image in the loss
	perImage []float32 // of a micro-batch
}

// GradientOptions are the fixed settings of a Gradient.
type GradientOptions struct {
	Slice     int  // images of a micro-batch, at least 1
	H, W      int  // rows and columns of an image
	InputGrad bool // also compute the gradient of the images, of the last micro-batch
	NoDropout bool // leave dropout out, whatever the configuration says
}

// NewGradient builds and differentiates the graph of a model whose weights are the flat slice, laid out as params
// says. The weights may change between calls.
func NewGradient(c Config, params *nn.Params, weights []float32, o GradientOptions) (*Gradient, error) {
	d, graph, err := newGradient(c, params, weights, o)
	if err == nil {
		d.Training, err = nn.NewTraining(graph)
	}
	if err != nil {
		return nil, fmt.Errorf("unet: %w", err)
	}
	return d, nil
}

// newGradient is a gradient whose graph is still to be built.
func newGradient(c Config, params *nn.Params, weights []float32, o GradientOptions) (*Gradient, nn.TrainingGraph, error) {
	d := &Gradient{config: c, h: o.H, w: o.W, perImage: make([]float32, max(o.Slice, 0))}
	build := func(g *nn.Graph) (nn.TrainingLoss, error) { return d.build(g, o) }
	return d, nn.TrainingGraph{Params: params, Weights: weights, Slice: o.Slice, Dropout: !o.NoDropout, Build: build}, c.CheckSize(o.H, o.W)
}

// build makes the loss of a micro-batch.
func (d *Gradient) build(g *nn.Graph, o GradientOptions) (loss nn.TrainingLoss, err error) {
	in, out, err := d.config.forward(g, o.Slice, d.h, d.w, o.InputGrad)
	if err != nil {
		return loss, err
	}
	d.in = in
	target := g.Input("target", o.Slice, d.h, d.w, d.config.OutChannels)
	weight := g.Input("weight", o.Slice)
	d.target, d.weight = nn.Data(target), nn.Data(weight)
	loss.Loss = g.Root().In("loss").SquaredError(out, target, weight, d.perImage)
	if o.InputGrad {
		loss.Inputs = G.Nodes{in.image}
	}
	return loss, g.Err()
}

// Example is a batch of training examples.
type Example struct {
	X      []float32 // [n, C, H, W] what the model sees: x_t
	Target []float32 // [n, C, H, W] what it should predict
	T      []int     // [n] timesteps
	Labels []int     // [n] classes, for a class-conditional model
	Weight []float64 // [n] weights of the images in the loss; nil: all 1
	Seed   uint64    // of dropout
	Step   uint64    // training step, of dropout
}

// Run computes the loss, mean_i weight[i] mean_j (output_ij - target_ij)^2, and its gradient over a batch.
// perImage [n] gets the unweighted mean squared error of each image; it may be nil.
func (d *Gradient) Run(ctx context.Context, e Example, perImage []float64) (loss float64, err error) {
	n := len(e.T)
	dimIn, dimOut := d.config.InChannels*d.h*d.w, d.config.OutChannels*d.h*d.w
	switch {
	case n == 0 || len(e.X) != n*dimIn || len(e.Target) != n*dimOut:
		return 0, fmt.Errorf("unet: a batch of %d images with %d input and %d target values; one image has %d and %d", n, len(e.X), len(e.Target), dimIn, dimOut)
	case e.Weight != nil && len(e.Weight) != n:
		return 0, fmt.Errorf("unet: %d weights for %d images", len(e.Weight), n)
	case d.in.labels != nil && len(e.Labels) != n:
		return 0, fmt.Errorf("unet: %d labels for %d images", len(e.Labels), n)
	}
	for _, l := range e.Labels {
		if d.in.labels != nil && (l < 0 || l >= d.config.NumClassEmbeds) {
			return 0, fmt.Errorf("unet: label %d; the classes are 0 to %d", l, d.config.NumClassEmbeds-1)
		}
	}
	scale := 1 / (float64(n) * float64(dimOut))
	loss, err = d.Training.Run(ctx, n, e.Seed, e.Step, func(first, m int) { d.fill(e, first, m, scale) }, func(first, m int) {
		for i := 0; i < m && perImage != nil; i++ {
			perImage[first+i] = float64(d.perImage[i])
		}
	})
	if err != nil {
		return 0, fmt.Errorf("unet: %w", err)
	}
	return loss, nil
}

// fill writes images first to first+m of a batch into the graph. The places that are left in a last, shorter
// micro-batch hold zeros and weigh nothing.
func (d *Gradient) fill(e Example, first, m int, scale float64) {
	pixels := d.h * d.w
	dimIn, dimOut := d.config.InChannels*pixels, d.config.OutChannels*pixels
	if m < d.Slice() {
		clear(d.in.x)
		clear(d.in.time)
		clear(d.in.labels)
		clear(d.target)
	}
	var labels []int
	if d.in.labels != nil {
		labels = e.Labels[first : first+m]
	}
	d.config.feed(d.in, e.X[first*dimIn:(first+m)*dimIn], e.T[first:first+m], labels, pixels)
	nn.ToNHWC(d.target[:m*dimOut], e.Target[first*dimOut:(first+m)*dimOut], m, d.config.OutChannels, pixels)
	clear(d.weight)
	for i := range d.weight[:m] {
		d.weight[i] = float32(scale)
		if e.Weight != nil {
			d.weight[i] = float32(scale * e.Weight[first+i])
		}
	}
}

// DefaultSlice is the number of images of h rows and w columns that train well together: as many as keep the
// activations of one layer to 8 MB, and 64 at most; more gain little and cost memory. It depends on the model's shape
// only, so that a run's numbers do not depend on the machine.
func DefaultSlice(c Config, h, w int) int {
	const near = 8 << 20 // bytes of the largest layer's activations
	widest := 0
	for level, channels := range c.BlockOutChannels {
		widest = max(widest, 4*channels*(h>>level)*(w>>level))
	}
	n := 1
	for 2*n*widest <= near && n < 64 {
		n *= 2
	}
	return n
}
