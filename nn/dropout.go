package nn

import (
	G "gorgonia.org/gorgonia"

	"unstir/internal/rng"
	"unstir/nn/engine"
	"unstir/nn/kernel"
)

// Dropout sets each element of x to zero with probability p and divides the others by 1-p (Srivastava et al.,
// 2014). It does nothing in a graph that is not for training. An element's fate is a function of the seed, the
// step, the image's number in the step, the layer and its index: the backward pass draws it again instead of
// keeping a mask, and it does not depend on how a batch is cut into slices.
func (s Scope) Dropout(x *G.Node, p float64) *G.Node {
	if s.err != nil || p == 0 || !s.train {
		return x
	}
	shape := x.Shape()
	d := &dropout{
		run: s.Run, layer: uint64(s.layers), keep: float32(1 - p), dim: shape.TotalSize() / shape[0], images: shape[0],
	}
	d.chunk = d.image
	s.layers++
	apply := func(name string, in *G.Node) *G.Node {
		return s.apply(&engine.Op{
			Name: s.prefix + name, Shape: shape, Method: "dropout", Scratch: kernel.ScratchSize{Shared: d.images * d.dim}, InPlace: []int{0},
			Wrt: []bool{true}, Kernel: d.kernel,
			Diff: func(_ G.Nodes, _, dy *G.Node) (G.Nodes, error) { return G.Nodes{d.again(s, dy)}, s.err },
		}, in)
	}
	return apply(".dropout", x)
}

type dropout struct {
	run         *RunState
	layer       uint64
	keep        float32
	dim, images int
	call        *engine.Call
	chunk       func(int)
}

// again is the backward pass: the same mask on the gradient.
func (d *dropout) again(s Scope, dy *G.Node) *G.Node {
	return s.apply(&engine.Op{
		Name: s.prefix + ".dropout dx", Shape: dy.Shape(), Method: "dropout", Pass: kernel.BackwardData,
		Scratch: kernel.ScratchSize{Shared: d.images * d.dim}, InPlace: []int{0}, Kernel: d.kernel,
	}, dy)
}

func (d *dropout) kernel(c *engine.Call) {
	d.call = c
	kernel.Parallel(d.images, d.chunk)
}

func (d *dropout) image(i int) {
	u := d.call.Scratch.Shared[i*d.dim : (i+1)*d.dim]
	// b holds image and layer: 2^32 images a step, 2^32 layers.
	rng.Uniform32(u, d.run.Seed, rng.Dropout, d.run.Step, (d.run.First+uint64(i))<<32|d.layer)
	lo, hi := i*d.dim, (i+1)*d.dim
	kernel.Dropout(d.call.Out[lo:hi], d.call.In[0][lo:hi], u, d.keep)
}
