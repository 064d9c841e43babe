package unet

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
	"unstir/nn/engine"
)

// GradientMemory is how many bytes NewGradient with these settings and its first Run of a batch of so many images allocate: the
// gradient of every weight, its sums over micro-batches, and the memory of the plan. It allocates none of it. Of the weights only the
// number matters.
func GradientMemory(c Config, params *nn.Params, weights []float32, o GradientOptions, batch int) (int64, error) {
	_, graph, err := newGradient(c, params, weights, o)
	var bytes int64
	if err == nil {
		bytes, err = nn.TrainingMemory(graph, batch)
	}
	if err != nil {
		return 0, fmt.Errorf("unet: %w", err)
	}
	return bytes + 4*int64(o.Slice)*int64(o.H)*int64(o.W)*int64(c.InChannels+c.OutChannels), nil
}

// PredictorMemory is how many bytes NewPredictor and its first run allocate for batches of that many images of h rows
// and w columns: the memory of the plan, and those transformed filters, shared by the model's predictors, that are not
// there yet. It allocates none of it.
func PredictorMemory(m *Model, batch, h, w int) (int64, error) {
	return PredictorsMemory(m, []int{batch}, h, w)
}

// PredictorsMemory is PredictorMemory for several predictors of a model, one for each batch.
func PredictorsMemory(m *Model, batches []int, h, w int) (int64, error) {
	var total, filters int64
	for _, batch := range batches {
		if batch < 1 {
			return 0, fmt.Errorf("unet: a predictor for a batch of %d images; it must be at least 1", batch)
		}
		if err := m.Config.CheckSize(h, w); err != nil {
			return 0, fmt.Errorf("unet: %w", err)
		}
		_, out, g, err := m.build(batch, h, w)
		if err != nil {
			return 0, fmt.Errorf("unet: build the graph: %w", err)
		}
		plan, err := engine.Measure(G.Nodes{out}, engine.Options{})
		if err != nil {
			return 0, fmt.Errorf("unet: plan the graph: %w", err)
		}
		filters = max(filters, min(g.FilterBytes(), filterLimit)-m.filters.Bytes())
		images := int64(batch) * int64(h) * int64(w) * int64(m.Config.InChannels)
		total += int64(plan.Arena) + 4*images
	}
	return total + filters, nil
}
