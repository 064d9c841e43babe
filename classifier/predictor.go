package classifier

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
	"unstir/nn/engine"
)

// Predictor runs a classifier without gradients on batches of up to a fixed size: one graph and one arena. It is used by
// one goroutine at a time; several predictors of one model work side by side.
type Predictor struct {
	model            *Model
	batch            int
	in               inputs
	features, logits *G.Node
	machine          *engine.Machine
}

// NewPredictor plans the classifier for batches of up to batch images.
func NewPredictor(m *Model, batch int) (*Predictor, error) {
	p := &Predictor{model: m, batch: batch}
	outputs, _, err := p.build()
	if err == nil {
		p.machine, err = engine.New(outputs, engine.Options{})
	}
	if err != nil {
		return nil, fmt.Errorf("classifier: %w", err)
	}
	return p, nil
}

// PredictorMemory is how many bytes NewPredictor and its first run allocate for batches of that many images. It allocates
// none of them.
func PredictorMemory(m *Model, batch int) (int64, error) {
	outputs, g, err := (&Predictor{model: m, batch: batch}).build()
	var plan engine.Stats
	if err == nil {
		plan, err = engine.Measure(outputs, engine.Options{})
	}
	if err != nil {
		return 0, fmt.Errorf("classifier: %w", err)
	}
	filters := max(0, min(g.FilterBytes(), filterLimit)-m.filters.Bytes())
	return int64(plan.Arena) + filters + 4*int64(batch)*int64(m.Config.dim()), nil
}

func (p *Predictor) build() (G.Nodes, *nn.Graph, error) {
	if p.batch < 1 {
		return nil, nil, fmt.Errorf("a predictor for a batch of %d images; it must be at least 1", p.batch)
	}
	g := nn.NewGraph(p.model.Params, p.model.flat, false, 0)
	g.Filters = p.model.sharedFilters()
	var err error
	p.in, p.features, p.logits, err = p.model.Config.forward(g, p.batch)
	return G.Nodes{p.features, p.logits}, g, err
}

// Predict writes the logits [n, classes] and the features [n, features] of n images x [n, C, H, W] in [-1, 1]; either may
// be nil. The features are the means over the pixels, before the last linear layer. t has the timestep of each image, for
// a noisy classifier whose images are x_t; for another it is not read. It stops between two operations when ctx is done.
func (p *Predictor) Predict(ctx context.Context, logits, features, x []float32, t []int) error {
	c := p.model.Config
	dim := c.dim()
	n := len(x) / dim
	switch {
	case len(x) != n*dim:
		return fmt.Errorf("classifier: %d values are no whole number of images of %dx%dx%d", len(x), c.InChannels, c.Height, c.Width)
	case logits != nil && len(logits) != n*c.Classes, features != nil && len(features) != n*c.Features:
		return fmt.Errorf("classifier: room for %d logits and %d features of %d images; they have %d and %d",
			len(logits), len(features), n, n*c.Classes, n*c.Features)
	case c.Noisy && len(t) != n:
		return fmt.Errorf("classifier: %d timesteps for %d images; a noisy classifier reads one each", len(t), n)
	}
	for first := 0; first < n; first += p.batch {
		m := min(p.batch, n-first)
		c.feed(p.in, x[first*dim:(first+m)*dim], t[min(first, len(t)):], m)
		if err := p.machine.Run(ctx); err != nil {
			return fmt.Errorf("classifier: predict: %w", err)
		}
		if logits != nil {
			copy(logits[first*c.Classes:(first+m)*c.Classes], p.machine.Value(p.logits))
		}
		if features != nil {
			copy(features[first*c.Features:(first+m)*c.Features], p.machine.Value(p.features))
		}
	}
	return nil
}

// Argmax is the class of the largest logit of each image, the first where several are equal.
func Argmax(classes []int, logits []float32) {
	n := len(logits) / max(len(classes), 1)
	for i := range classes {
		row := logits[i*n : (i+1)*n]
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		classes[i] = best
	}
}
