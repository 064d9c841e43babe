package unet

import (
	"fmt"
	"math"
	"sync"

	"unstir/internal/rng"
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
	Initialize(params, m.flat, seed)
	return m, nil
}

// Initialize writes New's initial weights to a slice that is laid out as params says.
func Initialize(params *nn.Params, flat []float32, seed uint64) {
	clear(flat)
	for i, p := range params.List {
		w := params.View(flat, i)
		switch p.Init.Kind {
		case nn.Ones:
			for j := range w {
				w[j] = 1
			}
		case nn.Uniform:
			rng.Uniform32(w, seed, rng.Weights, uint64(i), 0)
			bound := float32(1 / math.Sqrt(float64(p.Init.FanIn)))
			for j, u := range w {
				w[j] = bound * (2*u - 1)
			}
		case nn.Normal:
			rng.Normal(w, seed, rng.Weights, uint64(i), 0)
		}
	}
}

// Check calls check for every tensor of a configuration's model, with the name and the shape that files have, until it
// fails. It allocates no weights, so that a file can be compared with a configuration first.
func Check(c Config, check func(name string, shape []int) error) error {
	params, err := Layout(c)
	if err != nil {
		return err
	}
	for _, p := range params.List {
		if err := check(p.Name, fileShape(p)); err != nil {
			return fmt.Errorf("unet: tensor %q: %w", p.Name, err)
		}
	}
	return nil
}

// Load makes a model from a source of tensors: read fills dst with the tensor of a name, which must have the
// given shape, as files have it (OIHW filters, [out, in] linear weights).
func Load(c Config, read func(name string, shape []int, dst []float32) error) (*Model, error) {
	params, err := Layout(c)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, Params: params, flat: engine.AlignedFloats(params.Len())}
	if err := m.Fill(m.flat, read); err != nil {
		return nil, err
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

// Fill reads every tensor of the model into a flat slice; see Load.
func (m *Model) Fill(flat []float32, read func(name string, shape []int, dst []float32) error) error {
	var buf []float32
	for i, p := range m.Params.List {
		buf = resize(buf, p.Size)
		if err := read(p.Name, fileShape(p), buf); err != nil {
			return fmt.Errorf("unet: tensor %q: %w", p.Name, err)
		}
		fromFile(m.Params.View(flat, i), buf, p)
	}
	return nil
}

func resize(buf []float32, n int) []float32 {
	if cap(buf) < n {
		return make([]float32, n)
	}
	return buf[:n]
}

// Tensor is one parameter as files have it.
type Tensor struct {
	Name  string
	Shape []int
	Fill  func(dst []float32) // writes the values in the order of files
}

// Tensors lists the parts of a flat slice (weights, moments, gradients) as the tensors that files have, in the
// order of params.
func Tensors(params *nn.Params, flat []float32) []Tensor {
	out := make([]Tensor, len(params.List))
	for i, p := range params.List {
		view := params.View(flat, i)
		out[i] = Tensor{Name: p.Name, Shape: fileShape(p), Fill: func(dst []float32) { toFile(dst, view, p) }}
	}
	return out
}

// Tensors lists the model's weights as files have them.
func (m *Model) Tensors() []Tensor { return Tensors(m.Params, m.flat) }
