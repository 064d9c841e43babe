package nn

import (
	"errors"
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/engine"
)

// Graph is a model's expression graph while it is being built.
type Graph struct {
	G       *G.ExprGraph
	Nodes   G.Nodes // one per parameter, in the order of Params.List
	Run     *RunState
	Filters *Filters // for a graph whose weights do not change; nil: filters are transformed at every run
	params  *Params
	flat    []float32
	collect bool // the parameters are being collected: there is no memory
	train   bool
	salt    string
	wanted  map[*G.Node]bool // inputs that have a gradient
	layers  int              // dropout layers so far
	kept    int              // floats of transformed filters that the graph's runs would have in Filters
	err     error
}

// RunState is what a graph's operations read at each run beside their inputs: the keys of dropout's masks.
type RunState struct {
	Seed  uint64
	Step  uint64 // training step
	First uint64 // number, within the step, of the graph's first image
}

// NewCollector makes a graph that collects the parameters of a model. It cannot run: it allocates no memory and plans
// no convolutions, so that a configuration can be compared with a file before memory is allocated.
func NewCollector() *Graph {
	return &Graph{G: G.NewGraph(), params: &Params{}, Run: &RunState{}, collect: true}
}

// NewGraph makes a graph whose parameters are views into flat, laid out as params says. A graph made for
// training has dropout in it. Each attempt gives the nodes other hashes: see Grad.
func NewGraph(params *Params, flat []float32, train bool, attempt int) *Graph {
	g := &Graph{G: G.NewGraph(), params: params, flat: flat, train: train, Run: &RunState{}}
	g.Nodes = make(G.Nodes, len(params.List))
	if attempt > 0 {
		g.salt = fmt.Sprintf("~%d", attempt)
	}
	return g
}

// Params lists the parameters: those collected so far, or those that NewGraph was given.
func (g *Graph) Params() *Params { return g.params }

// Err is the first error that building met. After an error the layers return nil nodes and do nothing.
func (g *Graph) Err() error { return g.err }

func (g *Graph) fail(format string, args ...any) *G.Node {
	if g.err == nil {
		g.err = fmt.Errorf("nn: "+format, args...)
	}
	return nil
}

// FilterBytes is the memory of the transformed filters that the graph's runs ask Filters to keep.
func (g *Graph) FilterBytes() int64 { return 4 * int64(g.kept) }

// Input makes a node that data is written into before a run. Its memory is zero until then.
func (g *Graph) Input(name string, shape ...int) *G.Node {
	if g.collect {
		return G.NewTensor(g.G, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name))
	}
	v := tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(shape...))
	return G.NewTensor(g.G, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name+g.salt), G.WithValue(v))
}

// Data is the memory of an input or of a parameter; nil in a collector.
func Data(n *G.Node) []float32 {
	if n.Value() == nil {
		return nil
	}
	return n.Value().Data().([]float32)
}

// Scope is a graph and the prefix of the names of the parameters made in it, like "down_blocks.0.resnets.1".
type Scope struct {
	*Graph
	prefix string
}

// Root is the scope without a prefix.
func (g *Graph) Root() Scope { return Scope{Graph: g} }

// In is a scope inside s. The name may have arguments, as in fmt.Sprintf.
func (s Scope) In(name string, args ...any) Scope {
	name = fmt.Sprintf(name, args...)
	if s.prefix != "" {
		name = s.prefix + "." + name
	}
	return Scope{s.Graph, name}
}

// param makes the node of the parameter prefix.name.
func (s Scope) param(name string, kind Kind, init Init, shape ...int) *G.Node {
	if s.err != nil {
		return nil
	}
	full := s.prefix + "." + name
	if s.collect {
		if _, err := s.params.add(full, kind, shape, init); err != nil {
			return s.fail("%v", err)
		}
		n := G.NewTensor(s.G, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(full))
		s.Nodes = append(s.Nodes, n)
		return n
	}
	i, ok := s.params.index(full)
	if !ok || !slices.Equal(s.params.List[i].Shape, shape) {
		return s.fail("the parameters have no %q of shape %v", full, shape)
	}
	v := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(s.params.View(s.flat, i)))
	s.Nodes[i] = G.NewTensor(s.G, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(full+s.salt), G.WithValue(v))
	return s.Nodes[i]
}

// WantGrad makes the graph able to differentiate with respect to an input. It must be called before the input
// is used.
func (g *Graph) WantGrad(input *G.Node) {
	if g.wanted == nil {
		g.wanted = map[*G.Node]bool{}
	}
	g.wanted[input] = true
}

// needsGrad is false for data: its gradient would be computed for nobody.
func (g *Graph) needsGrad(n *G.Node) bool { return n != nil && (n.Op() != nil || g.wanted[n]) }

// apply adds the operation to the graph.
func (g *Graph) apply(op *engine.Op, in ...*G.Node) *G.Node {
	if g.err != nil {
		return nil
	}
	for _, n := range in {
		op.Dims = append(op.Dims, n.Dims())
	}
	n, err := engine.Apply(op, in...)
	if err != nil {
		return g.fail("%v", err)
	}
	return n
}

// ErrHashCollision is wrapped by Grad's error when two nodes share a hash: build the graph again with the next
// attempt.
var ErrHashCollision = errors.New("two nodes share a hash")

// Grad differentiates loss with respect to every parameter, in the order of Params.List, and to the extra
// nodes. Gorgonia identifies nodes by 32-bit hashes, so it also checks that they are distinct.
func (g *Graph) Grad(loss *G.Node, extra ...*G.Node) (G.Nodes, error) {
	if g.err != nil {
		return nil, g.err
	}
	for i, n := range g.Nodes {
		if n == nil {
			return nil, fmt.Errorf("nn: parameter %q is not used by the graph", g.params.List[i].Name)
		}
	}
	grads, err := G.Grad(loss, append(append(G.Nodes(nil), g.Nodes...), extra...)...)
	if err != nil {
		return nil, fmt.Errorf("nn: differentiate the loss: %w", err)
	}
	if err := engine.CheckHashes(g.G); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHashCollision, err)
	}
	return grads, nil
}
