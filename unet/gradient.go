package unet

import (
	"context"
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
	"unstir/nn/engine"
)

// Gradient computes a weighted squared error of the model's output and its gradient with respect to every
// weight. It runs a batch in micro-batches of a fixed number of images through one graph, and adds their gradients
// in a binary tree by their index: no layer couples images, so memory grows with the batch by those sums alone.
type Gradient struct {
	config   Config
	params   *nn.Params
	slice    int // images of a micro-batch
	h, w     int
	in       inputs
	target   []float32 // [slice, H, W, out]: what the output should be
	weight   []float32 // [slice] of each image in the loss
	loss     *G.Node
	dx       *G.Node // gradient of the images, when wanted
	run      *nn.RunState
	machine  *engine.Machine
	perImage []float32 // of a micro-batch
	part     []float32 // gradient of a micro-batch
	sum      *treeSum
	grad     []float32 // of the last Run: part, or the tree's
}

// GradientOptions are the fixed settings of a Gradient.
type GradientOptions struct {
	Slice     int  // images of a micro-batch, at least 1
	H, W      int  // rows and columns of an image
	InputGrad bool // also compute the gradient of the images, of the last micro-batch
	NoDropout bool // leave dropout out, whatever the configuration says
}

// attempts is how often a graph is built before a collision of hashes is reported; see nn.ErrHashCollision.
const attempts = 4

// NewGradient builds and differentiates the graph of a model whose weights are the flat slice, laid out as params
// says. The weights may change between calls.
func NewGradient(c Config, params *nn.Params, weights []float32, o GradientOptions) (*Gradient, error) {
	if o.Slice < 1 {
		return nil, fmt.Errorf("unet: slices of %d images; they must have at least 1", o.Slice)
	}
	if err := c.CheckSize(o.H, o.W); err != nil {
		return nil, fmt.Errorf("unet: %w", err)
	}
	d := &Gradient{config: c, params: params, slice: o.Slice, h: o.H, w: o.W, sum: newTreeSum()}
	d.perImage = make([]float32, o.Slice)
	d.part = engine.AlignedFloats(params.Len())
	d.grad = d.part
	err := buildRetrying(func(attempt int) error {
		outputs, options, err := d.build(weights, o, attempt)
		if err != nil {
			return err
		}
		d.machine, err = engine.New(outputs, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// buildRetrying builds a training graph, again where the hashes of its nodes collide.
func buildRetrying(build func(attempt int) error) error {
	for attempt := 0; ; attempt++ {
		err := build(attempt)
		if err == nil {
			return nil
		}
		if !errors.Is(err, nn.ErrHashCollision) || attempt+1 == attempts {
			return fmt.Errorf("unet: build the training graph: %w", err)
		}
	}
}

// build makes the graph and returns its outputs and how to plan it.
func (d *Gradient) build(weights []float32, o GradientOptions, attempt int) (G.Nodes, engine.Options, error) {
	g := nn.NewGraph(d.params, weights, !o.NoDropout, attempt)
	d.run = g.Run
	in, out, err := d.config.forward(g, d.slice, d.h, d.w, o.InputGrad)
	if err != nil {
		return nil, engine.Options{}, err
	}
	d.in = in
	target := g.Input("target", d.slice, d.h, d.w, d.config.OutChannels)
	weight := g.Input("weight", d.slice)
	d.target, d.weight = nn.Data(target), nn.Data(weight)
	d.loss = g.Root().In("loss").SquaredError(out, target, weight, d.perImage)
	var extra G.Nodes
	if o.InputGrad {
		extra = G.Nodes{d.in.image}
	}
	grads, err := g.Grad(d.loss, extra...)
	if err != nil {
		return nil, engine.Options{}, err
	}
	pin := map[*G.Node][]float32{}
	for i := range d.params.List {
		pin[grads[i]] = d.params.View(d.part, i)
	}
	if o.InputGrad {
		d.dx = grads[len(grads)-1]
	}
	return append(G.Nodes{d.loss}, grads...), engine.Options{Pin: pin}, g.Err()
}

// Slice is the number of images of a micro-batch.
func (d *Gradient) Slice() int { return d.slice }

// Machine is the planned graph, for inspection.
func (d *Gradient) Machine() *engine.Machine { return d.machine }

// Grad is the gradient that the last Run computed, laid out as the parameters are, until the next Run.
func (d *Gradient) Grad() []float32 { return d.grad }

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
	d.run.Seed, d.run.Step = e.Seed, e.Step
	scale := 1 / (float64(n) * float64(dimOut))
	d.sum.start(microBatches(n, d.slice), len(d.part))
	for first := 0; first < n; first += d.slice {
		m := min(d.slice, n-first)
		d.fill(e, first, m, scale)
		d.run.First = uint64(first)
		if err := d.machine.Run(ctx); err != nil {
			return 0, fmt.Errorf("unet: gradient: %w", err)
		}
		loss += float64(d.machine.Value(d.loss)[0])
		for i := 0; i < m && perImage != nil; i++ {
			perImage[first+i] = float64(d.perImage[i])
		}
		d.grad = d.sum.add(d.part, first+m == n)
	}
	return loss, nil
}

// microBatches is the number of micro-batches of slice images, the last one perhaps of fewer, of a batch.
func microBatches(batch, slice int) int { return (batch + slice - 1) / slice }

// fill writes images first to first+m of a batch into the graph. The places that are left in a last, shorter
// micro-batch hold zeros and weigh nothing.
func (d *Gradient) fill(e Example, first, m int, scale float64) {
	pixels := d.h * d.w
	dimIn, dimOut := d.config.InChannels*pixels, d.config.OutChannels*pixels
	if m < d.slice {
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
	toNHWC(d.target[:m*dimOut], e.Target[first*dimOut:(first+m)*dimOut], m, d.config.OutChannels, pixels)
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
