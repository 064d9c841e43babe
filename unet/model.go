package unet

import (
	"fmt"
	"sync"

	"unstir/nn"
	"unstir/nn/engine"
)

// Model is a UNet's weights: immutable, and shareable between goroutines.
type Model struct {
	Config Config
	Params *nn.Params
	flat   []float32

	filters     *nn.Filters // of all predictors
	makeFilters sync.Once
}

// filterLimit is how many bytes of transformed filters all predictors of a model keep together. Models of up to
// some 50 million weights stay below it; the filters of larger ones are transformed in part at every run.
const filterLimit = 1 << 30

func (m *Model) sharedFilters() *nn.Filters {
	m.makeFilters.Do(func() { m.filters = nn.NewFilters(filterLimit) })
	return m.filters
}

// Layout lists the parameters of a configuration's model in the order in which they are used.
func Layout(c Config) (*nn.Params, error) {
	if err := c.validateModel(); err != nil {
		return nil, fmt.Errorf("unet: configuration: %w", err)
	}
	g := nn.NewCollector()
	side := 1 << (c.Levels() - 1)
	if _, _, err := c.forward(g, 1, side, side, false); err != nil {
		return nil, fmt.Errorf("unet: lay out the parameters: %w", err)
	}
	return g.Params(), nil
}

// New makes a model with initial weights that are a function of the seed: PyTorch's defaults, except that the
// last convolution of each residual branch and of the model start at zero (Ho et al., 2020, appendix B).
func New(c Config, seed uint64) (*Model, error) {
	params, err := Layout(c)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, Params: params, flat: engine.AlignedFloats(params.Len())}
	params.Initialize(m.flat, seed)
	return m, nil
}

// Check calls check for every tensor of a configuration's model, with the name and the shape that files have, until it
// fails. It allocates no weights, so that a file can be compared with a configuration first.
func Check(c Config, check func(name string, shape []int) error) error {
	params, err := Layout(c)
	if err == nil {
		if err = params.Check(check); err != nil {
			err = fmt.Errorf("unet: %w", err)
		}
	}
	return err
}

// Load makes a model from a source of tensors: read fills dst with the tensor of a name, which must have the
// given shape, as files have it (OIHW filters, [out, in] linear weights).
func Load(c Config, read func(name string, shape []int, dst []float32) error) (*Model, error) {
	params, err := Layout(c)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, Params: params, flat: engine.AlignedFloats(params.Len())}
	if err := params.Fill(m.flat, read); err != nil {
		return nil, fmt.Errorf("unet: %w", err)
	}
	return m, nil
}

// FromFlat makes a model whose weights are the given slice, laid out as params says. The slice must not change
// while the model or a predictor of it is in use.
func FromFlat(c Config, params *nn.Params, flat []float32) (*Model, error) {
	if len(flat) != params.Len() {
		return nil, fmt.Errorf("unet: %d weights for a model of %d", len(flat), params.Len())
	}
	return &Model{Config: c, Params: params, flat: flat}, nil
}

// Weights copies the model's weights, laid out as Params says.
func (m *Model) Weights() []float32 { return append([]float32(nil), m.flat...) }

// Tensors lists the model's weights as files have them.
func (m *Model) Tensors() []nn.Tensor { return m.Params.Tensors(m.flat) }

func resize(buf []float32, n int) []float32 {
	if cap(buf) < n {
		return make([]float32, n)
	}
	return buf[:n]
}
