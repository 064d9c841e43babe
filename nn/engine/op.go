package engine

import (
	"fmt"
	"hash"
	"hash/fnv"
	"sync/atomic"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"unstir/nn/kernel"
)

// Call is what a kernel works on: where its inputs are and where its results go.
type Call struct {
	In      [][]float32    // the values of the node's children, in order
	Out     []float32      // the node's value
	Extra   [][]float32    // by-products, one slice per size in Op.Extras; nil where nobody reads it
	Scratch kernel.Scratch // of size Op.Scratch

	// Add and AddExtra say that Out, or a by-product, holds something that the result is to be added to; only
	// for the first Op.Adds of them.
	Add      bool
	AddExtra []bool
}

// Op is a Gorgonia operation on float32 tensors whose kernel writes into memory that the caller provides.
// The planned Machine runs it in place in its arena; the stock TapeMachine runs it through Do, into buffers
// that the Op owns. One Op stands for one node of one graph: it must not be applied twice.
type Op struct {
	Name  string       // kind of operation, shown in plans and errors
	Dims  []int        // number of dimensions of each input, 0 for a scalar
	Shape tensor.Shape // shape of the result

	Kernel  func(c *Call)
	Extras  []int              // sizes of the by-products, in floats
	Scratch kernel.ScratchSize // that Kernel needs
	InPlace []int              // inputs that the result may overwrite when nothing reads them afterwards
	Adds    int                // how many of the results, Out first, Kernel can add to what is there: it saves adding gradients that meet

	// Wrt tells which inputs have a gradient. Diff builds the gradients' nodes, nil where Wrt is false.
	Wrt  []bool
	Diff func(in G.Nodes, out, grad *G.Node) (G.Nodes, error)

	// What those read who inspect a plan: the convolutions that the operation computes, one for each of its tensors; how it
	// computes what is no convolution, or what to add of one; which pass it is.
	Convs  []kernel.ConvShape
	Method string
	Pass   kernel.Pass
	FLOPs  float64 // multiply-adds count twice; 0 for memory-bound work

	id    uint64
	own   *tensor.Dense // the result under the stock tape
	extra [][]float32   // the by-products under the stock tape
	call  Call
	value G.F32
}

var lastID atomic.Uint64

// Apply adds a node for op to the graph of its children.
func Apply(op *Op, children ...*G.Node) (*G.Node, error) {
	if op.id != 0 {
		return nil, fmt.Errorf("engine: %s is applied a second time", op.Name)
	}
	op.id = lastID.Add(1)
	n, err := G.ApplyOp(op, children...)
	if err != nil {
		return nil, fmt.Errorf("engine: add %s of shape %v to the graph: %w", op.Name, op.Shape, err)
	}
	return n, nil
}

// Arity is the number of inputs.
func (op *Op) Arity() int { return len(op.Dims) }

// Type gives the function type of the operation: a new value at each call, because Gorgonia returns it to a pool.
func (op *Op) Type() hm.Type {
	types := make([]hm.Type, 0, len(op.Dims)+1)
	for _, d := range op.Dims {
		types = append(types, typeOf(d))
	}
	return hm.NewFnType(append(types, typeOf(op.Shape.Dims()))...)
}

func typeOf(dims int) hm.Type {
	if dims == 0 {
		return tensor.Float32
	}
	return G.TensorType{Dims: dims, Of: tensor.Float32}
}

// InferShape returns the shape that was fixed when the operation was made.
func (op *Op) InferShape(...G.DimSizer) (tensor.Shape, error) { return op.Shape.Clone(), nil }

// ReturnsPtr, CallsExtern and OverwritesInput make the stock tape call Do and leave the memory to the operation.
func (op *Op) ReturnsPtr() bool     { return true }
func (op *Op) CallsExtern() bool    { return false }
func (op *Op) OverwritesInput() int { return -1 }

// WriteHash includes a number of its own: the stock tape machine takes nodes of equal hash for one.
func (op *Op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "unstir %s #%d", op.Name, op.id) }

// Hashcode hashes what WriteHash writes.
func (op *Op) Hashcode() uint32 {
	h := fnv.New32a()
	op.WriteHash(h)
	return h.Sum32()
}

func (op *Op) String() string { return op.Name }

// DiffWRT tells which inputs have a gradient.
func (op *Op) DiffWRT(n int) []bool {
	if op.Wrt == nil {
		return make([]bool, n)
	}
	return op.Wrt
}

