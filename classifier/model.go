package classifier

import (
	"fmt"
	"sync"

	"unstir/nn"
	"unstir/nn/engine"
)

// Model is a classifier's weights: immutable, and shareable between goroutines.
type Model struct {
	Config Config
	Params *nn.Params
	flat   []float32

	filters     *nn.Filters // of all predictors
	makeFilters sync.Once
}

// filterLimit is how many bytes of transformed filters all predictors of a model keep together.
const filterLimit = 1 << 28

func (m *Model) sharedFilters() *nn.Filters {
	m.makeFilters.Do(func() { m.filters = nn.NewFilters(filterLimit) })
	return m.filters
}

// Layout lists the parameters of a configuration's classifier in the order in which they are used. Their initial weights
// are PyTorch's defaults, except that the last convolution of each residual block starts at zero.
func Layout(c Config) (*nn.Params, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("classifier: configuration: %w", err)
	}
	g := nn.NewCollector()
	if _, _, _, err := c.forward(g, 1); err != nil {
		return nil, fmt.Errorf("classifier: lay out the parameters: %w", err)
	}
	return g.Params(), nil
}

// Load makes a classifier from a source of tensors: read fills dst with the tensor of a name, which must have the given
// shape, as files have it (OIHW filters, [out, in] linear weights).
func Load(c Config, read func(name string, shape []int, dst []float32) error) (*Model, error) {
	params, err := Layout(c)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, Params: params, flat: engine.AlignedFloats(params.Len())}
	if err := params.Fill(m.flat, read); err != nil {
		return nil, fmt.Errorf("classifier: %w", err)
	}
	return m, nil
}

// FromFlat makes a classifier whose weights are the given slice, laid out as params says. The slice must not change
// while the classifier or a predictor of it is in use.
func FromFlat(c Config, params *nn.Params, flat []float32) (*Model, error) {
	if len(flat) != params.Len() {
		return nil, fmt.Errorf("classifier: %d weights for a model of %d", len(flat), params.Len())
	}
	return &Model{Config: c, Params: params, flat: flat}, nil
}

// Tensors lists the weights as files have them: OIHW filters, [out, in] linear weights.
func (m *Model) Tensors() []nn.Tensor { return m.Params.Tensors(m.flat) }
