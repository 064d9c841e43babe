package main

import (
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// newGoMLX convolves NHWC by HWIO. The loss is the sum of y * dy, so that the
// gradient with respect to y is dy.
func newGoMLX(p *problem) (runner, error) {
	backend, err := gobackend.New("")
	if err != nil {
		return nil, err
	}
	exec, err := graph.NewExec(backend, func(x, w, dy *graph.Node) (*graph.Node, *graph.Node, *graph.Node) {
		loss := graph.ReduceAllSum(graph.Mul(graph.Convolve(x, w).PadSame().Done(), dy))
		grads := graph.Gradient(loss, x, w)
		return loss, grads[0], grads[1]
	})
	if err != nil {
		return nil, err
	}
	x := tensors.FromFlatDataAndDimensions(p.x, p.n, p.size, p.size, p.c)
	w := tensors.FromFlatDataAndDimensions(p.w, 3, 3, p.c, p.k)
	dy := tensors.FromFlatDataAndDimensions(p.dy, p.n, p.size, p.size, p.k)
	return func(collect bool) (dx, dw []float32, err error) {
		out, err := exec.Call(x, w, dy)
		if err != nil {
			return nil, nil, err
		}
		if collect {
			if dx, err = tensors.CopyFlatData[float32](out[1]); err != nil {
				return nil, nil, err
			}
			if dw, err = tensors.CopyFlatData[float32](out[2]); err != nil {
				return nil, nil, err
			}
		}
		for _, t := range out {
			if err := t.FinalizeAll(); err != nil {
				return nil, nil, err
			}
		}
		return dx, dw, nil
	}, nil
}
