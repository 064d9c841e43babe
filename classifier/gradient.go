package classifier

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
)

// Gradient computes the mean cross-entropy of a batch and its gradient with respect to every weight, in micro-batches: see
// nn.Training.
type Gradient struct {
	*nn.Training
	config   Config
	in       inputs
	target   []float32 // [slice, classes], one-hot
	weight   []float32 // [slice] of each image in the loss
	logits   *G.Node
	perImage []float32 // of a micro-batch
	told     []int     // classes, of a micro-batch
}

// NewGradient builds and differentiates the graph of a classifier whose weights are the flat slice, laid out as params
// says, for micro-batches of slice images. The weights may change between calls.
func NewGradient(c Config, params *nn.Params, weights []float32, slice int) (*Gradient, error) {
	d, graph := newGradient(c, params, weights, slice)
	var err error
	if d.Training, err = nn.NewTraining(graph); err != nil {
		return nil, fmt.Errorf("classifier: %w", err)
	}
	return d, nil
}

// GradientMemory is how many bytes NewGradient and its first Run of a batch of so many images allocate. It allocates none
// of them. Of the weights only the number matters.
func GradientMemory(c Config, params *nn.Params, weights []float32, slice, batch int) (int64, error) {
	_, graph := newGradient(c, params, weights, slice)
	bytes, err := nn.TrainingMemory(graph, batch)
	if err != nil {
		return 0, fmt.Errorf("classifier: %w", err)
	}
	return bytes + 4*int64(slice)*int64(c.dim()+c.Classes), nil
}

func newGradient(c Config, params *nn.Params, weights []float32, slice int) (*Gradient, nn.TrainingGraph) {
	d := &Gradient{config: c, perImage: make([]float32, max(slice, 0)), told: make([]int, max(slice, 0))}
	build := func(g *nn.Graph) (nn.TrainingLoss, error) { return d.build(g, slice) }
	return d, nn.TrainingGraph{Params: params, Weights: weights, Slice: slice, Build: build}
}

// build makes the loss of a micro-batch.
func (d *Gradient) build(g *nn.Graph, slice int) (loss nn.TrainingLoss, err error) {
	if d.in, _, d.logits, err = d.config.forward(g, slice); err != nil {
		return loss, err
	}
	target, weight := g.Input("target", slice, d.config.Classes), g.Input("weight", slice)
	d.target, d.weight = nn.Data(target), nn.Data(weight)
	loss.Loss = g.Root().In("loss").CrossEntropy(d.logits, target, weight, d.perImage)
	loss.Values = G.Nodes{d.logits}
	return loss, g.Err()
}

// Example is a batch of training examples.
type Example struct {
	X      []float32 // [n, C, H, W] images in [-1, 1], or x_t
	T      []int     // [n] timesteps, for a noisy classifier
	Labels []int     // [n] classes
}

// Run computes the loss, the mean over the images of -log p(label), and its gradient over a batch. perImage [n] gets each
// image's own loss; it may be nil. right is the number of images whose largest logit is their label's.
func (d *Gradient) Run(ctx context.Context, e Example, perImage []float64) (loss float64, right int, err error) {
	n, dim := len(e.Labels), d.config.dim()
	switch {
	case n == 0 || len(e.X) != n*dim:
		return 0, 0, fmt.Errorf("classifier: %d labels with %d values of images; one image has %d", n, len(e.X), dim)
	case d.config.Noisy && len(e.T) != n:
		return 0, 0, fmt.Errorf("classifier: %d timesteps for %d images; a noisy classifier reads one each", len(e.T), n)
	}
	for _, l := range e.Labels {
		if l < 0 || l >= d.config.Classes {
			return 0, 0, fmt.Errorf("classifier: label %d; the classes are 0 to %d", l, d.config.Classes-1)
		}
	}
	loss, err = d.Training.Run(ctx, n, 0, 0, func(first, m int) { d.fill(e, first, m) }, func(first, m int) {
		Argmax(d.told[:m], d.Value(d.logits)[:m*d.config.Classes])
		for i, k := range d.told[:m] {
			if k == e.Labels[first+i] {
				right++
			}
			if perImage != nil {
				perImage[first+i] = float64(d.perImage[i])
			}
		}
	})
	if err != nil {
		return 0, 0, fmt.Errorf("classifier: %w", err)
	}
	return loss, right, nil
}

// fill writes images first to first+m of a batch into the graph. The places that are left in a last, shorter micro-batch
// hold zeros and weigh nothing.
func (d *Gradient) fill(e Example, first, m int) {
	if m < d.Slice() {
		clear(d.in.x)
		clear(d.in.time)
	}
	dim := d.config.dim()
	d.config.feed(d.in, e.X[first*dim:(first+m)*dim], e.T[min(first, len(e.T)):], m)
	clear(d.target)
	clear(d.weight)
	for i, l := range e.Labels[first : first+m] {
		d.target[i*d.config.Classes+l] = 1
		d.weight[i] = 1 / float32(len(e.Labels))
	}
}

// DefaultSlice is the number of images that train well together: as many as keep the activations of one layer to 8 MB, and
// 64 at most. It depends on the shape only, so that a run's numbers do not depend on the machine.
func DefaultSlice(c Config) int {
	const near = 8 << 20 // bytes of the largest layer's activations
	widest := 0
	for level, channels := range c.Channels {
		widest = max(widest, 4*channels*(c.Height>>level)*(c.Width>>level))
	}
	n := 1
	for 2*n*widest <= near && n < 64 {
		n *= 2
	}
	return n
}
