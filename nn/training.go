package nn

import (
	"context"
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn/engine"
)

// Training is the planned graph of a loss and of its gradient with respect to every parameter. It runs a batch in
// micro-batches of a fixed number of images and adds their gradients in a binary tree by their index: no layer couples
// images, so memory grows with the batch by those sums alone. It is used by one goroutine at a time.
type Training struct {
	slice   int
	loss    *G.Node
	inputs  G.Nodes // gradients of TrainingLoss.Inputs
	run     *RunState
	machine *engine.Machine
	part    []float32 // gradient of a micro-batch
	sum     *treeSum
	grad    []float32 // of the last Run: part, or the tree's
}

// TrainingGraph says how a Training's graph is built.
type TrainingGraph struct {
	Params  *Params
	Weights []float32 // laid out as Params says; they may change between runs
	Slice   int       // images of a micro-batch, at least 1
	Dropout bool
	// Build makes the loss of a micro-batch in a graph. It is called again where the hashes of its nodes collide.
	Build func(g *Graph) (TrainingLoss, error)
}

// TrainingLoss is what TrainingGraph.Build makes.
type TrainingLoss struct {
	Loss   *G.Node // a scalar; a batch's is the sum over its micro-batches
	Inputs G.Nodes // also to be differentiated
	Values G.Nodes // also kept after a run, for Training.Value
}

// attempts is how often a graph is built before a collision of hashes is reported; see ErrHashCollision.
const attempts = 4

// NewTraining builds, differentiates and plans a graph.
func NewTraining(t TrainingGraph) (*Training, error) {
	d := &Training{slice: t.Slice, sum: newTreeSum(), part: engine.AlignedFloats(t.Params.Len())}
	d.grad = d.part
	err := d.build(t, func(outputs G.Nodes, options engine.Options) (err error) {
		d.machine, err = engine.New(outputs, options)
		return err
	})
	return d, err
}

// TrainingMemory is how many bytes NewTraining and its first Run of a batch of so many images allocate, but for the
// graph's inputs: the gradient of every weight, its sums over micro-batches, and the memory of the plan. It allocates none
// of it. Of the weights only the number matters.
func TrainingMemory(t TrainingGraph, batch int) (int64, error) {
	// The plan only needs a place for the gradient, for which the weights can stand in.
	d := &Training{slice: t.Slice, part: t.Weights}
	var plan engine.Stats
	err := d.build(t, func(outputs G.Nodes, options engine.Options) (err error) {
		plan, err = engine.Measure(outputs, options)
		return err
	})
	return int64(plan.Arena) + 4*int64(GradientsHeld(batch, t.Slice)*t.Params.Len()), err
}

// GradientsHeld is how many gradients of all weights are in memory for a batch of so many images: that of a micro-batch
// of slice images, and the sums that wait for others, one for each time that the micro-batches can be halved.
func GradientsHeld(batch, slice int) int { return 1 + treeSums(microBatches(batch, slice)) }

// microBatches is the number of micro-batches of slice images, the last one perhaps of fewer, of a batch.
func microBatches(batch, slice int) int { return (batch + slice - 1) / slice }

// build makes the graph and plans it, again where the hashes of its nodes collide.
func (d *Training) build(t TrainingGraph, plan func(outputs G.Nodes, options engine.Options) error) error {
	if t.Slice < 1 {
		return fmt.Errorf("slices of %d images; they must have at least 1", t.Slice)
	}
	for attempt := 0; ; attempt++ {
		outputs, options, err := d.graph(t, attempt)
		if err == nil {
			err = plan(outputs, options)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrHashCollision) || attempt+1 == attempts {
			return fmt.Errorf("build the training graph: %w", err)
		}
	}
}

// graph makes the graph and returns its outputs and how to plan it.
func (d *Training) graph(t TrainingGraph, attempt int) (G.Nodes, engine.Options, error) {
	g := NewGraph(t.Params, t.Weights, t.Dropout, attempt)
	d.run = g.Run
	built, err := t.Build(g)
	if err != nil {
		return nil, engine.Options{}, err
	}
	grads, err := g.Grad(built.Loss, built.Inputs...)
	if err != nil {
		return nil, engine.Options{}, err
	}
	pin := map[*G.Node][]float32{}
	for i := range t.Params.List {
		pin[grads[i]] = t.Params.View(d.part, i)
	}
	d.loss, d.inputs = built.Loss, grads[len(t.Params.List):]
	return append(append(G.Nodes{d.loss}, grads...), built.Values...), engine.Options{Pin: pin}, g.Err()
}

// Slice is the number of images of a micro-batch.
func (d *Training) Slice() int { return d.slice }

// Machine is the planned graph, for inspection.
func (d *Training) Machine() *engine.Machine { return d.machine }

// Grad is the gradient that the last Run computed, laid out as the parameters are, until the next Run.
func (d *Training) Grad() []float32 { return d.grad }

// InputGrad is the gradient of input i of TrainingLoss.Inputs, of the last micro-batch.
func (d *Training) InputGrad(i int) []float32 { return d.machine.Value(d.inputs[i]) }

// Value is what a node of TrainingLoss.Values is in the last micro-batch.
func (d *Training) Value(n *G.Node) []float32 { return d.machine.Value(n) }

// Run computes the loss of a batch of n images and its gradient. fill writes m images of the batch, from number first on,
// into the graph's inputs, with weights of 0 for the places that a last, shorter micro-batch leaves; done, which may be
// nil, reads what it likes of the micro-batch afterwards. Seed and step are those of dropout.
func (d *Training) Run(ctx context.Context, n int, seed, step uint64, fill, done func(first, m int)) (loss float64, err error) {
	d.run.Seed, d.run.Step = seed, step
	d.sum.start(microBatches(n, d.slice), len(d.part))
	for first := 0; first < n; first += d.slice {
		m := min(d.slice, n-first)
		fill(first, m)
		d.run.First = uint64(first)
		if err := d.machine.Run(ctx); err != nil {
			return 0, fmt.Errorf("gradient: %w", err)
		}
		loss += float64(d.machine.Value(d.loss)[0])
		if done != nil {
			done(first, m)
		}
		d.grad = d.sum.add(d.part, first+m == n)
	}
	return loss, nil
}