// SymDiff builds the nodes of the gradients with respect to the inputs.
func (op *Op) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	if op.Diff == nil {
		return nil, fmt.Errorf("engine: %s has no gradient", op.Name)
	}
	return op.Diff(in, out, grad)
}

// Do runs the kernel for the stock TapeMachine, into memory that the operation owns.
func (op *Op) Do(values ...G.Value) (result G.Value, err error) {
	defer recoverAs(&err, op) // the tape runs Do on a goroutine of its own: a panic would end the process
	c := &op.call
	if c.In == nil {
		c.In = make([][]float32, len(values))
		c.Scratch = kernel.NewScratch(op.Scratch)
		op.extra = make([][]float32, len(op.Extras))
		for i, n := range op.Extras {
			op.extra[i] = make([]float32, n)
		}
		c.Extra = op.extra
		c.AddExtra = make([]bool, len(op.Extras))
		if op.Shape.IsScalar() {
			c.Out = make([]float32, 1)
		} else {
			op.own = tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(op.Shape...))
			c.Out = op.own.Float32s()
		}
	}
	for i, v := range values {
		if c.In[i], err = floats(v); err != nil {
			return nil, fmt.Errorf("engine: input %d of %s: %w", i, op.Name, err)
		}
	}
	op.Kernel(c)
	if op.Shape.IsScalar() {
		op.value = G.F32(c.Out[0])
		return &op.value, nil
	}
	return op.own, nil
}

func recoverAs(err *error, op *Op) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("engine: %s of shape %v: %v", op.Name, op.Shape, r)
	}
}

// floats returns the numbers of a Gorgonia value without copying them, except for a scalar.
func floats(v G.Value) ([]float32, error) {
	switch v := v.(type) {
	case *tensor.Dense:
		return v.Float32s(), nil
	case *G.F32:
		return []float32{float32(*v)}, nil
	case nil:
		return nil, fmt.Errorf("no value is bound")
	}
	return nil, fmt.Errorf("a %T is not a float32 tensor", v)
}

// byproduct is the Gorgonia operation behind Extra: its only child is the node whose kernel filled the memory.
type byproduct struct {
	of    *Op
	index int
	shape tensor.Shape
	dims  int
	id    uint64
	own   *tensor.Dense
}

// Extra makes a node for by-product i of a node that Apply made. Its size must be the one in Op.Extras.
func Extra(n *G.Node, i int, shape ...int) (*G.Node, error) {
	op, ok := n.Op().(*Op)
	if !ok || i >= len(op.Extras) || tensor.Shape(shape).TotalSize() != op.Extras[i] {
		return nil, fmt.Errorf("engine: %v has no by-product %d of shape %v", n.Op(), i, shape)
	}
	return G.ApplyOp(&byproduct{of: op, index: i, shape: shape, dims: op.Shape.Dims(), id: lastID.Add(1)}, n)
}

func (b *byproduct) Arity() int { return 1 }
func (b *byproduct) Type() hm.Type {
	return hm.NewFnType(typeOf(b.dims), typeOf(b.shape.Dims()))
}
func (b *byproduct) InferShape(...G.DimSizer) (tensor.Shape, error) { return b.shape.Clone(), nil }
func (b *byproduct) ReturnsPtr() bool                               { return true }
func (b *byproduct) CallsExtern() bool                              { return false }
func (b *byproduct) OverwritesInput() int                           { return -1 }
func (b *byproduct) WriteHash(h hash.Hash) {
	fmt.Fprintf(h, "unstir by-product %d of #%d #%d", b.index, b.of.id, b.id)
}
func (b *byproduct) Hashcode() uint32 {
	h := fnv.New32a()
	b.WriteHash(h)
	return h.Sum32()
}
func (b *byproduct) String() string { return fmt.Sprintf("%s.%d", b.of.Name, b.index) }

// Do hands out, under the stock tape, the memory that the child's kernel has filled.
func (b *byproduct) Do(...G.Value) (G.Value, error) {
	if b.own == nil {
		b.own = tensor.New(tensor.WithShape(b.shape...), tensor.WithBacking(b.of.extra[b.index]))
	}
	return b.own, nil
}

var _ G.SDOp = (*Op)(nil)
var _ G.Op = (*byproduct)(nil)
